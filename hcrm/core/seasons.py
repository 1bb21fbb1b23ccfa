"""The four seasons of the Chinese solar calendar: each begins at its 立, solar longitude 315°, 45°, 135°, 225°."""

from datetime import UTC, date, datetime
from functools import lru_cache
from math import radians, sin

SEASONS = ((1, "春（立春起）"), (2, "夏（立夏起）"), (3, "秋（立秋起）"), (4, "冬（立冬起）"))
_EPOCH = datetime(2000, 1, 1, 12, tzinfo=UTC)


@lru_cache(maxsize=4096)
def season_of(day: date) -> int:
    """1 spring to 4 winter; a season begins on the day, in Beijing, within which the sun reaches its longitude."""
    end_of_day = datetime(day.year, day.month, day.day, 16, tzinfo=UTC)
    return int((_solar_longitude(end_of_day) + 45) % 360 // 90) + 1


def _solar_longitude(moment: datetime) -> float:
    """Apparent longitude of the sun in degrees, good to 0.01° (Astronomical Almanac, low precision)."""
    days = (moment - _EPOCH).total_seconds() / 86_400
    mean = 280.460 + 0.9856474 * days
    anomaly = radians(357.528 + 0.9856003 * days)
    return (mean + 1.915 * sin(anomaly) + 0.020 * sin(2 * anomaly)) % 360
