from datetime import date

import pytest
import sqlalchemy as sa

from hcrm.archive.models import TimelineEntry
from hcrm.audit.models import AuditEvent
from hcrm.centre.events import InstructionCompleted
from hcrm.centre.instructions import (
    accept_instruction,
    complete_instruction,
    finish_instruction,
    reassign_instruction,
    reopen_instruction,
    return_instruction,
    start_instruction,
    withdraw_instruction,
)
from hcrm.centre.models import OPEN_STATES, InstructionHistory, InstructionState, Outcome, Withdrawal
from hcrm.core.errors import ConflictError, DeniedError, HcrmError, NotFoundError
from hcrm.core.work import Work
from tests.support.builders import (
    actor_of,
    make_account,
    make_department,
    make_encounter,
    make_instruction,
    make_practitioner,
)

S = InstructionState
NOT_OPEN = [state for state in S if state not in OPEN_STATES]


def history(work: Work) -> list[tuple[S, S, str | None]]:
    work.flush()
    rows = work.scalars(sa.select(InstructionHistory).order_by(InstructionHistory.id))
    return [(row.before, row.after, row.reason) for row in rows]


# ── the physician ───────────────────────────────────────────────────────────


def test_accepting_is_noted_with_who_and_when(work: Work):
    instruction = make_instruction(work, assignee=make_practitioner(work))

    accept_instruction(work, instruction_id=instruction.id)

    assert instruction.state is S.ACCEPTED
    assert history(work) == [(S.ISSUED, S.ACCEPTED, None)]
    note = work.one(InstructionHistory)
    assert (note.actor_name, note.changed_at) == (work.actor.name, work.clock.now())
    assert work.one(AuditEvent).action == "instruction.accept"


def test_accepting_twice_is_accepting_once(work: Work):
    instruction = make_instruction(work)

    accept_instruction(work, instruction_id=instruction.id)
    accept_instruction(work, instruction_id=instruction.id)

    assert len(history(work)) == 1


def test_whoever_accepts_what_nobody_owned_owns_it(work: Work):
    ward, doctor = make_department(work), make_practitioner(work)
    instruction = make_instruction(work, encounter=make_encounter(work, department=ward))
    work.actor = actor_of(doctor, ward)

    accept_instruction(work, instruction_id=instruction.id)

    assert instruction.assignee_id == doctor.id


def test_a_colleague_who_accepts_does_not_take_it_away(work: Work):
    ward, owner, colleague = make_department(work), make_practitioner(work), make_practitioner(work)
    instruction = make_instruction(work, encounter=make_encounter(work, department=ward), assignee=owner)
    work.actor = actor_of(colleague, ward)

    accept_instruction(work, instruction_id=instruction.id)

    assert instruction.assignee_id == owner.id


def test_returning_needs_a_reason_and_keeps_it(work: Work):
    instruction = make_instruction(work)

    with pytest.raises(HcrmError, match="请填写原因") as refusal:
        return_instruction(work, instruction_id=instruction.id, reason="  ")
    assert refusal.value.field == "reason"
    return_instruction(work, instruction_id=instruction.id, reason=" 已转院 ")

    assert (instruction.state, instruction.reason) == (S.RETURNED, "已转院")
    assert history(work) == [(S.ISSUED, S.RETURNED, "已转院")]


@pytest.mark.parametrize("state", NOT_OPEN)
@pytest.mark.parametrize(
    "act",
    [
        lambda work, key: accept_instruction(work, instruction_id=key),
        lambda work, key: return_instruction(work, instruction_id=key, reason="x"),
    ],
)
def test_what_is_closed_can_be_neither_accepted_nor_returned(work: Work, state, act):
    instruction = make_instruction(work, state=state)

    with pytest.raises(ConflictError, match=state.label):
        act(work, instruction.id)


def test_starting_happens_once_and_leaves_an_expired_one_expired(work: Work):
    issued, expired = make_instruction(work), make_instruction(work, state=S.EXPIRED)

    for instruction in (issued, issued, expired):
        start_instruction(work, instruction=instruction)

    assert (issued.state, expired.state) == (S.IN_PROGRESS, S.EXPIRED)
    assert history(work) == [(S.ISSUED, S.IN_PROGRESS, None)]


# ── done, reviewed, sent back ───────────────────────────────────────────────


def test_finishing_keeps_the_hospital_s_date_and_tells_it(work: Work):
    instruction = make_instruction(work, state=S.IN_PROGRESS)
    late = work.clock.now().replace(hour=17)  # 01:00 of the 23rd in Shanghai

    finish_instruction(work, instruction=instruction, outcome=Outcome.REACHED, done_at=late, in_review=False)

    assert (instruction.state, instruction.done_on) == (S.COMPLETED, date(2026, 11, 23))
    assert work.events == [InstructionCompleted(instruction_id=instruction.id)]


def test_what_waits_for_review_is_completed_only_when_approved(work: Work):
    instruction = make_instruction(work)
    now = work.clock.now()
    finish_instruction(work, instruction=instruction, outcome=Outcome.LOST, done_at=now, in_review=True)
    assert (instruction.state, work.events) == (S.IN_REVIEW, [])

    complete_instruction(work, instruction=instruction)

    assert instruction.state is S.COMPLETED
    assert len(work.events) == 1


def test_what_was_sent_back_does_not_count_as_done(work: Work):
    instruction = make_instruction(work)
    now = work.clock.now()
    finish_instruction(work, instruction=instruction, outcome=Outcome.LOST, done_at=now, in_review=True)

    reopen_instruction(work, instruction=instruction, reason="请再联系一次")

    assert (instruction.state, instruction.reason) == (S.IN_PROGRESS, "请再联系一次")
    assert (instruction.outcome, instruction.done_at, instruction.done_on) == (None, None, None)


def test_a_late_record_is_taken(work: Work):
    instruction = make_instruction(work, state=S.EXPIRED)

    finish_instruction(
        work, instruction=instruction, outcome=Outcome.REACHED, done_at=work.clock.now(), in_review=False
    )

    assert instruction.state is S.COMPLETED


# ── the service centre ──────────────────────────────────────────────────────


def test_withdrawing_by_hand_says_so(work: Work):
    instruction = make_instruction(work)

    withdraw_instruction(work, instruction_id=instruction.id, reason="患者要求")
    work.flush()

    assert (instruction.state, instruction.withdrawal) == (S.WITHDRAWN, Withdrawal.BY_HAND)
    assert work.one(TimelineEntry).title == "随访指令已撤回：出院一周电话随访"


def test_reassigning_a_returned_instruction_issues_it_to_the_other(work: Work):
    other = make_practitioner(work, name="王大夫")
    instruction = make_instruction(work, state=S.RETURNED, reason="不在本科")

    reassign_instruction(work, instruction_id=instruction.id, practitioner_id=other.id)

    assert (instruction.state, instruction.assignee_id, instruction.reason) == (S.ISSUED, other.id, None)
    assert history(work) == [(S.RETURNED, S.ISSUED, "改派给 王大夫")]


def test_nobody_without_an_active_account_can_be_given_work(work: Work):
    gone = make_practitioner(work, has_account=False)
    make_account(work, practitioner=gone, active=False)
    instruction = make_instruction(work)

    with pytest.raises(HcrmError, match="没有可用账号"):
        reassign_instruction(work, instruction_id=instruction.id, practitioner_id=gone.id)


def test_a_head_reassigns_within_the_department_only(work: Work):
    ward, elsewhere = make_department(work), make_department(work)
    head = make_practitioner(work, department=ward)
    stranger = make_practitioner(work, department=elsewhere)
    instruction = make_instruction(work, encounter=make_encounter(work, department=ward))
    work.actor = actor_of(head, ward)

    with pytest.raises(HcrmError, match="没有可用账号"):
        reassign_instruction(work, instruction_id=instruction.id, practitioner_id=stranger.id)


# ── scope ───────────────────────────────────────────────────────────────────


def test_another_department_s_instruction_is_not_there(work: Work):
    ward, elsewhere = make_department(work), make_department(work)
    instruction = make_instruction(work, encounter=make_encounter(work, department=elsewhere))
    work.actor = actor_of(make_practitioner(work), ward)

    with pytest.raises(DeniedError) as refusal:
        accept_instruction(work, instruction_id=instruction.id)
    assert refusal.value.patients == (instruction.patient_id,)


def test_an_instruction_assigned_to_me_is_mine_wherever_the_patient_lay(work: Work):
    doctor = make_practitioner(work)
    instruction = make_instruction(
        work, encounter=make_encounter(work, department=make_department(work)), assignee=doctor
    )
    work.actor = actor_of(doctor, make_department(work))

    assert accept_instruction(work, instruction_id=instruction.id).state is S.ACCEPTED


def test_what_does_not_exist_is_not_found(work: Work):
    with pytest.raises(NotFoundError):
        accept_instruction(work, instruction_id="0" * 32)
