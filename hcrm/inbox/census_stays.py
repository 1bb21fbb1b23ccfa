"""The stays behind the numbers of a comparison: those of the archive as they stand now, and findings of the run.

A run keeps what disagrees. What agreed is the archive's own stays of that day and department but for the findings, so
a page of them is read from the archive; where it changed since, the number of then and the rows of now may differ.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from hcrm.archive.models import DeceasedState, Patient
from hcrm.archive.queries import record_list_read
from hcrm.archive.visit_models import DischargeWay, Encounter, EncounterClass, EncounterStatus
from hcrm.core.channels import Census
from hcrm.core.clock import day_bounds
from hcrm.core.sources import Source
from hcrm.core.work import Work
from hcrm.directory.models import Department
from hcrm.inbox.census_compare import CLASSLESS, HERE, movements_of
from hcrm.inbox.census_list import authority_of
from hcrm.inbox.census_models import CensusLine, CensusRun, Finding, Movement
from hcrm.inbox.census_queries import left_out_of, matrix_of
from hcrm.web.paging import Page, keyset_page

Statement = sa.Select[*tuple[Any, ...]]
_TIMES: Mapping[Movement, tuple[Any, str]] = {
    Movement.ADMISSION: (Encounter.admitted_at, "admitted_at"),
    Movement.DISCHARGE: (Encounter.discharged_at, "discharged_at"),
    Movement.DEATH: (Encounter.discharged_at, "discharged_at"),
}
"""When a movement takes place, and the field of findings that name it."""


class Side(StrEnum):
    """Whose stays."""

    LISTED = "listed"
    OURS = "ours"
    CLASSLESS = "classless"


@dataclass(frozen=True, slots=True)
class CensusStay:
    """One stay of a number."""

    visit_no: str
    department: str  # its name
    admitted_at: datetime | None
    discharged_at: datetime | None
    patient_id: str | None
    findings: Sequence[CensusLine]  # of this run, within what was asked for


@dataclass(frozen=True, slots=True)
class Asked:
    """Which number: of whom, and of what movement and department where not of all."""

    side: Side
    movement: Movement | None = None
    department: str | None = None  # code; empty: of none


def list_stays(
    work: Work, run: CensusRun, source: Source, asked: Asked, *, key: str | None = None
) -> Page[CensusStay]:
    """A page of them by visit number; the list names patients, and is noted as read."""
    stays = _stays(run, source, asked).subquery()
    page = keyset_page(work, sa.select(*stays.c), order=(stays.c.visit_no, stays.c.id), key=key)
    rows = page.items
    record_list_read(work, "census.list", [row.patient_id for row in rows if row.patient_id])
    findings = _findings(work, run, asked, {row.visit_no for row in rows})
    return Page(
        [
            CensusStay(
                row.visit_no, row.department, row.admitted_at, row.discharged_at, row.patient_id,
                findings.get((row.authority, row.visit_no), []),
            )
            for row in rows
        ],
        page.next_key, page.previous_key,
    )  # fmt: skip


def count_stays(work: Work, run: CensusRun, source: Source, asked: Asked) -> int:
    """How many there are now."""
    stays = _stays(run, source, asked).subquery()
    return int(work.scalar(sa.select(sa.func.count()).select_from(stays)))


def count_then(run: CensusRun, asked: Asked) -> int | None:
    """The number that opens them, as the run counted; None where its page has no such number."""
    if asked.side is Side.CLASSLESS:
        return left_out_of(run).get(CLASSLESS, 0)
    if asked.movement is None:
        return run.rows if asked.side is Side.LISTED and asked.department is None else None
    name = "his" if asked.side is Side.LISTED else "ours"
    return sum(
        int(getattr(row, name))
        for row in matrix_of(run)
        if row.movement is asked.movement and asked.department in (None, row.department)
    )


def _findings(
    work: Work, run: CensusRun, asked: Asked, numbers: Collection[str]
) -> dict[tuple[str, str], list[CensusLine]]:
    where = [CensusLine.run_id == run.id, CensusLine.visit_no.in_(sorted(numbers))]
    if asked.movement is not None:
        where.append(CensusLine.movement == asked.movement)
    found: dict[tuple[str, str], list[CensusLine]] = {}
    for line in work.scalars(
        sa.select(CensusLine).where(*where).order_by(CensusLine.movement, CensusLine.field, CensusLine.id)
    ):
        found.setdefault((line.authority, line.visit_no), []).append(line)
    return found


def _stays(run: CensusRun, source: Source, asked: Asked) -> Statement | sa.CompoundSelect[*tuple[Any, ...]]:
    census = source.census
    assert census is not None
    movements = [asked.movement] if asked.movement is not None else movements_of(census)
    kept = sa.or_(*(_is_counted(run, asked, movement) for movement in movements))
    ours: Statement = (
        sa.select(
            Encounter.id, Encounter.authority, sa.func.coalesce(Encounter.visit_no, "").label("visit_no"),
            sa.func.coalesce(Department.name, "").label("department"), Encounter.admitted_at,
            Encounter.discharged_at, Encounter.patient_id,
        )
        .join(Patient, Patient.id == Encounter.patient_id)
        .outerjoin(Department, Department.id == Encounter.department_id)
        .where(
            kept, _is_of_class(run, census, asked), Encounter.authority.in_(_authorities(run, source)),
            Encounter.merged_into_id.is_(None), Patient.is_nullified.is_(False),
            Encounter.created_at <= run.ran_at, _is_in_department(run, asked),
        )
    )  # fmt: skip
    if asked.side is not Side.LISTED:
        return ours
    return sa.union_all(ours, _missing(run, asked, movements, ours))


def _missing(run: CensusRun, asked: Asked, movements: Sequence[Movement], ours: Statement) -> Statement:
    """Stays the list alone has, or we have but for the movement; one with several of them is one."""
    known = ours.with_only_columns(Encounter.id)
    where = [
        CensusLine.run_id == run.id, CensusLine.finding == Finding.MISSING, CensusLine.movement.in_(movements),
        sa.or_(CensusLine.encounter_id.is_(None), CensusLine.encounter_id.not_in(known)),
    ]  # fmt: skip
    if asked.department is not None:
        where.append(CensusLine.department_code == asked.department)
    return (
        sa.select(
            sa.func.min(CensusLine.id).label("id"), CensusLine.authority, CensusLine.visit_no,
            sa.func.coalesce(sa.func.min(Department.name), sa.func.min(CensusLine.department_code)).label("department"),
            sa.func.min(Encounter.admitted_at).label("admitted_at"),
            sa.func.min(Encounter.discharged_at).label("discharged_at"),
            sa.func.min(CensusLine.patient_id).label("patient_id"),
        )
        .outerjoin(Department, Department.code == CensusLine.department_code)
        .outerjoin(Encounter, Encounter.id == CensusLine.encounter_id)
        .where(*where)
        .group_by(CensusLine.authority, CensusLine.visit_no)
    )  # fmt: skip


def _is_counted(run: CensusRun, asked: Asked, movement: Movement) -> sa.ColumnElement[bool]:
    """Of the archive's stays those that were counted for a movement: of that day, but for the findings."""
    begin, end = day_bounds(run.day)
    column, field = _TIMES[movement]
    lines = sa.select(CensusLine.encounter_id).where(
        CensusLine.run_id == run.id, CensusLine.encounter_id.is_not(None)
    )
    times = lines.where(CensusLine.finding == Finding.DIFFERING, CensusLine.field == field)
    is_listed_then = CensusLine.theirs.startswith(run.day.isoformat(), autoescape=True)
    known = [sa.or_(
        sa.and_(column >= begin, column < end, Encounter.id.not_in(times.where(~is_listed_then))),
        Encounter.id.in_(times.where(is_listed_then)),
    )]  # fmt: skip
    if movement is Movement.ADMISSION:
        known.append(Encounter.status.in_(HERE))
    else:
        known.append(Encounter.status == EncounterStatus.FINISHED)
    if movement is Movement.DEATH:
        known.append(sa.or_(
            Encounter.discharge_way == DischargeWay.DIED,
            sa.and_(
                Patient.deceased == DeceasedState.DECEASED, Patient.deceased_at >= begin, Patient.deceased_at < end
            ),
        ))  # fmt: skip
    if asked.side is not Side.CLASSLESS:
        gone = [Finding.MISSING] if asked.side is Side.OURS else [Finding.MISSING, Finding.EXTRA]
        known.append(
            Encounter.id.not_in(lines.where(CensusLine.movement == movement, CensusLine.finding.in_(gone)))
        )
    return sa.and_(*known)


def _is_of_class(run: CensusRun, census: Census, asked: Asked) -> sa.ColumnElement[bool]:
    """Stays of no known class were all compared where none was left out: then the list names them."""
    if asked.side is Side.CLASSLESS:
        return Encounter.encounter_class == EncounterClass.UNKNOWN
    unknown = [] if left_out_of(run).get(CLASSLESS) else [EncounterClass.UNKNOWN]
    return Encounter.encounter_class.in_([*map(EncounterClass, census.classes), *unknown])


def _is_in_department(run: CensusRun, asked: Asked) -> sa.ColumnElement[bool]:
    """By the list's department where the two differ, as counted."""
    if asked.department is None:
        return sa.true()
    code = asked.department
    here = Department.code == code if code else Encounter.department_id.is_(None)
    lines = sa.select(CensusLine.encounter_id).where(
        CensusLine.run_id == run.id, CensusLine.field == "department", CensusLine.encounter_id.is_not(None)
    )
    return sa.or_(
        sa.and_(here, Encounter.id.not_in(lines)), Encounter.id.in_(lines.where(CensusLine.theirs == code))
    )


def _authorities(run: CensusRun, source: Source) -> sa.Select[Any]:
    told = sa.select(CensusLine.authority).where(CensusLine.run_id == run.id)
    return sa.union(told, sa.select(sa.literal(authority_of(source)))).subquery().select()
