"""Our ER7 reader (HL7 v2 chapter 2): a decoded message as segments, fields and values. Fast and tolerant.

It never refuses what it can read: absent segments and fields read as empty, delimiters come from the header,
line ends may be anything. hl7apy is 500 times slower and stays off the hot path (interop.md section 1).

Reading a message: `read_header(raw)`, `decode(raw, header, source)`, `read_message(text)`, then
`message.segment("PID").text(5, 1)`; times by `moment` and `birth_date`. Answering one: `make_ack`.
"""

import enum
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Final

from adapters.his.ack import make_ack
from adapters.his.batch import split_batch
from adapters.his.charset import CharsetError, decode
from adapters.his.header import (
    Header,
    Separators,
    is_delimiter,
    read_header,
    read_separators,
    split_written_ends,
)
from adapters.his.moments import (
    BadTime,
    ImpossibleDate,
    Moment,
    birth_date,
    is_zeros,
    latest_date,
    moment,
    not_ahead,
)

__all__ = [
    "NULL", "BadTime", "CharsetError", "Field", "Header", "ImpossibleDate", "Message", "Moment", "Null", "Segment",
    "Separators", "birth_date", "decode", "is_zeros", "latest_date", "make_ack", "moment", "not_ahead", "parse_place",
    "read_header", "read_message", "split_batch",
]  # fmt: skip


class Null(enum.Enum):
    """The type of NULL."""

    NULL = '""'


NULL: Final = Null.NULL
"""HL7's explicit null, two double quotes: clear what is stored (chapter 2.5.3). Absent means leave it alone."""

Value = str | None | Null
"""What a sender said about one value: something, nothing, or that it is to be cleared."""


class Field:
    """One repeat of a field. False when empty; `index` counts from 1 over all repeats, empty ones too."""

    __slots__ = ("_separators", "index", "raw")

    def __init__(self, raw: str, index: int, separators: Separators) -> None:
        self.raw = raw
        self.index = index
        self._separators = separators

    def __bool__(self) -> bool:
        return self.raw != ""

    @property
    def is_null(self) -> bool:
        """The repeat is exactly two double quotes."""
        return self.raw == '""'

    def text(self, component: int = 1, sub: int = 1) -> str:
        """Component or sub-component, unescaped and stripped; empty when absent or null."""
        return _text(self.raw, component, sub, self._separators)

    def whole(self) -> str:
        """All of the repeat, unescaped, delimiters and all: free text of senders who do not escape them."""
        value = self.raw.strip()
        if value == '""':
            return ""
        return _unescaped(value, self._separators) if self._separators.escape in value else value

    def value(self, component: int = 1, sub: int = 1) -> Value:
        """None where nothing was sent, NULL where `""` was, else the text; a null repeat is null in each component."""
        if self.is_null or _pick(self.raw, component, sub, self._separators) == '""':
            return NULL
        return _text(self.raw, component, sub, self._separators) or None


class Segment:
    """One segment; absent ones exist too, are empty and False. Fields, components and repeats count from 1."""

    __slots__ = ("_fields", "_separators", "name")

    def __init__(self, name: str, fields: list[str], separators: Separators) -> None:
        self.name = name
        self._fields = fields
        self._separators = separators

    def __bool__(self) -> bool:
        return bool(self._fields)

    def raw(self, field: int) -> str:
        """The whole field as sent, with its delimiters; empty when absent."""
        return self._fields[field] if field < len(self._fields) else ""

    def has(self, field: int) -> bool:
        """Whether the field was sent with anything in it, an explicit null included."""
        return self.raw(field) != ""

    def is_null(self, field: int) -> bool:
        """Whether the whole field is the explicit null."""
        return self.raw(field) == '""'

    def text(self, field: int, component: int = 1, repeat: int = 1, sub: int = 1) -> str:
        """One value, unescaped and stripped; empty when absent or null."""
        # Written out rather than calling _nth and _text: this line runs forty times a message.
        fields = self._fields
        value = fields[field] if field < len(fields) else ""
        if not value:
            return ""
        _, components, repetition, escape, subs = separators = self._separators
        if repeat > 1 or repetition in value:
            value = _nth(value, repetition, repeat)
        if component > 1 or components in value:
            parts = value.split(components)
            value = parts[component - 1] if component <= len(parts) else ""
        if sub > 1 or subs in value:
            value = _nth(value, subs, sub)
        if escape in value:
            return _unescaped(value.strip(), separators)
        return "" if value == '""' else value.strip()

    def value(self, field: int, component: int = 1, repeat: int = 1, sub: int = 1) -> Value:
        """Three-valued: None where nothing was sent, NULL where `""` was sent, else the text."""
        raw = self.raw(field)
        if not raw:
            return None
        return Field(_nth(raw, self._separators.repetition, repeat), repeat, self._separators).value(
            component, sub
        )

    def repeats(self, field: int) -> list[Field]:
        """Every repeat in order, empty ones too; no repeats of an absent field."""
        raw = self.raw(field)
        if not raw:
            return []
        separators = self._separators
        return [
            Field(part, index, separators) for index, part in enumerate(raw.split(separators.repetition), 1)
        ]


class Message:
    """Segments in the order they came, or a run of them (`groups`)."""

    __slots__ = ("_by_name", "_lines", "separators")

    def __init__(self, lines: list[str], separators: Separators) -> None:
        self._lines = lines
        self.separators = separators
        self._by_name: dict[str, list[str]] = {}
        by_name = self._by_name
        for line in lines:
            by_name.setdefault(line[:3], []).append(line)

    @property
    def lines(self) -> Sequence[str]:
        """The segments as text, in order."""
        return self._lines

    def __iter__(self) -> Iterator[Segment]:
        return map(self._segment, self._lines)

    def _segment(self, line: str) -> Segment:
        mark = self.separators.field
        fields = line.split(mark)
        if fields[0] == "MSH":
            fields.insert(1, mark)  # MSH-1 is the delimiter itself
        return Segment(fields[0], fields, self.separators)

    def segment(self, name: str) -> Segment:
        """The first of that name, or an empty one."""
        lines = self._by_name.get(name)
        return self._segment(lines[0]) if lines else Segment(name, [], self.separators)

    def segments(self, name: str) -> list[Segment]:
        """All of that name in order."""
        return [self._segment(line) for line in self._by_name.get(name, ())]

    def count(self, name: str) -> int:
        """How many of that name there are."""
        return len(self._by_name.get(name, ()))

    def groups(self, first: str) -> list["Message"]:
        """Runs beginning with `first` and ending before the next: PID, PD1, MRG of an A40; PID, PV1 of an A17.

        What stands before the first run (MSH, EVN) is in none of them.
        """
        starts = [index for index, line in enumerate(self._lines) if line[:3] == first]
        ends = [*starts[1:], len(self._lines)]
        return [Message(self._lines[start:end], self.separators) for start, end in zip(starts, ends)]  # noqa: B905

    def at(self, path: str) -> str:
        """The text at `PV1-3`, `PV1-3.4` or `PV1-3.4.2` (first segment, first repeat), as source files name places."""
        name, field, component, sub = parse_place(path)
        return self.segment(name).text(field, component, 1, sub)


def read_message(text: str) -> Message:
    r"""Split a decoded message into segments; a line that is none goes on with the one before. ValueError without MSH.

    Line ends may be CR, LF, CRLF, mixed, or written out (`\r`, `<CR>`).
    """
    mark = text[3:4]
    if not text.startswith("MSH") or not is_delimiter(mark):
        raise ValueError("no MSH")
    if "\n" in text:
        text = text.replace("\r\n", "\r").replace("\n", "\r")
    if "\\r" in text:
        text = text.replace("\\r\r", "\r").removesuffix("\\r")
    lines = text.split("\r") if "\r" in text else split_written_ends(text)
    begins = _begins(mark)
    segments = [line for line in lines if begins(line)]
    if len(segments) < len(lines):
        segments = _joined(lines, begins)
    return Message(segments, read_separators(mark, segments[0][4:].split(mark, 1)[0][:8]))


@lru_cache(maxsize=64)
def _begins(mark: str) -> Callable[[str], object]:
    """Whether a line begins a segment: three capitals or digits and the delimiter, or nothing more."""
    return re.compile(rf"[A-Z][A-Z0-9]{{2}}(?:{re.escape(mark)}|\Z)").match


def _joined(lines: list[str], begins: Callable[[str], object]) -> list[str]:
    segments: list[list[str]] = []
    for line in lines:
        if begins(line):
            segments.append([line])
        elif line and not line.isspace():
            segments[-1].append(line)
    return ["\n".join(parts) for parts in segments]


@lru_cache(maxsize=256)
def parse_place(path: str) -> tuple[str, int, int, int]:
    """Segment, field, component and sub-component of a place as source files name it: `PV1-3.4`."""
    name, _, numbers = path.partition("-")
    field, component, sub = ([int(part) for part in numbers.split(".")] + [1, 1])[:3]
    return name, field, component, sub


def _nth(value: str, separator: str, number: int) -> str:
    parts = value.split(separator)
    return parts[number - 1] if number <= len(parts) else ""


def _pick(value: str, component: int, sub: int, separators: Separators) -> str:
    if component > 1 or separators.component in value:
        value = _nth(value, separators.component, component)
    if sub > 1 or separators.sub in value:
        value = _nth(value, separators.sub, sub)
    return value.strip()


def _text(value: str, component: int, sub: int, separators: Separators) -> str:
    value = _pick(value, component, sub, separators)
    if separators.escape in value:
        return _unescaped(value, separators)
    return "" if value == '""' else value


def _unescaped(value: str, separators: Separators) -> str:
    r"""Escapes in one pass after splitting (chapter 2.7), so that `\E\F\E\` gives a literal `\F\`."""
    plain = dict(zip("FSRET", separators, strict=True))

    def replace(match: re.Match[str]) -> str:
        letter, digits = match.groups()
        if letter:
            return plain[letter]
        if digits:
            text = _hexadecimal(digits)
            return match[0] if text is None else text
        return "\n" if match[0][1:] == ".br" + separators.escape else match[0]

    return _escapes(separators.escape).sub(replace, value)


@lru_cache(maxsize=16)
def _escapes(escape: str) -> re.Pattern[str]:
    # The last two alternatives are escapes we leave as they are; named so that their end is not taken for a
    # beginning. A lone backslash (a file path) starts nothing.
    mark = re.escape(escape)
    known = r"([FSTRE])|X((?:[0-9A-Fa-f]{2})+)|\.br"
    kept = r"[HNP]|\.(?:sp|sk|in|ti|fi|nf|ce)[+-]?\d*|C[0-9A-F]{4}|M[0-9A-F]{4,6}|Z\w*"
    return re.compile(f"{mark}(?:{known}|{kept}){mark}", re.ASCII)


def _hexadecimal(digits: str) -> str | None:
    r"""`\X0D0A\` and the like; bytes beyond ASCII have no charset here and stay as written."""
    try:
        text = bytes.fromhex(digits).decode("ascii")
    except UnicodeDecodeError:
        return None
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
