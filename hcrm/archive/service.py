"""Absorbing what adapters hand over: a batch of changes into the archive, in one transaction.

Gather the keys of the batch, load what exists with one query per table, decide in memory, write with bulk
statements. A merge rewrites keys in the database itself, so it stands alone between batches.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from hcrm.archive.absorb.clinical import ClinicalSide
from hcrm.archive.absorb.patient import PatientSide
from hcrm.archive.absorb.visit import VisitSide
from hcrm.archive.acts import absorb_act, refuse_stranger, strongest
from hcrm.archive.arrivals import Arrival, held, opened_keys, parked, patient_key, visit_key
from hcrm.archive.batch import Row
from hcrm.archive.events import PatientsTouched
from hcrm.archive.matching import is_someone_else, record_numbers
from hcrm.archive.models import DeceasedState
from hcrm.archive.records import (
    AbsorbOutcome,
    Change,
    EncounterRecord,
    OutcomeState,
    RowRecord,
    VisitNumber,
)
from hcrm.archive.terms import ActKind
from hcrm.archive.visit import CANCELS
from hcrm.archive.visit_acts import was_moved_from
from hcrm.archive.visit_models import DischargeWay, EncounterStatus, VisitEventKind
from hcrm.audit.service import record_audit
from hcrm.core.work import Work
from hcrm.directory.service import StaffEntry, update_staff

Early = dict[str, list[Arrival]]
"""What came before its visit, by the visit's key."""

_OPENING = (VisitEventKind.PREADMIT, VisitEventKind.ADMIT, VisitEventKind.REGISTER)
"""What begins a visit even where the sender gives it no number."""


def absorb_records(work: Work, *, arrivals: Sequence[Arrival]) -> list[AbsorbOutcome]:
    """Absorb changes in order of arrival; one outcome for each.

    A cancel whose visit nobody knows yet is held, an update of it has told of the patient only: their outcome names
    the visit. Where it comes up later among these arrivals they are absorbed again at once; else whoever keeps them
    hands them over again, first, with what makes the visit known.
    """
    outcomes: dict[int, AbsorbOutcome] = {}
    early: Early = defaultdict(list)
    acts: dict[str, list[Arrival]] = defaultdict(list)  # that wait for their visit
    run: list[Arrival] = []
    touched: set[str] = set()

    def finish_run() -> None:
        outcomes.update(_absorb_run(work, run, early, touched))
        run.clear()

    def act(arrival: Arrival) -> None:
        outcome = outcomes[arrival.seq] = _absorb_acts(work, arrival, touched)
        if outcome.visit_key:
            acts[outcome.visit_key].append(arrival)
        elif outcome.state is OutcomeState.APPLIED and early:
            run.extend(one for key in opened_keys(work, arrival.change) for one in early.pop(key, ()))

    for arrival in arrivals:
        if arrival.change.staff:
            outcomes[arrival.seq] = _absorb_staff(work, arrival)
        elif arrival.change.acts:
            finish_run()
            act(arrival)
        else:
            run.append(arrival)
            opened = acts.keys() & opened_keys(work, arrival.change) if acts else ()
            if opened:
                finish_run()
                for waiting in [one for key in opened for one in acts.pop(key)]:
                    act(waiting)
    finish_run()
    touched |= {outcome.patient_id for outcome in outcomes.values() if outcome.patient_id}
    if touched:
        work.emit(PatientsTouched(patient_ids=sorted(touched)))
    return [outcomes[arrival.seq] for arrival in arrivals]


def _absorb_run(
    work: Work, arrivals: Sequence[Arrival], early: Early, touched: set[str]
) -> dict[int, AbsorbOutcome]:
    """Absorb changes between which no act stands; `touched` gets all they touched, of whom an outcome names one."""
    if not arrivals:
        return {}
    patients, visits, clinical = PatientSide(work), VisitSide(work), ClinicalSide(work)
    arriving = [arrival for waiting in early.values() for arrival in waiting]
    changes = [part for arrival in (*arriving, *arrivals) for part in arrival.change.parts]
    encounters = [change.encounter for change in changes if change.encounter]
    met = patients.gather([item for change in changes for named in change.named() for item in named])
    visits.gather(encounters, met if any(not record.visit_no for record in encounters) else set())
    clinical.gather([change.clinical for change in changes if change.clinical], met)
    run = _Run(work, patients, visits, clinical, early, touched)
    for arrival in arrivals:
        run.take(arrival)
    patients.write()
    visits.write()
    clinical.write()
    return run.outcomes


def _audit(work: Work, arrival: Arrival, outcome: AbsorbOutcome) -> None:
    if outcome.patient_id:
        record_audit(
            work, action="patient.absorb", patients=[outcome.patient_id], subject_type="inbox_message",
            subject_id=str(arrival.seq), detail={"source": arrival.change.source},
        )  # fmt: skip


class _Run:
    """The changes between two merges."""

    def __init__(
        self, work: Work, patients: PatientSide, visits: VisitSide, clinical: ClinicalSide, early: Early,
        touched: set[str],
    ) -> None:  # fmt: skip
        self.work = work
        self.patients = patients
        self.visits = visits
        self.clinical = clinical
        self.early = early
        self.touched = touched
        self.outcomes: dict[int, AbsorbOutcome] = {}

    def take(self, arrival: Arrival) -> None:
        """Absorb one change, and then what came before the visit it made known."""
        outcome = self._absorb_parts(arrival)
        self.outcomes[arrival.seq] = outcome
        if outcome.visit_key:
            self.early[outcome.visit_key].append(arrival)
        elif self.early and outcome.encounter_id:
            for key in opened_keys(self.work, arrival.change):
                for earlier in self.early.pop(key, ()):
                    self.take(earlier)

    def _absorb_parts(self, arrival: Arrival) -> AbsorbOutcome:
        """All of a change or, where any part of it cannot be done, nothing (B46)."""
        parts = arrival.parts()
        if len(parts) > 1:
            for part in parts:
                refusal = self._judge(part) or self._missing_visit(part)
                if refusal is not None:
                    return refusal
        outcomes = [self.absorb(part) for part in parts]
        for outcome in outcomes:
            _audit(self.work, arrival, outcome)
            if outcome.encounter_id:  # told under somebody else's number, it is still its owner's visit
                self.touched.add(self.visits.encounters.by_id[outcome.encounter_id]["patient_id"])
        self.touched |= {outcome.patient_id for outcome in outcomes if outcome.patient_id}
        return outcomes[0]

    def _missing_visit(self, part: Arrival) -> AbsorbOutcome | None:
        """Of two that go together both visits have to be known."""
        record = part.change.encounter
        if record is None or self.visits.find(self._known(part), record, part.change, part.seq):
            return None
        if not record.visit_no:
            return parked("visit_unclear", "PV1-19", part.change)
        return held(
            visit_key(self.work, VisitNumber(record.authority, record.visit_no)), "PV1-19", part.change
        )

    def _known(self, arrival: Arrival) -> str | None:
        match = (
            self.patients.index.match(arrival.change.patient.identifiers) if arrival.change.patient else None
        )
        return match.patient_id if match else None

    def _judge(self, arrival: Arrival) -> AbsorbOutcome | None:
        """Why the change cannot be done, before anything is written."""
        change = arrival.change
        record = change.patient
        if record is None or not record_numbers(record.identifiers):
            return parked("no_patient_number", "PID-3", change)
        match = self.patients.index.match(record.identifiers)
        refusal = self._refusal(match.patient_id if match else None, arrival)
        if refusal is None and match is None and change.row is not None:
            return self._stranger(change, change.row)
        if refusal is None and match is not None:
            patient = self.patients.patients.by_id[match.patient_id]
            late = match.late and not patient["is_stub"]
            known = self.patients.index.identifiers.by_owner[patient["id"]]
            if not late and is_someone_else(self.work, patient, known, record):
                flags = (*change.flags, "identifier_conflict") if match.conflict else change.flags
                refusal = replace(
                    parked("identity_conflict", "PID-3 PID-5 PID-7 PID-8", change, patient_id=patient["id"]),
                    flags=flags,
                )
        return refusal

    def _stranger(self, change: Change, row: RowRecord) -> AbsorbOutcome | None:
        """Why a row makes no archive: its number stands here in another guise, or it names nobody.

        A message of HL7 may come before the one that names the patient; a list is all there will be.
        """
        record = change.patient
        assert record is not None
        index = self.patients.index
        numbers = record_numbers(record.identifiers)
        if any(index.find(item) or index.resembles(item, change.source, row) for item in numbers):
            return parked("number_elsewhere", "PID-3", change)
        return None if record.name else parked("nameless", "PID-3 PID-5", change)

    def absorb(self, arrival: Arrival) -> AbsorbOutcome:
        """Take over one patient's part of a change."""
        refusal = self._judge(arrival)
        if refusal is not None:
            return refusal
        change, seq = arrival.change, arrival.seq
        record = change.patient
        assert record is not None  # or it had been refused
        match = self.patients.index.match(record.identifiers)
        flags = list(change.flags)
        late = False
        if match is None:
            # An update that comes before its admission makes an archive, but not yet a full one (B4).
            patient = self.patients.create(is_stub=_tells_of_more(change))
            if not record.name:
                flags.append("no_name")
        else:
            patient = self.patients.patients.by_id[match.patient_id]
            late = match.late and not patient["is_stub"]
            if match.conflict:
                flags.append("identifier_conflict")
            if patient["is_stub"] and not _tells_of_more(change):
                self.patients.patients.change(patient, is_stub=False)
            self.patients.restore(patient, change, seq)
        if late:
            flags.append("late_under_merged_id")
            self.patients.apply_late(patient, record, change, seq)
        else:
            self.patients.apply(patient, record, change, seq, flags)
        if change.clinical is None:
            visit = self._visit(
                patient, arrival, flags, told_under=match.number_id if match and late else None
            )
        else:
            # A laboratory knows the number of a visit, not its course: it never opens, closes, moves or alters one.
            named = change.encounter
            visit = self.visits.find(patient["id"], named, change, seq) if named else None
            self.clinical.apply(patient, visit, change.clinical, change, seq)
        waits = change.encounter if visit is None else None
        return AbsorbOutcome(
            OutcomeState.APPLIED, flags=tuple(dict.fromkeys(flags)), patient_id=patient["id"],
            encounter_id=visit["id"] if visit else None,
            visit_key=_key_of(self.work, waits) if waits else None,
        )  # fmt: skip

    def _refusal(self, patient_id: str | None, arrival: Arrival) -> AbsorbOutcome | None:
        """Why what the change says of its visit cannot be done."""
        change = arrival.change
        record, event = change.encounter, change.event
        if record is None:
            return None
        visit = self.visits.find(patient_id, record, change, arrival.seq)
        if visit is not None:
            if visit["patient_id"] == patient_id or was_moved_from(visit, patient_id):
                return None
            numbers = record_numbers(change.patient.identifiers) if change.patient else []
            key = (
                patient_key(self.work, numbers[0]) if numbers else None
            )  # an A45 or A47 may still be on its way
            return parked(
                "visit_of_other_patient", "PV1-19 PID-3" if change.row else "PV1-19", change, key=key
            )
        if event is None:
            return None
        if event.kind in CANCELS:
            key = _key_of(self.work, record)
            return held(key, "PV1-19", change) if key else parked("visit_unclear", "PV1-19", change)
        if not record.visit_no and event.kind not in _OPENING:
            # Which of several, or one never admitted: a person decides.
            return parked("visit_unclear", "PV1-19", change)
        return None

    def _visit(
        self, patient: Row, arrival: Arrival, flags: list[str], *, told_under: str | None
    ) -> Row | None:
        """Do what the change says of the visit; one first told under a retired number keeps that in mind (B41)."""
        change, record, event = arrival.change, arrival.change.encounter, arrival.change.event
        if record is None:
            return None
        visit = self.visits.find(patient["id"], record, change, arrival.seq)
        if visit is None:
            if event is None:
                return None  # an update never opens a visit
            visit = self.visits.create(patient["id"], record, change, told_under=told_under)
        had_died = _ended_in_death(visit)
        is_news = event is not None and self.visits.log(visit, event, record, change, arrival.seq)
        self.visits.apply(visit, record, change, arrival.seq)
        if event is not None:
            if is_news:
                self.visits.tell(visit, event, record)
            if event.kind is VisitEventKind.DISCHARGE and record.discharged_at is None:
                flags.append("no_discharge_time")
        if (record.admitted_at or record.discharged_at) and _ends_before_it_begins(visit):
            flags.append("discharged_before_admitted")
        self._death(patient, visit, had_died, arrival, flags, is_late=bool(told_under))
        return visit

    def _death(
        self, patient: Row, visit: Row, had_died: bool, arrival: Arrival, flags: list[str], *, is_late: bool
    ) -> None:
        """A stay that ended in death is a word about the patient (B27), and so is that it did not."""
        change, record, about = arrival.change, arrival.change.encounter, arrival.change.patient
        if _ended_in_death(visit):
            if record is not None and record.discharge_way is DischargeWay.DIED:
                flags.append("died:PV1-36")
                at = (about.deceased_at if about else None) or visit["discharged_at"]
                if is_late and about is not None:
                    self.patients.tell_late_death(patient, about, at, change, arrival.seq)
                else:
                    self.patients.tell_death(patient, DeceasedState.DECEASED, at, change, arrival.seq)
        elif had_died:
            self.patients.tell_death(patient, DeceasedState.ALIVE, None, change, arrival.seq)


def _tells_of_more(change: Change) -> bool:
    """Whether the patient is only named, by an update of a visit or by what a laboratory or pharmacy tells."""
    return change.event is None and (change.encounter is not None or change.clinical is not None)


def _ends_before_it_begins(visit: Row) -> bool:
    """Told to the day only, a discharge seems to be earlier than an admission of that day."""
    began, ended = visit["admitted_at"], visit["discharged_at"]
    return bool(began and ended and began - ended >= timedelta(days=1))


def _ended_in_death(visit: Row) -> bool:
    return (visit["status"], visit["discharge_way"]) == (EncounterStatus.FINISHED, DischargeWay.DIED)


def _key_of(work: Work, record: EncounterRecord) -> str | None:
    return visit_key(work, VisitNumber(record.authority, record.visit_no)) if record.visit_no else None


def _absorb_staff(work: Work, arrival: Arrival) -> AbsorbOutcome:
    """MFN: the sender's staff list, into the directory."""
    change = arrival.change
    entries = [
        StaffEntry(one.code, one.name, one.title, one.department_code, one.department_name, one.is_active)
        for one in change.staff
    ]
    update_staff(work, entries=entries, told_at=change.told_at)
    return AbsorbOutcome(OutcomeState.APPLIED, flags=change.flags)


def _absorb_acts(work: Work, arrival: Arrival, touched: set[str]) -> AbsorbOutcome:
    """Acts upon archives and visits as a whole; then what the message says of the patient it is about.

    An act that cannot be done parks the message; the others stand, and a replay finds them done. Of a circle within one
    message none is done.
    """
    refusal = refuse_stranger(work, arrival)
    if refusal is not None:
        return refusal
    change = arrival.change
    if change.senseless_merge() == "merge_cycle":
        return parked("merge_cycle", "MRG-1", change)
    outcomes = [absorb_act(work, act, arrival) for act in change.acts]
    flags = [*change.flags, *(flag for outcome in outcomes for flag in outcome.flags)]
    outcome = strongest(outcomes, flags)
    is_over = all(act.kind is ActKind.NULLIFY for act in change.acts)
    if outcome.state is not OutcomeState.APPLIED or change.patient is None or is_over:
        _audit(work, arrival, outcome)
        return outcome
    also = replace(change.also, encounter=None, event=None) if change.also else None
    rest = Arrival(arrival.seq, replace(change, acts=(), encounter=None, event=None, also=also))
    told = _absorb_run(work, [rest], defaultdict(list), touched)[arrival.seq]
    return replace(told, flags=tuple(dict.fromkeys([*flags, *told.flags])))
