"""List against archive: which stays of a day are missing, extra or differ. By visit number, never by name. Pure.

A day is the hospital's. What happened within the tolerance of midnight may stand on either side's next day and is no
finding as long as the times agree.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from hcrm.archive.terms import DischargeWay, EncounterStatus
from hcrm.core.channels import Census
from hcrm.core.clock import day_bounds, local_date, local_time
from hcrm.inbox.census_list import ListedStay, RecordKey, VisitKey
from hcrm.inbox.census_models import OF_OTHER_PATIENT, Finding, Movement

OTHER_DAY: Final = "other_day"
OTHER_CLASS: Final = "other_class"
"""Why a stay of the list is not compared."""
CLASSLESS: Final = "classless"
"""Why a stay of ours is not: nobody said its class, and the list does not name it."""
HERE: Final = (EncounterStatus.IN_PROGRESS, EncounterStatus.ON_LEAVE, EncounterStatus.FINISHED)


@dataclass(frozen=True, slots=True)
class OurStay:
    """A stay as the archive has it; one that was merged away is its survivor."""

    id: str
    patient_id: str
    authority: str
    visit_no: str
    numbers: frozenset[RecordKey]
    department: str
    status: EncounterStatus
    admitted_at: datetime | None
    discharged_at: datetime | None
    way: DischargeWay
    died_at: datetime | None
    shown: tuple[RecordKey, ...] = ()  # of `numbers` those in use: what people are told
    is_classless: bool = False  # nobody said of what class it is


@dataclass(frozen=True, slots=True)
class Found:
    """One finding."""

    movement: Movement
    finding: Finding
    department: str
    listed: ListedStay | None
    ours: OurStay | None
    field: str = ""
    theirs_text: str = ""
    ours_text: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """The whole of a day: counts by movement and department, and what disagrees."""

    counts: "Counts"
    found: tuple[Found, ...]
    left_out: Mapping[str, int]


Counts = dict[tuple[Movement, str], Counter[str]]
"""By movement and department: his, ours, missing, extra, differing."""


def movements_of(census: Census) -> tuple[Movement, ...]:
    """What the columns of the list can tell."""
    columns = census.columns.keys()
    told = {
        Movement.ADMISSION: "admitted_at" in columns,
        Movement.DISCHARGE: "discharged_at" in columns,
        Movement.DEATH: bool({"died_at", "discharge_way"} & columns) and "discharged_at" in columns,
    }
    return tuple(movement for movement, is_told in told.items() if is_told)


class Comparison:
    """One day of one list."""

    def __init__(
        self, census: Census, day: date, stays: Mapping[VisitKey, ListedStay], ours: Iterable[OurStay],
        resolved: Mapping[VisitKey, str],
    ) -> None:  # fmt: skip
        """`resolved`: visit numbers of the list to the id of our stay, merges followed."""
        self._day = day
        self._movements = movements_of(census)
        self._classes = census.classes
        self._tolerance = timedelta(seconds=census.tolerance_seconds)
        self._begin, self._end = day_bounds(day)
        self._ours = {stay.id: stay for stay in ours}
        self._stays = stays
        self._of = {key: self._ours.get(resolved.get(key, "")) for key in stays}
        # A merged visit and its survivor may both be listed: the survivor's own row is the one to compare.
        self._row_of: dict[str, ListedStay] = {}
        for key, stay in stays.items():
            mine = self._of[key]
            if mine is not None and (mine.id not in self._row_of or key == (mine.authority, mine.visit_no)):
                self._row_of[mine.id] = stay

    def run(self) -> Compared:
        """Counts and findings."""
        counts: Counts = {}
        found: list[Found] = []
        touched: set[str] = set()
        known: dict[str, Movement] = {}  # stays we have but for this movement
        for movement in self._movements:
            met: set[str] = set()
            for stay, mine in self._on_list(movement):
                department = stay.department or (mine.department if mine else "")
                _count(counts, movement, department, "his")
                if mine is None or not self._we_have(movement, mine):
                    found.append(self._missing(movement, stay, mine, department))
                    known |= {mine.id: movement} if mine else {}
                else:
                    met.add(mine.id)
                    _count(counts, movement, department, "ours")
            touched |= met
            for mine in self._not_listed(movement, met):
                row = self._row_of.get(mine.id)
                if row is not None and self._elsewhere(movement, row):
                    touched.add(mine.id)
                    continue
                _count(counts, movement, mine.department, "ours")
                text = _time_text(_moment_of(movement, mine))
                found.append(Found(movement, Finding.EXTRA, mine.department, row, mine, ours_text=text))
        for stay_id in touched:
            found += self._differences(self._row_of[stay_id], self._ours[stay_id])
        for stay_id in known.keys() - touched:
            found += self._of_other_patient(known[stay_id], self._row_of[stay_id], self._ours[stay_id])
        for each in {(one.movement, one.finding, one.department, _who(one)) for one in found}:
            _count(counts, each[0], each[2], each[1].value)
        return Compared(counts, tuple(found), self._left_out())

    def count_ours(self) -> int:
        """Our stays with anything on the day."""
        return sum(self._is_compared(stay) and self._is_of_day(stay) for stay in self._ours.values())

    def count_listed(self) -> int:
        """Stays of the list with anything on the day."""
        return sum(
            any(self._listed_on_day(movement, stay) for movement in self._movements)
            and not self._is_of_other_class(key)
            for key, stay in self._stays.items()
        )

    def _left_out(self) -> dict[str, int]:
        """Stays that are none of this comparison's, by why."""
        found: Counter[str] = Counter()
        for key, stay in self._stays.items():
            if self._is_of_other_class(key):
                found[OTHER_CLASS] += 1
            elif not any(self._listed_on_day(movement, stay) for movement in self._movements):
                found[OTHER_DAY] += 1
        for mine in self._ours.values():
            if not self._is_compared(mine) and self._is_of_day(mine):
                found[CLASSLESS] += 1
        return dict(found)

    def _is_compared(self, mine: OurStay) -> bool:
        """Of the classes the list has, or named by it."""
        return not mine.is_classless or mine.id in self._row_of

    def _is_of_day(self, mine: OurStay) -> bool:
        return any(self._ours_on_day(movement, mine) for movement in self._movements)

    def _is_of_other_class(self, key: VisitKey) -> bool:
        """Of a class this list is not compared by, and nothing of ours."""
        said = self._stays[key].encounter_class
        return said is not None and said.value not in self._classes and self._of[key] is None

    def _on_list(self, movement: Movement) -> Iterator[tuple[ListedStay, OurStay | None]]:
        for key, stay in self._stays.items():
            mine = self._of[key]
            is_own = mine is None or self._row_of[mine.id] is stay
            if is_own and self._listed_on_day(movement, stay) and not self._is_of_other_class(key):
                yield stay, mine

    def _not_listed(self, movement: Movement, met: Set[str]) -> Iterator[OurStay]:
        for mine in self._ours.values():
            if mine.id in met or not self._is_compared(mine) or not self._ours_on_day(movement, mine):
                continue
            if mine.id in self._row_of or not self._is_near_midnight(_moment_of(movement, mine)):
                yield mine

    # ── what falls on the day ───────────────────────────────────────────────

    def _listed_on_day(self, movement: Movement, stay: ListedStay) -> bool:
        if movement is Movement.ADMISSION:
            return self._is_on_day(stay.admitted_at)
        if movement is Movement.DISCHARGE:
            return self._is_on_day(stay.discharged_at)
        if stay.way is DischargeWay.DIED:
            return self._is_on_day(stay.discharged_at)
        return self._is_on_day(stay.died_at)

    def _ours_on_day(self, movement: Movement, stay: OurStay) -> bool:
        if not self._we_have(movement, stay):
            return False
        return self._is_on_day(_moment_of(movement, stay))

    def _we_have(self, movement: Movement, stay: OurStay) -> bool:
        """Whether the archive knows of it at all, on whatever day."""
        if movement is Movement.ADMISSION:
            return stay.status in HERE and stay.admitted_at is not None
        if stay.status is not EncounterStatus.FINISHED:
            return False
        return movement is Movement.DISCHARGE or _died(stay)

    def _elsewhere(self, movement: Movement, row: ListedStay) -> bool:
        """Listed with this movement on another day: a matter of times, not of stays."""
        if movement is Movement.ADMISSION:
            return row.admitted_at is not None
        if movement is Movement.DISCHARGE:
            return row.discharged_at is not None
        return row.way is DischargeWay.DIED or row.died_at is not None

    def _is_on_day(self, moment: datetime | None) -> bool:
        return moment is not None and local_date(moment) == self._day

    def _is_near_midnight(self, moment: datetime | None) -> bool:
        """So near that the list may have it on the day before or after, which we do not see here."""
        return moment is not None and (
            moment - self._begin < self._tolerance or self._end - moment <= self._tolerance
        )

    # ── findings ────────────────────────────────────────────────────────────

    def _missing(self, movement: Movement, stay: ListedStay, mine: OurStay | None, department: str) -> Found:
        ours = "" if mine is None else mine.status.label
        if mine is not None and movement is Movement.DEATH and mine.status is EncounterStatus.FINISHED:
            ours = mine.way.label
        return Found(
            movement, Finding.MISSING, department, stay, mine, theirs_text=_listed_text(movement, stay), ours_text=ours
        )  # fmt: skip

    def _differences(self, row: ListedStay, mine: OurStay) -> Iterator[Found]:
        admitted = self._is_on_day(row.admitted_at) or self._is_on_day(mine.admitted_at)
        discharged = self._is_on_day(row.discharged_at) or (
            mine.status is EncounterStatus.FINISHED and self._is_on_day(mine.discharged_at)
        )
        main = (
            Movement.DISCHARGE if discharged and Movement.DISCHARGE in self._movements else Movement.ADMISSION
        )
        department = row.department or mine.department

        def differing(movement: Movement, field: str, theirs: str, ours: str) -> Found:
            return Found(movement, Finding.DIFFERING, department, row, mine, field, theirs, ours)

        if admitted and self._differ("admitted_at", row, row.admitted_at, mine.admitted_at):
            yield differing(
                Movement.ADMISSION, "admitted_at", _time_text(row.admitted_at), _time_text(mine.admitted_at)
            )
        if discharged and self._differ("discharged_at", row, row.discharged_at, mine.discharged_at):
            yield differing(
                Movement.DISCHARGE, "discharged_at", _time_text(row.discharged_at), _time_text(mine.discharged_at)
            )  # fmt: skip
        if row.department and mine.department and row.department != mine.department:
            yield differing(main, "department", row.department, mine.department)
        is_told = row.way not in (None, DischargeWay.UNKNOWN)
        if discharged and is_told and row.way is not mine.way and mine.status is EncounterStatus.FINISHED:
            assert row.way is not None
            yield differing(Movement.DISCHARGE, "discharge_way", row.way.label, mine.way.label)
        yield from self._of_other_patient(main, row, mine)

    def _of_other_patient(self, movement: Movement, row: ListedStay, mine: OurStay) -> Iterator[Found]:
        """Found by its visit number, but under a patient whom the list's number does not find."""
        if row.numbers and not any(his.is_same(own) for his in row.numbers for own in mine.numbers):
            theirs, ours = _number_texts(row.numbers[0], mine)
            department = row.department or mine.department
            yield Found(movement, Finding.DIFFERING, department, row, mine, OF_OTHER_PATIENT, theirs, ours)

    def _differ(self, field: str, row: ListedStay, theirs: datetime | None, ours: datetime | None) -> bool:
        if theirs is None or ours is None:
            return False  # said by one of the two only: missing or extra, or not of this day
        if field in row.by_day:
            return local_date(theirs) != local_date(ours)
        return abs(theirs - ours) > self._tolerance


def _number_texts(theirs: RecordKey, mine: OurStay) -> tuple[str, str]:
    """Both numbers; where they read alike, with the type and authority that tell two archives apart."""
    own = sorted(each for each in mine.numbers if each in mine.shown or each.value == theirs.value)
    if all(theirs.value != each.value for each in own):
        return theirs.value, "、".join(each.value for each in own)
    return _in_full(theirs), "、".join(map(_in_full, own))


def _in_full(number: RecordKey) -> str:
    return f"{number.value}（{number.type or '无类型'}，{number.authority}）"


def _count(counts: Counts, movement: Movement, department: str, name: str) -> None:
    counts.setdefault((movement, department), Counter())[name] += 1


def _who(found: Found) -> str:
    """Counts are of stays: several differing fields of one are one."""
    if found.ours is not None:
        return found.ours.id
    assert found.listed is not None
    return "\x00".join(found.listed.key)


def _died(stay: OurStay) -> bool:
    return stay.way is DischargeWay.DIED or (
        stay.died_at is not None
        and stay.discharged_at is not None
        and local_date(stay.died_at) == local_date(stay.discharged_at)
    )


def _moment_of(movement: Movement, stay: OurStay) -> datetime | None:
    return stay.admitted_at if movement is Movement.ADMISSION else stay.discharged_at


def _listed_text(movement: Movement, stay: ListedStay) -> str:
    moments: dict[Movement, Callable[[], datetime | None]] = {
        Movement.ADMISSION: lambda: stay.admitted_at,
        Movement.DISCHARGE: lambda: stay.discharged_at,
        Movement.DEATH: lambda: stay.died_at or stay.discharged_at,
    }
    return _time_text(moments[movement]())


def _time_text(moment: datetime | None) -> str:
    return local_time(moment).strftime("%Y-%m-%d %H:%M:%S") if moment else ""
