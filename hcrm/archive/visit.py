"""What a visit's event log amounts to. Pure: no database, no clock.

The log only grows. A cancel reverses what was told before it, so a cancel that overtakes its event reverses that
event on arrival; recomputing the whole visit on each change makes out-of-order arrival need no special code
(assurance, design rule 4; truth table B4-B18).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from hcrm.archive.terms import EncounterStatus, VisitEventKind

K = VisitEventKind
_LIFE = frozenset({K.ADMIT, K.REGISTER, K.TRANSFER, K.CLASS_CHANGE, K.LEAVE, K.RETURN, K.DISCHARGE, K.UPDATE})
_ARRIVALS = (K.ADMIT, K.REGISTER)
_PRESENT = (*_ARRIVALS, K.TRANSFER, K.CLASS_CHANGE, K.LEAVE, K.RETURN)
"""What can only be told of somebody who is here, whether or not we heard of the admission."""
CANCELS: dict[VisitEventKind, frozenset[VisitEventKind]] = {
    K.CANCEL_PREADMIT: frozenset({K.PREADMIT}),
    K.CANCEL_ADMIT: _LIFE,  # the visit never happened, nor did what followed
    K.CANCEL_TRANSFER: frozenset({K.TRANSFER}),
    K.CANCEL_DISCHARGE: frozenset({K.DISCHARGE}),
    K.DELETE: _LIFE | {K.PREADMIT},
}
_LAST_ONLY = frozenset(
    {K.CANCEL_TRANSFER}
)  # takes back one step, the others take back all that was told before


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One row of the log, as the fold needs it."""

    id: str
    kind: VisitEventKind
    happened_at: datetime
    told_at: datetime
    seq: int
    source: str = ""
    admitted_at: datetime | None = None
    discharged_at: datetime | None = None
    location: str | None = None
    department: str | None = None  # code
    encounter_class: str | None = None

    @property
    def told(self) -> tuple[datetime, int]:
        """Order in which the sender said it; arrival decides between equals.

        What is told cannot have happened later: where a message's clock says so, the event's own is nearer the truth.
        """
        return max(self.told_at, self.happened_at), self.seq

    @property
    def holds_from(self) -> tuple[datetime, int]:
        """Since when what the event says of place and class is so: a correction or cancel speaks of when it is told."""
        return self.told if self.kind is K.UPDATE or self.kind in CANCELS else (self.happened_at, self.seq)


@dataclass(frozen=True, slots=True)
class VisitState:
    """What stands after all events; `reversed_by` maps each reversed event to its cancel.

    `said_by`: the event that last told of `location`, `department` and `encounter_class`.
    """

    status: EncounterStatus
    admitted_at: datetime | None
    discharged_at: datetime | None
    discharge_id: str | None
    reversed_by: dict[str, str]
    said_by: dict[str, LoggedEvent]


@dataclass(frozen=True, slots=True)
class Placement:
    """One stretch of a visit: where, in which department, as which class; `until` None while it lasts."""

    location: str | None
    department: str | None
    encounter_class: str | None
    since: datetime
    until: datetime | None


def find_reversals(events: Sequence[LoggedEvent]) -> dict[str, str]:
    """Which event is taken back by which cancel."""
    reversed_by: dict[str, str] = {}
    for cancel in sorted((event for event in events if event.kind in CANCELS), key=lambda event: event.told):
        hit = [
            event
            for event in events
            if event.kind in CANCELS[cancel.kind] and event.told < cancel.told and event.id not in reversed_by
        ]
        if cancel.kind in _LAST_ONLY:
            hit = sorted(hit, key=lambda event: event.told)[-1:]
        reversed_by.update((event.id, cancel.id) for event in hit)
    return reversed_by


def fold(events: Sequence[LoggedEvent]) -> VisitState:
    """The visit's state: a discharge stands above an admission whatever arrived first."""
    reversed_by = find_reversals(events)
    standing = [event for event in events if event.id not in reversed_by and event.kind not in CANCELS]
    admits = _of(standing, *_ARRIVALS)
    discharges = _of(standing, K.DISCHARGE)
    leaves = _of(standing, K.LEAVE, K.RETURN)
    admitted_at = discharged_at = discharge_id = None
    for event in sorted(standing, key=lambda event: event.told):
        admitted_at = event.admitted_at or admitted_at
    if admitted_at is None and admits:
        admitted_at = min(event.happened_at for event in admits)
    if discharges:
        status = EncounterStatus.FINISHED
        # The first telling is the discharge follow-up hangs on; a later one may correct its time.
        discharge_id = min(discharges, key=lambda event: event.seq).id
        latest = max(discharges, key=lambda event: event.told)
        discharged_at = latest.discharged_at or latest.happened_at
        for event in sorted(_of(standing, K.UPDATE), key=lambda event: event.told):
            if event.discharged_at and event.told > latest.told:
                discharged_at = event.discharged_at
    elif _of(standing, *_PRESENT):
        away = leaves and max(leaves, key=lambda event: (event.happened_at, event.told)).kind is K.LEAVE
        status = EncounterStatus.ON_LEAVE if away else EncounterStatus.IN_PROGRESS
    elif standing and any(event.kind is K.PREADMIT for event in standing):
        status = EncounterStatus.PLANNED
    elif any(event.kind is K.CANCEL_DISCHARGE for event in events) and not _cancelled(events):
        # We only ever saw the discharge, and it was taken back: the patient is still here.
        status = EncounterStatus.IN_PROGRESS
    else:
        status = EncounterStatus.CANCELLED
    said_by = {
        field: event
        for event in sorted(_unreversed(events, reversed_by), key=lambda event: event.holds_from)
        for field in SAID
        if getattr(event, field) is not None
    }
    return VisitState(status, admitted_at, discharged_at, discharge_id, reversed_by, said_by)


SAID = ("location", "department", "encounter_class")
"""What any event may tell of the visit, and the latest counts."""


def placements(events: Sequence[LoggedEvent]) -> list[Placement]:
    """Where the patient was and when, by what stands (truth table B14): each change of place or class begins one."""
    found: list[Placement] = []
    for event in sorted(_unreversed(events, find_reversals(events)), key=lambda event: event.holds_from):
        last = found[-1] if found else None
        now = Placement(
            location=event.location or (last.location if last else None),
            department=event.department or (last.department if last else None),
            encounter_class=event.encounter_class or (last.encounter_class if last else None),
            since=event.holds_from[0],
            until=None,
        )
        if last and replace(now, since=last.since) == last:
            continue
        if last:
            found[-1] = replace(last, until=now.since)
        found.append(now)
    return [place for place in found if place.since != place.until]


def _unreversed(events: Sequence[LoggedEvent], reversed_by: dict[str, str]) -> list[LoggedEvent]:
    return [event for event in events if event.id not in reversed_by]


def _of(events: Sequence[LoggedEvent], *kinds: VisitEventKind) -> list[LoggedEvent]:
    return [event for event in events if event.kind in kinds]


def _cancelled(events: Sequence[LoggedEvent]) -> bool:
    return any(event.kind in (K.CANCEL_ADMIT, K.CANCEL_PREADMIT, K.DELETE) for event in events)
