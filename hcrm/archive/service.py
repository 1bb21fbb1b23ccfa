"""Absorbing what adapters hand over: a batch of changes into the archive, in one transaction.

Gather the keys of the batch, load what exists with one query per table, decide in memory, write with bulk
statements. A merge rewrites keys in the database itself, so it stands alone between batches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hcrm.archive.absorb_patient import PatientSide
from hcrm.archive.absorb_visit import VisitSide
from hcrm.archive.batch import Row
from hcrm.archive.events import PatientDied
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
from hcrm.archive.visit_models import DischargeWay, VisitEventKind
from hcrm.audit.service import record_audit
from hcrm.core.work import Work


@dataclass(frozen=True, slots=True)
class Arrival:
    """One change with the sequence number it was received under."""

    seq: int
    change: Change


HeldCancels = Mapping[str, Sequence[Arrival]]
"""Cancels that came before their event, by the key of the visit they wait for."""


def visit_key(work: Work, record: EncounterRecord) -> str | None:
    """The blind key a held cancel waits under."""
    return work.keys.blind("visit", f"{record.authority}\x00{record.visit_no}") if record.visit_no else None


def absorb_records(
    work: Work, *, arrivals: Sequence[Arrival], held: HeldCancels | None = None
) -> list[AbsorbOutcome]:
    """Absorb changes in order of arrival; one outcome for each. `held` cancels of a visit met are absorbed with it."""
    outcomes: list[AbsorbOutcome] = []
    run: list[Arrival] = []
    for arrival in arrivals:
        if arrival.change.merges:
            outcomes += _absorb_run(work, run, held or {})
            outcomes.append(_absorb_merge(work, arrival))
            run = []
        else:
            run.append(arrival)
    outcomes += _absorb_run(work, run, held or {})
    return outcomes


def _absorb_run(work: Work, arrivals: Sequence[Arrival], held: HeldCancels) -> list[AbsorbOutcome]:
    if not arrivals:
        return []
    patients, visits = PatientSide(work), VisitSide(work)
    changes = [arrival.change for arrival in arrivals]
    patients.gather([item for change in changes if change.patient for item in change.patient.identifiers])
    without_number = set()
    for change in changes:
        if change.patient and change.encounter and not change.encounter.visit_no:
            match = patients.index.match(change.patient.identifiers)
            if match:
                without_number.add(match.patient_id)
    visits.gather([change.encounter for change in changes if change.encounter], without_number)
    run = _Run(work, patients, visits, held)
    outcomes = []
    for arrival in arrivals:
        outcome = run.absorb(arrival)
        _audit(work, arrival, outcome)
        outcomes.append(outcome)
    patients.write()
    visits.write()
    return outcomes


def _audit(work: Work, arrival: Arrival, outcome: AbsorbOutcome) -> None:
    if outcome.patient_id:
        record_audit(
            work, action="patient.absorb", patients=[outcome.patient_id], subject_type="inbox_message",
            subject_id=str(arrival.seq), detail={"source": arrival.change.source},
        )  # fmt: skip


class _Run:
    """The changes between two merges."""

    def __init__(self, work: Work, patients: PatientSide, visits: VisitSide, held: HeldCancels) -> None:
        self.work = work
        self.patients = patients
        self.visits = visits
        self.held = held

    def absorb(self, arrival: Arrival) -> AbsorbOutcome:
        change, seq = arrival.change, arrival.seq
        record = change.patient
        if record is None or not record_numbers(record.identifiers):
            return AbsorbOutcome(OutcomeState.PARKED, reason="no_patient_number", detail="PID-3")
        match = self.patients.index.match(record.identifiers)
        refusal = self._refusal(match.patient_id if match else None, change)
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
            known = self.patients.index.identifiers.by_owner[patient["id"]]
            if (
                not late
                and not patient["is_stub"]
                and differing_facts(self.work, patient, known, record) >= 2
            ):
                return AbsorbOutcome(
                    OutcomeState.PARKED, reason="identity_conflict", detail="PID-3 PID-5 PID-7 PID-8",
                    flags=tuple(flags), patient_id=patient["id"],
                )  # fmt: skip
            if patient["is_stub"] and (change.event is not None or change.encounter is None):
                self.patients.patients.change(patient, is_stub=False)
        if late:
            flags.append("late_under_merged_id")
            self.patients.add_numbers(patient, record, change, seq)
        else:
            self.patients.apply(patient, record, change, seq)
        visit = self._visit(patient, arrival, flags)
        return AbsorbOutcome(
            OutcomeState.APPLIED, flags=tuple(dict.fromkeys(flags)), patient_id=patient["id"],
            encounter_id=visit["id"] if visit else None,
        )  # fmt: skip

    def _refusal(self, patient_id: str | None, change: Change) -> AbsorbOutcome | None:
        """Why what the change says of its visit cannot be done, before anything is written."""
        record, event = change.encounter, change.event
        if record is None:
            return None
        visit = self.visits.find(record, patient_id)
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
            return _parked(
                "visit_unclear", change
            )  # which of several, or one never admitted: a person decides
        return None

    def _visit(self, patient: Row, arrival: Arrival, flags: list[str]) -> Row | None:
        """Do what the change says of the visit."""
        change, record, event = arrival.change, arrival.change.encounter, arrival.change.event
        if record is None:
            return None
        visit = self.visits.find(record, patient["id"])
        if visit is None:
            if event is None:
                return None  # an update never opens a visit
            visit = self.visits.create(patient["id"], record, change)
        for earlier in self.held.get(visit_key(self.work, record) or "", ()):
            if earlier.change.encounter and earlier.change.event:
                self.visits.log(
                    visit, earlier.change.event, earlier.change.encounter, earlier.change, earlier.seq
                )
        if event is not None:
            self.visits.log(visit, event, record, change, arrival.seq)
            if event.kind is VisitEventKind.DISCHARGE and record.discharged_at is None:
                flags.append("no_discharge_time")
        self.visits.apply(visit, record, change, arrival.seq)
        if event is not None:
            self.visits.tell(visit, event)
        if visit["discharge_way"] == DischargeWay.DIED and patient["deceased"] == DeceasedState.ALIVE:
            self.patients.patients.change(
                patient, deceased=DeceasedState.DECEASED, deceased_at=visit["discharged_at"] or change.as_of
            )
            self.work.emit(PatientDied(patient_id=patient["id"]))
        return visit


def _parked(reason: str, change: Change) -> AbsorbOutcome:
    return AbsorbOutcome(OutcomeState.PARKED, reason=reason, detail="PV1-19", flags=change.flags)


def _absorb_merge(work: Work, arrival: Arrival) -> AbsorbOutcome:
    """A40: each retired number becomes part of its survivor; then the survivor's own data."""
    flags: list[str] = list(arrival.change.flags)
    survivor_id: str | None = None
    for merge in arrival.change.merges:
        result = _merge_one(work, merge, arrival)
        if isinstance(result, AbsorbOutcome):
            return result
        survivor_id, flag = result
        if flag:
            flags.append(flag)
    if arrival.change.patient is not None:
        rest = Arrival(arrival.seq, replace(arrival.change, merges=(), encounter=None, event=None))
        outcome = _absorb_run(work, [rest], {})[0]
        return replace(outcome, flags=tuple(dict.fromkeys([*flags, *outcome.flags])))
    return AbsorbOutcome(OutcomeState.APPLIED, flags=tuple(flags), patient_id=survivor_id)


def _merge_one(work: Work, merge: MergeRecord, arrival: Arrival) -> AbsorbOutcome | tuple[str, str | None]:
    survivors, retired = record_numbers(merge.survivor), record_numbers(merge.retired)
    if not survivors or not retired:
        return AbsorbOutcome(
            OutcomeState.PARKED, reason="no_merge_number", detail="MRG-1" if survivors else "PID-3"
        )
    if _same_number(survivors[0], retired[0]):
        return AbsorbOutcome(
            OutcomeState.IGNORED, reason="merge_self", detail="MRG-1", flags=arrival.change.flags
        )
    side = PatientSide(work)
    side.gather([*survivors, *retired])
    if len({row["patient_id"] for row in side.index.find(retired[0])}) > 1:
        return AbsorbOutcome(OutcomeState.PARKED, reason="merge_ambiguous", detail="MRG-1")
    into, gone = side.index.match(survivors), side.index.match(retired)
    if into and gone and into.patient_id == gone.patient_id:
        if gone.late:
            return into.patient_id, "already_merged"
        if into.late:
            return AbsorbOutcome(OutcomeState.PARKED, reason="merge_cycle", detail="MRG-1")
        _retire(work, side, retired)
        side.write()
        return into.patient_id, None
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
        return survivor_id, None
    side.write()
    merge_patients(
        work,
        survivor_id=survivor_id,
        merged_id=gone.patient_id,
        source=arrival.change.source,
        seq=arrival.seq,
    )
    return survivor_id, None


def _same_number(one: IdentifierRecord, other: IdentifierRecord) -> bool:
    return (one.authority, one.value) == (other.authority, other.value) and (
        one.type == other.type or not one.type or not other.type
    )


def _retire(work: Work, side: PatientSide, retired: Sequence[IdentifierRecord]) -> None:
    for item in retired:
        for row in side.index.find(item):
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
