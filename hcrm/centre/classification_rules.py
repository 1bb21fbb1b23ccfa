"""Sorting a stay by specialty, disease and region: ordered rules from `config/classification/*.yaml`. FHIR: Group."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StrictBool, StringConstraints, model_validator

from hcrm.centre.conditions import Condition, all_hold
from hcrm.centre.facts import FACTS, StayFacts
from hcrm.core.db import LabelledEnum
from hcrm.core.definition_file import (
    Definition,
    DefinitionPart,
    PartCode,
    Text,
    first_repeated,
    load_definitions,
)
from hcrm.core.errors import HcrmError


class Axis(LabelledEnum):
    """What a stay is sorted by."""

    SPECIALTY = "specialty", "专科"
    DISEASE_GROUP = "disease_group", "病种"
    REGION = "region", "区域"


UNCLASSIFIED = "unclassified"
"""Class and rule code of what no rule knows: it is shown as such, never guessed."""
UNCLASSIFIED_LABEL = "未分类"
_REMEMBERED = 16_384

ClassCode = Annotated[str, StringConstraints(pattern=r"^([a-z][a-z0-9_]*|\d{2}(\.\d{2})?)$")]

_AXIS_FACTS = frozenset(("specialty", "disease_group", "disease_group.main", "region"))


class Rule(DefinitionPart):
    """A line of an axis: where every condition holds, the stay belongs to class `gives`."""

    code: PartCode
    gives: ClassCode
    label: Text
    sensitive: StrictBool = Field(default=False, description="restricted view, never named in a message")
    when: Annotated[tuple[Condition, ...], Field(min_length=1)]


class AxisRules(Definition):
    """The rules of one axis in order. The first hit is the class; with `several` the others are kept beside it."""

    code: Axis
    several: StrictBool = False
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        if (repeated := first_repeated([rule.code for rule in self.rules])) is not None:
            raise ValueError(f"规则“{repeated}”重复")
        classes: dict[str, tuple[str, bool]] = {}
        for rule in self.rules:
            if rule.gives == UNCLASSIFIED:
                raise ValueError("“unclassified”留给没有规则命中的情形")
            if classes.setdefault(rule.gives, (rule.label, rule.sensitive)) != (rule.label, rule.sensitive):
                raise ValueError(f"类别“{rule.gives}”有不同的名称或敏感标记")
            if unusable := {condition.fact for condition in rule.when} & _AXIS_FACTS:
                raise ValueError(f"规则“{rule.code}”不能依据分类结果“{unusable.pop()}”")
        return self

    @property
    def classes(self) -> dict[str, str]:
        """Class code to label, as the rules can give them."""
        return {rule.gives: rule.label for rule in self.rules}

    def hits(self, facts: StayFacts) -> "tuple[Hit, ...]":
        """The classes of a stay on this axis, main one first.

        Remembered by the facts the rules read: departments, regions and diagnoses repeat all day, and some fifty
        rules for each message of a busy feed would cost more than storing it.
        """
        key = self._facts_read(facts)
        hits = self._memory.get(key)
        if hits is None:
            if len(self._memory) >= _REMEMBERED:
                self._memory.clear()
            hits = self._memory[key] = _classify_axis(facts, self)
        return hits

    @cached_property
    def _facts_read(self) -> Callable[[StayFacts], Hashable]:
        attributes = {FACTS[line.fact].attribute for rule in self.rules for line in rule.when}
        return attrgetter(*attributes, *(("diagnosis_codes",) if self.several else ()))

    @cached_property
    def _memory(self) -> "dict[Hashable, tuple[Hit, ...]]":
        return {}


@dataclass(frozen=True, slots=True)
class Hit:
    """One class a stay belongs to, and the rule that said so. Every axis has exactly one main hit."""

    axis: Axis
    code: str
    label: str
    rule_code: str
    rule_version: int
    is_main: bool = True
    is_sensitive: bool = False


def load_rules(directory: Path) -> tuple[AxisRules, ...]:
    """The rules of every axis, in the order of `Axis`."""
    files = {rules.code: rules for rules in load_definitions(AxisRules, directory)}
    for axis in Axis:
        if axis not in files:
            raise HcrmError(
                "definition.invalid", f"定义目录 {directory.name} 缺少 {axis.value}.yaml（{axis.label}）"
            )
    return tuple(files[axis] for axis in Axis)


def classify(facts: StayFacts, rules: Iterable[AxisRules]) -> list[Hit]:
    """Every class of the stay, main hit first within its axis; an axis without a hit says 未分类.

    With several classes, the main one is the first that the main diagnosis alone supports: an old stroke among the
    other diagnoses must not turn a fracture into a stroke.
    """
    return [hit for axis_rules in rules for hit in axis_rules.hits(facts)]


def add_hits(facts: StayFacts, hits: Sequence[Hit]) -> StayFacts:
    """The facts with their classes, as protocols ask for them."""
    main = {hit.axis: hit.code for hit in hits if hit.is_main}
    groups = tuple(hit.code for hit in hits if hit.axis is Axis.DISEASE_GROUP)
    return replace(
        facts,
        specialty=main.get(Axis.SPECIALTY),
        disease_groups=groups,
        main_disease_group=main.get(Axis.DISEASE_GROUP),
        region=main.get(Axis.REGION),
    )


def _classify_axis(facts: StayFacts, rules: AxisRules) -> tuple[Hit, ...]:
    if not rules.several:
        return (_hit(rules, next((rule for rule in rules.rules if all_hold(rule.when, facts)), None)),)
    matching = [rule for rule in rules.rules if all_hold(rule.when, facts)]
    alone = replace(facts, diagnosis_codes=facts.diagnosis_codes[:1])
    main = next((rule for rule in matching if all_hold(rule.when, alone)), None)
    others: dict[str, Rule] = {}
    for rule in matching:
        if main is None or rule.gives != main.gives:
            others.setdefault(rule.gives, rule)
    return (_hit(rules, main), *(_hit(rules, rule, is_main=False) for rule in others.values()))


def _hit(rules: AxisRules, rule: Rule | None, *, is_main: bool = True) -> Hit:
    if rule is None:
        return Hit(rules.code, UNCLASSIFIED, UNCLASSIFIED_LABEL, UNCLASSIFIED, rules.version)
    return Hit(rules.code, rule.gives, rule.label, rule.code, rules.version, is_main, rule.sensitive)
