"""What the archive knows of a day's stays, for the comparison with a list: a few bulk queries."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

import sqlalchemy as sa

from hcrm.archive.models import DeceasedState, IdentifierKind, Patient, PatientIdentifier
from hcrm.archive.visit_models import Encounter, EncounterClass, EncounterStatus
from hcrm.core.channels import Census
from hcrm.core.clock import day_bounds
from hcrm.core.work import Work
from hcrm.directory.models import Department
from hcrm.inbox.census_compare import OurStay
from hcrm.inbox.census_list import RecordKey, VisitKey

_AT_ONCE = 5_000


def load_ours(
    work: Work, census: Census, day: date, *, authorities: Collection[str], keys: Collection[VisitKey]
) -> tuple[list[OurStay], dict[VisitKey, str]]:
    """Stays of that day and stays the list names, and which of them each listed number means, merges followed.

    Those of a class nobody said are among them: whether the list ought to name them is not known.
    """
    begin, end = day_bounds(day)
    classes = [*map(EncounterClass, census.classes)]
    is_told = EncounterClass.UNKNOWN not in classes
    rows: dict[str, Any] = {}
    for column in (Encounter.admitted_at, Encounter.discharged_at):
        _take(rows, work, sa.and_(
            column >= begin, column < end, Encounter.encounter_class.in_([*classes, EncounterClass.UNKNOWN]),
            Encounter.authority.in_(sorted(authorities)),
        ))  # fmt: skip
    numbers = sorted({number for _, number in keys})
    for some in _batches(numbers):
        _take(rows, work, Encounter.visit_no.in_(some))
    while into := sorted({row.merged_into_id for row in rows.values()} - {None} - rows.keys()):
        for some in _batches(into):
            _take(rows, work, Encounter.id.in_(some))
    wanted, resolved = set(keys), {}
    for row in rows.values():
        survivor = _survivor(rows, row)
        if (row.authority, row.visit_no) in wanted:
            resolved[row.authority, row.visit_no] = survivor
    living = [row for row in rows.values() if row.merged_into_id is None and not row.is_nullified]
    known = numbers_of(work, {row.patient_id for row in living})
    named = set(resolved.values())
    return [
        OurStay(
            row.id, row.patient_id, row.authority, row.visit_no or "", known[row.patient_id].all,
            row.department or "", row.status, row.admitted_at, row.discharged_at, row.discharge_way,
            row.deceased_at if row.deceased is DeceasedState.DECEASED else None, known[row.patient_id].living,
            is_classless=is_told and row.encounter_class is EncounterClass.UNKNOWN,
        )
        for row in living
        if row.id in named or row.status is not EncounterStatus.CANCELLED
    ], resolved  # fmt: skip


def _take(rows: dict[str, Any], work: Work, condition: sa.ColumnElement[bool]) -> None:
    statement = (
        sa.select(
            Encounter.id, Encounter.patient_id, Encounter.authority, Encounter.visit_no, Encounter.merged_into_id,
            Encounter.status, Encounter.admitted_at, Encounter.discharged_at, Encounter.discharge_way,
            Encounter.encounter_class,
            Department.code.label("department"), Patient.deceased, Patient.deceased_at, Patient.is_nullified,
        )
        .join(Patient, Patient.id == Encounter.patient_id)
        .outerjoin(Department, Department.id == Encounter.department_id)
        .where(condition)
    )  # fmt: skip
    rows.update((row.id, row) for row in work.execute(statement))


def _survivor(rows: Mapping[str, Any], row: Any) -> str:
    while row.merged_into_id is not None:
        row = rows[row.merged_into_id]
    return str(row.id)


class Numbers(NamedTuple):
    """A patient's record numbers."""

    all: frozenset[RecordKey]  # those of archives merged into theirs too: each finds them
    living: tuple[RecordKey, ...]  # those in use, the one last told first; where none is, all of them


def numbers_of(work: Work, patient_ids: Collection[str]) -> Mapping[str, Numbers]:
    """Record numbers that find each patient."""
    found: dict[str, dict[RecordKey, bool]] = defaultdict(dict)
    for some in _batches(sorted(patient_ids)):
        for row in work.execute(
            sa.select(
                PatientIdentifier.patient_id, PatientIdentifier.authority, PatientIdentifier.type,
                PatientIdentifier.value, PatientIdentifier.retired_at, PatientIdentifier.replaced_at,
            )
            .where(
                PatientIdentifier.patient_id.in_(some), PatientIdentifier.kind == IdentifierKind.RECORD,
                PatientIdentifier.ended_at.is_(None),
            )
            .order_by(PatientIdentifier.as_of.desc(), PatientIdentifier.seq.desc(), PatientIdentifier.id)
        ):  # fmt: skip
            is_living = row.retired_at is None and row.replaced_at is None
            found[row.patient_id][RecordKey(row.authority, row.type, row.value)] = is_living
    return defaultdict(
        lambda: Numbers(frozenset(), ()), {one: _numbers(numbers) for one, numbers in found.items()}
    )


def _numbers(numbers: Mapping[RecordKey, bool]) -> Numbers:
    living = tuple(number for number, is_living in numbers.items() if is_living)
    return Numbers(frozenset(numbers), living or tuple(numbers))


def _batches(values: Sequence[str]) -> Iterator[Sequence[str]]:
    return (values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE))
