"""The patient's side of absorbing: demographics by their own clock, lists as snapshots, numbers and names."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hcrm.archive.absorb.lists import PatientLists
from hcrm.archive.batch import Row, Rows, is_older, stamp, values_in
from hcrm.archive.corrections import Stamp, is_put_right, marked
from hcrm.archive.events import PatientDied, PatientRestored
from hcrm.archive.matching import PatientIndex, record_numbers
from hcrm.archive.models import (
    DeceasedState,
    IdentifierKind,
    LinkKind,
    Patient,
    PatientHistory,
    PatientLink,
    PatientMerge,
    Sex,
)
from hcrm.archive.names.pinyin import name_pinyin
from hcrm.archive.names.tokens import keep_names
from hcrm.archive.records import NULL, Change, IdentifierRecord, PatientRecord
from hcrm.archive.terms import TOLD_BY_PEOPLE
from hcrm.archive.test_patients.service import note_test_patients
from hcrm.core.text import clean_id_number
from hcrm.core.work import Work


class PatientSide:
    """Patients, their numbers and lists, for one batch."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.index = PatientIndex(work)
        self.patients = self.index.patients
        self.history: list[tuple[Row, bool]] = []  # with whether it came late
        self.named: dict[str, str] = {}  # names that are new or have changed, by patient
        self.renamed: set[str] = set()  # who had another one before
        self.lists = PatientLists(work, self.index)
        self.links = Rows(work, PatientLink, "patient_id")

    def gather(self, identifiers: list[IdentifierRecord]) -> set[str]:
        """Load everything these record numbers lead to: one query a table. The ids of the patients met."""
        ids = self.index.gather(identifiers)
        if ids:
            self.lists.load(ids)
            self.links.load(values_in(PatientLink.patient_id, ids), PatientLink.ended_at.is_(None))
        return ids

    def write(self) -> None:
        """Patients first, then what hangs on them."""
        note_test_patients(self.work, self.patients, self.index.identifiers.by_owner)
        self.patients.write()
        keep_names(self.work, self.named, known=self.renamed)
        self.named, self.renamed = {}, set()
        self.index.identifiers.write()
        self._write_history()
        self.lists.write()
        self.links.write()

    def create(self, *, is_stub: bool) -> Row:
        """A new archive with nothing in it but its key; `apply` fills it."""
        now = self.work.clock.now()
        return self.patients.add(
            name="", name_pinyin="", name_initials="", sex=Sex.UNKNOWN, birth_date=None,
            deceased=DeceasedState.ALIVE, deceased_at=None, marital_status=None, merged_into_id=None,
            is_stub=is_stub, is_nullified=False, is_vip=False, is_test=False, test_mark=None,
            test_reason=None, provenance={}, created_at=now, updated_at=now, version=1,
        )  # fmt: skip

    def apply(self, patient: Row, record: PatientRecord, change: Change, seq: int, flags: list[str]) -> None:
        """Take over what this message knows and is not older than what stands."""
        self._scalars(patient, record, change, seq, flags)
        self.add_numbers(patient, record, change, seq)
        self.lists.apply(patient, record, change, seq, flags)
        self._mother(patient, record, change, seq)
        if record.deceased is not None:
            self.tell_death(patient, record.deceased, record.deceased_at, change, seq)
        self.patients.change(patient, updated_at=self.work.clock.now())

    def restore(self, patient: Row, change: Change, seq: int) -> None:
        """A sender that deleted the patient (A29) speaks of them again, later."""
        standing = patient["provenance"].get("is_nullified")
        if patient["is_nullified"] and not is_older(change.told_at, seq, standing):
            told = {**patient["provenance"], "is_nullified": stamp(change.told_at, change.source, seq)}
            self.patients.change(patient, is_nullified=False, provenance=told)
            self.work.emit(PatientRestored(patient_id=patient["id"], noted_at=standing[0]))

    def apply_late(self, patient: Row, record: PatientRecord, change: Change, seq: int) -> None:
        """What counts under a number that a merge retired: identifiers and a death, no demographics (B29)."""
        self.add_numbers(patient, record, change, seq)
        if record.deceased is DeceasedState.DECEASED:
            self.tell_late_death(patient, record, record.deceased_at, change, seq)

    def tell_late_death(
        self, patient: Row, record: PatientRecord, at: datetime | None, change: Change, seq: int
    ) -> None:
        """A death told under a number that a merge retired: of one patient by now, unless it was before the merge."""
        merged, own_id = self._retired_by(patient, record)
        if own_id is not None:
            self._note_own_death(own_id, at, change, seq)
        if patient["deceased"] == DeceasedState.ALIVE and merged and is_older(change.as_of, seq, merged):
            # The dead was merged into the living, though the merge came first: a person decides (B37).
            standing = patient["provenance"].get("deceased")
            told = standing if standing and tuple(merged[::2]) < tuple(standing[::2]) else merged
            self.patients.change(
                patient, deceased=DeceasedState.DISPUTED, deceased_at=at,
                provenance={**patient["provenance"], "deceased": told},
            )  # fmt: skip
            return
        self.tell_death(patient, DeceasedState.DECEASED, at, change, seq)

    def _note_own_death(self, patient_id: str, at: datetime | None, change: Change, seq: int) -> None:
        """The retired archive keeps the word too: once the merge is undone, its patient is the one who died."""
        own = self.work.one(Patient, Patient.id == patient_id)
        if not is_older(change.as_of, seq, own.provenance.get("deceased")):
            own.deceased, own.deceased_at = DeceasedState.DECEASED, at
            own.provenance = {**own.provenance, "deceased": stamp(change.as_of, change.source, seq)}

    def _retired_by(self, patient: Row, record: PatientRecord) -> tuple[list[Any] | None, str | None]:
        """When and by which message a merge retired the number that named the patient, and whose it was."""
        numbers = {
            row["id"]: row
            for item in record_numbers(record.identifiers)
            for row in self.index.find(item)
            if row["retired_at"]
        }
        merges = self.work.execute(
            sa.select(
                PatientMerge.moved,
                PatientMerge.told_at,
                PatientMerge.source,
                PatientMerge.seq,
                PatientMerge.merged_id,
            )
            .join(Patient, Patient.id == PatientMerge.merged_id)
            .where(Patient.merged_into_id == patient["id"], PatientMerge.undone_at.is_(None))
            .order_by(PatientMerge.id)
        )
        for merge in merges:
            if not numbers.keys().isdisjoint(merge.moved.get("patient_identifier.patient_id", ())):
                told = stamp(merge.told_at, merge.source, merge.seq or 0) if merge.told_at else None
                return told, merge.merged_id
        # Retired before anybody was known under it: the row itself is the merge's word.
        return next((stamp(row["as_of"], row["source"], row["seq"]) for row in numbers.values()), None), None

    # one value
    def _set(self, patient: Row, field: str, value: Any, change: Change, seq: int, flags: list[str]) -> bool:
        """Put a value by the demographics clock; an older one goes to history. Whether it was taken over."""
        standing = patient["provenance"].get(field)
        if is_put_right(standing, value):
            flags.append("correction_kept")
            return False
        if is_older(change.as_of, seq, standing):
            if value != patient[field]:
                self._remember(patient, field, value, change.as_of, change.source, seq, is_late=True)
            return False
        if standing and patient[field] != value and patient[field] is not None:
            since, source, told_by = standing[:3]
            self._remember(patient, field, patient[field], datetime.fromisoformat(since), source, told_by)
        self._put(patient, field, value, change, seq)
        return True

    def put_back(self, patient: Row, field: str, value: Any, told: list[Any] | None) -> None:
        """The value, with its stamp, that stood before one that turned out to be somebody else's."""
        provenance = {name: each for name, each in patient["provenance"].items() if name != field}
        if told is not None:
            provenance[field] = told
        was = patient[field]
        self.patients.change(patient, **{field: value, "provenance": provenance})
        if field == "name":
            self._rename(patient, value, was)

    def _put(self, patient: Row, field: str, value: Any, change: Change, seq: int) -> None:
        known = {**patient["provenance"], field: stamp(change.as_of, change.source, seq)}
        self.patients.change(patient, **{field: value, "provenance": known})

    def _remember(
        self, patient: Row, field: str, value: Any, as_of: datetime, source: str, seq: int, *, is_late: bool = False
    ) -> None:  # fmt: skip
        row = {
            "patient_id": patient["id"], "field": field, "value": None if value is None else str(value),
            "as_of": as_of, "source": source, "seq": seq, "replaced_at": self.work.clock.now(),
        }  # fmt: skip
        self.history.append((row, is_late))

    def _write_history(self) -> None:
        """A value that was replaced, each time; one that came late only if it is not there already."""
        if not self.history:
            return
        owners = values_in(PatientHistory.patient_id, (row["patient_id"] for row, _ in self.history))
        columns = (
            PatientHistory.patient_id,
            PatientHistory.field,
            PatientHistory.value,
            PatientHistory.as_of,
        )
        known: set[tuple[Any, ...]] = set()
        for found in self.work.execute(sa.select(*columns).where(owners)):
            known |= {tuple(found), tuple(found[:3])}
        new = []
        for row, is_late in self.history:
            value = (row["patient_id"], row["field"], row["value"])
            since = (*value, row["as_of"])
            if (value if is_late else since) not in known:
                new.append({"id": self.work.new_id(), **row})
                known |= {value, since}
        self.work.insert(PatientHistory, new)
        self.history = []

    def _scalars(
        self, patient: Row, record: PatientRecord, change: Change, seq: int, flags: list[str]
    ) -> None:
        was = patient["name"]
        if record.name and self._set(patient, "name", record.name, change, seq, flags) and record.name != was:
            self._rename(patient, record.name, was)
        if record.sex not in (None, Sex.UNKNOWN):
            self._set(patient, "sex", record.sex, change, seq, flags)
        if record.is_vip is not None and record.is_vip is not patient["is_vip"]:
            self._set(patient, "is_vip", record.is_vip, change, seq, flags)
        for field in ("birth_date", "marital_status"):
            value = getattr(record, field)
            if value is not None:
                self._set(patient, field, None if value is NULL else value, change, seq, flags)

    def _rename(self, patient: Row, name: str, was: str) -> None:
        """What the name is found by; `was` the one before, empty where there was none."""
        full, initials = name_pinyin(name)
        self.patients.change(patient, name_pinyin=full, name_initials=initials)
        self.named[patient["id"]] = name
        if was and not self.patients.is_new(patient):
            self.renamed.add(patient["id"])

    def put_right(self, patient: Row, fields: Collection[str], told: Mapping[str, Any], *, by: str) -> None:
        """Say of these fields, just written by people in the place of what messages told, whose word that is."""
        known = dict(patient["provenance"])
        for field in fields:
            was, stamp_told = told[field]
            known[field] = marked(known[field], was=was, told=stamp_told, by=by, actor=self.work.actor.name)
        self.patients.change(patient, provenance=known)

    def take_back(self, patient: Row, field: str, value: Any, told: Stamp) -> None:
        """Put back what a message told and people had put right; their word goes to the history."""
        since, source, seq = patient["provenance"][field][:3]
        was = patient[field]
        self._remember(patient, field, was, datetime.fromisoformat(since), source, seq)
        known = {**patient["provenance"], field: list(told)}
        self.patients.change(patient, **{field: value}, provenance=known)
        if field == "name":
            self._rename(patient, value, was)

    def tell_death(
        self, patient: Row, told: DeceasedState, at: datetime | None, change: Change, seq: int
    ) -> None:
        """Take note that the patient died, or lives. Once told dead, only a person may say otherwise (B26).

        The newest word counts; one that they live makes an earlier death disputed, in whatever order both arrive.
        """
        was, standing = patient["deceased"], patient["provenance"].get("deceased")
        older = is_older(change.as_of, seq, standing)
        if told is DeceasedState.DECEASED:
            confirms = was == told and standing is not None and standing[1] == TOLD_BY_PEOPLE
            if confirms or not older:
                self._put(patient, "deceased", told, change, seq)
                self.patients.change(patient, deceased_at=at or patient["deceased_at"])
                if confirms or was != DeceasedState.DECEASED:
                    self.work.emit(PatientDied(patient_id=patient["id"]))
            elif was == DeceasedState.ALIVE:
                self.patients.change(patient, deceased=DeceasedState.DISPUTED)
        elif not older:
            lives = told if was == DeceasedState.ALIVE else DeceasedState.DISPUTED
            self._put(patient, "deceased", lives, change, seq)

    def _mother(self, patient: Row, record: PatientRecord, change: Change, seq: int) -> None:
        """A newborn's mother (PID-21), made where nobody knows her yet; the latest word counts (B45)."""
        if not record_numbers(record.mother):
            return
        match = self.index.match(record.mother)
        if match is None:
            mother_id = str(self.create(is_stub=True)["id"])
            self.add_numbers(
                self.patients.by_id[mother_id], PatientRecord(identifiers=record.mother), change, seq
            )
        else:
            mother_id = match.patient_id
        links = [
            row
            for row in self.links.by_owner[patient["id"]]
            if row["kind"] is LinkKind.MOTHER and row["ended_at"] is None
        ]
        if mother_id == patient["id"] or any(row["other_id"] == mother_id for row in links):
            return
        if any((change.as_of, seq) < (row["as_of"], row["seq"]) for row in links):
            return
        now = self.work.clock.now()
        for row in links:
            self.links.change(row, ended_at=now)
        self.links.add(
            patient_id=patient["id"], other_id=mother_id, kind=LinkKind.MOTHER, source=change.source,
            as_of=change.as_of, seq=seq, created_at=now, ended_at=None,
        )  # fmt: skip

    # identifiers
    def add_numbers(self, patient: Row, record: PatientRecord, change: Change, seq: int) -> None:
        """Keep identifiers not known yet: record numbers in clear, all others sealed."""
        common = {"source": change.source, "as_of": change.as_of, "seq": seq, "ended_at": None}
        for item in record_numbers(record.identifiers):
            if not self.index.find(item):
                self.index.add(patient["id"], item, retired_at=None, **common)
        known = self.index.identifiers.by_owner[patient["id"]]
        seal = self.work.keys
        for item in record.identifiers:
            if item.kind is IdentifierKind.RECORD or not item.value:
                continue
            number = clean_id_number(item.value)
            value = number if item.kind is IdentifierKind.CITIZEN else item.value
            index = seal.blind("id", number)
            if any(row["value_index"] == index for row in known):
                continue
            self.index.identifiers.add(
                patient_id=patient["id"], kind=item.kind, authority=item.authority, type=item.type,
                value=None, value_sealed=seal.seal_text(value), value_index=index,
                last4_index=seal.blind("id4", value[-4:]), retired_at=None, replaced_at=None, **common,
            )  # fmt: skip
