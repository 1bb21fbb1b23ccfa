"""Counting a measure: one grouped statement, by department and month, within the actor's scope."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from hcrm.core.clock import local_date
from hcrm.core.errors import HcrmError
from hcrm.core.measure import Measure, MeasureResult, Part, Period, Unit, next_month, total
from hcrm.core.work import Work
from hcrm.directory.models import Department

UNKNOWN = "none"
"""Stands for rows without a department."""
NO_DEPARTMENT = "未登记科室"


@dataclass(frozen=True, slots=True)
class DepartmentFigures:
    """One department's results by month (its first day)."""

    department_id: str
    name: str
    by_month: Mapping[date, MeasureResult]

    @property
    def total(self) -> MeasureResult:
        """All months."""
        return total(list(self.by_month.values()))


@dataclass(frozen=True, slots=True)
class MeasureTable:
    """A measure by department and month."""

    measure: Measure
    period: Period
    departments: Sequence[DepartmentFigures]

    def of_month(self, month: date) -> MeasureResult:
        """All departments in one month."""
        return total([row.by_month[month] for row in self.departments if month in row.by_month])

    @property
    def total(self) -> MeasureResult:
        """Everything."""
        return total([row.total for row in self.departments])


def run_measure(
    work: Work, measure: Measure, *, period: Period, department_id: str | None = None
) -> MeasureResult:
    """One figure: of a department, or of everything in the actor's scope."""
    return tabulate_measure(work, measure, period=period, department_id=department_id).total


def tabulate_measure(
    work: Work, measure: Measure, *, period: Period, department_id: str | None = None
) -> MeasureTable:
    """By department and month in one grouped statement; only departments in the actor's scope."""
    today = local_date(work.clock.now())
    month = _month_of(measure, period)
    hits = measure.rows_of(Part.NUMERATOR, today)
    statement = (
        sa.select(
            measure.department.label("department_id"), month.label("month"), sa.func.count().label("number"),
            sa.func.sum(sa.case((hits, 1), else_=0)).label("hits"),
        )
        .where(measure.rows_of(Part.DENOMINATOR, today), measure.within(period))
        .where(*scope_of(work, measure, department_id))
        .group_by(measure.department, month)
    )  # fmt: skip
    figures: dict[str, dict[date, MeasureResult]] = defaultdict(dict)
    for row in work.execute(statement):
        denominator = row.number if measure.unit is Unit.RATIO else None
        figures[row.department_id or UNKNOWN][date.fromisoformat(row.month)] = MeasureResult(
            int(row.hits), denominator
        )
    names = department_names(work)
    rows = [DepartmentFigures(key, names.get(key, NO_DEPARTMENT), months) for key, months in figures.items()]
    return MeasureTable(
        measure, period, sorted(rows, key=lambda row: (row.department_id == UNKNOWN, row.name))
    )


def scope_of(work: Work, measure: Measure, department_id: str | None) -> list[sa.ColumnElement[bool]]:
    """The rows an actor's numbers may count: departments of their scope, and the one asked for."""
    where: list[sa.ColumnElement[bool]] = []
    if work.actor.department_ids is not None:
        where.append(measure.department.in_(sorted(work.actor.department_ids)))
    if department_id == UNKNOWN:
        where.append(measure.department.is_(None))
    elif department_id:
        where.append(measure.department == department_id)
    return where


def department_names(work: Work) -> dict[str, str]:
    """Names by id."""
    return {row.id: row.name for row in work.execute(sa.select(Department.id, Department.name))}


def read_month(text: str) -> date:
    """`2026-11` as its first day; refused in words where it is no month."""
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError as error:
        raise HcrmError("statistics.month", "月份请写作 2026-11", field="month", status=400) from error


def _month_of(measure: Measure, period: Period) -> sa.ColumnElement[Any]:
    """The first day of the month as text, by the hospital's calendar whatever zone the database counts in."""
    cases = [
        (
            sa.and_(
                measure.dated_by >= measure.bound(month), measure.dated_by < measure.bound(next_month(month))
            ),
            sa.literal_column(f"'{month.isoformat()}'"),
        )
        for month in period.months()
    ]
    return sa.case(*cases)
