"""The way of a stored message into the archive: taken up in order, applied in batches, exactly once.

A message is taken up once: it gets its row with the lane of its patient. A worker locks lanes, applies what waits
in them in order of arrival in one transaction with the archive, and lets go. If a batch fails it is tried one by
one, so that only the message at fault is parked.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects.postgresql import ARRAY

from hcrm.archive.matching import record_numbers
from hcrm.archive.records import AbsorbOutcome, Change, IdentifierRecord, Mapped, OutcomeState, Unmapped
from hcrm.archive.service import Arrival, absorb_records, opened_key
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.actor import Actor
from hcrm.core.clock import Clock
from hcrm.core.db import Database, is_away, table_of
from hcrm.core.faults import fault
from hcrm.core.sources import Sources
from hcrm.core.work import Work, open_work
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage

Mapper = Callable[[bytes, Sources, datetime], Mapped]
Mappers = Mapping[str, Mapper]
"""What reads a stored message, by its format: handed in by `app.wiring`, since only adapters know HL7 and FHIR."""

_TAKE_UP = 1_000
_LANES_AT_ONCE = limits.LANES // 4
_LATE_COMMIT = timedelta(seconds=60)
NO_LANE = -1
"""Of a message to be replayed, until it is taken up again."""
_LOCK_TAKE_UP, _LOCK_LANE = 4_801, 4_802  # advisory locks: two numbers of our own, then the lane
_STATES = {
    OutcomeState.APPLIED: ApplicationState.APPLIED,
    OutcomeState.IGNORED: ApplicationState.IGNORED,
    OutcomeState.HELD: ApplicationState.HELD,
    OutcomeState.PARKED: ApplicationState.PARKED,
}
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Intake:
    """What the worker needs beside its database: who reads which format, for whom, in whose name."""

    mappers: Mappers
    sources: Sources
    actor: Actor
    clock: Clock
    read: dict[int, Mapped] = field(default_factory=dict)
    """What was read when it was taken up, until it is applied: each message is read once in a process."""


def process_messages(database: Database, intake: Intake) -> int:
    """Take up what is new and apply one batch; how many messages were decided. 0: nothing waits."""
    with open_work(database, actor=intake.actor, clock=intake.clock) as work:
        take_up(work, intake)
    seqs: list[int] = []
    try:
        with open_work(database, actor=intake.actor, clock=intake.clock) as work:
            batch = _claim(work)
            seqs = [row["seq"] for row in batch]
            _apply(work, batch, intake)
            fault("before_apply_commit")
        return len(seqs)
    except Exception as error:
        if not seqs or (isinstance(error, sa.exc.DBAPIError) and is_away(error)):
            raise  # nothing was begun, or the database is away or busy: nobody's message is at fault
        log.warning("inbox.batch_failed", error=type(error).__name__, messages=len(seqs))
    return _apply_one_by_one(database, seqs, intake)


def take_up(work: Work, intake: Intake) -> int:
    """Give each new message its row and lane, in order of arrival; how many were new.

    New is what has no row yet (anti-join). On PostgreSQL a lower number may be committed after a higher one, so the
    join reaches back a minute; the inbox of SQLite has one writer, there numbers are committed in order.
    """
    _exclusive(work)
    now = intake.clock.now()
    message, application = table_of(InboxMessage), table_of(InboxApplication)
    newest = sa.select(sa.func.coalesce(sa.func.max(application.c.seq), 0))
    if _on_postgresql(work):
        newest = newest.where(application.c.taken_up_at < now - _LATE_COMMIT)
    rows = work.execute(
        sa.select(
            message.c.seq,
            message.c.format,
            message.c.raw,
            message.c.kind,
            message.c.received_at,
            message.c.flags,
        )
        .where(message.c.seq > (work.scalar(newest) or 0))
        .where(~sa.exists().where(application.c.seq == message.c.seq))
        .order_by(message.c.seq)
        .limit(_TAKE_UP)
    ).mappings()
    work.insert(InboxApplication, taken := [_taken_up(work, row, intake, now) for row in rows])
    return len(taken) + _take_up_again(work, intake, now)


def _take_up_again(work: Work, intake: Intake, now: datetime) -> int:
    """Messages to be replayed: read anew, they get the lane of the patient they name now."""
    table = table_of(InboxApplication)
    rows = work.execute(
        _messages()
        .where(table.c.state == ApplicationState.WAITING, table.c.lane == NO_LANE)
        .order_by(table.c.seq)
        .limit(_TAKE_UP)
    ).mappings()
    names = ("seq", "lane", "other_lanes", "state", "reason", "detail", "source", "applied_at")
    changes = [
        {name: values[name] for name in names}
        for values in (_taken_up(work, row, intake, now) for row in rows)
    ]
    work.update_rows(InboxApplication, changes, key="seq")
    return len(changes)


def _taken_up(work: Work, row: Any, intake: Intake, now: datetime) -> dict[str, Any]:
    mapped = _map(work, row, intake)
    if isinstance(mapped.result, Change):
        if len(intake.read) >= _TAKE_UP * 2:
            intake.read.clear()  # other workers have applied them
        intake.read[row["seq"]] = mapped
    lane, others = _lanes(mapped.result, row["seq"])
    values = {
        "seq": row["seq"], "lane": lane, "other_lanes": others, "state": ApplicationState.WAITING, "attempts": 0,
        "reason": None, "detail": None, "flags": row["flags"], "kind": row["kind"], "source": mapped.source,
        "visit_key": None, "became_patient_id": None, "became_encounter_id": None, "taken_up_at": now,
        "applied_at": None,
    }  # fmt: skip
    if isinstance(mapped.result, Unmapped):
        values |= {"state": _unmapped_state(mapped.result), "reason": mapped.result.reason,
                   "detail": mapped.result.detail, "applied_at": now}  # fmt: skip
    return values


def _map(work: Work, row: Any, intake: Intake) -> Mapped:
    known = intake.read.pop(row["seq"], None)
    if known is not None:
        return known
    mapper = intake.mappers.get(row["format"])
    if mapper is None:
        return Mapped("", Unmapped("format_not_supported", row["format"]))
    try:
        return mapper(work.keys.open(row["raw"]), intake.sources, row["received_at"])
    except Exception as error:  # noqa: BLE001  a message nobody can read must not stop the ones behind it
        log.warning("inbox.unreadable", seq=row["seq"], error=type(error).__name__)
        return Mapped("", Unmapped("unreadable", type(error).__name__))


def _unmapped_state(result: Unmapped) -> ApplicationState:
    return ApplicationState.IGNORED if result.ignored else ApplicationState.PARKED


def _lanes(result: Change | Unmapped, seq: int) -> tuple[int, list[int] | None]:
    if isinstance(result, Unmapped):
        return seq % limits.LANES, None
    numbers = record_numbers(result.patient.identifiers)[:1] if result.patient else []
    for merge in result.merges:
        numbers += record_numbers(merge.survivor)[:1] + record_numbers(merge.retired)[:1]
    lanes = list(dict.fromkeys(_lane(item) for item in numbers)) or [seq % limits.LANES]
    return lanes[0], lanes[1:] or None


def _lane(item: IdentifierRecord) -> int:
    digest = hashlib.blake2b(f"{item.authority}\x00{item.value}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % limits.LANES


def _claim(work: Work) -> list[dict[str, Any]]:
    """Lock some lanes in which something waits, oldest first, and read what waits there."""
    table = table_of(InboxApplication)
    waiting = work.execute(
        sa.select(table.c.lane)
        .where(table.c.state == ApplicationState.WAITING, table.c.lane != NO_LANE)
        .group_by(table.c.lane)
        .order_by(sa.func.min(table.c.seq))
        .limit(_LANES_AT_ONCE if _on_postgresql(work) else limits.LANES)
    ).scalars()
    wanted = set(waiting)
    if not wanted:
        return []
    for _, lanes in _waiting_merges(work):
        if not wanted.isdisjoint(lanes):
            wanted |= lanes
    locked = _lock_lanes(work, wanted)
    barred = _barred(work, locked)
    rows = work.execute(
        _messages()
        .where(table.c.state == ApplicationState.WAITING, table.c.lane.in_(locked))
        .order_by(table.c.seq)
        .limit(limits.APPLY_BATCH)
    ).mappings()
    return [dict(row) for row in rows if row["seq"] < barred.get(row["lane"], row["seq"] + 1)]


def _barred(work: Work, locked: set[int]) -> dict[int, int]:
    """From which message on a lane must wait: a merge another of whose lanes is being worked in elsewhere."""
    barred: dict[int, int] = {}
    for seq, lanes in _waiting_merges(work):
        if not lanes <= locked or any(lane in barred for lane in lanes):
            for lane in lanes:
                barred.setdefault(lane, seq)
    return barred


def _waiting_merges(work: Work) -> list[tuple[int, set[int]]]:
    """Merges that wait, in order, with all their lanes: a message of any of these must not overtake them."""
    table = table_of(InboxApplication)
    rows = work.execute(
        sa.select(table.c.seq, table.c.lane, table.c.other_lanes)
        .where(table.c.state == ApplicationState.WAITING, table.c.other_lanes.is_not(None))
        .order_by(table.c.seq)
    )
    return [(row.seq, {row.lane, *row.other_lanes}) for row in rows]


def _messages() -> sa.Select[Any]:
    table, message = table_of(InboxApplication), table_of(InboxMessage)
    return sa.select(table, message.c.raw, message.c.format, message.c.received_at).join(
        message, message.c.seq == table.c.seq
    )


def _apply(work: Work, batch: Sequence[dict[str, Any]], intake: Intake) -> None:
    now = intake.clock.now()
    changes: dict[int, Change] = {}
    decided: list[dict[str, Any]] = []
    for row in batch:
        result = _map(work, row, intake).result
        if isinstance(result, Change):
            changes[row["seq"]] = result
        else:
            state = OutcomeState.IGNORED if result.ignored else OutcomeState.PARKED
            outcome = AbsorbOutcome(state, reason=result.reason, detail=result.detail)
            decided.append(_decided(row, outcome, now))
    early = _early(work, changes.values(), intake)
    rows = {row["seq"]: row for row in batch} | {row["seq"]: row for row, _ in early}
    changes |= {row["seq"]: change for row, change in early}
    arrivals = [Arrival(seq, changes[seq]) for seq in sorted(changes)]
    for arrival, outcome in zip(arrivals, absorb_records(work, arrivals=arrivals), strict=True):
        row = rows[arrival.seq]
        if row["state"] is ApplicationState.WAITING or not outcome.visit_key:
            decided.append(_decided(row, outcome, now))
    work.update_rows(InboxApplication, decided, key="seq")


def _decided(row: dict[str, Any], outcome: AbsorbOutcome, now: datetime) -> dict[str, Any]:
    return {
        "seq": row["seq"], "state": _STATES[outcome.state], "attempts": row["attempts"] + 1,
        "reason": outcome.reason, "detail": outcome.detail,
        "flags": " ".join(dict.fromkeys([*row["flags"].split(), *outcome.flags])),
        "visit_key": outcome.visit_key, "became_patient_id": outcome.patient_id,
        "became_encounter_id": outcome.encounter_id, "applied_at": now,
    }  # fmt: skip


def _early(work: Work, changes: Iterable[Change], intake: Intake) -> list[tuple[dict[str, Any], Change]]:
    """What came before a visit that these changes make known, read again: held cancels, and updates."""
    keys = {opened_key(work, change) for change in changes} - {None}
    if not keys:
        return []
    table = table_of(InboxApplication)
    rows = work.execute(
        _messages().where(
            table.c.visit_key.in_(keys), table.c.state.in_((ApplicationState.HELD, ApplicationState.APPLIED))
        )
    ).mappings()
    found = [(dict(row), _map(work, row, intake).result) for row in rows]
    return [(row, result) for row, result in found if isinstance(result, Change)]


def _apply_one_by_one(database: Database, seqs: Sequence[int], intake: Intake) -> int:
    """After a batch failed: each message in a work of its own; one that fails again and again is parked."""
    stopped: set[int] = set()  # lanes in which an earlier message could not be done: nothing may overtake it
    done = 0
    for seq in seqs:
        lanes: set[int] = set()
        try:
            with open_work(database, actor=intake.actor, clock=intake.clock) as work:
                row = _waiting_row(work, seq)
                if row is None:
                    continue
                lanes = {row["lane"], *(row["other_lanes"] or ())}
                if not lanes.isdisjoint(stopped) or _lock_lanes(work, lanes) != lanes:
                    stopped |= lanes
                    continue
                _apply(work, [row], intake)
            done += 1
        except Exception as error:  # the message's own fault, unless the database is away
            if isinstance(error, sa.exc.DBAPIError) and is_away(error):
                raise
            log.warning("inbox.message_failed", seq=seq, error=type(error).__name__)
            stopped |= lanes
            done += _note_failure(database, seq, type(error).__name__, intake)
    return done


def _waiting_row(work: Work, seq: int) -> dict[str, Any] | None:
    table = table_of(InboxApplication)
    row = work.execute(
        _messages().where(table.c.seq == seq, table.c.state == ApplicationState.WAITING)
    ).mappings().first()  # fmt: skip
    return dict(row) if row else None


def _note_failure(database: Database, seq: int, error: str, intake: Intake) -> int:
    """Count the try; 1 when that was the last and the message is parked."""
    with open_work(database, actor=intake.actor, clock=intake.clock) as work:
        row = work.one(InboxApplication, InboxApplication.seq == seq)
        row.attempts += 1
        if row.attempts < limits.APPLY_ATTEMPTS:
            return 0
        row.state, row.reason, row.detail = ApplicationState.PARKED, "error", error
        row.applied_at = intake.clock.now()
        return 1


def replay_messages(work: Work, *, seqs: Sequence[int]) -> int:
    """Let messages go their way again; applying twice changes nothing. How many.

    They are taken up anew: a source corrected meanwhile may give them another patient, and so another lane.
    """
    rows = [
        {"seq": seq, "lane": NO_LANE, "other_lanes": None, "state": ApplicationState.WAITING, "attempts": 0,
         "reason": None, "detail": None, "visit_key": None, "taken_up_at": work.clock.now()}
        for seq in work.scalars(sa.select(InboxApplication.seq).where(InboxApplication.seq.in_(seqs)))
    ]  # fmt: skip
    work.update_rows(InboxApplication, rows, key="seq")
    if rows:
        record_audit(work, action="message.replay", subject_type="inbox_message", detail={"count": len(rows)})
    return len(rows)


def park_expired_holds(work: Work) -> int:
    """Park cancels whose event never came (24 h); a job runs it. How many."""
    limit = work.clock.now() - timedelta(seconds=limits.HOLD_SECONDS)
    table = table_of(InboxApplication)
    expired = work.execute(
        sa.update(table)
        .where(table.c.state == ApplicationState.HELD, table.c.taken_up_at < limit)
        .values(state=ApplicationState.PARKED, reason="event_never_came")
        .returning(table.c.seq)
    )
    return len(expired.all())


def _on_postgresql(work: Work) -> bool:
    return work.session.get_bind().dialect.name == "postgresql"


def _exclusive(work: Work) -> None:
    """One process takes up at a time; on SQLite the writing transaction itself is exclusive."""
    if _on_postgresql(work):
        work.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_TAKE_UP, 0)))


def _lock_lanes(work: Work, lanes: set[int]) -> set[int]:
    """Those of the lanes nobody else works in, ours until the transaction ends."""
    if not _on_postgresql(work):
        return lanes
    lane = sa.func.unnest(sa.cast(sorted(lanes), ARRAY(sa.Integer))).column_valued("lane")
    return set(work.scalars(sa.select(lane).where(sa.func.pg_try_advisory_xact_lock(_LOCK_LANE, lane))))
