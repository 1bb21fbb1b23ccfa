"""The patient search of the console: what was asked, what it may lead to at once, and why a list is empty."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

import sqlalchemy as sa

from hcrm.archive.search.filters import PatientFilters, StayMark
from hcrm.archive.search.lines import PatientLine
from hcrm.archive.search.patients import search_patients as search_archive
from hcrm.archive.visit_models import EncounterStatus
from hcrm.audit.service import forget_empty
from hcrm.centre.classification_rules import Axis
from hcrm.centre.models import Classification
from hcrm.centre.published import published_rules
from hcrm.core import limits
from hcrm.core.actor import Actor
from hcrm.core.clock import local_date
from hcrm.core.errors import HcrmError
from hcrm.core.inputs import Blank, Day, Input, OptionalText, read_input
from hcrm.core.labels import LabelledEnum
from hcrm.core.text import half_width, is_han
from hcrm.core.work import Work
from hcrm.directory.queries import list_departments
from hcrm.web.paging import Page

LAST_DIGITS = 4
"""Four characters are the end of a phone or ID number, which several people may share."""
STATES = {"registered": "已登记", "deceased": "已故", "contact_ended": "终止联系"}
"""Offered beside the states of a stay: of a visit without a bed, and of the patient."""


class Period(LabelledEnum):
    """When somebody was discharged (出院时间), counted from today; both days are part of it."""

    TODAY = "today", "今天"
    WEEK = "7d", "近 7 天"
    MONTH = "30d", "近 30 天"

    def first(self, today: date) -> date:
        """Its first day."""
        return today - timedelta(days={Period.TODAY: 0, Period.WEEK: 6, Period.MONTH: 29}[self])


class PatientSearch(Input):
    """What the search page is asked with. `q` comes in a form's body only: it must not stand in an address."""

    q: str = ""  # of any length: the archive says in words what is too much
    kept: OptionalText = None  # the key under which the words are kept for this session
    department: OptionalText = None
    disease: OptionalText = None
    region: OptionalText = None
    discharged: Annotated[Period | None, Blank] = None
    since: Annotated[Day | None, Blank] = None
    until: Annotated[Day | None, Blank] = None
    status: Annotated[EncounterStatus | Literal["registered", "deceased", "contact_ended"] | None, Blank] = (
        None
    )
    key: OptionalText = None
    all: OptionalText = None  # everybody, where the role's list opens with a segment
    without: OptionalText = None  # the chip that was pressed: a filter to be cleared

    @property
    def address(self) -> dict[str, Any]:
        """What may stand in the page's address: the filters, never the words."""
        names = ("department", "disease", "region", "discharged", "since", "until", "status")
        found = {name: getattr(self, name) for name in names if name != self.without}
        return {name: str(value) for name, value in found.items() if value}

    def cleared(self) -> "PatientSearch":
        """The same without the filter whose chip was pressed."""
        return read_input(PatientSearch, {"q": self.q, "kept": self.kept or "", **self.address})


@dataclass(frozen=True, slots=True)
class Choices:
    """What the filters offer: code and label."""

    departments: Mapping[str, str]
    diseases: Mapping[str, str]  # without those of restricted view
    regions: Mapping[str, str]


class Emptiness(StrEnum):
    """Why a list shows nothing: three cases with three answers."""

    NONE = "none"  # nobody is there yet
    FILTERED = "filtered"  # words or filters fit nobody
    NO_RIGHT = "no_right"  # this account can never see anybody


@dataclass(frozen=True, slots=True)
class FoundPatients:
    """One page of patients; `only` is the one a full number leads to, `refused` what cannot be taken, by field."""

    page: Page[PatientLine]
    only: PatientLine | None
    emptiness: Emptiness
    refused: Mapping[str, str] = field(default_factory=dict)


def find_patients(
    work: Work, asked: PatientSearch, *, size: int = limits.PAGE_SIZE, is_typing: bool = False
) -> FoundPatients:
    """The patients in scope that were asked for; scope and audit are the archive's.

    `is_typing`: words somebody has not finished, asked at every key; those that show nobody are not noted.
    """
    emptiness = _why_empty(work.actor, asked)
    try:
        page = search_archive(work, asked.q, filters=patient_filters(work, asked), key=asked.key, size=size)
    except HcrmError as error:
        if error.field not in ("q", "until"):
            raise
        return FoundPatients(Page([]), None, emptiness, {error.field: error.message})
    if is_typing and not page.items:
        forget_empty(work, "patient.search")
    is_single = len(page.items) == 1 and page.next_key is None and page.previous_key is None
    only = page.items[0] if is_single and is_full_number(asked.q) else None
    return FoundPatients(page, only, emptiness)


def load_choices(work: Work) -> Choices:
    """Departments in scope, classes the rules in force can give."""
    classes: dict[str, dict[str, str]] = {axis.value: {} for axis in Axis}
    for rules in published_rules(work):
        classes[rules.code] |= {rule.gives: rule.label for rule in rules.rules if not rule.sensitive}
    departments = {row.id: row.name for row in list_departments(work)}
    return Choices(departments, classes[Axis.DISEASE_GROUP], classes[Axis.REGION])


def patient_filters(work: Work, asked: PatientSearch) -> PatientFilters:
    """What the list is narrowed by. A day that is written out stands before the period it lies in.

    Refuses `search.days`, at the field `until`.
    """
    today, first, last = local_date(work.clock.now()), asked.since, asked.until
    if asked.discharged and not (first or last):
        first, last = asked.discharged.first(today), today
    if first and last and first > last:
        raise HcrmError("search.days", "出院日期的起始日不能晚于截止日", field="until")
    return PatientFilters(
        department_id=asked.department,
        status=EncounterStatus(asked.status) if asked.status and asked.status not in STATES else None,
        discharged_from=first,
        discharged_to=last,
        marks=list(_marks(asked)),
        is_deceased=asked.status == "deceased",
        is_stopped=asked.status == "contact_ended",
        is_registered=asked.status == "registered",
    )


def active_filters(asked: PatientSearch, choices: Choices) -> list[tuple[str, str]]:
    """What narrows the list, for its chips: the field and what it says."""
    period = asked.discharged.label + "出院" if asked.discharged and not (asked.since or asked.until) else ""
    said: Sequence[tuple[str, str]] = (
        ("department", choices.departments.get(asked.department or "", "所选科室")),
        ("disease", choices.diseases.get(asked.disease or "", "所选病种")),
        ("region", choices.regions.get(asked.region or "", "所选区域")),
        ("discharged", period),
        ("since", f"出院 {asked.since} 起" if asked.since else ""),
        ("until", f"出院 {asked.until} 止" if asked.until else ""),
        (
            "status",
            STATES.get(asked.status) or EncounterStatus(asked.status).label if asked.status else "",
        ),
    )
    return [(name, label) for name, label in said if name in asked.address and label]


def read_list_filters(work: Work, asked: Mapping[str, str]) -> tuple[PatientFilters, list[str]]:
    """The filters of the list's address, for those who take it out as a file, and what they say."""
    search = read_input(PatientSearch, asked)
    if search.q or search.key or search.without:
        raise HcrmError("export.filter", "导出只带筛选条件，不带搜索内容")
    return patient_filters(work, search), [label for _, label in active_filters(search, load_choices(work))]


def fix_list_filters(work: Work, asked: Mapping[str, str]) -> dict[str, str]:
    """The same with the days themselves: “today” is another day when the file is written."""
    filters, _ = read_list_filters(work, asked)
    days = {"since": filters.discharged_from, "until": filters.discharged_to}
    fixed = {name: value for name, value in asked.items() if name != "discharged"}
    return fixed | {name: day.isoformat() for name, day in days.items() if day}


def _marks(asked: PatientSearch) -> Iterator[StayMark]:
    for axis, code in ((Axis.DISEASE_GROUP, asked.disease), (Axis.REGION, asked.region)):
        if code:
            yield _of_class(axis.value, code, asked.department)


def _of_class(axis: str, code: str, department_id: str | None) -> StayMark:
    """The stays of a class, of one department if asked; of a class that is restricted none, as if there were none."""
    where = [Classification.axis == axis, Classification.code == code, ~Classification.is_sensitive]
    where += [Classification.department_id == department_id] if department_id else []

    def holds(encounter_id: Any) -> sa.ColumnElement[bool]:
        # Between, not equal: so the index of the class is asked, which holds all of it, not that of the stay.
        is_stay = Classification.encounter_id.between(encounter_id, encounter_id)
        return sa.select(sa.literal(1)).where(is_stay, *where).exists()

    return StayMark(sa.select(Classification.encounter_id).where(*where), holds)


def is_full_number(words: str) -> bool:
    """Whether the words can only be a whole number: of a record, a visit, a phone or an ID card."""
    compact = re.sub(r"[\s-]", "", half_width(words))
    return len(compact) != LAST_DIGITS and not is_han(compact) and any(char.isdigit() for char in compact)


def _why_empty(actor: Actor, asked: PatientSearch) -> Emptiness:
    if actor.department_ids is not None and not actor.department_ids and not actor.practitioner_id:
        return Emptiness.NO_RIGHT
    return Emptiness.FILTERED if asked.q or asked.address else Emptiness.NONE
