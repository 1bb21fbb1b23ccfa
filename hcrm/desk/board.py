"""The department head's board (科室看板): per physician what is due, done in its window, overdue, returned and lost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import sqlalchemy as sa

from followup.alerts import IS_UNHANDLED
from followup.models import Alert
from followup.review import count_waiting
from hcrm.centre.models import DONE_IN_WINDOW, IS_OPEN, Instruction, InstructionState, Outcome
from hcrm.centre.scope import instructions_in_scope
from hcrm.core.clock import local_date
from hcrm.core.work import Work
from hcrm.directory.models import Practitioner

PERIODS = (7, 30, 90)
"""Days back that the board may look."""


@dataclass(frozen=True, slots=True)
class DoctorLine:
    """One physician's line. Nobody's line (`assignee_id` None) is the exception queue."""

    assignee_id: str | None
    name: str | None
    due: int  # of the period, withdrawn ones not counted
    in_window: int  # of those, done within opens_on to closes_on
    lost: int  # of those, ended as 失访
    open: int  # now, whenever due
    overdue: int  # now
    returned: int  # now
    alerts: int  # red flags that wait now

    @property
    def ratio(self) -> float | None:
        """Done in window of what was due; None where nothing was due."""
        return self.in_window / self.due if self.due else None


@dataclass(frozen=True, slots=True)
class Board:
    """The board of a scope over a period."""

    since: date
    until: date
    lines: Sequence[DoctorLine]
    reviews: int

    def total(self, name: str) -> int:
        """A column's sum."""
        return sum(getattr(line, name) for line in self.lines)

    @property
    def ratio(self) -> float | None:
        """Done in window of what was due, all physicians together."""
        due = self.total("due")
        return self.total("in_window") / due if due else None


def load_board(work: Work, *, days: int) -> Board:
    """The board in the actor's scope: what was due in the last `days`, today included, and what waits now."""
    until = local_date(work.clock.now())
    since = until - timedelta(days=days - 1)
    due, now, alerts = _due(work, since, until), _waiting(work, until), _alerts(work)
    names = _names(work, {*due, *now, *alerts})
    lines = [
        DoctorLine(
            assignee_id=key,
            name=names.get(key),
            **{name: getattr(due.get(key), name, 0) for name in ("due", "in_window", "lost")},
            **{name: getattr(now.get(key), name, 0) for name in ("open", "overdue", "returned")},
            alerts=alerts.get(key, 0),
        )
        for key in {*due, *now, *alerts}
    ]
    lines.sort(key=lambda line: (line.assignee_id is not None, -line.overdue, -line.open, line.name or ""))
    reviews = count_waiting(work) if work.actor.may("review.write") else 0
    return Board(since, until, lines, reviews)


def _due(work: Work, since: date, until: date) -> Mapping[str | None, sa.Row[tuple[int, ...]]]:
    """What fell due in the period, by physician."""
    rows = work.execute(
        sa.select(
            Instruction.assignee_id,
            sa.func.count().label("due"),
            _sum(DONE_IN_WINDOW).label("in_window"),
            _sum(Instruction.outcome == Outcome.LOST).label("lost"),
        )
        .where(
            instructions_in_scope(work.actor),
            Instruction.due_on.between(since, until),
            Instruction.state != InstructionState.WITHDRAWN,
        )
        .group_by(Instruction.assignee_id)
    )
    return {row.assignee_id: row for row in rows}


def _waiting(work: Work, today: date) -> Mapping[str | None, sa.Row[tuple[int, ...]]]:
    """What waits now, by physician."""
    is_returned = Instruction.state == InstructionState.RETURNED
    rows = work.execute(
        sa.select(
            Instruction.assignee_id,
            _sum(IS_OPEN).label("open"),
            _sum(sa.and_(IS_OPEN, Instruction.due_on < today)).label("overdue"),
            _sum(is_returned).label("returned"),
        )
        .where(instructions_in_scope(work.actor), sa.or_(IS_OPEN, is_returned))
        .group_by(Instruction.assignee_id)
    )
    return {row.assignee_id: row for row in rows}


def _alerts(work: Work) -> Mapping[str | None, int]:
    """Red flags that wait, by the physician of their instruction."""
    rows = work.execute(
        sa.select(Instruction.assignee_id, sa.func.count().label("alerts"))
        .join(Alert, Alert.instruction_id == Instruction.id)
        .where(IS_UNHANDLED, instructions_in_scope(work.actor))
        .group_by(Instruction.assignee_id)
    )
    return {row.assignee_id: row.alerts for row in rows}


def _names(work: Work, ids: set[str | None]) -> dict[str | None, str]:
    wanted = sorted(key for key in ids if key)
    rows = work.execute(sa.select(Practitioner.id, Practitioner.name).where(Practitioner.id.in_(wanted)))
    return {row.id: row.name for row in rows}


def _sum(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, 1), else_=0))
