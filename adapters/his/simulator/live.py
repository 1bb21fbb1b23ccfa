"""The traffic of now: what goes on in the hospital after the simulated days have ended."""

from collections.abc import Callable, Container, Iterator
from datetime import datetime
from heapq import heappop, heappush

from adapters.his.simulator.arrivals import DAY, HOUR, MINUTE
from adapters.his.simulator.clinical import clinical_steps
from adapters.his.simulator.conditions import Condition
from adapters.his.simulator.messages import SimulatedMessage
from adapters.his.simulator.people import Draw, Person, dice, one_of
from adapters.his.simulator.stays import Stay, Step
from adapters.his.simulator.traffic import Simulator

_CENSUS = 1.6  # admissions pause above so many times the stays found open
_SHORTEST = 20 * HOUR  # nobody is discharged sooner
_SHORTEST_DAY_CASE = 1 * HOUR
_FEW = 10  # with fewer to discharge, day cases are admitted
_TRIES = 30  # until somebody comes for a day case
_CANCELLED = 0.04  # of the discharges, taken back some minutes later
_KNOWN = 0.6  # of those who come: have been here before


def live_messages(
    simulator: Simulator, *, now: datetime, per_minute: float = 6.0, open_visits: Container[str] | None = None
) -> Iterator[SimulatedMessage]:
    """Endless plausible messages from `now` on, about so many a minute: send each when its `at` has come.

    Stays left open are discharged, those planned first going first; people known and new are admitted, seen and
    updated. `open_visits` says which visits the archive still holds open, so that a demonstration started for
    the second time does not discharge anybody twice. The same simulator and moment give the same bytes.
    """
    if simulator.calendar.second(now) < simulator.days * DAY:
        raise ValueError("now lies within the simulated days")
    return _LiveTraffic(simulator, now, per_minute, open_visits).messages()


class _LiveTraffic:
    """The hospital while it is watched. A deed says whether there was anything to do."""

    def __init__(
        self, simulator: Simulator, now: datetime, per_minute: float, open_visits: Container[str] | None
    ) -> None:
        self._simulator = simulator
        self._planner = simulator.planner()
        self._rng = dice(simulator.seed << 40 | int(now.timestamp()))
        self._now = simulator.calendar.second(now)
        self._gap = MINUTE / per_minute
        self._state = simulator.end_state()
        if open_visits is not None:
            self._state.open = {
                visit: stay for visit, stay in self._state.open.items() if visit in open_visits
            }
        self._census = max(int(len(self._state.open) * _CENSUS), 10)
        # Who comes first now has an index of a block of its own for each start.
        self._newcomer = 10_000_000 + int(now.timestamp()) // 6 % 60_000_000
        self._due: list[tuple[int, int, str, Stay]] = []
        self._told = 0

    def messages(self) -> Iterator[SimulatedMessage]:
        deeds: Draw[Callable[[], bool]] = Draw(
            (
                (self._discharge, 11),
                (self._admit, 10),
                (self._see, 38),
                (self._update, 39),
                (self._move, 2),
            )
        )
        number = 0
        self._discharge()  # whoever starts a demonstration sees one at once
        while True:
            self._now += max(int(self._rng.expovariate(1 / self._gap)), 1)
            while not self._is_due():
                deeds(self._rng)()
            event, stay = heappop(self._due)[2:]
            number += 1
            step = Step(event, self._now - 5, self._now, stay)
            self._state.tell(step)
            yield self._simulator.write(step, number, self._now)

    def _is_due(self) -> bool:
        return bool(self._due) and self._due[0][0] <= self._now

    def _tell(self, event: str, stay: Stay, after: int = 0) -> None:
        self._told += 1
        heappush(self._due, (self._now + after, self._told, event, stay))

    def _discharge(self) -> bool:
        ready = [stay for stay in self._state.open.values() if self._is_ready(stay)]
        if not ready:
            return False
        stay = min(ready, key=lambda each: each.planned[0] if each.planned else each.admitted + 5 * DAY)
        leaves = self._now - self._within(1, 20)
        stay.planned = [leaves]
        if stay.operation and stay.operation[1] >= leaves:  # leaves sooner than planned, but not before it
            stay.operation = stay.operation[0], (stay.admitted + leaves) // 2
        self._tell("A03", stay)
        for step in self._clinical(stay, leaves):
            if step.event != "R01":  # the laboratory told its results soon after the admission
                self._tell(step.event, stay, (step.sent - step.happened) // MINUTE * 2)
        if not stay.is_death and self._rng.random() < _CANCELLED:
            stay.planned.append(self._now + DAY)
            self._tell("A13", stay, self._within(5, 20))
        return True

    def _is_ready(self, stay: Stay) -> bool:
        return self._now - stay.admitted >= (
            _SHORTEST_DAY_CASE if stay.condition.is_day_case and stay.operation else _SHORTEST
        )

    def _admit(self) -> bool:
        # So that a demonstration never runs out of discharges.
        if sum(map(self._is_ready, self._state.open.values())) < _FEW:
            return any(self._come("I", is_day_case=True) for _ in range(_TRIES))
        if len(self._state.open) >= self._census:
            return False
        return self._come("I") is not None

    def _see(self) -> bool:
        stay = self._come("O" if self._rng.random() < 0.8 else "E")
        if stay is not None:
            self._tell("A08", stay, self._within(10, 40))
        return stay is not None

    def _update(self) -> bool:
        if not self._state.open:
            return False
        self._tell("A08", one_of(self._rng, list(self._state.open.values())))
        return True

    def _move(self) -> bool:
        person = self._known()
        if person is None or person.index in self._state.moved:
            return False
        self._state.moved.add(person.index)
        moved = self._simulator.people.moved(person)
        self._tell("A31", self._planner.stay_at(self._rng, moved, self._now, 1, "O", person.home, visit="-"))
        return True

    def _come(self, kind: str, *, is_day_case: bool = False) -> Stay | None:
        """Somebody comes: registered first if new, then admitted or seen a moment later."""
        person = self._known() if self._rng.random() < _KNOWN else None
        is_new = person is None
        if person is None:
            person = self._simulator.people.person(self._newcomer, self._simulator.calendar.day(self._now))
        condition = self._condition(person, kind, is_new=is_new)
        if condition is None or (is_day_case and not condition.is_day_case):
            return None  # somebody else, next time
        self._newcomer += is_new
        visit = f"{kind}{self._simulator.calendar.stamp(self._now)[2:]}"
        arrives = self._within(0, 2) if is_new else 0
        stay = self._planner.stay_at(
            self._rng, person, self._now + arrives, 1 if is_new else 2, kind, condition, visit=visit
        )
        if is_new:
            self._tell("A28", stay)
        self._tell("A01" if kind == "I" else "A04", stay, arrives)
        if any(step.event == "R01" for step in self._clinical(stay, stay.admitted + DAY)):
            self._tell("R01", stay, self._within(3, 12))
        return stay

    def _clinical(self, stay: Stay, leaves: int) -> Iterator[Step]:
        """What else is told of an inpatient stay; a booking that will be missed lies beyond today."""
        share = self._simulator.shares.clinical
        if not share or stay.kind != "I":
            return iter(())
        steps = clinical_steps(self._simulator.seed, stay, leaves, share)
        return (step for step in steps if step.event != "S26")

    def _known(self) -> Person | None:
        """Somebody of the simulated days who lives and is not in the hospital."""
        if not self._simulator.patients:
            return None
        index = int(self._rng.random() * self._simulator.patients)
        if index in self._state.dead or any(stay.person.index == index for stay in self._state.open.values()):
            return None
        person = self._simulator.person(index)
        return self._simulator.people.moved(person) if index in self._state.moved else person

    def _condition(self, person: Person, kind: str, *, is_new: bool) -> Condition | None:
        age = person.age_on(self._simulator.calendar.day(self._now))
        home = self._simulator.casebook.later(person.home)
        if home.is_chronic and home.fits(person.sex, age, kind) and self._rng.random() < 0.65:
            return home
        return self._simulator.casebook.pick(self._rng, sex=person.sex, age=age, kind=kind, again=not is_new)

    def _within(self, low: int, high: int) -> int:
        """Some seconds between so many minutes."""
        return int(MINUTE * (low + (high - low) * self._rng.random()))
