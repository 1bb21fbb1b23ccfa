"""HL7 times (chapter 2A, DTM and TS) as senders write them: truncated, dashed, with or without an offset."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Final, Literal

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


def moment(text: str, zone: tzinfo) -> Moment | None:
    """The moment of an HL7 time; without an offset it is on the wall clock of `zone`. Empty is None, nonsense BadTime.

    What is not written is the first of its kind: `2026112209` is nine o'clock sharp with precision `hour`.
    """
    text = text.strip()
    if not text or text == '""':
        return None
    try:
        if len(text) == 14 and text.isdigit():  # nearly all of them
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
        at = datetime(year, month, day, hour, minute, second, micro, tzinfo=offset or zone)
        return Moment(at.astimezone(UTC), _PRECISIONS[2 + 2 * len(given)], offset)
    except (ValueError, OverflowError) as error:
        raise BadTime("not a time") from error


def birth_date(text: str) -> date | None:
    """The calendar date written in the first eight digits, in no zone; None where only a year or month is given."""
    text = text.strip()
    if not text or text == '""':
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


def _offset(written: str) -> tzinfo:
    if written == "Z":
        return UTC
    minutes = int(written[1:3]) * 60 + int(written[3:].lstrip(":") or 0)
    return timezone(timedelta(minutes=-minutes if written[0] == "-" else minutes))
