"""The rows behind a number: the same statement, without the counting."""

from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa

from hcrm.archive.models import Patient
from hcrm.archive.queries import record_list_read
from hcrm.core import limits
from hcrm.core.clock import local_date
from hcrm.core.measure import Measure
from hcrm.core.work import Work
from hcrm.directory.models import Department
from hcrm.statistics.period import Period
from hcrm.statistics.service import scope
from hcrm.web.paging import Page, keyset_page

NUMERATOR, DENOMINATOR, REST = "numerator", "denominator", "rest"
PARTS = {NUMERATOR: "计入分子", DENOMINATOR: "全部", REST: "未计入分子"}
"""Which rows of a measure to show."""


@dataclass(frozen=True, slots=True)
class CountedRow:
    """One counted stay or instruction."""

    row_id: str
    patient_id: str
    patient_name: str
    department: str
    day: date | datetime
    counts: bool


def list_rows(
    work: Work, measure: Measure, *, period: Period, part: str = DENOMINATOR, department_id: str | None = None,
    key: str | None = None, size: int = limits.PAGE_SIZE,
) -> Page[CountedRow]:  # fmt: skip
    """Exactly the rows a figure counted, the latest first; noted as a read of these patients."""
    rows = measure.rows(local_date(work.clock.now()))
    statement = (
        sa.select(
            rows.row_id.label("row_id"), rows.patient_id.label("patient_id"), Patient.name.label("patient_name"),
            Department.name.label("department"), rows.day.label("day"), rows.counts.label("counts"),
        )
        .select_from(rows.source)
        .join(Patient, Patient.id == rows.patient_id)
        .outerjoin(Department, Department.id == rows.department_id)
        .where(*rows.where, period.contains(rows.day), *scope(work, rows, department_id))
    )  # fmt: skip
    if part == NUMERATOR:
        statement = statement.where(rows.counts)
    elif part == REST:
        statement = statement.where(sa.not_(rows.counts))
    day = sa.type_coerce(rows.day, rows.day.type)
    page = keyset_page(work, statement, order=(day.desc(), rows.row_id.desc()), key=key, size=size)
    items = [
        CountedRow(
            row.row_id,
            row.patient_id,
            row.patient_name,
            row.department or "未登记科室",
            row.day,
            bool(row.counts),
        )
        for row in page.items
    ]
    record_list_read(
        work, "statistics.open", [item.patient_id for item in items], detail={"measure": measure.code}
    )
    return Page(items, page.next_key, page.previous_key)
