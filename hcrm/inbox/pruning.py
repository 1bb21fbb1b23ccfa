"""Emptying texts nobody needs any more: of messages applied or ignored long ago, never of others.

The row stays with its key, hash and ACK, so that the same message sent again finds it, gets the same answer and is not
applied again. What waits, is held, parked or not taken up keeps its text, and so does an update that came before its
visit: it is read again once the visit is known. Small transactions with rests between: on SQLite the listener has to
come in, since both write the inbox's file.
"""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from hcrm.core import limits
from hcrm.core.actor import Actor
from hcrm.core.clock import Clock
from hcrm.core.db import Database, table_of
from hcrm.core.work import Work, open_work
from hcrm.inbox.console_models import PruneFloor, PruneLater
from hcrm.inbox.intake import ONE_WRITER
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage, RefusedMessage

_DONE = (ApplicationState.APPLIED, ApplicationState.IGNORED)


def prune_messages(database: Database, *, actor: Actor, clock: Clock, keep_days: int) -> int:
    """Empty what is older than that, for PRUNE_SECONDS at most; how many texts and refused rows went. 0 days: never."""
    if keep_days <= 0:
        return 0
    before = clock.now() - timedelta(days=keep_days)
    ends = time.monotonic() + limits.PRUNE_SECONDS
    pruned, later = 0, 0  # `later`: the number up to which those kept before were asked again
    is_asking = True
    while time.monotonic() < ends:
        with open_work(database, actor=actor, clock=clock) as work:
            if is_asking:
                seqs = _kept_before(work, later)
                is_asking, later = len(seqs) == limits.PRUNE_BATCH, max(seqs, default=later)
                done = _empty(work, database, seqs, before)
                work.execute(sa.delete(PruneLater).where(PruneLater.seq.in_(done)))
                pruned += len(done)
                continue_at_once = not seqs
            else:
                seqs = _above_floor(work, before)
                done = _empty(work, database, seqs, before)
                _pass(work, seqs, done)
                refused = _delete_refused(work, database, before)
                pruned += len(done) + refused
                if not seqs and not refused:
                    break
                continue_at_once = False
        if not continue_at_once:
            time.sleep(limits.PRUNE_PAUSE_SECONDS)
    return pruned


def _kept_before(work: Work, above: int) -> Sequence[int]:
    return work.scalars(
        sa.select(PruneLater.seq)
        .where(PruneLater.seq > above)
        .order_by(PruneLater.seq)
        .limit(limits.PRUNE_BATCH)
    )


def _above_floor(work: Work, before: datetime) -> Sequence[int]:
    """The next messages pruning has not looked at, as far as they are old enough: numbers follow the time nearly."""
    floor = work.scalar(sa.select(sa.func.coalesce(sa.func.max(PruneFloor.seq), 0)))
    rows = work.execute(
        sa.select(InboxMessage.seq, InboxMessage.received_at)
        .where(InboxMessage.seq > floor)
        .order_by(InboxMessage.seq)
        .limit(limits.PRUNE_BATCH)
    )
    seqs = []
    for row in rows:
        if row.received_at >= before:
            break
        seqs.append(row.seq)
    return seqs


def _empty(work: Work, database: Database, seqs: Sequence[int], before: datetime) -> list[int]:
    """Empty the texts of those that need none; which. Their rows are locked first: a replay meanwhile waits, and sees.

    On SQLite the archive's writing lock, held by this work, keeps replays out until both files are written.
    """
    if not seqs:
        return []
    done = list(
        work.scalars(
            sa.select(InboxApplication.seq)
            .where(
                InboxApplication.seq.in_(seqs), InboxApplication.state.in_(_DONE),
                InboxApplication.visit_key.is_(None), InboxApplication.applied_at < before,
            )
            .order_by(InboxApplication.seq)
            .with_for_update()
        )
    )  # fmt: skip
    message = table_of(InboxMessage)
    _in_inbox(work, database, sa.update(message).where(message.c.seq.in_(done)).values(raw=b""))
    return done


def _pass(work: Work, seqs: Sequence[int], done: Sequence[int]) -> None:
    """Raise the floor over these; those that were kept are asked again another day."""
    if not seqs:
        return
    kept = set(seqs).difference(done)
    work.insert(PruneLater, [{"seq": seq} for seq in sorted(kept)])
    floor = table_of(PruneFloor)
    if work.execute(sa.update(floor).values(seq=seqs[-1]).returning(floor.c.id)).first() is None:
        work.insert(PruneFloor, [{"id": 1, "seq": seqs[-1]}])


def _delete_refused(work: Work, database: Database, before: datetime) -> int:
    refused = table_of(RefusedMessage)
    old = work.scalars(
        sa.select(refused.c.seq)
        .where(refused.c.received_at < before)
        .order_by(refused.c.seq)
        .limit(limits.PRUNE_BATCH)
    )
    if old:
        _in_inbox(work, database, sa.delete(refused).where(refused.c.seq.in_(old)))
    return len(old)


def _in_inbox(work: Work, database: Database, statement: Any) -> None:
    """Write the store of received messages: of the same database on PostgreSQL, a file of its own on SQLite."""
    if not database.is_sqlite:
        work.execute(statement)
        return
    with ONE_WRITER, database.inbox.execution_options(hcrm_write=True).begin() as connection:
        connection.execute(statement)
