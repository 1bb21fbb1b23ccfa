"""Changes on their way into the archive, and the visits they wait for or make known."""

from collections.abc import Iterator
from dataclasses import dataclass

from hcrm.archive.matching import record_numbers
from hcrm.archive.records import AbsorbOutcome, Change, IdentifierRecord, OutcomeState, VisitNumber
from hcrm.archive.terms import ActKind
from hcrm.archive.visit import CANCELS
from hcrm.core.work import Work

_WHOSE = (ActKind.MERGE_PATIENTS, ActKind.RENAME, ActKind.MOVE_VISIT, ActKind.MOVE_ACCOUNT)
"""Acts after which a visit may be the patient's who was not its patient before."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One change with the sequence number it was received under."""

    seq: int
    change: Change

    def parts(self) -> "list[Arrival]":
        """One for each patient the change is about."""
        return [Arrival(self.seq, part) for part in self.change.parts]


def visit_key(work: Work, number: VisitNumber) -> str:
    """The blind key under which wait those that came before their visit."""
    return work.keys.blind("visit", f"{number.authority}\x00{number.number}")


def patient_key(work: Work, item: IdentifierRecord) -> str:
    """The blind key under which waits what names another patient for a visit than stands here (B38, B39)."""
    return work.keys.blind("visit-of", f"{item.authority}\x00{item.value}")


def visits_told(change: Change) -> set[VisitNumber]:
    """Numbers of all visits and accounts the change speaks of."""
    found = set()
    for part in change.parts:
        if part.encounter:
            found |= set(_numbers(part))
    for act in change.acts:
        found |= {number for number in (act.number, act.other_number) if number}
    return found


def opened_keys(work: Work, change: Change) -> set[str]:
    """Keys of the visits and accounts this change makes known, and of the patients who become one or change owner."""
    named = [item for act in change.acts if act.kind in _WHOSE for item in (*act.subject, *act.other)]
    return {patient_key(work, item) for item in record_numbers(named)} | {
        visit_key(work, number)
        for part in change.parts
        if part.encounter and part.event is not None and part.event.kind not in CANCELS
        for number in _numbers(part)
    }


def _numbers(change: Change) -> Iterator[VisitNumber]:
    record = change.encounter
    for number in (record.visit_no, record.account_no) if record else ():
        if number and record:
            yield VisitNumber(record.authority, number)


def parked(
    reason: str, detail: str, change: Change, *, patient_id: str | None = None, key: str | None = None
) -> AbsorbOutcome:
    """The outcome of what a person has to look at; under `key` it is tried again once that is made known."""
    return AbsorbOutcome(
        OutcomeState.PARKED, reason=reason, detail=_as_told(detail, change), flags=change.flags,
        patient_id=patient_id, visit_key=key,
    )  # fmt: skip


def held(key: str, detail: str, change: Change) -> AbsorbOutcome:
    """The outcome of what speaks of a visit that nobody knows yet."""
    return AbsorbOutcome(
        OutcomeState.HELD, reason="event_not_known_yet", detail=_as_told(detail, change), flags=change.flags,
        visit_key=key,
    )  # fmt: skip


def _as_told(detail: str, change: Change) -> str:
    """Places as field and column where a row told it: nobody ever saw the message."""
    if change.row is None:
        return detail
    return " ".join(dict.fromkeys(change.row.places.get(place, place) for place in detail.split()))
