"""The patient's side of absorbing: demographics by their own clock, lists as snapshots, numbers and names."""

from datetime import datetime
from typing import Any

from hcrm.archive.batch import Row, Rows, values_in
from hcrm.archive.events import PatientDied
from hcrm.archive.matching import PatientIndex, record_numbers
from hcrm.archive.models import (
    Address,
    Allergy,
    ContactPoint,
    DeceasedState,
    IdentifierKind,
    PatientHistory,
    RelatedPerson,
    Sex,
)
from hcrm.archive.pinyin import name_pinyin
from hcrm.archive.records import NULL, Change, IdentifierRecord, PatientRecord
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
        self.history = Rows(work, PatientHistory, "patient_id")
        self.lists = {model: Rows(work, model, "patient_id") for model in LISTS}

    def gather(self, identifiers: list[IdentifierRecord]) -> None:
        """Load everything these record numbers lead to: one query a table."""
        ids = self.index.gather(identifiers)
        if ids:
            for model, rows in self.lists.items():
                rows.load(values_in(model.patient_id, ids), model.ended_at.is_(None))

    def write(self) -> None:
        """Patients first, then what hangs on them."""
        self.patients.write()
        self.index.identifiers.write()
        self.history.write()
        for rows in self.lists.values():
            rows.write()

    def create(self, *, is_stub: bool) -> Row:
        """A new archive with nothing in it but its key; `apply` fills it."""
        now = self.work.clock.now()
        return self.patients.add(
            name="", name_pinyin="", name_initials="", sex=Sex.UNKNOWN, birth_date=None,
            deceased=DeceasedState.ALIVE, deceased_at=None, marital_status=None, merged_into_id=None,
            is_stub=is_stub, is_nullified=False, provenance={}, created_at=now, updated_at=now, version=1,
        )  # fmt: skip

    def apply(self, patient: Row, record: PatientRecord, change: Change, seq: int) -> None:
        """Take over what this message knows and is not older than what stands."""
        self._scalars(patient, record, change, seq)
        self._numbers(patient, record, change, seq)
        self._contacts(patient, record, change, seq)
        self._addresses(patient, record, change, seq)
        self._related(patient, record, change, seq)
        self._allergies(patient, record, change, seq)
        self._death(patient, record, change, seq)
        self.patients.change(patient, updated_at=self.work.clock.now())

    def add_numbers(self, patient: Row, record: PatientRecord, change: Change, seq: int) -> None:
        """Only the identifiers: for a message under a number that a merge retired."""
        self._numbers(patient, record, change, seq)

    # one value
    def _set(self, patient: Row, field: str, value: Any, change: Change, seq: int) -> bool:
        """Put a value by the demographics clock; an older one goes to history. Whether it was taken over."""
        standing = patient["provenance"].get(field)
        if standing and datetime.fromisoformat(standing[0]) > change.as_of:
            if value != patient[field]:
                self._remember(patient, field, value, change.as_of, change.source, seq)
            return False
        if standing and patient[field] != value and patient[field] is not None:
            self._remember(
                patient, field, patient[field], datetime.fromisoformat(standing[0]), standing[1], standing[2]
            )
        stamp = [change.as_of.isoformat(), change.source, seq]
        self.patients.change(patient, **{field: value, "provenance": {**patient["provenance"], field: stamp}})
        return True

    def _remember(self, patient: Row, field: str, value: Any, as_of: datetime, source: str, seq: int) -> None:
        self.history.add(
            patient_id=patient["id"], field=field, value=None if value is None else str(value), as_of=as_of,
            source=source, seq=seq, replaced_at=self.work.clock.now(),
        )  # fmt: skip

    def _scalars(self, patient: Row, record: PatientRecord, change: Change, seq: int) -> None:
        if record.name and self._set(patient, "name", record.name, change, seq):
            full, initials = name_pinyin(record.name)
            self.patients.change(patient, name_pinyin=full, name_initials=initials)
        if record.sex is not None and (record.sex is not Sex.UNKNOWN or "sex" not in patient["provenance"]):
            self._set(patient, "sex", record.sex, change, seq)
        for field in ("birth_date", "marital_status"):
            value = getattr(record, field)
            if value is not None:
                self._set(patient, field, None if value is NULL else value, change, seq)

    def _death(self, patient: Row, record: PatientRecord, change: Change, seq: int) -> None:
        if record.deceased is None:
            return
        value = record.deceased
        if value is DeceasedState.ALIVE:
            if patient["deceased"] == DeceasedState.ALIVE:
                return
            value = DeceasedState.DISPUTED  # once told dead, only a person may say otherwise (B26)
        was = patient["deceased"]
        if self._set(patient, "deceased", value, change, seq):
            if record.deceased_at is not None:
                self._set(patient, "deceased_at", record.deceased_at, change, seq)
            if value is DeceasedState.DECEASED and was != DeceasedState.DECEASED:
                self.work.emit(PatientDied(patient_id=patient["id"]))

    # identifiers
    def _numbers(self, patient: Row, record: PatientRecord, change: Change, seq: int) -> None:
        common = {"source": change.source, "as_of": change.as_of, "seq": seq, "ended_at": None}
        for item in record_numbers(record.identifiers):
            if not self.index.find(item):
                self.index.add(patient["id"], item, retired_at=None, **common)
        known = self.index.identifiers.by_owner[patient["id"]]
        seal = self.work.keys
        for item in record.identifiers:
            if item.kind is not IdentifierKind.CITIZEN or not item.value:
                continue
            value = clean_id_number(item.value)
            index = seal.blind("id", value)
            if any(row["value_index"] == index for row in known):
                continue
            self.index.identifiers.add(
                patient_id=patient["id"], kind=IdentifierKind.CITIZEN, authority=item.authority, type=item.type,
                value=None, value_sealed=seal.seal_text(value), value_index=index,
                last4_index=seal.blind("id4", value[-4:]), retired_at=None, **common,
            )  # fmt: skip

    # lists: each message's list is the whole list
    def _snapshot(
        self,
        model: type[Any],
        patient: Row,
        name: str,
        wanted: list[Row],
        same: tuple[str, ...],
        change: Change,
        seq: int,
    ) -> None:
        standing = patient["provenance"].get(name)
        if standing and datetime.fromisoformat(standing[0]) > change.as_of:
            return
        common = {"source": change.source, "as_of": change.as_of, "seq": seq}
        now = self.work.clock.now()
        if (
            self.lists[model].replace(patient["id"], wanted, same=same, common=common, ended_at=now)
            or not standing
        ):
            stamp = [change.as_of.isoformat(), change.source, seq]
            self.patients.change(patient, provenance={**patient["provenance"], name: stamp})

    def _contacts(self, patient: Row, record: PatientRecord, change: Change, seq: int) -> None:
        if record.contacts is None:
            return
        keys = self.work.keys
        wanted: dict[tuple[str, str], Row] = {}
        for rank, item in enumerate(record.contacts[: limits.MAX_CONTACT_POINTS], start=1):
            value = clean_phone(item.value) if item.system == "phone" else item.value.strip()
            if not value:
                continue
            index = keys.blind(item.system, value)
            wanted.setdefault(
                (index, item.use),
                {"system": item.system, "use": item.use, "rank": rank, "value_sealed": keys.seal_text(value),
                 "value_index": index, "last4_index": keys.blind(f"{item.system}4", value[-4:]), "is_verified": False},
            )  # fmt: skip
        self._snapshot(
            ContactPoint,
            patient,
            "contacts",
            list(wanted.values()),
            ("value_index", "use", "rank"),
            change,
            seq,
        )

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
        self._snapshot(
            RelatedPerson,
            patient,
            "related",
            wanted,
            ("rank", "name", "relation", "phone_index"),
            change,
            seq,
        )

    def _allergies(self, patient: Row, record: PatientRecord, change: Change, seq: int) -> None:
        if record.allergies is None:
            return
        names = ("kind", "code", "text", "severity", "reaction")
        wanted = [
            {"rank": rank, **{name: getattr(item, name) for name in names}}
            for rank, item in enumerate(record.allergies, start=1)
        ]
        self._snapshot(Allergy, patient, "allergies", wanted, ("rank", *names), change, seq)
