"""The simulator: everything a HIS tells of some days, message by message, from one seed."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from heapq import heappop, heappush
from random import Random

from adapters.his.simulator.arrivals import DAY, Arrivals, Calendar
from adapters.his.simulator.clinical import KINDS as CLINICAL_KINDS
from adapters.his.simulator.clinical import WITHOUT_VISIT, clinical_steps
from adapters.his.simulator.conditions import Casebook
from adapters.his.simulator.hospital import Hospital, load_hospital
from adapters.his.simulator.messages import SECOND_SENDER, Sender, SimulatedMessage, Writer
from adapters.his.simulator.people import People, Person, dice
from adapters.his.simulator.stays import Planner, Shares, Stay, Step


@dataclass(slots=True)
class WardState:
    """Who lies in the hospital, and who will not come again."""

    open: dict[str, Stay] = field(default_factory=dict)  # inpatient stays by visit number
    dead: set[int] = field(default_factory=set)  # indexes of people
    moved: set[int] = field(default_factory=set)  # people whose telephone number changed

    def tell(self, step: Step) -> None:
        """What the step changes, before it is written."""
        stay, event = step.stay, step.event
        if event == "A01":
            self.open[stay.visit] = stay
        elif event == "A02":
            stay.location = step.location or stay.location
        elif event == "A08":
            stay.shown = min(stay.shown + 1, len(stay.diagnoses)) if stay.kind == "I" else len(stay.diagnoses)
            stay.location = step.location or stay.location
            stay.attending = step.attending or stay.attending
        elif event == "A03":
            stay.discharged = stay.planned.pop(0)
            stay.shown = len(stay.diagnoses)
            self.open.pop(stay.visit, None)
            if stay.is_death:
                self.dead.add(stay.person.index)
        elif event == "A13":
            stay.discharged = None
            self.open[stay.visit] = stay
        elif event == "A11":
            self.open.pop(stay.visit, None)


class Simulator:
    """Some days of a hospital's messages. The same arguments give the same bytes.

    `messages()` may be called as often as wanted. Stays that the last day leaves open stay open:
    `end_state()` lists them, and `live_messages` goes on from there.
    """

    def __init__(
        self,
        seed: int,
        start: date,
        days: int,
        patients: int,
        hospital: Hospital | None = None,
        *,
        shares: Shares | None = None,
        sender: Sender | None = None,
        second_sender: Sender = SECOND_SENDER,
    ) -> None:
        if seed < 0 or days < 1 or patients < 0:
            raise ValueError("seed and patients are at least 0, days at least 1")
        self.seed, self.start, self.days, self.patients = seed, start, days, patients
        self.hospital = hospital or load_hospital()
        self.shares = shares or Shares()
        self.calendar = Calendar(start)
        self.casebook = Casebook(self.hospital)
        self.people = People(seed, self.casebook, second_sender=self.shares.second_sender)
        self.arrivals = Arrivals(self.calendar, days, patients)
        self._known = lru_cache(maxsize=4096)(self._make_person)
        senders = (sender or Sender(), second_sender)
        self._writers = tuple(Writer(self.calendar, each, seed=seed) for each in senders)

    def person(self, index: int) -> Person:
        """Patient number `index` of the seeded days."""
        return self._known(index)

    def messages(self) -> Iterator[SimulatedMessage]:
        """Every message in order of arrival, the resent and the late ones among them."""
        rng = dice(self.seed)
        shares = self.shares
        waiting: list[tuple[int, int, SimulatedMessage]] = []
        number = 0
        for step in self._steps(WardState()):
            while waiting and waiting[0][0] <= step.sent:
                yield heappop(waiting)[2]
            number += 1
            arrives = step.sent if step.arrives is None else step.arrives
            message = self.write(step, number, arrives)
            if step.arrives is not None:
                heappush(waiting, (arrives, number, message))
            else:
                yield message
            chance = rng.random()
            if chance < shares.resent:  # the sender missed the ACK
                again = arrives + 10 + int(rng.random() * 600)
                heappush(waiting, (again, -number, message._replace(at=self.calendar.moment(again))))
            elif chance > 1 - shares.malformed:
                number += 1
                raw = self._writer(step.stay).write_malformed(step, number)
                yield message._replace(event="A08", raw=raw)
        while waiting:
            yield heappop(waiting)[2]

    def end_state(self) -> WardState:
        """How the last day leaves the hospital; costs a run without the writing."""
        state = WardState()
        for _ in self._steps(state):
            pass
        return state

    def planner(self) -> Planner:
        """A planner at the beginning of its count of visits."""
        return Planner(self.seed, self.hospital, self.casebook, self.calendar, self.shares)

    def write(self, step: Step, number: int, arrives: int) -> SimulatedMessage:
        """The message of a step that has just been told to the ward state."""
        stay, event = step.stay, step.event
        raw = self._writer(stay).write(step, number)
        patient = stay.person.number if event == "A40" else stay.number
        visit = "" if event in ("A28", "A31", "A40", *WITHOUT_VISIT) else stay.visit
        return SimulatedMessage(self.calendar.moment(arrives), event, raw, patient, visit)

    def _make_person(self, index: int) -> Person:
        return self.people.person(index, self.calendar.day(self.arrivals.first_day(index) * DAY))

    def _told(self, planner: Planner, rng: Random, stay: Stay, *, may_move: bool) -> list[Step]:
        """Everything that is told of a stay."""
        steps = planner.steps(rng, stay, may_move=may_move)
        if self.shares.clinical and stay.kind == "I" and stay.planned:
            steps += clinical_steps(self.seed, stay, stay.planned[0], self.shares.clinical)
        return steps

    def _writer(self, stay: Stay) -> Writer:
        return self._writers[stay.person.is_second_sender]

    def _steps(self, state: WardState) -> Iterator[Step]:
        """All steps in the order they are sent; nobody is kept between two visits, only who comes when."""
        planner = self.planner()
        returning: dict[int, array[int]] = {}
        steps: list[tuple[int, int, Step]] = []
        pushed = 0
        for day in range(self.days):
            further = self.arrivals.further(day)
            visits = [(index, 1, -1) for index in self.arrivals.newcomers(day)]
            visits += [(code >> 16, code >> 8 & 255, code & 255) for code in returning.pop(day, ())]
            for index, count, coming in visits:
                rng = planner.seeded(index, count)
                left = further(rng) if coming < 0 else coming
                person = self.person(index)
                if index in state.moved:
                    person = self.people.moved(person)
                stay = planner.stay(rng, person, day, count)
                last = day
                if stay is not None:
                    for step in self._told(planner, rng, stay, may_move=index not in state.moved):
                        pushed += 1
                        heappush(steps, (step.sent, pushed, step))
                        last = max(last, _present(step))
                        if step.event == "A31":
                            state.moved.add(index)
                            stay.person = self.people.moved(person)
                if left and not (stay and stay.is_death):
                    comes = self.arrivals.next_day(rng, day, left)
                    if comes <= last:
                        comes = last + 1 + int(rng.expovariate(0.1))
                    if comes < self.days:
                        returning.setdefault(comes, array("Q")).append(
                            index << 16 | count + 1 << 8 | left - 1
                        )
            midnight = (day + 1) * DAY
            while steps and steps[0][0] < midnight:
                step = heappop(steps)[2]
                state.tell(step)
                yield step
                if step.event == "A40":  # written: from here on under the number that remains
                    step.stay.number = step.stay.person.number


def _present(step: Step) -> int:
    """The day until which the patient is here for it; papers follow without them."""
    return -1 if step.event in CLINICAL_KINDS else step.happened // DAY
