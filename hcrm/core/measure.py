"""An indicator as a definition: what is counted, when, where, and which of it hits. FHIR: Measure.

A measure counts rows of one table, so that every number can open the rows it counted: the numerator is always a part
of the population. What runs it is `hcrm.statistics`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute

from hcrm.core.clock import day_bounds
from hcrm.core.db import Base, LabelledEnum, UtcDateTime

Condition = sa.ColumnElement[bool]


class Unit(LabelledEnum):
    """How the number is read."""

    RATIO = "ratio", "%"
    COUNT = "count", "例"


class Part(LabelledEnum):
    """Which rows of a measure are meant."""

    NUMERATOR = "numerator", "分子"
    DENOMINATOR = "denominator", "分母"


@dataclass(frozen=True, slots=True)
class Measure:
    """One indicator of one version. A ratio has `hits`; without them it is a plain count of the population.

    `population` and `hits` are conditions on `subject`, given the hospital's date of today. `dated_by` (a date or a
    moment) decides the month, `department` the department of a row.
    """

    code: str
    title: str
    version: int
    summary: str  # what is counted, for the people who read the number
    subject: type[Base]
    dated_by: InstrumentedAttribute[Any]
    department: InstrumentedAttribute[Any]
    population: Callable[[date], Condition]
    hits: Callable[[date], Condition] | None = None

    @property
    def unit(self) -> Unit:
        """A ratio, or a count."""
        return Unit.COUNT if self.hits is None else Unit.RATIO

    def rows_of(self, part: Part, today: date) -> Condition:
        """Which rows of `subject` a part counts; of a count, both parts are the counted rows."""
        if part is Part.DENOMINATOR or self.hits is None:
            return self.population(today)
        return sa.and_(self.population(today), self.hits(today))

    def within(self, period: "Period") -> Condition:
        """The rows of a period, by the hospital's calendar."""
        start, end = self.bound(period.start), self.bound(period.end)
        return sa.and_(self.dated_by >= start, self.dated_by < end)

    def bound(self, day: date) -> date | datetime:
        """The start of a day, as `dated_by` is compared with it."""
        return day_bounds(day)[0] if isinstance(self.dated_by.type, UtcDateTime) else day


@dataclass(frozen=True, slots=True)
class Period:
    """Days from `start` up to, not including, `end`."""

    start: date
    end: date

    @classmethod
    def of_month(cls, day: date) -> Self:
        """The month that day lies in."""
        return cls(first_of_month(day), next_month(day))

    @classmethod
    def last_months(cls, today: date, number: int) -> Self:
        """This month and the ones before it, `number` in all."""
        start = first_of_month(today)
        for _ in range(number - 1):
            start = first_of_month(date.fromordinal(start.toordinal() - 1))
        return cls(start, next_month(today))

    def months(self) -> Iterator[date]:
        """The first day of every month the period touches."""
        month = first_of_month(self.start)
        while month < self.end:
            yield month
            month = next_month(month)


@dataclass(frozen=True, slots=True)
class MeasureResult:
    """What a measure came to; `denominator` None for a plain count. FHIR: MeasureReport."""

    numerator: int
    denominator: int | None

    @property
    def ratio(self) -> float | None:
        """The share, None where nothing could be counted."""
        return self.numerator / self.denominator if self.denominator else None


def first_of_month(day: date) -> date:
    """The first day of its month."""
    return day.replace(day=1)


def next_month(day: date) -> date:
    """The first day of the month after."""
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


def total(results: Sequence[MeasureResult]) -> MeasureResult:
    """Several results as one: numerators and denominators are added, never ratios."""
    denominators = [result.denominator for result in results if result.denominator is not None]
    return MeasureResult(
        sum(result.numerator for result in results),
        sum(denominators) if denominators or not results else None,
    )
