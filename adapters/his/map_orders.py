"""RDE^O11, OMP^O09 and RAS^O17 to drug orders (HL7 2.9 chapter 4A): ORC with RXO, RXE, RXC, RXR, TQ1, RXA. Pure.

A herbal prescription is one ORC with many RXE or RXC; how many doses (剂, 付) stands in RXE-10, or where the source's
file says.
"""

import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from adapters.his.clinical_reading import Reading, coded, fingerprint, first
from adapters.hl7v2 import Message, Segment
from hcrm.archive.clinical.records import ClinicalRecord, MedicationRecord
from hcrm.archive.clinical.terms import EndBasis, OrderStatus
from hcrm.archive.records import Unmapped

_CONTROL = {
    "CA": OrderStatus.CANCELLED, "OC": OrderStatus.CANCELLED, "CR": OrderStatus.CANCELLED, "UA": OrderStatus.CANCELLED,
    "DC": OrderStatus.STOPPED, "OD": OrderStatus.STOPPED, "DR": OrderStatus.STOPPED,
    "HD": OrderStatus.ON_HOLD, "OH": OrderStatus.ON_HOLD, "HR": OrderStatus.ON_HOLD,
}  # fmt: skip
"""ORC-1, HL7 table 0119; all others are orders that stand."""
_STATE = {
    "CM": OrderStatus.COMPLETED, "CA": OrderStatus.CANCELLED, "DC": OrderStatus.STOPPED, "HD": OrderStatus.ON_HOLD,
}  # fmt: skip
"""ORC-5, HL7 table 0038."""
_DOSES = frozenset("剂付帖贴服")
_DURATION = re.compile(r"([DWLMHdwlmh])\s?(\d{1,4})|(\d{1,4})\s?(天|日|周|月|D|d|W|w|day|days|week|weeks)?")
_DAYS = {"D": 1, "W": 7, "L": 30, "M": 0, "H": 0, "天": 1, "日": 1, "周": 7, "月": 30}
_LONGEST = 3_660  # days: a course longer than ten years is a mistake


def map_orders(reading: Reading) -> ClinicalRecord | Unmapped:
    """Every ORC is an order."""
    groups = reading.message.groups("ORC")
    if not groups:
        return Unmapped("no_order", "ORC")
    found = (_order(group, reading) for group in groups)
    return ClinicalRecord(medications=tuple(order for order in found if order is not None))


def _order(group: Message, reading: Reading) -> MedicationRecord | None:
    orc, rxo, given = group.segment("ORC"), group.segment("RXO"), group.segments("RXA")
    encoded = group.segments("RXE")
    rxe = encoded[0] if encoded else Segment("RXE", [], group.separators)
    code, text = coded(rxe, 2)
    if not code:
        code, text = coded(rxo, 1)
    last = max((at for one in given if (at := reading.at(one, 4) or reading.at(one, 3))), default=None)
    number = first(orc.text(2), orc.text(3), orc.text(4))
    status = _CONTROL.get(orc.text(1)) or _STATE.get(orc.text(5)) or OrderStatus.ACTIVE
    if not code and given:
        code, text = coded(given[0], 5)
        return MedicationRecord(number or fingerprint(code), code, text, given_at=last)
    if not code and not number:
        reading.flags.append("unmapped:RXE-2")
        return None
    if not code:  # a cancellation that names the order only
        return MedicationRecord(number, "", status=status, given_at=last)
    quantity, unit = rxe.text(10), first(rxe.text(11, 2), rxe.text(11))
    doses = _doses(group, reading, quantity, unit)
    is_many = len(encoded) > 1
    is_herbal = doses is not None or is_many
    starts_on = _first_day(reading, group)
    ends_on, basis = _end(reading, group, starts_on, doses)
    return MedicationRecord(
        number=number or fingerprint(code, starts_on),
        code=code,
        text="中药处方" if is_many else text,
        status=status,
        is_herbal=is_herbal or None,
        components=_components(group, encoded) or None,
        dose=None if is_many else first(rxe.text(3), rxo.text(2)) or None,
        dose_unit=None if is_many else _unit(rxe, rxo),
        route=first(group.segment("RXR").text(1, 2), group.segment("RXR").text(1)) or None,
        frequency=first(group.segment("TQ1").text(3), rxe.text(1, 2), orc.text(7, 2)) or None,
        quantity=None if doses is not None else first(quantity, rxo.text(11)) or None,
        quantity_unit=None if doses is not None else unit or None,
        doses=doses,
        note="\n".join(_notes(group, rxe)) or None,
        starts_on=starts_on,
        ends_on=ends_on,
        end_basis=basis,
        given_at=last,
    )


def _unit(rxe: Segment, rxo: Segment) -> str | None:
    return first(rxe.text(5, 2), rxe.text(5), rxo.text(4, 2), rxo.text(4)) or None


def _components(group: Message, encoded: list[Segment]) -> tuple[Mapping[str, Any], ...]:
    """What it is made of: RXC, else the RXE of a prescription with several."""
    parts = [(segment, 2, 3, 4) for segment in group.segments("RXC")]
    if not parts and len(encoded) > 1:
        parts = [(segment, 2, 3, 5) for segment in encoded]
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for segment, name, amount, unit in parts:
        code, text = coded(segment, name)
        seen.setdefault(
            (code, segment.text(amount)),  # an order as placed and as encoded lists them twice
            {"code": code, "text": text, "amount": segment.text(amount),
             "unit": first(segment.text(unit, 2), segment.text(unit))},
        )  # fmt: skip
    return tuple(seen.values())


def _notes(group: Message, rxe: Segment) -> list[str]:
    texts = [repeat.text(2) or repeat.text(1) for repeat in rxe.repeats(7)]
    texts += [repeat.whole() for note in group.segments("NTE") for repeat in note.repeats(3)]
    return [text for text in texts if text]


def _doses(group: Message, reading: Reading, quantity: str, unit: str) -> int | None:
    """Doses of a herbal prescription: where the source's file says, else RXE-10 counted in 剂 or 付."""
    for place in reading.source.herbal_doses_from:
        if place != "RXE-10" and (sent := group.at(place)):
            return _whole(sent)
    return _whole(quantity) if unit and unit[0] in _DOSES else None


def _whole(text: str) -> int | None:
    digits = re.match(r"\d{1,4}", text)
    return int(digits[0]) if digits else None


def _first_day(reading: Reading, group: Message) -> date | None:
    orc, rxe, tq1 = group.segment("ORC"), group.segment("RXE"), group.segment("TQ1")
    places = (("TQ1-7", tq1.text(7)), ("RXE-1", rxe.text(1, 4)), ("ORC-7", orc.text(7, 4)), ("ORC-15", orc.text(15)),
              ("ORC-9", orc.text(9)))  # fmt: skip
    return next((day for place, text in places if text and (day := reading.day(text, place))), None)


def _end(
    reading: Reading, group: Message, starts_on: date | None, doses: int | None
) -> tuple[date | None, EndBasis | None]:
    """The last day: told, else by how long it lasts, else by the doses, one a day."""
    orc, rxe, tq1 = group.segment("ORC"), group.segment("RXE"), group.segment("TQ1")
    for place, text in (("TQ1-8", tq1.text(8)), ("RXE-1", rxe.text(1, 5)), ("ORC-7", orc.text(7, 5))):
        day = reading.day(text, place) if text else None
        if day is not None:
            return day, EndBasis.TOLD
    if starts_on is None:
        return None, None
    for text in (
        " ".join(filter(None, (tq1.text(6), first(tq1.text(6, 2))))),
        rxe.text(1, 3),
        orc.text(7, 3),
    ):
        days = _days(text)
        if days:
            return _after(starts_on, days), EndBasis.DURATION
    return (_after(starts_on, doses), EndBasis.DOSES) if doses else (None, None)


def _days(text: str) -> int:
    """Days of a duration: D7, W2, `7 天`, 10; hours and what cannot be read are none."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        return 0
    letter, number, amount, unit = found.groups()
    if letter:
        days = _DAYS[letter.upper()] * int(number)
    else:
        days = int(amount) * (_DAYS.get((unit or "D")[0].upper(), 0) or _DAYS.get(unit or "", 0))
    return days if days <= _LONGEST else 0


def _after(day: date, days: int) -> date | None:
    try:
        return day + timedelta(days=days - 1)
    except OverflowError:
        return None
