"""A message with its sender's local habits written as the standard has them, before anything reads it. Pure.

A source's `fields` say where it keeps what we look for at a standard position; its `events` which event a local one
stands for. Both are done on the message itself, so that whatever reads it needs to know the standard only, and the
three meanings of a field (absent, null, a value) come along as they were sent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from adapters.hl7v2 import Header, Message, parse_place
from hcrm.archive import records as r
from hcrm.core.local_habits import LocalField
from hcrm.core.sources import Source

TARGETS: Final[Mapping[LocalField, tuple[str, int]]] = {
    "patient.record_number": ("PID", 3), "patient.citizen_id": ("PID", 19), "patient.name": ("PID", 5),
    "patient.sex": ("PID", 8), "patient.birth_date": ("PID", 7), "patient.marital_status": ("PID", 16),
    "patient.phone": ("PID", 13), "patient.work_phone": ("PID", 14), "patient.address": ("PID", 11),
    "patient.deceased": ("PID", 30), "patient.deceased_at": ("PID", 29), "patient.is_vip": ("PV1", 16),
    "encounter.account_no": ("PID", 18), "encounter.class": ("PV1", 2), "encounter.admitted_at": ("PV1", 44),
    "encounter.discharged_at": ("PV1", 45), "encounter.discharge_way": ("PV1", 36), "event.happened_at": ("EVN", 6),
}  # fmt: skip
"""Where the standard has each field; those with a setting of their own (`SETTING_OF`) are read in place."""
_ADDED: Final = "patient.record_number"
"""A number is one of several: it comes before the others and replaces none."""


class Localised(NamedTuple):
    """The message in standard positions, and where what stands there was sent."""

    message: Message
    moved: Mapping[str, str]


def kind_of(message: Message, header: Header, source: Source) -> tuple[str, str]:
    """Type and event of a message, a local event as the one it stands for; of an unknown service code no event."""
    event = header.event or message.at("EVN-1")
    if not source.events:
        return header.type, event
    code = message.at(source.event_from) if source.event_from else ""
    known = source.events.get(code or f"{header.type}^{event}")
    if known is None and not code and header.type == "ADT":
        known = source.events.get(event)
    if known:
        type_, _, event = known.partition("^")
        return type_, event
    return header.type, "" if code else event


def localise(message: Message, kind: tuple[str, str], header: Header, source: Source) -> Localised:
    """The message as its sender would have written it by the standard."""
    lines = list(message.lines)
    separators = message.separators
    if kind != (header.type, header.event):
        lines[0] = _with(lines[0], separators.field, 8, separators.component.join(kind))
    if not source.fields:
        return Localised(Message(lines, separators), {})
    starts = [index for index, line in enumerate(lines) if line[:3] == "PID"] or [len(lines)]
    moved: dict[str, str] = {}
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(lines)], strict=True)):
        first = 0 if number == 0 else start  # what stands before the first PID is of the first patient
        scope = message if len(starts) == 1 else Message(lines[first:end], separators)
        for field, places in source.fields.items():
            _move(lines, range(first, end), scope, field, places, source, moved)
    return Localised(Message(lines, separators), moved)


def _move(
    lines: list[str], span: range, scope: Message, field: LocalField, places: Iterable[str], source: Source,
    moved: dict[str, str],
) -> None:  # fmt: skip
    """Put one field where the standard has it; what stands there counts only where the source's file names it too."""
    name, number = TARGETS[field]
    index = next((each for each in span if lines[each][:3] == name), None)
    if index is None:
        return
    place, sent = next(((place, raw) for place in places if (raw := _raw(scope, place))), ("", ""))
    if field == _ADDED:
        if not place or sent == '""':
            return
        component, repetition = scope.separators.component, scope.separators.repetition
        first = sent if component in sent else f"{sent}{component * 4}{source.record_type}"
        others = scope.segment(name).raw(number)
        sent = f"{first}{repetition}{others}" if others else first
    if place:
        moved[f"{name}-{number}"] = place
    lines[index] = _with(lines[index], scope.separators.field, number, sent)


def _raw(message: Message, path: str) -> str:
    """What was sent at a place, escapes and all: a whole field with its repeats, or a part of its first repeat."""
    name, number, component, sub = parse_place(path)
    value = message.segment(name).raw(number)
    if "." not in path or value == '""':
        return value.strip()
    separators = message.separators
    value = value.split(separators.repetition, 1)[0]
    levels = [(separators.component, component), (separators.sub, sub)][: path.count(".")]
    for separator, wanted in levels:
        parts = value.split(separator)
        value = parts[wanted - 1] if wanted <= len(parts) else ""
    return value.strip()


def _with(line: str, mark: str, number: int, value: str) -> str:
    fields = line.split(mark)
    if len(fields) <= number:
        if not value:
            return line
        fields += [""] * (number + 1 - len(fields))
    fields[number] = value
    return mark.join(fields)


def as_sent(result: r.Change | r.Unmapped, moved: Mapping[str, str]) -> r.Change | r.Unmapped:
    """Places of flags and reasons as the sender knows them."""
    if isinstance(result, r.Unmapped):
        place, space, found = result.detail.partition(" ")
        return replace(result, detail=f"{moved.get(place, place)}{space}{found}")
    also = as_sent(result.also, moved) if result.also else None
    assert not isinstance(also, r.Unmapped)
    return replace(result, flags=tuple(_flag_as_sent(flag, moved) for flag in result.flags), also=also)


def _flag_as_sent(flag: str, moved: Mapping[str, str]) -> str:
    name, colon, place = flag.partition(":")
    return f"{name}{colon}{moved.get(place, place)}"
