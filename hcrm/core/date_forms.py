"""Times as one sender writes them, beyond what the standard knows: `yyyy/M/d`, `yyyy年M月d日 H:mm`, words for none.

A form is tried on the whole text, never on a part, and turned into the standard's digits; whether there is such a day
is judged where those are read. Nothing is guessed: what fits no form is left as it stands.
"""

import re
from collections.abc import Sequence
from datetime import date
from typing import Final

_PART: Final = re.compile(r"yyyy|MM?|dd?|HH?|mm?|ss?|S+|.", re.DOTALL)
_LETTERS: Final = {
    "y": "year",
    "M": "month",
    "d": "day",
    "H": "hour",
    "m": "minute",
    "s": "second",
    "S": "fraction",
}
_ORDER: Final = tuple(_LETTERS)
_DAY: Final = re.compile(r"(\d{4})[-/.]?(\d\d)[-/.]?(\d\d)", re.ASCII)


class DateForms:
    """The forms and the markers of one source."""

    def __init__(self, forms: Sequence[str], empty: Sequence[date | str]) -> None:
        self._patterns = [_pattern(form) for form in forms]
        self._words = frozenset(word for word in empty if isinstance(word, str))
        self._days = frozenset(day.strftime("%Y%m%d") for day in empty if isinstance(day, date))

    def plain(self, text: str) -> str:
        """The same time in the standard's digits, empty where the source means none; anything else as it stands."""
        text = text.strip()
        if text in self._words:
            return ""
        for pattern in self._patterns:
            if match := pattern.fullmatch(text):
                text = _digits(match.groupdict())
                break
        if self._days and (day := _DAY.match(text)) and "".join(day.groups()) in self._days:
            return ""
        return text


def check_form(form: str) -> str:
    """The form itself; ValueError with a sentence where it could be read in two ways, or in none."""
    parts = _PART.findall(form)
    places = [index for index, part in enumerate(parts) if part[0] in _LETTERS]
    letters = [parts[index][0] for index in places]
    if (
        "y" in parts
        or sorted(letters[:3]) != ["M", "d", "y"]
        or letters[3:] != list(_ORDER[3 : len(letters)])
    ):
        raise ValueError("日期写法应先有 yyyy、M、d，再按 H、m、s、S 的顺序写到需要的一级")
    for part, after in zip(parts, [*parts[1:], ""], strict=True):
        if part[0] not in _LETTERS and part.isascii() and part.isalnum() and part != "T":
            raise ValueError("日期写法中有无法识别的字母或数字")
        is_open = part in ("M", "d", "H", "m", "s", "S") or part[0] == "S"
        if is_open and after and (after[0] in _LETTERS or after.isdigit()):
            raise ValueError(f"日期写法中 {part[0]} 之后应有分隔符")
    if letters[:3] != ["y", "M", "d"] and min(places[1] - places[0], places[2] - places[1]) == 1:
        raise ValueError("日期写法没有分隔符，会与 yyyyMMdd 混淆")
    return form


def day_of(word: str) -> date | str:
    """A marker as the day it names, else as the word it is."""
    try:
        return date.fromisoformat(word)
    except ValueError:
        return word


def _pattern(form: str) -> re.Pattern[str]:
    return re.compile("".join(_piece(part) for part in _PART.findall(form)), re.ASCII)


def _piece(part: str) -> str:
    name = _LETTERS.get(part[0])
    if name is None:
        return r"[ \u3000]+" if part.isspace() else re.escape(part)
    if name == "fraction":
        return rf"(?P<{name}>\d{{1,9}})"
    return rf"(?P<{name}>\d{{{len(part)}}})" if len(part) > 1 else rf"(?P<{name}>\d{{1,2}})"


def _digits(parts: dict[str, str]) -> str:
    fraction = parts.pop("fraction", "")
    ordered = [parts[name].zfill(2) for name in _LETTERS.values() if name in parts]
    return "".join(ordered) + (f".{fraction}" if fraction else "")
