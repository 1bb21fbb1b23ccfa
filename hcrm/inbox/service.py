"""The way of a stored message into the archive: taken up in order, applied in batches, exactly once.

A message is taken up once: it gets its row with the lane of its patient. A worker locks lanes, applies what waits
in them in order of arrival in one transaction with the archive, and lets go. If a batch fails it is tried one by
one, so that only the message at fault is parked.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects.postgresql import ARRAY

from hcrm.archive.arrivals import Arrival, opened_keys, visit_key, visits_told
from hcrm.archive.records import AbsorbOutcome, Change, OutcomeState, VisitNumber
from hcrm.archive.service import absorb_records
from hcrm.archive.visit_models import Encounter
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.actor import Actor
from hcrm.core.db import Database, is_away, table_of
from hcrm.core.faults import fault
from hcrm.core.work import Work, open_work
from hcrm.directory.code_maps import Sighting, note_sightings
from hcrm.inbox.acts import lock_replayable, note_acts
from hcrm.inbox.console_models import MessageActKind
from hcrm.inbox.guard import REASONS as GUARDED
from hcrm.inbox.guard import RELEASED, guard, is_guarded
from hcrm.inbox.models import ApplicationState, InboxApplication
from hcrm.inbox.take_up import (
    NO_LANE,
    Intake,
    on_postgresql,
    read_message,
    read_within_budget,
    select_messages,
    take_up,
)

_LANES_AT_ONCE = limits.LANES // 4
_LOCK_LANE, _LOCK_VISIT = 4_802, 4_803  # advisory locks: a number of our own, then the lane or visit
_LOCK_GUARD = 4_804
_STATES = {
    OutcomeState.APPLIED: ApplicationState.APPLIED,
    OutcomeState.IGNORED: ApplicationState.IGNORED,
    OutcomeState.HELD: ApplicationState.HELD,
    OutcomeState.PARKED: ApplicationState.PARKED,
}
log = structlog.get_logger(__name__)


def process_messages(database: Database, intake: Intake) -> int:
    """Take up what is new and apply one batch; how many messages were decided. 0: nothing waits."""
    with open_work(database, actor=intake.actor, clock=intake.clock) as work:
        take_up(work, intake)
    seqs: list[int] = []
    try:
        with open_work(database, actor=intake.actor, clock=intake.clock) as work:
            batch = _claim(work)
            seqs = [row["seq"] for row in batch]
            _apply(work, batch, intake)
            fault("before_apply_commit")
        return len(seqs)
    except Exception as error:
        if not seqs or (isinstance(error, sa.exc.DBAPIError) and is_away(error)):
            raise  # nothing was begun, or the database is away or busy: nobody's message is at fault
        log.warning("inbox.batch_failed", error=type(error).__name__, messages=len(seqs))
    return _apply_one_by_one(database, seqs, intake)


def _claim(work: Work) -> list[dict[str, Any]]:
    """Lock some lanes in which something waits, oldest first, and read what waits there."""
    table = table_of(InboxApplication)
    waiting = work.execute(
        sa.select(table.c.lane)
        .where(table.c.state == ApplicationState.WAITING, table.c.lane != NO_LANE)
        .group_by(table.c.lane)
        .order_by(sa.func.min(table.c.seq))
        .limit(_LANES_AT_ONCE if on_postgresql(work) else limits.LANES)
    ).scalars()
    wanted = set(waiting)
    if not wanted:
        return []
    for _, lanes in _waiting_merges(work):
        if not wanted.isdisjoint(lanes):
            wanted |= lanes
    locked = _lock_lanes(work, wanted)
    barred = _barred(work, locked)
    rows = read_within_budget(
        work,
        table.c.state == ApplicationState.WAITING,
        table.c.lane.in_(locked),
        most=limits.APPLY_BATCH,
    )
    return [row for row in rows if row["seq"] < barred.get(row["lane"], row["seq"] + 1)]


def _barred(work: Work, locked: set[int]) -> dict[int, int]:
    """From which message on a lane must wait: a merge another of whose lanes is being worked in elsewhere."""
    barred: dict[int, int] = {}
    for seq, lanes in _waiting_merges(work):
        if not lanes <= locked or any(lane in barred for lane in lanes):
            for lane in lanes:
                barred.setdefault(lane, seq)
    return barred


def _waiting_merges(work: Work) -> list[tuple[int, set[int]]]:
    """Merges that wait, in order, with all their lanes: a message of any of these must not overtake them."""
    table = table_of(InboxApplication)
    rows = work.execute(
        sa.select(table.c.seq, table.c.lane, table.c.other_lanes)
        .where(table.c.state == ApplicationState.WAITING, table.c.other_lanes.is_not(None))
        .order_by(table.c.seq)
    )
    return [(row.seq, {row.lane, *row.other_lanes}) for row in rows]


def _apply(work: Work, batch: Sequence[dict[str, Any]], intake: Intake) -> None:
    now = intake.clock.now()
    changes: dict[int, Change] = {}
    decided: list[dict[str, Any]] = []
    for row in batch:
        result = read_message(work, row, intake).result
        if isinstance(result, Change):
            changes[row["seq"]] = result
        else:
            state = OutcomeState.IGNORED if result.ignored else OutcomeState.PARKED
            outcome = AbsorbOutcome(state, reason=result.reason, detail=result.detail)
            decided.append(_decided(row, outcome, now))
    early = _lock_with_early(work, changes.values(), intake)
    rows = {row["seq"]: row for row in batch} | {row["seq"]: row for row, _ in early}
    changes |= {row["seq"]: change for row, change in early}
    verdict = guard(work, changes, rows, intake.sources)  # of the early ones too: they may touch a VIP by now
    for seq, flags in verdict.flags.items():
        rows[seq] = {**rows[seq], "flags": flags}
    decided += [_decided(rows[seq], outcome, now) for seq, outcome in verdict.stopped.items()]
    arrivals = [Arrival(seq, changes[seq]) for seq in sorted(changes.keys() - verdict.stopped.keys())]
    for arrival, outcome in zip(arrivals, absorb_records(work, arrivals=arrivals), strict=True):
        row = rows[arrival.seq]
        # An early one that still waits for the same visit is left alone; of two visits it may wait for the other now.
        if row["state"] is ApplicationState.WAITING or outcome.visit_key != row["visit_key"]:
            decided.append(_decided(row, outcome, now))
    work.update_rows(InboxApplication, decided, key="seq")
    note_sightings(work, _sightings(changes), now)


def _sightings(changes: Mapping[int, Change]) -> Iterator[tuple[int, Sighting]]:
    """Local codes that nothing maps, with the message that named them."""
    for seq, change in changes.items():
        for part in change.parts:
            for kind, code in part.unmapped:
                yield seq, (change.source, kind, code)


def _decided(row: dict[str, Any], outcome: AbsorbOutcome, now: datetime) -> dict[str, Any]:
    return {
        "seq": row["seq"], "state": _STATES[outcome.state], "attempts": row["attempts"] + 1,
        "reason": outcome.reason, "detail": outcome.detail,
        "flags": " ".join(dict.fromkeys([*row["flags"].split(), *outcome.flags])),
        "visit_key": outcome.visit_key, "became_patient_id": outcome.patient_id,
        "became_encounter_id": outcome.encounter_id, "applied_at": now,
    }  # fmt: skip


def _lock_with_early(
    work: Work, changes: Collection[Change], intake: Intake
) -> list[tuple[dict[str, Any], Change]]:
    """Lock the guard, then the visits, then what came before them, which is returned.

    What came early may be guarded where nothing else is, and is seen only once the visits are ours: these are let go
    of again before the guard is asked for.
    """
    if _lock_guard(work, changes):
        _lock_visits(work, changes)
        return _early(work, changes, intake)
    with work.session.connection().begin_nested() as savepoint:
        _lock_visits(work, changes)
        early = _early(work, changes, intake)
        if not any(is_guarded(change) for _, change in early):
            return early
        savepoint.rollback()
    _lock_guard(work, [change for _, change in early])
    _lock_visits(work, changes)
    return _early(work, changes, intake)


def _early(work: Work, changes: Iterable[Change], intake: Intake) -> list[tuple[dict[str, Any], Change]]:
    """What came before a visit that these changes make known, read again: held cancels, and updates."""
    keys = {key for change in changes for key in opened_keys(work, change)}
    if not keys:
        return []
    table = table_of(InboxApplication)
    rows = work.execute(
        select_messages()
        .where(
            table.c.visit_key.in_(keys),
            table.c.state.in_((ApplicationState.HELD, ApplicationState.APPLIED, ApplicationState.PARKED)),
        )
        .order_by(table.c.seq)
        .with_for_update(of=table)  # a held one may be just being corrected: it or its copy is applied
    ).mappings()
    found = [(dict(row), read_message(work, row, intake).result) for row in rows]
    return [(row, result) for row, result in found if isinstance(result, Change)]


def _apply_one_by_one(database: Database, seqs: Sequence[int], intake: Intake) -> int:
    """After a batch failed: each message in a work of its own; one that fails again and again is parked."""
    stopped: set[int] = set()  # lanes in which an earlier message could not be done: nothing may overtake it
    done = 0
    for seq in seqs:
        lanes: set[int] = set()
        try:
            with open_work(database, actor=intake.actor, clock=intake.clock) as work:
                row = _waiting_row(work, seq)
                if row is None:
                    continue
                lanes = {row["lane"], *(row["other_lanes"] or ())}
                if not lanes.isdisjoint(stopped) or _lock_lanes(work, lanes) != lanes:
                    stopped |= lanes
                    continue
                _apply(work, [row], intake)
            done += 1
        except Exception as error:  # the message's own fault, unless the database is away
            if isinstance(error, sa.exc.DBAPIError) and is_away(error):
                raise
            log.warning("inbox.message_failed", seq=seq, error=type(error).__name__)
            stopped |= lanes
            done += _note_failure(database, seq, type(error).__name__, intake)
    return done


def _waiting_row(work: Work, seq: int) -> dict[str, Any] | None:
    table = table_of(InboxApplication)
    row = work.execute(
        select_messages().where(table.c.seq == seq, table.c.state == ApplicationState.WAITING)
    ).mappings().first()  # fmt: skip
    return dict(row) if row else None


def _note_failure(database: Database, seq: int, error: str, intake: Intake) -> int:
    """Count the try; 1 when that was the last and the message is parked."""
    with open_work(database, actor=intake.actor, clock=intake.clock) as work:
        row = work.one(InboxApplication, InboxApplication.seq == seq)
        row.attempts += 1
        if row.attempts < limits.APPLY_ATTEMPTS:
            return 0
        row.state, row.reason, row.detail = ApplicationState.PARKED, "error", error
        row.applied_at = intake.clock.now()
        return 1


def replay_messages(
    work: Work, *, seqs: Sequence[int], by: Actor | None = None, release: bool = False
) -> int:
    """Let messages go their way again; applying twice changes nothing. How many.

    `release`: a person has looked at them, so the guard against floods and merged VIPs lets them through.

    They are taken up anew: a source corrected meanwhile may give them another patient, and so another lane.
    Left as they are: originals of corrected copies, and messages whose text was pruned. `by`: who ordered it.
    """
    standing = lock_replayable(work, seqs)
    rows = [
        {"seq": row.seq, "lane": NO_LANE, "other_lanes": None, "state": ApplicationState.WAITING, "attempts": 0,
         "reason": None, "detail": None, "visit_key": None, "taken_up_at": work.clock.now(),
         "flags": f"{row.flags} {RELEASED}".strip() if release and row.reason in GUARDED else row.flags}
        for row in standing
    ]  # fmt: skip
    note_acts(work, standing, MessageActKind.REPLAYED, by=by)
    work.update_rows(InboxApplication, rows, key="seq")
    if rows:
        record_audit(work, action="message.replay", subject_type="inbox_message", detail={"count": len(rows)})
    return len(rows)


def park_expired_holds(work: Work) -> int:
    """Park cancels whose event never came (24 h); a job runs it. How many."""
    limit = work.clock.now() - timedelta(seconds=limits.HOLD_SECONDS)
    table = table_of(InboxApplication)
    expired = work.execute(
        sa.update(table)
        .where(table.c.state == ApplicationState.HELD, table.c.taken_up_at < limit)
        .values(state=ApplicationState.PARKED, reason="event_never_came")
        .returning(table.c.seq)
    )
    return len(expired.all())


def _lock_lanes(work: Work, lanes: set[int]) -> set[int]:
    """Those of the lanes nobody else works in, ours until the transaction ends."""
    if not on_postgresql(work):
        return lanes
    lane = sa.func.unnest(sa.cast(sorted(lanes), ARRAY(sa.Integer))).column_valued("lane")
    return set(work.scalars(sa.select(lane).where(sa.func.pg_try_advisory_xact_lock(_LOCK_LANE, lane))))


def _lock_guard(work: Work, changes: Iterable[Change]) -> bool:
    """One at a time counts and applies what is counted, or two would use up the same rest of a limit.

    Asked for before the visits' locks, by whoever asks for both. Whether it is ours: not where nothing is counted.
    """
    if not on_postgresql(work):
        return True  # nobody writes beside us
    is_asked = any(is_guarded(change) for change in changes)
    if is_asked:
        work.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_GUARD, 0)))
    return is_asked


def _lock_visits(work: Work, changes: Collection[Change]) -> None:
    """Let nobody else tell of a visit that is not known yet until we are done, in whatever lane.

    Else one would hold a cancel, since he does not see the visit another is opening, and the other would not see that
    it is held: it would stay so. Nothing is written before and all lock in one order, so nobody waits in a circle.
    """
    told = {number for change in changes for number in visits_told(change)}
    if not told or not on_postgresql(work):
        return
    numbers = sorted({visit.number for visit in told})
    known = work.execute(
        sa.select(Encounter.authority, Encounter.visit_no).where(Encounter.visit_no.in_(numbers))
    )
    told -= {VisitNumber(row.authority, row.visit_no) for row in known}
    keys = sorted({int(visit_key(work, number)[:8], 16) - 2**31 for number in told})
    key = sa.func.unnest(sa.cast(keys, ARRAY(sa.Integer))).column_valued("key")
    work.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_VISIT, key)))
