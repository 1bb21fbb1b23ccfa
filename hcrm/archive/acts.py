"""Acts of messages upon archives as a whole: merged, linked, parted, renumbered, nullified (truth table B28-B47).

Each stands alone between batches, since it rewrites keys in the database itself. What it needs is found by record
numbers; an archive nobody knows yet is made, so that a message that came before those it speaks of is not lost.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from hcrm.archive.absorb.patient import PatientSide
from hcrm.archive.arrivals import Arrival, parked
from hcrm.archive.batch import Row, is_older, stamp
from hcrm.archive.events import PatientNullified
from hcrm.archive.links import tell_link, told_apart_since
from hcrm.archive.matching import is_someone_else, record_numbers
from hcrm.archive.merge.service import merge_patients
from hcrm.archive.models import LinkKind, Patient, PatientMerge
from hcrm.archive.parting.service import part_number, undo_merge
from hcrm.archive.records import (
    AbsorbOutcome,
    ActRecord,
    IdentifierRecord,
    OutcomeState,
    PatientRecord,
)
from hcrm.archive.terms import ActKind
from hcrm.archive.visit_acts import merge_accounts, merge_visits, move_account, move_visit
from hcrm.archive.visit_models import Encounter, VisitEvent
from hcrm.core.work import Work


@dataclass(frozen=True, slots=True)
class Parties:
    """Both sides of an act, as far as they are known; locked."""

    work: Work
    side: PatientSide
    act: ActRecord
    arrival: Arrival
    subject_id: str | None
    other_id: str | None
    is_subject_late: bool
    is_other_late: bool

    def subject(self) -> str:
        """Id of the first, made where nobody knows it."""
        return self.subject_id or self._make(self.act.subject)

    def other(self) -> str:
        """Id of the second, made where nobody knows it."""
        return self.other_id or self._make(self.act.other)

    def _make(self, numbers: tuple[IdentifierRecord, ...]) -> str:
        made = self.side.index.match(numbers)
        if made is not None:
            return made.patient_id  # by the other side, which bears the same number
        row = self.side.create(is_stub=True)
        record = PatientRecord(identifiers=numbers)
        self.side.add_numbers(row, record, self.arrival.change, self.arrival.seq)
        return str(row["id"])


def absorb_act(work: Work, act: ActRecord, arrival: Arrival) -> AbsorbOutcome:
    """Do one act; the outcome names the archive it is about."""
    if act.kind in _VISIT_ACTS and not record_numbers(act.other):
        return _VISIT_ACTS[act.kind](work, act, arrival, None, None)
    sides = [("PID-3", act.subject)]
    if act.kind is not ActKind.NULLIFY:
        sides.append((_other_place(act), act.other))
    for place, numbers in sides:
        if not record_numbers(numbers):
            return parked("no_merge_number", place, arrival.change)
    parties = _find(work, act, arrival)
    if isinstance(parties, AbsorbOutcome):
        return parties
    if act.kind in (ActKind.MERGE_VISITS, ActKind.MERGE_ACCOUNTS):
        return _VISIT_ACTS[act.kind](work, act, arrival, None, None)  # patients stay as they are (B35)
    if act.kind in _VISIT_ACTS:
        subject, other = parties.subject(), parties.other()
        parties.side.write()
        return _VISIT_ACTS[act.kind](work, act, arrival, subject, other)
    return _PATIENT_ACTS[act.kind](parties)


def refuse_stranger(work: Work, arrival: Arrival) -> AbsorbOutcome | None:
    """Nothing is done to an archive that this message does not describe."""
    change = arrival.change
    if change.patient is None or any(act.kind is ActKind.NULLIFY for act in change.acts):
        return None
    side = PatientSide(work)
    side.gather(list(change.patient.identifiers))
    match = side.index.match(change.patient.identifiers)
    if match is None or match.late:
        return None
    patient = side.patients.by_id[match.patient_id]
    if is_someone_else(work, patient, side.index.identifiers.by_owner[patient["id"]], change.patient):
        return parked("identity_conflict", "PID-3 PID-5 PID-7 PID-8", change, patient_id=patient["id"])
    return None


def _other_place(act: ActRecord) -> str:
    return "PID-3" if act.kind in (ActKind.LINK, ActKind.UNLINK) else "MRG-1"


def _find(work: Work, act: ActRecord, arrival: Arrival) -> Parties | AbsorbOutcome:
    subject, other = record_numbers(act.subject), record_numbers(act.other)
    side = PatientSide(work)
    side.gather([*subject, *other])
    if other and len({row["patient_id"] for row in side.index.find(other[0])}) > 1:
        return parked("merge_ambiguous", _other_place(act), arrival.change)
    into, gone = side.index.match(subject), side.index.match(other)
    return Parties(
        work, side, act, arrival, into.patient_id if into else None, gone.patient_id if gone else None,
        bool(into and into.late), bool(gone and gone.late),
    )  # fmt: skip


def _merge(parties: Parties) -> AbsorbOutcome:
    """A40, A34, A30, A18: the retired number becomes part of its survivor."""
    work, side, arrival = parties.work, parties.side, parties.arrival
    change = arrival.change
    survivors, retired = record_numbers(parties.act.subject), record_numbers(parties.act.other)
    if _same_number(survivors[0], retired[0]):
        return AbsorbOutcome(OutcomeState.IGNORED, reason="merge_self", detail="MRG-1")
    into, gone = parties.subject_id, parties.other_id
    if into and into == gone:
        if parties.is_subject_late and not parties.is_other_late:
            return parked("merge_cycle", "MRG-1", change)
        _retire(parties, retired)
        side.write()
        flags = ("already_merged",) if parties.is_other_late else ()
        return AbsorbOutcome(OutcomeState.APPLIED, flags=flags, patient_id=into)
    if into and gone and told_apart_since(work, into, gone, change.told_at):
        return AbsorbOutcome(OutcomeState.APPLIED, flags=("told_apart",), patient_id=into)
    survivor_id = parties.subject()
    if gone is None:
        # The merge came before the patient it retires: the number finds the survivor from now on (B30).
        _keep_number(parties, survivor_id, retired, retired_at=work.clock.now())
        side.write()
    else:
        side.write()
        merge_patients(
            work, survivor_id=survivor_id, merged_id=gone, source=change.source, seq=arrival.seq,
            as_of=change.as_of, told_at=change.told_at,
        )  # fmt: skip
    return AbsorbOutcome(OutcomeState.APPLIED, patient_id=survivor_id)


def _link(parties: Parties) -> AbsorbOutcome:
    """A24: both keep their own history, a row says that they belong together (B40)."""
    return _pair(parties, LinkKind.SAME_PERSON)


def _unlink(parties: Parties) -> AbsorbOutcome:
    """A37: no longer linked; where the two were merged, two archives again (B41)."""
    work, change, arrival = parties.work, parties.arrival.change, parties.arrival
    one, other = parties.subject_id, parties.other_id
    if not one or one != other:
        return _pair(parties, LinkKind.APART)
    merge = _merge_of(parties, one)
    if merge is None:
        return _part(parties, one)
    if merge.told_at is not None and merge.told_at > change.told_at:
        return AbsorbOutcome(OutcomeState.APPLIED, flags=("already_merged",), patient_id=one)
    refusal = undo_merge(work, merge_id=merge.id, source=change.source, as_of=change.told_at, seq=arrival.seq)
    if refusal:
        return parked(refusal, "PID-3", change, patient_id=one)
    return AbsorbOutcome(OutcomeState.APPLIED, patient_id=one)


def _part(parties: Parties, patient_id: str) -> AbsorbOutcome:
    """Of two numbers of one archive, one that a merge retired before its patient was known has its own (B30, B41)."""
    change = parties.arrival.change
    number = _retired_number(parties, patient_id)
    if number is None:
        return AbsorbOutcome(OutcomeState.IGNORED, reason="not_merged", detail="PID-3", patient_id=patient_id)
    if number["as_of"] > change.as_of:
        return AbsorbOutcome(OutcomeState.APPLIED, flags=("already_merged",), patient_id=patient_id)
    part_number(
        parties.work, number=number, source=change.source, as_of=change.told_at, seq=parties.arrival.seq
    )
    return AbsorbOutcome(OutcomeState.APPLIED, patient_id=patient_id)


def _retired_number(parties: Parties, patient_id: str) -> Row | None:
    """The number of only one of the two sides that was retired last, by no merge that could be undone if possible."""
    one, other = (
        {row["id"]: row for item in record_numbers(numbers) for row in parties.side.index.find(item)}
        for numbers in (parties.act.subject, parties.act.other)
    )
    merged_at = set(
        parties.work.scalars(
            sa.select(PatientMerge.merged_at)
            .join(Patient, Patient.id == PatientMerge.merged_id)
            .where(Patient.merged_into_id == patient_id, PatientMerge.undone_at.is_(None))
        )
    )
    retired = [
        row for key, row in (other | one).items() if row["retired_at"] and (key in one) != (key in other)
    ]
    return max(
        retired,
        key=lambda row: (row["retired_at"] not in merged_at, row["as_of"], row["seq"]),
        default=None,
    )


def _pair(parties: Parties, kind: LinkKind) -> AbsorbOutcome:
    one, other = parties.subject(), parties.other()
    if one == other:
        return AbsorbOutcome(OutcomeState.IGNORED, reason="merge_self", detail="PID-3", patient_id=one)
    parties.side.write()
    change = parties.arrival.change
    tell_link(
        parties.work, patient_id=one, other_id=other, kind=kind, source=change.source, as_of=change.told_at,
        seq=parties.arrival.seq,
    )  # fmt: skip
    return AbsorbOutcome(OutcomeState.APPLIED, patient_id=one)


def _merge_of(parties: Parties, survivor_id: str) -> PatientMerge | None:
    """The latest standing merge that brought one of the two numbers, and not the other, to the survivor or before."""
    one, other = (
        {row["id"] for item in record_numbers(numbers) for row in parties.side.index.find(item)}
        for numbers in (parties.act.subject, parties.act.other)
    )
    survivors = {survivor_id}
    while survivors:
        merges: Sequence[PatientMerge] = parties.work.scalars(
            sa.select(PatientMerge)
            .where(PatientMerge.survivor_id.in_(sorted(survivors)), PatientMerge.undone_at.is_(None))
            .order_by(PatientMerge.merged_at.desc(), PatientMerge.id.desc())
        )
        for merge in merges:
            moved = set(merge.moved.get("patient_identifier.patient_id", ()))
            if bool(one & moved) != bool(other & moved):
                return merge
        survivors = {merge.merged_id for merge in merges}
    return None


def _rename(parties: Parties) -> AbsorbOutcome:
    """A47: another number for the same patient; the old one goes on finding them (B39)."""
    work, side, change = parties.work, parties.side, parties.arrival.change
    new, old = record_numbers(parties.act.subject), record_numbers(parties.act.other)
    if _same_number(new[0], old[0]):
        return AbsorbOutcome(OutcomeState.IGNORED, reason="merge_self", detail="MRG-1")
    if parties.subject_id and parties.other_id and parties.subject_id != parties.other_id:
        return parked("number_taken", "PID-3", change, patient_id=parties.other_id)
    patient_id = parties.other_id or parties.subject()
    if parties.subject_id is None and parties.other_id:
        patient = side.patients.by_id[patient_id]
        side.add_numbers(patient, PatientRecord(identifiers=parties.act.subject), change, parties.arrival.seq)
    now = work.clock.now()
    for item in old:
        for row in side.index.find(item):
            if row["replaced_at"] is None:
                side.index.identifiers.change(row, replaced_at=now)
    _keep_number(parties, patient_id, old, replaced_at=now)
    side.write()
    return AbsorbOutcome(OutcomeState.APPLIED, patient_id=patient_id)


def _nullify(parties: Parties) -> AbsorbOutcome:
    """A29: the archive is hidden and nothing is sent; what was done stays on record (B47).

    Nobody is hidden by the deletion of a number that was retired into theirs, nor by one told before what was told of
    them since.
    """
    work, side, change, seq = parties.work, parties.side, parties.arrival.change, parties.arrival.seq
    patient_id = parties.subject()
    if parties.is_subject_late:
        return AbsorbOutcome(
            OutcomeState.APPLIED, flags=("late_under_merged_id",), patient_id=patient_id
        )  # told again once the number has its own archive
    patient = side.patients.by_id[patient_id]
    standing = patient["provenance"].get("is_nullified")
    if is_older(change.told_at, seq, standing):
        return AbsorbOutcome(OutcomeState.APPLIED, patient_id=patient_id)
    if not patient["is_nullified"] and _told_of_since(work, patient, change.told_at):
        return AbsorbOutcome(OutcomeState.APPLIED, flags=("told_of_since",), patient_id=patient_id)
    told = {**patient["provenance"], "is_nullified": stamp(change.told_at, change.source, seq)}
    if not patient["is_nullified"]:
        work.emit(PatientNullified(patient_id=patient_id))
    side.patients.change(patient, is_nullified=True, provenance=told, updated_at=work.clock.now())
    side.write()
    return AbsorbOutcome(OutcomeState.APPLIED, patient_id=patient_id)


def _told_of_since(work: Work, patient: Row, moment: datetime) -> bool:
    """Whether the archive, or a visit of it, holds a word newer than this."""
    if any(datetime.fromisoformat(told[0]) > moment for told in patient["provenance"].values()):
        return True
    newest = work.scalar(
        sa.select(sa.func.max(VisitEvent.told_at))
        .join(Encounter, Encounter.id == VisitEvent.encounter_id)
        .where(Encounter.patient_id == patient["id"])
    )
    return newest is not None and newest > moment


def _same_number(one: IdentifierRecord, other: IdentifierRecord) -> bool:
    return (one.authority, one.value) == (other.authority, other.value) and (
        one.type == other.type or not one.type or not other.type
    )


def _retire(parties: Parties, retired: Sequence[IdentifierRecord]) -> None:
    for item in retired:
        for row in parties.side.index.find(item):
            if row["retired_at"] is None:
                parties.side.index.identifiers.change(row, retired_at=parties.work.clock.now())


def _keep_number(
    parties: Parties, patient_id: str, numbers: Sequence[IdentifierRecord], **marks: object
) -> None:
    """Numbers nobody knew yet, that find this patient from now on."""
    change = parties.arrival.change
    common = {"retired_at": None, "replaced_at": None, "ended_at": None} | marks
    for item in numbers:
        if not parties.side.index.find(item):
            parties.side.index.add(
                patient_id, item, source=change.source, as_of=change.as_of, seq=parties.arrival.seq, **common
            )


PatientAct = Callable[[Parties], AbsorbOutcome]
_PATIENT_ACTS: dict[ActKind, PatientAct] = {
    ActKind.MERGE_PATIENTS: _merge,
    ActKind.LINK: _link,
    ActKind.UNLINK: _unlink,
    ActKind.RENAME: _rename,
    ActKind.NULLIFY: _nullify,
}
_VISIT_ACTS = {
    ActKind.MERGE_VISITS: merge_visits,
    ActKind.MERGE_ACCOUNTS: merge_accounts,
    ActKind.MOVE_VISIT: move_visit,
    ActKind.MOVE_ACCOUNT: move_account,
}


def strongest(outcomes: Sequence[AbsorbOutcome], flags: Sequence[str]) -> AbsorbOutcome:
    """What several acts of one message came to: what could not be done says it for all."""
    for state in (OutcomeState.PARKED, OutcomeState.HELD, OutcomeState.APPLIED, OutcomeState.IGNORED):
        for outcome in outcomes:
            if outcome.state is state:
                return replace(outcome, flags=tuple(dict.fromkeys(flags)))
    raise ValueError("no outcome")
