"""What is known of people as the weighted rule compares it, and who has a number or a birth date in common with whom.

Pairs are found by keys with an index only: ID numbers, phones, birth date with the sound of the name, what the HIS
links. A value that more archives have than `limits.PAIR_BLOCK` leads nowhere: it would be a self-join over everything.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from hcrm.archive.identity.matching_rule import Profile
from hcrm.archive.models import (
    Address,
    ContactPoint,
    IdentifierKind,
    LinkKind,
    Patient,
    PatientIdentifier,
    PatientLink,
)
from hcrm.core import limits
from hcrm.core.work import Work

_CHUNK = 500
_NUMBERS = (IdentifierKind.CITIZEN, IdentifierKind.OTHER)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Who shares a key with whom, and the phones that too many share."""

    pairs: frozenset[tuple[str, str]]  # smaller key first
    shared_phones: frozenset[str]
    shared: int  # values of any kind that too many archives have


def load_profiles(work: Work, patient_ids: Iterable[str]) -> dict[str, Profile]:
    """Those of the archives that stand: neither merged nor deleted by their sender, nor for testing."""
    found: dict[str, Profile] = {}
    for ids in _chunks(sorted(set(patient_ids))):
        people = work.execute(
            sa.select(Patient.id, Patient.name, Patient.name_pinyin, Patient.birth_date, Patient.sex).where(
                Patient.id.in_(ids), *_live(Patient)
            )
        ).all()
        numbers, phones = (
            _numbers_of(work, ids),
            _values_of(work, ids, ContactPoint, ContactPoint.value_index),
        )
        regions = _values_of(work, ids, Address, Address.region_code)
        mothers, told = _links_of(work, ids)
        for row in people:
            found[row.id] = Profile(
                patient_id=row.id, name=row.name, pinyin=row.name_pinyin, birth_date=row.birth_date, sex=row.sex,
                citizen_ids=numbers[row.id, IdentifierKind.CITIZEN], other_ids=numbers[row.id, IdentifierKind.OTHER],
                phones=phones[row.id], regions=regions[row.id], mothers=mothers[row.id], told_same=told[row.id],
            )  # fmt: skip
    return found


def find_neighbours(work: Work, ids: Collection[str], *, only_lower: bool = False) -> Neighbours:
    """Who shares a key with these archives.

    `only_lower`: with an archive of a smaller key, so that a run over all meets each pair once.
    """
    own, other = aliased(Patient), aliased(Patient)
    same_birth = sa.and_(other.birth_date == own.birth_date, other.name_pinyin == own.name_pinyin)
    has_birth = (own.birth_date.is_not(None), own.name_pinyin != "")
    pairs: set[tuple[str, str]] = set()
    shared_phones: set[str] = set()
    shared = 0
    wanted = sorted(ids)
    for mine, yours, key, meets, where in (
        (own, other, own.name_pinyin, same_birth, has_birth),
        *_by_values(),
    ):
        is_own = (mine.id if mine is own else mine.patient_id).in_(wanted)
        too_many = sa.select(sa.literal(1)).where(meets, *_live(yours)).limit(1).offset(limits.PAIR_BLOCK)
        # Correlated with `mine`: whether there is one row more than the limit, found by the index.
        is_shared = too_many.correlate(mine).scalar_subquery().is_not(None)
        frequent = work.scalars(sa.select(key).where(is_own, *_live(mine), *where, is_shared).distinct())
        shared += len(frequent)
        if mine is not own and _is_phone(mine):
            shared_phones.update(frequent)
        my_id, your_id = (mine.id, yours.id) if mine is own else (mine.patient_id, yours.patient_id)
        beside = your_id < my_id if only_lower else your_id != my_id
        rows = work.execute(
            sa.select(my_id, your_id)
            .join(yours, meets)
            .where(is_own, *_live(mine), *_live(yours), *where, beside, ~is_shared)
        )
        pairs |= {(min(row), max(row)) for row in rows}
    return Neighbours(frozenset(pairs | _linked(work, wanted, only_lower)), frozenset(shared_phones), shared)


def _by_values() -> Iterator[tuple[Any, Any, Any, Any, tuple[Any, ...]]]:
    mine, yours = aliased(PatientIdentifier), aliased(PatientIdentifier)
    yield mine, yours, mine.value_index, yours.value_index == mine.value_index, (mine.kind.in_(_NUMBERS),)
    phone, other = aliased(ContactPoint), aliased(ContactPoint)
    yield phone, other, phone.value_index, other.value_index == phone.value_index, (phone.system == "phone",)


def _is_phone(alias: Any) -> bool:
    return bool(sa.inspect(alias).mapper.class_ is ContactPoint)


def _live(alias: Any) -> tuple[Any, ...]:
    if sa.inspect(alias).mapper.class_ is Patient:
        return alias.merged_into_id.is_(None), ~alias.is_nullified, ~alias.is_test
    return (alias.ended_at.is_(None),)


def _linked(work: Work, ids: Sequence[str], only_lower: bool) -> set[tuple[str, str]]:
    """Those the HIS says are the same person (A24)."""
    pairs = set()
    for here, there in (
        (PatientLink.patient_id, PatientLink.other_id),
        (PatientLink.other_id, PatientLink.patient_id),
    ):
        rows: Iterable[Any] = work.execute(
            sa.select(here, there).where(
                here.in_(ids), PatientLink.kind == LinkKind.SAME_PERSON, PatientLink.ended_at.is_(None)
            )
        )
        pairs |= {
            (min(row), max(row)) for row in rows if row[0] != row[1] and (not only_lower or row[1] < row[0])
        }
    return pairs


def _numbers_of(work: Work, ids: Sequence[str]) -> Mapping[tuple[str, IdentifierKind], frozenset[str]]:
    found: dict[tuple[str, IdentifierKind], set[str]] = defaultdict(set)
    for row in work.execute(
        sa.select(PatientIdentifier.patient_id, PatientIdentifier.kind, PatientIdentifier.value_index).where(
            PatientIdentifier.patient_id.in_(ids),
            PatientIdentifier.kind.in_(_NUMBERS),
            PatientIdentifier.ended_at.is_(None),
        )
    ):
        found[row.patient_id, row.kind].add(row.value_index)
    return defaultdict(frozenset, {key: frozenset(values) for key, values in found.items()})


def _values_of(work: Work, ids: Sequence[str], model: Any, column: Any) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    where = [model.system == "phone"] if model is ContactPoint else []
    rows: Iterable[Any] = work.execute(
        sa.select(model.patient_id, column).where(
            model.patient_id.in_(ids), model.ended_at.is_(None), column.is_not(None), *where
        )
    )
    for row in rows:
        found[row[0]].add(row[1])
    return defaultdict(frozenset, {key: frozenset(values) for key, values in found.items()})


def _links_of(
    work: Work, ids: Sequence[str]
) -> tuple[Mapping[str, frozenset[str]], Mapping[str, frozenset[str]]]:
    """Mothers, and whom the HIS says to be the same person."""
    links: dict[LinkKind, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in work.execute(
        sa.select(PatientLink.patient_id, PatientLink.other_id, PatientLink.kind).where(
            PatientLink.patient_id.in_(ids),
            PatientLink.kind.in_((LinkKind.MOTHER, LinkKind.SAME_PERSON)),
            PatientLink.ended_at.is_(None),
        )
    ):
        links[row.kind][row.patient_id].add(row.other_id)
    mothers, told = (
        defaultdict(frozenset, {key: frozenset(values) for key, values in links[kind].items()})
        for kind in (LinkKind.MOTHER, LinkKind.SAME_PERSON)
    )
    return mothers, told


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK))


def find_like(work: Work, typed: Profile) -> Neighbours:
    """Who shares a key with somebody who has no archive yet: pairs with an empty first key."""
    is_number, is_phone = PatientIdentifier.kind.in_(_NUMBERS), ContactPoint.system == "phone"
    searches: list[tuple[sa.Select[Any], str | None]] = [
        *(
            (_holders(PatientIdentifier, is_number, index), None)
            for index in typed.citizen_ids | typed.other_ids
        ),
        *((_holders(ContactPoint, is_phone, index), index) for index in typed.phones),
    ]
    if typed.birth_date and typed.pinyin:
        same = (Patient.birth_date == typed.birth_date, Patient.name_pinyin == typed.pinyin)
        searches.append((sa.select(Patient.id).where(*same, *_live(Patient)), None))
    pairs: set[tuple[str, str]] = set()
    shared: set[str] = set()
    for statement, phone in searches:
        found = work.scalars(statement.limit(limits.PAIR_BLOCK + 1))
        if len(found) <= limits.PAIR_BLOCK:
            pairs |= {("", key) for key in found}
        elif phone:
            shared.add(phone)
    return Neighbours(frozenset(pairs), frozenset(shared), len(shared))


def _holders(model: Any, kind: Any, index: str) -> sa.Select[Any]:
    return sa.select(model.patient_id).where(model.value_index == index, kind, model.ended_at.is_(None))
