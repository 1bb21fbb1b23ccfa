"""Reading the directory: people and departments, departments to choose from, regions as people write them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from hcrm.core import limits
from hcrm.core.clock import local_date
from hcrm.core.labels import LabelledEnum
from hcrm.core.work import Work
from hcrm.directory.code_maps import CODE_KINDS
from hcrm.directory.models import Campus, Department, Practitioner, Region
from hcrm.directory.roster_models import ClinicType, Session
from hcrm.directory.specialties import specialties
from hcrm.web.paging import Page, keyset_page

_LEVELS = 3  # province, city, county
_PLACEHOLDERS = ("县", "省直辖县", "自治区直辖县级行政区划")  # what the code list puts where there is no city


def in_force(model: Any, day: date) -> sa.ColumnElement[bool]:
    """Whether an entry with `valid_from` and `valid_to` counts on that day; both days are part of it."""
    return sa.and_(
        sa.or_(model.valid_from.is_(None), model.valid_from <= day),
        sa.or_(model.valid_to.is_(None), model.valid_to >= day),
    )


def at_work(day: date) -> sa.ColumnElement[bool]:
    """Whether a practitioner is here on that day: who has left is asked for nothing new."""
    return sa.and_(Practitioner.is_active, in_force(Practitioner, day))


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
        .where(Practitioner.department_id == Department.id, at_work(local_date(work.clock.now())))
        .scalar_subquery()
    )
    parent = aliased(Department)
    statement: sa.Select[Any] = (
        sa.select(
            Department, head.name.label("head_name"), members.label("members"), Campus.name.label("campus_name"),
            parent.name.label("parent_name"),
        )
        .outerjoin(head, head.id == Department.head_id)
        .outerjoin(Campus, Campus.id == Department.campus_id)
        .outerjoin(parent, parent.id == Department.parent_id)
    )  # fmt: skip
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


def counties_near(work: Work, home: str | None) -> list[str]:
    """The counties of the hospital's province as they are written on a letter: what an address form offers."""
    codes = work.scalars(
        sa.select(Region.code).where(
            Region.level == "county",
            in_force(Region, local_date(work.clock.now())),
            Region.code.startswith((home or "")[:2], autoescape=True),
        )
    )
    return sorted(region_names(work, codes).values()) if home else []


def region_by_name(work: Work, text: str) -> str | None:
    """The code of a region as on a letter (浙江省杭州市西湖区), or of its six digits; None where there is none."""
    text = "".join(text.split())
    rows = work.scalars(
        sa.select(Region.code).where(
            in_force(Region, local_date(work.clock.now())),
            sa.or_(Region.code == text, sa.literal(text).endswith(Region.name)),
        )
    )
    names = region_names(work, rows)
    return next((code for code in rows if text in (code, names.get(code))), None)


# ── for the pages that change it ────────────────────────────────────────────

REGIONS_SHOWN = 100


def list_campuses(work: Work) -> Sequence[sa.Row[Any]]:
    """Every campus with `departments`, by code."""
    departments = (
        sa.select(sa.func.count())
        .select_from(Department)
        .where(Department.campus_id == Campus.id)
        .correlate(Campus)
        .scalar_subquery()
    )
    return work.execute(sa.select(Campus, departments.label("departments")).order_by(Campus.code)).all()


def find_regions(work: Work, *, words: str = "", only_ended: bool = False) -> Sequence[sa.Row[Any]]:
    """Regions whose code begins so or whose name holds the words, with `parent_name`; the first hundred by code."""
    parent = aliased(Region)
    statement = sa.select(Region, parent.name.label("parent_name")).outerjoin(
        parent, parent.code == Region.parent_code
    )
    if words.isdigit():
        statement = statement.where(Region.code.startswith(words, autoescape=True))
    elif words:
        statement = statement.where(Region.name.contains(words, autoescape=True))
    if only_ended:
        statement = statement.where(Region.valid_to < local_date(work.clock.now()))
    return work.execute(statement.order_by(Region.code).limit(REGIONS_SHOWN)).all()


def choices_of(work: Work, kind: str, *, code_kind: str = "") -> dict[str, list[tuple[str, str]]]:
    """What fields that name another entry may be set to, by field."""
    departments = [
        (row.id, row.name)
        for row in work.execute(
            sa.select(Department.id, Department.name).order_by(Department.name, Department.id)
        )
    ]
    if kind == "practitioner":
        return {"department_id": departments}
    if kind == "department":
        return {
            "campus_id": [(row.id, row.name) for row in _campuses(work)],
            "parent_id": departments,
            "head_id": _staff_choices(work),
            "specialty_code": [(code, f"{code} {name}") for code, name in specialties().items()],
        }
    if kind in ("duty", "schedule"):
        found = {
            "department_id": departments,
            "campus_id": [(row.id, row.name) for row in _campuses(work)],
            "practitioner_id": _staff_choices(work),
        }
        if kind == "schedule":
            found |= {"session": _members(Session), "clinic_type": _members(ClinicType)}
        return found
    if kind == "code_map" and code_kind in CODE_KINDS:
        words = CODE_KINDS[code_kind].words
        if words is not None:
            return {"target": [(word, label) for word, label in words.items()]}
        if code_kind == "department":
            rows = work.execute(sa.select(Department.code, Department.name).order_by(Department.name))
            return {"target": [(row.code, f"{row.name}（{row.code}）") for row in rows]}
    return {}


def _campuses(work: Work) -> Sequence[sa.Row[Any]]:
    return work.execute(sa.select(Campus.id, Campus.name).order_by(Campus.code)).all()


def _staff_choices(work: Work) -> list[tuple[str, str]]:
    rows = work.execute(
        sa.select(Practitioner.id, Practitioner.name, Practitioner.code)
        .where(at_work(local_date(work.clock.now())), Practitioner.merged_into_id.is_(None))
        .order_by(Practitioner.name, Practitioner.id)
        .limit(limits.LISTED_STAFF)
    )
    return [(row.id, f"{row.name}（{row.code}）") for row in rows]


def _members(words: type[LabelledEnum]) -> list[tuple[str, str]]:
    return [(one.value, one.label) for one in words]


def all_departments(work: Work) -> Sequence[sa.Row[Any]]:
    """`id` and `name` of every department in use, by name."""
    statement = sa.select(Department.id, Department.name).where(Department.is_active)
    return work.execute(statement.order_by(Department.name, Department.id)).all()


def name_references(work: Work, keys: Collection[str]) -> dict[str, str]:
    """What entries of these keys are called."""
    if not keys:
        return {}
    found: dict[str, str] = {}
    for model in (Campus, Department, Practitioner):
        rows = work.execute(sa.select(model.id, model.name).where(model.id.in_(sorted(keys))))
        found |= {row.id: row.name for row in rows}
    return found
