"""Answers: what was typed becomes typed values, every mistake said at once. FHIR: QuestionnaireResponse.item.

Stored answers are plain JSON under the item's code: true/false, the option's code or codes, an ISO date, an integer,
or a decimal as text (`"37.5"`), since a float would not give back what was written.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from hcrm.core.text import half_width
from hcrm.forms.definition import AnswerTest, Item, ItemType, Questionnaire

AnswerValue = bool | int | str | list[str]
Answered = Mapping[str, AnswerValue]
"""Item code to answer; an item that was not answered is absent."""
Raw = str | Sequence[str]

TEXT_LIMIT = 2000
"""Characters of one free answer; more is a pasted document."""

_YES = frozenset(("yes", "true", "是"))
_NO = frozenset(("no", "false", "否"))
_NUMBER = re.compile(r"[+-]?[0-9]{1,12}(\.[0-9]{1,12})?")
_DATE = re.compile(r"([0-9]{4})[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})日?")
_INVISIBLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True)
class Answers:
    """What was read from one submission: good values, a sentence per bad field, required items still open."""

    values: dict[str, AnswerValue] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether this may be submitted."""
        return not self.errors and not self.missing


class _Unreadable(Exception):
    """The answer cannot be taken; the text says why, in Chinese."""


def read_answers(form: Questionnaire, raw: Mapping[str, Raw], *, draft: bool = False) -> Answers:
    """Read a submission. What stands under no item of the form is ignored, and so are items that are not asked.

    A draft may leave required items open; they are then only listed. A wrong value is an error in both cases.
    """
    values: dict[str, AnswerValue] = {}
    errors: dict[str, str] = {}
    missing: list[str] = []
    for item in form.questions:
        if not is_asked(item, values):
            continue
        try:
            value = _read(item, raw.get(item.code, ""))
        except _Unreadable as error:
            errors[item.code] = str(error)
            continue
        if value is not None:
            values[item.code] = value
        elif item.required:
            missing.append(item.code)
    if not draft:
        errors |= dict.fromkeys(missing, "此题必填")
    return Answers(values, errors, tuple(missing))


def is_asked(item: Item, values: Answered) -> bool:
    """Whether the answers given so far let this item be asked; without the deciding answer it is not."""
    return item.enable_when is None or meets(item.enable_when, values)


def meets(test: AnswerTest, values: Answered) -> bool:
    """Whether an answer meets the test. No answer meets nothing: absent is neither low nor no."""
    value = values.get(test.item)
    if value is None:
        return False
    if test.limit is None:
        given: Sequence[AnswerValue] = value if isinstance(value, list) else (value,)
        return any(answer in test.wanted for answer in given)
    number = Decimal(str(value))
    if test.at_least is not None:
        return number >= test.limit
    if test.above is not None:
        return number > test.limit
    if test.at_most is not None:
        return number <= test.limit
    return number < test.limit


def display_answer(item: Item, value: AnswerValue) -> str:
    """An answer as people read it; a code the form no longer knows is shown as it stands."""
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, list):
        return "、".join(item.labels.get(code, code) for code in value)
    if item.type is ItemType.CHOICE:
        return item.labels.get(str(value), str(value))
    if item.type is ItemType.SCALE:
        return f"{value} 分"
    return f"{value} {item.unit}" if item.unit else str(value)


def typed_answer(value: AnswerValue) -> str | list[str]:
    """An answer as the form's field holds it: `read_answers` gives the same value back."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return list(value) if isinstance(value, list) else str(value)


def _read(item: Item, raw: Raw) -> AnswerValue | None:
    """The typed value, or None where nothing was answered."""
    given = [raw] if isinstance(raw, str) else list(raw)
    if item.type is ItemType.TEXT:
        return _read_text("\n".join(given))
    given = [text for text in (half_width(text).strip() for text in given) if text]
    if not given:
        return None
    if item.type is ItemType.MULTI_CHOICE:
        chosen = {_read_choice(item, text) for text in given}
        return [code for code in item.labels if code in chosen]
    if len(given) > 1:
        raise _Unreadable("只能有一个答案")
    return _READERS[item.type](item, given[0])


def _read_text(text: str) -> str | None:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _INVISIBLE.sub("", text).strip()  # PostgreSQL holds no NUL
    if len(text) > TEXT_LIMIT:
        raise _Unreadable(f"不能超过 {TEXT_LIMIT} 字，现有 {len(text)} 字")
    return text or None


def _read_yes_no(_item: Item, text: str) -> bool:
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise _Unreadable("请选“是”或“否”")


def _read_choice(item: Item, text: str) -> str:
    if text not in item.labels:
        raise _Unreadable("请从列出的选项中选择")
    return text


def _read_date(_item: Item, text: str) -> str:
    found = _DATE.fullmatch(text.replace(" ", ""))
    try:
        day = date(*map(int, found.groups())) if found else None
    except ValueError:
        day = None
    if day is None:
        raise _Unreadable("请填日期，例如 2026-11-22")
    if not 1900 <= day.year <= 2100:
        raise _Unreadable("年份不对，请核对")
    return day.isoformat()


def _read_number(item: Item, text: str) -> int | str:
    text = text.replace("。", ".")  # what an input method leaves behind between digits
    if item.unit and text.lower().endswith(item.unit.lower()):
        text = text[: -len(item.unit)].strip()
    low, high = item.bounds
    if not _NUMBER.fullmatch(text):
        raise _Unreadable(f"请填数字，{_range_words(item)}")
    number = Decimal(text).normalize() + 0  # no minus before a nought
    if not low <= number <= high:
        raise _Unreadable(f"超出范围，应{_range_words(item)}")
    if number != round(number, item.decimals):
        raise _Unreadable(f"最多 {item.decimals} 位小数" if item.decimals else "应为整数")
    return int(number) if item.decimals == 0 else format(number, "f")


def _range_words(item: Item) -> str:
    low, high = item.bounds
    return f"在 {low}～{high} {item.unit + ' ' if item.unit else ''}之间"


_READERS: dict[ItemType, Callable[[Item, str], AnswerValue]] = {
    ItemType.YES_NO: _read_yes_no,
    ItemType.NUMBER: _read_number,
    ItemType.SCALE: _read_number,
    ItemType.CHOICE: _read_choice,
    ItemType.DATE: _read_date,
}
