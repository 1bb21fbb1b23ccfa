"""A form as its page shows it: each item with its value, its error and what brings it up. Pure.

Inputs are named `a-` and the item's code, so that no item can take the place of a field of the page itself.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hcrm.forms.answers import Answered, Raw, display_answer, typed_answer
from hcrm.forms.definition import AnswerTest, Item, ItemType, Questionnaire
from hcrm.forms.scoring import RaisedFlag, raise_flags

PREFIX = "a-"
_YES_NO = (("yes", "是"), ("no", "否"))
_COMPARED = {"at_least": "不低于", "above": "高于", "at_most": "不高于", "below": "低于"}


@dataclass(frozen=True, slots=True)
class FormField:
    """One item as the page shows it."""

    item: Item
    name: str
    text: str = ""  # the question as it is asked of this patient
    value: Raw = ""
    options: Sequence[tuple[str, str]] = ()
    hint: str = ""
    error: str = ""
    shown_when: str = ""  # JSON for form.js; empty: always
    condition: str = ""  # the same in words, for a browser without script
    standing: str = ""  # what somebody else saved meanwhile
    original: str = ""  # beside it: what stood there when the page was opened
    may_raise: bool = False


@dataclass(frozen=True, slots=True)
class AnswerLine:
    """One answer as people read it, with the red flags it raised."""

    item: Item
    text: str
    flags: Sequence[RaisedFlag]


def form_fields(
    form: Questionnaire,
    values: Mapping[str, Raw],
    errors: Mapping[str, str],
    standing: Answered | None = None,
    base: Answered | None = None,
    *,
    is_discreet: bool = False,
) -> list[FormField]:
    """Every item in order. `standing` is what somebody else saved: shown where it differs from `values`.

    `base` is what both began with, where that is known: shown beside it. `is_discreet`: nothing that is read out to
    the patient names the illness.
    """
    raising = flagged_codes(form)
    fields = []
    for item in form.items:
        other = _standing(item, values, standing)
        fields.append(
            FormField(
                item=item,
                name=PREFIX + item.code,
                text=item.wording(is_discreet=is_discreet),
                value=values.get(item.code, [] if item.type is ItemType.MULTI_CHOICE else ""),
                options=_options(item, is_discreet=is_discreet),
                hint=_hint(item),
                error=errors.get(item.code, ""),
                shown_when=_shown_when(item.enable_when),
                condition=_condition(form, item.enable_when),
                standing=other,
                original=_words(item, base) if other and base is not None else "",
                may_raise=item.code in raising,
            )
        )
    return fields


def answer_lines(form: Questionnaire, answers: Answered) -> list[AnswerLine]:
    """What was answered, in the order of the form."""
    raised = flags_by_code(raise_flags(form, answers))
    return [
        AnswerLine(item, display_answer(item, answers[item.code]), raised.get(item.code, ()))
        for item in form.questions
        if item.code in answers
    ]


def flagged_codes(form: Questionnaire) -> frozenset[str]:
    """The items whose answer can raise a red flag."""
    return frozenset(flag.when.item for flag in form.flags)


def flags_by_code(flags: Iterable[RaisedFlag]) -> dict[str, list[RaisedFlag]]:
    """Red flags under the item that raised them."""
    found: dict[str, list[RaisedFlag]] = {}
    for raised in flags:
        found.setdefault(raised.item_code, []).append(raised)
    return found


def typed_answers(answers: Answered) -> dict[str, Raw]:
    """Stored answers as the fields of the form hold them."""
    return {code: typed_answer(value) for code, value in answers.items()}


def sent_answers(fields: Iterable[tuple[str, Sequence[str]]]) -> dict[str, Raw]:
    """The answers among the fields a page sent."""
    return {
        name.removeprefix(PREFIX): values[0] if len(values) == 1 else list(values)
        for name, values in fields
        if name.startswith(PREFIX)
    }


def typed_lines(form: Questionnaire, typed: Mapping[str, Raw]) -> list[tuple[str, str]]:
    """What was typed under each item's short name, to be copied where it could not be saved."""
    lines: list[tuple[str, str]] = []
    for item in form.questions:
        given = typed.get(item.code, "")
        labels = dict(_options(item))
        words = [
            labels.get(one, one) for one in ([given] if isinstance(given, str) else given) if one.strip()
        ]
        if words:
            lines.append((item.name, "、".join(words)))
    return lines


def field_labels(form: Questionnaire) -> dict[str, str]:
    """Name of the input to the item's short name, for the summary of errors."""
    return {PREFIX + item.code: item.name for item in form.questions}


def _options(item: Item, *, is_discreet: bool = False) -> Sequence[tuple[str, str]]:
    if item.type is ItemType.YES_NO:
        return _YES_NO
    if item.type is ItemType.SCALE:
        low, high = item.bounds
        return [(str(step), str(step)) for step in range(int(low), int(high) + 1)]
    return item.choices(is_discreet=is_discreet)


def _hint(item: Item) -> str:
    parts = [item.help] if item.help else []
    if item.type is ItemType.NUMBER:
        low, high = item.bounds
        parts.append(f"{low}～{high}")
    return "；".join(parts)


def _shown_when(test: AnswerTest | None) -> str:
    if test is None:
        return ""
    rule: dict[str, Any] = {"name": PREFIX + test.item}
    for sign in _COMPARED:
        if (limit := getattr(test, sign)) is not None:
            rule |= {"sign": sign, "limit": float(limit)}
    if test.limit is None:
        rule["values"] = [typed_answer(answer) for answer in test.wanted]
    return json.dumps(rule, ensure_ascii=False)


def _condition(form: Questionnaire, test: AnswerTest | None) -> str:
    if test is None:
        return ""
    item = form.by_code[test.item]
    for sign, words in _COMPARED.items():
        if (limit := getattr(test, sign)) is not None:
            return f"“{item.name}”{words} {limit} 时填写"
    wanted = "、".join(display_answer(item, answer) for answer in test.wanted)
    return f"“{item.name}”为“{wanted}”时填写"


def _standing(item: Item, values: Mapping[str, Raw], standing: Answered | None) -> str:
    """The other person's answer where it is not the one in the field."""
    if standing is None or item.type is ItemType.DISPLAY:
        return ""
    other = standing.get(item.code)
    mine = values.get(item.code, "")
    is_same = not mine if other is None else typed_answer(other) == mine
    return "" if is_same else _words(item, standing)


def _words(item: Item, answers: Answered) -> str:
    answer = answers.get(item.code)
    return "未填写" if answer is None else display_answer(item, answer)
