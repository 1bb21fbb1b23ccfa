"""Who is in care and has no next step: by the shipped rules, on the page and in the nightly list."""

import re
from datetime import date, timedelta

import pytest
import sqlalchemy as sa

from hcrm.archive.clinical.models import Appointment
from hcrm.archive.clinical.terms import AppointmentStatus
from hcrm.archive.merge.service import merge_patients
from hcrm.archive.models import DeceasedState, Patient
from hcrm.archive.reach_models import ContactStop, StopKind
from hcrm.centre.care import CareFile, find_gaps, gap_of, refresh_gaps
from hcrm.centre.care_models import CareGap
from hcrm.centre.models import Classification, InstructionState
from hcrm.core.actor import system_actor
from hcrm.core.definition_file import load_definition
from hcrm.core.definitions import publish_definition
from hcrm.core.paths import config_path
from hcrm.core.work import Work, open_work
from hcrm.desk.care import count_gaps, list_gaps
from tests.support.builders import (
    actor_of,
    centre_actor,
    make_department,
    make_encounter,
    make_instruction,
    make_patient,
    make_practitioner,
)


def publish_care(work: Work) -> None:
    body = config_path("care.yaml").read_text(encoding="utf-8")
    publish_definition(work, kind="care", code="care", version=1, body=body)


def discharged(work: Work, patient: Patient, *, days: int = 3, **other):
    at = work.clock.now() - timedelta(days=days)
    return make_encounter(work, patient=patient, discharged_at=at, **other)


@pytest.fixture
def patient(work: Work) -> Patient:
    publish_care(work)
    return make_patient(work)


def test_a_discharge_without_anything_planned_is_a_gap(work: Work, patient: Patient):
    discharged(work, patient)

    gap = gap_of(work, patient.id)
    assert gap is not None
    assert (gap.rule_code, gap.since_on) == ("after_discharge", date(2026, 11, 19))


def test_an_old_discharge_is_none_unless_the_illness_lasts(work: Work, patient: Patient):
    stay = discharged(work, patient, days=100)
    assert gap_of(work, patient.id) is None

    work.add(
        Classification(
            id=work.new_id(), encounter_id=stay.id, axis="disease_group", code="diabetes", label="糖尿病", rank=0,
            rule_code="x", rule_version=1, classified_at=work.clock.now(),
        )
    )  # fmt: skip
    found = gap_of(work, patient.id)
    assert found is not None
    assert found.rule_code == "chronic"


@pytest.mark.parametrize("state", ["issued", "in_review", "returned"])
def test_an_instruction_on_somebodys_desk_is_a_next_step(work: Work, patient: Patient, state):
    stay = discharged(work, patient)
    make_instruction(work, encounter=stay, state=InstructionState(state))

    assert gap_of(work, patient.id) is None


def test_a_course_whose_step_was_withdrawn_is_a_gap_until_its_window_closes(work: Work, patient: Patient):
    stay = discharged(work, patient, days=40)
    make_instruction(work, encounter=stay, state=InstructionState.WITHDRAWN, due_on=date(2026, 11, 24))

    found = gap_of(work, patient.id)
    assert found is not None
    assert found.rule_code == "course"


def test_a_booking_to_come_is_a_next_step_a_past_one_is_not(work: Work, patient: Patient):
    discharged(work, patient)
    now = work.clock.now()
    booking = Appointment(
        id=work.new_id(), patient_id=patient.id, encounter_id=None, number="1", status=AppointmentStatus.BOOKED,
        starts_at=now + timedelta(days=1), ends_at=None, service="", department="", location="", practitioner="",
        practitioner_name="", reason="", source="test", as_of=now, seq=1, confirmed_at=now, provenance={},
        ended_at=None,
    )  # fmt: skip
    work.add(booking)
    assert gap_of(work, patient.id) is None

    booking.starts_at = now - timedelta(days=1)
    work.session.flush()
    assert gap_of(work, patient.id) is not None


@pytest.mark.parametrize(
    "values", [{"deceased": DeceasedState.DECEASED}, {"is_nullified": True}, {"is_test": True}]
)
def test_whom_nobody_plans_for_is_never_a_gap(work: Work, patient: Patient, values):
    discharged(work, patient)
    for name, value in values.items():
        setattr(patient, name, value)
    work.session.flush()

    assert gap_of(work, patient.id) is None


def test_with_whom_contact_ended_is_no_gap(work: Work, patient: Patient):
    discharged(work, patient)
    work.add(
        ContactStop(
            id=work.new_id(), patient_id=patient.id, kind=StopKind.TERMINATED, reason="本人要求", source="console",
            created_at=work.clock.now(), actor_id="a", actor_name="王敏", ended_at=None, ended_reason=None,
            ended_by=None,
        )
    )  # fmt: skip

    assert gap_of(work, patient.id) is None


def test_who_lies_in_hospital_again_is_no_gap(work: Work, patient: Patient):
    discharged(work, patient)
    make_encounter(work, patient=patient, discharged_at=None)

    assert gap_of(work, patient.id) is None


# ── the nightly list ────────────────────────────────────────────────────────


def run(database, clock) -> int:
    return refresh_gaps(database, system_actor("care.find_gaps"), clock)


def test_the_run_keeps_the_list_and_a_second_one_changes_nothing(database, clock, monkeypatch):
    monkeypatch.setattr("hcrm.core.limits.CARE_BATCH", 2)
    with open_work(database, actor=centre_actor(), clock=clock) as work:
        publish_care(work)
        patients = [make_patient(work, name=f"甲{number}") for number in range(5)]
        stays = [discharged(work, patient, days=1 + number) for number, patient in enumerate(patients)]

    assert run(database, clock) == 5
    assert run(database, clock) == 0
    with open_work(database, actor=centre_actor(), clock=clock) as work:
        page = list_gaps(work)
        assert [row.Patient.id for row in page.items] == [patient.id for patient in reversed(patients)]
        assert count_gaps(work) == 5
        make_instruction(work, encounter=stays[0])
        assert count_gaps(work) == len(list_gaps(work).items) == 4  # at once, though the run is nightly
    assert run(database, clock) == 1


def test_a_merge_leaves_a_patient_once_on_the_list(database, clock):
    with open_work(database, actor=centre_actor(), clock=clock) as work:
        publish_care(work)
        one, two = make_patient(work), make_patient(work)
        discharged(work, one)
        discharged(work, two)
    run(database, clock)
    with open_work(database, actor=centre_actor(), clock=clock) as work:
        merge_patients(work, survivor_id=one.id, merged_id=two.id, source="test", seq=None)
        assert [row.Patient.id for row in list_gaps(work).items] == [one.id]
        assert count_gaps(work) == 1
    run(database, clock)
    with open_work(database, actor=centre_actor(), clock=clock) as work:
        assert [row.patient_id for row in work.all(CareGap)] == [one.id]


def test_a_physician_sees_those_in_their_scope_only(database, clock):
    with open_work(database, actor=centre_actor(), clock=clock) as work:
        publish_care(work)
        ward = make_department(work)
        mine, other = make_patient(work), make_patient(work)
        discharged(work, mine, department=ward)
        discharged(work, other)
        actor = actor_of(make_practitioner(work), ward)
    run(database, clock)
    with open_work(database, actor=actor, clock=clock) as work:
        assert [row.Patient.id for row in list_gaps(work).items] == [mine.id]


def test_the_shipped_rules_load():
    assert load_definition(CareFile, config_path("care.yaml")).rules


@pytest.mark.parametrize(
    "condition", [lambda column: column == "a", lambda column: sa.and_(column > "a", column <= "b")]
)
def test_stays_are_found_by_their_patients_never_among_all(work: Work, patient: Patient, condition):
    """SQLite goes by the shape of a statement: a year's discharges must not be read for one patient's page."""
    connection = work.session.connection()
    if connection.dialect.name != "sqlite":
        return
    asked = []

    def listen(_connection, _cursor, statement, parameters, _context, _many):
        asked.append((statement, parameters))

    sa.event.listen(connection, "before_cursor_execute", listen)
    find_gaps(work, condition)
    sa.event.remove(connection, "before_cursor_execute", listen)

    plans = [
        str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all())
        for statement, parameters in asked
        if "GROUP BY" in statement
    ]
    assert len(plans) == 3
    for plan in plans:
        assert set(re.findall(r"(?:SEARCH|SCAN) encounter (?:USING \w+ ?(?:INDEX )?)?(\w*)", plan)) == {
            "ix_encounter_patient"
        }
        assert "SCAN" not in plan
