"""The weighted rule for people: which two archives may be one person. `config/matching.yaml`, as data.

Pure: it compares what is known of two people and says why. Nothing is ever merged by it (docs/decisions/0013).
"""

from collections.abc import Set
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Annotated, Any, Self

from pydantic import Field, Strict, model_validator

from hcrm.archive.terms import Sex
from hcrm.core.db import LabelledEnum
from hcrm.core.definition_file import Definition, DefinitionPart, Text, parse_definition
from hcrm.core.definitions import latest_definitions
from hcrm.core.errors import HcrmError
from hcrm.core.work import Work

KIND = CODE = "matching"
Points = Annotated[int, Strict(), Field(ge=0, le=1000)]
Against = Annotated[int, Strict(), Field(ge=-1000, le=0)]


class MatchField(LabelledEnum):
    """What is compared of two archives."""

    ID_NUMBER = "id_number", "证件号"
    NAME = "name", "姓名"
    PINYIN = "pinyin", "姓名读音"
    BIRTH_DATE = "birth_date", "出生日期"
    SEX = "sex", "性别"
    PHONE = "phone", "电话"
    ADDRESS_REGION = "address_region", "地址区域"
    MOTHER = "mother", "母亲"
    TOLD = "told", "HIS 告知"


class Outcome(LabelledEnum):
    """What comparing one field came to."""

    SAME = "same", "相同"
    SIMILAR = "similar", "相近"
    DIFFERENT = "different", "不同"
    UNKNOWN = "unknown", "无法比较"


class Guard(LabelledEnum):
    """Why a pair is never proposed, whatever agrees."""

    TWINS = "twins", "同日出生，可能是双胞胎"
    MOTHER = "mother", "母亲与子女"


class Weight(DefinitionPart):
    """What one field says for and against."""

    same: Points
    similar: Points = 0
    different: Against = 0


class MatchingRule(Definition):
    """The rule of one version."""

    possible: Annotated[int, Strict(), Field(ge=1)]
    likely: Annotated[int, Strict(), Field(ge=1)]
    fields: dict[MatchField, Weight]
    newborn_words: Annotated[tuple[Text, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if missing := [each.value for each in MatchField if each not in self.fields]:
            raise ValueError(f"fields 缺少 {'、'.join(missing)}")
        if self.likely < self.possible:
            raise ValueError("likely 不能低于 possible")
        if any(weight.similar > weight.same for weight in self.fields.values()):
            raise ValueError("similar 不能高于 same")
        family = (MatchField.PHONE, MatchField.SEX, MatchField.ADDRESS_REGION, MatchField.MOTHER)
        shared = sum(self.fields[each].same for each in family)
        if shared >= self.possible:
            raise ValueError("一家人共有的项目（电话、性别、区域、母亲）合计须低于 possible")
        twins = self.fields[MatchField.BIRTH_DATE].same + self.fields[MatchField.NAME].different
        if shared + twins >= self.possible:
            raise ValueError("姓名不同的双胞胎合计须低于 possible")
        return self


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of one person, as it is compared: numbers by their blind index, never in clear."""

    patient_id: str = ""
    name: str = ""
    pinyin: str = ""
    birth_date: date | None = None
    sex: Sex = Sex.UNKNOWN
    citizen_ids: Set[str] = frozenset()
    other_ids: Set[str] = frozenset()
    phones: Set[str] = frozenset()
    regions: Set[str] = frozenset()
    mothers: Set[str] = frozenset()
    told_same: Set[str] = frozenset()  # archives the HIS links with this one (A24)


@dataclass(frozen=True, slots=True)
class EvidenceLine:
    """One field, what came of it, and what it counts."""

    field: MatchField
    outcome: Outcome
    points: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why two archives may, or may not, be one person."""

    score: int
    lines: tuple[EvidenceLine, ...]
    guard: Guard | None = None

    @property
    def fingerprint(self) -> str:
        """Changes when a decision has to be thought over: another outcome of any field."""
        return " ".join(f"{line.field.value}:{line.outcome.value}" for line in self.lines)

    def stored(self) -> list[Any]:
        """As the pair's row keeps it."""
        return [[line.field.value, line.outcome.value, line.points] for line in self.lines]


def read_evidence(stored: list[Any]) -> tuple[EvidenceLine, ...]:
    """The lines of a pair's row."""
    return tuple(EvidenceLine(MatchField(name), Outcome(outcome), points) for name, outcome, points in stored)


def published_rule(work: Work) -> MatchingRule:
    """The rule in force."""
    row = latest_definitions(work, kind=KIND).get(CODE)
    if row is None:
        raise HcrmError("definition.matching_missing", "没有发布疑似重复的比对规则，请运行 hcrm init")
    return _parsed(row.body)


@lru_cache(maxsize=8)
def _parsed(body: str) -> MatchingRule:
    return parse_definition(MatchingRule, body, KIND)


def weigh(rule: MatchingRule, one: Profile, other: Profile, *, shared: Set[str] = frozenset()) -> Evidence:
    """Compare two people. `shared`: phones so many archives have that they say nothing of anybody."""
    comparing = _Comparison(rule, one, other, shared)
    lines = []
    for name in MatchField:
        outcome = comparing.outcome(name)
        weight = rule.fields[name]
        points = {
            Outcome.SAME: weight.same,
            Outcome.SIMILAR: weight.similar,
            Outcome.DIFFERENT: weight.different,
        }
        lines.append(EvidenceLine(name, outcome, points.get(outcome, 0)))
    score = sum(line.points for line in lines)
    guard = comparing.guard()
    return Evidence(min(score, rule.possible - 1) if guard else score, tuple(lines), guard)


@dataclass(slots=True)
class _Comparison:
    rule: MatchingRule
    one: Profile
    other: Profile
    shared: Set[str]
    is_unnamed: tuple[bool, bool] = field(init=False)

    def __post_init__(self) -> None:
        words = self.rule.newborn_words
        self.is_unnamed = (
            any(word in self.one.name for word in words),
            any(word in self.other.name for word in words),
        )

    def outcome(self, name: MatchField) -> Outcome:
        compare = {
            MatchField.ID_NUMBER: self._id_number,
            MatchField.NAME: self._name,
            MatchField.PINYIN: self._pinyin,
            MatchField.BIRTH_DATE: self._birth_date,
            MatchField.SEX: self._sex,
            MatchField.PHONE: self._phone,
            MatchField.ADDRESS_REGION: lambda: _common(self.one.regions, self.other.regions),
            MatchField.MOTHER: lambda: _common(self.one.mothers, self.other.mothers),
            MatchField.TOLD: self._told,
        }
        return compare[name]()

    def guard(self) -> Guard | None:
        if self.one.patient_id in self.other.mothers or self.other.patient_id in self.one.mothers:
            return Guard.MOTHER
        same_day = self.one.birth_date is not None and self.one.birth_date == self.other.birth_date
        if not same_day or self._id_number() is Outcome.SAME or self._told() is Outcome.SAME:
            return None
        siblings = not self.one.mothers.isdisjoint(self.other.mothers)
        if all(self.is_unnamed) or (siblings and self._name() is not Outcome.SAME):
            return Guard.TWINS
        return None

    def _id_number(self) -> Outcome:
        one, other = self.one, self.other
        if not (one.citizen_ids | one.other_ids).isdisjoint(other.citizen_ids | other.other_ids):
            return Outcome.SAME
        return Outcome.DIFFERENT if one.citizen_ids and other.citizen_ids else Outcome.UNKNOWN

    def _name(self) -> Outcome:
        one, other = self.one.name, self.other.name
        if not one or not other or any(self.is_unnamed):
            return Outcome.UNKNOWN
        if one == other:
            return Outcome.SAME
        return Outcome.SIMILAR if self._sounds_alike() else Outcome.DIFFERENT

    def _pinyin(self) -> Outcome:
        """Counted where the characters differ: a name misheard at a desk."""
        return Outcome.SAME if self._name() is Outcome.SIMILAR else Outcome.UNKNOWN

    def _sounds_alike(self) -> bool:
        return bool(self.one.pinyin) and self.one.pinyin == self.other.pinyin

    def _birth_date(self) -> Outcome:
        one, other = self.one.birth_date, self.other.birth_date
        if one is None or other is None:
            return Outcome.UNKNOWN
        if one == other:
            return Outcome.SAME
        return Outcome.SIMILAR if _is_slip(one.isoformat(), other.isoformat()) else Outcome.DIFFERENT

    def _sex(self) -> Outcome:
        told = (Sex.MALE, Sex.FEMALE)
        if self.one.sex not in told or self.other.sex not in told:
            return Outcome.UNKNOWN
        return Outcome.SAME if self.one.sex is self.other.sex else Outcome.DIFFERENT

    def _phone(self) -> Outcome:
        return _common(self.one.phones - self.shared, self.other.phones - self.shared)

    def _told(self) -> Outcome:
        linked = self.one.patient_id in self.other.told_same or self.other.patient_id in self.one.told_same
        return Outcome.SAME if linked else Outcome.UNKNOWN


def _common(one: Set[str], other: Set[str]) -> Outcome:
    if not one or not other:
        return Outcome.UNKNOWN
    return Outcome.DIFFERENT if one.isdisjoint(other) else Outcome.SAME


def _is_slip(one: str, other: str) -> bool:
    """Whether one digit of two dates is wrong, or month and day changed places."""
    wrong = sum(a != b for a, b in zip(one, other, strict=True))
    return wrong == 1 or (one[:4] == other[:4] and (one[5:7], one[8:]) == (other[8:], other[5:7]))
