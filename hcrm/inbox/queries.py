"""Reading the inbox: what waits, what became of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa

from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.events import Event
from hcrm.core.work import Work
from hcrm.inbox.floor import read_floor, untaken
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage, RefusedMessage
from hcrm.web.paging import Page, keyset_page


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
    """What the list of messages may be narrowed by."""

    state: ApplicationState | None = None
    kind: str = ""
    source: str = ""
    control_id: str = ""
    reason: str = ""


def list_messages(
    work: Work, filters: MessageFilters, *, key: str | None = None, size: int = limits.PAGE_SIZE
) -> Page[sa.Row[tuple[object, ...]]]:
    """Messages by arrival, the newest first: state, kind, source, control id, reason, flags, times. No content."""
    application = InboxApplication
    statement = sa.select(
        application.seq, application.kind, application.source, application.state, application.reason,
        application.detail, application.flags, application.applied_at, application.became_patient_id,
        InboxMessage.control_id, InboxMessage.received_at,
    ).join(InboxMessage, InboxMessage.seq == application.seq)  # fmt: skip
    if filters.state:
        # Written into the statement: a bound value would keep SQLite from its partial indexes.
        statement = statement.where(
            application.state == sa.literal(filters.state, application.state.type, literal_execute=True)
        )
    for column, value in (
        (application.kind, filters.kind), (application.source, filters.source),
        (application.reason, filters.reason), (InboxMessage.control_id, filters.control_id),
    ):  # fmt: skip
        if value:
            statement = statement.where(column == value)
    return keyset_page(work, statement, order=(application.seq.desc(),), key=key, size=size)


def count_states(work: Work) -> dict[ApplicationState, int]:
    """How many messages there are in each state, for the chips above the list."""
    rows = work.execute(
        sa.select(InboxApplication.state, sa.func.count().label("number")).group_by(InboxApplication.state)
    )
    return {row.state: row.number for row in rows}


@dataclass(frozen=True, slots=True)
class MessageDetail:
    """One message with its way; `lines` is its text for reading, empty where the reader may not see it."""

    message: InboxMessage
    application: InboxApplication | None
    lines: tuple[str, ...]


def get_message(work: Work, seq: int, *, with_content: bool) -> MessageDetail:
    """One message; with its content it is a read of a patient and is noted as one."""
    message = work.get(InboxMessage, seq)
    application = work.session.get(InboxApplication, seq)
    lines: tuple[str, ...] = ()
    if not with_content:
        record_audit(work, action="message.open", subject_type="inbox_message", subject_id=str(seq))
    else:
        became = application.became_patient_id if application else None
        record_audit(
            work, action="message.read", patients=[became] if became else [], subject_type="inbox_message",
            subject_id=str(seq),
        )  # fmt: skip
        lines = _readable(work.keys.open(message.raw))
    return MessageDetail(message, application, lines)


def list_refused(work: Work, *, size: int = limits.PAGE_SIZE) -> Sequence[RefusedMessage]:
    """What was refused at the door, the newest first."""
    return work.scalars(sa.select(RefusedMessage).order_by(RefusedMessage.seq.desc()).limit(size))


def _readable(raw: bytes) -> tuple[str, ...]:
    """The message as lines for a person's eyes; the mapper reads by the source's rules, not by this."""
    for charset in ("utf-8", "gb18030"):
        try:
            text = raw.decode(charset)
            break
        except UnicodeDecodeError:
            continue
    else:
        text = raw.decode("utf-8", "replace")
    return tuple(line for line in text.replace("\r\n", "\r").replace("\n", "\r").split("\r") if line.strip())
