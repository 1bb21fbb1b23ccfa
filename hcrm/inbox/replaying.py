"""Replaying all that a filter gives: counted first, in order of arrival, in batches, to be stopped at any time."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hcrm.archive.events import PatientsParted
from hcrm.archive.models import Patient
from hcrm.core import limits
from hcrm.core.actor import Actor
from hcrm.core.errors import HcrmError
from hcrm.core.work import Work
from hcrm.inbox.console_models import MessageAct, MessageActKind, MessageCorrection, ReplayRun, ReplayState
from hcrm.inbox.guard import REASONS as GUARDED
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage
from hcrm.inbox.queries import MessageFilters, narrow_messages
from hcrm.inbox.service import replay_messages

_SURVIVORS = 500


@dataclass(frozen=True, slots=True)
class ReplayLine:
    """How many messages stand in one state for one reason."""

    state: ApplicationState
    reason: str | None
    number: int

    @property
    def is_guarded(self) -> bool:
        """Whether only a person who looks at the one message lets it through; a bulk replay does not."""
        return self.reason in GUARDED


@dataclass(frozen=True, slots=True)
class ReplayPreview:
    """What a replay would touch: nothing above `upto`, whatever arrives meanwhile."""

    upto: int
    lines: Sequence[ReplayLine]

    @property
    def total(self) -> int:
        """How many messages."""
        return sum(line.number for line in self.lines)

    @property
    def guarded(self) -> int:
        """How many of them will be stopped again."""
        return sum(line.number for line in self.lines if line.is_guarded)


def preview_replay(work: Work, filters: MessageFilters, *, upto: int | None = None) -> ReplayPreview:
    """Count what the filters give now, up to the newest message or to `upto`."""
    if upto is None:
        upto = int(work.scalar(sa.select(sa.func.coalesce(sa.func.max(InboxApplication.seq), 0))))
    columns: Any = (InboxApplication.state, InboxApplication.reason, sa.func.count().label("number"))
    counted = sa.select(*columns)
    rows = work.execute(
        _replayable(work, counted, filters, above=0, upto=upto)
        .group_by(InboxApplication.state, InboxApplication.reason)
        .order_by(InboxApplication.state, InboxApplication.reason)
    )
    return ReplayPreview(upto, [ReplayLine(row.state, row.reason, row.number) for row in rows])


def start_replay(work: Work, filters: MessageFilters, *, upto: int) -> str:
    """Begin a replay of what was shown and counted; its key. The first batch goes at once, a job does the rest."""
    if filters.found is not None:
        raise HcrmError("replay.search", "检索结果不能批量重新处理，请改用筛选条件", status=422)
    total = preview_replay(work, filters, upto=upto).total
    if not total:
        raise HcrmError("replay.empty", "没有可以重新处理的消息", status=409)
    values = {name: _plain(value) for name, value in asdict(filters).items() if value}
    run = ReplayRun(
        id=work.new_id(), started_at=work.clock.now(), started_by=work.actor.id, started_by_name=work.actor.name,
        filters=values, upto_seq=upto, seq=0, total=total, done=0, state=ReplayState.RUNNING, finished_at=None,
    )  # fmt: skip
    work.add(run)
    _next_batch(work, run)
    return run.id


def continue_replays(work: Work) -> int:
    """One batch of the oldest replay under way, for a job. How many messages it looked at; 0: nothing to do now."""
    run = work.session.scalars(
        sa.select(ReplayRun)
        .where(ReplayRun.state == sa.literal(ReplayState.RUNNING, ReplayRun.state.type, literal_execute=True))
        .order_by(ReplayRun.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()
    return _next_batch(work, run) if run else 0


def stop_replay(work: Work, run_id: str) -> None:
    """Touch nothing more; what was let go stays so."""
    run = work.session.get(ReplayRun, run_id, with_for_update=True)
    if run is not None and run.state is ReplayState.RUNNING:
        run.state, run.finished_at = ReplayState.STOPPED, work.clock.now()


def count_outcomes(work: Work, run: ReplayRun) -> Sequence[ReplayLine]:
    """How the messages a replay let go stand now, by state and reason."""
    until = run.finished_at or work.clock.now()
    seqs = sa.select(MessageAct.seq).where(
        MessageAct.id >= run.id, MessageAct.kind == MessageActKind.REPLAYED, MessageAct.actor_id == run.started_by,
        MessageAct.happened_at >= run.started_at, MessageAct.happened_at <= until,
        MessageAct.seq <= run.upto_seq,
    )  # fmt: skip
    columns: Any = (InboxApplication.state, InboxApplication.reason, sa.func.count().label("number"))
    rows = work.execute(
        sa.select(*columns)
        .where(InboxApplication.seq.in_(seqs))
        .group_by(InboxApplication.state, InboxApplication.reason)
        .order_by(InboxApplication.state, InboxApplication.reason)
    )
    return [ReplayLine(row.state, row.reason, row.number) for row in rows]


def replay_for_parted(work: Work, facts: Sequence[PatientsParted]) -> int:
    """What was told under a number while a merge had retired it is told again, now of its own patient (B41)."""
    survivors = {fact.survivor_id for fact in facts}
    seqs: list[int] = []
    for start in range(0, len(survivors), _SURVIVORS):
        some = sorted(survivors)[start : start + _SURVIVORS]
        # They may have been applied to one that was merged into the survivor later.
        merged = sa.select(Patient.id).where(Patient.merged_into_id.in_(some))
        seqs += work.scalars(
            sa.select(InboxApplication.seq).where(
                sa.or_(
                    InboxApplication.became_patient_id.in_(some),
                    InboxApplication.became_patient_id.in_(merged),
                ),
                InboxApplication.state == ApplicationState.APPLIED,
                InboxApplication.flags.contains("late_under_merged_id"),
            )
        )
    return replay_messages(work, seqs=sorted(seqs)) if seqs else 0


def list_running(work: Work) -> Sequence[ReplayRun]:
    """Replays under way."""
    return work.scalars(
        sa.select(ReplayRun).where(
            ReplayRun.state == sa.literal(ReplayState.RUNNING, ReplayRun.state.type, literal_execute=True)
        )
    )


def _next_batch(work: Work, run: ReplayRun) -> int:
    waiting = sa.select(InboxApplication.seq).where(
        InboxApplication.state
        == sa.literal(ApplicationState.WAITING, InboxApplication.state.type, literal_execute=True)
    )
    if len(work.scalars(waiting.limit(limits.REPLAY_WAITING))) >= limits.REPLAY_WAITING:
        return 0
    statement = _replayable(
        work, sa.select(InboxApplication.seq), _filters_of(run), above=run.seq, upto=run.upto_seq
    )
    seqs = work.scalars(statement.order_by(InboxApplication.seq).limit(limits.REPLAY_BATCH))
    if seqs:
        by = Actor(id=run.started_by, name=run.started_by_name)
        run.done += replay_messages(work, seqs=seqs, by=by)
        run.seq = seqs[-1]
    if len(seqs) < limits.REPLAY_BATCH:
        run.state, run.finished_at = ReplayState.DONE, work.clock.now()
    work.session.flush()
    return len(seqs)


def _replayable(
    work: Work, statement: sa.Select[*tuple[Any, ...]], filters: MessageFilters, *, above: int, upto: int
) -> sa.Select[*tuple[Any, ...]]:
    """What can go its way again: not what waits, not originals of corrected copies, not what is pruned."""
    corrected = sa.exists().where(MessageCorrection.original_seq == InboxApplication.seq)
    return narrow_messages(work, statement, filters).where(
        InboxApplication.seq > above, InboxApplication.seq <= upto,
        InboxApplication.state != ApplicationState.WAITING, sa.func.length(InboxMessage.raw) > 0, ~corrected,
    )  # fmt: skip


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(getattr(value, "value", value))


def _filters_of(run: ReplayRun) -> MessageFilters:
    values = dict(run.filters)
    for name in ("since", "until"):
        if name in values:
            values[name] = datetime.fromisoformat(values[name])
    if "state" in values:
        values["state"] = ApplicationState(values["state"])
    return MessageFilters(**values)
