"""Traffic of each source by slots of five minutes: counted by a job, read by the watch and the plots.

A slot is counted again as long as its messages may still change (RECOUNT): what waits then, and the lag, come right.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import median
from typing import Any

import sqlalchemy as sa

from hcrm.core import limits
from hcrm.core.clock import local_time
from hcrm.core.db import table_of
from hcrm.core.work import Work
from hcrm.inbox.console_models import MessageAct
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage
from hcrm.inbox.monitor_models import MessageTraffic
from hcrm.inbox.take_up import on_postgresql

SLOT = timedelta(minutes=5)
RECOUNT = timedelta(minutes=30)
LIVE = 2 * SLOT
"""What is counted when somebody looks: the job's next turn would be too late for who has just sent something."""
_STEP = timedelta(days=1)
_WEEKS = 8
_FEWEST_WEEKS = 2
_SUNDAY = 6


def count_traffic(work: Work) -> int:
    """Count a day at most, from where the last count may have changed; a job runs it. 0: up to now."""
    now = work.clock.now()
    start = _start(work, now)
    if start is None:
        return 0
    end = min(start + _STEP, now + SLOT)
    work.execute(sa.delete(MessageTraffic).where(MessageTraffic.slot_at.between(start, end - SLOT)))
    rows = _counted(work, start, end, now)
    mark = {"source": "", "slot_at": end - SLOT, "received": 0, "parked": 0, "lag_seconds": 0.0}
    if end <= now and not any(row["slot_at"] == mark["slot_at"] and not row["source"] for row in rows):
        rows.append(mark)  # how far it was looked, where nothing came that day: the next count begins there
    work.insert(MessageTraffic, rows)
    work.execute(
        sa.delete(MessageTraffic).where(MessageTraffic.slot_at < now - timedelta(days=limits.TRAFFIC_DAYS))
    )
    return 0 if end > now else len(rows)


def slot_of(moment: datetime) -> datetime:
    """The slot a moment lies in."""
    return datetime.fromtimestamp(moment.timestamp() // SLOT.total_seconds() * SLOT.total_seconds(), UTC)


def _start(work: Work, now: datetime) -> datetime | None:
    """The oldest slot that may count otherwise now; None where nothing was ever received."""
    last = work.scalar(sa.select(sa.func.max(MessageTraffic.slot_at)))
    if last is None:
        first = work.scalar(sa.select(sa.func.min(InboxMessage.received_at)))
        oldest = now - timedelta(days=limits.TRAFFIC_DAYS - 1)
        return None if first is None else slot_of(max(first, oldest))
    untaken = work.scalar(
        sa.select(sa.func.min(MessageTraffic.slot_at)).where(
            MessageTraffic.source == "", MessageTraffic.received > 0, MessageTraffic.slot_at > now - 7 * _STEP
        )
    )
    return slot_of(min(last - RECOUNT, untaken or last))


def _counted(work: Work, start: datetime, end: datetime, now: datetime) -> list[dict[str, Any]]:
    message, way = InboxMessage, InboxApplication
    slot, seconds = _slot_number(work), _seconds(work)
    is_decided = sa.and_(way.applied_at.is_not(None), way.state != ApplicationState.WAITING)
    decided_at = sa.case((is_decided, way.applied_at), else_=sa.literal(now, message.received_at.type))
    # An act of a person has written over when it was first decided: the time until then is no lag of ours.
    handled = sa.exists().where(MessageAct.seq == message.seq)
    lag = sa.case((handled, None), else_=seconds(decided_at) - seconds(message.received_at))
    source = sa.func.coalesce(way.source, "")
    statement = (
        sa.select(
            source.label("source"), slot.label("slot"), sa.func.count().label("received"),
            sa.func.sum(sa.case((way.state == ApplicationState.PARKED, 1), else_=0)).label("parked"),
            sa.func.max(lag).label("lag"),
        )
        .select_from(message)
        .outerjoin(way, way.seq == message.seq)
        .where(message.received_at >= start, message.received_at < end)
        .group_by(source, slot)
    )  # fmt: skip
    return [
        {"source": row.source, "slot_at": datetime.fromtimestamp(int(row.slot) * SLOT.total_seconds(), UTC),
         "received": row.received, "parked": int(row.parked or 0), "lag_seconds": max(0.0, float(row.lag or 0))}
        for row in work.execute(statement)
    ]  # fmt: skip


def _seconds(work: Work) -> Any:
    """Seconds since 1970 of a moment, as each engine says it."""
    if on_postgresql(work):
        return lambda moment: sa.extract("epoch", moment)
    return lambda moment: (sa.func.julianday(moment, type_=sa.Float) - 2440587.5) * 86400.0


def _slot_number(work: Work) -> sa.ColumnElement[Any]:
    length = int(SLOT.total_seconds())
    received = InboxMessage.received_at
    if on_postgresql(work):
        return sa.cast(sa.func.floor(sa.extract("epoch", received) / length), sa.BigInteger)
    return sa.cast(sa.func.strftime("%s", received), sa.Integer).op("/")(length)


# ── what is expected ────────────────────────────────────────────────────────


def expected_messages(
    work: Work, source: str, since: datetime, until: datetime, holidays: Collection[date]
) -> float:
    """How many messages of a source the last weeks let expect between two moments, by weekday and hour.

    The median of the same hour of the last weeks; an hour with fewer than two weeks behind it expects nothing. A day
    off expects half of the less of its weekday and a Sunday, and teaches nothing.
    """
    since = max(since, until - timedelta(days=2))  # longer silence expects no less
    first, history = _history(work, source, since)
    if first is None:
        return 0.0
    total, moment = 0.0, since
    while moment < until:
        hour_end = moment.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        share = (min(hour_end, until) - moment) / timedelta(hours=1)
        local = local_time(moment)
        cell = _cell(history, first, local, local.weekday(), holidays)
        if local.date() in holidays:
            cell = min(cell, _cell(history, first, local, _SUNDAY, holidays)) / 2
        total += cell * share
        moment = hour_end
    return total


def _history(work: Work, source: str, until: datetime) -> tuple[date | None, Mapping[tuple[date, int], int]]:
    """Messages by hospital date and hour in the weeks before, and the first day there is anything of."""
    rows = work.execute(
        sa.select(MessageTraffic.slot_at, MessageTraffic.received).where(
            MessageTraffic.source == source, MessageTraffic.slot_at < until,
            MessageTraffic.slot_at >= until - timedelta(weeks=_WEEKS, days=1),
        )
    )  # fmt: skip
    hours: dict[tuple[date, int], int] = defaultdict(int)
    for row in rows:
        local = local_time(row.slot_at)
        hours[local.date(), local.hour] += row.received
    return min((day for day, _ in hours), default=None), hours


def _cell(
    history: Mapping[tuple[date, int], int],
    first: date,
    at: datetime,
    weekday: int,
    holidays: Collection[date],
) -> float:
    back = (at.weekday() - weekday) % 7 or 7  # the last day of that weekday before today
    days = [at.date() - timedelta(days=back + 7 * n) for n in range(_WEEKS)]
    samples = [history.get((day, at.hour), 0) for day in days if day > first and day not in holidays]
    return float(median(samples)) if len(samples) >= _FEWEST_WEEKS else 0.0


# ── for the plots ───────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class TrafficStep:
    """One step of a plot."""

    begins_at: datetime
    received: Mapping[str, int]  # by source
    parked: int
    lag_seconds: float


def list_traffic(work: Work, *, hours: int, step: timedelta) -> tuple[Sequence[str], Sequence[TrafficStep]]:
    """The sources and the steps of the last hours, oldest first; steps without a message are there too."""
    now = work.clock.now()
    begin = slot_of(now) - timedelta(hours=hours) + step
    begin = datetime.fromtimestamp(begin.timestamp() // step.total_seconds() * step.total_seconds(), UTC)
    rows = _rows_since(work, begin, now)
    count = int((now - begin) / step) + 1
    received: list[dict[str, int]] = [defaultdict(int) for _ in range(count)]
    parked, lag = [0] * count, [0.0] * count
    for row in rows:
        n = int((row["slot_at"] - begin) / step)
        if n < count:
            received[n][row["source"]] += row["received"]
            parked[n] += row["parked"]
            lag[n] = max(lag[n], row["lag_seconds"])
    totals: dict[str, int] = defaultdict(int)
    for one in received:
        for source, number in one.items():
            totals[source] += number
    sources = sorted((source for source, number in totals.items() if number), key=lambda one: -totals[one])
    steps = [TrafficStep(begin + n * step, received[n], parked[n], lag[n]) for n in range(count)]
    return sources, steps


def counted_until(work: Work) -> datetime | None:
    """Where counting stopped, if it did: between there and the last minutes the plots know nothing."""
    last = work.scalar(sa.select(sa.func.max(MessageTraffic.slot_at)))
    now = work.clock.now()
    if last is None or last + SLOT >= slot_of(now - LIVE):
        return None
    missed = sa.exists().where(
        InboxMessage.received_at >= last + SLOT, InboxMessage.received_at < slot_of(now - LIVE)
    )
    until: datetime = last + SLOT
    return until if work.scalar(sa.select(missed)) else None


def _rows_since(work: Work, begin: datetime, now: datetime) -> list[dict[str, Any]]:
    """What the job counted, and the last minutes counted now."""
    columns = table_of(MessageTraffic).c
    last = work.scalar(sa.select(sa.func.max(columns.slot_at)))
    live = max(slot_of(now - LIVE), last or begin, begin)
    counted = work.execute(sa.select(*columns).where(columns.slot_at >= begin, columns.slot_at < live))
    return [*map(dict, counted.mappings()), *_counted(work, live, now + SLOT, now)]
