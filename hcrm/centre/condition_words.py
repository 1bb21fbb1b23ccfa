"""Conditions of rules as a person reads them: 诊断 以…开头 E10、E11."""

from collections.abc import Iterable
from dataclasses import dataclass

from hcrm.centre.conditions import EXAMPLES, Condition, comparisons_of
from hcrm.centre.facts import FACTS

_FACT_WORDS = {
    "encounter.class": "就诊类型",
    "discharge.way": "离院方式",
    "department.code": "科室编码",
    "department.name": "科室名称",
    "department.specialty": "诊疗科目",
    "diagnosis.code": "诊断",
    "diagnosis.main_code": "主要诊断",
    "procedure.code": "手术操作",
    "region.code": "住址区划代码",
    "region.relation": "住址远近",
    "patient.age_years": "年龄（岁）",
    "patient.sex": "性别",
}
_WORDS = {"at_least": "至少", "below": "小于", "contains": "含"}


@dataclass(frozen=True, slots=True)
class FactHelp:
    """A fact as the page of the rules explains it."""

    code: str
    label: str
    comparisons: str
    values: str  # those of a closed list, or how an open one is written


def fact_help() -> list[FactHelp]:
    """Every fact a classification rule may ask for; classes themselves are not among them."""
    return [
        FactHelp(
            code, label, "、".join(comparisons_of(FACTS[code].kind)),
            "、".join(FACTS[code].words) or EXAMPLES.get(FACTS[code].kind, ""),
        )
        for code, label in _FACT_WORDS.items()
    ]  # fmt: skip


def condition_words(conditions: Iterable[Condition]) -> str:
    """All of them, which hold together."""
    return "；".join(_said(condition) for condition in conditions)


def _said(condition: Condition) -> str:
    values = condition.model_dump(exclude_none=True, exclude={"fact"})
    name = _FACT_WORDS.get(condition.fact, condition.fact)
    parts = []
    for operator, value in values.items():
        listed = "、".join(str(one) for one in value) if isinstance(value, tuple | list) else str(value)
        parts.append(f"{_WORDS.get(operator, '')} {listed}".strip())
    return f"{name} {'，'.join(parts)}"
