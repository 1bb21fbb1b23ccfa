"""Rows without a mark of their own are numbered as they come, among those of one stay: a repeat equals the last.

A row that equals an older one, but not the last, tells of a return: told once to a bed, to another, and to the first
again. The number stands in the control id: `R`, series (20), number (9); of a file also its taking (8) and the part of
it (4), which counts on from what was stored before that part began. So a file read again after a crash gets the control
ids it got the first time.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from hcrm.core import limits
from hcrm.inbox.statements import Statements

_DIGITS: Final = 9


class Place(NamedTuple):
    """The series of a row, empty where it is in none; the taking of the file it stands in, and which part of it."""

    series: str
    taking: str


def number_rows(statements: Statements, cursor: Any, rows: list[list[Any]], places: Sequence[Place]) -> None:
    """Give the rows that belong to a series their control ids (third value of a row), in their order."""
    asked = {
        (row[0], row[1], f"R{place.series}", place.taking): None
        for row, place in zip(rows, places, strict=True)
        if place.series
    }
    keys = list(asked)
    last: dict[tuple[str, ...], tuple[str, bytes]] = {}
    for start in range(0, len(keys), limits.COMMIT_BATCH):
        some = keys[start : start + limits.COMMIT_BATCH]
        # "a" is beyond every digit, in whatever order of letters the database has.
        series = [
            (sender, facility, f"{head}0", f"{head}a", taking) for sender, facility, head, taking in some
        ]
        for n, control_id, sha256 in statements.latest(cursor, series):
            last[some[n]] = control_id, bytes(sha256)
    for row, place in zip(rows, places, strict=True):
        if not place.series:
            continue
        key = (row[0], row[1], f"R{place.series}", place.taking)
        control_id, sha256 = last.get(key, ("", b""))
        if sha256 != row[3]:
            head = key[2]
            number = int(control_id[len(head) : len(head) + _DIGITS] or 0) + 1
            control_id = f"{head}{number:0{_DIGITS}}{place.taking}"
            last[key] = control_id, row[3]
        row[2] = control_id
