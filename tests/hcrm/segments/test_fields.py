from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

from hcrm.app.wiring import SEGMENT_FIELDS
from hcrm.archive.clinical.models import Appointment, DiagnosticReport, MedicationRequest
from hcrm.archive.clinical.terms import AppointmentStatus, OrderStatus, ReportCategory, ReportStatus
from hcrm.archive.fields.models import PatientTag
from hcrm.archive.models import Allergy
from hcrm.archive.visit_models import Encounter
from hcrm.contact_log.models import Channel, ContactEntry, ContactResult
from hcrm.core.actor import Actor
from hcrm.core.definitions import publish_definition
from hcrm.core.paths import config_path
from hcrm.core.segment import values_wanted
from hcrm.core.work import Work
from hcrm.segments import catalogue
from hcrm.segments.catalogue import fields_for, use_fields
from hcrm.segments.filters import SegmentFilter
from hcrm.segments.profile import refresh_profiles
from hcrm.segments.queries import count_patients, sample_patients
from tests.support.builders import make_department, make_encounter, make_instruction, make_patient

SAMPLES = {"none": [], "number": ["3"], "two_numbers": ["1", "9"], "day": ["2026-01-01"], "text": ["E11"]}


@pytest.fixture(autouse=True)
def every_field(work: Work) -> Iterator[None]:
    """The fields of all parts, the shipped fields of the archive among them."""
    before = catalogue._makers
    use_fields(SEGMENT_FIELDS)
    body = config_path("fields.yaml").read_text(encoding="utf-8")
    publish_definition(work, kind="fields", code="fields", version=1, body=body)
    yield
    use_fields(before)


def asked(field: str, operator: str, values: list[str], match: str = "all") -> SegmentFilter:
    lines = [{"field": field, "operator": operator, "values": values}]
    return SegmentFilter.model_validate({"groups": [{"match": match, "lines": lines}]})


def test_every_field_is_answered_with_every_operator_and_in_every_kind_of_group(work: Work):
    refresh_profiles(work, [make_encounter(work).patient_id])
    fields = fields_for(work)

    assert {"field.visit_source", "field.occupation", "contact.any", "instruction.outcome"} <= fields.keys()
    assert len({(field.subject.title, field.title) for field in fields.values()}) == len(fields)
    for field in fields.values():
        for operator in field.operators:
            choices = field.choices(work) if field.choices else ()
            values = SAMPLES.get(values_wanted(operator), [choices[0][0] if choices else "x"])
            for match in ("all", "any", "none"):
                assert count_patients(work, asked(field.code, operator.value, values, match)) in (0, 1)


def test_a_choice_nobody_offered_finds_nobody(work: Work):
    refresh_profiles(work, [make_encounter(work).patient_id])

    for field in fields_for(work).values():
        if field.choices:
            assert count_patients(work, asked(field.code, "in", ["' OR 1=1 --"])) == 0


def test_rows_of_other_parts_are_found(work: Work):
    stay = make_encounter(work, diagnoses=["K35.9", "E11.9"], procedures=["36.0701"])
    other = make_encounter(work)
    now = work.clock.now()
    told: dict[str, Any] = {"source": "test", "as_of": now, "seq": 1, "ended_at": None}
    work.add(Allergy(id=work.new_id(), patient_id=stay.patient_id, rank=1, kind="DA", code="A1", text="青霉素100%",
                     severity="", reaction="", **told))  # fmt: skip
    work.add(PatientTag(id=work.new_id(), patient_id=stay.patient_id, tag="志愿者", actor_id="a", actor_name="甲",
                        created_at=now, ended_at=None, ended_by_name=None))  # fmt: skip
    make_instruction(work, encounter=stay)
    work.add(ContactEntry(
        id=work.new_id(), patient_id=stay.patient_id, encounter_id=stay.id, channel=Channel.PHONE, is_outgoing=True,
        happened_at=datetime(2026, 11, 21, 17, tzinfo=UTC), logged_at=now, result=ContactResult.REACHED, note=None,
        subject_type=None, subject_id=None, actor_id="a", actor_name="甲",
    ))  # fmt: skip
    refresh_profiles(work, [stay.patient_id, other.patient_id])

    for field, operator, values, count in [
        ("stay.diagnosis", "starts_with", ["e119"], 1),
        ("stay.procedure", "starts_with", ["36.07"], 1),
        ("allergy.text", "contains", ["100%"], 1),
        ("allergy.text", "contains", ["10%"], 0),
        ("allergy.any", "no", [], 1),
        ("tag.tag", "in", ["志愿者"], 1),
        ("instruction.state", "in", ["issued"], 1),
        ("contact.any", "no", [], 1),
        ("contact.day", "within_days", ["1"], 1),  # 01:00 of the 22nd in Shanghai
        ("field.visit_source.any", "no", [], 2),
    ]:
        assert count_patients(work, asked(field, operator, values)) == count, field
    lines = sample_patients(
        work, asked("contact.any", "yes", []), ["sex", "age", "record_no", "phone", "visits"]
    )
    assert lines is not None
    assert [(line.id, line.cells) for line in lines] == [(stay.patient_id, ("男", "60 岁", "—", "—", "1"))]


def test_a_stay_outside_the_readers_scope_is_not_told_by_a_count(work: Work):
    mine, theirs = make_department(work, name="内科"), make_department(work, name="外科")
    patient = make_patient(work, birth_date=date(1990, 1, 1))
    make_encounter(work, patient=patient, department=mine, diagnoses=["I10"])
    make_encounter(work, patient=patient, department=theirs, diagnoses=["F20.9"])
    refresh_profiles(work, [patient.id])
    work.actor = Actor(
        id="a", name="甲", permissions=frozenset({"segment.read"}), department_ids=frozenset({mine.id})
    )

    assert count_patients(work, asked("stay.main_diagnosis", "starts_with", ["I10"])) == 1
    assert count_patients(work, asked("stay.main_diagnosis", "starts_with", ["F20"])) == 0
    assert count_patients(work, asked("stay.diagnosis", "starts_with", ["F20"])) == 0


def told_of(work: Work, stay: Encounter) -> dict[str, Any]:
    """What other systems' rows say of themselves."""
    now = work.clock.now()
    return {
        "id": work.new_id(), "patient_id": stay.patient_id, "encounter_id": stay.id, "number": "1", "source": "test",
        "as_of": now, "seq": 1, "confirmed_at": now, "provenance": {}, "ended_at": None,
    }  # fmt: skip


def give_a_drug(work: Work, stay: Encounter) -> None:
    work.add(MedicationRequest(
        code="", text="氯氮平", status=OrderStatus.ACTIVE, is_herbal=False, components=[], dose="", dose_unit="",
        route="", frequency="", quantity="", quantity_unit="", doses=None, note_sealed=None,
        starts_on=date(2026, 11, 1), ends_on=None, end_basis=None, given_at=None, **told_of(work, stay),
    ))  # fmt: skip


def report(work: Work, stay: Encounter) -> None:
    work.add(DiagnosticReport(
        code="", text="血药浓度", category=ReportCategory.LABORATORY, status=ReportStatus.FINAL, observed_at=None,
        issued_at=work.clock.now(), note_sealed=None, results=0, abnormal=0, is_critical=False, **told_of(work, stay),
    ))  # fmt: skip


def book(work: Work, stay: Encounter) -> None:
    work.add(Appointment(
        status=AppointmentStatus.BOOKED, starts_at=work.clock.now(), ends_at=None, service="复诊", department="精神科",
        location="", practitioner="", practitioner_name="", reason="", **told_of(work, stay),
    ))  # fmt: skip


def contact(work: Work, stay: Encounter) -> None:
    work.add(ContactEntry(
        id=work.new_id(), patient_id=stay.patient_id, encounter_id=stay.id, channel=Channel.PHONE, is_outgoing=True,
        happened_at=work.clock.now(), logged_at=work.clock.now(), result=ContactResult.REACHED, note=None,
        subject_type=None, subject_id=None, actor_id="a", actor_name="甲",
    ))  # fmt: skip


def instruct(work: Work, stay: Encounter) -> None:
    make_instruction(work, encounter=stay)


@pytest.mark.parametrize(
    ("field", "happens"),
    [("drug.any", give_a_drug), ("report.any", report), ("booking.any", book), ("contact.any", contact),
     ("instruction.any", instruct)],
)  # fmt: skip
def test_what_hangs_on_a_stay_outside_the_readers_scope_is_not_told_by_a_count(
    work: Work, field: str, happens: Any
):
    mine, theirs = make_department(work, name="内科"), make_department(work, name="精神科")
    patient = make_patient(work)
    make_encounter(work, patient=patient, department=mine)
    happens(work, make_encounter(work, patient=patient, department=theirs))
    refresh_profiles(work, [patient.id])

    def counted(department: Any) -> tuple[int | None, int | None]:
        work.actor = Actor(
            id="a",
            name="甲",
            permissions=frozenset({"segment.read"}),
            department_ids=frozenset({department.id}),
        )
        return tuple(count_patients(work, asked(field, operator, [])) for operator in ("yes", "no"))

    assert counted(mine) == (0, 1)
    assert counted(theirs) == (1, 0)
