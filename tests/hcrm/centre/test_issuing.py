from collections.abc import Sequence
from datetime import UTC, date, datetime

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hcrm.archive.models import DeceasedState, TimelineEntry
from hcrm.archive.visit_models import DischargeWay, Encounter
from hcrm.centre.classification import classify_encounters
from hcrm.centre.events import InstructionIssued
from hcrm.centre.instructions import DISPUTED_DEATH, UNKNOWN_WAY, issue_instructions
from hcrm.centre.models import Instruction, InstructionState, ReviewPolicy
from hcrm.core.clock import local_date
from hcrm.core.errors import HcrmError
from hcrm.core.work import Work
from tests.support.builders import (
    classified,
    discharged,
    make_account,
    make_department,
    make_encounter,
    make_patient,
    make_practitioner,
    publish_form,
    publish_protocol,
    publish_shipped,
    step,
)

pytestmark = pytest.mark.usefixtures("definitions")


def issue(work: Work, *stays: Encounter, **settings: object) -> int:
    return issue_instructions(work, [classified(stay) for stay in stays], **settings)


def codes(work: Work) -> Sequence[tuple[str, str]]:
    rows = work.execute(
        sa.select(Instruction.protocol_code, Instruction.step_code).order_by(
            Instruction.protocol_code, Instruction.due_on
        )
    )
    return [tuple(row) for row in rows]


def test_issue_instructions_opens_a_window_around_the_due_date(work: Work):
    publish_protocol(work)
    stay = make_encounter(work, discharged_at=datetime(2026, 11, 22, 16, 30, tzinfo=UTC))  # 23日 00:30 here

    issue(work, stay)

    instruction = work.one(Instruction)
    assert instruction.state is InstructionState.ISSUED
    assert (instruction.opens_on, instruction.due_on, instruction.closes_on) == (
        date(2026, 11, 28), date(2026, 11, 30), date(2026, 12, 5),
    )  # fmt: skip
    assert work.events == [InstructionIssued(instruction.id)]


@pytest.mark.parametrize("left", [{"is_active": False}, {"valid_to": date(2026, 11, 21)}])
def test_who_has_left_is_asked_for_nothing_though_their_account_still_stands(work: Work, left):
    publish_protocol(work)
    doctor, head = make_practitioner(work), make_practitioner(work)
    stay = make_encounter(work, attending=doctor, department=make_department(work, head=head))
    for name, value in left.items():
        setattr(doctor, name, value)
    work.session.flush()

    issue(work, stay)

    assert work.one(Instruction).assignee_id == head.id


@pytest.mark.parametrize(
    ("discharged_at", "due_on"),
    [
        (datetime(2026, 11, 20, 15, 59, 59, tzinfo=UTC), date(2026, 11, 27)),  # 23:59:59 here
        (datetime(2026, 11, 20, 16, 0, 0, tzinfo=UTC), date(2026, 11, 28)),  # midnight here: the next day
    ],
)
def test_days_are_counted_from_the_hospital_s_date(work: Work, discharged_at, due_on):
    publish_protocol(work)

    issue(work, make_encounter(work, discharged_at=discharged_at))

    assert work.one(Instruction).due_on == due_on


def test_every_step_is_issued_under_the_version_in_force(work: Work):
    publish_form(work, version=4)
    publish_protocol(work, version=1)
    publish_protocol(
        work, version=3, title="出院随访",
        steps=[
            {},
            {"code": "day30", "title": "一个月", "due_after_days": 30, "review": "all", "channel": "home_visit"},
        ],
    )  # fmt: skip

    assert issue(work, make_encounter(work)) == 2

    first, second = work.scalars(sa.select(Instruction).order_by(Instruction.due_on))
    assert (first.protocol_version, first.form_version, first.step_code) == (3, 4, "day7")
    assert (second.title, second.channel, second.review_policy) == ("一个月", "home_visit", ReviewPolicy.ALL)


def test_issuing_twice_is_impossible(work: Work):
    publish_protocol(work)
    stay = make_encounter(work)

    assert (issue(work, stay), issue(work, stay)) == (1, 0)

    work.flush()
    assert len(work.all(Instruction)) == 1
    assert len(work.all(TimelineEntry)) == 1


def test_a_specific_protocol_takes_the_place_of_the_fallback(work: Work):
    publish_protocol(work)
    publish_protocol(
        work,
        code="stroke.call",
        title="脑卒中随访",
        applies_when=[{"fact": "disease_group.main", "is": "stroke"}],
    )
    stroke, other = make_encounter(work, diagnoses=["I63.9"]), make_encounter(work)
    classify_encounters(work, [discharged(stroke), discharged(other)])

    issue(work, stroke, other)

    assert codes(work) == [("stroke.call", "day7"), ("test.discharge", "day7")]


def test_the_patient_s_timeline_tells_it_in_one_line_per_stay(work: Work):
    publish_protocol(work, title="出院随访", steps=[{}, step(code="day30", due_after_days=30)])
    ward = make_department(work)
    stay = make_encounter(work, department=ward)

    issue(work, stay)
    work.flush()

    entry = work.one(TimelineEntry)
    assert entry.title == "已下达随访指令 2 条（出院随访）"
    assert (entry.patient_id, entry.kind, entry.encounter_id) == (stay.patient_id, "instruction", stay.id)


# ── who is not called, and what must be cleared up first ────────────────────


@pytest.mark.parametrize("way", [DischargeWay.DIED])
def test_nobody_is_called_about_a_patient_who_died_in_hospital(work: Work, way):
    publish_protocol(work)

    assert issue(work, make_encounter(work, way=way)) == 0


def test_nobody_is_called_about_a_patient_known_to_be_dead(work: Work):
    publish_protocol(work)
    patient = make_patient(work, deceased=DeceasedState.DECEASED)

    assert issue(work, make_encounter(work, patient=patient)) == 0


@pytest.mark.parametrize(
    ("way", "deceased", "note"),
    [
        (DischargeWay.BY_ORDER, DeceasedState.ALIVE, None),
        (DischargeWay.UNKNOWN, DeceasedState.ALIVE, UNKNOWN_WAY),
        (DischargeWay.BY_ORDER, DeceasedState.DISPUTED, DISPUTED_DEATH),
        (DischargeWay.UNKNOWN, DeceasedState.DISPUTED, f"{UNKNOWN_WAY}；{DISPUTED_DEATH}"),
    ],
)
def test_what_is_unknown_is_issued_at_once_with_a_note_to_verify(work: Work, way, deceased, note):
    publish_protocol(work)
    patient = make_patient(work, deceased=deceased)

    issue(work, make_encounter(work, patient=patient, way=way))

    assert work.one(Instruction).note == note


def test_stays_before_the_source_went_live_are_history(work: Work):
    publish_protocol(work)
    live = datetime(2026, 11, 20, tzinfo=UTC)
    before = make_encounter(work, source="his", discharged_at=datetime(2026, 11, 19, 23, 59, tzinfo=UTC))
    after = make_encounter(work, source="his", discharged_at=live)
    elsewhere = make_encounter(work, source="other", discharged_at=datetime(2026, 11, 15, tzinfo=UTC))

    assert issue(work, before, after, elsewhere, cut_overs={"his": live}) == 2

    assert (
        work.scalars(sa.select(Instruction.encounter_id).where(Instruction.encounter_id == before.id)) == []
    )


def test_a_protocol_whose_form_nobody_published_is_refused_not_passed_over(work: Work):
    publish_protocol(work, form="test.nowhere")

    with pytest.raises(HcrmError, match=r"test\.nowhere"):
        issue(work, make_encounter(work))


# ── the owner ───────────────────────────────────────────────────────────────


def test_the_attending_physician_owns_it(work: Work):
    publish_protocol(work)
    head = make_practitioner(work, name="主任")
    doctor = make_practitioner(work)

    issue(work, make_encounter(work, attending=doctor, department=make_department(work, head=head)))

    assert work.one(Instruction).assignee_id == doctor.id


def test_without_an_account_of_the_attending_the_department_head_owns_it(work: Work):
    publish_protocol(work)
    head = make_practitioner(work, name="主任")
    doctor = make_practitioner(work, has_account=False)

    issue(work, make_encounter(work, attending=doctor, department=make_department(work, head=head)))

    assert work.one(Instruction).assignee_id == head.id


def test_a_closed_account_is_no_account(work: Work):
    publish_protocol(work)
    doctor = make_practitioner(work, has_account=False)
    make_account(work, practitioner=doctor, active=False)

    issue(work, make_encounter(work, attending=doctor, department=make_department(work)))

    assert work.one(Instruction).assignee_id is None


def test_nobody_at_all_puts_it_into_the_exception_queue(work: Work):
    publish_protocol(work)

    issue(work, make_encounter(work))

    assert work.one(Instruction).assignee_id is None


def test_a_step_for_the_head_goes_to_the_head_or_to_nobody(work: Work):
    publish_protocol(work, steps=[{"assign_to": "department_head"}])
    doctor = make_practitioner(work)

    issue(
        work,
        make_encounter(work, attending=doctor, department=make_department(work)),
        make_encounter(
            work, attending=doctor, department=make_department(work, head=make_practitioner(work))
        ),
    )

    owners = work.scalars(sa.select(Instruction.assignee_id))
    assert None in owners
    assert doctor.id not in owners


# ── the shipped protocols ───────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("diagnoses", "procedures", "protocol", "steps"),
    [
        (["I63.900"], [], "neurology.stroke", None),
        (["E11.900"], [], "endocrine.type2_diabetes", 6),
        (["I25.103"], ["36.0700"], "cardiology.pci", 5),
        (["K35.900"], [], "generic.discharge", 2),
    ],
)
def test_the_shipped_protocols_take_in_what_they_are_for(work: Work, diagnoses, procedures, protocol, steps):
    work.execute(sa.text("DELETE FROM definition"))
    publish_shipped(work)
    stay = make_encounter(work, diagnoses=diagnoses, procedures=procedures)
    classify_encounters(work, [discharged(stay)])

    issued = issue(work, stay)

    assert {code for code, _ in codes(work)} == {protocol}
    assert issued == (steps or issued) > 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moment=st.datetimes(datetime(2024, 1, 1), datetime(2028, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001
def test_whenever_the_patient_leaves_the_window_holds_the_due_date(work: Work, moment):
    publish_protocol(work)
    stay = make_encounter(work, discharged_at=moment)

    issue(work, stay)

    instruction = work.one(Instruction, Instruction.encounter_id == stay.id)
    assert (instruction.due_on - local_date(moment)).days == 7
    assert instruction.opens_on <= instruction.due_on <= instruction.closes_on
