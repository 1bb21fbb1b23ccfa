"""Which archives are test patients' (测试患者): rules over names and record numbers, written as data."""

import re
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from typing import Self

from pydantic import Field, model_validator

from hcrm.core import limits
from hcrm.core.definition_file import Definition, DefinitionPart, Text, only_one_of, parse_definition
from hcrm.core.definitions import latest_definitions
from hcrm.core.text import half_width
from hcrm.core.work import Work

KIND = CODE = "test_patients"
_FOLDED = re.compile(r"[^\W\d_A-Za-z\u2e80-\U0003ffff]")  # letters whose case databases do not agree upon
_WORD = re.compile(r"[A-Z]+")
_SHORTEST = 2
"""Characters of a pattern that is not a whole name; a single one would make test patients of half the archive."""


class NameRule(DefinitionPart):
    """A pattern of names. Case, width and blanks do not count."""

    contains: Text | None = None
    starts: Text | None = None
    is_: Text | None = Field(default=None, alias="is")
    word: Text | None = None

    @model_validator(mode="after")
    def _one_pattern(self) -> Self:
        kind = only_one_of(self, ("contains", "starts", "is_", "word"))
        text = normal(getattr(self, kind))
        if kind == "word" and not _WORD.fullmatch(text):
            raise ValueError("word 只写西文字母")
        if len(text) < _SHORTEST:
            raise ValueError(f"至少 {_SHORTEST} 个字，否则会误伤真实患者")
        return self

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Over a name as `normal` writes it."""
        if self.word is not None:
            return re.compile(rf"(?<![A-Z]){re.escape(normal(self.word))}(?![A-Z])")
        text = re.escape(normal(self.contains or self.starts or self.is_ or ""))
        if self.contains is not None:
            return re.compile(text)
        return re.compile(rf"\A{text}" if self.starts is not None else rf"\A{text}\Z")

    @property
    def says(self) -> str:
        """As a person reads it."""
        words = {"contains": "姓名含", "starts": "姓名开头是", "is_": "姓名是", "word": "姓名有单词"}
        return next(f"{word}“{getattr(self, name)}”" for name, word in words.items() if getattr(self, name))


class NumberRule(DefinitionPart):
    """A range of record numbers: those of the same length between two, or all that start so."""

    from_: Text | None = Field(default=None, alias="from")
    to: Text | None = None
    starts: Text | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        only_one_of(self, ("from_", "starts"))
        if self.starts is not None and len(self.starts) < _SHORTEST:
            raise ValueError(f"至少 {_SHORTEST} 个字符，否则会误伤真实患者")
        if (self.from_ is None) is not (self.to is None):
            raise ValueError("from 与 to 须同时写")
        if self.from_ and self.to and (len(self.from_) != len(self.to) or self.from_ > self.to):
            raise ValueError("from 与 to 须等长，且 from 不大于 to")
        return self

    def fits(self, number: str) -> bool:
        """Whether a record number, as `normal` writes it, is one of these."""
        if self.starts is not None:
            return number.startswith(normal(self.starts))
        low, high = normal(self.from_ or ""), normal(self.to or "")
        return len(number) == len(low) and low <= number <= high

    @property
    def says(self) -> str:
        """As a person reads it."""
        return f"病案号以 {self.starts} 开头" if self.starts else f"病案号 {self.from_} 至 {self.to}"


class TestPatientRules(Definition):
    """The rules of one version; an archive that fits any of them is a test patient's."""

    __test__ = False  # no class of tests

    names: tuple[NameRule, ...] = Field(default=(), max_length=limits.TEST_PATIENT_RULES)
    record_numbers: tuple[NumberRule, ...] = Field(default=(), max_length=limits.TEST_PATIENT_RULES)

    @model_validator(mode="after")
    def _own_code(self) -> Self:
        if self.code != CODE:
            raise ValueError(f"code 应为 {CODE}")
        return self

    @property
    def says(self) -> list[str]:
        """Each rule as a person reads it."""
        return [*(rule.says for rule in self.names), *(rule.says for rule in self.record_numbers)]

    def needles(self) -> list[str]:
        """What a name must hold to fit any rule, in lower case: a database may look for it first."""
        texts = [rule.contains or rule.starts or rule.is_ or rule.word or "" for rule in self.names]
        return ["" if _FOLDED.search(text) else normal(text).lower() for text in texts]

    def reason(self, name: str, numbers: Iterable[str]) -> str | None:
        """The first rule that fits this name or one of these record numbers, as a person reads it; None: none does."""
        return next(self.reasons(name, numbers), None)

    def reasons(self, name: str, numbers: Iterable[str]) -> Iterator[str]:
        """Every rule that fits."""
        written = normal(name)
        yield from (rule.says for rule in self.names if rule.pattern.search(written))
        if self.record_numbers:
            all_numbers = [normal(number) for number in numbers]
            for range_ in self.record_numbers:
                if any(range_.fits(number) for number in all_numbers):
                    yield range_.says


def normal(text: str) -> str:
    """Half width, upper case, without blanks around it; blanks between Latin words stay, they part them."""
    return half_width(text).strip().upper()


def published_test_rules(work: Work) -> TestPatientRules | None:
    """The rules in force; None where none were published, and no archive is a test patient's by rule."""
    row = latest_definitions(work, kind=KIND).get(CODE)
    return parse_test_rules(row.body) if row else None


@lru_cache(maxsize=8)
def parse_test_rules(body: str) -> TestPatientRules:
    """The rules of a published body; published rows never change."""
    return parse_definition(TestPatientRules, body, KIND)
