"""The patient search of the console: what was typed, what it may lead to at once, and why a list is empty."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from hcrm.archive.search import PatientFilters, PatientLine
from hcrm.archive.search import search_patients as search_archive
from hcrm.archive.visit_models import EncounterStatus
from hcrm.core.actor import Actor
from hcrm.core.inputs import Blank, Input, OptionalText
from hcrm.core.text import half_width, is_han
from hcrm.core.work import Work
from hcrm.web.paging import Page

LAST_DIGITS = 4
"""Four characters are the end of a phone or ID number, which several people may share."""


class PatientSearch(Input):
    """What the search page is asked with. `q` comes in a form's body only: it must not stand in an address."""

    q: Annotated[str, Field(max_length=500)] = ""
    department: OptionalText = None
    status: Annotated[EncounterStatus | None, Blank] = None
    key: OptionalText = None

    @property
    def filters(self) -> PatientFilters:
        """What the list is narrowed by."""
        return PatientFilters(department_id=self.department, status=self.status)

    @property
    def address(self) -> dict[str, str]:
        """What may stand in the page's address: the filters, never the words."""
        return {
            name: value for name, value in (("department", self.department), ("status", self.status)) if value
        }


class Emptiness(StrEnum):
    """Why a list shows nothing: three cases with three answers."""

    NONE = "none"  # nobody is there yet
    FILTERED = "filtered"  # words or filters fit nobody
    NO_RIGHT = "no_right"  # this account can never see anybody


@dataclass(frozen=True, slots=True)
class FoundPatients:
    """One page of patients; `only` is the one a full number leads to."""

    page: Page[PatientLine]
    only: PatientLine | None
    emptiness: Emptiness


def find_patients(work: Work, asked: PatientSearch) -> FoundPatients:
    """The patients in scope that were asked for; scope and audit are the archive's."""
    page = search_archive(work, asked.q, filters=asked.filters, key=asked.key)
    is_single = len(page.items) == 1 and page.next_key is None and page.previous_key is None
    return FoundPatients(
        page=page,
        only=page.items[0] if is_single and is_full_number(asked.q) else None,
        emptiness=_why_empty(work.actor, asked),
    )


def is_full_number(words: str) -> bool:
    """Whether the words can only be a whole number: of a record, a visit, a phone or an ID card."""
    compact = re.sub(r"[\s-]", "", half_width(words))
    return len(compact) != LAST_DIGITS and not is_han(compact) and any(char.isdigit() for char in compact)


def _why_empty(actor: Actor, asked: PatientSearch) -> Emptiness:
    if actor.department_ids is not None and not actor.department_ids and not actor.practitioner_id:
        return Emptiness.NO_RIGHT
    return Emptiness.FILTERED if asked.q or asked.address else Emptiness.NONE
