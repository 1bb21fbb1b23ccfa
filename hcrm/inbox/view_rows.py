"""A page of a view's rows as messages, and what it means that a cell was filled and is empty now.

Most HISs take a discharge back by clearing its time. An empty cell says nothing, unless the source's file says it does
(`empty_takes_back`); without that the message is flagged, for people to see.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from hcrm.core.channels import View
from hcrm.core.db import Database
from hcrm.core.sources import Source
from hcrm.inbox.models import InboxMessage
from hcrm.inbox.records import Incoming
from hcrm.inbox.rows import SERIES_LENGTH, row_message

DISCHARGE_CLEARED: Final = "discharge_cleared"
"""Flag of a row whose time of discharge was filled and is empty now, where that takes nothing back."""
_DISCHARGED, _ADMITTED, _TAKEN_BACK = "ROW^DISCHARGE", "ROW^ADMIT", "ROW^CANCEL_DISCHARGE"
_AT_ONCE: Final = 100


def view_messages(
    database: Database, source: Source, view: View, rows: Sequence[Mapping[Any, Any]], *, at: datetime
) -> list[Incoming]:
    """The rows in their order; what was read before becomes the same message as then."""

    def message(row: Mapping[Any, Any], **more: Any) -> Incoming:
        cells = {name: row[name] for name in view.columns.values()}
        mark = {name: row[name] for name in (view.watermark, *view.key)}
        return row_message(source, "view", cells, peer=f"view {source.code}", at=at, mark=mark, **more)

    found = [message(row) for row in rows]
    if view.event != "stay" or view.events or "discharged_at" not in view.columns:
        return found
    kinds, last = _stored(database, found)
    for n, plain in enumerate(found):
        series = _series(plain)
        known = kinds.get(plain.control_id)
        is_cleared = known is None and plain.kind == _ADMITTED and last.get(series) == _DISCHARGED
        if known == _TAKEN_BACK or (is_cleared and "discharged_at" in view.empty_takes_back):
            found[n] = message(rows[n], event="cancel_discharge")
        elif is_cleared:
            found[n] = message(rows[n], flags=(DISCHARGE_CLEARED,))
        if known is None and series:
            kinds[plain.control_id] = last[series] = found[n].kind
    return found


def _stored(database: Database, rows: Sequence[Incoming]) -> tuple[dict[str, str], dict[str, str]]:
    """What the stored rows of these stays tell, by control id; and the last of each stay."""
    wanted = sorted({series for row in rows if row.kind == _ADMITTED and (series := _series(row))})
    kinds: dict[str, str] = {}
    last: dict[str, str] = {}
    with database.main.connect() as connection:
        for some in _batches(wanted):
            ranges = [
                # "g" is beyond every hexadecimal digit, in whatever order of letters the database has.
                sa.and_(InboxMessage.control_id >= f"R{each}", InboxMessage.control_id < f"R{each}g")
                for each in some
            ]
            statement = (
                sa.select(InboxMessage.control_id, InboxMessage.kind)
                .where(
                    InboxMessage.sender == rows[0].sender, InboxMessage.facility == rows[0].facility, sa.or_(*ranges)
                )
                .order_by(InboxMessage.seq)
            )  # fmt: skip
            for control_id, kind in connection.execute(statement):
                kinds[control_id] = last[control_id[1 : 1 + SERIES_LENGTH]] = kind
    return kinds, last


def _series(row: Incoming) -> str:
    """Empty where a row names neither patient nor stay."""
    found = row.control_id[1 : 1 + SERIES_LENGTH]
    return found if len(found) == SERIES_LENGTH else ""


def _batches(values: Sequence[str]) -> Iterator[Sequence[str]]:
    return (values[start : start + _AT_ONCE] for start in range(0, len(values), _AT_ONCE))
