"""A corrected copy of a message: the original stays as it was received and is ignored, the copy goes its way.

What says who sent it may not be changed: the whole MSH stays byte for byte, so the copy is the same sender's message
of the same control id with other bytes, and its key tells it from the original.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import sqlalchemy as sa
import structlog

from hcrm.archive.records import Unmapped
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.errors import HcrmError
from hcrm.core.work import Work
from hcrm.inbox.acts import note_acts
from hcrm.inbox.console_models import MessageActKind, MessageCorrection
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage
from hcrm.inbox.outline import Line, Readable
from hcrm.inbox.queries import read_text, wrong_places
from hcrm.inbox.reading import ConsoleParts, ShownLine, places, show_lines
from hcrm.inbox.records import CORRECTED_COPY, Incoming, Stored
from hcrm.inbox.segments import field_words, segment_words
from hcrm.inbox.told import list_more_problems, more_problems

log = structlog.get_logger(__name__)
FLAG = CORRECTED_COPY
REASON = "corrected"
_CORRECTABLE = (ApplicationState.PARKED, ApplicationState.HELD, ApplicationState.IGNORED)


@dataclass(frozen=True, slots=True)
class ChangedField:
    """What stood in a field and what stands there now."""

    number: int
    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class ChangedLine:
    """A segment that was changed, added (`before` empty) or taken out (`after` empty)."""

    name: str
    words: str
    before: str
    after: str
    fields: Sequence[ChangedField]


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the copy would become, as far as it alone shows it; `reason` is empty where it may be applied."""

    reason: str
    detail: str
    is_ignored: bool
    flags: str
    more: Sequence[Unmapped] = ()  # what else would park it


@dataclass(frozen=True, slots=True)
class Correction:
    """A copy that may be sent: what is stored, what differs, and what would become of it."""

    original: InboxMessage
    copy: Incoming
    changes: Sequence[ChangedLine]
    outlook: Outlook


@dataclass(frozen=True, slots=True)
class Draft:
    """A message to be corrected: its text, one segment a line, and the same named, what is wrong marked."""

    message: InboxMessage
    application: InboxApplication
    text: str
    lines: Sequence[ShownLine]
    more: Sequence[Unmapped]  # what else would park it

    @property
    def place(self) -> tuple[str, int] | None:
        """The first field that is said to be wrong."""
        return next(
            (place for place in places(self.application.detail) if place[1] and place[0] != "MSH"), None
        )


def draft_copy(work: Work, seq: int, parts: ConsoleParts) -> Draft:
    """The message for correcting; noted as a read."""
    message, readable, application = _correctable(work, seq, parts)
    became = application.became_patient_id
    record_audit(
        work, action="message.read", patients=[became] if became else [], subject_type="inbox_message",
        subject_id=str(seq),
    )  # fmt: skip
    more = list_more_problems(work, message, application.reason, parts)
    lines = show_lines(
        readable, detail=wrong_places(application, more), flags=application.flags, with_content=True
    )
    return Draft(message, application, "\n".join(line.text for line in readable.lines), lines, more)


def check_copy(work: Work, seq: int, text: str, parts: ConsoleParts) -> Correction:
    """The corrected text as a message; refused where it is another's, or none, or the same."""
    message, readable, _ = _correctable(work, seq, parts)
    reader, codec = parts.readers[message.format], readable.codec or ""
    try:
        raw = reader.write(text, codec)
    except UnicodeError:
        raise HcrmError(
            "correction.charset", "有的字在此消息的字符集里写不出", status=422, field="text"
        ) from None
    if len(raw) > limits.MAX_FRAME_BYTES:
        raise HcrmError("correction.size", "消息超过大小上限", status=422, field="text")
    copy = reader.read(raw, parts.sources)
    if not copy.lines or not readable.lines or copy.lines[0].text != readable.lines[0].text:
        raise HcrmError(
            "correction.header", "MSH 段说明是谁发的哪一条消息，不能更改", status=422, field="text"
        )
    if sum(line.name == "MSH" for line in copy.lines) != 1:
        raise HcrmError("correction.header", "一次只能有一条消息，MSH 段只能有一个", status=422, field="text")
    if copy.codec != codec:
        raise HcrmError("correction.charset", "更正后不能再按来源的字符集解读", status=422, field="text")
    changes = list(_changes(readable.lines, copy.lines))
    if not changes:
        raise HcrmError("correction.same", "与原文相同，没有更改", status=422, field="text")
    incoming = Incoming(
        message.sender, message.facility, message.control_id, hashlib.sha256(raw).digest(), message.kind,
        message.format, raw, b"", "console", (FLAG,), work.clock.now(),
    )  # fmt: skip
    known = work.scalar(
        sa.select(InboxMessage.seq).where(
            InboxMessage.sender == incoming.sender, InboxMessage.facility == incoming.facility,
            InboxMessage.control_id == incoming.control_id, InboxMessage.sha256 == incoming.sha256,
            ~InboxMessage.flags.contains(FLAG),
        )
    )  # fmt: skip
    if known is not None:
        raise HcrmError("correction.known", f"与已收到的消息 {known} 完全相同", status=409, field="text")
    return Correction(message, incoming, changes, _outlook(work, incoming, parts))


def _outlook(work: Work, copy: Incoming, parts: ConsoleParts) -> Outlook:
    """The copy mapped without the archive, as `hcrm source check` does it."""
    try:
        result = parts.mappers[copy.format](
            copy.raw, parts.sources_on(work, copy.received_at), copy.received_at
        ).result
    except Exception as error:  # noqa: BLE001  the worker meets it too, and parks the copy with this reason
        log.warning("correction.not_mapped", error=type(error).__name__)
        return Outlook("error", "", is_ignored=False, flags="")
    if isinstance(result, Unmapped):
        finder = parts.problems.get(copy.format)
        more = more_problems(finder, copy.raw, parts, copy.received_at) if finder else ()
        return Outlook(result.reason, result.detail or "", is_ignored=result.ignored, flags="", more=more)
    return Outlook("", "", is_ignored=False, flags=" ".join(result.flags))


def lock_original(work: Work, correction: Correction) -> None:
    """Before the copy is stored: from here on nobody applies or corrects the original.

    One that was applied or corrected meanwhile has no further copy: a stored one is applied, linked or not.
    """
    seq = correction.original.seq
    row = _lock(work, seq)
    if row.state not in _CORRECTABLE or work.session.get(MessageCorrection, seq) is not None:
        raise _changed_meanwhile()


def record_correction(work: Work, correction: Correction, stored: Stored, *, reason: str) -> None:
    """Link the stored copy with its original, and let the original rest; in one transaction.

    The copy is stored before, in the store of its own: a process that dies between leaves a copy without a link, and
    sending the same correction again finds that copy and links it.
    """
    seq = correction.original.seq
    row = _lock(work, seq)
    linked = MessageCorrection.copy_seq == stored.seq
    if work.scalar(sa.select(MessageCorrection.original_seq).where(linked)) is not None:
        raise HcrmError("correction.known", f"与更正副本 {stored.seq} 完全相同", status=409, field="text")
    if row.state not in _CORRECTABLE or work.session.get(MessageCorrection, seq) is not None:
        raise _changed_meanwhile()
    work.add(
        MessageCorrection(
            original_seq=seq, copy_seq=stored.seq, reason=reason, corrected_at=work.clock.now(),
            corrected_by=work.actor.name,
        )
    )  # fmt: skip
    work.execute(
        sa.update(InboxApplication)
        .where(InboxApplication.seq == seq)
        .values(state=ApplicationState.IGNORED, reason=REASON, visit_key=None, applied_at=work.clock.now())
    )
    note_acts(work, [row], MessageActKind.CORRECTED, note=reason)
    record_audit(
        work, action="message.correct", subject_type="inbox_message", subject_id=str(seq),
        detail={"copy": stored.seq, "segments": sorted({line.name for line in correction.changes})},
    )  # fmt: skip


def _lock(work: Work, seq: int) -> sa.Row[Any]:
    return work.execute(
        sa.select(InboxApplication.seq, InboxApplication.state, InboxApplication.reason)
        .where(InboxApplication.seq == seq)
        .with_for_update()
    ).one()


def _changed_meanwhile() -> HcrmError:
    return HcrmError("correction.state", "消息的状态刚刚变了，请刷新后再看", status=409)


def _correctable(
    work: Work, seq: int, parts: ConsoleParts
) -> tuple[InboxMessage, Readable, InboxApplication]:
    message = work.get(InboxMessage, seq)
    application = work.get(InboxApplication, seq)
    newer = work.session.get(MessageCorrection, seq)
    if newer is not None:
        raise HcrmError("correction.done", f"已更正为消息 {newer.copy_seq}，请在那一条上更正", status=409)
    if application.state not in _CORRECTABLE:
        raise HcrmError(
            "correction.state", "只有已搁置、等待前序或已忽略的消息可以更正；已入档的请由发送方更正后重发",
            status=409,
        )  # fmt: skip
    readable = read_text(work, message, parts)
    if readable is None:
        raise HcrmError("correction.pruned", "原文已按保存期限清除，不能更正", status=409)
    if readable.codec is None:
        raise HcrmError("correction.charset", "不能按来源的字符集解读，请先更正来源配置", status=409)
    return message, readable, application


def _changes(before: Sequence[Line], after: Sequence[Line]) -> Iterator[ChangedLine]:
    """Segments that differ, in order; those in the place of others of the same name are compared field by field."""
    matcher = SequenceMatcher(
        None, [line.text for line in before], [line.text for line in after], autojunk=False
    )
    for word, b1, b2, a1, a2 in matcher.get_opcodes():
        if word == "equal":
            continue
        old, new = list(before[b1:b2]), list(after[a1:a2])
        while old or new:
            if old and new and old[0].name == new[0].name:
                yield _changed(old.pop(0), new.pop(0))
            elif old and not any(line.name == old[0].name for line in new):
                yield _changed(old.pop(0), None)
            elif new:
                yield _changed(None, new.pop(0))
            else:
                yield _changed(old.pop(0), None)


def _changed(before: Line | None, after: Line | None) -> ChangedLine:
    known = before or after
    name = known.name if known else ""
    old, new = dict(before.fields if before else ()), dict(after.fields if after else ())
    fields = [
        ChangedField(number, field_words(name, number), old.get(number, ""), new.get(number, ""))
        for number in sorted(old.keys() | new.keys())
        if old.get(number, "") != new.get(number, "")
    ]
    return ChangedLine(
        name, segment_words(name), before.text if before else "", after.text if after else "", fields
    )
