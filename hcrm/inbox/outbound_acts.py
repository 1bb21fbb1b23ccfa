"""What people do with what we send: send again, stop, pause and resume a destination; what age removes."""

from collections.abc import Callable, Mapping
from datetime import timedelta

import sqlalchemy as sa

from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.errors import ConflictError, NotFoundError
from hcrm.core.work import Work
from hcrm.inbox.outbound_models import UNSENT, OutboundDestination, OutboundMessage, OutboundState

Remakers = Mapping[str, Callable[[Work, str], None]]
"""By subject type: have a message about this subject written anew. Handed in by `app.wiring`."""
_DONE_WITH = (OutboundState.DELIVERED, OutboundState.STOPPED)


def resend_message(work: Work, *, seq: int) -> OutboundMessage:
    """Send one again, with the same bytes and control id; as if it had never been tried.

    Not where a later one of the same subject exists: it would put the old word over the new one.
    """
    row = _take(work, seq)
    if row.state in UNSENT:
        raise ConflictError("outbound.state", f"这条消息{row.state.label}，无需重发")
    if row.payload is None:
        raise ConflictError("outbound.empty", "这条消息没有报文可发：生成时即失败，请先更正原因再重新生成")
    if work.scalar(sa.select(_has_later())
                   .where(OutboundMessage.seq == seq)):  # fmt: skip
        raise ConflictError("outbound.superseded", "此后已有更正的消息，重发会用旧内容覆盖新内容")
    _again(work, OutboundMessage.seq == seq)
    _note(work, "outbound.resend", row)
    return row


def remake_message(work: Work, *, seq: int, remakers: Remakers) -> None:
    """Have a message that could not be built written anew, as things stand now; this row gives way to it."""
    row = _take(work, seq)
    if row.state is not OutboundState.FAILED or row.payload is not None:
        raise ConflictError("outbound.state", "这条消息已有报文，无需重新生成")
    remakers[row.subject_type](work, row.subject_id)
    _note(work, "outbound.remake", row)
    work.session.delete(row)


def count_resendable(work: Work, *, destination: str) -> int:
    """How many failed messages of a destination would go again."""
    return int(
        work.scalar(sa.select(sa.func.count()).select_from(OutboundMessage).where(*_resendable(destination)))
    )


def resend_failed(work: Work, *, destination: str) -> int:
    """Send again what failed at a destination and was not corrected since; how many."""
    count = _again(work, *_resendable(destination))
    record_audit(
        work, action="outbound.resend_failed", subject_type="outbound_destination", subject_id=destination,
        detail={"count": count},
    )  # fmt: skip
    return count


def stop_message(work: Work, *, seq: int) -> OutboundMessage:
    """Take one out of the queue; the next of its patient may go."""
    row = _take(work, seq)
    if row.state is not OutboundState.PENDING:
        raise ConflictError("outbound.state", f"这条消息{row.state.label}，不能停发")
    row.state, row.decided_at = OutboundState.STOPPED, work.clock.now()
    work.session.flush()
    _note(work, "outbound.stop", row)
    return row


def pause_destination(work: Work, *, code: str, is_paused: bool) -> OutboundDestination:
    """Stop sending to a destination, or go on at once; what is being sent now is finished."""
    own = work.session.get(OutboundDestination, code, with_for_update=True)
    if own is None:
        raise NotFoundError
    own.is_paused, own.changed_at = is_paused, work.clock.now()
    own.paused_by = work.actor.name if is_paused else None
    own.not_before = None
    work.session.flush()
    record_audit(
        work, action="outbound.pause" if is_paused else "outbound.resume", subject_type="outbound_destination",
        subject_id=code,
    )  # fmt: skip
    return own


def prune_outbound(work: Work) -> int:
    """Remove what was delivered or stopped long ago, some at a time; what waits or failed stays."""
    before = work.clock.now() - timedelta(days=limits.OUTBOUND_KEEP_DAYS)
    old = (
        sa.select(OutboundMessage.seq)
        .where(OutboundMessage.state.in_(_DONE_WITH), OutboundMessage.decided_at < before)
        .order_by(OutboundMessage.seq)
        .limit(limits.OUTBOUND_PRUNE_ROWS)
    )
    found = work.execute(sa.delete(OutboundMessage).where(OutboundMessage.seq.in_(old)))
    return int(found.rowcount)  # type: ignore[attr-defined]  # a DELETE's result is a cursor


def _take(work: Work, seq: int) -> OutboundMessage:
    row = work.session.get(OutboundMessage, seq, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFoundError
    return row


def _again(work: Work, *where: sa.ColumnElement[bool]) -> int:
    found = work.execute(
        sa.update(OutboundMessage)
        .where(*where)
        .values(
            state=OutboundState.PENDING, attempts=0, refusals=0, not_before=work.clock.now(), error=None, detail=None,
            decided_at=None,
        )
        .execution_options(synchronize_session=False)
    )  # fmt: skip
    return int(found.rowcount)  # type: ignore[attr-defined]  # an UPDATE's result is a cursor


def _resendable(destination: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        OutboundMessage.destination == destination,
        OutboundMessage.state == OutboundState.FAILED,
        OutboundMessage.payload.is_not(None),
        ~_has_later(),
    )


def _has_later() -> sa.Exists:
    """Whether a later message of the same subject to the same destination exists."""
    later = sa.orm.aliased(OutboundMessage)
    return (
        sa.exists()
        .where(
            later.destination == OutboundMessage.destination,
            later.subject_type == OutboundMessage.subject_type,
            later.subject_id == OutboundMessage.subject_id,
            later.seq > OutboundMessage.seq,
        )
        .correlate(OutboundMessage)
    )


def _note(work: Work, action: str, row: OutboundMessage) -> None:
    record_audit(
        work,
        action=action,
        patients=[row.patient_id],
        subject_type="outbound_message",
        subject_id=str(row.seq),
    )
