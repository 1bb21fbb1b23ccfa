"""Messages to other systems: queued with the fact they tell of, one sender per destination, kept until answered.

A message keeps its bytes and its control id whatever happens: after a crash between sending and noting the answer it
is sent again exactly so, and the receiver can tell the echo. Nothing here touches a network.
"""

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag

from hcrm.core import limits
from hcrm.core.bulk import insert_rows
from hcrm.core.destinations import Destination, Destinations, Subject
from hcrm.core.errors import HcrmError
from hcrm.core.work import Work
from hcrm.inbox.outbound_models import UNSENT, OutboundDestination, OutboundMessage, OutboundState
from hcrm.inbox.outbound_records import Builders, NotBuilt, NotSent, Reply, Verdict

_JITTER = 0.2
_random = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Outbound:
    """Who is told what, and who writes it: handed in by `app.wiring`, since only adapters know HL7."""

    destinations: Destinations
    builders: Builders


@dataclass(frozen=True, slots=True)
class Post:
    """One subject to be told of. The same revision of it is told to a destination once, however often it is posted."""

    subject: Subject
    subject_type: str
    subject_id: str
    revision: str
    patient_id: str
    record: Any  # what the builder of this subject takes; has `is_correction`


def post_outbound(work: Work, *, outbound: Outbound, posts: Sequence[Post]) -> int:
    """Queue what destinations want to be told, built and validated now; how many messages.

    What cannot be built is queued as failed with its reason, so that one destination's trouble is seen in the
    console and keeps nobody else from being told.
    """
    wanted = [(post, each) for post in posts for each in outbound.destinations.wanting(post.subject)]
    if not wanted:
        return 0
    _ensure_destinations(work, {destination.code for _, destination in wanted})
    told = _told(work, posts)
    now = work.clock.now()
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for post, destination in wanted:
        control_id = control_id_of(destination.code, post)
        before = told.setdefault((destination.code, post.subject_type, post.subject_id), {})
        if control_id in before:
            continue
        record = replace(post.record, is_correction=True) if any(before.values()) else post.record
        row = _row(post, destination, control_id, now)
        try:
            row["kind"], plain = outbound.builders[post.subject](record, destination, control_id, now)
            row["payload"] = work.keys.seal(plain)
        except NotBuilt as problem:
            row |= {
                "state": OutboundState.FAILED,
                "error": problem.reason,
                "detail": problem.place,
                "decided_at": now,
            }
        before[control_id] = row["payload"] is not None
        rows[destination.code, control_id] = row
    work.insert(OutboundMessage, list(rows.values()))
    return len(rows)


def control_id_of(destination: str, post: Post) -> str:
    """MSH-10: 20 characters (its length until 2.6), the same for the same revision of the same subject."""
    text = f"{destination}\0{post.subject_type}\0{post.subject_id}\0{post.revision}"
    return "H" + hashlib.sha256(text.encode()).hexdigest()[:19].upper()


def _row(post: Post, destination: Destination, control_id: str, now: datetime) -> dict[str, Any]:
    return {
        "destination": destination.code, "kind": "", "subject_type": post.subject_type,
        "subject_id": post.subject_id, "patient_id": post.patient_id, "control_id": control_id, "payload": None,
        "state": OutboundState.PENDING, "attempts": 0, "refusals": 0, "not_before": now, "fence": None,
        "error": None, "detail": None, "ack": None, "queued_at": now, "sent_at": None, "decided_at": None,
    }  # fmt: skip


def _ensure_destinations(work: Work, codes: Iterable[str]) -> None:
    known = set(work.scalars(sa.select(OutboundDestination.code)))
    rows = [
        {"code": code, "fence": 0, "holder": None, "lease_until": None, "is_paused": False, "paused_by": None,
         "changed_at": None, "failures": 0, "not_before": None, "error": None, "delivered_at": None}
        for code in sorted(set(codes) - known)
    ]  # fmt: skip
    if rows:
        insert_rows(work.session.connection(), OutboundDestination, rows, only_new=True)


def _told(work: Work, posts: Sequence[Post]) -> dict[tuple[str, str, str], dict[str, bool]]:
    """Control ids of what was queued about these subjects before, by destination and subject; False: never built."""
    message = OutboundMessage
    rows = work.execute(
        sa.select(
            message.destination,
            message.subject_type,
            message.subject_id,
            message.control_id,
            message.payload.is_not(None).label("is_built"),
        ).where(
            sa.tuple_(message.subject_type, message.subject_id).in_(
                sorted({(post.subject_type, post.subject_id) for post in posts})
            )
        )
    )
    told: dict[tuple[str, str, str], dict[str, bool]] = {}
    for row in rows:
        told.setdefault((row.destination, row.subject_type, row.subject_id), {})[row.control_id] = (
            row.is_built
        )
    return told


# ── the sender's side ───────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that is ours to send, under this fence."""

    seq: int
    destination: str
    control_id: str
    payload: bytes
    fence: int


def has_due(work: Work, *, destination: str) -> bool:
    """Whether there may be something to send; a look that writes nothing.

    So is what a sender that is no more has left half done, once its lease is over.
    """
    left = work.clock.now() - timedelta(seconds=limits.OUTBOUND_LEASE_SECONDS)
    orphaned = sa.exists().where(
        OutboundMessage.destination == destination,
        _state_in(OutboundMessage.state, (OutboundState.SENDING,)),
        OutboundMessage.sent_at <= left,
    )
    return bool(work.scalar(sa.select(sa.or_(_due(work, destination).exists(), orphaned))))


def claim_message(work: Work, *, destination: str, holder: str) -> Claimed | None:
    """Take the destination's lease, or keep it, and the next message.

    That is the oldest that is due and whose patient has no earlier one unsent. None: nothing is due, the destination
    rests or is paused, or another sender has it.
    """
    now = work.clock.now()
    own = work.session.get(OutboundDestination, destination, with_for_update=True, populate_existing=True)
    if own is None or own.is_paused or (own.not_before and own.not_before > now):
        return None
    if own.holder != holder:
        if own.lease_until and own.lease_until > now:
            return None
        own.holder = holder
        own.fence += 1
    own.lease_until = now + timedelta(seconds=limits.OUTBOUND_LEASE_SECONDS)
    # One message at a time: whatever is still marked as being sent was left by a sender that is no more.
    work.execute(
        sa.update(OutboundMessage)
        .where(OutboundMessage.destination == destination, OutboundMessage.state == OutboundState.SENDING)
        .values(state=OutboundState.PENDING)
        .execution_options(synchronize_session=False)
    )
    row = work.execute(_due(work, destination).order_by(OutboundMessage.seq).limit(1)).scalar_one_or_none()
    if row is None:
        return None
    try:
        payload = work.keys.open(row.payload)
    except (HcrmError, InvalidTag):  # a key that is gone must not stop what can still be read
        row.state, row.error, row.decided_at = OutboundState.FAILED, "sealed", now
        work.session.flush()
        return None
    row.state, row.fence, row.sent_at = OutboundState.SENDING, own.fence, now
    row.attempts += 1
    work.session.flush()
    return Claimed(row.seq, destination, row.control_id, payload, own.fence)


def record_result(work: Work, *, claimed: Claimed, result: Reply | NotSent) -> bool:
    """Note what became of it. False where the lease has passed on meanwhile: then the next holder's word counts."""
    own = work.session.get(
        OutboundDestination, claimed.destination, with_for_update=True, populate_existing=True
    )
    row = work.session.get(OutboundMessage, claimed.seq, populate_existing=True)
    if own is None or row is None or own.fence != claimed.fence or row.state is not OutboundState.SENDING:
        return False
    now = work.clock.now()
    own.lease_until = now + timedelta(seconds=limits.OUTBOUND_LEASE_SECONDS)
    if isinstance(result, NotSent):
        _note_silence(own, row, result, now)
    else:
        _note_reply(own, row, result, work.keys.seal(result.raw), now)
    work.session.flush()
    return True


def release_destination(work: Work, *, destination: str, holder: str) -> None:
    """Give the lease back when stopping, so that another sender need not wait for its end."""
    work.execute(
        sa.update(OutboundDestination)
        .where(OutboundDestination.code == destination, OutboundDestination.holder == holder)
        .values(lease_until=None)
        .execution_options(synchronize_session=False)
    )


def retry_seconds(tries: int, *, jitter: float = 0.0) -> float:
    """The pause after that many tries, the first being 1: 30 s, doubled each time, at most an hour, ± `jitter`."""
    pause = limits.OUTBOUND_RETRY_SECONDS * 2.0 ** min(max(tries - 1, 0), 30)
    return min(pause, limits.OUTBOUND_RETRY_MAX_SECONDS) * (1 + jitter)


def _after(now: datetime, tries: int) -> datetime:
    return now + timedelta(seconds=retry_seconds(tries, jitter=_random.uniform(-_JITTER, _JITTER)))


def _note_reply(
    own: OutboundDestination, row: OutboundMessage, reply: Reply, ack: bytes, now: datetime
) -> None:
    own.failures, own.not_before, own.error = 0, None, None
    row.error, row.detail, row.ack = reply.code, reply.detail or None, ack
    if reply.verdict is Verdict.ACCEPTED:
        row.state, row.decided_at, own.delivered_at = OutboundState.DELIVERED, now, now
        return
    if reply.verdict is Verdict.ERROR:
        row.refusals += 1
        if row.refusals < limits.OUTBOUND_REFUSED_ATTEMPTS:
            row.state, row.not_before = OutboundState.PENDING, _after(now, row.refusals)
            return
    row.state, row.decided_at = OutboundState.FAILED, now


def _note_silence(own: OutboundDestination, row: OutboundMessage, problem: NotSent, now: datetime) -> None:
    """Not its fault, so it never fails for it: it waits, or the destination does as a whole."""
    row.state, row.error, row.detail = OutboundState.PENDING, problem.reason, None
    own.failures += 1
    own.error = problem.reason
    if problem.is_unreachable:
        row.attempts -= 1  # nothing of it left
        own.not_before = _after(now, own.failures)
        return
    row.not_before = _after(now, row.attempts - row.refusals)
    if own.failures >= limits.OUTBOUND_MUTE_ATTEMPTS:
        own.not_before = _after(now, own.failures - limits.OUTBOUND_MUTE_ATTEMPTS + 1)


def _due(work: Work, destination: str) -> sa.Select[Any]:
    message, earlier = OutboundMessage, sa.orm.aliased(OutboundMessage)
    blocked = sa.exists().where(
        earlier.destination == message.destination,
        earlier.patient_id == message.patient_id,
        _state_in(earlier.state, UNSENT),
        earlier.seq < message.seq,
    )
    return sa.select(message).where(
        message.destination == destination,
        _state_in(message.state, (OutboundState.PENDING,)),
        message.not_before <= work.clock.now(),
        ~blocked,
    )


def _state_in(column: Any, states: Sequence[OutboundState]) -> sa.ColumnElement[bool]:
    """Written into the statement: a bound value would keep SQLite from its partial index."""
    return column.in_(
        sa.bindparam(None, list(states), expanding=True, literal_execute=True, type_=column.type, unique=True)
    )
