"""The list of patients narrowed by stays: each patient once, where their newest stay that fits stands; newest first.

Read from the covering indexes of `encounter` alone: who the patients are is looked up for the page only.
"""

from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from hcrm.archive.search.filters import (
    PatientFilters,
    Values,
    Way,
    by_department,
    read_whole,
    shortest_way,
    stay_conditions,
    ways_to_stays,
)
from hcrm.archive.visit_models import Encounter
from hcrm.core import limits
from hcrm.core.work import Work


def newest_stays(work: Work, filters: PatientFilters) -> tuple[sa.Select[Any], Any]:
    """Key of the patient, by the newest stay of theirs that fits; and the key of that stay, which orders them."""
    ways = ways_to_stays(work, filters)
    shortest = shortest_way(work, ways)
    if shortest is None:
        return _walk(work, filters, ways)
    way, count = shortest
    if way.walked is not None and way.is_exact:
        return _walk(work, filters, [way])  # no more is read than all of it, and mostly less
    if count <= limits.SEARCH_SMALL or _is_more_asked(work, ways):
        return _read_whole(work, filters, way, count)
    return _walk(work, filters, ways)


def _is_more_asked(work: Work, ways: list[Way]) -> bool:
    """Whether a stay must be more than the one index knows."""
    return len(ways) > 1 or work.actor.department_ids is not None


def _read_whole(work: Work, filters: PatientFilters, way: Way, count: int) -> tuple[sa.Select[Any], Any]:
    near = read_whole(work, filters, way, count)
    newest = (
        sa.select(sa.func.max(near.stay.id).label("id"), near.stay.patient_id)
        .where(*near.conditions)
        .group_by(near.stay.patient_id)
        .subquery()
    )
    return sa.select(newest.c.patient_id), newest.c.id


def _walk(work: Work, filters: PatientFilters, ways: list[Way]) -> tuple[sa.Select[Any], Any]:
    """Along the order of the list, until a page is full."""
    way = next((way for way in ways if way.walked is not None), None)
    walked, mark = (way.walked, way.mark) if way else (None, None)
    stays, key = sa.select(Encounter.patient_id), cast("Any", Encounter.id)
    if isinstance(walked, sa.Select):
        marked = walked.subquery()
        key = marked.c[0]
        stays = stays.join(marked, key == Encounter.id).where(*by_department(filters, Encounter))
    elif walked is not None:
        stays = stays.where(walked)
    stays = stays.where(*stay_conditions(work, filters.without(mark), Values(key=key)))
    later = aliased(Encounter)
    newer = sa.select(sa.literal(1)).where(
        later.patient_id == Encounter.patient_id, sa.func.coalesce(later.id, None) > Encounter.id,
        *stay_conditions(work, filters, Values(later)),
    )  # fmt: skip
    return stays.where(~newer.exists()), key
