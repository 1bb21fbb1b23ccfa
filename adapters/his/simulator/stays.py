"""Stays: when somebody comes, to whom, with what, for how long, and which events the HIS tells of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from random import Random

from adapters.his.simulator.arrivals import DAY, HOUR, MINUTE, Calendar
from adapters.his.simulator.conditions import KINDS, Casebook, Coded, Condition
from adapters.his.simulator.hospital import Department, Hospital, Physician
from adapters.his.simulator.people import Draw, Person, dice, one_of

_SIGMA = 0.75  # of the length of stay, log-normal
_RISK = 1.6  # brings the deaths of all conditions together to one discharge in a hundred
_RETURNING = 1 / 0.44  # only who comes a second time can be registered twice


@dataclass(frozen=True, slots=True)
class Shares:
    """How often what happens: assumptions of a general hospital, to be tuned against a site's counts."""

    inpatient: float = 0.5
    outpatient: float = 0.4  # the rest are emergencies
    updates: float = 2.5  # A08 of an inpatient stay, exponential mean
    cancelled_admission: float = 0.015
    cancelled_discharge: float = 0.02
    merged: float = 0.004  # of the patients
    moved: float = 0.06  # of the visits but the first: a new telephone number
    resent: float = 0.007
    out_of_order: float = 0.01
    malformed: float = 0.0  # further messages without PID, to see one parked
    second_sender: float = 0.0  # patients of the old HIS, which writes GB18030
    clinical: float = 0.0  # inpatient stays of which results, drugs, summary, costs and bookings are told


@dataclass(slots=True)
class Stay:
    """A visit and what the HIS has said of it so far; moments in seconds of the calendar."""

    person: Person
    number: str  # the record number in use: a merged patient has had another
    visit: str
    kind: str
    count: int
    department: Department
    attending: Physician
    condition: Condition
    location: str
    admitted: int
    planned: list[int]  # discharges; two where the first is cancelled
    way: str  # CV06.00.226
    diagnoses: tuple[Coded, ...]
    operation: tuple[Coded, int] | None
    shown: int = 1  # diagnoses told
    discharged: int | None = None

    @property
    def is_death(self) -> bool:
        """Whether the patient dies in this stay."""
        return self.way == "5"


@dataclass(slots=True)
class Step:
    """An event the HIS tells: when it happened, when it is sent, and (out of order) when it arrives."""

    event: str
    happened: int
    sent: int
    stay: Stay
    arrives: int | None = None
    location: str = ""  # a new bed
    attending: Physician | None = None  # another physician takes over


class Planner:
    """Makes stays, and the steps of each."""

    def __init__(
        self, seed: int, hospital: Hospital, casebook: Casebook, calendar: Calendar, shares: Shares
    ) -> None:
        self._seed = seed
        self._rng = dice(seed)
        self._hospital = hospital
        self._casebook = casebook
        self._calendar = calendar
        self._shares = shares
        self._ways = Draw((("1", 930), ("2", 18), ("3", 16), ("4", 30), ("9", 6)))
        self._kinds = Draw(
            (
                ("I", shares.inpatient),
                ("O", shares.outpatient),
                ("E", 1 - shares.inpatient - shares.outpatient),
            )
        )
        self._visits: dict[int, int] = {}
        self._staff = {
            code: Draw((each, 0.5 if each.is_head else 1.0) for each in staff)
            for code, staff in hospital.staff.items()
        }

    def seeded(self, index: int, count: int) -> Random:
        """The dice of somebody's visit number `count`, counted from 1; good until the next call."""
        self._rng.seed(self._seed << 40 | index << 8 | count)
        return self._rng

    def condition(
        self, rng: Random, person: Person, day: date, *, is_first: bool
    ) -> tuple[str, Condition] | None:
        """The kind of a visit and what it is for; None where nothing fits."""
        kind = self._kinds(rng)
        if is_first or (person.home.is_chronic and rng.random() < 0.65):
            home = person.home if is_first else self._casebook.later(person.home)
            if kind not in home.kinds:
                kind = one_of(rng, home.kinds)
            if is_first or home.fits(person.sex, person.age_on(day), kind):
                return kind, home
        age = person.age_on(day)
        order = (kind, *KINDS.replace(kind, ""))
        found = (
            (each, self._casebook.pick(rng, sex=person.sex, age=age, kind=each, again=True)) for each in order
        )
        return next(((each, condition) for each, condition in found if condition), None)

    def stay(self, rng: Random, person: Person, day: int, count: int) -> Stay | None:
        """A visit that begins on that day."""
        found = self.condition(rng, person, self._calendar.start + timedelta(days=day), is_first=count == 1)
        return self.stay_at(rng, person, self._arrival(rng, found[0], day), count, *found) if found else None

    def stay_at(
        self,
        rng: Random,
        person: Person,
        admitted: int,
        count: int,
        kind: str,
        condition: Condition,
        visit: str = "",
    ) -> Stay:
        """A visit that begins at that second, of that kind, for that."""
        department = self._hospital.by_code[condition.department]
        way = "1"
        planned: list[int] = []
        if kind == "I":
            way = "5" if rng.random() < condition.died * _RISK else self._ways(rng)
            planned = self._discharges(rng, admitted, condition, way)
        return Stay(
            person=person,
            number=person.number,
            visit=visit or self._visit_number(kind, admitted),
            kind=kind,
            count=count,
            department=department,
            attending=self._staff[department.code](rng),
            condition=condition,
            location=self._location(rng, department, kind, condition),
            admitted=admitted,
            planned=planned,
            way=way,
            diagnoses=self._diagnoses(rng, person, condition),
            operation=self._operation(rng, condition, admitted, planned[0]) if planned else None,
        )

    def steps(self, rng: Random, stay: Stay, *, may_move: bool = False) -> list[Step]:
        """What the HIS tells of the stay, in the order it says it; `may_move`: the telephone may have changed."""
        shares = self._shares
        steps: list[Step] = []
        is_first = stay.count == 1
        duplicate = stay.count == 2 and rng.random() < shares.merged * _RETURNING
        if duplicate:
            stay.number = f"9{stay.person.number[1:]}"  # registered again, without a look at the archive
        if is_first or duplicate:
            steps.append(self._step("A28", stay, stay.admitted - _between(rng, 2 * MINUTE, 12 * MINUTE)))
        elif may_move and rng.random() < shares.moved:
            steps.append(self._step("A31", stay, stay.admitted - _between(rng, 2 * MINUTE, 12 * MINUTE)))
        steps.append(
            self._step(
                "A01" if stay.kind == "I" else "A04", stay, stay.admitted, _between(rng, 10, 8 * MINUTE)
            )
        )
        if stay.kind == "I":
            steps += self._inpatient(rng, stay)
        elif rng.random() < 0.85:  # the diagnosis, when the patient has been seen
            seen = stay.admitted + _between(rng, 25 * MINUTE, (3 if stay.kind == "O" else 9) * HOUR)
            steps.append(self._step("A08", stay, seen))
        if duplicate:
            steps.append(self._step("A40", stay, stay.admitted + _between(rng, 2 * HOUR, 70 * HOUR)))
        steps.sort(key=lambda step: step.sent)
        if rng.random() < shares.out_of_order * len(steps):
            self._delay_one(rng, steps)
        return steps

    def _inpatient(self, rng: Random, stay: Stay) -> Iterator[Step]:
        if not stay.is_death and rng.random() < self._shares.cancelled_admission:
            yield self._step("A11", stay, stay.admitted + _between(rng, 20 * MINUTE, 5 * HOUR))
            stay.planned.clear()
            return
        leaves = stay.planned[0]
        for _ in range(int(rng.expovariate(1 / self._shares.updates) + 0.5)):
            yield self._update(rng, stay, leaves)
        delay = _between(rng, MINUTE, 40 * MINUTE)
        yield self._step("A03", stay, leaves, delay)
        if not stay.is_death and rng.random() < self._shares.cancelled_discharge:
            yield self._step("A13", stay, leaves + delay + _between(rng, 20 * MINUTE, 8 * HOUR))
            again = self._leaving(rng, leaves // DAY + 1 + int(rng.random() * 3))
            stay.planned.append(again)
            yield self._step("A03", stay, again, _between(rng, MINUTE, 40 * MINUTE))

    def _update(self, rng: Random, stay: Stay, leaves: int) -> Step:
        """Some change of an inpatient stay: mostly of the diagnoses, else of the bed or the physician."""
        at = stay.admitted + _between(rng, 20 * MINUTE, leaves - stay.admitted - MINUTE)
        by_day = at // DAY * DAY + int(rng.triangular(7, 22, 10) * HOUR)
        step = self._step(
            "A08", stay, by_day if stay.admitted + 20 * MINUTE < by_day < leaves - MINUTE else at
        )
        chance = rng.random()
        if chance < 0.25:
            step.location = self._location(rng, stay.department, stay.kind, stay.condition)
        elif chance < 0.3:
            step.attending = self._staff[stay.department.code](rng)
        return step

    @staticmethod
    def _step(event: str, stay: Stay, happened: int, delay: int = 5) -> Step:
        return Step(event, happened, happened + delay, stay)

    @staticmethod
    def _delay_one(rng: Random, steps: list[Step]) -> None:
        """Let one message arrive after the one that follows it."""
        pairs = [(step, after) for step, after in pairwise(steps) if after.sent - step.sent < 6 * HOUR]
        if pairs:
            step, after = one_of(rng, pairs)
            step.arrives = after.sent + _between(rng, 3, 4 * MINUTE)

    def _visit_number(self, kind: str, admitted: int) -> str:
        day = admitted // DAY
        number = self._visits[day] = self._visits.get(day, 0) + 1
        self._visits.pop(day - 2, None)
        return f"{kind}{self._calendar.stamp(admitted)[2:8]}{number:05d}"

    def _arrival(self, rng: Random, kind: str, day: int) -> int:
        if kind == "E":
            hour = rng.triangular(0.3, 24, 19.5)
        elif kind == "O":
            hour = rng.triangular(7.6, 17.4, 9)
        else:
            hour = rng.triangular(7.5, 21, 9)
        return min(day * DAY + int(hour * HOUR), day * DAY + DAY - 10)

    def _discharges(self, rng: Random, admitted: int, condition: Condition, way: str) -> list[int]:
        length = min(max(condition.days * rng.lognormvariate(0, _SIGMA), 1.0), 60.0)
        if way == "5":
            return [admitted + int(length * DAY)]  # death keeps no hours
        return [self._leaving(rng, admitted // DAY + round(length))]

    def _leaving(self, rng: Random, day: int) -> int:
        if self._calendar.is_weekend(day) and rng.random() < 0.4:
            day += 2
        return day * DAY + int(rng.triangular(8, 17, 11) * HOUR)

    @staticmethod
    def _location(rng: Random, department: Department, kind: str, condition: Condition) -> str:
        """PV1-3: department ^ room ^ bed ^ facility ... the ward's name in .9."""
        if kind == "O":
            return f"{department.code}^{int(rng.random() * 8) + 1}诊室^^H1^^C^^^{department.name}门诊"
        if kind == "E":
            return f"{department.code}^急诊^^H1^^C^^^急诊"
        own = [ward for ward in department.wards if ward.only and condition.code.startswith(ward.only)]
        ward = one_of(rng, own or [ward for ward in department.wards if not ward.only])
        bed = int(rng.random() * ward.beds) + 1
        return f"{department.code}^{ward.code}{(bed + 2) // 3:02d}^{bed:02d}^H1^^N^^^{ward.name}"

    @staticmethod
    def _diagnoses(rng: Random, person: Person, condition: Condition) -> tuple[Coded, ...]:
        """One to three: the main one, then what goes with it or with the patient."""
        found = [(condition.code, condition.text), *condition.always]
        others = [each for each in condition.also if rng.random() < 0.35]
        others += [each for each in person.comorbidities if rng.random() < 0.75]
        taken = {code[:3] for code, _ in found}
        for code, text in others:
            if len(found) < 3 and code[:3] not in taken:
                taken.add(code[:3])
                found.append((code, text))
        return tuple(found)

    @staticmethod
    def _operation(rng: Random, condition: Condition, admitted: int, leaves: int) -> tuple[Coded, int] | None:
        chance = rng.random()
        for operation, share in condition.operations:
            chance -= share
            if chance < 0:
                begins = admitted + int(
                    min((leaves - admitted) * 0.45, 2.5 * DAY) * (0.25 + 0.75 * rng.random())
                )
                by_day = begins // DAY * DAY + int(rng.triangular(8.5, 17, 10) * HOUR)
                return operation, by_day if admitted + HOUR < by_day < leaves - HOUR else begins
        return None


def _between(rng: Random, low: int, high: int) -> int:
    return low + int(rng.random() * max(high - low, 0))
