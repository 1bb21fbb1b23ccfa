"""Absorbing what adapters hand over: a batch of changes into the archive, in one transaction.

Gather the keys of the batch, load what exists with one query per table, decide in memory, write with bulk
statements. A merge rewrites keys in the database itself, so it stands alone between batches.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hcrm.archive.absorb_patient import PatientSide
from hcrm.archive.absorb_visit import VisitSide
from hcrm.archive.batch import Row
from hcrm.archive.matching import differing_facts, record_numbers
from hcrm.archive.merge import merge_patients
from hcrm.archive.models import DeceasedState
from hcrm.archive.records import (
    AbsorbOutcome,
    Change,
    EncounterRecord,
    IdentifierRecord,
    MergeRecord,
    OutcomeState,
    PatientRecord,
)
from hcrm.archive.visit import CANCELS
from hcrm.archive.visit_models import DischargeWay, EncounterStatus, VisitEventKind
from hcrm.audit.service import record_audit
from hcrm.core.work import Work


@dataclass(frozen=True, slots=True)
class Arrival:
    """One change with the sequence number it was received under."""

    seq: int
    change: Change


Early = dict[str, list[Arrival]]
"""What came before its visit, by the visit's key."""


def visit_key(work: Work, record: EncounterRecord) -> str | None:
    """The blind key under which wait those that came before their visit."""
    return work.keys.blind("visit", f"{record.authority}\x00{record.visit_no}") if record.visit_no else None


def opened_key(work: Work, change: Change) -> str | None:
    """The key of the visit this change makes known, if it tells of one."""
    is_opening = change.event is not None and change.event.kind not in CANCELS
    return visit_key(work, change.encounter) if change.encounter and is_opening else None


def absorb_records(work: Work, *, arrivals: Sequence[Arrival]) -> list[AbsorbOutcome]:
    """Absorb changes in order of arrival; one outcome for each.

    A cancel whose visit nobody knows yet is held, an update of it has told of the patient only: their outcome names
    the visit. Where it comes up later among these arrivals they are absorbed again at once; else whoever keeps them
    hands them over again, first, with what makes the visit known.
    """
    outcomes: dict[int, AbsorbOutcome] = {}
    early: Early = defaultdict(list)
    run: list[Arrival] = []
    for arrival in arrivals:
        if arrival.change.merges:
            outcomes |= _absorb_run(work, run, early)
            outcomes[arrival.seq] = _absorb_merge(work, arrival)
            run = []
        else:
            run.append(arrival)
    outcomes |= _absorb_run(work, run, early)
    return [outcomes[arrival.seq] for arrival in arrivals]


def _absorb_run(work: Work, arrivals: Sequence[Arrival], early: Early) -> dict[int, AbsorbOutcome]:
    if not arrivals:
        return {}
    patients, visits = PatientSide(work), VisitSide(work)
    changes = [arrival.change for waiting in early.values() for arrival in waiting]
    changes += [arrival.change for arrival in arrivals]
    encounters = [change.encounter for change in changes if change.encounter]
    met = patients.gather(
        [item for change in changes if change.patient for item in change.patient.identifiers]
    )
    visits.gather(encounters, met if any(not record.visit_no for record in encounters) else set())
    run = _Run(work, patients, visits, early)
    for arrival in arrivals:
        run.take(arrival)
    patients.write()
    visits.write()
    return run.outcomes


def _audit(work: Work, arrival: Arrival, outcome: AbsorbOutcome) -> None:
    if outcome.patient_id:
        record_audit(
            work, action="patient.absorb", patients=[outcome.patient_id], subject_type="inbox_message",
            subject_id=str(arrival.seq), detail={"source": arrival.change.source},
        )  # fmt: skip


class _Run:
    """The changes between two merges."""

    def __init__(self, work: Work, patients: PatientSide, visits: VisitSide, early: Early) -> None:
        self.work = work
        self.patients = patients
        self.visits = visits
        self.early = early
        self.outcomes: dict[int, AbsorbOutcome] = {}

    def take(self, arrival: Arrival) -> None:
        """Absorb one change, and then what came before the visit it made known."""
        outcome = self.absorb(arrival)
        self.outcomes[arrival.seq] = outcome
        _audit(self.work, arrival, outcome)
        if outcome.visit_key:
            self.early[outcome.visit_key].append(arrival)
        elif self.early and outcome.encounter_id:
            for earlier in self.early.pop(opened_key(self.work, arrival.change) or "", ()):
                self.take(earlier)

    def absorb(self, arrival: Arrival) -> AbsorbOutcome:
        change, seq = arrival.change, arrival.seq
        record = change.patient
        if record is None or not record_numbers(record.identifiers):
            return AbsorbOutcome(OutcomeState.PARKED, reason="no_patient_number", detail="PID-3")
        match = self.patients.index.match(record.identifiers)
        refusal = self._refusal(match.patient_id if match else None, arrival)
        if refusal is not None:
            return refusal
        flags = list(change.flags)
        late = False
        if match is None:
            # An update that comes before its admission makes an archive, but not yet a full one (B4).
            patient = self.patients.create(is_stub=change.event is None and change.encounter is not None)
            if not record.name:
                flags.append("no_name")
        else:
            patient = self.patients.patients.by_id[match.patient_id]
            late = match.late and not patient["is_stub"]
            if match.conflict:
                flags.append("identifier_conflict")
            if not late and _is_someone_else(self.patients, patient, record):
                return _identity_conflict(patient, flags)
            if patient["is_stub"] and (change.event is not None or change.encounter is None):
                self.patients.patients.change(patient, is_stub=False)
        if late:
            flags.append("late_under_merged_id")
            self.patients.apply_late(patient, record, change, seq)
        else:
            self.patients.apply(patient, record, change, seq, flags)
        visit = self._visit(patient, arrival, flags)
        return AbsorbOutcome(
            OutcomeState.APPLIED, flags=tuple(dict.fromkeys(flags)), patient_id=patient["id"],
            encounter_id=visit["id"] if visit else None,
            visit_key=visit_key(self.work, change.encounter) if change.encounter and not visit else None,
        )  # fmt: skip

    def _refusal(self, patient_id: str | None, arrival: Arrival) -> AbsorbOutcome | None:
        """Why what the change says of its visit cannot be done, before anything is written."""
        change = arrival.change
        record, event = change.encounter, change.event
        if record is None:
            return None
        visit = self.visits.find(patient_id, record, change, arrival.seq)
        if visit is not None:
            return None if visit["patient_id"] == patient_id else _parked("visit_of_other_patient", change)
        if event is None:
            return None
        if event.kind in CANCELS:
            key = visit_key(self.work, record)
            if key is None:
                return _parked("visit_unclear", change)
            return AbsorbOutcome(
                OutcomeState.HELD,
                reason="event_not_known_yet",
                detail="PV1-19",
                flags=change.flags,
                visit_key=key,
            )
        if not record.visit_no and event.kind is VisitEventKind.DISCHARGE:
            # Which of several, or one never admitted: a person decides.
            return _parked("visit_unclear", change)
        return None

    def _visit(self, patient: Row, arrival: Arrival, flags: list[str]) -> Row | None:
        """Do what the change says of the visit."""
        change, record, event = arrival.change, arrival.change.encounter, arrival.change.event
        if record is None:
            return None
        visit = self.visits.find(patient["id"], record, change, arrival.seq)
        if visit is None:
            if event is None:
                return None  # an update never opens a visit
            visit = self.visits.create(patient["id"], record, change)
        had_died = _ended_in_death(visit)
        is_news = event is not None and self.visits.log(visit, event, record, change, arrival.seq)
        self.visits.apply(visit, record, change, arrival.seq)
        if event is not None:
            if is_news:
                self.visits.tell(visit, event)
            if event.kind is VisitEventKind.DISCHARGE and record.discharged_at is None:
                flags.append("no_discharge_time")
        self._death(patient, visit, had_died, arrival, flags)
        return visit

    def _death(self, patient: Row, visit: Row, had_died: bool, arrival: Arrival, flags: list[str]) -> None:
        """A stay that ended in death is a word about the patient (B27), and so is that it did not."""
        change, record = arrival.change, arrival.change.encounter
        if _ended_in_death(visit):
            if record is not None and record.discharge_way is DischargeWay.DIED:
                flags.append("died:PV1-36")
                at = change.patient.deceased_at if change.patient else None
                self.patients.tell_death(
                    patient, DeceasedState.DECEASED, at or visit["discharged_at"], change, arrival.seq
                )
        elif had_died:
            self.patients.tell_death(patient, DeceasedState.ALIVE, None, change, arrival.seq)


def _ended_in_death(visit: Row) -> bool:
    return (visit["status"], visit["discharge_way"]) == (EncounterStatus.FINISHED, DischargeWay.DIED)


def _parked(reason: str, change: Change) -> AbsorbOutcome:
    return AbsorbOutcome(OutcomeState.PARKED, reason=reason, detail="PV1-19", flags=change.flags)


def _is_someone_else(side: PatientSide, patient: Row, record: PatientRecord) -> bool:
    """Whether the record number was given to another person (B42)."""
    known = side.index.identifiers.by_owner[patient["id"]]
    return differing_facts(side.work, patient, known, record) >= 2


def _identity_conflict(patient: Row, flags: Sequence[str]) -> AbsorbOutcome:
    return AbsorbOutcome(
        OutcomeState.PARKED, reason="identity_conflict", detail="PID-3 PID-5 PID-7 PID-8",
        flags=tuple(flags), patient_id=patient["id"],
    )  # fmt: skip


def _absorb_merge(work: Work, arrival: Arrival) -> AbsorbOutcome:
    """A40: each retired number becomes part of its survivor; then the survivor's own data.

    A group that cannot be done parks the message; the others stand, and a replay finds them merged already.
    """
    refusal = _refuse_survivor(work, arrival.change)
    if refusal is not None:
        return refusal
    outcomes = [_merge_one(work, merge, arrival) for merge in arrival.change.merges]
    flags = (*arrival.change.flags, *(flag for outcome in outcomes for flag in outcome.flags))
    for state in (OutcomeState.PARKED, OutcomeState.APPLIED, OutcomeState.IGNORED):
        found = [outcome for outcome in outcomes if outcome.state is state]
        if found:
            break
    if state is not OutcomeState.APPLIED or arrival.change.patient is None:
        return replace(found[0], flags=tuple(dict.fromkeys(flags)))
    rest = Arrival(arrival.seq, replace(arrival.change, merges=(), encounter=None, event=None))
    outcome = _absorb_run(work, [rest], defaultdict(list))[arrival.seq]
    return replace(outcome, flags=tuple(dict.fromkeys([*flags, *outcome.flags])))


def _refuse_survivor(work: Work, change: Change) -> AbsorbOutcome | None:
    """Nothing is merged into an archive that this message does not describe."""
    if change.patient is None:
        return None
    side = PatientSide(work)
    side.gather(list(change.patient.identifiers))
    match = side.index.match(change.patient.identifiers)
    if match is None or match.late:
        return None
    survivor = side.patients.by_id[match.patient_id]
    if _is_someone_else(side, survivor, change.patient):
        return _identity_conflict(survivor, change.flags)
    return None


def _merge_one(work: Work, merge: MergeRecord, arrival: Arrival) -> AbsorbOutcome:
    survivors, retired = record_numbers(merge.survivor), record_numbers(merge.retired)
    if not survivors or not retired:
        place = "MRG-1" if survivors else "PID-3"
        return AbsorbOutcome(OutcomeState.PARKED, reason="no_merge_number", detail=place)
    if _same_number(survivors[0], retired[0]):
        return AbsorbOutcome(OutcomeState.IGNORED, reason="merge_self", detail="MRG-1")
    side = PatientSide(work)
    side.gather([*survivors, *retired])
    if len({row["patient_id"] for row in side.index.find(retired[0])}) > 1:
        return AbsorbOutcome(OutcomeState.PARKED, reason="merge_ambiguous", detail="MRG-1")
    into, gone = side.index.match(survivors), side.index.match(retired)
    if into and gone and into.patient_id == gone.patient_id:
        if into.late and not gone.late:
            return AbsorbOutcome(OutcomeState.PARKED, reason="merge_cycle", detail="MRG-1")
        _retire(work, side, retired)
        side.write()
        flags = ("already_merged",) if gone.late else ()
        return AbsorbOutcome(OutcomeState.APPLIED, flags=flags, patient_id=into.patient_id)
    if into is None:
        row = side.create(is_stub=True)
        side.add_numbers(row, PatientRecord(identifiers=merge.survivor), arrival.change, arrival.seq)
        survivor_id = row["id"]
    else:
        survivor_id = into.patient_id
    if gone is None:
        # The merge came before the patient it retires: the number finds the survivor from now on (B30).
        _keep_retired(work, side, survivor_id, retired, arrival)
        side.write()
    else:
        side.write()
        merge_patients(
            work, survivor_id=survivor_id, merged_id=gone.patient_id, source=arrival.change.source,
            seq=arrival.seq, as_of=arrival.change.as_of,
        )  # fmt: skip
    return AbsorbOutcome(OutcomeState.APPLIED, patient_id=survivor_id)


def _same_number(one: IdentifierRecord, other: IdentifierRecord) -> bool:
    return (one.authority, one.value) == (other.authority, other.value) and (
        one.type == other.type or not one.type or not other.type
    )


def _retire(work: Work, side: PatientSide, retired: Sequence[IdentifierRecord]) -> None:
    for item in retired:
        for row in side.index.find(item):
            if row["retired_at"] is None:
                side.index.identifiers.change(row, retired_at=work.clock.now())


def _keep_retired(
    work: Work, side: PatientSide, survivor_id: str, retired: Sequence[IdentifierRecord], arrival: Arrival
) -> None:
    for item in retired:
        if not side.index.find(item):
            side.index.add(
                survivor_id, item, source=arrival.change.source, as_of=arrival.change.as_of, seq=arrival.seq,
                retired_at=work.clock.now(), ended_at=None,
            )  # fmt: skip
