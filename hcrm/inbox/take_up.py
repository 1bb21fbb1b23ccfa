"""Taking up what was received: each message gets its row and the lane of its patient, in order of arrival."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
import structlog

from hcrm.archive.matching import record_numbers
from hcrm.archive.records import Change, IdentifierRecord, Mapped, Unmapped
from hcrm.core import limits
from hcrm.core.actor import Actor
from hcrm.core.clock import Clock, local_date
from hcrm.core.db import table_of
from hcrm.core.sources import Sources
from hcrm.core.work import Work
from hcrm.directory.code_maps import MappedSources
from hcrm.inbox.floor import FloorWatch, raise_floor, read_floor, untaken
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage

Mapper = Callable[[bytes, Sources, datetime], Mapped]
Mappers = Mapping[str, Mapper]
"""What reads a stored message, by its format: handed in by `app.wiring`, since only adapters know HL7 and FHIR."""

NO_LANE = -1
"""Of a message to be replayed, until it is taken up again."""
_TAKE_UP = limits.APPLY_BATCH  # no more than is applied, or what was read would be read again
_SMALL = 65_536  # bytes of a message that is kept read until it is applied
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
    maps: MappedSources = field(init=False)
    """The sources with the code maps of the console."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "maps", MappedSources(self.sources))


def take_up(work: Work, intake: Intake) -> int:
    """Give each new message its row and lane, in order of arrival; how many were new.

    New is what has no row yet (anti-join), however late its transaction was committed.
    """
    _exclusive(work)
    intake.maps.refresh(work)
    now = intake.clock.now()
    floor = read_floor(work.session)
    settled = intake.watch.settle(work.session)
    message = table_of(InboxMessage)
    new = untaken(floor)
    sizes = work.execute(
        sa.select(message.c.seq, sa.func.length(message.c.raw))
        .where(*new)
        .order_by(message.c.seq)
        .limit(_TAKE_UP)
    ).all()
    last = within_budget(sizes)
    rows = work.execute(
        sa.select(
            message.c.seq,
            message.c.format,
            message.c.raw,
            message.c.kind,
            message.c.received_at,
            message.c.flags,
        )
        .where(*new, message.c.seq <= last)
        .order_by(message.c.seq)
    ).mappings()
    work.insert(InboxApplication, taken := [_taken_up(work, row, intake, now) for row in rows])
    if len(sizes) == _TAKE_UP or (sizes and last < sizes[-1][0]):
        settled = min(settled, last)
    if settled > floor:
        raise_floor(work.session, settled)
    return len(taken) + _take_up_again(work, intake, now)


def _take_up_again(work: Work, intake: Intake, now: datetime) -> int:
    """Messages to be replayed: read anew, they get the lane of the patient they name now."""
    rows = read_within_budget(
        work,
        InboxApplication.state == ApplicationState.WAITING,
        InboxApplication.lane == NO_LANE,
        most=_TAKE_UP,
    )
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


def within_budget(sizes: Sequence[Any]) -> int:
    """The last of these messages (seq, bytes) that one transaction may take: BATCH_BYTES at most, but one always."""
    last = total = 0
    for seq, size in sizes:
        total += size
        if last and total > limits.BATCH_BYTES:
            break
        last = seq
    return last


def read_within_budget(work: Work, *where: Any, most: int) -> list[dict[str, Any]]:
    """The oldest messages on their way that fit, with their bytes, as many as one transaction may take."""
    table, message = table_of(InboxApplication), table_of(InboxMessage)
    sizes = work.execute(
        sa.select(table.c.seq, sa.func.length(message.c.raw))
        .join(message, message.c.seq == table.c.seq)
        .where(*where)
        .order_by(table.c.seq)
        .limit(most)
    ).all()
    last = within_budget(sizes)
    rows = work.execute(select_messages().where(*where, table.c.seq <= last).order_by(table.c.seq)).mappings()
    return [dict(row) for row in rows]


def read_message(work: Work, row: Any, intake: Intake) -> Mapped:
    """What a stored message says, by the reader of its format."""
    known = intake.read.pop(row["seq"], None)
    if known is not None:
        return known
    mapper = intake.mappers.get(row["format"])
    if mapper is None:
        return Mapped("", Unmapped("format_not_supported", row["format"]))
    try:
        sources = intake.maps.on(local_date(row["received_at"]))
        return mapper(work.keys.open(row["raw"]), sources, row["received_at"])
    except Exception as error:  # noqa: BLE001  a message nobody can read must not stop the ones behind it
        log.warning("inbox.unreadable", seq=row["seq"], error=type(error).__name__)
        return Mapped("", Unmapped("unreadable", type(error).__name__))


def _taken_up(work: Work, row: Any, intake: Intake, now: datetime) -> dict[str, Any]:
    mapped = read_message(work, row, intake)
    if isinstance(mapped.result, Change) and len(row["raw"]) <= _SMALL:
        if len(intake.read) >= _TAKE_UP * 4:
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
    numbers = [item for named in result.named() for item in record_numbers(named)[:1]]
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
