"""Reading the directory: departments to choose from, and regions as people write them."""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from hcrm.core.work import Work
from hcrm.directory.models import Department, Region

_LEVELS = 3  # province, city, county
_PLACEHOLDERS = ("县", "省直辖县", "自治区直辖县级行政区划")  # what the code list puts where there is no city


def list_departments(work: Work) -> Sequence[sa.Row[Any]]:
    """`id` and `name` of the departments in the actor's row scope, by name."""
    statement = sa.select(Department.id, Department.name).order_by(Department.name, Department.id)
    if work.actor.department_ids is not None:
        statement = statement.where(Department.id.in_(sorted(work.actor.department_ids)))
    return work.execute(statement).all()


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
