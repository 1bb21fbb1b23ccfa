"""Whose turn it is to fetch from a folder or view, and how it went. What is fetched twice is stored once."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.clock import Clock
from hcrm.core.db import Database
from hcrm.core.errors import HcrmError
from hcrm.core.work import Work, open_work
from hcrm.inbox.cursor_models import SourceCursor

_ACTOR = system_actor("collector")


class TurnLost(HcrmError):
    """Another process has taken over: whatever we fetch from here on it fetches too."""

    def __init__(self) -> None:
        super().__init__("turn.lost", "另一个进程已接手")


@dataclass(frozen=True)
class Turn:
    """The right to fetch, held by one process at a time."""

    database: Database
    clock: Clock
    source: str
    channel: str
    owner: str
    watermark: str | None

    def advance(self, *, rows: int, new: int, watermark: str | None = None) -> None:
        """Note what is stored by now, and hold on to the turn; after the store, so a crash repeats and loses none."""
        with self._work() as work:
            values: dict[str, Any] = {
                "rows_last": SourceCursor.rows_last + rows, "rows_total": SourceCursor.rows_total + new,
                "leased_until": _lease_end(self.clock),
            }  # fmt: skip
            if watermark is not None:
                values["watermark"] = watermark
            self._update(work, values)

    def end(self, error: str | None = None, *, put_aside: int | None = None) -> None:
        """Let go, and say how it went; `put_aside`: files that lie in the folder's _error."""
        now = self.clock.now()
        values: dict[str, Any] = {"leased_by": None, "leased_until": None, "last_error": error}
        if put_aside is not None:
            values["put_aside"] = put_aside
        if error is None:
            values["last_ok_at"] = now
        with self._work() as work:
            self._update(work, values)

    def _update(self, work: Work, values: dict[str, Any]) -> None:
        ours = (SourceCursor.source == self.source, SourceCursor.channel == self.channel,
                SourceCursor.leased_by == self.owner)  # fmt: skip
        changed = sa.update(SourceCursor).where(*ours).values(values).returning(SourceCursor.id)
        if work.execute(changed).first() is None:
            raise TurnLost

    def _work(self) -> AbstractContextManager[Work]:
        return open_work(self.database, actor=_ACTOR, clock=self.clock)


def take_turn(database: Database, clock: Clock, *, source: str, channel: str, owner: str) -> Turn | None:
    """The turn, or None while another process has it."""
    now = clock.now()
    with open_work(database, actor=_ACTOR, clock=clock) as work:
        new = {
            "id": work.new_id(), "source": source, "channel": channel, "watermark": None, "last_run_at": None,
            "last_ok_at": None, "last_error": None, "rows_last": 0, "rows_total": 0, "put_aside": None,
            "leased_by": None, "leased_until": None,
        }  # fmt: skip
        work.insert_new(SourceCursor, [new])
        free = sa.or_(SourceCursor.leased_until.is_(None), SourceCursor.leased_until < now)
        taken = work.execute(
            sa.update(SourceCursor)
            .where(SourceCursor.source == source, SourceCursor.channel == channel, free)
            .values(leased_by=owner, leased_until=_lease_end(clock), last_run_at=now, rows_last=0)
            .returning(SourceCursor.watermark)
        ).first()
    return Turn(database, clock, source, channel, owner, taken.watermark) if taken else None


def list_turns(work: Work) -> list[SourceCursor]:
    """Every folder and view with how it went."""
    return list(work.scalars(sa.select(SourceCursor).order_by(SourceCursor.source, SourceCursor.channel)))


def _lease_end(clock: Clock) -> object:
    return clock.now() + timedelta(seconds=limits.TURN_SECONDS)
