"""The patient's side of absorbing: demographics by their own clock, lists as snapshots, numbers and names."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hcrm.archive.batch import Row, Rows, is_older, stamp, values_in
from hcrm.archive.events import PatientDied, PatientRestored
from hcrm.archive.matching import PatientIndex, record_numbers
from hcrm.archive.models import (
    BUSINESS_RANKS,
    Address,
    Allergy,
    ContactPoint,
    DeceasedState,
    IdentifierKind,
    LinkKind,
    Patient,
    PatientHistory,
    PatientLink,
    PatientMerge,
    RelatedPerson,
    Sex,
)
from hcrm.archive.pinyin import name_pinyin
from hcrm.archive.records import NULL, Change, ContactRecord, IdentifierRecord, PatientRecord
from hcrm.archive.terms import TOLD_BY_PEOPLE
from hcrm.core import limits
from hcrm.core.text import clean_id_number, clean_phone
from hcrm.core.work import Work

LISTS = (ContactPoint, Address, RelatedPerson, Allergy)


class PatientSide:
    """Patients, their numbers and lists, for one batch."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.index = PatientIndex(work)
        self.patients = self.index.patients
        self.history: list[tuple[Row, bool]] = []  # with whether it came late
        self.lists = {model: Rows(work, model, "patient_id") for model in LISTS}
        self.links = Rows(work, PatientLink, "patient_id")

    def gather(self, identifiers: list[IdentifierRecord]) -> set[str]:
        """Load everything these record numbers lead to: one query a table. The ids of the patients met."""
        ids = self.index.gather(identifiers)
        if ids:
            for model, rows in self.lists.items():
                rows.load(values_in(model.patient_id, ids), model.ended_at.is_(None))
            self.links.load(values_in(PatientLink.patient_id, ids), PatientLink.ended_at.is_(None))
        return ids

    def write(self) -> None:
        """Patients first, then what hangs on them."""
        self.patients.write()
        self.index.identifiers.write()
        self._write_history()
        for rows in (*self.lists.values(), self.links):
            rows.write()

    def create(self, *, is_stub: bool) -> Row:
        """A new archive with nothing in it but its key; `apply` fills it."""
        now = self.work.clock.now()
        return self.patients.add(
            name="", name_pinyin="", name_initials="", sex=Sex.UNKNOWN, birth_date=None,
            deceased=DeceasedState.ALIVE, deceased_at=None, marital_status=None, merged_into_id=None,
            is_stub=is_stub, is_nullified=False, is_vip=False, provenance={}, created_at=now, updated_at=now, version=1,
        )  # fmt: skip

    def apply(self, patient: Row, record: PatientRecord, change: Change, seq: int, flags: list[str]) -> None:
        """Take over what this message knows and is not older than what stands."""
        self._scalars(patient, record, change, seq)
        self.add_numbers(patient, record, change, seq)
        self._contacts(patient, record, change, seq, flags)
        self._addresses(patient, record, change, seq)
        self._related(patient, record, change, seq)
        self._allergies(patient, record, change, seq)
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
    def _set(self, patient: Row, field: str, value: Any, change: Change, seq: int) -> bool:
        """Put a value by the demographics clock; an older one goes to history. Whether it was taken over."""
        standing = patient["provenance"].get(field)
        if is_older(change.as_of, seq, standing):
            if value != patient[field]:
                self._remember(patient, field, value, change.as_of, change.source, seq, is_late=True)
            return False
        if standing and patient[field] != value and patient[field] is not None:
            since, source, told_by = standing
            self._remember(patient, field, patient[field], datetime.fromisoformat(since), source, told_by)
        self._put(patient, field, value, change, seq)
        return True

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

    def _scalars(self, patient: Row, record: PatientRecord, change: Change, seq: int) -> None:
        if record.name and self._set(patient, "name", record.name, change, seq):
            full, initials = name_pinyin(record.name)
            self.patients.change(patient, name_pinyin=full, name_initials=initials)
        if record.sex not in (None, Sex.UNKNOWN):
            self._set(patient, "sex", record.sex, change, seq)
        if record.is_vip is not None and record.is_vip is not patient["is_vip"]:
            self._set(patient, "is_vip", record.is_vip, change, seq)
        for field in ("birth_date", "marital_status"):
            value = getattr(record, field)
            if value is not None:
                self._set(patient, field, None if value is NULL else value, change, seq)

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
                if was != DeceasedState.DECEASED:
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

    # lists: each message's list is the whole list
    def _snapshot(
        self, model: type[Any], patient: Row, name: str, wanted: list[Row], same: tuple[str, ...], change: Change,
        seq: int, among: Callable[[Row], bool] = lambda _row: True,
    ) -> None:  # fmt: skip
        if is_older(change.as_of, seq, patient["provenance"].get(name)):
            return
        now = self.work.clock.now()
        common = {"source": change.source, "as_of": change.as_of, "seq": seq}
        rows = self.lists[model]
        rows.replace(patient["id"], wanted, same=same, common=common, ended_at=now, among=among)
        known = {**patient["provenance"], name: stamp(change.as_of, change.source, seq)}
        self.patients.change(patient, provenance=known)

    def _contacts(
        self, patient: Row, record: PatientRecord, change: Change, seq: int, flags: list[str]
    ) -> None:
        """Numbers a person here has verified stay; what a message says otherwise is flagged for a person (B20)."""
        verified = {
            row["value_index"]
            for row in self.lists[ContactPoint].by_owner[patient["id"]]
            if row["is_verified"] and row["ended_at"] is None
        }
        same = ("value_index", "use", "rank")
        for name, told, above in (
            ("contacts", record.contacts, 0),
            ("business_contacts", record.business_contacts, BUSINESS_RANKS),
        ):
            if told is None:
                continue
            wanted = self._wanted_contacts(told, above)
            if name == "contacts" and verified - {row["value_index"] for row in wanted}:
                flags.append("verified_contact_kept")
            wanted = [row for row in wanted if row["value_index"] not in verified]
            self._snapshot(
                ContactPoint, patient, name, wanted, same, change, seq,
                among=_business if above else _personal,
            )  # fmt: skip

    def _wanted_contacts(self, told: tuple[ContactRecord, ...], above: int) -> list[Row]:
        keys = self.work.keys
        wanted: dict[tuple[str, str], Row] = {}
        for rank, item in enumerate(told, start=above + 1):
            value = clean_phone(item.value) if item.system == "phone" else item.value.strip()
            if not value:
                continue
            index = keys.blind(item.system, value)
            wanted.setdefault(
                (index, item.use),
                {"system": item.system, "use": item.use, "rank": rank, "value_sealed": keys.seal_text(value),
                 "value_index": index, "last4_index": keys.blind(f"{item.system}4", value[-4:]), "is_verified": False},
            )  # fmt: skip
            if len(wanted) == limits.MAX_CONTACT_POINTS:
                break
        return list(wanted.values())

    def _addresses(self, patient: Row, record: PatientRecord, change: Change, seq: int) -> None:
        if record.addresses is None:
            return
        keys = self.work.keys
        standing = {
            (row["use"], row["rank"], row["region_code"], keys.open_text(row["text_sealed"])): row[
                "text_sealed"
            ]
            for row in self.lists[Address].by_owner[patient["id"]]
            if row["ended_at"] is None
        }
        wanted = []
        for rank, item in enumerate(record.addresses, start=1):
            if not item.text and not item.region_code:
                continue
            sealed = standing.get((item.use, rank, item.region_code, item.text)) or keys.seal_text(item.text)
            wanted.append(
                {"use": item.use, "rank": rank, "region_code": item.region_code, "text_sealed": sealed}
            )
        self._snapshot(
            Address, patient, "addresses", wanted, ("use", "rank", "region_code", "text_sealed"), change, seq
        )

    def _related(self, patient: Row, record: PatientRecord, change: Change, seq: int) -> None:
        if record.related is None:
            return
        keys = self.work.keys
        wanted = []
        for rank, item in enumerate(record.related, start=1):
            phone = clean_phone(item.phone)
            wanted.append(
                {"rank": rank, "name": item.name, "relation": item.relation,
                 "phone_sealed": keys.seal_text(phone) if phone else None,
                 "phone_index": keys.blind("phone", phone) if phone else None,
                 "phone_last4_index": keys.blind("phone4", phone[-4:]) if phone else None}
            )  # fmt: skip
        same = ("rank", "name", "relation", "phone_index")
        self._snapshot(RelatedPerson, patient, "related", wanted, same, change, seq)

    def _allergies(self, patient: Row, record: PatientRecord, change: Change, seq: int) -> None:
        if record.allergies is None:
            return
        names = ("kind", "code", "text", "severity", "reaction")
        wanted = [
            {"rank": rank, **{name: getattr(item, name) for name in names}}
            for rank, item in enumerate(record.allergies, start=1)
        ]
        self._snapshot(Allergy, patient, "allergies", wanted, ("rank", *names), change, seq)


def _business(row: Row) -> bool:
    return bool(row["rank"] > BUSINESS_RANKS)


def _personal(row: Row) -> bool:
    return not _business(row)
