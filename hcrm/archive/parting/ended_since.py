"""What people ended while two archives were one: parted, each archive has again what it had.

A consent, a mark or a value written for the one ended what stood of the other. Parted, that stands again, unless what
took its place goes the same way; else a refusal would be lost by a merge that should never have been.
"""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from hcrm.archive.events import ContactStopped
from hcrm.archive.fields.allergies import STATE_FIELD
from hcrm.archive.models import PatientMerge
from hcrm.core.db import Base
from hcrm.core.work import Work

_TAKES_PLACE_OF: Mapping[str, tuple[str, ...]] = {
    "consent": ("purpose", "means"),
    "contact_stop": ("kind",),
    "disclosure": (),
    "known_number": ("value_index",),
    "patient_field_value": ("field_code",),
    "patient_loss": (),
    "patient_tag": ("tag",),
    **dict.fromkeys(("address", "allergy", "contact_point", "related_person"), ("id",)),
}
"""Tables whose rows end, and which columns alike make one row the next of another; by `id` what it `replaces_id`."""


def stand_again(work: Work, merge: PatientMerge) -> None:
    """Let stand again what the parting leaves without anything in its place. After the rows went where they belong.

    What moved belongs to the merged archive and is as before; of the survivor's own only what a row ended that the
    other archive got, since edits are the survivor's unless a person says otherwise.
    """
    for name, columns in _TAKES_PLACE_OF.items():
        table, moved = _table(name), _moved(merge, name)
        rows = _rows_of_both(work, merge, table)
        new = [row for row in rows if _is_new(merge, moved, row)]
        live = {(row["patient_id"], cell) for row in new for cell in _takes_place_of(row, columns)}
        again = [
            row
            for row in rows
            if row["ended_at"] is not None
            and row["ended_at"] > merge.merged_at
            and (row["id"] in moved or row["id"] < merge.id)
            and _is_bare(merge, live, row, _cell(row, columns))
        ]
        if name == "patient_field_value" and _has_new_allergy(work, merge):
            again = [row for row in again if row["field_code"] != STATE_FIELD]
        words = {column.name: None for column in table.c if column.name.startswith("ended_")}
        work.execute(sa.update(table).where(table.c.id.in_([row["id"] for row in again])).values(words))
        if name == "contact_stop":
            stopped = sorted({row["patient_id"] for row in again})
            work.emit_all(ContactStopped(patient_id=patient_id) for patient_id in stopped)


def give_way(work: Work, merge: PatientMerge) -> None:
    """Rows that were given to the merged archive afterwards take the place of what they had ended there once."""
    for name, columns in _TAKES_PLACE_OF.items():
        table, moved = _table(name), _moved(merge, name)
        rows = [row for row in _rows_of_both(work, merge, table) if row["patient_id"] == merge.merged_id]
        new = {cell for row in rows if _is_new(merge, moved, row) for cell in _takes_place_of(row, columns)}
        old = [row["id"] for row in rows if row["id"] in moved and _cell(row, columns) in new]
        work.execute(
            sa.update(table)
            .where(table.c.id.in_(old), table.c.ended_at.is_(None))
            .values(ended_at=work.clock.now())
        )


def _is_bare(merge: PatientMerge, live: set[Any], row: sa.RowMapping, cell: tuple[Any, ...]) -> bool:
    given = (merge.merged_id, cell) in live
    if row["patient_id"] == merge.merged_id:
        return not given
    return given and (merge.survivor_id, cell) not in live


def _is_new(merge: PatientMerge, moved: set[str], row: sa.RowMapping) -> bool:
    return row["ended_at"] is None and row["id"] > merge.id and row["id"] not in moved


def _has_new_allergy(work: Work, merge: PatientMerge) -> bool:
    """Whose it is may not be decided yet: the answer “none” that it ended is nobody's until somebody asks again."""
    table, moved = _table("allergy"), _moved(merge, "allergy")
    return any(_is_new(merge, moved, row) for row in _rows_of_both(work, merge, table))


def _takes_place_of(row: sa.RowMapping, columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """Whose place a new row takes: of those like it, and of the one that people put right with it."""
    return [_cell(row, columns), *([(row["replaces_id"],)] if row.get("replaces_id") else [])]


def _rows_of_both(work: Work, merge: PatientMerge, table: sa.Table) -> Any:
    both = (merge.survivor_id, merge.merged_id)
    return work.execute(sa.select(table).where(table.c.patient_id.in_(both))).mappings().all()


def _cell(row: sa.RowMapping, columns: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(row[name] for name in columns)


def _moved(merge: PatientMerge, name: str) -> set[str]:
    return set(merge.moved.get(f"{name}.patient_id", ()))


def _table(name: str) -> sa.Table:
    return Base.metadata.tables[name]
