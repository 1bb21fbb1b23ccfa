"""Messages for load tests: discharges, whole stays and laboratory reports of people who have never been here.

Times of sending run from the day after `start`, 20 messages to the second, MSH-10 never twice. `already` is the
number of patients the archive holds: theirs are the record numbers below.
"""

from collections import deque
from collections.abc import Iterator
from datetime import date, timedelta
from random import Random

from adapters.his.simulator.arrivals import DAY
from adapters.his.simulator.messages import SimulatedMessage
from adapters.his.simulator.stays import Stay, Step
from adapters.his.simulator.traffic import Simulator, WardState

_START = date(2026, 1, 5)
_PER_SECOND = 20
_BEFORE = 60  # seconds between what happens and its message
_TREATMENT = ("99.9200", "针刺治疗")
_COMPANION = ("R53.x00", "乏力")
_EVENTS = ("A01", "A08", "A08", "A02", "A03")
_APART = 40  # admissions between two messages of a stay, which so are 200 messages apart
_REPORTS = 15  # of a patient
_ABREAST = 40  # patients whose reports come by turns

# Code, text, unit and limits of the analytes of a report; a value has as many digits as the upper limit.
_PANEL = (
    ("WBC", "白细胞计数", "10\\S\\9/L", "3.50", "9.50"),
    ("RBC", "红细胞计数", "10\\S\\12/L", "4.00", "5.60"),
    ("HGB", "血红蛋白", "g/L", "118", "172"),
    ("HCT", "红细胞压积", "%", "37.0", "50.0"),
    ("PLT", "血小板计数", "10\\S\\9/L", "125", "350"),
    ("NEUT", "中性粒细胞百分比", "%", "42.0", "75.0"),
    ("LYMPH", "淋巴细胞百分比", "%", "20.0", "50.0"),
    ("K", "钾", "mmol/L", "3.50", "5.30"),
    ("NA", "钠", "mmol/L", "137.0", "147.0"),
    ("CL", "氯", "mmol/L", "99.0", "110.0"),
    ("CA", "钙", "mmol/L", "2.11", "2.52"),
    ("CREA", "肌酐", "μmol/L", "57", "111"),
    ("UREA", "尿素", "mmol/L", "3.1", "8.8"),
    ("UA", "尿酸", "μmol/L", "208", "428"),
    ("GLU", "葡萄糖", "mmol/L", "3.90", "6.10"),
    ("ALT", "丙氨酸氨基转移酶", "U/L", "9", "50"),
    ("AST", "天门冬氨酸氨基转移酶", "U/L", "15", "40"),
    ("TBIL", "总胆红素", "μmol/L", "3.0", "22.0"),
    ("ALB", "白蛋白", "g/L", "40.0", "55.0"),
    ("CRP", "C反应蛋白", "mg/L", "0.0", "10.0"),
)


def bench_messages(
    seed: int, count: int, *, already: int = 0, start: date = _START
) -> Iterator[SimulatedMessage]:
    """`count` discharges (A03 with PID, PV1, two or three DG1, a PR1), each of another new patient."""
    load = _Load(seed, start)
    for index in range(already, already + count):
        sent = _sent(index)
        stay = load.stay(index, sent - _BEFORE)
        yield load.write(Step("A03", sent - _BEFORE, sent, stay), index)


def bench_stays(
    seed: int, count: int, *, already: int = 0, start: date = _START
) -> Iterator[SimulatedMessage]:
    """`count` messages of whole stays, each of another new patient: A01, two A08, A02, A03, about 200 apart.

    As an interface tells them after an outage: all of a stay has happened when its A01 is sent. The first 400 messages
    lead up to the even mixture; the last stays are not told to their end.
    """
    load = _Load(seed, start)
    stays: deque[Stay] = deque(maxlen=_APART * (len(_EVENTS) - 1) + 1)
    number, index = 0, already
    while number < count:
        stays.append(load.stay(index, _sent(number) - _BEFORE))
        index += 1
        told = min(len(_EVENTS), (len(stays) - 1) // _APART + 1)
        for rank in range(min(told, count - number)):
            stay = stays[-1 - rank * _APART]
            yield load.write(_event(stay, rank, _sent(number)), number)
            number += 1


def bench_results(
    seed: int, count: int, *, already: int = 0, start: date = _START
) -> Iterator[SimulatedMessage]:
    """`count` reports (ORU^R01 with 20 OBX), 15 of each new patient, whom the first makes known; 40 apart."""
    load = _Load(seed, start)
    for number in range(count):
        block, within = divmod(number, _ABREAST * _REPORTS)
        rank, place = divmod(within, _ABREAST)
        sent = _sent(number)
        leaves = _sent(block * _ABREAST * _REPORTS) + DAY  # still here
        stay = load.stay(already + block * _ABREAST + place, leaves)
        stay.discharged = None
        measured = stay.admitted + (sent - stay.admitted) * (rank + 1) // (_REPORTS + 1)
        message = load.write(Step("R01", measured, sent, stay), number)
        head = message.raw.partition(b"\rORC|")[0]
        report = load.report(stay, rank, measured, sent)
        yield message._replace(raw=head + b"\r" + report.encode())


def _sent(number: int) -> int:
    return DAY + number // _PER_SECOND


def _event(stay: Stay, rank: int, sent: int) -> Step:
    """The event of that rank; they lie evenly between admission and discharge."""
    leaves = stay.planned[0]
    happened = stay.admitted + (leaves - stay.admitted) * rank // (len(_EVENTS) - 1)
    step = Step(_EVENTS[rank], happened, sent, stay)
    if step.event == "A02":  # to the next bed of the ward
        department, room, bed, *rest = stay.location.split("^")
        step.location = "^".join((department, room, f"{int(bed) + 1:02d}", *rest))
    return step


class _Load:
    """People and stays by index, the same whatever was made before."""

    def __init__(self, seed: int, start: date) -> None:
        self._seed = seed
        self._simulator = Simulator(seed, start, 1, 0)
        self._planner = self._simulator.planner()
        self._state = WardState()

    def stay(self, index: int, leaves: int) -> Stay:
        """The stay of somebody, as planned; it ends then."""
        simulator, planner = self._simulator, self._planner
        rng = planner.seeded(index, 1)
        person = simulator.people.person(index, simulator.start - timedelta(days=7))
        age = person.age_on(simulator.start)
        condition = simulator.casebook.pick(rng, sex=person.sex, age=age, kind="I") or person.home
        stay = planner.stay_at(rng, person, 0, 1, "I", condition, visit=f"B{index:010d}")
        stay.admitted = leaves - stay.planned.pop()
        stay.planned.append(leaves)
        if len(stay.diagnoses) == 1:
            stay.diagnoses += (_COMPANION,)
        operation, after = stay.operation or (_TREATMENT, DAY // 2)
        stay.operation = operation, stay.admitted + after
        return stay

    def write(self, step: Step, number: int) -> SimulatedMessage:
        """The message of a step, sent when it says."""
        self._state.tell(step)
        return self._simulator.write(step, number, step.sent)

    def report(self, stay: Stay, rank: int, measured: int, sent: int) -> str:
        """OBR and OBX of somebody's report of that rank."""
        rng = Random(self._seed << 40 | stay.person.index << 8 | rank)  # noqa: S311  a simulation, no secret
        stamp = self._simulator.calendar.stamp
        number, at = f"L{stay.visit}{rank:02d}", stamp(measured)
        rows = [
            _row(place, *analyte, rng.gauss(0.5, 0.3), at) for place, analyte in enumerate(_PANEL, start=1)
        ]
        by = f"{stay.attending.code}^{stay.attending.name}"
        return (
            f"ORC|RE||{number}\rOBR|1||{number}|CHK^综合检验|||{at}|||||||||{by}||||||{stamp(sent)}||LAB|F\r"
            + "".join(rows)
        )


def _row(place: int, code: str, text: str, unit: str, low: str, high: str, share: float, at: str) -> str:
    """An OBX; `share` of the way from the lower limit to the upper one, outside of them flagged."""
    digits = len(high.partition(".")[2])
    value = max(float(low) + (float(high) - float(low)) * share, 0.0)
    flag = "H" if value > float(high) else "L" if value < float(low) else ""
    return f"OBX|{place}|NM|{code}^{text}||{value:.{digits}f}|{unit}|{low}-{high}|{flag}|||F|||{at}\r"
