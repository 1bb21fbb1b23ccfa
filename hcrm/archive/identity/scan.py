"""Finding pairs of archives that may be one person: what has changed every few minutes; all of them in `full_scan`.

Each batch compares in a reading work and stores what it found in a short writing one, so that pages never wait for it.
A run may be killed at any moment: it goes on behind the last batch that was stored, and finding a pair twice changes
nothing.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from hcrm.archive.identity.matching_rule import Evidence, MatchingRule, published_rule, weigh
from hcrm.archive.identity.models import UNDECIDED, IdentityPair, IdentityScan, PairState
from hcrm.archive.identity.profiles import find_neighbours, load_profiles
from hcrm.archive.models import LinkKind, Patient, PatientLink
from hcrm.core import limits
from hcrm.core.actor import Actor
from hcrm.core.clock import Clock
from hcrm.core.db import Database
from hcrm.core.work import Row, Work, open_work

CHANGED, FULL = "changed", "full"
Pair = tuple[str, str]
_CHUNK = 400


@dataclass(frozen=True, slots=True)
class Found:
    """What one batch found: pairs that may be one person, pairs known before that may not any more."""

    evidence: dict[Pair, Evidence]
    looked_at: frozenset[Pair]
    apart: frozenset[Pair]
    shared: int


def scan_changed(database: Database, actor: Actor, clock: Clock) -> int:
    """Look for pairs among the archives that have changed since the last run; how many were looked at.

    One whose last change is younger than `limits.PAIR_SETTLE_SECONDS` waits for the next run: a transaction that has
    not ended yet may bring an older one.
    """
    ends = time.monotonic() + limits.PAIR_SCAN_SECONDS
    handled = 0
    while time.monotonic() < ends:
        with open_work(database, actor=actor, clock=clock, write=False) as work:
            until = clock.now() - timedelta(seconds=limits.PAIR_SETTLE_SECONDS)
            rows = _changed_after(work, work.session.get(IdentityScan, CHANGED), until)
            if not rows:
                break
            rule = published_rule(work)
            found = search_batch(work, rule, [row.id for row in rows])
        with open_work(database, actor=actor, clock=clock) as work:
            new = store_batch(work, rule, found)
            _note(work, rule, (rows[-1].updated_at, rows[-1].id), len(rows), new, found.shared)
        handled += len(rows)
    return handled


def count_archives(work: Work) -> int:
    """How many archives a full search goes through."""
    return int(work.scalar(sa.select(sa.func.count()).select_from(Patient)))


def compare(work: Work, one: str, other: str) -> Evidence | None:
    """What speaks for and against two archives; None where one of them does not stand."""
    profiles = load_profiles(work, [one, other])
    if len(profiles) < 2:
        return None
    shared = find_neighbours(work, [one, other]).shared_phones
    return weigh(published_rule(work), profiles[one], profiles[other], shared=shared)


def _changed_after(work: Work, scan: IdentityScan | None, until: datetime) -> Sequence[sa.Row[Any]]:
    where: list[Any] = [Patient.updated_at <= until]
    if scan is not None and scan.cursor_at is not None:
        cursor = sa.tuple_(sa.literal(scan.cursor_at, Patient.updated_at.type), sa.literal(scan.cursor_id))
        where.append(sa.tuple_(Patient.updated_at, Patient.id) > cursor)
    return work.execute(
        sa.select(Patient.id, Patient.updated_at)
        .where(*where)
        .order_by(Patient.updated_at, Patient.id)
        .limit(limits.PAIR_BATCH)
    ).all()


def search_batch(work: Work, rule: MatchingRule, ids: Collection[str], *, only_lower: bool = False) -> Found:
    """Compare some archives with their neighbours, of lower keys alone where all are gone through."""
    near = find_neighbours(work, ids, only_lower=only_lower)
    known = _known_pairs(work, ids)
    looked_at = near.pairs | known
    profiles = load_profiles(work, {key for pair in looked_at for key in pair})
    evidence = {}
    for pair in looked_at:
        one, other = (profiles.get(key) for key in pair)
        if one is None or other is None:
            continue
        weighed = weigh(rule, one, other, shared=near.shared_phones)
        if weighed.score >= rule.possible:
            evidence[pair] = weighed
    standing = frozenset(pair for pair in known if pair[0] in profiles and pair[1] in profiles)
    return Found(evidence, standing, _apart(work, evidence), near.shared)


def _known_pairs(work: Work, ids: Collection[str]) -> frozenset[Pair]:
    """Pairs of these archives that wait: what was found of them may no longer hold."""
    pairs: set[Pair] = set()
    for column in (IdentityPair.low_id, IdentityPair.high_id):
        rows = work.execute(
            sa.select(IdentityPair.low_id, IdentityPair.high_id).where(
                column.in_(sorted(ids)), IdentityPair.state.in_(UNDECIDED)
            )
        )
        pairs |= {(row.low_id, row.high_id) for row in rows}
    return frozenset(pairs)


def _apart(work: Work, pairs: Collection[Pair]) -> frozenset[Pair]:
    """Those of the pairs of which somebody said that they are two people."""
    found = set()
    lows = sorted({low for low, _ in pairs} | {high for _, high in pairs})
    for start in range(0, len(lows), _CHUNK):
        rows = work.execute(
            sa.select(PatientLink.patient_id, PatientLink.other_id).where(
                PatientLink.patient_id.in_(lows[start : start + _CHUNK]),
                PatientLink.kind == LinkKind.APART,
                PatientLink.ended_at.is_(None),
            )
        )
        found |= {(min(row), max(row)) for row in rows}
    return frozenset(found & set(pairs))


def store_batch(work: Work, rule: MatchingRule, found: Found) -> int:
    """Write what is new, what has changed and what no longer holds; how many pairs are asked about anew."""
    standing = _standing(work, found.evidence.keys() | found.looked_at)
    new = [
        _new_row(work, pair, evidence, rule, is_apart=pair in found.apart)
        for pair, evidence in found.evidence.items()
        if pair not in standing
    ]
    added = len(work.insert_new(IdentityPair, new))
    changed, asked = [], 0
    for pair, evidence in found.evidence.items():
        row = standing.get(pair)
        if row is None or (row["fingerprint"] == evidence.fingerprint and row["score"] == evidence.score):
            continue
        is_news = row["fingerprint"] != evidence.fingerprint
        again = is_news and row["state"] in (PairState.NOT_SAME, PairState.NEEDS_DATA)
        asked += again and row["state"] is PairState.NOT_SAME
        changed.append(
            {"id": row["id"], "score": evidence.score, "evidence": evidence.stored(),
             "fingerprint": evidence.fingerprint, "rule_version": rule.version,
             "state": PairState.OPEN if again else row["state"], "version": row["version"] + 1}
        )  # fmt: skip
    work.update_rows(IdentityPair, changed)
    gone = [
        standing[pair]["id"]
        for pair in found.looked_at - found.evidence.keys()
        if pair in standing and standing[pair]["state"] is PairState.OPEN and not standing[pair]["decided_at"]
    ]
    if gone:  # corrected meanwhile, and nobody has said a word about it
        work.execute(sa.delete(IdentityPair).where(IdentityPair.id.in_(gone)))
    return added + asked


def _standing(work: Work, pairs: Collection[Pair]) -> dict[Pair, sa.RowMapping]:
    lows = sorted({low for low, _ in pairs})
    found: dict[Pair, sa.RowMapping] = {}
    for start in range(0, len(lows), _CHUNK):
        rows = work.execute(
            sa.select(IdentityPair.__table__)
            .where(IdentityPair.low_id.in_(lows[start : start + _CHUNK]))
            .order_by(IdentityPair.id)
            .with_for_update()
        ).mappings()
        found |= {(row["low_id"], row["high_id"]): row for row in rows}
    return found


def _new_row(work: Work, pair: Pair, evidence: Evidence, rule: MatchingRule, *, is_apart: bool) -> Row:
    return {
        "id": work.new_id(), "low_id": pair[0], "high_id": pair[1], "score": evidence.score,
        "evidence": evidence.stored(), "fingerprint": evidence.fingerprint, "rule_version": rule.version,
        "state": PairState.NOT_SAME if is_apart else PairState.OPEN,
        "note": "此前已说明不是同一人" if is_apart else None, "decided_by": None, "decided_at": None,
        "found_at": work.clock.now(), "version": 1,
    }  # fmt: skip


def _note(
    work: Work, rule: MatchingRule, cursor: tuple[datetime, str], handled: int, found: int, shared: int
) -> None:
    scan = work.session.get(IdentityScan, CHANGED)
    now = work.clock.now()
    if scan is None:
        scan = IdentityScan(
            kind=CHANGED, cursor_at=None, cursor_id="", handled=0, found=0, shared=0, rule_version=rule.version,
            started_at=now, finished_at=None,
        )  # fmt: skip
        work.session.add(scan)
    scan.cursor_at, scan.cursor_id = cursor
    scan.handled, scan.found, scan.shared = scan.handled + handled, scan.found + found, scan.shared + shared
    scan.rule_version, scan.finished_at = rule.version, now
    work.session.flush()
