"""Delivering stored facts to those who listen: `HANDLERS` in `app/wiring.py` names them."""

import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from hcrm.core import limits
from hcrm.core.actor import Actor
from hcrm.core.clock import Clock
from hcrm.core.db import Database, is_crossed
from hcrm.core.errors import HcrmError, NotFoundError
from hcrm.core.events import DeliveryState, Event, EventDelivery, Fact
from hcrm.core.faults import fault
from hcrm.core.work import Work, open_work

logger = logging.getLogger(__name__)

Handler = Callable[[Work, Sequence[Any]], object]
"""Takes a batch of facts of one kind in a work of its own; may be a `partial` that carries settings."""
Handlers = Mapping[type[Fact], Sequence[Handler]]

_SETTLED = (DeliveryState.DONE, DeliveryState.PARKED)


def deliver_events(
    database: Database, handlers: Handlers, clock: Clock, actor: Actor, batch: int = limits.EVENT_BATCH
) -> int:
    """One round: each handler gets a batch of what waits for it, oldest first; how many deliveries were done.

    Called again until it answers 0; what handlers emit is delivered by the next round. Receipts are written in the
    handler's own work, so each handler has each event exactly once. Any number of workers may call this at once:
    on PostgreSQL they skip each other's rows, on SQLite they wait for each other. Two events may therefore reach a
    handler in either order, and a handler goes by what stands in the archive, not by the order of facts.
    """
    with open_work(database, actor=actor, clock=clock, write=False) as work:
        waiting = set(work.scalars(sa.select(Event.kind).where(~Event.is_delivered).distinct()))
    done = 0
    for fact, listeners in handlers.items():
        if fact.__name__ in waiting and listeners:
            names = tuple(handler_name(listener) for listener in listeners)
            for name, listener in zip(names, listeners, strict=True):
                done += _Delivery(database, clock, actor, fact, name, listener, names).deliver(batch)
    unheard = waiting - {fact.__name__ for fact, listeners in handlers.items() if listeners}
    if unheard:
        with open_work(database, actor=actor, clock=clock) as work:
            work.execute(
                sa.update(Event)
                .where(~Event.is_delivered, Event.kind.in_(sorted(unheard)))
                .values(is_delivered=True)
                .execution_options(synchronize_session=False)
            )
    return done


def handler_name(handler: Handler) -> str:
    """What a handler's receipts are kept under: its module's last word and its own name."""
    while isinstance(handler, partial):
        handler = handler.func
    return f"{handler.__module__.rpartition('.')[2]}.{handler.__qualname__}"


def count_waiting(work: Work) -> int:
    """Events some handler has still to get; parked deliveries do not count."""
    return int(work.scalar(sa.select(sa.func.count()).select_from(Event).where(~Event.is_delivered)))


def list_troubled(work: Work, *, limit: int = limits.PAGE_SIZE) -> Sequence[sa.Row[Any]]:
    """Deliveries that failed or were parked, the latest first: event, kind, handler, state, attempts, reason, when."""
    return work.execute(
        sa.select(
            EventDelivery.event_id, Event.kind, EventDelivery.handler, EventDelivery.state, EventDelivery.attempts,
            EventDelivery.reason, EventDelivery.handled_at,
        )
        .join(Event, Event.id == EventDelivery.event_id)
        .where(EventDelivery.state != sa.literal(DeliveryState.DONE, EventDelivery.state.type, literal_execute=True))
        .order_by(EventDelivery.handled_at.desc())
        .limit(limit)
    ).all()  # fmt: skip


def retry_delivery(work: Work, *, event_id: str, handler: str) -> None:
    """Let a parked delivery be tried anew."""
    found = work.execute(
        sa.delete(EventDelivery).where(
            EventDelivery.event_id == event_id,
            EventDelivery.handler == handler,
            EventDelivery.state != DeliveryState.DONE,
        )
    )
    if not found.rowcount:  # type: ignore[attr-defined]  # a DELETE's result is a cursor
        raise NotFoundError
    work.execute(sa.update(Event).where(Event.id == event_id).values(is_delivered=False))


class _HandlerFailed(Exception):
    """The handler's own failure, told apart from a database that could not begin or commit."""

    def __init__(self, claimed: "list[_Claimed]") -> None:
        super().__init__()
        self.claimed = claimed

    @property
    def is_crossed(self) -> bool:
        """Whether its work and another's stood in each other's way."""
        return isinstance(self.__cause__, sa.exc.DBAPIError) and is_crossed(self.__cause__)


@dataclass(frozen=True, slots=True)
class _Claimed:
    event_id: str
    payload: dict[str, Any]
    attempts: int  # failed before


@dataclass(frozen=True, slots=True)
class _Delivery:
    """One handler and one kind of event."""

    database: Database
    clock: Clock
    actor: Actor
    fact: type[Fact]
    name: str
    handler: Handler
    names: tuple[str, ...]  # of all that listen to this kind

    def deliver(self, batch: int) -> int:
        """A batch in one work; where that fails each event alone, so that only the poisoned one stays behind."""
        try:
            return self._try(limit=batch)
        except _HandlerFailed as failed:
            if len(failed.claimed) == 1 and not failed.is_crossed:
                self._note_failure(failed.claimed[0], failed.__cause__)
                return 0
            return sum(self._deliver_alone(each.event_id) for each in failed.claimed)

    def _deliver_alone(self, event_id: str) -> int:
        """One event; again at once where its work met another's (a deadlock), which is no fault of the event."""
        for turn in range(1, limits.EVENT_CROSSED_ATTEMPTS + 1):
            try:
                return self._try(event_id=event_id)
            except _HandlerFailed as failed:
                if not failed.is_crossed or turn == limits.EVENT_CROSSED_ATTEMPTS:
                    self._note_failure(failed.claimed[0], failed.__cause__)
                    break
        return 0

    def _try(self, *, limit: int = 1, event_id: str | None = None) -> int:
        with open_work(self.database, actor=self.actor, clock=self.clock) as work:
            claimed = self._claim(work, limit, event_id)
            if not claimed:
                return 0
            try:
                self.handler(work, [self.fact(**each.payload) for each in claimed])
                work.flush()  # what the database refuses must show here, where it is the handler's failure
            except Exception as error:
                raise _HandlerFailed(claimed) from error
            self._write_receipts(work, claimed)
            fault("before_delivery_commit")
        return len(claimed)

    def _claim(self, work: Work, limit: int, event_id: str | None) -> list[_Claimed]:
        """The oldest events without this handler's receipt; those that failed a moment ago rest first.

        Between what the statement saw and its locks others may have written receipts (PostgreSQL, READ COMMITTED),
        so the receipts are read again once the events are ours.
        """
        rested = work.clock.now() - timedelta(seconds=limits.EVENT_RETRY_SECONDS)
        statement = (
            sa.select(Event.id, Event.payload)
            .outerjoin(
                EventDelivery, sa.and_(EventDelivery.event_id == Event.id, EventDelivery.handler == self.name)
            )
            .where(~Event.is_delivered, Event.kind == self.fact.__name__)
            .where(
                sa.or_(
                    EventDelivery.event_id.is_(None),
                    sa.and_(EventDelivery.state == DeliveryState.FAILED, EventDelivery.handled_at <= rested),
                )
            )
            .order_by(Event.id)
            .limit(limit)
            .with_for_update(of=Event, skip_locked=True)
        )
        if event_id is not None:
            statement = statement.where(Event.id == event_id)
        rows = work.execute(statement).all()
        receipts = self._receipts(work, [row.id for row in rows])
        return [
            _Claimed(row.id, row.payload, receipts[row.id].attempts if row.id in receipts else 0)
            for row in rows
            if row.id not in receipts or _may_try(receipts[row.id], rested)
        ]

    def _receipts(self, work: Work, event_ids: Sequence[str]) -> dict[str, Any]:
        """This handler's receipts for events that are locked: nobody writes others meanwhile."""
        if not event_ids:
            return {}
        rows = work.execute(
            sa.select(EventDelivery.event_id, EventDelivery.state, EventDelivery.attempts, EventDelivery.handled_at)
            .where(EventDelivery.event_id.in_(event_ids), EventDelivery.handler == self.name)
        )  # fmt: skip
        return {row.event_id: row for row in rows}

    def _write_receipts(
        self, work: Work, claimed: Sequence[_Claimed], state: DeliveryState = DeliveryState.DONE,
        reason: str | None = None,
    ) -> None:  # fmt: skip
        """This handler's receipts, and the mark on the events that every handler has had."""
        now = work.clock.now()
        again = [each.event_id for each in claimed if each.attempts]
        if again:
            work.execute(
                sa.delete(EventDelivery).where(
                    EventDelivery.event_id.in_(again), EventDelivery.handler == self.name
                )
            )
        work.insert(
            EventDelivery,
            [
                {"event_id": each.event_id, "handler": self.name, "state": state, "attempts": each.attempts + 1,
                 "reason": reason, "handled_at": now}
                for each in claimed
            ],
        )  # fmt: skip
        if state not in _SETTLED:
            return
        mark = sa.update(Event).where(Event.id.in_([each.event_id for each in claimed]))
        if len(self.names) > 1:
            had = (
                sa.select(sa.func.count())
                .where(
                    EventDelivery.event_id == Event.id,
                    EventDelivery.handler.in_(self.names),
                    EventDelivery.state.in_(_SETTLED),
                )
                .scalar_subquery()
            )
            mark = mark.where(had >= len(self.names))
        work.execute(mark.values(is_delivered=True).execution_options(synchronize_session=False))

    def _note_failure(self, each: _Claimed, error: BaseException | None) -> None:
        """One attempt more; the last one parks the delivery. Only the kind of failure is kept: its text may quote.

        What failed was rolled back and its locks are gone: whoever has had the event since then has settled it.
        """
        reason = error.code if isinstance(error, HcrmError) else type(error).__name__
        with open_work(self.database, actor=self.actor, clock=self.clock) as work:
            work.execute(sa.select(Event.id).where(Event.id == each.event_id).with_for_update())
            receipt = self._receipts(work, [each.event_id]).get(each.event_id)
            if receipt is not None and receipt.state in _SETTLED:
                return
            each = replace(each, attempts=receipt.attempts if receipt is not None else 0)
            is_last = each.attempts + 1 >= limits.EVENT_ATTEMPTS
            state = DeliveryState.PARKED if is_last else DeliveryState.FAILED
            self._write_receipts(work, [each], state, reason)
        logger.warning(
            "event %s (%s): %s failed at %s: %s, now %s",
            each.event_id, self.fact.__name__, self.name, _place(error), reason, state.value,
        )  # fmt: skip


def _may_try(receipt: Any, rested: datetime) -> bool:
    return receipt.state is DeliveryState.FAILED and receipt.handled_at <= rested


def _place(error: BaseException | None) -> str:
    """File and line of the failure, without what was being done to whom."""
    frames = traceback.extract_tb(error.__traceback__) if error else []
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
