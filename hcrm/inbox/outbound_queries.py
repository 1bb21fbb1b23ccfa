"""Reading what we send: the list, the destinations, one message."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.destinations import Destination, Destinations
from hcrm.core.work import Work
from hcrm.inbox.outbound_models import UNSENT, OutboundDestination, OutboundMessage, OutboundState
from hcrm.inbox.outline import Line, Readable
from hcrm.inbox.reading import ShownLine, show_lines
from hcrm.web.paging import Page, keyset_page


@dataclass(frozen=True, slots=True)
class OutboundFilters:
    """What the list may be narrowed by."""

    state: OutboundState | None = None
    destination: str = ""
    control_id: str = ""


def list_outbound(
    work: Work, filters: OutboundFilters, *, key: str | None = None, size: int = limits.PAGE_SIZE
) -> Page[Any]:
    """Messages, the newest first: codes, states and times; no content."""
    message = OutboundMessage
    statement = sa.select(
        message.seq, message.destination, message.kind, message.subject_type, message.control_id, message.state,
        message.attempts, message.not_before, message.error, message.detail, message.queued_at, message.sent_at,
    )  # fmt: skip
    if filters.state:
        statement = statement.where(
            message.state == sa.literal(filters.state, message.state.type, literal_execute=True)
        )
    for column, value in (
        (message.destination, filters.destination),
        (message.control_id, filters.control_id),
    ):
        if value:
            statement = statement.where(column == value)
    return keyset_page(work, statement, order=(message.seq.desc(),), key=key, size=size)


def count_outbound(work: Work, *, destination: str = "") -> Mapping[OutboundState, int]:
    """How many messages there are in each state."""
    statement = sa.select(OutboundMessage.state, sa.func.count().label("number")).group_by(
        OutboundMessage.state
    )
    if destination:
        statement = statement.where(OutboundMessage.destination == destination)
    return {row.state: row.number for row in work.execute(statement)}


@dataclass(frozen=True, slots=True)
class DestinationRow:
    """A destination as the console shows it: its file, its own state, and what waits for it."""

    code: str
    configured: Destination | None  # None: its file is gone, and what waits for it goes nowhere
    own: OutboundDestination | None  # None: nothing was ever queued for it
    unsent: int
    failed: int
    refused: int  # not accepted: failed, or answered AE and to be tried again

    @property
    def title(self) -> str:
        """As people call it."""
        return self.configured.title if self.configured else self.code


def list_destinations(work: Work, configured: Destinations) -> Sequence[DestinationRow]:
    """Every destination that is configured or has messages."""
    known = {row.code: row for row in work.scalars(sa.select(OutboundDestination))}
    watched = (*UNSENT, OutboundState.FAILED)
    counts: dict[tuple[str, OutboundState], int] = {
        (row.destination, row.state): row.number
        for row in work.execute(
            sa.select(OutboundMessage.destination, OutboundMessage.state, sa.func.count().label("number"))
            .where(OutboundMessage.state.in_(watched))
            .group_by(OutboundMessage.destination, OutboundMessage.state)
        )
    }
    refused = {
        row.destination: row.number
        for row in work.execute(
            sa.select(OutboundMessage.destination, sa.func.count().label("number"))
            .where(
                OutboundMessage.state.in_(watched),
                sa.or_(OutboundMessage.state == OutboundState.FAILED, OutboundMessage.refusals > 0),
            )
            .group_by(OutboundMessage.destination)
        )
    }
    return [
        DestinationRow(
            code, configured.by_code.get(code), known.get(code),
            sum(counts.get((code, state), 0) for state in UNSENT), counts.get((code, OutboundState.FAILED), 0),
            refused.get(code, 0),
        )
        for code in sorted({*configured.by_code, *known})
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class OutboundDetail:
    """One message; `lines` and `ack_lines` are empty where the reader may not see content."""

    message: OutboundMessage
    own: OutboundDestination | None
    lines: tuple[str, ...]
    ack_lines: tuple[str, ...]

    @property
    def named(self) -> tuple[ShownLine, ...]:
        """Our text by segments and fields, as a received message is shown."""
        lines = tuple(Line(line[:3], line, tuple(_fields(line))) for line in self.lines)
        return show_lines(Readable(lines, "utf-8"), detail=self.message.detail, flags="", with_content=True)


def get_outbound(work: Work, seq: int, configured: Destinations, *, with_content: bool) -> OutboundDetail:
    """One message; with its content it is a read of a patient and is noted as one."""
    message = work.get(OutboundMessage, seq)
    lines: tuple[str, ...] = ()
    ack_lines: tuple[str, ...] = ()
    if with_content:
        to = configured.by_code.get(message.destination)
        charset = to.charset if to else "utf-8"
        lines = _lines(work.keys.open(message.payload) if message.payload else b"", charset)
        ack_lines = _lines(work.keys.open(message.ack) if message.ack else b"", charset)
    record_audit(
        work, action="outbound.read" if with_content else "outbound.open",
        patients=[message.patient_id] if with_content else [], subject_type="outbound_message", subject_id=str(seq),
    )  # fmt: skip
    own = work.session.get(OutboundDestination, message.destination)
    return OutboundDetail(message, own, lines, ack_lines)


def _fields(line: str) -> Iterator[tuple[int, str]]:
    """What is filled, by number; we write with the standard's separators, and MSH-1 is one of them."""
    values = line.split("|")[1:]
    first = 2 if line.startswith("MSH") else 1
    yield from ((number, value) for number, value in enumerate(values, first) if value)


def _lines(raw: bytes, charset: str) -> tuple[str, ...]:
    """Segments for a person's eyes. MSH-18 of what we wrote decides, the file's charset of what came back."""
    codec = "gb18030" if b"|GB " in raw.split(b"\r", 1)[0] else charset
    text = raw.decode(codec, "replace").replace("\n", "\r")
    return tuple(line for line in text.split("\r") if line.strip())
