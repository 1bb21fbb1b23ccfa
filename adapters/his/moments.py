"""HL7 times (chapter 2A, DTM and TS) as senders write them: truncated, dashed, with or without an offset."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Final, Literal

from hcrm.core import limits
from hcrm.core.date_forms import DateForms

Precision = Literal["year", "month", "day", "hour", "minute", "second"]

_PRECISIONS: Final[dict[int, Precision]] = {
    4: "year",
    6: "month",
    8: "day",
    10: "hour",
    12: "minute",
    14: "second",
}
_TIME: Final = re.compile(
    r"(\d{4})(?:[-/.]?(\d\d)(?:[-/.]?(\d\d)(?:[T ]?(\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?)?)?)?)?"
    r"\s*(Z|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)
_ZEROS: Final = re.compile(
    r"0000([-/.]?)00\1?00(?:[T ]?00(?::?00(?::?00(?:[.,]0+)?)?)?)?\s*(?:Z|[+-]\d\d(?::?\d\d)?)?"
)
_AHEAD: Final = timedelta(seconds=limits.FUTURE_TOLERANCE_SECONDS)


class BadTime(ValueError):
    """What stands there is no time: wrong shape, or a 25th hour."""


class ImpossibleDate(ValueError):
    """A field that decides something holds no time: the message is parked with the field's place."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place = place


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment in UTC, how exact the sender was, and the offset if one was written."""

    at: datetime
    precision: Precision
    offset: tzinfo | None = None


def moment(text: str, zone: tzinfo, dates: DateForms | None = None) -> Moment | None:
    """The moment of an HL7 time; without an offset it is on the wall clock of `zone`. Empty is None, nonsense BadTime.

    What is not written is the first of its kind: `2026112209` is nine o'clock sharp with precision `hour`. 24:00 is
    the next day's 00:00 (ISO 8601); a date of zeros is empty. `dates`: what else the sender writes, and means by it.
    """
    text = dates.plain(text) if dates else text.strip()
    if not text or text == '""' or is_zeros(text):
        return None
    try:
        if len(text) == 14 and text.isdigit() and text[8:10] != "24":  # nearly all of them
            at = datetime(
                int(text[:4]), int(text[4:6]), int(text[6:8]), int(text[8:10]), int(text[10:12]), int(text[12:]),
                tzinfo=zone,
            )  # fmt: skip
            return Moment(at.astimezone(UTC), "second")
        match = _TIME.fullmatch(text)
        if match is None:
            raise BadTime("not a time")
        *parts, fraction, written = match.groups()
        given = [int(part) for part in parts if part is not None]
        offset = _offset(written) if written else None
        year, month, day, hour, minute, second = given + [0, 1, 1, 0, 0, 0][len(given) :]
        micro = int(fraction[:6].ljust(6, "0")) if fraction else 0
        ends_day = (hour, minute, second, micro) == (24, 0, 0, 0)
        at = datetime(year, month, day, 0 if ends_day else hour, minute, second, micro, tzinfo=offset or zone)
        if ends_day:
            at += timedelta(days=1)
        return Moment(at.astimezone(UTC), _PRECISIONS[2 + 2 * len(given)], offset)
    except (ValueError, OverflowError) as error:
        raise BadTime("not a time") from error


def birth_date(text: str, dates: DateForms | None = None) -> date | None:
    """The calendar date written in the first eight digits, in no zone; None where only a year or month is given.

    A date of zeros is empty.
    """
    text = dates.plain(text) if dates else text.strip()
    if not text or text == '""' or is_zeros(text):
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        raise BadTime("not a date")
    year, month, day = match.group(1, 2, 3)
    if day is None:
        return None
    try:
        return date(int(year), int(month), int(day))
    except ValueError as error:
        raise BadTime("not a date") from error


def is_zeros(text: str) -> bool:
    """Whether a date of zeros stands there, with or without a time: databases write it for "not known"."""
    return text.lstrip()[:4] == "0000" and _ZEROS.fullmatch(text.strip()) is not None


def not_ahead(found: Moment, received_at: datetime) -> Moment:
    """The same moment; the receipt where it lies further ahead of it than clocks may differ."""
    if found.at <= received_at + _AHEAD:
        return found
    # As exact as HL7 times: what the sender tells later in this second must not seem older.
    return Moment(received_at.replace(microsecond=0), found.precision)


def latest_date(received_at: datetime, zone: tzinfo) -> date:
    """The day of receipt in that zone, by a clock as far ahead as clocks may be."""
    return (received_at + _AHEAD).astimezone(zone).date()


def _offset(written: str) -> tzinfo:
    if written == "Z":
        return UTC
    minutes = int(written[1:3]) * 60 + int(written[3:].lstrip(":") or 0)
    return timezone(timedelta(minutes=-minutes if written[0] == "-" else minutes))
