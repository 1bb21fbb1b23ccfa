"""Reading the directory: people and departments, departments to choose from, regions as people write them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from hcrm.core.work import Work
from hcrm.directory.models import Department, Practitioner, Region
from hcrm.web.paging import Page, keyset_page

_LEVELS = 3  # province, city, county
_PLACEHOLDERS = ("县", "省直辖县", "自治区直辖县级行政区划")  # what the code list puts where there is no city


def list_departments(work: Work) -> Sequence[sa.Row[Any]]:
    """`id` and `name` of the departments in the actor's row scope, by name."""
    statement = sa.select(Department.id, Department.name).order_by(Department.name, Department.id)
    if work.actor.department_ids is not None:
        statement = statement.where(Department.id.in_(sorted(work.actor.department_ids)))
    return work.execute(statement).all()


@dataclass(frozen=True, slots=True)
class Unverified:
    """Entries that were met in messages and wait for the hospital's own word."""

    staff: int
    departments: int


def count_unverified(work: Work) -> Unverified:
    """How many of each."""
    counts = [
        work.scalar(sa.select(sa.func.count()).select_from(model).where(~model.is_verified))
        for model in (Practitioner, Department)
    ]
    return Unverified(*counts)


def list_staff(work: Work, *, only_unverified: bool = False, key: str | None = None) -> Page[Any]:
    """Practitioners with `department_name`: unverified ones first, then by staff number."""
    statement: sa.Select[Any] = sa.select(Practitioner)
    statement = statement.add_columns(Department.name.label("department_name")).outerjoin(
        Department, Department.id == Practitioner.department_id
    )
    if only_unverified:
        statement = statement.where(~Practitioner.is_verified)
    order = [_rank(Practitioner), Practitioner.code, Practitioner.id]
    return keyset_page(work, statement, order=order, key=key)


def list_directory_departments(
    work: Work, *, only_unverified: bool = False, key: str | None = None
) -> Page[Any]:
    """Departments with `head_name` and `members` in office: unverified ones first, then by code."""
    head = aliased(Practitioner)
    members = (
        sa.select(sa.func.count())
        .select_from(Practitioner)
        .where(Practitioner.department_id == Department.id, Practitioner.is_active)
        .scalar_subquery()
    )
    statement: sa.Select[Any] = sa.select(
        Department, head.name.label("head_name"), members.label("members")
    ).outerjoin(head, head.id == Department.head_id)
    if only_unverified:
        statement = statement.where(~Department.is_verified)
    return keyset_page(work, statement, order=[_rank(Department), Department.code, Department.id], key=key)


def _rank(model: type[Practitioner] | type[Department]) -> Any:
    return sa.case((model.is_verified, 1), else_=0)


def region_names(work: Work, codes: Collection[str | None]) -> dict[str, str]:
    """Each code as it is written on a letter: 浙江省杭州市西湖区; a code nobody knows is absent."""
    found: dict[str, Region] = {}
    wanted = {code for code in codes if code}
    for _ in range(_LEVELS):
        if not wanted:
            break
        rows = work.scalars(sa.select(Region).where(Region.code.in_(sorted(wanted))))
        found |= {row.code: row for row in rows}
        wanted = {row.parent_code for row in rows if row.parent_code} - found.keys()
    return {code: _whole_name(found, code) for code in codes if code in found}


def _whole_name(regions: dict[str, Region], code: str | None) -> str:
    """A region after those it lies in; a municipality is its own city and is said once, a placeholder never."""
    names: list[str] = []
    while code and (region := regions.get(code)):
        if region.name not in (*_PLACEHOLDERS, *names[:1]):
            names.insert(0, region.name)
        code = region.parent_code
    return "".join(names)
