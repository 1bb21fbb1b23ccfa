"""What one cell of a list says: text, a day, a moment, one of several words. Pure; nothing is guessed.

A refusal is a `CellError` whose sentence says what is wrong and never repeats the cell.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final
from unicodedata import category

from hcrm.core import clock
from hcrm.core.text import half_width

_CHINESE_DIGITS: Final = {
    "〇": "0", "零": "0", "○": "0", **dict(zip("一二三四五六七八九", "123456789", strict=True))
}  # fmt: skip
_NUMBER: Final = "([一二三四五六七八九十]{1,3})"
_CHINESE_DAY: Final = re.compile(f"([〇零○一二三四五六七八九]{{4}})年{_NUMBER}月{_NUMBER}[日号]?")
_DAY: Final = re.compile(r"(\d{4})\s*(?:[-/.．年])\s*(\d{1,2})\s*(?:[-/.．月])\s*(\d{1,2})\s*[日号]?")
_PLAIN_DAY: Final = re.compile(r"(\d{4})(\d{2})(\d{2})")
_TIME: Final = re.compile(
    r"(凌晨|早上|上午|中午|下午|晚上|晚)?\s*(\d{1,2})\s*(?:[:：时点])\s*(?:(\d{1,2})\s*[分:：]?)?\s*(?:(\d{1,2})(?:\.\d+)?\s*秒?)?"
)
_AFTERNOON: Final = frozenset({"下午", "晚上", "晚"})
_SERIAL: Final = re.compile(r"\d{5}(?:\.\d+)?")  # four digits may be a year
_LOST_DIGITS: Final = re.compile(r"\d(?:\.\d+)?[eE]\+?\d+")
_FIRST_SERIAL, _LAST_SERIAL = 1_462, 73_050  # 1904-01-01 to 2099-12-31 by the calendar that begins in 1900
_BREAKS: Final = re.compile(r"[\t\n\v\f\r]")
_SEEN_AS: Final = {"Zs": " ", "Zl": " ", "Zp": " ", "Cf": ""}
"""By Unicode category what is not printed but is no content either: blanks, and marks of format."""
_FORMULA: Final = "=+-@\t\r\n＝＋－＠"


class CellError(ValueError):
    """A cell that cannot be read as what its column holds; the argument is a sentence for people."""


def cell_text(value: Any) -> str:
    """A cell as people see it: 12.0 is 12, a date is 2026-11-22; blanks around it and invisible signs go.

    Whatever else it holds stays, for `control_in` to refuse it: also characters newer than our tables (rare names).
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    text = str(value)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else _SEEN_AS.get(category(c), c) for c in _BREAKS.sub(" ", text))
    return text.strip(" \u3000")


def control_in(text: str) -> str:
    """The first control character of a cell as U+0000; nothing where there is none."""
    found = next((c for c in text if category(c) in ("Cc", "Cs")), "") if not text.isprintable() else ""
    return f"U+{ord(found):04X}" if found else ""


def is_formula_like(text: str) -> bool:
    """Whether a program would take the text for a formula (assurance C18)."""
    return bool(text) and text[0] in _FORMULA


def whole_text(text: str, *, most: int) -> str:
    """The text of a cell; CellError where a program has cut digits off it, or it is too long."""
    if _LOST_DIGITS.fullmatch(text):
        raise CellError("这个号码被表格软件存成了数字，末几位已丢失；请把该列设为文本格式后重新填写")
    if len(text) > most:
        raise CellError(f"最多 {most} 个字")
    return text


def day_in(text: str, *, is_1904: bool = False) -> date:
    """A day as people and programs write it: 2026-11-22, 2026/11/2, 20261122, 2026年11月2日, 二〇二六年…, 46348.

    A bare number of five digits is a sheet's own count of days, from 1900 or (`is_1904`) from 1904.
    """
    return moment_in(text, is_1904=is_1904).date()


def moment_in(text: str, *, is_1904: bool = False) -> datetime:
    """A moment on the hospital's clock, aware; midnight where only a day is written."""
    text = half_width(text).strip().replace("T", " ")
    if _SERIAL.fullmatch(text):
        return _from_serial(float(text), is_1904=is_1904)
    day, rest = _day_and_rest(text)
    hour, minute, second = _time_of(rest.strip())
    return datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=clock.HOSPITAL_ZONE)


def _day_and_rest(text: str) -> tuple[date, str]:
    if match := _CHINESE_DAY.match(text):
        year = int("".join(_CHINESE_DIGITS[c] for c in match[1]))
        return _day(year, _chinese_number(match[2]), _chinese_number(match[3])), text[match.end() :]
    for pattern in (_DAY, _PLAIN_DAY):
        if match := pattern.match(text):
            return _day(*(int(part) for part in match.groups())), text[match.end() :]
    raise CellError("日期无法识别，请写成 2026-11-22")


def _day(year: int, month: int, day: int) -> date:
    if not 1850 <= year <= 2100:
        raise CellError("年份不合理")
    try:
        return date(year, month, day)
    except ValueError:
        raise CellError("没有这一天") from None


def _chinese_number(text: str) -> int:
    """十一 is 11, 二十 is 20."""
    tens, ten, ones = text.rpartition("十")
    if not ten:
        return int(_CHINESE_DIGITS.get(text, "0")) if len(text) == 1 else 0
    return (int(_CHINESE_DIGITS.get(tens, "1")) if tens else 1) * 10 + int(_CHINESE_DIGITS.get(ones, "0"))


def _time_of(text: str) -> tuple[int, int, int]:
    if not text:
        return 0, 0, 0
    match = _TIME.fullmatch(text)
    if match is None:
        raise CellError("时间无法识别，请写成 2026-11-22 15:30")
    half, hour, minute, second = match[1], int(match[2]), int(match[3] or 0), int(match[4] or 0)
    if half in _AFTERNOON and hour < 12:
        hour += 12
    if hour > 23 or minute > 59 or second > 59:
        raise CellError("没有这个时间")
    return hour, minute, second


def _from_serial(number: float, *, is_1904: bool) -> datetime:
    if is_1904:
        number += 1_462
    if not _FIRST_SERIAL <= number <= _LAST_SERIAL:
        raise CellError("日期无法识别，请写成 2026-11-22")
    start = datetime(1899, 12, 30)  # noqa: DTZ001  so that the 1900 that was no leap year counts out
    found = start + timedelta(seconds=round(number * 86_400))
    return found.replace(tzinfo=clock.HOSPITAL_ZONE)


_CLOCK: Final = re.compile(r"(\d{1,2})[:：时点](\d{1,2})?分?(?:[:：]00)?")


def clock_in(text: str) -> str:
    """A time of day as HH:MM: 8:00, 08：30, 8点30分, 24:00 (which is 00:00), or a sheet's own part of a day, 0.75."""
    text = half_width(text).strip().replace(" ", "")
    if re.fullmatch(r"0(?:\.\d+)?|\.\d+", text):
        minutes = round(float(text) * 1440) % 1440
        return f"{minutes // 60:02d}:{minutes % 60:02d}"
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise CellError("时间无法识别，请写成 08:00")
    hour, minute = int(match[1]), int(match[2] or 0)
    if (hour, minute) == (24, 0):
        hour = 0
    if hour > 23 or minute > 59:
        raise CellError("没有这个时间")
    return f"{hour:02d}:{minute:02d}"


def word_in(text: str, words: Mapping[str, Any]) -> Any:
    """What one of several words means, in any case and width."""
    said = _plain_word(text)
    found = words.get(said)
    if found is None:
        found = next((meaning for word, meaning in words.items() if _plain_word(word) == said), None)
    if found is None:
        raise CellError("只能填：" + "、".join(dict.fromkeys(_shown(words))))
    return found


def _plain_word(text: str) -> str:
    return half_width(text).strip().casefold()


def _shown(words: Mapping[str, Any]) -> list[str]:
    """The first word of each meaning."""
    first: dict[str, str] = {}
    for word, meaning in words.items():
        first.setdefault(repr(meaning), word)
    return list(first.values())
