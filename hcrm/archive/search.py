"""Finding patients: one box for names, pinyin, record and visit numbers, phones and ID numbers.

Phones and ID numbers are found by their blind indexes, whole or by the last four. What was typed never goes to a
log, an address or the audit; audit notes by what kind of words it was searched and whom it showed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute

from hcrm.archive.models import ContactPoint, DeceasedState, IdentifierKind, Patient, PatientIdentifier, Sex
from hcrm.archive.queries import masked_phones, record_list_read
from hcrm.archive.scope import scope_encounters, scope_patients
from hcrm.archive.terms import WITHOUT_BED
from hcrm.archive.visit_models import Encounter, EncounterClass, EncounterStatus
from hcrm.core import limits
from hcrm.core.text import clean_id_number, clean_phone, half_width, is_han
from hcrm.core.work import Work
from hcrm.directory.models import Department
from hcrm.web.paging import Page, keyset_page

WORDS_LIMIT = 64
"""Characters of a search; more is a pasted document (C58)."""
_LETTERS = re.compile(r"[a-z]+")
_ID_NUMBER = re.compile(r"\d{17}[\dX]")


@dataclass(frozen=True, slots=True)
class PatientFilters:
    """What a list of patients may be narrowed by."""

    department_id: str | None = None
    status: EncounterStatus | None = None


@dataclass(frozen=True, slots=True)
class PatientLine:
    """One line of a list of patients: no number in it reaches or identifies a person in full."""

    id: str
    name: str
    sex: Sex
    birth_date: date | None
    deceased: DeceasedState
    record_no: str | None
    phone: str | None  # masked
    department: str | None  # of the latest stay in scope
    status: EncounterStatus | None
    encounter_class: EncounterClass | None
    admitted_at: datetime | None
    discharged_at: datetime | None


def search_patients(
    work: Work, q: str = "", *, filters: PatientFilters | None = None, key: str | None = None,
    size: int = limits.PAGE_SIZE,
) -> Page[PatientLine]:  # fmt: skip
    """The patients in scope that the words fit, latest change first; without words, everyone in scope.

    Chinese fits any part of the name; letters fit the start of the initials or of the pinyin.
    """
    words = " ".join(half_width(q).split())[:WORDS_LIMIT].replace("\x00", "")
    statement = sa.select(Patient).where(Patient.merged_into_id.is_(None), ~Patient.is_nullified)
    statement = scope_patients(_filtered(work, statement, filters or PatientFilters()), work.actor)
    found_by: list[str] = []
    if words:
        reasons = _reasons(work, words)
        found_by = sorted(reasons)
        statement = statement.where(sa.or_(sa.false(), *reasons.values()))
    page = keyset_page(
        work, statement, order=(Patient.updated_at.desc(), Patient.id.desc()), key=key, size=size
    )
    lines = _lines(work, page.items)
    record_list_read(work, "patient.search", [line.id for line in lines], detail={"by": found_by})
    return Page(items=lines, next_key=page.next_key, previous_key=page.previous_key)


def _reasons(work: Work, words: str) -> dict[str, sa.ColumnElement[bool]]:
    """Every way the words may be meant, by its name in audit."""
    reasons: dict[str, sa.ColumnElement[bool]] = {}
    if is_han(words):
        reasons["name"] = Patient.name.contains(words.replace(" ", ""), autoescape=True)
        return reasons
    letters = words.lower().replace(" ", "")
    if _LETTERS.fullmatch(letters):
        reasons["initials"] = _starts_with(Patient.name_initials, letters)
        reasons["pinyin"] = _starts_with(Patient.name_pinyin, letters)
    compact = words.replace(" ", "")
    reasons["record_no"] = _owner(
        PatientIdentifier, PatientIdentifier.value == compact, PatientIdentifier.kind == IdentifierKind.RECORD
    )
    reasons["visit_no"] = _owner(Encounter, Encounter.visit_no == compact)
    id_number = clean_id_number(words)
    if _ID_NUMBER.fullmatch(id_number):
        reasons["id"] = _owner(
            PatientIdentifier, PatientIdentifier.value_index == work.keys.blind("id", id_number)
        )
    if re.fullmatch(r"\d{3}[\dX]", id_number):
        reasons["id4"] = _owner(
            PatientIdentifier, PatientIdentifier.last4_index == work.keys.blind("id4", id_number)
        )
    if re.fullmatch(r"\d{4}", compact):
        reasons["phone4"] = _owner(
            ContactPoint, ContactPoint.last4_index == work.keys.blind("phone4", compact)
        )
    phone = clean_phone(words)
    if len(phone) >= 7 and not _LETTERS.search(letters):
        reasons["phone"] = _owner(ContactPoint, ContactPoint.value_index == work.keys.blind("phone", phone))
    return reasons


def _starts_with(column: InstrumentedAttribute[str], letters: str) -> sa.ColumnElement[bool]:
    """A prefix of lower-case letters as a range: LIKE would use no index on SQLite, nor on PostgreSQL's collation."""
    return column.between(letters, letters + "z" * 40)


def _owner(model: Any, *where: Any) -> sa.ColumnElement[bool]:
    return Patient.id.in_(sa.select(model.patient_id).where(*where))


def _filtered(work: Work, statement: sa.Select[Any], filters: PatientFilters) -> sa.Select[Any]:
    where = []
    if filters.department_id:
        where.append(Encounter.department_id == filters.department_id)
    if filters.status:
        where.append(Encounter.status == filters.status)
        where.append(Encounter.encounter_class.not_in(WITHOUT_BED))  # an outpatient is not 在院
    if not where:
        return statement
    stays = sa.select(Encounter.id).where(Encounter.patient_id == Patient.id, *where)
    return statement.where(scope_encounters(stays, work.actor).exists())


def _lines(work: Work, patients: Sequence[Patient]) -> list[PatientLine]:
    """The lines of a page: one query a table, whatever its length."""
    ids = [patient.id for patient in patients]
    phones = masked_phones(work, ids)
    numbers = _record_numbers(work, ids)
    stays = _latest_stays(work, ids)
    lines = []
    for patient in patients:
        stay = stays.get(patient.id)
        lines.append(
            PatientLine(
                id=patient.id,
                name=patient.name,
                sex=patient.sex,
                birth_date=patient.birth_date,
                deceased=patient.deceased,
                record_no=numbers.get(patient.id),
                phone=phones.get(patient.id),
                department=stay.department if stay else None,
                status=stay.status if stay else None,
                encounter_class=stay.encounter_class if stay else None,
                admitted_at=stay.admitted_at if stay else None,
                discharged_at=stay.discharged_at if stay else None,
            )
        )
    return lines


def _record_numbers(work: Work, ids: Sequence[str]) -> dict[str, str]:
    rows = work.execute(
        sa.select(PatientIdentifier.patient_id, PatientIdentifier.value)
        .where(
            PatientIdentifier.patient_id.in_(ids),
            PatientIdentifier.kind == IdentifierKind.RECORD,
            PatientIdentifier.ended_at.is_(None),
            PatientIdentifier.retired_at.is_(None),
        )
        .order_by(PatientIdentifier.patient_id, PatientIdentifier.id.desc())
    )
    return {row.patient_id: row.value for row in rows if row.value}


def _latest_stays(work: Work, ids: Sequence[str]) -> dict[str, Any]:
    statement: Any = (
        sa.select(
            Encounter.patient_id, Encounter.status, Encounter.encounter_class, Encounter.admitted_at,
            Encounter.discharged_at, Department.name.label("department"),
        )
        .outerjoin(Department, Department.id == Encounter.department_id)
        .where(Encounter.patient_id.in_(ids), Encounter.status != EncounterStatus.CANCELLED)
        .order_by(Encounter.patient_id, sa.func.coalesce(Encounter.admitted_at, Encounter.created_at), Encounter.id)
    )  # fmt: skip
    return {row.patient_id: row for row in work.execute(scope_encounters(statement, work.actor))}
