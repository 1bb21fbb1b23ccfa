"""Which patient a message speaks of. The narrow rule for interfaces (mechanisms 2.12).

A record number (authority, type, value) names one patient; a citizen ID number or a phone never does by itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from hcrm.archive.batch import Row, Rows, values_in
from hcrm.archive.corrections import is_put_right
from hcrm.archive.models import DeceasedState, IdentifierKind, Patient, PatientIdentifier, Sex
from hcrm.archive.records import NULL, IdentifierRecord, PatientRecord, RowRecord
from hcrm.core.text import clean_id_number
from hcrm.core.work import Work


def record_numbers(identifiers: Iterable[IdentifierRecord]) -> list[IdentifierRecord]:
    """Those that name a patient, best first."""
    return [item for item in identifiers if item.kind is IdentifierKind.RECORD and item.value]


@dataclass(frozen=True, slots=True)
class Match:
    """The patient found by the best record number that is known.

    `late`: a merge has retired every number of the message that names the patient; `conflict`: another number of
    the message names someone else; `number_id`: key of the number that decided.
    """

    patient_id: str
    late: bool
    conflict: bool
    number_id: str


class PatientIndex:
    """Identifiers and patients of one batch."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.identifiers = Rows(work, PatientIdentifier, "patient_id")
        self.patients = Rows(work, Patient, "id")
        self._by_key: dict[tuple[str, str], list[Row]] = {}
        self._by_value: dict[str, list[Row]] = {}

    def gather(self, identifiers: Sequence[IdentifierRecord]) -> set[str]:
        """Load what these record numbers know; the ids of the patients met.

        The patients are locked first and everything else is read after that: people write them too, and so does
        another worker where a patient's numbers lie in two lanes.
        """
        numbers = (
            PatientIdentifier.kind == IdentifierKind.RECORD,
            PatientIdentifier.ended_at.is_(None),
            values_in(PatientIdentifier.value, (item.value for item in record_numbers(identifiers))),
        )
        ids: set[str] = set()
        while met := set(self._work.scalars(sa.select(PatientIdentifier.patient_id).where(*numbers))) - ids:
            ids |= met  # again until none is new: a merge may move a number before we hold its patient
            self.patients.load(values_in(Patient.id, met), lock=True)
        for row in self.identifiers.load(*numbers):
            self._index(row)
        self.identifiers.load(
            values_in(PatientIdentifier.patient_id, ids), PatientIdentifier.ended_at.is_(None)
        )
        return ids

    def add(self, patient_id: str, item: IdentifierRecord, **common: Any) -> None:
        """Keep a new record number of a patient."""
        self._index(
            self.identifiers.add(
                patient_id=patient_id, kind=item.kind, authority=item.authority, type=item.type, value=item.value,
                value_sealed=None, value_index=None, last4_index=None, **{"replaced_at": None, **common},
            )
        )  # fmt: skip

    def find(self, item: IdentifierRecord) -> list[Row]:
        """The rows of a record number; a missing type on either side fits any."""
        rows = self._by_key.get((item.authority, item.value), [])
        exact = [row for row in rows if row["type"] == item.type]
        return exact or [row for row in rows if not item.type or not row["type"]]

    def resembles(self, item: IdentifierRecord, source: str, row: RowRecord) -> bool:
        """Whether a row's number, found under nobody, stands here as one its source may mean."""
        return any(
            row.guesses_type
            if known["authority"] == item.authority
            else row.guesses_authority and known["source"] == source
            for known in self._by_value.get(item.value, ())
        )

    def match(self, identifiers: Iterable[IdentifierRecord]) -> Match | None:
        """The one patient, None where no number is known or the best known one fits several."""
        found: list[Row] = []
        conflict = False
        for item in record_numbers(identifiers):
            rows = self.find(item)
            owners = {row["patient_id"] for row in rows}
            if len(owners) > 1 or (found and owners - {found[0]["patient_id"]}):
                conflict = True
            else:
                found += rows
        if not found:
            return None
        return Match(
            found[0]["patient_id"], all(row["retired_at"] for row in found), conflict, found[0]["id"]
        )

    def _index(self, row: Row) -> None:
        self._by_key.setdefault((row["authority"], row["value"]), []).append(row)
        self._by_value.setdefault(row["value"], []).append(row)


def differing_facts(work: Work, patient: Row, known_ids: Sequence[Row], record: PatientRecord) -> int:
    """How many of name, birth date, sex and citizen ID number speak against this being the same person.

    Two or more mean that the record number was given to someone else (truth table B42); one is a correction.
    """

    def is_another(field: str, value: Any) -> bool:
        """Neither what stands nor what people put right, which its sender may go on telling."""
        return value != patient[field] and not is_put_right(patient["provenance"].get(field), value)

    differs = 0
    differs += bool(record.name and patient["name"] and is_another("name", record.name))
    differs += bool(
        record.birth_date not in (None, NULL)
        and patient["birth_date"]
        and is_another("birth_date", record.birth_date)
    )
    real = (Sex.MALE, Sex.FEMALE)
    differs += bool(record.sex in real and patient["sex"] in real and is_another("sex", record.sex))
    told = {
        work.keys.blind("id", clean_id_number(item.value))
        for item in record.identifiers
        if item.kind is IdentifierKind.CITIZEN
    }
    known = {row["value_index"] for row in known_ids if row["kind"] == IdentifierKind.CITIZEN}
    differs += bool(told and known and not told & known)
    return differs


def is_someone_else(work: Work, patient: Row, known_ids: Sequence[Row], record: PatientRecord) -> bool:
    """Whether the record number was given to another person (B42)."""
    return differing_facts(work, patient, known_ids, record) >= 2


def deceased_after_merge(survivor: Row, merged: Row) -> DeceasedState:
    """Two archives that disagree about death are disputed: nothing is sent until a person decides (B37)."""
    if survivor["deceased"] == merged["deceased"]:
        return DeceasedState(survivor["deceased"])
    return DeceasedState.DISPUTED
