from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from threading import Event
from time import sleep

import pytest
import sqlalchemy as sa

from hcrm.archive.events import DischargeCancelled, EncounterRevised
from hcrm.archive.models import TimelineEntry
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
from hcrm.centre.replanning import replan_instructions, withdraw_for_cancelled
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
    make_practitioner,
    publish_form,
    publish_protocol,
    publish_rules,
)
from tests.support.stays import instructions, issued_stay, protocols

__all__ = ["protocols"]


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
        assert withdrawn.result(timeout=60) == 1
