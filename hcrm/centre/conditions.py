"""One line of a rule: a fact and exactly one comparison, from a closed vocabulary."""

import operator
import re
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from operator import attrgetter
from typing import Annotated, Any, Self

from pydantic import Field, StrictStr, model_validator

from hcrm.centre.facts import FACTS, FactKind, StayFacts, normal_codes, normal_name
from hcrm.core.definition_file import Count, DefinitionPart, OneOrMore, only_one_of

Words = Annotated[tuple[StrictStr, ...], OneOrMore, Field(min_length=1)]

_ALLOWED: dict[FactKind, tuple[str, ...]] = {
    FactKind.WORD: ("is_", "in_"),
    FactKind.NAME: ("is_", "in_", "contains"),
    FactKind.DIAGNOSIS: ("starts_with",),
    FactKind.PROCEDURE: ("starts_with",),
    FactKind.DIGITS: ("is_", "in_", "starts_with"),
    FactKind.NUMBER: ("at_least", "below"),
}
_PREFIX = {
    FactKind.DIAGNOSIS: (re.compile(r"[A-Z]\d{2}[0-9X]{0,7}"), "ICD-10 编码，例如 E11、J44.0 或 I60-I64"),
    FactKind.PROCEDURE: (re.compile(r"\d{2,8}"), "ICD-9-CM-3 编码，例如 36.07 或 81.51-81.54"),
    FactKind.DIGITS: (re.compile(r"\d{2,6}"), "行政区划代码的前几位，例如 3301"),
}
EXAMPLES = {kind: example for kind, (_, example) in _PREFIX.items()}
"""How the values of a kind of fact are written, where they are no closed list."""
_LARGEST_RANGE = 10_000  # a range is written out in memory
_OPERATORS = ("is_", "in_", "starts_with", "contains", "at_least", "below")


def comparisons_of(kind: FactKind) -> list[str]:
    """What a fact of that kind may be compared by, as rules write it."""
    return [name.rstrip("_") for name in _ALLOWED[kind]]


class Condition(DefinitionPart):
    """A fact that must hold. Of a fact with several values one is enough; an unknown fact never holds."""

    fact: StrictStr
    is_: StrictStr | None = Field(default=None, alias="is")
    in_: Words | None = Field(default=None, alias="in")
    starts_with: Words | None = None
    contains: Words | None = None
    at_least: Count | None = None
    below: Count | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        fact = FACTS.get(self.fact)
        if fact is None:
            raise ValueError(f"没有名为“{self.fact}”的事实，可用：{'、'.join(FACTS)}")
        comparison = only_one_of(self, _OPERATORS)
        if comparison not in _ALLOWED[fact.kind]:
            allowed = "、".join(comparisons_of(fact.kind))
            raise ValueError(f"“{self.fact}”只能用 {allowed} 比较")
        for word in self.wanted:
            if fact.words and word not in fact.words:
                raise ValueError(f"“{self.fact}”没有“{word}”这个值，可用：{'、'.join(fact.words)}")
        for prefix in self.starts_with or ():
            _expand(prefix, fact.kind)
        return self

    @cached_property
    def wanted(self) -> frozenset[str]:
        """The words of `is` and `in`."""
        words = self.in_ or (() if self.is_ is None else (self.is_,))
        is_name = FACTS[self.fact].kind is FactKind.NAME
        return frozenset(normal_name(word) if is_name else word for word in words)

    def holds(self, facts: StayFacts) -> bool:
        """Whether the stay meets this line."""
        return self._test(facts)

    @cached_property
    def _test(self) -> Callable[[StayFacts], bool]:
        """The line made into one function, since every discharge is put to some hundred of them."""
        fact = FACTS[self.fact]
        value_of = attrgetter(fact.attribute)
        meets = self._comparison()
        if fact.many:
            return lambda facts: any(map(meets, value_of(facts)))
        return lambda facts: (value := value_of(facts)) is not None and meets(value)

    def _comparison(self) -> Callable[[Any], bool]:
        """The test of one value."""
        if self.starts_with is not None:
            by_length = _by_length(
                code for prefix in self.starts_with for code in _expand(prefix, FACTS[self.fact].kind)
            )
            return lambda value: any(value[:length] in codes for length, codes in by_length)
        if self.contains is not None:
            search = re.compile("|".join(re.escape(normal_name(part)) for part in self.contains)).search
            return lambda value: search(value) is not None
        if self.at_least is not None:
            return partial(operator.le, self.at_least)
        if self.below is not None:
            return partial(operator.gt, self.below)
        return self.wanted.__contains__


def all_hold(conditions: tuple[Condition, ...], facts: StayFacts) -> bool:
    """Whether every line holds."""
    return all(condition.holds(facts) for condition in conditions)


def _by_length(codes: Iterable[str]) -> tuple[tuple[int, frozenset[str]], ...]:
    """Prefixes by length: one set look-up per length instead of a scan."""
    every = set(codes)
    lengths = sorted({len(code) for code in every})
    return tuple((length, frozenset(code for code in every if len(code) == length)) for length in lengths)


def _expand(prefix: str, kind: FactKind) -> list[str]:
    """`I60-I64` becomes its five prefixes; both ends are equally long and in order."""
    pattern, example = _PREFIX[kind]
    ends = [code for end in prefix.split("-") for code in normal_codes(end)]
    if len(ends) not in (1, 2) or prefix.count("-") != len(ends) - 1 or not all(map(pattern.fullmatch, ends)):
        raise ValueError(f"“{prefix}”不是{example}")
    if len(ends) == 1:
        return ends
    width = len(ends[0])
    low, high = map(_ordinal, ends)
    if len(ends[1]) != width or low >= high or not all(end[1:].isdigit() for end in ends):
        raise ValueError(f"“{prefix}”的起止须一样长并从小到大")
    if high - low >= _LARGEST_RANGE:
        raise ValueError(f"“{prefix}”范围过大，请写得短一些，例如只写前三位")
    return [_code(number, width, ends[0][0].isalpha()) for number in range(low, high + 1)]


def _ordinal(code: str) -> int:
    """A code as a number, its letter as the leading digits: T00 follows S99."""
    first = ord(code[0]) - ord("A") if code[0].isalpha() else int(code[0])
    return int(f"{first}{code[1:]}") if code[1:].isdigit() else -1


def _code(number: int, width: int, lettered: bool) -> str:
    if not lettered:
        return str(number).zfill(width)
    letter, rest = divmod(number, 10 ** (width - 1))
    return chr(ord("A") + letter) + str(rest).zfill(width - 1)
