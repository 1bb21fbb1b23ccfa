"""The lines of a list of patients: one query a table, whatever the length of the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from hcrm.archive.models import DeceasedState, IdentifierKind, Patient, PatientIdentifier, Sex
from hcrm.archive.queries import masked_phones
from hcrm.archive.scope import scope_encounters
from hcrm.archive.search.words import Way
from hcrm.archive.terms import WITHOUT_BED
from hcrm.archive.visit_models import Encounter, EncounterClass, EncounterStatus
from hcrm.core.work import Work
from hcrm.directory.models import Department


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
    found_by: Sequence[Way] = ()  # the kinds of number, never the number

    @property
    def is_without_bed(self) -> bool:
        """Whether the visit shown is one during which nobody is admitted or discharged."""
        return self.encounter_class in WITHOUT_BED


def patient_lines(
    work: Work, patients: Sequence[Patient], found_by: Mapping[str, Sequence[Way]]
) -> list[PatientLine]:
    """The lines of these patients, in their order."""
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
                found_by=found_by.get(patient.id, ()),
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
