"""Messages for load tests: discharges of people who have never been here."""

from collections.abc import Iterator
from datetime import date, timedelta
from random import Random

from adapters.his.simulator.arrivals import DAY
from adapters.his.simulator.messages import SimulatedMessage
from adapters.his.simulator.stays import Planner, Stay, Step
from adapters.his.simulator.traffic import Simulator

_PER_SECOND = 20
_TREATMENT = ("99.9200", "针刺治疗")
_COMPANION = ("R53.x00", "乏力")


def bench_messages(
    seed: int, count: int, *, already: int = 0, start: date = date(2026, 1, 5)
) -> Iterator[SimulatedMessage]:
    """`count` discharges (A03 with PID, PV1, two or three DG1, a PR1), each of another new patient.

    `already` is the number of patients the archive holds: theirs are the record numbers below. Times run from
    the day after `start`, 20 messages to the second, MSH-10 never twice.
    """
    simulator = Simulator(seed, start, 1, 0)
    planner = simulator.planner()
    for index in range(already, already + count):
        sent = DAY + index // _PER_SECOND
        stay = _finished_stay(simulator, planner, planner.seeded(index, 1), index, sent - 60)
        yield simulator.write(Step("A03", sent - 60, sent, stay), index, sent)


def _finished_stay(simulator: Simulator, planner: Planner, rng: Random, index: int, leaves: int) -> Stay:
    person = simulator.people.person(index, simulator.start - timedelta(days=7))
    age = person.age_on(simulator.start)
    condition = simulator.casebook.pick(rng, sex=person.sex, age=age, kind="I") or person.home
    stay = planner.stay_at(rng, person, 0, 1, "I", condition, visit=f"B{index:010d}")
    stay.admitted = leaves - stay.planned.pop()
    stay.discharged = leaves
    if len(stay.diagnoses) == 1:
        stay.diagnoses += (_COMPANION,)
    stay.shown = len(stay.diagnoses)
    operation, after = stay.operation or (_TREATMENT, DAY // 2)
    stay.operation = operation, stay.admitted + after
    return stay
