from datetime import timedelta

import pytest

from hcrm.centre import jobs
from hcrm.centre.jobs import expire_instructions
from hcrm.centre.models import OPEN_STATES, Instruction, InstructionHistory, InstructionState
from hcrm.core.clock import local_date
from hcrm.core.work import Work
from tests.support.builders import make_encounter, make_instruction


@pytest.mark.parametrize(("closed_days_ago", "state"), [(0, "issued"), (1, "expired")])
def test_the_last_day_of_the_window_still_counts(work: Work, closed_days_ago, state):
    today = local_date(work.clock.now())
    instruction = make_instruction(work, due_on=today - timedelta(days=5 + closed_days_ago), closes_after=5)

    expire_instructions(work)

    work.session.refresh(instruction)
    assert instruction.state == state


def test_the_day_changes_at_midnight_of_the_hospital(work: Work):
    today = local_date(work.clock.now())
    instruction = make_instruction(work, due_on=today, closes_after=0)
    work.clock.move(hours=13, minutes=59)  # 23:59 here

    assert expire_instructions(work) == 0
    work.clock.move(minutes=1)
    assert expire_instructions(work) == 1

    work.session.refresh(instruction)
    assert instruction.version == 2


@pytest.mark.parametrize("state", InstructionState)
def test_only_what_is_open_expires(work: Work, state):
    make_instruction(work, state=state, due_on=local_date(work.clock.now()) - timedelta(days=30))

    assert expire_instructions(work) == (1 if state in OPEN_STATES else 0)


def test_expiry_stands_in_the_history(work: Work):
    make_instruction(
        work, state=InstructionState.ACCEPTED, due_on=local_date(work.clock.now()) - timedelta(days=9)
    )

    expire_instructions(work)
    work.flush()

    note = work.one(InstructionHistory)
    assert (note.before, note.after) == (InstructionState.ACCEPTED, InstructionState.EXPIRED)


def test_a_long_list_expires_in_pieces(work: Work, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jobs, "EXPIRY_BATCH", 2)
    stay = make_encounter(work)
    for _ in range(5):
        make_instruction(work, encounter=stay, due_on=local_date(work.clock.now()) - timedelta(days=9))

    assert [expire_instructions(work) for _ in range(4)] == [2, 2, 1, 0]
    work.session.expire_all()
    assert {row.state for row in work.all(Instruction)} == {InstructionState.EXPIRED}
