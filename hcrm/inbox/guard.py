"""What a sender may not do without a person: merge or delete in masses, merge a VIP (assurance C23, C24).

Such a message is parked with its reason; somebody who looked at it lets it through. Counted is what was applied, so
that neither a flood nor a replay of it gets further than the limit.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
import structlog

from hcrm.archive.matching import record_numbers
from hcrm.archive.models import IdentifierKind, Patient, PatientIdentifier, PatientMerge
from hcrm.archive.records import AbsorbOutcome, Change, OutcomeState
from hcrm.archive.terms import ActKind, VisitEventKind
from hcrm.core.local_habits import DELETING
from hcrm.core.sources import Source, Sources
from hcrm.core.work import Work
from hcrm.inbox.models import ApplicationState, InboxApplication

RELEASED = "released"
"""Flag of a message that a person has let through."""
REASONS = frozenset({"merge_flood", "delete_flood", "vip_merge"})
_HOUR, _MINUTE = timedelta(hours=1), timedelta(minutes=1)
log = structlog.get_logger(__name__)


def guard(
    work: Work, changes: Mapping[int, Change], flags: Mapping[int, str], sources: Sources
) -> dict[int, AbsorbOutcome]:
    """Those of the changes that wait for a person, with why; none of them may be absorbed."""
    merging = {seq: change for seq, change in changes.items() if _is_merge(change)}
    deleting = {seq: change for seq, change in changes.items() if _is_deletion(change)}
    if not merging and not deleting:
        return {}
    released = {seq for seq in (*merging, *deleting) if RELEASED in flags[seq].split()}
    stopped = dict.fromkeys(_merging_vips(work, merging), "vip_merge")
    limits = {source.code: source for source in (*sources.by_code.values(), sources.default)}
    if merging:
        done = _merges_of_an_hour(work)
        _stop_floods(merging, done, lambda code: limits[code].merges_per_hour, "merge_flood", stopped)
    if deleting:
        done = _deletions_of_a_minute(work, _kinds_that_delete(limits.values()))
        _stop_floods(deleting, done, lambda code: limits[code].deletions_per_minute, "delete_flood", stopped)
    outcomes = {
        seq: AbsorbOutcome(OutcomeState.PARKED, reason=reason, detail="MSH-9", flags=changes[seq].flags)
        for seq, reason in stopped.items()
        if seq not in released
    }
    for why, number in Counter(stopped[seq] for seq in outcomes).items():
        log.warning("inbox.guarded", reason=why, messages=number)
    return outcomes


def _stop_floods(
    found: Mapping[int, Change], done: Counter[str], most: Any, reason: str, stopped: dict[int, str]
) -> None:
    for seq in sorted(found):
        if seq in stopped:
            continue
        code = found[seq].source
        if most(code) and done[code] >= most(code):
            stopped[seq] = reason
        else:
            done[code] += 1


def _is_merge(change: Change) -> bool:
    return any(act.kind is ActKind.MERGE_PATIENTS for act in change.acts)


def _is_deletion(change: Change) -> bool:
    return any(act.kind is ActKind.NULLIFY for act in change.acts) or (
        change.event is not None and change.event.kind is VisitEventKind.DELETE
    )


def _merges_of_an_hour(work: Work) -> Counter[str]:
    since = work.clock.now() - _HOUR
    rows = work.execute(
        sa.select(PatientMerge.source, sa.func.count().label("number"))
        .where(PatientMerge.merged_at > since)
        .group_by(PatientMerge.source)
    )
    return Counter({row.source: row.number for row in rows})


def _kinds_that_delete(sources: Iterable[Source]) -> frozenset[str]:
    """Kinds of messages that delete, as they stand in the inbox: the standard's and what senders call so."""
    local = {
        event if "^" in event else f"ADT^{event}"
        for source in sources
        for event, known in source.events.items()
        if known in DELETING
    }
    return DELETING | local


def _deletions_of_a_minute(work: Work, kinds: Iterable[str]) -> Counter[str]:
    since = work.clock.now() - _MINUTE
    rows = work.execute(
        sa.select(InboxApplication.source, sa.func.count().label("number"))
        .where(
            InboxApplication.taken_up_at > since,  # the index; nothing is applied before it is taken up
            InboxApplication.kind.in_(sorted(kinds)),
            InboxApplication.state == ApplicationState.APPLIED,
        )
        .group_by(InboxApplication.source)
    )
    return Counter({row.source: row.number for row in rows})


def _merging_vips(work: Work, merging: Mapping[int, Change]) -> set[int]:
    numbers = {seq: set(_numbers(change)) for seq, change in merging.items()}
    wanted = {number for found in numbers.values() for number in found}
    if not wanted:
        return set()
    vips = {
        (row.authority, row.value)
        for row in work.execute(
            sa.select(PatientIdentifier.authority, PatientIdentifier.value)
            .join(Patient, Patient.id == PatientIdentifier.patient_id)
            .where(
                Patient.is_vip,
                PatientIdentifier.kind == IdentifierKind.RECORD,
                PatientIdentifier.ended_at.is_(None),
                PatientIdentifier.value.in_(sorted({value for _, value in wanted})),
            )
        )
    }
    return {seq for seq, found in numbers.items() if found & vips}


def _numbers(change: Change) -> Iterable[tuple[str, str]]:
    for act in change.acts:
        for item in (*record_numbers(act.subject), *record_numbers(act.other)):
            yield item.authority, item.value
