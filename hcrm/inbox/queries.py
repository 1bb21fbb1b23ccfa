"""Reading the inbox: what waits, what became of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from hcrm.archive.records import Unmapped
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.events import Event
from hcrm.core.work import Work
from hcrm.directory.models import CodeMet
from hcrm.inbox.console_models import MessageAct, MessageCorrection
from hcrm.inbox.floor import read_floor, untaken
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage
from hcrm.inbox.outline import Line, Readable
from hcrm.inbox.reading import ConsoleParts, Link, ShownCell, ShownLine, show_cells, show_lines
from hcrm.inbox.row_words import peer_words
from hcrm.inbox.told import list_more_problems, tell_message
from hcrm.web.paging import Page, keyset_page

Statement = TypeVar("Statement", bound=sa.Select[*tuple[Any, ...]])


@dataclass(frozen=True, slots=True)
class InboxCounts:
    """The line `hcrm inbox wait` prints."""

    received: int
    applied: int
    ignored: int
    held: int
    parked: int
    events_waiting: int

    def as_dict(self) -> dict[str, int]:
        """For JSON."""
        return asdict(self)


def is_idle(work: Work) -> bool:
    """Whether no message waits and every event is delivered; asked in the order in which a message goes its way."""
    untaken_yet = sa.select(sa.exists().where(*untaken(read_floor(work.session))))
    waiting = sa.select(sa.exists().where(InboxApplication.state == ApplicationState.WAITING))
    undelivered = sa.select(sa.exists().where(~Event.is_delivered))
    return not any(work.scalar(question) for question in (untaken_yet, waiting, undelivered))


def count_messages(work: Work) -> InboxCounts:
    """How many messages there are in each state."""
    states = count_states(work)
    return InboxCounts(
        received=work.scalar(sa.select(sa.func.count()).select_from(InboxMessage)),
        applied=states.get(ApplicationState.APPLIED, 0),
        ignored=states.get(ApplicationState.IGNORED, 0),
        held=states.get(ApplicationState.HELD, 0),
        parked=states.get(ApplicationState.PARKED, 0),
        events_waiting=work.scalar(sa.select(sa.func.count()).select_from(Event).where(~Event.is_delivered)),
    )


def oldest_waiting(work: Work) -> datetime | None:
    """When the oldest message came that is not applied: not taken up, or taken up and waiting."""
    untaken_yet = sa.select(sa.func.min(InboxMessage.received_at)).where(*untaken(read_floor(work.session)))
    waiting = (
        sa.select(sa.func.min(InboxMessage.received_at))
        .join(InboxApplication, InboxApplication.seq == InboxMessage.seq)
        .where(InboxApplication.state == ApplicationState.WAITING)
    )
    times = [time for time in (work.scalar(untaken_yet), work.scalar(waiting)) if time is not None]
    return min(times, default=None)


@dataclass(frozen=True, slots=True)
class MessageFilters:
    """What the list of messages may be narrowed by; `until` itself is outside, `found` are messages searched before."""

    state: ApplicationState | None = None
    kind: str = ""
    source: str = ""
    control_id: str = ""
    reason: str = ""
    since: datetime | None = None
    until: datetime | None = None
    found: "FoundMessages | None" = None
    code: str = ""  # key of a code that nothing mapped when these messages were read

    @property
    def is_of_way(self) -> bool:
        """Whether something is asked that only a message taken up has."""
        return bool(self.state or self.kind or self.source or self.reason or self.found or self.code)


@dataclass(frozen=True, slots=True)
class FoundMessages:
    """What a search found: messages of these patients, and these messages."""

    patient_ids: Sequence[str] = ()
    seqs: Sequence[int] = ()


def list_messages(
    work: Work, filters: MessageFilters, *, key: str | None = None, size: int = limits.PAGE_SIZE
) -> Page[sa.Row[tuple[object, ...]]]:
    """Messages by arrival, the newest first: state, kind, source, control id, reason, flags, times. No content.

    What is not taken up yet has no state; it is listed where nothing is asked that only the way can answer.
    """
    application, message = InboxApplication, InboxMessage
    order = application.seq if filters.is_of_way else message.seq
    statement = sa.select(
        order.label("seq"), message.kind, application.source, application.state, application.reason,
        application.detail, sa.func.coalesce(application.flags, message.flags).label("flags"),
        application.applied_at, application.became_patient_id, message.control_id, message.received_at,
        (sa.func.length(message.raw) == 0).label("is_pruned"),
    )  # fmt: skip
    return keyset_page(
        work, narrow_messages(work, statement, filters), order=(order.desc(),), key=key, size=size
    )


def narrow_messages(work: Work, statement: Statement, filters: MessageFilters) -> Statement:
    """The statement over the messages the filters give, joined with their way."""
    application, message = InboxApplication, InboxMessage
    joined = message.seq == application.seq
    if filters.is_of_way:
        statement = statement.select_from(application).join(message, joined)
    else:
        statement = statement.select_from(message).outerjoin(application, joined)
    order = application.seq if filters.is_of_way else message.seq
    if filters.state:
        # Written into the statement: a bound value would keep SQLite from its partial indexes.
        statement = statement.where(
            application.state == sa.literal(filters.state, application.state.type, literal_execute=True)
        )
    if filters.reason:
        statement = statement.where(application.reason == filters.reason, application.reason.is_not(None))
    # Few messages are in these states or have a reason: SQLite, which does not know that, shall begin with them.
    is_rare = filters.reason or filters.state in (
        ApplicationState.WAITING,
        ApplicationState.HELD,
        ApplicationState.PARKED,
    )
    for column, value in ((application.kind, filters.kind), (application.source, filters.source)):
        if value:
            statement = statement.where((column.concat("") if is_rare else column) == value)
    if filters.control_id:
        statement = statement.where(_has_control_id(work, filters.control_id))
    if filters.found is not None:
        statement = statement.where(_is_found(filters.found))
    if filters.code:
        met = sa.select(CodeMet.seq).where(CodeMet.sighting_id == filters.code)
        statement = statement.where(application.seq.in_(met))
    if filters.since or filters.until:
        statement = statement.where(*_in_span(work, order, filters.since, filters.until))
    return statement


def _is_found(found: FoundMessages) -> sa.ColumnElement[bool]:
    return sa.or_(
        sa.false(),
        InboxApplication.became_patient_id.in_(found.patient_ids),
        InboxApplication.seq.in_(found.seqs),
    )


def _has_control_id(work: Work, control_id: str) -> sa.ColumnElement[bool]:
    """By the key of the inbox, which begins with the sender: one probe for each sender there is.

    An index of its own would cost every message that arrives, for a question asked a few times a day.
    """
    senders = skip_scan(work, InboxMessage.sender, limits.FILTER_WORDS)
    by_id = InboxMessage.control_id == control_id
    if len(senders) == limits.FILTER_WORDS:
        return by_id  # somebody invents senders: read them all
    pairs = [
        (sender, facility)
        for sender in senders
        for facility in skip_scan(
            work, InboxMessage.facility, limits.FILTER_WORDS, InboxMessage.sender == sender
        )
    ]
    if len(pairs) >= limits.FILTER_WORDS:
        return by_id
    probes = [
        sa.and_(InboxMessage.sender == sender, InboxMessage.facility == facility, by_id)
        for sender, facility in pairs
    ]
    seqs = [
        work.scalars(sa.select(InboxMessage.seq).where(probe).limit(limits.SEARCH_FOUND)) for probe in probes
    ]
    return InboxMessage.seq.in_([seq for found in seqs for seq in found])


def skip_scan(work: Work, column: Any, most: int, *where: Any) -> list[str]:
    """The different values of a column an index begins with, one probe a value."""
    first = sa.select(sa.func.min(column).label("value")).where(*where).cte("value", recursive=True)
    following = (
        sa.select(sa.func.min(column))
        .where(column > first.c.value, *where)
        .correlate(first)
        .scalar_subquery()
    )
    values = first.union_all(sa.select(following).where(first.c.value.is_not(None)))
    return list(work.scalars(sa.select(values.c.value).where(values.c.value.is_not(None)).limit(most)))


def _in_span(
    work: Work, order: Any, since: datetime | None, until: datetime | None
) -> list[sa.ColumnElement[bool]]:
    """Received in the span; also said by numbers, so that an old span is not looked for from the newest on.

    Numbers follow the time of receipt nearly: the limits are those of the span's ends, with room.
    """
    received = InboxMessage.received_at
    conditions = [received >= since] if since else []
    if until:
        conditions.append(received < until)
    ends = [
        work.scalar(sa.select(InboxMessage.seq).where(*conditions).order_by(by).limit(1))
        for by in (received.asc(), received.desc())
    ]
    if None in ends:
        return [sa.false()]
    if ends[0] > ends[1]:
        return conditions  # the clock was set back meanwhile
    return [
        *conditions, order >= ends[0] - limits.SPAN_ROOM, order <= ends[1] + limits.SPAN_ROOM,
    ]  # fmt: skip


def list_kinds(work: Work) -> list[str]:
    """Every event that came, for the filter."""
    return skip_scan(work, InboxApplication.kind, limits.FILTER_WORDS)


def list_used_reasons(work: Work) -> list[str]:
    """Every reason a message stands with, for the filter."""
    return skip_scan(work, InboxApplication.reason, limits.FILTER_WORDS, InboxApplication.reason.is_not(None))


def list_used_sources(work: Work) -> list[str]:
    """Every source a message was read as, for the filter."""
    return skip_scan(work, InboxApplication.source, limits.FILTER_WORDS)


def count_states(work: Work) -> dict[ApplicationState, int]:
    """How many messages there are in each state, for the chips above the list."""
    rows = work.execute(
        sa.select(InboxApplication.state, sa.func.count().label("number")).group_by(InboxApplication.state)
    )
    return {row.state: row.number for row in rows}


@dataclass(frozen=True, slots=True)
class MessageDetail:
    """One message with its way: its text, what was answered, what people did with it, its other versions."""

    message: InboxMessage
    application: InboxApplication | None
    readable: Readable | None  # None: pruned
    lines: Sequence[ShownLine]
    cells: Sequence[ShownCell] | None  # of a row, which has columns instead
    peer: str
    answer: Sequence[str]  # the ACK; empty where the reader may not see it
    acts: Sequence[MessageAct]
    corrected_by: MessageCorrection | None
    copy_of: MessageCorrection | None
    links: Sequence[Link]
    told: Sequence[tuple[str, str]]  # what it says it does
    more: Sequence[Unmapped]  # what else would park it


def get_message(work: Work, seq: int, *, with_content: bool, parts: ConsoleParts) -> MessageDetail:
    """One message; with its content it is a read of a patient and is noted as one."""
    message = work.get(InboxMessage, seq)
    application = work.session.get(InboxApplication, seq)
    if not with_content:
        record_audit(work, action="message.open", subject_type="inbox_message", subject_id=str(seq))
    else:
        became = application.became_patient_id if application else None
        record_audit(
            work, action="message.read", patients=[became] if became else [], subject_type="inbox_message",
            subject_id=str(seq),
        )  # fmt: skip
    readable = read_text(work, message, parts)
    more = list_more_problems(work, message, application.reason if application else None, parts)
    shown: Any = {
        "detail": wrong_places(application, more), "with_content": with_content,
        "flags": application.flags if application else "",
    }  # fmt: skip
    codec = (readable and readable.codec) or "utf-8"
    answer = message.ack.decode(codec, "replace").splitlines() if with_content else []
    return MessageDetail(
        message=message,
        application=application,
        readable=readable,
        lines=show_lines(readable, **shown) if readable else (),
        cells=show_cells(readable, **shown) if readable else None,
        peer=peer_words(message.peer, parts.sources),
        answer=[line for line in answer if line.strip()],
        acts=work.scalars(sa.select(MessageAct).where(MessageAct.seq == seq).order_by(MessageAct.id)),
        corrected_by=work.session.get(MessageCorrection, seq),
        copy_of=work.session.scalar(sa.select(MessageCorrection).where(MessageCorrection.copy_seq == seq)),
        links=_led_to(work, application, parts),
        told=tell_message(work, message, parts, with_content=with_content),
        more=more,
    )  # fmt: skip


def wrong_places(application: InboxApplication | None, more: Sequence[Unmapped]) -> str:
    """All places named as wrong, for the page to mark."""
    found = [application.detail if application else None, *(problem.detail for problem in more)]
    return " ".join(place for place in found if place)


def read_text(work: Work, message: InboxMessage, parts: ConsoleParts) -> Readable | None:
    """The message as lines, by the reader of its format; None where its text was pruned."""
    if not message.raw:
        return None
    raw = work.keys.open(message.raw)
    reader = parts.readers.get(message.format)
    if reader is None:
        text = raw.decode("utf-8", "replace")
        return Readable(tuple(Line(line[:3], line, ()) for line in text.splitlines() if line.strip()), None)
    return reader.read(raw, parts.sources)


def _led_to(work: Work, application: InboxApplication | None, parts: ConsoleParts) -> Sequence[Link]:
    if application is None or not application.became_encounter_id or not work.actor.may("instruction.read"):
        return ()
    return parts.led_to(work, application.became_encounter_id)


def neighbours(work: Work, filters: MessageFilters, seq: int) -> tuple[int | None, int | None]:
    """The next newer and the next older message of what the filters give."""
    order = InboxApplication.seq if filters.is_of_way else InboxMessage.seq
    every = narrow_messages(work, sa.select(order), filters)
    newer = work.scalar(every.where(order > seq).order_by(order.asc()).limit(1))
    older = work.scalar(every.where(order < seq).order_by(order.desc()).limit(1))
    return newer, older


def state_of(seq: int) -> sa.Select[Any]:
    """How far a message is; nothing where it is not taken up."""
    return sa.select(InboxApplication.state).where(InboxApplication.seq == seq)


def is_taken_up(seq: int) -> sa.Select[Any]:
    """Whether a message has its row: something to replay."""
    return sa.select(InboxApplication.seq).where(InboxApplication.seq == seq)
