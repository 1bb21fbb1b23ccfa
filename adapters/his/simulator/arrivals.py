"""When people come: the simulated calendar, and the first and further visits on it."""

from bisect import bisect
from datetime import date, datetime, timedelta
from itertools import accumulate
from random import Random

from adapters.his.simulator.people import Draw
from hcrm.core.clock import zone_named

ZONE = zone_named("Asia/Shanghai")
"""The simulated HIS writes its wall clock without an offset, as Chinese systems do."""

MINUTE, HOUR, DAY = 60, 3600, 86400


class Calendar:
    """Seconds since the first day's midnight, as the messages write them."""

    def __init__(self, start: date) -> None:
        self.start = start
        self._midnight = datetime(start.year, start.month, start.day, tzinfo=ZONE)
        self._days: dict[int, str] = {}
        self._clock = [f"{minute // 60:02d}{minute % 60:02d}" for minute in range(1440)]
        self._seconds = [f"{second:02d}" for second in range(60)]

    def moment(self, second: int) -> datetime:
        """The same moment as a datetime."""
        return self._midnight + timedelta(seconds=second)

    def second(self, moment: datetime) -> int:
        """The moment in seconds."""
        return int((moment - self._midnight).total_seconds())

    def day(self, second: int) -> date:
        """The date of that second."""
        return self.start + timedelta(days=second // DAY)

    def is_weekend(self, day: int) -> bool:
        """Whether that day (0 is the first) is a Saturday or Sunday."""
        return (self.start.weekday() + day) % 7 >= 5

    def stamp(self, second: int) -> str:
        """`YYYYMMDDHHMMSS`."""
        day, rest = divmod(second, DAY)
        text = self._days.get(day)
        if text is None:
            text = self._days[day] = f"{self.start + timedelta(days=day):%Y%m%d}"
        return f"{text}{self._clock[rest // MINUTE]}{self._seconds[rest % MINUTE]}"


class Arrivals:
    """Who comes on which day: visits spread evenly over the working time, people in order of their first visit.

    A patient has n visits (1 + geometric), each at an even chance on any day. The first of n then falls on or
    before time t with 1 - (1 - t)**n, so patients can be numbered by first visit without making any of them,
    and the rest of somebody's visits can be drawn one by one. Memory stays flat for a million patients.
    """

    MEAN, CAP, WEEKEND = 1.8, 9, 0.6

    def __init__(self, calendar: Calendar, days: int, patients: int) -> None:
        spent = list(accumulate(self.WEEKEND if calendar.is_weekend(day) else 1.0 for day in range(days)))
        self._until = [each / spent[-1] for each in spent]
        again = 1 - 1 / self.MEAN
        shares = [again**n for n in range(self.CAP)]
        self._shares = [share / sum(shares) for share in shares]
        self._first = [0, *(round(patients * self._seen_by(until)) for until in self._until)]

    def _seen_by(self, time: float) -> float:
        return 1 - sum(share * (1 - time) ** n for n, share in enumerate(self._shares, start=1))

    def newcomers(self, day: int) -> range:
        """The indexes of those who come first on that day."""
        return range(self._first[day], self._first[day + 1])

    def first_day(self, index: int) -> int:
        """The day somebody comes first."""
        return bisect(self._first, index) - 1

    def further(self, day: int) -> Draw[int]:
        """How many visits a newcomer of that day has still to come."""
        left = 1 - self._until[day]
        return Draw((n, share * (n + 1) * left**n) for n, share in enumerate(self._shares))

    def next_day(self, rng: Random, day: int, further: int) -> int:
        """The day of the next of so many further visits."""
        time = self._until[day]
        time += (1 - time) * (1 - rng.random() ** (1 / further))
        return bisect(self._until, time)
