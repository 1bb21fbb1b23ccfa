"""What patients come for: diagnoses with their operations, drawn to fit sex, age and kind of visit."""

from bisect import bisect
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Any

from adapters.his.simulator.hospital import Hospital, load_data

Coded = tuple[str, str]
"""A code and its text."""

KINDS = "IOE"
"""PV1-2: inpatient, outpatient, emergency."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A main diagnosis as one department sees it; the fields are those of `config/demo/conditions.yaml`."""

    department: str
    code: str
    text: str
    kinds: str
    from_age: float
    to_age: float
    sex: str
    days: float
    died: float
    is_chronic: bool
    is_once: bool
    is_day_case: bool
    later: str
    always: tuple[Coded, ...]
    also: tuple[Coded, ...]
    operations: tuple[tuple[Coded, float], ...]

    def fits(self, sex: str, age: float, kind: str) -> bool:
        """Whether a patient of that sex and age can come with this, in that kind of visit (empty: in any)."""
        return (
            self.from_age <= age <= self.to_age and self.sex in ("", sex) and (not kind or kind in self.kinds)
        )


@dataclass(frozen=True, slots=True)
class Comorbidity:
    """A chronic disease that people of an age live with."""

    coded: Coded
    from_age: int
    share: float


def _coded(text: str) -> Coded:
    code, _, name = text.partition(" ")
    return code, name


def _operation(text: str) -> tuple[Coded, float]:
    operation, _, share = text.rpartition(" ")
    return _coded(operation), float(share)


def _condition(department: str, data: dict[str, Any]) -> Condition:
    return Condition(
        department=department,
        code=data["code"],
        text=data["text"],
        kinds=data["kinds"],
        from_age=data["ages"][0],
        to_age=data["ages"][1],
        sex=data.get("sex", ""),
        days=data.get("days", 5.5),
        died=data.get("died", 0.0),
        is_chronic=data.get("chronic", False),
        is_once=data.get("once", False),
        is_day_case=data.get("day_case", False),
        later=data.get("later", ""),
        always=tuple(map(_coded, data.get("always", ()))),
        also=tuple(map(_coded, data.get("also", ()))),
        operations=tuple(map(_operation, data.get("operations", ()))),
    )


class Casebook:
    """All conditions of a hospital with their weights: Zipf (s = 1) over departments, and within each."""

    def __init__(self, hospital: Hospital) -> None:
        data = load_data("conditions.yaml")
        self._weighted: list[tuple[Condition, float]] = []
        self._cells: dict[tuple[str, float, str, bool], tuple[list[float], list[Condition]]] = {}
        for place, department in enumerate(hospital.departments, start=1):
            conditions = [_condition(department.code, each) for each in data["departments"][department.code]]
            whole = sum(1 / rank for rank in range(1, len(conditions) + 1))
            self._weighted += [
                (condition, 1 / place / rank / whole) for rank, condition in enumerate(conditions, start=1)
            ]
        self.conditions = tuple(condition for condition, _ in self._weighted)
        self._later = {condition.code: condition for condition in reversed(self.conditions)}
        self._comorbidities = tuple(
            Comorbidity((each["code"], each["text"]), each["from_age"], each["share"])
            for each in data["comorbidities"]
        )

    def pick(
        self, rng: Random, *, sex: str, age: float, kind: str = "", again: bool = False
    ) -> Condition | None:
        """A condition for such a patient; `again` leaves out what does not come twice in a year."""
        # Years, and months for the small: exact enough, and few enough cells to keep them all.
        age = int(age) if age >= 3 else int(age * 12.5) / 12.5
        key = (sex, age, kind, again)
        cell = self._cells.get(key)
        if cell is None:
            fitting = [
                (condition, weight)
                for condition, weight in self._weighted
                if condition.from_age <= age <= condition.to_age
                and condition.fits(sex, age, kind)
                and not (again and condition.is_once)
            ]
            cell = list(accumulate(weight for _, weight in fitting)), [condition for condition, _ in fitting]
            self._cells[key] = cell
        bounds, conditions = cell
        return conditions[bisect(bounds, rng.random() * bounds[-1])] if bounds else None

    def lives_with(self, rng: Random, age: float) -> tuple[Coded, ...]:
        """The chronic diseases of somebody of that age."""
        return tuple(
            [each.coded for each in self._comorbidities if age >= each.from_age and rng.random() < each.share]
        )

    def later(self, condition: Condition) -> Condition:
        """What a patient treated for this comes back with."""
        return self._later[condition.later] if condition.later else condition
