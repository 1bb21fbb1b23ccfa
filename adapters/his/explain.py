"""What the fields of a sample message become in our records, found out by trying: pure, without a database.

Each value is changed in turn and the message mapped again. Where the result differs, the mapper has read that value,
and where it differs is what it became. So this is exact whatever the mapper does, and needs no list to be kept in
step with it: what makes no difference in this message is not used of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any, Final

from adapters.his.ack import check_header
from adapters.his.mapping import map_message
from adapters.his.outline import Hl7Outline
from adapters.hl7v2 import BadTime, moment, parse_place, read_header, read_message
from hcrm.archive.records import Change, Mapped, Unmapped
from hcrm.core import limits
from hcrm.core.clock import local_time
from hcrm.core.sources import Source, Sources
from hcrm.inbox.outline import Line

_OUTCOME: Final = "outcome"
_NOT_OURS: Final = frozenset({"flags", "source", "unmapped"})
_SHOWN: Final = 3
_MISSING: Final = object()
_Levels = tuple[tuple[list[str], int, str], ...]


@dataclass(frozen=True, slots=True)
class ValueUse:
    """One value of the message: where it stands, and what it became. `became` empty: nothing reads it here."""

    path: str  # PID-5.1, PID-3[2].1, DG1[2]-3.1
    value: str  # as sent
    became: tuple[tuple[str, str], ...]  # our field and its value
    is_coded: bool  # it became words of closed lists and nothing else
    is_decisive: bool  # without it, or with another one, the message would not be applied


@dataclass(frozen=True, slots=True)
class Explained:
    """One message: as what it would be read, what would become of it, and what each value would become.

    Impossible dates are taken out one after the other, so that all of them are told and the rest is looked at.
    """

    kind: str
    sender: str
    facility: str
    source: str
    mapped: Mapped
    refusal: str  # why the door would not even store it: a place, empty where it would
    uses: tuple[ValueUse, ...]
    unread_segments: tuple[str, ...]  # names of segments of which nothing is read
    is_cut: bool  # more values than we follow
    flags: tuple[str, ...]
    problems: tuple[
        Unmapped, ...
    ] = ()  # all that would park it, as far as one can see; the first is `mapped`
    is_examined: bool = True  # False: something stops the mapper before it has read the fields


def explain_message(raw: bytes, sources: Sources, received_at: datetime) -> Explained:
    """Map one message, and find out what each of its values has to do with it."""
    header = read_header(raw)
    mapped = map_message(raw, sources, received_at)
    if header is None:
        return Explained("", "", "", mapped.source, mapped, "", (), (), False, (), (), False)
    found = sources.find(header.sender, header.facility)
    problem = check_header(header, found)
    source = found or sources.default
    uses: list[ValueUse] = []
    is_cut = False
    told = mapped.result
    problems = [told] if isinstance(told, Unmapped) else []
    readable = Hl7Outline().read(raw, sources)
    if readable.codec is not None:
        prober = _Prober(readable.lines, source, received_at)
        told, problems = prober.told, prober.problems
        for number, use in enumerate(prober.uses()):
            if number >= limits.CHECK_PROBES:
                is_cut = True
                break
            uses.append(use)
    read = {use.path[:3] for use in uses if use.became or use.is_decisive} | {"MSH"}
    names = dict.fromkeys(line.name for line in readable.lines)
    return Explained(
        kind=header.kind, sender=header.sender, facility=header.facility, source=mapped.source, mapped=mapped,
        refusal=f"{problem.segment}-{problem.field}" if problem else "", uses=tuple(uses),
        unread_segments=tuple(name for name in names if name not in read), is_cut=is_cut,
        flags=() if isinstance(told, Unmapped) else told.flags, problems=tuple(problems),
        is_examined=not isinstance(told, Unmapped),
    )  # fmt: skip


def list_problems(raw: bytes, sources: Sources, received_at: datetime) -> tuple[Unmapped, ...]:
    """All that would park the message, the first as the worker says it: every impossible date, not only the first."""
    header = read_header(raw)
    told = map_message(raw, sources, received_at).result
    if not isinstance(told, Unmapped):
        return ()
    readable = Hl7Outline().read(raw, sources)
    if header is None or readable.codec is None:
        return (told,)
    source = sources.find(header.sender, header.facility) or sources.default
    return tuple(_Prober(readable.lines, source, received_at).problems)


class _Prober:
    """Maps the message again and again, one value changed at a time."""

    def __init__(self, lines: tuple[Line, ...], source: Source, received_at: datetime) -> None:
        self._lines = [line.text for line in lines]
        self._received_at = received_at
        # Decoded already: from here on it is UTF-8, whatever it says of itself.
        plain = source.model_copy(
            update={"code": "default", "sender": "", "charset": "utf-8", "charset_order": ("charset",)}
        )
        self._sources = Sources([plain])
        self._separators = read_message("\r".join(self._lines)).separators
        self._source = plain
        self._taken_out: dict[
            tuple[int, int], str
        ] = {}  # line and field of impossible dates: what stood there
        self.problems: list[Unmapped] = []
        self.told = self._without_impossible_dates()
        self._base = self._map(self._lines)

    def _without_impossible_dates(self) -> Change | Unmapped:
        """What the mapper says once every date that stops it is left out."""
        while True:
            told = self._mapped(self._lines)
            if not isinstance(told, Unmapped):
                return told
            if told not in self.problems:
                self.problems.append(told)
            if told.reason != "impossible_date" or not self._take_out(told.detail):
                return told

    def _take_out(self, path: str) -> bool:
        """Empty the field where it holds no time, in every segment of the name; else wherever it holds anything."""
        name, number, _, _ = parse_place(path)
        mark = self._separators.field
        place = number - (name == "MSH")
        found = {
            index: values[place]
            for index, line in enumerate(self._lines)
            if line[:3] == name and place < len(values := line.split(mark)) and values[place]
        }
        wrong = {index: value for index, value in found.items() if not self._is_time(value)}
        for index, value in (wrong or found).items():
            values = self._lines[index].split(mark)
            values[place] = ""
            self._lines[index] = mark.join(values)
            self._taken_out[index, place] = value
        return bool(found)

    def _is_time(self, value: str) -> bool:
        try:
            moment(value.partition(self._separators.component)[0], self._source.zoneinfo, self._source.dates)
        except BadTime:
            return False
        return True

    def uses(self) -> Iterator[ValueUse]:
        """Every value that is filled, in order; MSH-1 and MSH-2 are no values."""
        seen: dict[str, int] = {}
        totals: dict[str, int] = {}
        for line in self._lines:
            totals[line[:3]] = totals.get(line[:3], 0) + 1
        for index, line in enumerate(self._lines):
            name = line[:3]
            seen[name] = seen.get(name, 0) + 1
            segment = f"{name}[{seen[name]}]" if totals[name] > 1 else name
            yield from self._segment(index, segment, line)

    def _segment(self, index: int, segment: str, line: str) -> Iterator[ValueUse]:
        mark, component, repetition, _, sub = self._separators
        values = line.split(mark)
        is_header = segment.startswith("MSH")
        for place in range(2 if is_header else 1, len(values)):
            if taken_out := self._taken_out.get((index, place)):
                yield ValueUse(f"{segment}-{place + is_header}", taken_out, (), False, True)
            repeats = values[place].split(repetition)
            for r, repeat in enumerate(repeats):
                field = f"{segment}-{place + is_header}" + (f"[{r + 1}]" if len(repeats) > 1 else "")
                parts = repeat.split(component)
                for c, part in enumerate(parts):
                    atoms = part.split(sub)
                    named = f"{field}.{c + 1}" if len(parts) > 1 or len(atoms) > 1 else field
                    for s, atom in enumerate(atoms):
                        if atom.strip():
                            path = f"{named}.{s + 1}" if len(atoms) > 1 else named
                            outer = ((values, place, mark), (repeats, r, repetition))
                            yield self._use(
                                index, path, atom, (*outer, (parts, c, component), (atoms, s, sub))
                            )

    def _use(self, index: int, path: str, atom: str, levels: _Levels) -> ValueUse:
        became: dict[str, Any] = {}
        is_decisive = False
        for probe in (_altered(atom), ""):
            other = self._map([*self._lines[:index], _written(levels, probe), *self._lines[index + 1 :]])
            if other.get(_OUTCOME) != self._base.get(_OUTCOME):
                is_decisive = True
            elif _OUTCOME not in self._base:
                became |= {
                    name: value for name, value in self._base.items() if other.get(name, _MISSING) != value
                }
            if became:
                break  # what another value changes is told more exactly than what its absence does
        shown = tuple((name, _words(value)) for name, value in became.items())[: _SHOWN + 1]
        is_coded = bool(became) and all(isinstance(value, Enum) for value in became.values())
        return ValueUse(path, atom, shown, is_coded, is_decisive)

    def _map(self, lines: list[str]) -> Mapping[str, Any]:
        told = self._mapped(lines)
        if isinstance(told, Unmapped):
            return {_OUTCOME: (told.reason, told.detail)}
        return dict(_flat(told, ""))

    def _mapped(self, lines: list[str]) -> Change | Unmapped:
        raw = ("\r".join(lines) + "\r").encode("utf-8", "replace")
        return map_message(raw, self._sources, self._received_at).result


def _written(levels: _Levels, text: str) -> str:
    """The segment with another value in one place: from the innermost level outwards."""
    for parts, place, separator in reversed(levels):
        text = separator.join([*parts[:place], text, *parts[place + 1 :]])
    return text


def _altered(value: str) -> str:
    """Another value of the same kind: another year of a date, another digit or letter elsewhere."""
    if len(value) >= 8 and value[:4].isdigit() and value[:2] in ("19", "20"):
        return ("1998" if value[:4] != "1998" else "1997") + value[4:]
    last = value[-1]
    return value[:-1] + ("8" if last == "7" else "7" if last.isdigit() else "Q" if last != "Q" else "W")


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """A record as paths and plain values; empty ones are left out, but an empty list says something."""
    if is_dataclass(value) and not isinstance(value, type):
        for each in fields(value):
            if path or each.name not in _NOT_OURS:
                yield from _flat(getattr(value, each.name), f"{path}.{each.name}" if path else each.name)
    elif isinstance(value, tuple):
        if not value:
            yield path, ()
        for index, each in enumerate(value):
            yield from _flat(each, f"{path}[{index + 1}]")
    elif value is not None and value != "":
        yield path, value


def _words(value: Any) -> str:
    if isinstance(value, Enum):
        label = getattr(value, "label", "")
        return f"{value.value} {label}".strip()
    if isinstance(value, datetime):
        return local_time(value).strftime("%Y-%m-%d %H:%M:%S%z")
    if isinstance(value, date):
        return value.isoformat()
    return "（空列表）" if value == () else str(value)
