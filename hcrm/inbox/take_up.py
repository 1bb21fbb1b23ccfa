"""Taking up what was received: each message gets its row and the lane of its patient, in order of arrival."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
import structlog

from hcrm.archive.matching import record_numbers
from hcrm.archive.records import Change, IdentifierRecord, Mapped, Unmapped
from hcrm.core import limits
from hcrm.core.actor import Actor
from hcrm.core.clock import Clock
from hcrm.core.db import table_of
from hcrm.core.sources import Sources
from hcrm.core.work import Work
from hcrm.inbox.floor import FloorWatch, raise_floor, read_floor, untaken
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage

Mapper = Callable[[bytes, Sources, datetime], Mapped]
Mappers = Mapping[str, Mapper]
"""What reads a stored message, by its format: handed in by `app.wiring`, since only adapters know HL7 and FHIR."""

NO_LANE = -1
"""Of a message to be replayed, until it is taken up again."""
_TAKE_UP = 1_000
_LOCK_TAKE_UP = 4_801  # an advisory lock of our own
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
    watch: FloorWatch = field(default_factory=FloorWatch)


def take_up(work: Work, intake: Intake) -> int:
    """Give each new message its row and lane, in order of arrival; how many were new.

    New is what has no row yet (anti-join), however late its transaction was committed.
    """
    _exclusive(work)
    now = intake.clock.now()
    floor = read_floor(work.session)
    settled = intake.watch.settle(work.session)
    message = table_of(InboxMessage)
    rows = work.execute(
        sa.select(
            message.c.seq,
            message.c.format,
            message.c.raw,
            message.c.kind,
            message.c.received_at,
            message.c.flags,
        )
        .where(*untaken(floor))
        .order_by(message.c.seq)
        .limit(_TAKE_UP)
    ).mappings()
    work.insert(InboxApplication, taken := [_taken_up(work, row, intake, now) for row in rows])
    if len(taken) == _TAKE_UP:
        settled = min(settled, taken[-1]["seq"])
    if settled > floor:
        raise_floor(work.session, settled)
    return len(taken) + _take_up_again(work, intake, now)


def _take_up_again(work: Work, intake: Intake, now: datetime) -> int:
    """Messages to be replayed: read anew, they get the lane of the patient they name now."""
    table = table_of(InboxApplication)
    rows = work.execute(
        select_messages()
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


def select_messages() -> sa.Select[Any]:
    """Rows of messages on their way, with what was received."""
    table, message = table_of(InboxApplication), table_of(InboxMessage)
    return sa.select(table, message.c.raw, message.c.format, message.c.received_at).join(
        message, message.c.seq == table.c.seq
    )


def read_message(work: Work, row: Any, intake: Intake) -> Mapped:
    """What a stored message says, by the reader of its format."""
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


def _taken_up(work: Work, row: Any, intake: Intake, now: datetime) -> dict[str, Any]:
    mapped = read_message(work, row, intake)
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


def _exclusive(work: Work) -> None:
    """One process takes up at a time; on SQLite the writing transaction itself is exclusive."""
    if on_postgresql(work):
        work.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_TAKE_UP, 0)))


def on_postgresql(work: Work) -> bool:
    """Whether others may work beside us: on SQLite a writing transaction is alone."""
    return work.session.get_bind().dialect.name == "postgresql"
