"""Time from one place: aware UTC moments inside, hospital dates outside."""

from datetime import UTC, date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from hcrm.core.errors import HcrmError

HOSPITAL_ZONE = ZoneInfo("Asia/Shanghai")
"""The zone dates are counted in; `hcrm.toml` sets it at start, the process's own zone never does (C44)."""


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> datetime:
        """This moment, aware, in UTC."""
        ...


class SystemClock:
    """The computer's clock."""

    def now(self) -> datetime:
        """This moment, aware, in UTC."""
        return datetime.now(UTC)


class FixedClock:
    """A clock that stands still until it is moved: tests and the simulated year."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment.astimezone(UTC)

    def now(self) -> datetime:
        """The moment it was set to."""
        return self.moment

    def move(self, **delta: float) -> None:
        """Go on by a timedelta given as keywords: `clock.move(days=1)`."""
        self.moment += timedelta(**delta)


def zone_named(name: str) -> ZoneInfo:
    """The zone of that name; an empty or unknown one is refused, never replaced (C44)."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise HcrmError("settings.zone", f"时区设置无效：{name!r}") from error


def use_zone(zone: ZoneInfo) -> None:
    """Count dates in that zone from now on; called once at start."""
    global HOSPITAL_ZONE
    HOSPITAL_ZONE = zone


def local_date(moment: datetime) -> date:
    """The hospital's calendar date of a moment."""
    return local_time(moment).date()


def local_time(moment: datetime) -> datetime:
    """The same moment on the hospital's wall clock."""
    return moment.astimezone(HOSPITAL_ZONE)


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """First moment of the hospital's day and of the day after."""
    start = datetime(day.year, day.month, day.day, tzinfo=HOSPITAL_ZONE)
    after = day + timedelta(days=1)
    return start.astimezone(UTC), datetime(
        after.year, after.month, after.day, tzinfo=HOSPITAL_ZONE
    ).astimezone(UTC)


def age(born_on: date | None, on: date) -> str:
    """56 岁; under three years 14 个月, under one month 12 天."""
    if born_on is None or born_on > on:
        return "年龄不详"
    months = (on.year - born_on.year) * 12 + on.month - born_on.month - (on.day < born_on.day)
    if months >= 36:
        return f"{months // 12} 岁"
    return f"{months} 个月" if months else f"{(on - born_on).days} 天"
