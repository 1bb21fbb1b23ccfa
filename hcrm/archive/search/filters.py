"""What a list of patients is narrowed by, and the small sets from which a narrow list is read.

A filter asks for one stay that has all of it. Where an index leads to few stays, the list is read from these; a larger
list is walked in its own order, and whoever stands on the way is asked for such a stay. The count that decides looks at
no more than `limits.SEARCH_LARGE` entries of an index, so neither database needs statistics.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from hcrm.archive.models import DECEASED_WORD, Patient
from hcrm.archive.reach_models import ContactStop
from hcrm.archive.scope import as_value, own_stays, patient_sets, stay_condition
from hcrm.archive.terms import WITHOUT_BED
from hcrm.archive.visit_models import Encounter, EncounterStatus
from hcrm.core import limits
from hcrm.core.clock import day_bounds
from hcrm.core.work import Work

Condition = sa.ColumnElement[bool]
_Keys = sa.Select[Any]
_LOOK_UP = 8
"""What finding a row by its key costs, where reading the next entry of an index costs 1."""


@dataclass(frozen=True, slots=True)
class StayMark:
    """Something a part above the archive knows of stays: which they are, and whether the one of a column is."""

    stays: sa.Select[Any]  # keys of encounters, from an index; of the department that is asked for, no others
    holds: Callable[[Any], Condition]  # of a column or key


@dataclass(frozen=True, slots=True)
class PatientFilters:
    """What a list of patients may be narrowed by. Dates are days of the hospital, both included."""

    department_id: str | None = None
    status: EncounterStatus | None = None
    discharged_from: date | None = None
    discharged_to: date | None = None
    marks: Sequence[StayMark] = ()
    is_deceased: bool = False
    is_stopped: bool = False  # contact has ended
    is_registered: bool = False  # a visit without a bed that goes on (已登记)

    @property
    def is_about_stays(self) -> bool:
        """Whether a stay has to fit."""
        return bool(
            self.department_id or self.status or self.is_registered or self.is_about_days or self.marks
        )

    @property
    def is_about_days(self) -> bool:
        """Whether a day of discharge is asked for."""
        return self.discharged_from is not None or self.discharged_to is not None

    def without(self, mark: StayMark | None) -> "PatientFilters":
        """The same where that mark need not be asked for: it has led to the stays."""
        return replace(self, marks=[each for each in self.marks if each is not mark])


@dataclass(frozen=True, slots=True)
class Narrow:
    """Keys of patients that everything found is among, and how many entries, looked up one by one, lead to them."""

    patients: sa.Select[Any]  # one column
    count: int
    is_exact: bool = False  # whether filters and scope let all of them through

    def having(self, *conditions: Condition) -> sa.Select[Any]:
        """Those of them for whom the conditions hold."""
        return self.patients.where(*conditions)

    @property
    def patient_id(self) -> Any:
        """Their column, for such conditions."""
        return self.patients.selected_columns[0]


@dataclass(frozen=True, slots=True)
class Way:
    """An index that leads to stays: entries to count, and the stays that at most so many of them lead to."""

    entries: sa.Select[Any] | sa.CompoundSelect[Any]  # keys of stays
    stays: Callable[[Sequence[_Keys]], sa.Select[Any]]  # `_STAYS` of those that are among all these keys
    most: int  # so many entries are read whole
    price: int  # of an entry, where reading one of an index that knows all that is asked costs 1
    walked: Condition | sa.Select[Any] | None = None  # what leads to them in the order of their keys
    is_exact: bool = True  # whether that leads to no others
    mark: StayMark | None = None  # that all of them have


@dataclass(frozen=True, slots=True)
class Near:
    """A set of stays, what is still to be asked of each, and how many rows looked up by key it costs."""

    stay: Any  # its columns
    conditions: Sequence[Condition]
    look_ups: int


def patient_conditions(work: Work, filters: PatientFilters, patient_id: Any = Patient.id) -> list[Condition]:
    """The filters as conditions on patients, of that column."""
    conditions: list[Condition] = []
    if filters.is_about_stays:
        stays = sa.select(sa.literal(1)).select_from(Encounter).where(
            Encounter.patient_id == patient_id, *stay_conditions(work, filters, Values())
        )  # fmt: skip
        conditions.append(stays.exists())
    else:
        conditions += _by_person(filters, patient_id)
    return conditions


def narrowest(work: Work, filters: PatientFilters) -> Narrow | None:
    """The smallest set that scope and filters lead to; None where the list is rather walked."""
    found = [
        each
        for each in (_by_stays(work, filters), _by_scope(work, filters), _by_people(work, filters))
        if each
    ]
    return min(found, key=lambda each: each.count, default=None)


def count_few(
    work: Work, entries: sa.Select[Any] | sa.CompoundSelect[Any], most: int | None = None
) -> int | None:
    """How many there are, None where they are more than `most`, or than a small set has."""
    most = limits.SEARCH_SMALL if most is None else most
    few = entries.limit(most + 1).subquery()
    count = int(work.scalar(sa.select(sa.func.count()).select_from(few)))
    return count if count <= most else None


class Values:
    """A stay's columns as values, of a stay or patient who is there already.

    `key`: the column that has led to it. What is asked of the key alone is then asked before the stay is looked at.
    """

    def __init__(self, stay: Any = Encounter, key: Any = None) -> None:
        self._stay, self.id = stay, stay.id if key is None else key

    def __getattr__(self, name: str) -> Any:
        return as_value(getattr(self._stay, name))


# ── stays ───────────────────────────────────────────────────────────────────


def stay_conditions(work: Work, filters: PatientFilters, stay: Any) -> list[Condition]:
    """What one stay must be, of a table or of a set with its columns."""
    conditions = [*by_department(filters, stay), *_by_state(filters, stay)]
    if not filters.status:  # called off, or united with another one that stands for it
        conditions.append(stay.status != EncounterStatus.CANCELLED)
    if filters.status or filters.is_about_days:
        conditions.append(
            stay.encounter_class.not_in(WITHOUT_BED)
        )  # an outpatient is not 在院, and leaves no bed
    if filters.is_registered:
        conditions.append(stay.encounter_class.in_(WITHOUT_BED))
    conditions += _by_person(filters, stay.patient_id)
    in_scope = stay_condition(work.actor, stay)
    conditions += [] if in_scope is None else [in_scope]
    return [*conditions, *(mark.holds(stay.id) for mark in filters.marks)]


def by_department(filters: PatientFilters, stay: Any) -> list[Condition]:
    """Of the department that is asked for."""
    return [stay.department_id == filters.department_id] if filters.department_id else []


def _by_state(filters: PatientFilters, stay: Any) -> list[Condition]:
    """State and day of discharge; who was discharged has finished, which the indexes want to be told."""
    status = EncounterStatus.IN_PROGRESS if filters.is_registered else filters.status
    conditions: list[Condition] = [stay.status == status] if status else []
    if filters.is_about_days:
        conditions.append(stay.status == EncounterStatus.FINISHED)
        first, after = _moments(filters)
        conditions += [stay.discharged_at >= first] if first else []
        conditions += [stay.discharged_at < after] if after else []
    return conditions


def _moments(filters: PatientFilters) -> tuple[datetime | None, datetime | None]:
    first, last = filters.discharged_from, filters.discharged_to
    return day_bounds(first)[0] if first else None, day_bounds(last)[1] if last else None


_STAYS: Any = sa.select(
    Encounter.id, Encounter.patient_id, Encounter.department_id, Encounter.attending_id, Encounter.status,
    Encounter.encounter_class, Encounter.discharged_at,
)  # fmt: skip


def ways_to_stays(work: Work, filters: PatientFilters) -> list[Way]:
    """The indexes that lead to the stays of these filters."""
    ways = [_way_among(filters, mark.stays, mark) for mark in filters.marks]
    department, state = by_department(filters, Encounter), _by_state(filters, Encounter)
    if state or (department and not ways):  # marks know the department, and are fewer than all of it
        ways.append(
            _way_of(
                *department, *state,
                walked=department[0] if department else None, is_exact=not state,
                most=limits.SEARCH_LARGE * (2 if filters.marks else 1),  # marks leave few of them to be looked up
            )
        )  # fmt: skip
    own = own_stays(work.actor, filters.department_id)
    if own is not None:
        ways.append(_way_among(filters, own))
    ways += [
        _way_among(filters, sa.select(Encounter.id).where(Encounter.patient_id.in_(people)))
        for people in _people(filters)
        if count_few(work, people, limits.SEARCH_LARGE)
        is not None  # their stays are more, and cost more to count
    ]
    return ways


def _way_of(*leading: Condition, walked: Condition | None, is_exact: bool, most: int) -> Way:
    def stays(among: Sequence[_Keys]) -> sa.Select[Any]:
        few = _STAYS.where(*leading).limit(most + 1).subquery()
        return sa.select(few).where(*(few.c.id.in_(each) for each in among))

    return Way(sa.select(Encounter.id).where(*leading), stays, most, 1, walked, is_exact)


def _way_among(
    filters: PatientFilters, keys: sa.Select[Any] | sa.CompoundSelect[Any], mark: StayMark | None = None
) -> Way:
    def stays(among: Sequence[_Keys]) -> sa.Select[Any]:
        few = keys.limit(limits.SEARCH_LARGE + 1).subquery()
        wanted = sa.select(few.c[0]).where(*(few.c[0].in_(each) for each in among))
        # The limit keeps the database from going another way to the same stays. With the department an index knows
        # all that is asked of them.
        by_key = _STAYS.where(Encounter.id.in_(wanted), *by_department(filters, Encounter))
        return by_key.limit(limits.SEARCH_LARGE + 1)  # type: ignore[no-any-return]

    return Way(keys, stays, limits.SEARCH_LARGE, _LOOK_UP, walked=mark.stays if mark else None, mark=mark)


def shortest_way(work: Work, ways: Sequence[Way]) -> tuple[Way, int] | None:
    """The cheapest and how many entries it has, of those that may be read whole."""
    cheapest: tuple[Way, int] | None = None
    for way in ways:
        most = way.most
        if cheapest:
            most = min(most, cheapest[0].price * cheapest[1] // way.price)
        count = count_few(work, way.entries, most)
        if count is not None:
            cheapest = way, count
    return cheapest


def read_whole(work: Work, filters: PatientFilters, way: Way, count: int) -> Near:
    """The stays an index leads to, as a set.

    Marks that few stays have are read whole too, and what all of these hold is all that is looked up: reading two
    indexes costs less than asking the one for each entry of the other.
    """
    most = min(limits.SEARCH_LARGE, _LOOK_UP * count)
    read, sets, left = count, [], []
    for mark in filters.marks:
        if mark is way.mark:
            continue
        entries = count_few(work, mark.stays, most)
        if entries is None:
            left.append(mark)
        else:
            read += entries
            sets.append(mark.stays.limit(limits.SEARCH_LARGE + 1).subquery())
    near = way.stays([sa.select(each.c[0]) for each in sets]).subquery()
    conditions = stay_conditions(work, replace(filters, marks=left), Values(near.c))
    return Near(near.c, conditions, look_ups=1 + read // _LOOK_UP if sets else count)


def _by_stays(work: Work, filters: PatientFilters) -> Narrow | None:
    """The patients of the stays that fit, by the index that leads to fewest."""
    if not filters.is_about_stays:
        return None
    found = shortest_way(work, ways_to_stays(work, filters))
    if found is None:
        return None
    near = read_whole(work, filters, *found)
    return Narrow(sa.select(near.stay.patient_id).where(*near.conditions), near.look_ups, is_exact=True)


# ── scope ───────────────────────────────────────────────────────────────────


def _by_scope(work: Work, filters: PatientFilters) -> Narrow | None:
    """The patients of somebody who has few of them."""
    sets = patient_sets(work.actor)
    if sets is None or filters.is_about_stays:
        return None  # a stay that fits is in the scope: asked for above
    if not sets:
        return Narrow(sa.select(Patient.id).where(sa.false()), 0)
    few = [each.limit(limits.SEARCH_SMALL + 1).subquery() for each in sets]
    every = sa.union_all(*(sa.select(each.c[0].label("patient_id")) for each in few)).subquery()
    count = count_few(work, sa.select(every.c.patient_id))
    return None if count is None else Narrow(sa.select(every.c.patient_id), count)


def _by_people(work: Work, filters: PatientFilters) -> Narrow | None:
    for people in _people(filters):
        count = count_few(work, people)
        return None if count is None else Narrow(people, count)
    return None


def _people(filters: PatientFilters) -> list[sa.Select[Any]]:
    """Keys of the dead, or of those with whom contact has ended, each from a small index of their own."""
    found: list[sa.Select[Any]] = []
    if filters.is_deceased:
        found.append(sa.select(Patient.id).where(Patient.deceased == DECEASED_WORD))
    if filters.is_stopped:
        found.append(sa.select(ContactStop.patient_id).where(ContactStop.ended_at.is_(None)).distinct())
    return found


def _by_person(filters: PatientFilters, patient_id: Any) -> list[Condition]:
    conditions: list[Condition] = []
    if filters.is_deceased:
        # Of the patients themselves, an index of the dead has them in the order of the list.
        is_listed = patient_id is Patient.id
        conditions.append(Patient.deceased == DECEASED_WORD if is_listed else is_dead(patient_id))
    if filters.is_stopped:
        stopped: Any = aliased(ContactStop)
        conditions.append(
            sa.select(sa.literal(1))
            .where(stopped.patient_id == patient_id, stopped.ended_at.is_(None))
            .exists()
        )
    return conditions


def is_dead(patient_id: Any) -> Condition:
    """Whether the patient of that column has died."""
    dead: Any = aliased(Patient)
    # Between, not equal: so the index of the few dead is asked, not the patient's row.
    is_patient = dead.id.between(patient_id, patient_id)
    return sa.select(sa.literal(1)).where(is_patient, dead.deceased == DECEASED_WORD).exists()
