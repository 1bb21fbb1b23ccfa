"""What would become of the instructions of stays that were sorted otherwise; nothing is written."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from hcrm.centre.instructions import NO_CUT_OVERS, CutOvers, plan_instructions
from hcrm.centre.models import Instruction, InstructionState
from hcrm.centre.owners import find_owners
from hcrm.centre.replanning import (
    FOLLOWING,
    FOR_GOOD,
    UNTOUCHED,
    Standing,
    changed_by_people,
    instruction_key,
    is_restorable,
    values_now,
)
from hcrm.centre.stays import Stay
from hcrm.core.db import table_of
from hcrm.core.work import Work


@dataclass(frozen=True, slots=True)
class Following:
    """How many instructions would appear, appear too late to be done, move, be withdrawn."""

    appearing: int = 0
    missed: int = 0
    moving: int = 0
    withdrawn: int = 0


def count_following(work: Work, stays: Sequence[Stay], *, cut_overs: CutOvers = NO_CUT_OVERS) -> Following:
    """As `replan_instructions` would do with these stays, whose facts hold the classes they are to have."""
    if not stays:
        return Following()
    by_trigger = {stay.trigger_id: stay for stay in stays}
    planned = plan_instructions(work, stays=stays, cut_overs=cut_overs)
    keys = {(row["trigger_id"], row["protocol_code"]) for row in planned}
    table = table_of(Instruction)
    standing = (
        work.execute(sa.select(table).where(table.c.trigger_id.in_(sorted(by_trigger)))).mappings().all()
    )
    known = {instruction_key(row) for row in standing}
    new = [row for row in planned if (row["trigger_id"], row["protocol_code"]) not in known]
    missed = sum(row["state"] is InstructionState.MISSED for row in new)
    gone = [row for row in standing if instruction_key(row) not in keys and row["state"] in UNTOUCHED]
    staying = [row for row in standing if instruction_key(row) in keys]
    restored = sum(is_restorable(row, FOR_GOOD) for row in staying)
    return Following(len(new) - missed + restored, missed, _moving(work, staying, by_trigger), len(gone))


def _moving(work: Work, standing: Sequence[Standing], stays: dict[str, Stay]) -> int:
    """Those nobody has taken up whose dates or owner would be others."""
    rows = [row for row in standing if row["state"] in UNTOUCHED]
    owners = find_owners(work, stays.values())
    by_hand = changed_by_people(work, rows)
    moving = 0
    for row in rows:
        values = values_now(work, row, stays[row["trigger_id"]], owners)
        if row["id"] in by_hand:
            values["assignee_id"] = row["assignee_id"]
        moving += any(row[name] != values[name] for name in FOLLOWING)
    return moving
