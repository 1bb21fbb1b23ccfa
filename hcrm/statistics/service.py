"""Counting a measure: one grouped statement, by department and month, within the actor's scope."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from hcrm.archive.scope import not_test
from hcrm.core.clock import local_date
from hcrm.core.measure import Measure, Population, Unit
from hcrm.core.work import Work
from hcrm.directory.models import Department
from hcrm.statistics.period import Month, Period

UNKNOWN = "none"
"""Stands for rows without a department."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Counted rows of all rows. FHIR: MeasureReport.group."""

    numerator: int = 0
    denominator: int = 0

    @property
    def ratio(self) -> float | None:
        """None where there is nothing to count."""
        return self.numerator / self.denominator if self.denominator else None

    def __add__(self, other: "Figure") -> "Figure":
        return Figure(self.numerator + other.numerator, self.denominator + other.denominator)


@dataclass(frozen=True, slots=True)
class DepartmentFigures:
    """One department's figures by month."""

    key: str
    name: str
    by_month: Mapping[str, Figure]

    @property
    def total(self) -> Figure:
        """All months."""
        return sum(self.by_month.values(), Figure())


@dataclass(frozen=True, slots=True)
class MeasureResult:
    """A measure over a period. FHIR: MeasureReport."""

    measure: Measure
    period: Period
    departments: tuple[DepartmentFigures, ...] = field(default=())

    def month(self, month: Month | str) -> Figure:
        """All departments in one month."""
        return sum((row.by_month.get(str(month), Figure()) for row in self.departments), Figure())

    @property
    def total(self) -> Figure:
        """Everything."""
        return sum((row.total for row in self.departments), Figure())


def run_measure(
    work: Work, measure: Measure, *, period: Period, department_id: str | None = None
) -> MeasureResult:
    """Count by department and month; only departments in the actor's scope, all of them where it is everything."""
    rows = measure.rows(local_date(work.clock.now()))
    month = period.month_of(rows.day).label("month")
    counted = sa.func.sum(sa.case((rows.counts, 1), else_=0)).label("counted")
    statement = (
        sa.select(rows.department_id.label("department_id"), month, sa.func.count().label("number"), counted)
        .select_from(rows.source)
        .where(*rows.where, period.contains(rows.day), *scope(work, rows, department_id))
        .group_by(rows.department_id, month)
    )
    figures: dict[str, dict[str, Figure]] = defaultdict(dict)
    for row in work.execute(statement):
        figures[row.department_id or UNKNOWN][row.month] = Figure(int(row.counted), row.number)
    names = department_names(work)
    departments = [
        DepartmentFigures(key, names.get(key, "未登记科室"), by_month) for key, by_month in figures.items()
    ]
    return MeasureResult(measure, period, tuple(sorted(departments, key=lambda row: -row.total.denominator)))


def scope(work: Work, rows: Population, department_id: str | None) -> list[sa.ColumnElement[bool]]:
    """The row scope of statistics: departments of the actor, and the one asked for; never a test patient."""
    where = [not_test(rows.patient_id)]
    if work.actor.department_ids is not None:
        where.append(rows.department_id.in_(sorted(work.actor.department_ids)))
    if department_id == UNKNOWN:
        where.append(rows.department_id.is_(None))
    elif department_id:
        where.append(rows.department_id == department_id)
    return where


def department_names(work: Work) -> dict[str, str]:
    """Names by key."""
    return {row.id: row.name for row in work.execute(sa.select(Department.id, Department.name))}


def is_ratio(measure: Measure) -> bool:
    """Whether a result reads as a percentage."""
    return measure.unit is Unit.RATIO
