"""A message as lines for people: what a reader of a format hands over. Plain values, no database."""

from dataclasses import dataclass
from typing import Protocol

from hcrm.core.sources import Sources


@dataclass(frozen=True, slots=True)
class Line:
    """One segment as it was sent: its text, and what stands in each field that is not empty, by number."""

    name: str
    text: str
    fields: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """One column of a row: its text, and which of our fields it feeds; empty where none."""

    column: str
    text: str
    field: str


@dataclass(frozen=True, slots=True)
class Readable:
    """A message decoded by the source's rule. `codec` is None where that failed: shown as well as can be, not more.

    `cells`: of a row, which has columns instead of segments, and is corrected where it came from, not here.
    """

    lines: tuple[Line, ...]
    codec: str | None
    cells: tuple[Cell, ...] | None = None


class Reader(Protocol):
    """What reads a format for people, and writes back what they corrected."""

    def read(self, raw: bytes, sources: Sources) -> Readable:
        """The message as lines."""
        ...

    def text(self, raw: bytes, sources: Sources) -> str:
        """The message as one text, for a search through thousands."""
        ...

    def write(self, text: str, codec: str) -> bytes:
        """Lines as bytes of a message; ValueError where a character is not in the codec."""
        ...
