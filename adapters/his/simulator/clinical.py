"""What laboratory, pharmacy, ward and booking desk tell of an inpatient stay: results, drugs, summary, costs, bookings.

At most four messages a stay, and sometimes one more when the patient does not come back: `Shares.clinical` says of
how many stays. Drawn from the visit number, so that the rest of the traffic is the same with and without.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from adapters.his.simulator.arrivals import DAY, HOUR, MINUTE
from adapters.his.simulator.hospital import load_data
from adapters.his.simulator.stays import Stay, Step

KINDS = {
    "R01": "ORU^R01^ORU_R01", "O11": "RDE^O11^RDE_O11", "P03": "DFT^P03^DFT_P03", "T02": "MDM^T02^MDM_T02",
    "S12": "SIU^S12^SIU_S12", "S26": "SIU^S26^SIU_S12",
}  # fmt: skip
"""Trigger event: MSH-9 (HL7 v2.4, chapters 4, 6, 7, 9, 10)."""
WITHOUT_VISIT = ("S12", "S26")
_CRITICAL = 0.05  # of the laboratory reports
_BOOKED, _CHARGED = 0.5, 0.5  # of the stays: the one or the other
_MISSED = 0.12  # of the bookings
_RETURN = 14  # days after the discharge
Stamp = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class _Telling:
    """A step on its way to segments."""

    step: Step
    rng: Random
    stamp: Stamp
    physician: str  # XCN


def clinical_steps(seed: int, stay: Stay, leaves: int, share: float) -> Iterator[Step]:
    """What is told of a stay that ends at `leaves`, in the order it happens."""
    rng = _dice(seed, stay)
    if rng.random() >= share:
        return
    measured = min(stay.admitted + 3 * HOUR, (stay.admitted + leaves) // 2)
    yield Step("R01", measured, measured + 20 * MINUTE, stay)
    yield Step("T02", leaves, leaves + 50 * MINUTE, stay)
    if stay.is_death:
        return
    yield Step("O11", leaves, leaves + 45 * MINUTE, stay)
    if rng.random() < _CHARGED:
        yield Step("P03", leaves, leaves + 55 * MINUTE, stay)
        return
    yield Step("S12", leaves, leaves + 60 * MINUTE, stay)
    if rng.random() < _MISSED:
        comes = _returns(leaves)
        yield Step("S26", comes + 3 * HOUR, comes + 3 * HOUR + 5, stay)


def clinical_segments(seed: int, step: Step, stamp: Stamp, physician: str) -> str:
    """The segments of a step after PID and PV1; the same stay says the same each time."""
    rng = _dice(seed, step.stay)
    rng.random()
    return _WRITERS[step.event](_Telling(step, rng, stamp, physician))


def _dice(seed: int, stay: Stay) -> Random:
    return Random(f"{seed} {stay.visit}")  # noqa: S311  a simulation, no secret


def _returns(leaves: int) -> int:
    """When the patient is to come back: at nine, two weeks later."""
    return (leaves // DAY + _RETURN) * DAY + 9 * HOUR


def _results(told: _Telling) -> str:
    step, rng, stamp = told.step, told.rng, told.stamp
    panel = load_data("clinical.yaml")["panels"][int(rng.random() * 2)]
    calls = rng.random() < _CRITICAL
    at = stamp(step.happened)
    rows = []
    for rank, item in enumerate(panel["items"], start=1):
        value, flag = _value(rng, item, calls and rank == 1)
        text = f"{value:.{item['digits']}f}"
        unit = item["unit"].replace("^", "\\S\\")
        rows.append(
            f"OBX|{rank}|NM|{item['code']}^{item['text']}||{text}|{unit}|{item['low']}-{item['high']}|{flag}|||F|||{at}\r"
        )
    number = f"L{step.stay.visit}"
    return (
        f"ORC|RE||{number}\rOBR|1||{number}|{panel['code']}^{panel['text']}|||{at}|||||||||{told.physician}||||||"
        f"{stamp(step.sent)}||LAB|F\r{''.join(rows)}"
    )


def _value(rng: Random, item: dict[str, Any], calls: bool) -> tuple[float, str]:
    low, high = item["low"], item["high"]
    if calls:
        if "critical_high" in item:
            return item["critical_high"] * 1.08, "HH"
        return item["critical_low"] * 0.9, "LL"
    value = rng.gauss((low + high) / 2, (high - low) / 3.4)
    value = min(
        max(value, item.get("critical_low", low * 0.7) * 1.05), item.get("critical_high", high * 1.4) * 0.95
    )
    return value, "H" if value > high else "L" if value < low else ""


def _drugs(told: _Telling) -> str:
    step, stamp = told.step, told.stamp
    data, stay = load_data("clinical.yaml"), step.stay
    drugs = data["drugs"].get(stay.department.code, data["drugs"]["any"])
    day, by = stamp(step.happened)[:8], told.physician
    rows = [
        f"ORC|NW|{stay.visit}-{rank}||{stay.visit}|||^{drug['frequency']}^D{drug['days']}^{day}||{stamp(step.sent)}|||{by}\r"
        f"RXE||{drug['code']}^{drug['text']}|{drug['dose']}||{drug['unit']}|||||{drug['days']}|{drug['pack']}\r"
        f"RXR|{drug['route']}\r"
        for rank, drug in enumerate(drugs, start=1)
    ]
    herbs = data["herbs"]
    if told.rng.random() < herbs["share"]:
        rows.append(f"ORC|NW|{stay.visit}-9||{stay.visit}|||^BID^^{day}||{stamp(step.sent)}|||{by}\r")
        rows += [
            f"RXE||{herb['code']}^{herb['text']}|{herb['amount']}||g|||||{herbs['doses']}|剂\r"
            for herb in herbs["items"]
        ]
    return "".join(rows)


def _summary(told: _Telling) -> str:
    step, stamp, stay = told.step, told.stamp, told.step.stay
    names = "；".join(text for _, text in stay.diagnoses)
    days = max((step.happened - stay.admitted) // DAY, 1)
    operation = f"住院期间行{stay.operation[0][1]}。" if stay.operation else "予对症支持治疗。"
    lines = [
        f"入院诊断：{stay.diagnoses[0][1]}。",
        f"诊疗经过：住院 {days} 天，完善检查。{operation}",
        f"出院诊断：{names}。",
        "出院医嘱：死亡，已向家属交代病情。"
        if stay.is_death
        else f"出院医嘱：按医嘱服药，清淡饮食，{_RETURN} 天后{stay.department.name}门诊复诊，不适随诊。",
    ]
    at = stamp(step.happened)
    texts = "".join(f"OBX|{rank}|TX|DS^出院小结||{line}||||||F\r" for rank, line in enumerate(lines, start=1))
    by, sent = told.physician, stamp(step.sent)
    return f"TXA|1|DS|TX|{at}|{by}||{sent}||{by}|||D{stay.visit}|||||AU||AV\r{texts}"


def _costs(told: _Telling) -> str:
    step, stay = told.step, told.step.stay
    days = max((step.happened - stay.admitted) // DAY, 1)
    at = told.stamp(step.happened)
    rows = []
    for rank, cost in enumerate(load_data("clinical.yaml")["costs"], start=1):
        fen = int((cost.get("a_day", 0) * days + cost.get("once", 0)) * 100 * (0.8 + 0.4 * told.rng.random()))
        rows.append(
            f"FT1|{rank}|{stay.visit}-{cost['code']}||{at}||CG|{cost['code']}^{cost['text']}|||1|"
            f"{fen // 100}.{fen % 100:02d}\r"
        )
    return "".join(rows)


def _booking(told: _Telling) -> str:
    step, stay = told.step, told.step.stay
    leaves = step.happened if step.event == "S12" else step.happened - 3 * HOUR - _RETURN * DAY
    comes = _returns(leaves)
    begins, ends = told.stamp(comes), told.stamp(comes + 20 * MINUTE)
    return (
        f"SCH|B{stay.visit}||||||^复诊|||20|min|^^^{begins}^{ends}\rRGS|1\r"
        f"AIS|1|A|{stay.department.code}^{stay.department.name}复诊|{begins}|||20|min\r"
        f"AIL|1|A|门诊^{stay.department.name}\rAIP|1|A|{told.physician}\r"
    )


_WRITERS: dict[str, Callable[[_Telling], str]] = {
    "R01": _results, "O11": _drugs, "T02": _summary, "P03": _costs, "S12": _booking, "S26": _booking,
}  # fmt: skip
