"""Finding patients: one box for names, pinyin, record and visit numbers, phones and ID numbers.

What the words are taken for, in this order: a number that is somebody's; any part of a name; the beginning of its
spelling. Numbers and parts of names list the newest archive first, spellings go by the alphabet, a list narrowed by
stays by the newest stay that fits, any other by the latest change. What was typed never goes to a log, an address or
the audit; audit notes by what kind of words it was searched and whom it showed. How it stays fast: ADR 0012.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased, load_only

from hcrm.archive.models import Patient
from hcrm.archive.names.models import PART, SPELLING, NameToken
from hcrm.archive.names.tokens import fold_name
from hcrm.archive.queries import record_list_read
from hcrm.archive.scope import as_value, patient_condition
from hcrm.archive.search.filters import (
    Condition,
    Narrow,
    PatientFilters,
    count_few,
    narrowest,
    patient_conditions,
)
from hcrm.archive.search.lines import PatientLine, patient_lines
from hcrm.archive.search.stays import newest_stays
from hcrm.archive.search.words import Way, Words, owners_by_number, read_words
from hcrm.core import limits
from hcrm.core.work import Work
from hcrm.web.paging import Page, keyset_page

_SHOWN = (Patient.id, Patient.name, Patient.sex, Patient.birth_date, Patient.deceased)  # what a line tells
_AFTER_Z = "{"  # the character behind z: spellings hold letters and digits only


def search_patients(
    work: Work, q: str = "", *, filters: PatientFilters | None = None, key: str | None = None,
    size: int = limits.PAGE_SIZE,
) -> Page[PatientLine]:  # fmt: skip
    """The patients in scope that the words and filters fit; without words, everyone in scope.

    Refuses `search.too_long` and `search.nothing`.
    """
    found = _find(_Asked(work, read_words(q), filters or PatientFilters(), key, size))
    lines = patient_lines(work, found.page.items, found.by_patient)
    record_list_read(
        work, "patient.search", [line.id for line in lines], detail={"by": sorted(way.value for way in found.ways)}
    )  # fmt: skip
    return Page(lines, next_key=found.page.next_key, previous_key=found.page.previous_key)


@dataclass(frozen=True, slots=True)
class _Asked:
    work: Work
    words: Words
    filters: PatientFilters
    key: str | None
    size: int

    def patients(self, patient_id: Any = Patient.id) -> sa.Select[Any]:
        """Everybody the filters and the scope let through, asked of that column."""
        conditions = patient_conditions(self.work, self.filters, patient_id)
        in_scope = None if self.filters.is_about_stays else patient_condition(self.work.actor, patient_id)
        return self.listed().where(*conditions, *([] if in_scope is None else [in_scope]))

    def listed(self) -> sa.Select[Any]:
        """Everybody there is in lists: not merged, not deleted by the sender, no test patient."""
        return (
            sa.select(Patient)
            .options(load_only(*_SHOWN, raiseload=True))
            .where(Patient.merged_into_id.is_(None), ~Patient.is_nullified, ~Patient.is_test)
        )

    def page(self, statement: sa.Select[Any], *order: Any, is_sealed: bool = False) -> Page[Patient]:
        """One page of it; sealed where the order is that of names."""
        return keyset_page(
            self.work, statement, order=order, key=self.key, size=self.size, is_sealed=is_sealed
        )


@dataclass(frozen=True, slots=True)
class _Found:
    page: Page[Patient]
    ways: Sequence[Way] = ()
    by_patient: Mapping[str, Sequence[Way]] = field(default_factory=dict)


def _find(asked: _Asked) -> _Found:
    words = asked.words
    if not words.folded:
        return _Found(_list_all(asked))
    owners = owners_by_number(asked.work, words)
    if owners:
        statement = asked.patients().where(Patient.id.in_(sa.union_all(*owners.values())))
        if not words.spelling or asked.work.scalar(sa.select(statement.exists())):
            page = asked.page(statement, Patient.id.desc())
            if page.items or not words.parts:
                return _Found(page, list(owners), _found_by(asked.work, owners, page.items))
    if words.parts and not _is_spelled(asked):
        return _Found(_find_parts(asked), [*owners, Way.NAME])
    return _Found(_find_spelling(asked), [*owners, Way.SPELLING])


def _is_spelled(asked: _Asked) -> bool:
    """Whether words with signs above their letters are pinyin with its tones: nobody's name has such a piece."""
    if not asked.words.spelling:
        return False
    return not asked.work.scalar(sa.select(_with_part(asked.words.parts[0]).exists()))


def _found_by(
    work: Work, owners: Mapping[Way, sa.Select[Any]], patients: Sequence[Patient]
) -> dict[str, list[Way]]:
    """By which kind of number each of these was found."""
    ids = [patient.id for patient in patients]
    if not ids:
        return {}
    ways = [
        sa.select(sa.literal(way.value).label("way"), owner.subquery().c.patient_id.label("patient_id"))
        for way, owner in owners.items()
    ]
    each = sa.union_all(*ways).subquery()
    found: dict[str, list[Way]] = defaultdict(list)
    for row in work.execute(sa.select(each).where(each.c.patient_id.in_(ids)).distinct()):
        found[row.patient_id].append(Way(row.way))
    order = list(Way)
    return {key: sorted(by, key=order.index) for key, by in found.items()}


# ── without words ───────────────────────────────────────────────────────────


def _list_all(asked: _Asked) -> Page[Patient]:
    if asked.filters.is_about_stays:
        return _list_stays(asked)
    narrow = narrowest(asked.work, asked.filters)
    if narrow is None:
        return asked.page(asked.patients(), Patient.updated_at.desc(), Patient.id.desc())
    # Sorted as a value, not as the column: its index would lead SQLite past everybody else.
    updated_at = sa.func.coalesce(Patient.updated_at, None, type_=Patient.updated_at.type)
    return asked.page(_among(asked, narrow.patients, narrow), updated_at.desc(), Patient.id.desc())


def _list_stays(asked: _Asked) -> Page[Patient]:
    """The patients of the newest stays that fit; who is nobody to be listed is left out of the page."""
    statement, stay_id = newest_stays(asked.work, asked.filters)
    page = keyset_page(asked.work, statement, order=(stay_id.desc(),), key=asked.key, size=asked.size)
    while True:
        listed = {
            patient.id: patient
            for patient in asked.work.scalars(asked.listed().where(Patient.id.in_(page.items)))
        }
        items = [listed[key] for key in page.items if key in listed]
        if items or page.next_key is None:
            return replace(page, items=items)
        page = keyset_page(asked.work, statement, order=(stay_id.desc(),), key=page.next_key, size=asked.size)


def _among(asked: _Asked, keys: sa.Select[Any], narrow: Narrow) -> sa.Select[Any]:
    statement = asked.listed() if narrow.is_exact else asked.patients()
    return statement.where(Patient.id.in_(keys))


# ── names ───────────────────────────────────────────────────────────────────


def _find_parts(asked: _Asked) -> Page[Patient]:
    """The patients whose name holds the words. Pairs of characters may stand apart, so the name itself is looked at."""
    page = _page_of_parts(asked)
    while True:
        items = [patient for patient in page.items if asked.words.folded in fold_name(patient.name)]
        if items or page.next_key is None:
            return replace(page, items=items)
        page = _page_of_parts(replace(asked, key=page.next_key))


def _page_of_parts(asked: _Asked) -> Page[Patient]:
    work, parts = asked.work, asked.words.parts
    narrow = narrowest(work, asked.filters)
    if len(parts) > 1 or narrow:
        most = narrow.count if narrow else limits.SEARCH_SMALL
        counted = [(count_few(work, _with_part(part), most), part) for part in parts]
        counted.sort(key=lambda each: most + 1 if each[0] is None else each[0])
        parts = [part for _, part in counted]
        if narrow and counted[0][0] is None:
            named = narrow.having(*(_has_part(part, narrow.patient_id) for part in parts))
            return asked.page(_among(asked, named, narrow), Patient.id.desc())
    statement = asked.patients(NameToken.patient_id).join(NameToken, NameToken.patient_id == Patient.id)
    statement = statement.where(
        NameToken.kind == PART, NameToken.token == parts[0],
        *(_has_part(part, NameToken.patient_id) for part in parts[1:]),
    )  # fmt: skip
    return asked.page(statement, NameToken.patient_id.desc())


def _with_part(part: str) -> sa.Select[Any]:
    return sa.select(NameToken.patient_id).where(NameToken.kind == PART, NameToken.token == part)


def _has_part(part: str, patient_id: Any) -> Condition:
    other = aliased(NameToken)
    # Between, not equal: so each is looked up, and no planner that takes a set for one row joins all bearers with it.
    is_bearer = other.patient_id.between(patient_id, patient_id)
    having = sa.select(sa.literal(1)).where(other.kind == PART, other.token == part, is_bearer)
    return having.exists()


def _find_spelling(asked: _Asked) -> Page[Patient]:
    """The patients with a spelling that begins so; each once, where the first of their spellings stands."""
    begins = asked.words.spelling

    def fits(token: Any, of: Callable[[Any], Any] = as_value) -> list[Condition]:
        spelling = of(token.token)
        return [of(token.kind) == SPELLING, spelling >= begins, spelling < begins + _AFTER_Z]

    earlier = aliased(NameToken)
    # As values: the few tokens of this patient are looked at, not all that begin so.
    is_first = ~sa.select(sa.literal(1)).where(
        earlier.patient_id == NameToken.patient_id, *fits(earlier), earlier.token < NameToken.token
    ).exists()  # fmt: skip
    beginning = fits(NameToken, _itself)
    narrow = narrowest(asked.work, asked.filters)
    if (
        narrow
        and count_few(asked.work, sa.select(NameToken.patient_id).where(*beginning), narrow.count) is None
    ):
        statement = asked.listed() if narrow.is_exact else asked.patients(NameToken.patient_id)
        statement = statement.join(NameToken, NameToken.patient_id == Patient.id)
        statement = statement.where(*fits(NameToken), is_first, NameToken.patient_id.in_(narrow.patients))
        token = as_value(NameToken.token)
        return asked.page(statement, token, NameToken.patient_id, is_sealed=True)
    statement = asked.patients(NameToken.patient_id).join(NameToken, NameToken.patient_id == Patient.id)
    statement = statement.where(*beginning, is_first)
    return asked.page(statement, NameToken.token, NameToken.patient_id, is_sealed=True)


def _itself(column: Any) -> Any:
    return column
