"""The lists of a patient: phones, addresses, relatives, allergies. Each message's list is the whole list."""

from collections.abc import Callable, Iterable
from typing import Any

import sqlalchemy as sa

from hcrm.archive.absorb.older_lists import OlderLists
from hcrm.archive.batch import UNITED, Row, Rows, is_older, stamp, values_in
from hcrm.archive.matching import PatientIndex
from hcrm.archive.merge.service import has_written
from hcrm.archive.models import BUSINESS_RANKS, Address, Allergy, ContactPoint, PatientMerge, RelatedPerson
from hcrm.archive.records import Change, ContactRecord, PatientRecord
from hcrm.archive.terms import BY_PEOPLE
from hcrm.core import limits
from hcrm.core.db import table_of
from hcrm.core.text import clean_phone
from hcrm.core.work import Work

LISTS = (ContactPoint, Address, RelatedPerson, Allergy)


class PatientLists:
    """For one batch; each list has a clock of its own in the patient's provenance."""

    def __init__(self, work: Work, index: PatientIndex) -> None:
        self.work = work
        self.index = index
        self.rows = {model: Rows(work, model, "patient_id") for model in LISTS}
        self.older = OlderLists(work)

    def load(self, patient_ids: set[str]) -> None:
        """What stands of these patients: one query a table."""
        for model, rows in self.rows.items():
            rows.load(values_in(model.patient_id, patient_ids), model.ended_at.is_(None))

    def write(self) -> None:
        """What changed; then what was told too late to stand."""
        for rows in self.rows.values():
            rows.write()
        self.older.write()

    def apply(self, patient: Row, record: PatientRecord, change: Change, seq: int, flags: list[str]) -> None:
        """Take over every list the message has."""
        self._contacts(patient, record, change, seq, flags)
        self._addresses(patient, record, change, seq)
        self._related(patient, record, change, seq)
        self._allergies(patient, record, change, seq)

    def _snapshot(
        self, model: type[Any], patient: Row, name: str, wanted: list[Row], same: tuple[str, ...], change: Change,
        seq: int, among: Callable[[Row], bool] = lambda _row: True,
    ) -> None:  # fmt: skip
        now = self.work.clock.now()
        common = {"source": change.source, "as_of": change.as_of, "seq": seq}

        def is_told(row: Row) -> bool:
            """What people entered is no part of a message's list: it neither ends it nor counts as told."""
            return row["source"] != BY_PEOPLE and among(row)

        rows, is_meant = self.rows[model], is_told
        is_late = is_older(change.as_of, seq, patient["provenance"].get(name))
        if is_late:
            own = self._own_before_merge(model, patient, name, change, seq)
            if own is None:
                ended = {"patient_id": patient["id"], **common, "ended_at": now}
                told = self._sealed(wanted, ()) if model is Address else wanted
                self.older.add(model, [{**values, **ended} for values in told], same)
                return

            def is_meant(row: Row) -> bool:
                return is_told(row) and own(row)

        if model is Address:
            wanted = self._sealed(wanted, filter(is_meant, rows.by_owner[patient["id"]]))
        rows.replace(patient["id"], wanted, same=same, common=common, ended_at=now, among=is_meant)
        if not is_late:
            known = {**patient["provenance"], name: stamp(change.as_of, change.source, seq)}
            self.index.patients.change(patient, provenance=known)

    def _own_before_merge(
        self, model: type[Any], patient: Row, name: str, change: Change, seq: int
    ) -> Callable[[Row], bool] | None:
        """Which rows a list replaces that is older than the merge that united two, but newer than the patient's own."""
        if patient["provenance"][name][3:] != [UNITED]:
            return None
        merges = self.work.scalars(
            sa.select(PatientMerge).where(
                PatientMerge.survivor_id == patient["id"], PatientMerge.undone_at.is_(None)
            )
        )
        united = next(
            (merge for merge in merges if has_written(merge, patient["provenance"][name], is_list=True)), None
        )
        if united is None or is_older(
            change.as_of, seq, united.before[patient["id"]]["provenance"].get(name)
        ):
            return None
        table = f"{table_of(model).name}.patient_id"
        brought = {key for merge in merges for key in merge.moved.get(table, ())}
        own = [row for row in self.rows[model].by_owner[patient["id"]] if row["id"] not in brought]
        if any((row["as_of"], row["seq"]) > (change.as_of, seq) for row in own if row["ended_at"] is None):
            return None
        return lambda row: row["id"] not in brought

    def _contacts(
        self, patient: Row, record: PatientRecord, change: Change, seq: int, flags: list[str]
    ) -> None:
        """Numbers a person here has verified stay; what a message says otherwise is flagged for a person (B20)."""
        verified = {
            row["value_index"]
            for row in self.rows[ContactPoint].by_owner[patient["id"]]
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
        wanted = [
            {"use": item.use, "rank": rank, "region_code": item.region_code, "text": item.text}
            for rank, item in enumerate(record.addresses, start=1)
            if item.text or item.region_code
        ]
        self._snapshot(
            Address, patient, "addresses", wanted, ("use", "rank", "region_code", "text_sealed"), change, seq
        )

    def _sealed(self, wanted: list[Row], standing: Iterable[Row]) -> list[Row]:
        """Addresses with their text sealed as in the row that tells the same: nothing is sealed alike twice."""
        keys = self.work.keys
        seals = {
            (row["use"], row["rank"], row["region_code"], keys.open_text(row["text_sealed"])): row[
                "text_sealed"
            ]
            for row in standing
            if row["ended_at"] is None
        }
        return [
            {"use": use, "rank": rank, "region_code": region,
             "text_sealed": seals.get((use, rank, region, text)) or keys.seal_text(text)}
            for use, rank, region, text in (row.values() for row in wanted)
        ]  # fmt: skip

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
