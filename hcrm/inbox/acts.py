"""What people did with messages: noted beside each, with how it stood before, and what may be done at all."""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from hcrm.core.actor import Actor
from hcrm.core.work import Work
from hcrm.inbox.console_models import MessageAct, MessageActKind, MessageCorrection
from hcrm.inbox.models import InboxApplication, InboxMessage

_STEP = 10_000  # values of one statement; both engines have a limit


def lock_replayable(work: Work, seqs: Sequence[int]) -> Sequence[sa.Row[Any]]:
    """Those of the messages that can go their way again (seq, state, reason, flags), their rows locked.

    Not the original of a corrected copy: both would be applied. Not one whose text was pruned: asked after the lock,
    which pruning holds while it empties a text.
    """
    found: list[sa.Row[Any]] = []
    for start in range(0, len(seqs), _STEP):
        found += _lock(work, seqs[start : start + _STEP])
    return found


def _lock(work: Work, seqs: Sequence[int]) -> list[sa.Row[Any]]:
    rows = work.execute(
        sa.select(
            InboxApplication.seq, InboxApplication.state, InboxApplication.reason, InboxApplication.flags
        )
        .where(InboxApplication.seq.in_(seqs))
        .order_by(InboxApplication.seq)
        .with_for_update(of=InboxApplication)
    ).all()
    able = set(
        work.scalars(
            sa.select(InboxMessage.seq).where(
                InboxMessage.seq.in_(seqs), sa.func.length(InboxMessage.raw) > 0, ~_corrected()
            )
        )
    )
    return [row for row in rows if row.seq in able]


def _corrected() -> sa.Exists:
    return sa.exists().where(MessageCorrection.original_seq == InboxMessage.seq)


def note_acts(
    work: Work, rows: Iterable[Any], kind: MessageActKind, *, note: str | None = None, by: Actor | None = None
) -> None:
    """Note an act on messages; a row names seq, state and reason as they stood before. `by`: who ordered it."""
    now, actor = work.clock.now(), by or work.actor
    work.insert(
        MessageAct,
        [
            {"id": work.new_id(), "seq": row.seq, "kind": kind, "happened_at": now, "actor_id": actor.id,
             "actor_name": actor.name, "state_before": row.state and row.state.value,
             "reason_before": row.reason, "note": note}
            for row in rows
        ],
    )  # fmt: skip
