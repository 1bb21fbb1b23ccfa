"""What a sender may not do without a person (assurance C23, C24).

That is: merge or delete in masses, touch a VIP's archive, make a patient one with a test patient.

Such a message is parked with its reason; somebody who looked at it lets it through. Counted are the acts of what was
applied, not the messages, so that neither a flood nor one message of many groups gets further than the limit.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog

from hcrm.archive.matching import record_numbers
from hcrm.archive.models import IdentifierKind, Patient, PatientIdentifier
from hcrm.archive.records import AbsorbOutcome, ActRecord, Change, IdentifierRecord, OutcomeState
from hcrm.archive.terms import ActKind, VisitEventKind
from hcrm.core import limits
from hcrm.core.local_habits import DELETING
from hcrm.core.sources import Source, Sources
from hcrm.core.work import Work
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage
from hcrm.inbox.test_merges import uniting_with_tests

RELEASED = "released"
"""Flag of a message that a person has let through."""
REASONS = frozenset({"merge_flood", "delete_flood", "vip_merge", "vip_change", "test_merge"})
MERGING = frozenset({"ADT^A18", "ADT^A30", "ADT^A34", "ADT^A40", "ADT^A47"})
"""Kinds of messages that unite numbers: mistaken, each lets one patient's data be found as another's."""
_UNITING = frozenset({ActKind.MERGE_PATIENTS, ActKind.RENAME})
_TOUCHING = _UNITING | {ActKind.UNLINK, ActKind.NULLIFY, ActKind.MOVE_VISIT, ActKind.MOVE_ACCOUNT}
"""What moves or hides a patient's data, or changes whose they are."""
_NO_EVENT = "ADT"  # a kind without its event: EVN-1 names it
_HOUR, _MINUTE = timedelta(hours=1), timedelta(minutes=1)
_CHUNK = 5_000
Key = tuple[str, ...]
Number = tuple[str, str]
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which changes wait for a person and why, and the flags of all that were looked at."""

    stopped: dict[int, AbsorbOutcome]
    flags: dict[int, str]


@dataclass(frozen=True, slots=True)
class _Flood:
    """What is counted: how it is called in flags and reasons, within what time, by which kinds and up to where."""

    mark: str
    reason: str
    within: timedelta
    kinds: frozenset[str]
    most: Callable[[Source], int]


_MERGES = _Flood("merges", "merge_flood", _HOUR, MERGING, lambda source: source.merges_per_hour)
_DELETIONS = _Flood(
    "deletions", "delete_flood", _MINUTE, DELETING, lambda source: source.deletions_per_minute
)


def is_guarded(change: Change) -> bool:
    """Whether it is looked at here before it may be absorbed."""
    return any(act.kind in _TOUCHING for act in change.acts) or _deletes_visit(change)


def guard(
    work: Work, changes: Mapping[int, Change], rows: Mapping[int, Mapping[str, Any]], sources: Sources
) -> Verdict:
    """Those of the changes that wait for a person, with why; none of them may be absorbed."""
    found = {seq: changes[seq] for seq in sorted(changes) if is_guarded(changes[seq])}
    if not found:
        return Verdict({}, {})
    released = {seq for seq in found if RELEASED in rows[seq]["flags"].split()}
    vips = {seq: change for seq, change in changes.items() if _tells_of_vip(change)}
    owners = _owners(
        work, [item for change in (*found.values(), *vips.values()) for item in _numbers(change)]
    )
    stopped = _touching_vips(found, vips.values(), owners, released)
    merges = {seq: change for seq, change in found.items() if _unites(change)}
    for seq in uniting_with_tests(work, merges, changes.values(), owners):
        stopped.setdefault(seq, "test_merge")
    news = {
        _MERGES: {seq: _merges(change, owners) for seq, change in merges.items()},
        _DELETIONS: {seq: _deletions(change) for seq, change in found.items() if _deletions(change)},
    }
    counted = [seq for each in news.values() for seq in each]
    senders = _senders(work, counted)
    amounts = {
        flood: {seq: max(number, _counted_before(work, rows[seq], flood)) for seq, number in each.items()}
        for flood, each in news.items()
    }
    for flood, acts in amounts.items():
        if acts:
            budgets = _Budgets(work, flood, sources)
            for seq in sorted(acts.keys() - (stopped.keys() - released)):
                is_free = seq in released or not news[flood][seq]
                if not budgets.take(found[seq].source, senders[seq], acts[seq], is_free=is_free):
                    stopped[seq] = flood.reason
    outcomes = {
        seq: AbsorbOutcome(OutcomeState.PARKED, reason=reason, detail="MSH-9", flags=changes[seq].flags)
        for seq, reason in stopped.items()
        if seq not in released
    }
    for why, number in Counter(stopped[seq] for seq in outcomes).items():
        log.warning("inbox.guarded", reason=why, messages=number)
    flags = {seq: _marked(rows[seq], {} if seq in outcomes else amounts, found[seq], seq) for seq in found}
    return Verdict(outcomes, flags)


# ── what a change does ──────────────────────────────────────────────────────


def _unites(change: Change) -> bool:
    return any(act.kind in _UNITING for act in change.acts)


def _deletes_visit(change: Change) -> bool:
    return any(part.event is not None and part.event.kind is VisitEventKind.DELETE for part in change.parts)


def _deletions(change: Change) -> int:
    return sum(act.kind is ActKind.NULLIFY for act in change.acts) + _deletes_visit(change)


def _merges(change: Change, owners: Mapping[Number, Mapping[str, bool]]) -> int:
    """Groups that unite what is not one already: a merge told again is none."""
    return sum(act.kind in _UNITING and not _is_done(act, owners) for act in change.acts)


def _is_done(act: ActRecord, owners: Mapping[Number, Mapping[str, bool]]) -> bool:
    sides = [
        {owner for number in _keys(side) for owner in owners.get(number, ())}
        for side in (act.subject, act.other)
    ]
    return all(sides) and len(sides[0] | sides[1]) == 1


def _tells_of_vip(change: Change) -> bool:
    return any(part.patient is not None and part.patient.is_vip for part in change.parts)


def _numbers(change: Change) -> set[Number]:
    patients = [part.patient.identifiers for part in change.parts if part.patient]
    parties = [party for act in change.acts for party in (act.subject, act.other)]
    return {number for named in (*patients, *parties) for number in _keys(named)}


def _keys(identifiers: tuple[IdentifierRecord, ...]) -> list[Number]:
    return [(item.authority, item.value) for item in record_numbers(identifiers)]


# ── important patients ──────────────────────────────────────────────────────


def _owners(work: Work, numbers: Iterable[Number]) -> dict[Number, dict[str, bool]]:
    """Whose these numbers are, and whether those patients are important, or ever were said to be.

    A message may take the mark away (PV1-16 N), a merge told right after it must not go through for that: the mark's
    place in provenance stays, and a person looks at the merge.
    """
    values = sorted({value for _, value in numbers})
    owners: dict[Number, dict[str, bool]] = {}
    for start in range(0, len(values), _CHUNK):
        found = work.execute(
            sa.select(
                PatientIdentifier.authority, PatientIdentifier.value, PatientIdentifier.patient_id, Patient.is_vip,
                Patient.provenance,
            )
            .join(Patient, Patient.id == PatientIdentifier.patient_id)
            .where(
                PatientIdentifier.kind == IdentifierKind.RECORD,
                PatientIdentifier.ended_at.is_(None),
                PatientIdentifier.value.in_(values[start : start + _CHUNK]),
            )
        )  # fmt: skip
        for row in found:
            owners.setdefault((row.authority, row.value), {})[row.patient_id] = (
                row.is_vip or "is_vip" in row.provenance
            )
    return owners


def _touching_vips(
    found: Mapping[int, Change], told: Iterable[Change], owners: Mapping[Number, Mapping[str, bool]],
    released: Collection[int],
) -> dict[int, str]:  # fmt: skip
    """Those that touch somebody important: known so, told so in this very batch, or made one with such before."""

    def names(change: Change) -> set[Any]:
        numbers = _numbers(change)
        return numbers | {owner for number in numbers for owner in owners.get(number, ())}

    vips = {owner for known in owners.values() for owner, is_vip in known.items() if is_vip}
    vips = vips.union(*(names(change) for change in told))
    one: dict[Any, set[Any]] = {}  # what the merges before it in the batch have made the same patient
    stopped = {}
    for seq, change in found.items():
        named = names(change)
        named = named.union(*(one[name] for name in named if name in one))
        if not vips.isdisjoint(named):
            stopped[seq] = "vip_merge" if _unites(change) else "vip_change"
        if _unites(change) and (seq in released or seq not in stopped):
            one.update(dict.fromkeys(named, named))
    return stopped


# ── how many ────────────────────────────────────────────────────────────────


def _senders(work: Work, seqs: Collection[int]) -> dict[int, Any]:
    rows = work.execute(
        sa.select(InboxMessage.seq, InboxMessage.sender, InboxMessage.facility, InboxMessage.peer).where(
            InboxMessage.seq.in_(sorted(seqs))
        )
    )
    return {row.seq: row for row in rows}


class _Budgets:
    """How much of a flood's limit is used, by each sender.

    A registered source has one budget, whatever it writes into MSH-4. Of those that are not, each pair of MSH-3 and
    MSH-4 has its own, so that none of them can use up another's; since names can be invented, those of one address
    have one together, too.
    """

    def __init__(self, work: Work, flood: _Flood, sources: Sources) -> None:
        self.flood = flood
        self.default = sources.default.code
        self.sources = {source.code: source for source in (*sources.by_code.values(), sources.default)}
        self.done: Counter[Key] = Counter()
        for row in _applied(work, flood, self.sources.values(), work.clock.now() - flood.within):
            for key, _ in self._budgets(row.source, row):
                self.done[key] += row.number * _amount(row.flags, flood.mark)

    def take(self, code: str, sender: Any, amount: int, *, is_free: bool) -> bool:
        """Use up so much; False, and nothing, where less is left. `is_free`: a person let it through, or it is done."""
        budgets = self._budgets(code, sender)
        if not is_free and any(most and self.done[key] + amount > most for key, most in budgets):
            return False
        for key, _ in budgets:
            self.done[key] += amount
        return True

    def _budgets(self, code: str, sender: Any) -> list[tuple[Key, int]]:
        source = self.sources.get(code)
        if source is None:
            return []  # its file is gone; what it sent counts for nobody
        most = self.flood.most(source)
        if code != self.default:
            return [((code,), most)]
        return [
            ((code, sender.sender, sender.facility), most),
            ((code, sender.peer), most * limits.UNREGISTERED_SENDERS),
        ]


def _applied(work: Work, flood: _Flood, sources: Iterable[Source], since: datetime) -> Iterable[Any]:
    """What was applied since, by sender; of what was parked after all some groups may stand, and so it counts.

    MSH-9 tells what a message does, but for those that name no event there, and senders that use service codes: these
    are found by the mark they got when they were let through.
    """
    kinds, coded = set(flood.kinds), []
    for source in sources:
        local = {event for event, known in source.events.items() if known in flood.kinds}
        kinds |= {event if "^" in event else f"ADT^{event}" for event in local}
        if local and source.event_from:
            coded.append(source.code)
    is_marked = InboxApplication.flags.contains(f"{flood.mark}:")
    unnamed: sa.ColumnElement[bool] = InboxApplication.kind == _NO_EVENT
    if coded:
        unnamed = sa.or_(unnamed, InboxApplication.source.in_(coded))
    stands = sa.or_(
        InboxApplication.state == ApplicationState.APPLIED,
        sa.and_(InboxApplication.state == ApplicationState.PARKED, is_marked),  # none that waits here is
    )
    counted = (
        InboxApplication.source, InboxMessage.sender, InboxMessage.facility, InboxMessage.peer,
        InboxApplication.flags,
    )  # fmt: skip
    return work.execute(
        sa.select(*counted, sa.func.count().label("number"))
        .join(InboxMessage, InboxMessage.seq == InboxApplication.seq)
        .where(
            # The index: what waited longer than a hold may is not looked for.
            InboxApplication.taken_up_at > since - timedelta(seconds=limits.HOLD_SECONDS),
            InboxApplication.applied_at > since,
            sa.or_(InboxApplication.kind.in_(sorted(kinds)), sa.and_(unnamed, is_marked)),
            stands,
        )
        .group_by(*counted)
    )


def _amount(flags: str, mark: str) -> int:
    """How many acts a message counts for: one, unless its mark says otherwise."""
    marks = [word.partition(":")[2] for word in flags.split() if word.startswith(f"{mark}:")]
    return int(marks[-1]) if marks else 1


def _counted_before(work: Work, row: Mapping[str, Any], flood: _Flood) -> int:
    """What a replayed message counted for when it was applied: within the same time a replay sets nothing back."""
    is_recent = row["received_at"] > work.clock.now() - flood.within
    return _amount(row["flags"], flood.mark) if row["became_patient_id"] and is_recent else 0


def _marked(
    row: Mapping[str, Any], amounts: Mapping[_Flood, Mapping[int, int]], change: Change, seq: int
) -> str:
    """The flags of a message, with how many acts it counts for where its kind alone would not say so."""
    words = [word for word in row["flags"].split() if word.partition(":")[0] not in ("merges", "deletions")]
    for flood, acts in amounts.items():
        if seq in acts and (acts[seq] != 1 or len(change.acts) > 1 or row["kind"] not in flood.kinds):
            words.append(f"{flood.mark}:{acts[seq]}")
    return " ".join(words)
