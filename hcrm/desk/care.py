"""Patients in care without a next step: the list of the nightly run, as far as it still holds, and its count."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from hcrm.archive.models import Patient
from hcrm.archive.queries import record_list_read
from hcrm.archive.scope import scope_patients
from hcrm.centre.care import lacks_next_step
from hcrm.centre.care_models import CareGap
from hcrm.core import limits
from hcrm.core.work import Work
from hcrm.web.paging import Page, keyset_page


def list_gaps(work: Work, *, rule: str | None = None, key: str | None = None) -> Page[Any]:
    """Who waits longest first: `CareGap`, `Patient`. Whoever got a next step since the run is left out."""
    columns: list[Any] = [CareGap, Patient]
    statement = _in_scope(work, sa.select(*columns), rule)
    page = keyset_page(work, statement, order=[CareGap.since_on, CareGap.id], key=key)
    record_list_read(work, "care.list", [row.Patient.id for row in page.items])
    return page


def count_gaps(work: Work, *, rule: str | None = None) -> int:
    """How many rows that list has; `limits.COUNTED` and one more where there are more."""
    rows = _in_scope(work, sa.select(CareGap.id), rule).limit(limits.COUNTED + 1).subquery()
    return int(work.scalar(sa.select(sa.func.count()).select_from(rows)))


def gap_rules(work: Work) -> Sequence[sa.Row[Any]]:
    """The rules by which anybody is on the list: `rule_code`, `rule_title`."""
    return work.execute(
        sa.select(CareGap.rule_code, sa.func.max(CareGap.rule_title).label("rule_title"))
        .group_by(CareGap.rule_code)
        .order_by(CareGap.rule_code)
    ).all()


def _in_scope(work: Work, statement: sa.Select[Any], rule: str | None) -> sa.Select[Any]:
    twin = sa.orm.aliased(CareGap)
    is_first = ~(
        sa.select(twin.id).where(twin.patient_id == CareGap.patient_id, twin.id < CareGap.id).exists()
    )  # a merge may bring a patient a second row
    # Through a function no index fits: the list leads, and its patients are found by their key, never the other way.
    listed = sa.func.coalesce(CareGap.patient_id, sa.null())
    found = statement.join(Patient, Patient.id == listed).where(lacks_next_step(work.clock.now()), is_first)
    return scope_patients(found if rule is None else found.where(CareGap.rule_code == rule), work.actor)
