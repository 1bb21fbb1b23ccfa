"""Months on the hospital's calendar."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from hcrm.core.clock import day_bounds
from hcrm.core.db import UtcDateTime
from hcrm.core.errors import HcrmError

MAX_MONTHS = 24


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month; written `2026-11`."""

    year: int
    month: int

    @classmethod
    def of(cls, day: date) -> "Month":
        """The month of a day."""
        return cls(day.year, day.month)

    @classmethod
    def parse(cls, text: str) -> "Month":
        """`2026-11`, refused in words where it is no month."""
        match = re.fullmatch(r"(20\d\d)-(0[1-9]|1[0-2])", text)
        if match is None:
            raise HcrmError("statistics.month", "月份请写作 2026-11", field="month", status=400)
        return cls(int(match[1]), int(match[2]))

    @property
    def first(self) -> date:
        """Its first day."""
        return date(self.year, self.month, 1)

    @property
    def next(self) -> "Month":
        """The one after."""
        return Month.of(self.first + timedelta(days=32))

    def back(self, count: int) -> "Month":
        """So many months earlier."""
        number = self.year * 12 + self.month - 1 - count
        return Month(number // 12, number % 12 + 1)

    def __str__(self) -> str:
        return f"{self.year}-{self.month:02d}"

    @property
    def label(self) -> str:
        """As the head of a column."""
        return f"{self.year}年{self.month}月"


@dataclass(frozen=True, slots=True)
class Period:
    """Whole months, both included."""

    start: Month
    end: Month

    @classmethod
    def last(cls, months: int, today: date) -> "Period":
        """The present month and those before it."""
        end = Month.of(today)
        return cls(end.back(months - 1), end)

    def __iter__(self) -> Iterator[Month]:
        month = self.start
        while month <= self.end:
            yield month
            month = month.next

    def contains(self, column: Any) -> sa.ColumnElement[bool]:
        """The condition under which a date or moment lies within."""
        low, high = bounds(column, self.start)[0], bounds(column, self.end)[1]
        return sa.and_(column >= low, column < high)

    def month_of(self, column: Any) -> sa.ColumnElement[str]:
        """The month of a date or moment as text, by the hospital's calendar whatever the database's zone."""
        cases = []
        for month in self:
            low, high = bounds(column, month)
            cases.append((sa.and_(column >= low, column < high), str(month)))
        return sa.case(*cases, else_="")


def bounds(column: Any, month: Month) -> tuple[date | datetime, date | datetime]:
    """First day or moment of a month and of the next, as the column counts."""
    if isinstance(column.type, UtcDateTime):
        return day_bounds(month.first)[0], day_bounds(month.next.first)[0]
    return month.first, month.next.first
