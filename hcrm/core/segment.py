"""What a segment may ask for: fields with their operators, and how a question becomes a condition in SQL.

Each part brings its fields in a `segment_fields.py`; `hcrm.app.wiring` hands them to `hcrm.segments`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa

from hcrm.core.clock import day_bounds
from hcrm.core.labels import LabelledEnum

MONTHS = 12
HIGHEST = "\U0010ffff"
"""Follows every character: the end of a range of prefixes."""


class FieldKind(LabelledEnum):
    """What the values of a field are, and hence how they are compared."""

    CHOICE = "choice", "选项"
    NUMBER = "number", "数字"
    MONEY = "money", "金额"  # asked for in 元, kept in 分
    DAY = "day", "日期"
    CODE = "code", "编码"
    TEXT = "text", "文字"
    YES_NO = "yes_no", "是否"


class Operator(LabelledEnum):
    """How a field is compared."""

    IN = "in", "是"
    NOT_IN = "not_in", "不是"
    STARTS_WITH = "starts_with", "编码以…开头"
    CONTAINS = "contains", "包含"
    AT_LEAST = "at_least", "不少于"
    AT_MOST = "at_most", "不多于"
    WITHIN_DAYS = "within_days", "近 N 天"
    DAYS_AGO = "days_ago", "N 天前到 M 天前"
    BEFORE_DAYS = "before_days", "N 天以前"
    NEXT_DAYS = "next_days", "未来 N 天"
    THIS_MONTH = "this_month", "本月"
    LAST_MONTH = "last_month", "上月"
    THIS_YEAR = "this_year", "今年"
    LAST_YEAR = "last_year", "去年"
    SINCE = "since", "从某日起"
    UNTIL = "until", "到某日止"
    YES = "yes", "是"
    NO = "no", "否"
    KNOWN = "known", "已填写"
    UNKNOWN = "unknown", "未填写"


_RELATIVE = (
    Operator.WITHIN_DAYS, Operator.DAYS_AGO, Operator.BEFORE_DAYS, Operator.NEXT_DAYS, Operator.THIS_MONTH,
    Operator.LAST_MONTH, Operator.THIS_YEAR, Operator.LAST_YEAR, Operator.SINCE, Operator.UNTIL,
)  # fmt: skip
_KNOWN = (Operator.KNOWN, Operator.UNKNOWN)
OPERATORS: dict[FieldKind, tuple[Operator, ...]] = {
    FieldKind.CHOICE: (Operator.IN, Operator.NOT_IN, *_KNOWN),
    FieldKind.NUMBER: (Operator.AT_LEAST, Operator.AT_MOST),
    FieldKind.MONEY: (Operator.AT_LEAST, Operator.AT_MOST),
    FieldKind.DAY: (*_RELATIVE, *_KNOWN),
    FieldKind.CODE: (Operator.STARTS_WITH,),
    FieldKind.TEXT: (Operator.CONTAINS, *_KNOWN),
    FieldKind.YES_NO: (Operator.YES, Operator.NO),
}
"""Which comparisons a kind of field allows."""

_ONE_NUMBER = frozenset(
    (Operator.AT_LEAST, Operator.AT_MOST, Operator.WITHIN_DAYS, Operator.BEFORE_DAYS, Operator.NEXT_DAYS)
)


def values_wanted(operator: Operator) -> str:
    """What stands behind an operator: `none`, `number`, `two_numbers`, `day`, `choices`, `text`."""
    if operator in _ONE_NUMBER:
        return "number"
    if operator is Operator.DAYS_AGO:
        return "two_numbers"
    if operator in (Operator.SINCE, Operator.UNTIL):
        return "day"
    if operator in (Operator.IN, Operator.NOT_IN):
        return "choices"
    return "text" if operator in (Operator.STARTS_WITH, Operator.CONTAINS) else "none"


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to one field: operator, values that were checked, the hospital's date."""

    operator: Operator
    values: tuple[str, ...]
    today: date

    def days(self) -> tuple[date | None, date | None]:
        """First and last day of a question about dates; None: no end on that side."""
        return reach_of(self.operator, self.values, self.today)

    @property
    def number(self) -> int:
        """The one number of the question."""
        return int(self.values[0])


Condition = Callable[[Asked], sa.ColumnElement[bool]]
Choices = Callable[[Any], Sequence[tuple[str, str]]]
"""The values of a field with their words, read in a work."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a field speaks of: rows of one table, of which a patient has none, one or many.

    Lines of one group that name the same subject speak of one and the same row: discharged within 90 days *and* of
    department A means one stay. `standing` leaves out rows that count for nothing.
    """

    code: str
    title: str
    patient_id: Any
    standing: sa.ColumnElement[bool] | None = None
    encounter_id: Any = None  # of rows that hang on a stay: who may not see it is not told by a count either

    def patients(self, condition: sa.ColumnElement[bool] | None) -> sa.Select[Any]:
        """The keys of the patients with such a row, before any scope."""
        where = [each for each in (self.standing, condition) if each is not None]
        return sa.select(self.patient_id.label("id")).where(*where).correlate(None)


@dataclass(frozen=True, slots=True)
class SegmentField:
    """One field a segment may ask for.

    `condition` makes the question one about a row of the subject; None, with kind YES_NO: whether there is any row.
    `choices` names the values; `hint` says what a reader cannot guess.
    """

    code: str
    title: str
    subject: Subject
    kind: FieldKind
    condition: Condition | None = None
    choices: Choices | None = None
    hint: str = ""
    unit: str = ""
    permission: str | None = None  # who may ask for it; None: everybody who sees patients

    @property
    def operators(self) -> tuple[Operator, ...]:
        """How it may be compared."""
        return OPERATORS[self.kind]


# ── conditions on a column ──────────────────────────────────────────────────


def by_choice(column: Any, *, numbers: bool = False) -> Condition:
    """Equality with any of some words, or of some numbers; an empty text counts as not filled in."""

    def condition(asked: Asked) -> sa.ColumnElement[bool]:
        values = [int(each) for each in asked.values if each.isdecimal()] if numbers else asked.values
        if asked.operator is Operator.IN:
            return _of(column, values)
        if asked.operator is Operator.NOT_IN:
            return sa.or_(column.is_(None), sa.not_(_of(column, values)))
        filled = sa.and_(column.is_not(None), sa.cast(column, sa.Text) != "")
        return filled if asked.operator is Operator.KNOWN else sa.not_(filled)

    return condition


def by_yes_no(column: Any) -> Condition:
    """A column that says yes or no."""
    return lambda asked: column.is_(True) if asked.operator is Operator.YES else column.is_(False)


def by_number(column: Any, *, scale: int = 1) -> Condition:
    """A number with bounds; `scale` 100 for money asked for in 元."""

    def condition(asked: Asked) -> sa.ColumnElement[bool]:
        bound = asked.number * scale
        found: sa.ColumnElement[bool] = (
            column >= bound if asked.operator is Operator.AT_LEAST else column <= bound
        )
        return found

    return condition


def by_day(column: Any) -> Condition:
    """A date column."""
    return lambda asked: (
        _filled(column, asked) if asked.operator in _KNOWN else _between(column, *asked.days())
    )


def by_moment(column: Any) -> Condition:
    """A moment, compared by the hospital's date of it."""

    def condition(asked: Asked) -> sa.ColumnElement[bool]:
        if asked.operator in _KNOWN:
            return _filled(column, asked)
        first, last = asked.days()
        parts = []
        if first is not None:
            parts.append(column >= day_bounds(first)[0])
        if last is not None:
            parts.append(column < day_bounds(last)[1])
        return sa.and_(column.is_not(None), *parts)

    return condition


def by_code(column: Any) -> Condition:
    """A code in comparable form that begins with one of the prefixes: as ranges, which every index answers."""
    return lambda asked: sa.or_(
        sa.false(), *(sa.and_(column >= low, column < high + HIGHEST) for low, high in _ranges(asked.values))
    )


def _ranges(prefixes: Sequence[str]) -> Sequence[tuple[str, str]]:
    """First and last prefix of each run of neighbours, E10 to E14: an index is read once for all of them.

    E19 and E20 are no neighbours: E1A lies between them.
    """
    found: list[tuple[str, str]] = []
    for prefix in sorted(set(prefixes)):
        last = found[-1][1] if found else ""
        if last[:-1] == prefix[:-1] and last[-1:].isdecimal() and prefix == f"{last[:-1]}{int(last[-1]) + 1}":
            found[-1] = (found[-1][0], prefix)
        else:
            found.append((prefix, prefix))
    return found


def by_sent_code(column: Any, dot_after: int) -> Condition:
    """A code as its sender wrote it, with or without the dot: `E11.9` and `E119`."""

    def condition(asked: Asked) -> sa.ColumnElement[bool]:
        forms = {
            form
            for prefix in asked.values
            for form in (
                prefix,
                f"{prefix[:dot_after]}.{prefix[dot_after:]}" if len(prefix) > dot_after else prefix,
            )
        }
        return by_code(column)(replace(asked, values=tuple(sorted(forms))))

    return condition


def by_text(column: Any) -> Condition:
    """Words somewhere in a text."""

    def condition(asked: Asked) -> sa.ColumnElement[bool]:
        if asked.operator in _KNOWN:
            return by_choice(column)(asked)
        return sa.or_(sa.false(), *(column.contains(word, autoescape=True) for word in asked.values))

    return condition


def by_age(column: Any) -> Condition:
    """Full years today, from a date of birth."""

    def condition(asked: Asked) -> sa.ColumnElement[bool]:
        if asked.operator is Operator.AT_LEAST:
            found: sa.ColumnElement[bool] = column <= years_before(asked.today, asked.number)
            return found
        youngest: sa.ColumnElement[bool] = column > years_before(asked.today, asked.number + 1)
        return youngest

    return condition


def years_before(day: date, years: int) -> date:
    """The same day so many years earlier; 29 February becomes the 28th, and nothing lies before year 1."""
    year = max(day.year - years, 1)
    try:
        return day.replace(year=year)
    except ValueError:
        return day.replace(year=year, day=28)


def choices_of(words: type[LabelledEnum]) -> Choices:
    """The values of one of our closed lists."""
    pairs = [(each.value, each.label) for each in words]
    return lambda _work: pairs


def _of(column: Any, values: Sequence[Any]) -> sa.ColumnElement[bool]:
    found: sa.ColumnElement[bool] = column.in_(values)
    return found


def _filled(column: Any, asked: Asked) -> sa.ColumnElement[bool]:
    found: sa.ColumnElement[bool] = (
        column.is_not(None) if asked.operator is Operator.KNOWN else column.is_(None)
    )
    return found


def _between(column: Any, first: date | None, last: date | None) -> sa.ColumnElement[bool]:
    parts = []
    if first is not None:
        parts.append(column >= first)
    if last is not None:
        parts.append(column <= last)
    return sa.and_(column.is_not(None), *parts)


# ── relative dates ──────────────────────────────────────────────────────────


def _back(today: date, days: str) -> date:
    return today - timedelta(days=min(int(days), (today - date.min).days))


def _month(day: date) -> tuple[date, date]:
    first = day.replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)


def _year(year: int) -> tuple[date, date]:
    return date(year, 1, 1), date(year, MONTHS, 31)


def _whole(operator: Operator, today: date) -> tuple[date, date] | None:
    """The month or year an operator names."""
    if operator is Operator.THIS_MONTH:
        return _month(today)
    if operator is Operator.LAST_MONTH:
        return _month(today.replace(day=1) - timedelta(days=1))
    if operator is Operator.THIS_YEAR:
        return _year(today.year)
    return _year(today.year - 1) if operator is Operator.LAST_YEAR else None


def reach_of(operator: Operator, values: tuple[str, ...], today: date) -> tuple[date | None, date | None]:
    """First and last day; None: no end on that side. 近 7 天 is today and the six days before it."""
    if (whole := _whole(operator, today)) is not None:
        return whole
    if operator is Operator.SINCE:
        return date.fromisoformat(values[0]), None
    if operator is Operator.UNTIL:
        return None, date.fromisoformat(values[0])
    if operator is Operator.NEXT_DAYS:
        return today, today + timedelta(days=min(int(values[0]), (date.max - today).days))
    if operator is Operator.DAYS_AGO:
        days = sorted(values, key=int)
        return _back(today, days[1]), _back(today, days[0])
    if operator is Operator.BEFORE_DAYS:
        return None, _back(today, str(int(values[0]) + 1))
    return _back(today, str(max(int(values[0]) - 1, 0))), today
