"""Tables and verdicts: the medians of the rounds, side by side, each aim beside its figure."""

import statistics
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Aim:
    """A figure that an issue sets, and what was measured."""

    issue: int
    what: str
    measured: float | None
    at_least: float | None = None
    below: float | None = None
    unit: str = ""

    @property
    def verdict(self) -> str:
        """pass, below (the aim is not reached) or not measured."""
        if self.measured is None:
            return "not measured"
        reached = (
            self.measured >= self.at_least if self.at_least is not None else self.measured < (self.below or 0)
        )
        return "pass" if reached else "below"

    def row(self) -> list[str]:
        """Its line of the table."""
        aim = f">= {self.at_least:,g}" if self.at_least is not None else f"< {self.below:,g}"
        measured = "-" if self.measured is None else f"{figure(self.measured)}{self.unit}"
        return [f"{self.issue}  {self.what}", measured, f"{aim}{self.unit}", self.verdict]


@dataclass
class Section:
    """What one section leaves: text for the reader, numbers for the result file."""

    name: str
    lines: list[str] = field(default_factory=list)
    aims: list[Aim] = field(default_factory=list)
    data: dict[str, object] = field(default_factory=dict)


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def figure(value: float) -> str:
    """A number with as many digits as it deserves."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}" if abs(value) >= 1 else f"{value:.2f}"


def spread(values: Sequence[float]) -> str:
    """Median, and the least and greatest where there are several."""
    middle = figure(median(values))
    return middle if len(values) < 2 else f"{middle} ({figure(min(values))}-{figure(max(values))})"


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column to the left, figures to the right."""
    widths = [max(_width(row[index]) for row in [head, *rows]) for index in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [" " * (width - _width(cell)) + cell for cell, width in zip(row[1:], widths[1:], strict=True)]
        return "  ".join([row[0] + " " * (widths[0] - _width(row[0])), *cells]).rstrip()

    return [line(head), "-" * (sum(widths) + 2 * len(widths) - 2), *map(line, rows)]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Median of one over the median of the other, of one run."""
    return median(ours) / median(theirs) if ours and theirs and median(theirs) else None
