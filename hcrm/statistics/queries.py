"""The rows behind a number: the same conditions, without the counting."""

from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa

from hcrm.archive.models import Patient
from hcrm.archive.queries import record_list_read
from hcrm.core import limits
from hcrm.core.clock import local_date
from hcrm.core.measure import Measure, Part, Period
from hcrm.core.work import Work
from hcrm.directory.models import Department
from hcrm.statistics.service import NO_DEPARTMENT, scope_of
from hcrm.web.paging import Page, keyset_page


@dataclass(frozen=True, slots=True)
class CountedRow:
    """One counted stay or instruction."""

    row_id: str
    patient_id: str
    patient_name: str
    department: str
    dated_by: date | datetime
    is_hit: bool


def list_rows(
    work: Work, measure: Measure, *, period: Period, part: Part = Part.DENOMINATOR, missed: bool = False,
    department_id: str | None = None, key: str | None = None, size: int = limits.PAGE_SIZE,
) -> Page[CountedRow]:  # fmt: skip
    """Exactly the rows a figure counted, the latest first; noted as a read of these patients.

    `missed` shows those of the denominator that did not hit.
    """
    today = local_date(work.clock.now())
    subject = measure.subject.__table__.c
    hits = measure.rows_of(Part.NUMERATOR, today)
    # The date is never NULL for a row of a period, which the type of the column cannot say.
    dated_by = sa.func.coalesce(measure.dated_by, measure.dated_by, type_=measure.dated_by.type)
    statement = (
        sa.select(
            subject.id.label("row_id"), subject.patient_id.label("patient_id"), Patient.name.label("patient_name"),
            Department.name.label("department"), dated_by.label("dated_by"), hits.label("is_hit"),
        )
        .join(Patient, Patient.id == subject.patient_id)
        .outerjoin(Department, Department.id == measure.department)
        .where(measure.rows_of(part, today), measure.within(period))
        .where(*scope_of(work, measure, department_id))
    )  # fmt: skip
    if missed:
        statement = statement.where(sa.not_(hits))
    page = keyset_page(work, statement, order=(dated_by.desc(), subject.id.desc()), key=key, size=size)
    items = [
        CountedRow(
            row.row_id, row.patient_id, row.patient_name, row.department or NO_DEPARTMENT, row.dated_by,
            bool(row.is_hit),
        )
        for row in page.items
    ]  # fmt: skip
    record_list_read(
        work, "statistics.open", [item.patient_id for item in items], detail={"measure": measure.code}
    )
    return Page(items, page.next_key, page.previous_key)
