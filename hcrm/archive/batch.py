"""Rows of one table during a batch: what stood, what is new, what changed; written with bulk statements."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from hcrm.core.db import Base, table_of
from hcrm.core.work import Work

Row = dict[str, Any]


class Rows:
    """One table's rows in memory, keyed by id and grouped by an owner column (patient or encounter)."""

    def __init__(self, work: Work, model: type[Base], owner: str) -> None:
        self._work = work
        self.model = model
        self._owner = owner
        self._new: list[Row] = []
        self._dirty: dict[str, tuple[Row, set[str]]] = {}
        self._new_ids: set[str] = set()
        self.by_id: dict[str, Row] = {}
        self.by_owner: dict[str, list[Row]] = defaultdict(list)

    def load(self, *where: Any, lock: bool = False) -> list[Row]:
        """Bring in the rows that fit, locked in one order if asked; those already here are left as they are."""
        table = table_of(self.model)
        statement = sa.select(table).where(*where)
        if lock:
            statement = statement.order_by(table.c.id).with_for_update()
        loaded = []
        for found in self._work.execute(statement).mappings():
            if found["id"] not in self.by_id:
                row = dict(found)
                self._keep(row)
                loaded.append(row)
        return loaded

    def add(self, **values: Any) -> Row:
        """A new row with a new key."""
        row = {"id": self._work.new_id(), **values}
        self._new.append(row)
        self._new_ids.add(row["id"])
        self._keep(row)
        return row

    def is_new(self, row: Row) -> bool:
        """Whether the row is not written yet."""
        return row["id"] in self._new_ids

    def change(self, row: Row, **values: Any) -> None:
        """Set what differs; written once per row at the end."""
        if row["id"] in self._new_ids:
            row.update(values)
            return
        changed = {name for name, value in values.items() if row[name] != value}
        if changed:
            row.update(values)
            self._dirty.setdefault(row["id"], (row, set()))[1].update(changed)

    def touched(self) -> list[Row]:
        """The rows that are new or changed and not written yet."""
        return [*self._new, *(row for row, _ in self._dirty.values())]

    def write(self) -> None:
        """Inserts, then updates grouped by the columns they set."""
        self._work.insert(self.model, self._new)
        groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
        for row, changed in self._dirty.values():
            groups[tuple(sorted(changed))].append(row)
        for names, rows in groups.items():
            self._work.update_rows(
                self.model, [{"id": row["id"], **{n: row[n] for n in names}} for row in rows]
            )
        self._new, self._new_ids, self._dirty = [], set(), {}

    def replace(
        self, owner_id: str, wanted: Sequence[Row], *, same: Sequence[str], common: Row, ended_at: Any,
        among: Callable[[Row], bool] = lambda _row: True,
    ) -> bool:  # fmt: skip
        """Make the live rows of one owner exactly `wanted`: equal ones stay, others end. Whether anything changed.

        Verified ones are left alone. Several live rows may be equal: a merge brings two lists together.
        """
        live: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
        for row in self.by_owner[owner_id]:
            if row["ended_at"] is None and not row.get("is_verified") and among(row):
                live[tuple(row[name] for name in same)].append(row)
        changed = False
        for values in wanted:
            standing = live.get(tuple(values[name] for name in same))
            if standing:
                standing.pop(0)
            else:
                self.add(**{self._owner: owner_id}, **values, **common, ended_at=None)
                changed = True
        for rows in live.values():
            for row in rows:
                self.change(row, ended_at=ended_at)
                changed = True
        return changed

    def _keep(self, row: Row) -> None:
        self.by_id[row["id"]] = row
        self.by_owner[row[self._owner]].append(row)


def values_in(column: Any, values: Iterable[Any]) -> Any:
    """`column IN (…)` over the values that are there."""
    return column.in_(sorted({value for value in values if value is not None}))


UNITED = "united"
"""Fourth word of a list's stamp: a merge put it there, which united two lists, and no message has told it since."""


def stamp(as_of: datetime, source: str, seq: int) -> list[Any]:
    """What a row's `provenance` keeps of a value: since when, from whom, by which message."""
    return [_written(as_of), source, seq]


@lru_cache(maxsize=1024)
def _written(moment: datetime) -> str:
    return moment.isoformat()


def is_older(as_of: datetime, seq: int, standing: Sequence[Any] | None) -> bool:
    """Whether a value of that clock stands behind what is there; between equal clocks the order of arrival decides."""
    return standing is not None and (as_of, seq) < (datetime.fromisoformat(standing[0]), standing[2])
