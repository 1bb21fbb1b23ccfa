"""Classification rules written in the console: a draft of one axis, checked, compared, published, taken back.

The text of the file is kept as people wrote it, comments too; only its `version:` line is ours. What is published never
changes: taking back publishes the text of an earlier version under a new number.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from hcrm.audit.service import record_audit
from hcrm.centre.classification_rules import Axis, AxisRules, Rule
from hcrm.centre.condition_words import condition_words
from hcrm.centre.protocols import require_known_codes
from hcrm.centre.published import published_protocols, published_rules
from hcrm.centre.rerun import drop_draft_previews
from hcrm.core import limits
from hcrm.core.definition_file import parse_definition
from hcrm.core.definitions import (
    Definition,
    definition_body,
    discard_draft,
    draft_of,
    latest_definitions,
    list_versions,
    lock_definition,
    publish_definition,
    save_draft,
)
from hcrm.core.errors import ConflictError, HcrmError, NotFoundError
from hcrm.core.work import Work

KIND = "classification"
_VERSION = re.compile(r"^version:[^\n]*$", re.MULTILINE)
_HEADERS = {"title": "名称", "status": "状态", "several": "可属多类"}


@dataclass(frozen=True, slots=True)
class RuleText:
    """The text people look at: the draft, or the version in force; `seen` tells whether it is still that."""

    text: str
    version: int
    seen: str
    is_draft: bool
    by: str = ""


@dataclass(frozen=True, slots=True)
class RuleChange:
    """One rule that differs; `kind` is 新增, 删除, 修改 or 移动."""

    kind: str
    code: str
    before: str
    after: str


def rule_text(work: Work, axis: Axis) -> RuleText:
    """The draft of an axis, or the version in force; an axis nobody published begins with nothing."""
    row = draft_of(work, kind=KIND, code=axis.value)
    if row is not None:
        return RuleText(row.body, row.version, row.sha256, True, row.published_by or "")
    row = latest_definitions(work, kind=KIND).get(axis.value)
    return RuleText(row.body, row.version, row.sha256, False) if row else RuleText("", 0, "", False)


def rule_versions(work: Work, axis: Axis) -> Sequence[Definition]:
    """What was published, the newest first."""
    return list_versions(work, kind=KIND, code=axis.value, limit=limits.RULES_VERSIONS)


def rules_draft(work: Work, axis: Axis) -> AxisRules:
    """The draft as rules; NotFoundError where there is none."""
    row = draft_of(work, kind=KIND, code=axis.value)
    if row is None:
        raise NotFoundError
    return parse_definition(AxisRules, row.body, axis.label)


def save_rules_draft(work: Work, *, axis: Axis, seen: str, text: str) -> bool:
    """Keep a text as the draft; False where it is the version in force again, which needs none."""
    _require_seen(work, axis, seen)
    published = latest_definitions(work, kind=KIND).get(axis.value)
    version = published.version + 1 if published else 1
    body = _body(work, axis, version, text)
    drop_draft_previews(work, axis=axis.value, version=version)
    if published is not None and _VERSION.sub("", body) == _VERSION.sub("", published.body):
        discard_draft(work, kind=KIND, code=axis.value)
        return False
    save_draft(work, kind=KIND, code=axis.value, version=version, body=body)
    _note(work, "rules.draft", axis, version)
    return True


def discard_rules_draft(work: Work, *, axis: Axis, seen: str) -> None:
    """Leave the draft and what was previewed of it."""
    _require_seen(work, axis, seen)
    version = _standing_draft(work, axis).version
    drop_draft_previews(work, axis=axis.value, version=version)
    discard_draft(work, kind=KIND, code=axis.value)
    _note(work, "rules.discard", axis, version)


def publish_rules_draft(work: Work, *, axis: Axis, seen: str) -> int:
    """Put the draft in force for every stay sorted from now on; its version. Sorted ones stay as they are."""
    _require_seen(work, axis, seen)
    row = _standing_draft(work, axis)
    version, body = row.version, _body(work, axis, row.version, row.body)
    discard_draft(work, kind=KIND, code=axis.value)
    publish_definition(work, kind=KIND, code=axis.value, version=version, body=body)
    _note(work, "rules.publish", axis, version)
    return version


def take_back_rules(work: Work, *, axis: Axis, version: int, seen: str) -> int:
    """Put the text of an earlier version in force again, under a new number; the new number."""
    _require_seen(work, axis, seen)
    if draft_of(work, kind=KIND, code=axis.value) is not None:
        raise ConflictError("rules.draft", "还有未发布的草稿，请先发布或放弃它")
    newest = latest_definitions(work, kind=KIND)[axis.value].version
    if version >= newest:
        raise ConflictError("rules.version", f"第 {version} 版就是现行的")
    text = definition_body(work, kind=KIND, code=axis.value, version=version)
    body = _body(work, axis, newest + 1, text)
    publish_definition(work, kind=KIND, code=axis.value, version=newest + 1, body=body)
    _note(work, "rules.take_back", axis, newest + 1)
    return newest + 1


# ── comparing ───────────────────────────────────────────────────────────────


def compare_rules(before: AxisRules | None, after: AxisRules) -> list[RuleChange]:
    """What differs, rule by rule in the new order; where a rule stands matters, since the first hit counts."""
    old = {rule.code: rule for rule in before.rules} if before else {}
    new = {rule.code: rule for rule in after.rules}
    stayed = _in_place([code for code in old if code in new], [code for code in new if code in old])
    found = _headers(before, after) if before else []
    for code, rule in new.items():
        was = old.get(code)
        if was is None:
            found.append(RuleChange("新增", code, "", _words(rule)))
        elif was != rule:
            place = "" if code in stayed else f"（{_place(rule, after)}）"
            found.append(RuleChange("修改", code, _words(was), _words(rule) + place))
        elif code not in stayed:
            found.append(RuleChange("移动", code, _words(was), _place(rule, after)))
    gone = [RuleChange("删除", code, _words(rule), "") for code, rule in old.items() if code not in new]
    return found + gone


def _headers(before: AxisRules, after: AxisRules) -> list[RuleChange]:
    pairs = ((word, getattr(before, name), getattr(after, name)) for name, word in _HEADERS.items())
    return [RuleChange("修改", word, _header(was), _header(now)) for word, was, now in pairs if was != now]


def _header(value: object) -> str:
    if isinstance(value, bool):
        return "是" if value else "否"
    return str(getattr(value, "label", value))


def _in_place(old: Sequence[str], new: Sequence[str]) -> frozenset[str]:
    blocks = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    return frozenset(code for block in blocks for code in old[block.a : block.a + block.size])


def _words(rule: Rule) -> str:
    mark = "（敏感）" if rule.sensitive else ""
    return f"{rule.label}{mark}：{condition_words(rule.when)}"


def _place(rule: Rule, rules: AxisRules) -> str:
    return f"移到第 {rules.rules.index(rule) + 1} 条"


# ── the common steps ────────────────────────────────────────────────────────


def _body(work: Work, axis: Axis, version: int, text: str) -> str:
    """The text under its number, refused with line and sentence where it makes no rules that can be used."""
    if len(text) > limits.RULES_TEXT:
        raise HcrmError("rules.text", f"规则最多 {limits.RULES_TEXT:,} 个字", field="text")
    body = _VERSION.sub(f"version: {version}", text.replace("\r\n", "\n").removeprefix("\ufeff"), count=1)
    try:
        rules = parse_definition(AxisRules, body, axis.label)
        _require_usable(work, axis, version, rules)
    except HcrmError as error:
        said = error.message.partition("有误：")[2] or error.message
        raise HcrmError("rules.invalid", said, field="text") from None
    return body


def _require_usable(work: Work, axis: Axis, version: int, rules: AxisRules) -> None:
    if rules.code is not axis:
        raise HcrmError("rules.axis", f"这是“{rules.code.label}”的规则，请在它的页面修改")
    if rules.version != version:
        raise HcrmError("rules.version", "version 须单独写一行，在行首")
    others = {each.code: each.classes for each in published_rules(work)}
    protocols = published_protocols(work)
    forms = {step.form for protocol in protocols for step in protocol.steps}
    require_known_codes(protocols, forms=forms, classes={**others, axis: rules.classes})


def _require_seen(work: Work, axis: Axis, seen: str) -> None:
    lock_definition(work, kind=KIND, code=axis.value)
    if rule_text(work, axis).seen != seen:
        raise ConflictError("rules.changed", "规则刚被别人改过，请核对后再改")


def _standing_draft(work: Work, axis: Axis) -> Definition:
    """The draft that was seen; of two who publish or leave it the second is told."""
    row = draft_of(work, kind=KIND, code=axis.value)
    if row is None:
        raise ConflictError("rules.changed", "草稿刚被别人改过：已发布或已放弃")
    return row


def _note(work: Work, action: str, axis: Axis, version: int) -> None:
    record_audit(
        work, action=action, subject_type="classification", subject_id=axis.value, detail={"version": version}
    )
