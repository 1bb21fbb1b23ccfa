"""Lists told behind what stands (phones, addresses, relatives, allergies): kept as rows that have ended, once each."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from hcrm.archive.batch import Row, values_in
from hcrm.core.db import Base, table_of
from hcrm.core.work import Work

_SEALED = "text_sealed"


class OlderLists:
    """Of one batch; written behind the rows that stand, so that what these tell is not told again."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self._rows: dict[type[Base], list[tuple[Row, tuple[str, ...]]]] = defaultdict(list)

    def add(self, model: type[Base], rows: Sequence[Row], same: Sequence[str]) -> None:
        """Rows of one list; `same` names what makes two of them equal, beside their place in the list."""
        if rows:
            names = tuple(name for name in same if name != "rank")
            self._rows[model] += [(row, names) for row in rows]

    def write(self) -> None:
        """One query a table for what is known of the patients, ended or not; then what is new."""
        for model, told in self._rows.items():
            table, (_, names) = table_of(model), told[0]
            found = self.work.execute(
                sa.select(table).where(values_in(table.c.patient_id, (row["patient_id"] for row, _ in told)))
            ).mappings()
            known = {self._key(dict(row), names) for row in found}
            new = []
            for row, _ in told:
                key = self._key(row, names)
                if key not in known:
                    known.add(key)
                    new.append({"id": self.work.new_id(), **row})
            self.work.insert(model, new)
        self._rows.clear()

    def _key(self, row: Row, names: Sequence[str]) -> tuple[Any, ...]:
        """What the row tells; a sealed text is never sealed alike twice, so it is opened."""
        values = (
            self.work.keys.open_text(row[name]) if name == _SEALED and row[name] else row[name]
            for name in names
        )
        return (row["patient_id"], *values)
