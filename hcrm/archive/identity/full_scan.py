"""Going through all archives for pairs that may be one person: asked for on a page, or by `hcrm identity scan`.

One run at a time, worked on by one process at a time, whose lease each batch renews: one that dies is gone on from by
another once its lease is over. A run begun under another version of the rule begins anew.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from hcrm.archive.identity.matching_rule import MatchingRule, published_rule
from hcrm.archive.identity.models import IdentityScan
from hcrm.archive.identity.scan import CHANGED, FULL, count_archives, search_batch, store_batch
from hcrm.archive.models import Patient
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.actor import Actor
from hcrm.core.clock import Clock
from hcrm.core.db import Database
from hcrm.core.errors import ConflictError
from hcrm.core.ids import new_id
from hcrm.core.work import Work, open_work

Progress = Callable[[int, int, int], None]
"""Told after each batch how many archives are done, of how many, and how many pairs were found."""
_UNDER_WAY = "全部档案的比对正在进行，不必再开始；完成后会显示在“疑似重复”页"
_TAKEN_OVER = "这里停顿过久，全部档案的比对已由另一个进程接着做，结果见“疑似重复”页"


def start_full_scan(work: Work) -> None:
    """Ask for a search through all archives; the scheduler does it. ConflictError where one is under way."""
    scan = _locked(work)
    if scan is not None and scan.finished_at is None:
        raise ConflictError("pair.scanning", _UNDER_WAY)
    _begin(work, scan, published_rule(work))
    record_audit(work, action="identity.scan", subject_type="identity_scan", subject_id=FULL)


def scan_all(
    database: Database, actor: Actor, clock: Clock, *, progress: Progress, afresh: bool = False
) -> int:
    """Go through all archives, in batches by key; how many pairs are asked about now that were not before.

    A run that was broken off goes on where it was, unless `afresh`. ConflictError where another process is at it, or
    has taken it over because this one stood still for too long.
    """
    with open_work(database, actor=actor, clock=clock) as work:
        scan, rule = _locked(work), published_rule(work)
        if scan is not None and scan.lease is not None and (scan.leased_until or clock.now()) > clock.now():
            raise ConflictError("pair.scanning", _UNDER_WAY)
        if scan is None or scan.finished_at is not None or afresh:
            scan = _begin(work, scan, rule)
        total = count_archives(work)
        owner = _lease(work, scan)
    with _released(database, actor, clock, owner):
        while (batch := _next_batch(database, actor, clock, owner)) is not None:
            done, found, is_finished = batch
            if is_finished:
                return found
            progress(done, max(done, total), found)  # some may have come meanwhile
    raise ConflictError("pair.scanning", _TAKEN_OVER)


def continue_full_scan(database: Database, actor: Actor, clock: Clock) -> int:
    """Go on with a run that nobody works on, for one turn of the scheduler; how many batches were compared."""
    ends = time.monotonic() + limits.PAIR_TURN_SECONDS
    waiting = sa.select(IdentityScan).where(IdentityScan.kind == FULL, IdentityScan.finished_at.is_(None))
    with open_work(database, actor=actor, clock=clock, write=False) as work:
        if work.scalar(waiting) is None:
            return 0
    with open_work(database, actor=actor, clock=clock) as work:
        scan = work.scalar(waiting.with_for_update())
        if scan is None or (scan.lease is not None and (scan.leased_until or clock.now()) > clock.now()):
            return 0
        owner = _lease(work, scan)
    count = 0
    with _released(database, actor, clock, owner):
        while time.monotonic() < ends and (batch := _next_batch(database, actor, clock, owner)) is not None:
            if batch[2]:
                break
            count += 1
    return count


# ── a run ───────────────────────────────────────────────────────────────────


def _locked(work: Work) -> IdentityScan | None:
    return work.session.get(IdentityScan, FULL, with_for_update=True, populate_existing=True)


def _begin(work: Work, scan: IdentityScan | None, rule: MatchingRule) -> IdentityScan:
    """A run from the beginning. Of two who begin the very first one at once the second is told."""
    if scan is None:
        scan = IdentityScan(kind=FULL, cursor_at=None)
        work.session.add(scan)
    scan.cursor_id, scan.handled, scan.found, scan.shared = "", 0, 0, 0
    scan.rule_version, scan.started_at, scan.finished_at = rule.version, work.clock.now(), None
    scan.started_by_name = work.actor.name
    try:
        work.session.flush()
    except IntegrityError as error:
        raise ConflictError("pair.scanning", _UNDER_WAY) from error
    return scan


def _lease(work: Work, scan: IdentityScan, owner: str = "") -> str:
    scan.lease = owner or new_id()
    scan.leased_until = work.clock.now() + timedelta(seconds=limits.PAIR_LEASE_SECONDS)
    work.session.flush()
    return scan.lease


@contextmanager
def _released(database: Database, actor: Actor, clock: Clock, owner: str) -> Iterator[None]:
    """Whatever ends this turn, another process may go on at once."""
    try:
        yield
    finally:
        with suppress(sa.exc.SQLAlchemyError), open_work(database, actor=actor, clock=clock) as work:
            scan = _locked(work)
            if scan is not None and scan.lease == owner:
                scan.lease = scan.leased_until = None


def _next_batch(database: Database, actor: Actor, clock: Clock, owner: str) -> tuple[int, int, bool] | None:
    """Compare and store one batch: archives done, pairs found, whether that was all. None: another has taken over."""
    with open_work(database, actor=actor, clock=clock, write=False) as work:
        scan, rule = work.get(IdentityScan, FULL), published_rule(work)
        after = scan.cursor_id if scan.rule_version == rule.version else ""
        ids = work.scalars(
            sa.select(Patient.id).where(Patient.id > after).order_by(Patient.id).limit(limits.PAIR_BATCH)
        )
        found = search_batch(work, rule, ids, only_lower=True) if ids else None
    with open_work(database, actor=actor, clock=clock) as work:
        mine = _locked(work)
        if mine is None or mine.lease != owner:
            return None
        if mine.rule_version != rule.version:
            mine = _begin(work, mine, rule)
        if found is None:
            _finish(work, mine)
            return mine.handled, mine.found, True
        mine.found += store_batch(work, rule, found)
        mine.cursor_id, mine.handled, mine.shared = (
            ids[-1],
            mine.handled + len(ids),
            mine.shared + found.shared,
        )
        _lease(work, mine, owner)
        return mine.handled, mine.found, False


def _finish(work: Work, scan: IdentityScan) -> None:
    """The whole archive was gone through: what changed before it began needs no second look."""
    scan.finished_at = work.clock.now()
    if work.session.get(IdentityScan, CHANGED) is None:
        work.session.add(
            IdentityScan(
                kind=CHANGED, cursor_at=scan.started_at - timedelta(seconds=limits.PAIR_SETTLE_SECONDS),
                cursor_id="", handled=0, found=0, shared=0, rule_version=scan.rule_version,
                started_at=scan.started_at, finished_at=scan.finished_at,
            )
        )  # fmt: skip
    work.session.flush()
