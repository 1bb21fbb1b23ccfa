"""Simulated people: names by year of birth, addresses, numbers, relatives. Nobody who exists.

A person is a function of seed and index, so nobody has to be kept between two visits.
"""

from bisect import bisect, bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import accumulate
from operator import mul
from random import Random
from typing import Any, Generic, TypeVar

from adapters.his.simulator.conditions import Casebook, Coded, Condition
from adapters.his.simulator.hospital import load_data

T = TypeVar("T")

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHILDREN = 0.2
_NEWBORNS = 0.06  # of the children
_GENERATION = {"father": -27, "mother": -25, "son": 26, "daughter": 26}
_MOVED, _KIN = 20_345_679, 50_123_457  # where the numbers of these telephones begin
_FAMILY = 25  # each 25th patient is a relative of the one before


def check_digit(first17: str) -> str:
    """The last character of an identity number (GB 11643, ISO 7064 MOD 11-2)."""
    # The bytes of the digits are 48 too high; 48 * sum(_WEIGHTS) is 4 more than a multiple of 11.
    return "10X98765432"[(sum(map(mul, first17.encode("ascii"), _WEIGHTS)) - 4) % 11]


def dice(seed: int) -> Random:
    """Dice that fall the same way for the same seed."""
    return Random(seed)  # noqa: S311  # simulated people need no secrets


class Draw(Generic[T]):
    """A weighted choice, prepared once."""

    def __init__(self, weighted: Iterable[tuple[T, float]]) -> None:
        pairs = list(weighted)
        self._values = [value for value, _ in pairs]
        self._bounds = list(accumulate(weight for _, weight in pairs))

    def __call__(self, rng: Random) -> T:
        """One of the values."""
        return self._values[bisect(self._bounds, rng.random() * self._bounds[-1])]


def one_of(rng: Random, values: Sequence[T]) -> T:
    """One of them, all alike; a third of the cost of `Random.choice`."""
    return values[int(rng.random() * len(values))]


# Never changed once made; not frozen, because that doubles the cost of making one.
@dataclass(slots=True)
class Kin:
    """A relative (联系人): NK1; `relation` is GB/T 4761."""

    name: str
    relation: str
    phone: str


@dataclass(slots=True)
class Person:
    """A patient as the HIS knows them; texts are as they stand in the messages."""

    index: int
    number: str  # 病案号, PID-3
    id_number: str
    name: str
    family_name: str  # empty for peoples whose names have none
    sex: str
    born: date
    birth: str  # PID-7
    address: str  # PID-11
    phones: str  # PID-13
    marital: str
    ethnicity: str
    payment: str
    kin: Kin
    allergy: tuple[str, str, str] | None
    comorbidities: tuple[Coded, ...]
    home: Condition  # what they came for first
    is_second_sender: bool

    def age_on(self, day: date) -> float:
        """Age in years."""
        return (day - self.born).days / 365.25


class People:
    """Everybody who may come to the hospital, by index."""

    def __init__(self, seed: int, casebook: Casebook, *, second_sender: float = 0.0) -> None:
        data: dict[str, Any] = load_data("people.yaml")
        self._seed = seed
        self._casebook = casebook
        self._second_sender = second_sender
        self._rng = dice(seed)
        self._eras = [each["until"] for each in data["given"]]
        self._given_names: dict[str, list[dict[str, str]]] = {
            "M": [each["male"] for each in data["given"]],
            "F": [each["female"] for each in data["given"]],
        }
        # Zipf, flattened: the real first surname has 7 %, the hundredth 0.2 %.
        self._surname = Draw((name, 1 / (rank + 6)) for rank, name in enumerate(data["surnames"]))
        self._double: list[str] = data["double_surnames"]
        self._rare: dict[str, list[str]] = {
            "M": data["rare_given"]["male"],
            "F": data["rare_given"]["female"],
        }
        self._minorities = data["minorities"]
        self._ethnicity = Draw(data["ethnicities"].items())
        self._region = Draw((each, each["weight"]) for each in data["regions"])
        self._payment = Draw(data["payments"].items())
        self._allergy = Draw(
            ((each["kind"], each["code"], each["reaction"]), each["weight"]) for each in data["allergies"]
        )
        self._streets, self._estates = data["streets"], data["estates"]
        self._towns, self._villages = data["towns"], data["villages"]
        self._prefixes = data["mobile_prefixes"]
        self._area = data["landline_area"]
        self._marital, self._relations = data["marital"], data["relations"]

    def person(self, index: int, first_day: date) -> Person:
        """Person number `index`, who comes first on that day."""
        if index % _FAMILY == 7:
            return self._relative(index, self._make(index - 1, first_day), first_day)
        return self._make(index, first_day)

    def moved(self, person: Person) -> Person:
        """The same person with another mobile number."""
        return replace(person, phones=f"{self._mobile(person.index + _MOVED)}^PRN^CP")

    def _make(
        self, index: int, first_day: date, *, sex: str = "", age: float = -1.0, surname: str = ""
    ) -> Person:
        rng = self._rng
        rng.seed(self._seed << 40 | index << 8)
        sex = sex or ("M" if rng.random() < 0.5 else "F")
        age = age if age >= 0 else self._age(rng)
        born = first_day - timedelta(days=int(age * 365.25))
        birth = f"{born.year}{born.month:02d}{born.day:02d}"
        name, family_name, ethnicity = self._name(rng, sex, born.year, surname)
        kin, marital = self._kin(rng, index, family_name, ethnicity, sex, age, born.year)
        home = self._casebook.pick(rng, sex=sex, age=age)
        assert home is not None  # conditions.yaml has something for every age; a test holds it to that
        return Person(
            index=index,
            number=f"{index + 1:08d}",
            id_number="" if age < 0.1 or rng.random() < 0.03 else self._id_number(index, birth, sex),
            name=name,
            family_name=family_name,
            sex=sex,
            born=born,
            birth=birth,
            address=self._address(rng),
            phones=f"{kin.phone}^PRN^CP" if age < 15 else self._phones(rng, index, age),
            marital=marital,
            ethnicity=ethnicity,
            payment=self._payment(rng),
            kin=kin,
            allergy=self._allergy(rng) if rng.random() < 0.08 else None,
            comorbidities=self._casebook.lives_with(rng, age),
            home=home,
            is_second_sender=rng.random() < self._second_sender,
        )

    def _relative(self, index: int, other: Person, first_day: date) -> Person:
        """A patient of the same family: same home, same telephone, each the other's contact."""
        age = other.age_on(first_day)
        surname = ""
        if age < 15:
            relation, sex, own_age = ("son" if other.sex == "M" else "daughter"), "M", age + 24 + index % 11
            surname = other.family_name  # the father
        elif age >= 60:
            relation, sex, own_age = ("father" if other.sex == "M" else "mother"), "", age - 22 - index % 10
            surname = other.family_name if other.sex == "M" else ""
        else:
            sex = "F" if other.sex == "M" else "M"
            relation, own_age = ("husband" if other.sex == "M" else "wife"), max(age + index % 7 - 3, 22)
        made = self._make(index, first_day, sex=sex, age=own_age, surname=surname)
        return replace(
            made,
            address=other.address,
            phones=other.phones,
            marital=made.marital if relation in ("father", "mother") else self._marital["married"],
            kin=Kin(other.name, self._relations[relation], other.phones.partition("^")[0]),
        )

    @staticmethod
    def _age(rng: Random) -> float:
        if rng.random() < _CHILDREN:
            return rng.random() * 0.07 if rng.random() < _NEWBORNS else 0.1 + 13.9 * rng.random() ** 1.6
        while True:
            age = rng.gauss(58, 19)
            if 18 <= age <= 98:
                return age

    def _name(self, rng: Random, sex: str, year: int, family_name: str = "") -> tuple[str, str, str]:
        """Whole name, family name and ethnicity."""
        if not family_name and rng.random() < 0.006:
            ethnicity = one_of(rng, self._minorities)["ethnicity"]
            return self._minority_name(rng, sex, ethnicity), "", ethnicity
        family_name = family_name or self._family_name(rng)
        return f"{family_name}{self._given(rng, sex, year)}", family_name, self._ethnicity(rng)

    def _minority_name(self, rng: Random, sex: str, ethnicity: str) -> str:
        people = next(each for each in self._minorities if each["ethnicity"] == ethnicity)
        given: str = one_of(rng, people["male" if sex == "M" else "female"])
        return f"{given}·{one_of(rng, people['father'])}" if people["father"] else given

    def _family_name(self, rng: Random) -> str:
        return one_of(rng, self._double) if rng.random() < 0.006 else self._surname(rng)

    def _given(self, rng: Random, sex: str, year: int) -> str:
        parts = self._given_names[sex][bisect_left(self._eras, year)]
        chance = rng.random()
        if chance < (0.25 if 1960 <= year < 2000 else 0.06):
            return one_of(rng, parts["alone"])
        if chance > 0.99:
            return one_of(rng, self._rare[sex])
        return f"{one_of(rng, parts['first'])}{one_of(rng, parts['second'])}"

    def _kin(
        self, rng: Random, index: int, family_name: str, ethnicity: str, sex: str, age: float, born: int
    ) -> tuple[Kin, str]:
        """The contact person, and the marital status that goes with one."""
        chance = rng.random()
        status = "single"
        if age >= 24 and chance >= max(0.04, 0.7 - (age - 24) * 0.09):
            status = "divorced" if chance > 0.96 else "widowed" if age >= 68 and chance < 0.34 else "married"
        if status == "married" and (age < 55 or chance > 0.6):
            relation = "wife" if sex == "M" else "husband"
        elif status != "single" and age >= 46:
            relation = "son" if rng.random() < 0.5 else "daughter"
        elif age < 50:
            relation = "father" if rng.random() < 0.5 else "mother"
        else:
            relation = "brother" if sex == "M" else "sister"
        kin_sex = "M" if relation in ("son", "husband", "father", "brother") else "F"
        if family_name:
            # A wife, a mother and a woman's child have a family name of their own.
            is_same = relation in ("father", "brother", "sister") or (
                sex == "M" and relation in ("son", "daughter")
            )
            first = family_name if is_same else self._family_name(rng)
            name = f"{first}{self._given(rng, kin_sex, born + _GENERATION.get(relation, 0))}"
        else:
            name = self._minority_name(rng, kin_sex, ethnicity)
        return Kin(name, self._relations[relation], self._mobile(index + _KIN)), self._marital[status]

    @staticmethod
    def _id_number(index: int, birth: str, sex: str) -> str:
        # 99xxxx: no such area was ever assigned. Area and serial number follow the index: no two alike.
        serial = index // 9000 % 500 * 2 + (sex == "M")
        first17 = f"99{index % 9000:04d}{birth}{serial:03d}"
        return f"{first17}{check_digit(first17)}"

    def _mobile(self, number: int) -> str:
        # The factor has no divisor in common with 10**8: different numbers stay different.
        scattered = (number * 48_271_003 + self._seed * 7919 + 36_912_581) % 100_000_000
        return f"{self._prefixes[number % len(self._prefixes)]}{scattered:08d}"

    def _phones(self, rng: Random, index: int, age: float) -> str:
        mobile = f"{self._mobile(index)}^PRN^CP"
        chance = rng.random()
        if age < 60 or chance > 0.16:
            return mobile
        landline = f"{self._area}-8{int(rng.random() * 9_000_000) + 1_000_000}"
        return f"{landline}^PRN^PH" if chance < 0.03 else f"{mobile}~{landline}^ORN^PH"

    def _address(self, rng: Random) -> str:
        region = self._region(rng)
        if region.get("rural"):
            place = f"{one_of(rng, self._towns)}{one_of(rng, self._villages)}{int(rng.random() * 180) + 1}号"
        else:
            place = (
                f"{one_of(rng, self._streets)}{int(rng.random() * 480) + 1}号{one_of(rng, self._estates)}"
                f"{int(rng.random() * 28) + 1}幢{int(rng.random() * 4) + 1}单元"
                f"{int(rng.random() * 17) + 1}0{int(rng.random() * 4) + 1}室"
            )
        return f"{region['text']}{place}^^^^^^H^^{region['code']}"
