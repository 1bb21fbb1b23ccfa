from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from threading import Event
from time import sleep

import pytest
import sqlalchemy as sa

from hcrm.archive.events import DeathRevoked, DischargeCancelled, EncounterRevised, PatientDied
from hcrm.archive.models import DeceasedState, Patient, TimelineEntry
from hcrm.archive.visit_models import Diagnosis, DischargeWay, Encounter
from hcrm.centre.classification import classify_encounters
from hcrm.centre.events import EncounterReclassified
from hcrm.centre.instructions import (
    UNKNOWN_WAY,
    accept_instruction,
    issue_instructions,
    reassign_instruction,
    withdraw_instruction,
)
from hcrm.centre.models import Instruction, InstructionHistory, InstructionState, Outcome, Withdrawal
from hcrm.centre.replanning import (
    replan_instructions,
    restore_for_living,
    withdraw_for_cancelled,
    withdraw_for_deceased,
)
from hcrm.core.actor import system_actor
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.work import Work, open_work
from tests.support.builders import (
    cancel_discharge,
    classified,
    discharge,
    discharged,
    make_department,
    make_encounter,
    make_instruction,
    make_patient,
    make_practitioner,
    publish_form,
    publish_protocol,
    publish_rules,
    step,
)


@pytest.fixture
def protocols(work: Work, definitions: None) -> None:
    publish_protocol(work)
    publish_protocol(
        work, code="stroke.call", title="脑卒中随访", applies_when=[{"fact": "disease_group.main", "is": "stroke"}],
        steps=[{}, step(code="day30", due_after_days=30)],
    )  # fmt: skip


def issued_stay(work: Work, **values: object) -> Encounter:
    stay = make_encounter(work, **values)
    classify_encounters(work, [discharged(stay)])
    issue_instructions(work, [classified(stay)])
    return stay


def replan(work: Work, stay: Encounter) -> int:
    """As after a corrected message."""
    classify_encounters(work, [EncounterRevised(encounter_id=stay.id, trigger_id=stay.discharge_id)])
    changed = replan_instructions(
        work, [EncounterReclassified(encounter_id=stay.id, trigger_id=stay.discharge_id)]
    )
    work.flush()
    work.session.expire_all()
    return changed


def rediagnose(work: Work, stay: Encounter, code: str) -> None:
    work.one(Diagnosis, Diagnosis.encounter_id == stay.id).code = code
    work.session.flush()


def instructions(work: Work) -> Sequence[Instruction]:
    work.session.expire_all()
    return work.scalars(
        sa.select(Instruction).order_by(Instruction.issued_at, Instruction.due_on, Instruction.id)
    )


def states(work: Work) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in instructions(work):
        found.setdefault(row.protocol_code, []).append(row.state.value)
    return found


# ── the record was corrected ────────────────────────────────────────────────


def test_a_corrected_diagnosis_issues_the_new_protocol_and_withdraws_the_old(work: Work, protocols):
    stay = issued_stay(work, diagnoses=["K35.9"])
    rediagnose(work, stay, "I63.9")

    assert replan(work, stay) == 3

    assert states(work) == {"test.discharge": ["withdrawn"], "stroke.call": ["issued", "issued"]}
    gone = work.one(Instruction, Instruction.protocol_code == "test.discharge")
    assert gone.withdrawal is Withdrawal.NOT_APPLICABLE


def test_correcting_it_back_restores_what_was_withdrawn(work: Work, protocols):
    stay = issued_stay(work, diagnoses=["K35.9"])
    rediagnose(work, stay, "I63.9")
    replan(work, stay)
    rediagnose(work, stay, "K35.9")

    replan(work, stay)

    assert states(work) == {"test.discharge": ["issued"], "stroke.call": ["withdrawn", "withdrawn"]}
    assert work.one(Instruction, Instruction.protocol_code == "test.discharge").withdrawal is None


def test_what_a_physician_has_taken_up_goes_on(work: Work, protocols):
    stay = issued_stay(work, diagnoses=["I63.9"])
    first = instructions(work)[0]
    accept_instruction(work, instruction_id=first.id)
    rediagnose(work, stay, "K35.9")

    replan(work, stay)

    assert states(work) == {"stroke.call": ["accepted", "withdrawn"], "test.discharge": ["issued"]}


def test_what_a_person_withdrew_no_message_restores(work: Work, protocols):
    stay = issued_stay(work, diagnoses=["K35.9"])
    withdraw_instruction(work, instruction_id=instructions(work)[0].id, reason="患者要求")

    assert replan(work, stay) == 0

    assert states(work) == {"test.discharge": ["withdrawn"]}


def test_another_date_of_discharge_moves_the_windows_of_the_untouched(work: Work, protocols):
    stay = issued_stay(work, diagnoses=["I63.9"], discharged_at=datetime(2026, 11, 20, 2, tzinfo=UTC))
    first = instructions(work)[0]
    accept_instruction(work, instruction_id=first.id)
    stay.discharged_at += timedelta(days=1)
    work.session.flush()

    assert replan(work, stay) == 1

    accepted, moved = instructions(work)
    assert accepted.due_on == date(2026, 11, 27)
    assert (moved.opens_on, moved.due_on, moved.closes_on) == (
        date(2026, 12, 19), date(2026, 12, 21), date(2026, 12, 26),
    )  # fmt: skip
    work.flush()
    assert [row.instruction_id for row in work.all(InstructionHistory)].count(moved.id) == 1


def test_the_window_moves_by_the_version_it_was_issued_under(work: Work, protocols):
    stay = issued_stay(work, diagnoses=["K35.9"], discharged_at=datetime(2026, 11, 20, 2, tzinfo=UTC))
    publish_protocol(work, version=2, steps=[{"due_after_days": 10}])
    stay.discharged_at += timedelta(days=1)
    work.session.flush()

    replan(work, stay)

    (moved,) = instructions(work)
    assert (moved.protocol_version, moved.due_on) == (1, date(2026, 11, 28))


def test_the_way_of_leaving_learned_later_clears_the_note(work: Work, protocols):
    stay = issued_stay(work, way=DischargeWay.UNKNOWN)
    assert instructions(work)[0].note == UNKNOWN_WAY
    stay.discharge_way = DischargeWay.BY_ORDER
    work.session.flush()

    replan(work, stay)

    assert instructions(work)[0].note is None


def test_a_patient_who_died_after_all_is_not_called(work: Work, protocols):
    stay = issued_stay(work, way=DischargeWay.UNKNOWN)
    stay.discharge_way = DischargeWay.DIED
    work.session.flush()

    replan(work, stay)

    (gone,) = instructions(work)
    assert (gone.state, gone.withdrawal) == (InstructionState.WITHDRAWN, Withdrawal.DIED)


def test_another_department_takes_its_instructions_along(work: Work, protocols):
    doctor, head = make_practitioner(work), make_practitioner(work, name="主任")
    stay = issued_stay(work, attending=doctor, department=make_department(work))
    ward = make_department(work, head=head)
    stay.department_id, stay.attending_id = ward.id, None
    work.session.flush()

    replan(work, stay)

    (moved,) = instructions(work)
    assert (moved.department_id, moved.assignee_id) == (ward.id, head.id)


def test_a_hand_picked_owner_is_kept(work: Work, protocols):
    doctor, chosen = make_practitioner(work), make_practitioner(work, name="指定")
    stay = issued_stay(work, attending=doctor)
    reassign_instruction(work, instruction_id=instructions(work)[0].id, practitioner_id=chosen.id)
    work.flush()
    work.execute(sa.update(InstructionHistory).values(actor_id="account:1"))
    stay.discharged_at += timedelta(days=1)
    work.session.flush()

    assert replan(work, stay) == 1

    (moved,) = instructions(work)
    assert (moved.assignee_id, moved.due_on) == (chosen.id, date(2026, 11, 28))


def test_a_correction_that_changes_nothing_leaves_no_trace(work: Work, protocols):
    stay = issued_stay(work)
    before = instructions(work)[0].version

    assert replan(work, stay) == 0

    assert instructions(work)[0].version == before
    assert work.all(InstructionHistory) == []


# ── the discharge was cancelled ─────────────────────────────────────────────


def cancelled(stay: Encounter, trigger_id: str) -> DischargeCancelled:
    return DischargeCancelled(encounter_id=stay.id, trigger_id=trigger_id)


def test_a_cancelled_discharge_withdraws_what_is_not_done(work: Work, protocols):
    stay = issued_stay(work, diagnoses=["I63.9"])
    accept_instruction(work, instruction_id=instructions(work)[0].id)
    trigger = cancel_discharge(work, stay)

    assert withdraw_for_cancelled(work, [cancelled(stay, trigger)]) == 2
    work.flush()

    assert {(row.state, row.reason) for row in instructions(work)} == {
        (InstructionState.WITHDRAWN, "出院已取消")
    }
    assert {row.before for row in work.all(InstructionHistory) if row.after is InstructionState.WITHDRAWN} == {
        InstructionState.ISSUED, InstructionState.ACCEPTED,
    }  # fmt: skip
    titles = work.scalars(sa.select(TimelineEntry.title))
    assert "已撤回随访指令 2 条（出院已取消）" in titles


@pytest.mark.parametrize("state", [InstructionState.COMPLETED, InstructionState.IN_REVIEW])
def test_done_work_is_kept_when_the_discharge_is_cancelled(work: Work, protocols, state):
    stay = make_encounter(work)
    done = make_instruction(work, encounter=stay, state=state, outcome=Outcome.REACHED)
    trigger = cancel_discharge(work, stay)

    assert withdraw_for_cancelled(work, [cancelled(stay, trigger)]) == 0

    assert instructions(work)[0].state is state
    assert done.outcome is Outcome.REACHED


@pytest.mark.parametrize("state", [InstructionState.RETURNED, InstructionState.EXPIRED])
def test_what_was_returned_or_expired_is_withdrawn_too(work: Work, protocols, state):
    stay = make_encounter(work)
    make_instruction(work, encounter=stay, state=state)
    trigger = cancel_discharge(work, stay)

    assert withdraw_for_cancelled(work, [cancelled(stay, trigger)]) == 1


def test_a_second_discharge_gets_its_steps_anew(work: Work, protocols):
    stay = issued_stay(work, discharged_at=datetime(2026, 11, 20, 2, tzinfo=UTC))
    trigger = cancel_discharge(work, stay)
    withdraw_for_cancelled(work, [cancelled(stay, trigger)])
    discharge(work, stay, at=datetime(2026, 11, 22, 2, tzinfo=UTC))

    classify_encounters(work, [discharged(stay)])
    replan_instructions(work, [EncounterReclassified(encounter_id=stay.id, trigger_id=stay.discharge_id)])

    old, new = instructions(work)
    assert (old.state, old.trigger_id) == (InstructionState.WITHDRAWN, trigger)
    assert (new.state, new.due_on) == (InstructionState.ISSUED, date(2026, 11, 29))


def test_the_same_discharge_standing_again_restores_its_steps(work: Work, protocols):
    stay = issued_stay(work)
    at, trigger = stay.discharged_at, cancel_discharge(work, stay)
    withdraw_for_cancelled(work, [cancelled(stay, trigger)])
    again = discharge(work, stay, at=at)
    stay.discharge_id = trigger  # what was taken back stands again
    work.session.delete(again)
    work.session.flush()

    replan(work, stay)

    assert states(work) == {"test.discharge": ["issued"]}


def test_a_cancel_that_no_longer_holds_withdraws_nothing(work: Work, protocols):
    stay = issued_stay(work)

    assert withdraw_for_cancelled(work, [cancelled(stay, stay.discharge_id)]) == 0


# ── the patient died ────────────────────────────────────────────────────────


def test_a_death_withdraws_everything_that_waits_for_the_patient(work: Work, protocols):
    stay = issued_stay(work, diagnoses=["I63.9"])
    make_instruction(work, encounter=stay, state=InstructionState.COMPLETED)
    work.get(Patient, stay.patient_id).deceased = DeceasedState.DECEASED
    work.session.flush()

    assert withdraw_for_deceased(work, [PatientDied(patient_id=stay.patient_id)]) == 2

    assert sorted(row.state.value for row in instructions(work)) == ["completed", "withdrawn", "withdrawn"]


def test_a_death_that_was_taken_back_withdraws_nothing(work: Work, protocols):
    stay = issued_stay(work)

    assert withdraw_for_deceased(work, [PatientDied(patient_id=stay.patient_id)]) == 0


@pytest.fixture
def mourned(work: Work, protocols) -> Encounter:
    """A stay whose instructions were withdrawn because somebody said the patient had died; they live."""
    stay = issued_stay(work, diagnoses=["I63.9"], attending=make_practitioner(work))
    work.get(Patient, stay.patient_id).deceased = DeceasedState.DECEASED
    work.session.flush()
    withdraw_for_deceased(work, [PatientDied(patient_id=stay.patient_id)])
    work.get(Patient, stay.patient_id).deceased = DeceasedState.ALIVE
    work.session.flush()
    return stay


def bring_back(work: Work, stay: Encounter) -> int:
    return restore_for_living(
        work, [DeathRevoked(patient_id=stay.patient_id, noted_at=work.clock.now().isoformat())]
    )


def test_who_lives_after_all_has_the_instructions_again(work: Work, mourned):
    assert bring_back(work, mourned) == 2
    assert bring_back(work, mourned) == 0  # the fact delivered twice

    rows = instructions(work)
    assert {(row.state, row.withdrawal, row.reason) for row in rows} == {
        (InstructionState.ISSUED, None, None)
    }
    assert {row.assignee_id for row in rows} == {mourned.attending_id}
    work.flush()
    assert "已恢复随访指令 2 条（死亡登记已撤销）" in work.scalars(sa.select(TimelineEntry.title))


def test_what_was_withdrawn_for_another_reason_stays_withdrawn(work: Work, mourned):
    first = instructions(work)[0]
    first.withdrawal = Withdrawal.BY_HAND
    work.session.flush()

    assert bring_back(work, mourned) == 1
    assert work.get(Instruction, first.id).state is InstructionState.WITHDRAWN


def test_a_discharge_that_no_longer_stands_brings_nothing_back(work: Work, mourned):
    cancel_discharge(work, mourned)

    assert bring_back(work, mourned) == 0


def test_a_discharge_that_came_while_the_patient_was_thought_dead_gets_its_steps(work: Work, protocols):
    dead = make_patient(work, deceased=DeceasedState.DECEASED)
    make_encounter(work, patient=dead, discharged_at=work.clock.now() - timedelta(days=90))
    stay = issued_stay(work, patient=dead, discharged_at=work.clock.now(), diagnoses=["I63.9"])
    assert instructions(work) == []
    dead.deceased = DeceasedState.ALIVE
    work.session.flush()

    assert bring_back(work, stay) == 2
    assert bring_back(work, stay) == 0
    assert {row.encounter_id for row in instructions(work)} == {stay.id}


@pytest.mark.parametrize("state", [DeceasedState.DECEASED, None])
def test_who_died_after_all_is_not_called(work: Work, mourned, state):
    """Told again meanwhile, or by the way the stay ended."""
    if state:
        work.get(Patient, mourned.patient_id).deceased = state
    else:
        mourned.discharge_way = DischargeWay.DIED
    work.session.flush()

    assert bring_back(work, mourned) == 0


# ── at the same time ────────────────────────────────────────────────────────


def test_a_cancel_that_comes_while_instructions_are_issued_withdraws_them(
    database: Database, clock: FixedClock
):
    actor = system_actor("worker")
    with open_work(database, actor=actor, clock=clock) as work:
        publish_rules(work)
        publish_form(work)
        publish_protocol(work)
        stay = make_encounter(work)
        fact, trigger = classified(stay), discharged(stay).trigger_id
    issued = Event()

    def cancel() -> int:
        issued.wait()
        with open_work(database, actor=actor, clock=clock) as work:  # the archive takes the A13 in
            cancel_discharge(work, work.get(Encounter, fact.encounter_id))
        with open_work(database, actor=actor, clock=clock) as work:
            return withdraw_for_cancelled(work, [cancelled(stay, trigger)])

    with ThreadPoolExecutor(1) as pool:
        with open_work(database, actor=actor, clock=clock) as work:
            issue_instructions(work, [fact])
            withdrawn = pool.submit(cancel)
            issued.set()
            sleep(0.3)  # long enough for the cancel to reach the stay, were it not locked
        assert withdrawn.result(timeout=10) == 1
