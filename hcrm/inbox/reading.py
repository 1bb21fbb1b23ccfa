"""A stored message as people read and correct it; who reads which format is handed in by `hcrm.app.wiring`."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hcrm.archive.records import Unmapped
from hcrm.core import limits
from hcrm.core.clock import local_date
from hcrm.core.sources import Sources
from hcrm.core.work import Work
from hcrm.directory.code_maps import MappedSources
from hcrm.inbox.outbound_acts import Remakers
from hcrm.inbox.outline import Readable, Reader
from hcrm.inbox.row_words import ROW_FIELDS, fields_named
from hcrm.inbox.segments import field_words, segment_words
from hcrm.inbox.take_up import Mappers

Problems = Callable[[bytes, Sources, datetime], Sequence[Unmapped]]
"""All that would keep one message from being applied, as far as it alone shows, the first as the worker says it."""
_PLACE = re.compile(r"(?<!\^)\b([A-Z][A-Z0-9]{2})(?:-(\d+))?(?![A-Z0-9^])")


@dataclass(frozen=True, slots=True)
class Link:
    """A page something led to, and how it stands."""

    label: str
    url_endpoint: str
    url_values: Mapping[str, str]
    state: str = ""


@dataclass(frozen=True, slots=True)
class ConsoleParts:
    """What the interface console is handed: readers by format, sources, and what a stay led to."""

    readers: Mapping[str, Reader]
    sources: Sources
    led_to: Callable[[Work, str], Sequence[Link]]
    """Encounter to what was made of the stay, within the actor's scope."""
    remakers: Remakers
    mappers: Mappers
    """By format: what a message would become."""
    problems: Mapping[str, Problems]
    """By format."""

    def sources_on(self, work: Work, received_at: datetime) -> Sources:
        """The sources with the code maps of the console, as a message received then is read today."""
        maps = MappedSources(self.sources)
        maps.refresh(work)
        return maps.on(local_date(received_at))


@dataclass(frozen=True, slots=True)
class ShownField:
    """A field with its name; `value` is None for who may not see it."""

    number: int
    name: str
    value: str | None
    is_wrong: bool


@dataclass(frozen=True, slots=True)
class ShownLine:
    """A segment with its name and fields."""

    name: str
    words: str
    text: str | None
    fields: tuple[ShownField, ...]
    is_wrong: bool


@dataclass(frozen=True, slots=True)
class ShownCell:
    """A column of a row; `value` is None for who may not see it."""

    column: str
    words: str
    value: str | None
    is_wrong: bool


def show_cells(
    readable: Readable, *, detail: str | None, flags: str, with_content: bool
) -> tuple[ShownCell, ...] | None:
    """A row for the page: what each column feeds, what is wrong marked; None where it is no row."""
    if readable.cells is None:
        return None
    wrong = fields_named(detail or "")
    for flag in flags.split():
        wrong |= fields_named(flag.partition(":")[2])
    return tuple(
        ShownCell(
            cell.column, ROW_FIELDS.get(cell.field, ""), _clipped(cell.text) if with_content else None,
            cell.field in wrong,
        )
        for cell in readable.cells
    )  # fmt: skip


def places(detail: str | None) -> list[tuple[str, int]]:
    """Segments and fields an error names: `PV1-45` is ("PV1", 45), `PID` is ("PID", 0)."""
    return [(name, int(number or 0)) for name, number in _PLACE.findall(detail or "")]


def show_lines(
    readable: Readable, *, detail: str | None, flags: str, with_content: bool
) -> tuple[ShownLine, ...]:
    """The message for the page: named, what is wrong marked; without the right only MSH shows its values."""
    wrong = set(places(detail))
    for flag in flags.split():
        wrong.update(places(flag.partition(":")[2]))
    shown = []
    for line in readable.lines[: limits.SHOWN_SEGMENTS]:
        is_open = with_content or line.name == "MSH"
        fields = tuple(
            ShownField(
                number,
                field_words(line.name, number),
                _clipped(value) if is_open else None,
                (line.name, number) in wrong,
            )
            for number, value in line.fields
        )
        missing = [n for name, n in sorted(wrong) if name == line.name and n and n not in dict(line.fields)]
        fields += tuple(
            ShownField(number, field_words(line.name, number), "" if is_open else None, is_wrong=True)
            for number in missing
        )
        is_wrong = any(name == line.name for name, _ in wrong)
        shown.append(
            ShownLine(
                line.name, segment_words(line.name), _clipped(line.text) if is_open else None,
                tuple(sorted(fields, key=_number)), is_wrong,
            )
        )  # fmt: skip
    return tuple(shown)


def _clipped(text: str) -> str:
    """A text for the page: a document in a field is not shown whole."""
    most = limits.SHOWN_CHARACTERS
    return text if len(text) <= most else f"{text[:most]}…（共 {len(text):,} 字）"


def _number(field: Any) -> int:
    return int(field.number)
