"""Editing the rules for test patients in the console: what a form says becomes the next version of the definition."""

from collections.abc import Mapping
from typing import Annotated, Any

import yaml
from pydantic import Field

from hcrm.archive.test_patients.rules import (
    CODE,
    KIND,
    TestPatientRules,
    parse_test_rules,
    published_test_rules,
)
from hcrm.archive.test_patients.service import RulePreview, apply_test_rules
from hcrm.core.definitions import lock_definition, publish_definition
from hcrm.core.errors import ConflictError, HcrmError, NotFoundError
from hcrm.core.inputs import Input
from hcrm.core.work import Work

_TITLE = "测试患者规则"
_KINDS = ("contains", "starts", "is", "word")
_LONGEST = 5_000

Lines = Annotated[str, Field(max_length=_LONGEST)]


class TestRuleInput(Input):
    """The rules as people write them: one pattern a line; `base` is the version they were shown."""

    __test__ = False  # no class of tests

    base: int = Field(ge=0)
    contains: Lines = ""
    starts: Lines = ""
    is_: Lines = Field(default="", alias="is")
    word: Lines = ""
    record_numbers: Lines = ""

    def rules(self) -> TestPatientRules:
        """As rules of the version after `base`; refused with a sentence where a line makes none."""
        return parse_test_rules(self.body())

    def body(self) -> str:
        """As the YAML that is published."""
        texts = {"contains": self.contains, "starts": self.starts, "is": self.is_, "word": self.word}
        names = [{kind: line} for kind in _KINDS for line in _lines(texts[kind])]
        definition: dict[str, Any] = {
            "code": CODE, "version": self.base + 1, "status": "signed", "title": _TITLE, "names": names,
            "record_numbers": [_number(line) for line in _lines(self.record_numbers)],
        }  # fmt: skip
        return yaml.safe_dump(definition, allow_unicode=True, sort_keys=False)


def rule_texts(rules: TestPatientRules | None) -> dict[str, Any]:
    """The rules in force as the form shows them."""
    texts: dict[str, Any] = {"base": rules.version if rules else 0}
    for kind in _KINDS:
        name = "is_" if kind == "is" else kind
        texts[kind] = "\n".join(
            getattr(rule, name) for rule in (rules.names if rules else ()) if getattr(rule, name)
        )
    texts["record_numbers"] = "\n".join(
        f"{rule.starts}*" if rule.starts else f"{rule.from_}-{rule.to}"
        for rule in (rules.record_numbers if rules else ())
    )
    return texts


TEMPLATES: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "names": ("常见测试姓名", {"contains": ("测试", "模拟患者", "演示患者"), "word": ("TEST", "CESHI")}),
    "marks": ("姓名上的标记", {"contains": ("（试）", "【试】"), "starts": ("ZZ", "XX")}),
    "numbers": ("病案号区间", {"record_numbers": ("99990000-99999999", "TEST*")}),
}
"""Ready rules by code: what they are called, and lines by field of the form; to be edited before they mean anything."""


def with_template(texts: Mapping[str, Any], code: str) -> dict[str, Any]:
    """What a form holds, with the lines of a ready rule below it; none twice. NotFoundError where there is no such."""
    if code not in TEMPLATES:
        raise NotFoundError
    lines = TEMPLATES[code][1]
    return dict(texts) | {
        field: "\n".join(dict.fromkeys([*_lines(str(texts.get(field) or "")), *ready]))
        for field, ready in lines.items()
    }


def publish_test_rules(work: Work, entered: TestRuleInput) -> RulePreview:
    """Put the rules in force and bring the archive to them; refused where somebody published others meanwhile.

    Only by one who sees patients: nobody else can judge whom the rules take out of care.
    """
    if not work.actor.may("patient.read"):
        raise ConflictError(
            "test_patients.unseen", "使规则生效须由能看到患者的角色（服务中心）操作，请把规则交给他们"
        )
    lock_definition(work, kind=KIND, code=CODE)
    standing = published_test_rules(work)
    version = standing.version if standing else 0
    if version != entered.base:
        raise ConflictError("test_patients.version", f"规则已被改为第 {version} 版，请核对后重新修改")
    rules = entered.rules()
    publish_definition(work, kind=KIND, code=CODE, version=rules.version, body=entered.body())
    return apply_test_rules(work, rules)


def _lines(text: str) -> list[str]:
    return list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))


def _number(line: str) -> dict[str, str]:
    if line.endswith("*"):
        return {"starts": line[:-1]}
    low, dash, high = (part.strip() for part in line.partition("-"))
    if not dash:
        raise HcrmError(
            "test_patients.range", f"“{line}”应写作 99990000-99999999 或 TEST*", field="record_numbers"
        )
    return {"from": low, "to": high}
