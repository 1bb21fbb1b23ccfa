"""Conditions of rules as a person reads them: 诊断 以…开头 E10、E11."""

from collections.abc import Iterable

from hcrm.centre.conditions import Condition

_FACT_WORDS = {
    "diagnosis.code": "诊断",
    "diagnosis.main_code": "主要诊断",
    "procedure.code": "手术操作",
    "department.name": "科室名称",
    "department.code": "科室编码",
    "department.specialty": "诊疗科目",
    "patient.age": "年龄",
    "patient.sex": "性别",
    "discharge.way": "离院方式",
}
_WORDS = {"at_least": "至少", "below": "小于", "contains": "含"}


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
