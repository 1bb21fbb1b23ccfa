"""Merging two archives into one, reversibly: nothing is deleted, what moved is listed."""

from typing import Any

import sqlalchemy as sa

from hcrm.archive.events import PatientsMerged
from hcrm.archive.matching import deceased_after_merge
from hcrm.archive.models import Patient, PatientIdentifier, PatientMerge
from hcrm.core.db import Base, table_of
from hcrm.core.work import Work

STAYS_BEHIND = frozenset({"patient_merge"})
"""Logs that keep the id as it was then."""


def patient_columns() -> list[sa.Column[Any]]:
    """Every column that points at a patient and moves with them."""
    return [
        column
        for table in Base.metadata.sorted_tables
        if table.name not in STAYS_BEHIND
        for column in table.columns
        if any(key.target_fullname == "patient.id" for key in column.foreign_keys)
    ]


def merge_patients(work: Work, *, survivor_id: str, merged_id: str, source: str, seq: int | None) -> str:
    """Make `merged_id` part of `survivor_id`; the id of the merge, by which it can be undone.

    Rows move by the foreign keys of the schema, so a table added later moves too. The merged archive stays as a
    tombstone; its record numbers are retired and from now on find the survivor.
    """
    now = work.clock.now()
    table = table_of(Patient)
    rows = {
        row["id"]: dict(row)
        for row in work.execute(sa.select(table).where(table.c.id.in_([survivor_id, merged_id]))).mappings()
    }
    moved: dict[str, list[Any]] = {}
    work.execute(
        sa.update(PatientIdentifier)
        .where(PatientIdentifier.patient_id == merged_id, PatientIdentifier.retired_at.is_(None))
        .values(retired_at=now)
        .execution_options(synchronize_session=False)
    )
    for column in patient_columns():
        key = next(iter(column.table.primary_key))
        keys = list(work.scalars(sa.select(key).where(column == merged_id)))
        if keys:
            moved[f"{column.table.name}.{column.name}"] = keys
            work.execute(
                sa.update(column.table).where(column == merged_id).values({column.name: survivor_id})
            )
    merge_id = work.new_id()
    work.insert(
        PatientMerge,
        [
            {"id": merge_id, "survivor_id": survivor_id, "merged_id": merged_id, "before": _snapshot(rows),
             "moved": moved, "source": source, "seq": seq, "merged_at": now, "undone_at": None}
        ],
    )  # fmt: skip
    survivor, merged = rows[survivor_id], rows[merged_id]
    work.update_rows(
        Patient,
        [
            {"id": survivor_id, "merged_into_id": survivor["merged_into_id"], "updated_at": now,
             "deceased": deceased_after_merge(survivor, merged), "version": survivor["version"] + 1},
            {"id": merged_id, "merged_into_id": survivor_id, "updated_at": now, "deceased": merged["deceased"],
             "version": merged["version"] + 1},
        ],
    )  # fmt: skip
    work.emit(PatientsMerged(survivor_id=survivor_id, merged_id=merged_id))
    return merge_id


def _snapshot(rows: dict[str, Any]) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        return value.isoformat() if hasattr(value, "isoformat") else value

    return {key: {name: plain(value) for name, value in row.items()} for key, row in rows.items()}
