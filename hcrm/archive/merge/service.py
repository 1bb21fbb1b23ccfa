"""Merging two archives into one: nothing is deleted, and what moved is listed, so that it can be undone."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hcrm.archive.batch import UNITED, is_older, stamp
from hcrm.archive.events import PatientsMerged
from hcrm.archive.matching import deceased_after_merge
from hcrm.archive.models import (
    BUSINESS_RANKS,
    Address,
    Allergy,
    ContactPoint,
    Patient,
    PatientIdentifier,
    PatientMerge,
    RelatedPerson,
    TimelineEntry,
)
from hcrm.archive.terms import BY_PEOPLE
from hcrm.audit.service import record_audit
from hcrm.core.db import Base, table_of
from hcrm.core.errors import ConflictError
from hcrm.core.work import Work

STAYS_BEHIND = frozenset({"patient_merge", "identity_pair", "name_token"})
"""Logs that keep the id as it was then, and what follows from a row that stays itself."""
_IS_BUSINESS = ContactPoint.rank > BUSINESS_RANKS
_IS_TOLD = sa.and_(~ContactPoint.is_verified, ContactPoint.source != BY_PEOPLE)
PATIENT_LISTS: dict[str, tuple[type[Base], sa.ColumnElement[bool]]] = {
    "contacts": (ContactPoint, sa.and_(~_IS_BUSINESS, _IS_TOLD)),
    "business_contacts": (ContactPoint, sa.and_(_IS_BUSINESS, _IS_TOLD)),
    "addresses": (Address, Address.source != BY_PEOPLE),
    "related": (RelatedPerson, RelatedPerson.source != BY_PEOPLE),
    "allergies": (Allergy, Allergy.source != BY_PEOPLE),
}
"""The lists of a patient as `provenance` names them, and which rows of which table messages tell them in."""


def patient_columns() -> list[sa.Column[Any]]:
    """Every column that points at a patient and moves with them."""
    return columns_to("patient.id")


def columns_to(target: str, only: sa.Table | None = None) -> list[sa.Column[Any]]:
    """Every column with a foreign key to `target`, in one table or in all but those that keep the id as it was."""
    return [
        column
        for table in ([only] if only is not None else Base.metadata.sorted_tables)
        if table.name not in STAYS_BEHIND
        for column in table.columns
        if any(key.target_fullname == target for key in column.foreign_keys)
    ]


def merge_patients(
    work: Work, *, survivor_id: str, merged_id: str, source: str, seq: int | None, as_of: datetime | None = None,
    told_at: datetime | None = None,
) -> str:  # fmt: skip
    """Make `merged_id` part of `survivor_id`; the id of the merge, by which it can be undone.

    Rows move by the foreign keys of the schema, so a table added later moves too. The merged archive stays as a
    tombstone; its record numbers are retired and from now on find the survivor. `as_of` and `told_at`: when the
    sender said so, on the clock of the patient's data and on the message's own.
    """
    now = work.clock.now()
    table = table_of(Patient)
    rows = {
        row["id"]: dict(row)
        for row in work.execute(sa.select(table).where(table.c.id.in_([survivor_id, merged_id]))).mappings()
    }
    if len(rows) < 2 or any(row["merged_into_id"] for row in rows.values()):
        raise ConflictError("merge.state", "只能合并两份不同的、未被合并的档案")
    survivor, merged = rows[survivor_id], rows[merged_id]
    work.execute(
        sa.update(PatientIdentifier)
        .where(PatientIdentifier.patient_id == merged_id, PatientIdentifier.retired_at.is_(None))
        .values(retired_at=now)
        .execution_options(synchronize_session=False)
    )
    merge_id = work.new_id()
    moved = _move(work, merged_id, survivor_id)
    work.insert(
        PatientMerge,
        [
            {"id": merge_id, "survivor_id": survivor_id, "merged_id": merged_id, "before": _snapshot(rows),
             "moved": moved, "source": source, "seq": seq, "told_at": told_at or now, "merged_at": now,
             "undone_at": None, "left": None}
        ],
    )  # fmt: skip
    told = stamp(as_of or now, source, seq or 0)
    provenance = _unite_lists(work, survivor, moved, told)
    deceased = deceased_after_merge(survivor, merged)
    if deceased != survivor["deceased"]:
        provenance["deceased"] = told
    is_vip = survivor["is_vip"] or merged["is_vip"]  # else a merge let through would end the guard of a VIP
    if is_vip != survivor["is_vip"]:
        provenance["is_vip"] = told
    work.update_rows(
        Patient,
        [
            {"id": survivor_id, "merged_into_id": None, "updated_at": now, "version": survivor["version"] + 1,
             "deceased": deceased, "is_vip": is_vip, "provenance": provenance},
            {"id": merged_id, "merged_into_id": survivor_id, "updated_at": now, "version": merged["version"] + 1,
             "deceased": merged["deceased"], "is_vip": merged["is_vip"], "provenance": merged["provenance"]},
        ],
    )  # fmt: skip
    work.insert(
        TimelineEntry,
        [
            {"id": work.new_id(), "patient_id": survivor_id, "happened_at": now, "kind": "merge",
             "title": "另一份档案并入本档案", "subject_type": "patient_merge", "subject_id": merge_id,
             "encounter_id": None}
        ],
    )  # fmt: skip  # at once: the next merge of this work must find it
    record_audit(
        work, action="patient.merge", patients=[survivor_id, merged_id], subject_type="patient_merge",
        subject_id=merge_id, detail={"source": source},
    )  # fmt: skip
    work.emit(PatientsMerged(survivor_id=survivor_id, merged_id=merged_id))
    return merge_id


def has_written(merge: PatientMerge, told: Sequence[Any] | None, *, is_list: bool) -> bool:
    """Whether that stamp in the survivor's provenance is this merge's: nobody has told the value since.

    A message's merge is known by its number; those that people make by the moment.
    """
    words = [merge.source, merge.seq or 0, *([UNITED] if is_list else [])]
    if told is None or list(told[1:]) != words:
        return False
    return merge.source != BY_PEOPLE or datetime.fromisoformat(told[0]) == merge.merged_at


def _move(work: Work, merged_id: str, survivor_id: str) -> dict[str, list[Any]]:
    """Let everything that hangs on the one hang on the other; the keys that moved, by table and column."""
    moved: dict[str, list[Any]] = {}
    for column in patient_columns():
        key = next(iter(column.table.primary_key))
        keys = list(work.scalars(sa.select(key).where(column == merged_id)))
        if keys:
            moved[f"{column.table.name}.{column.name}"] = keys
            work.execute(
                sa.update(column.table).where(column == merged_id).values({column.name: survivor_id})
            )
    return moved


def _unite_lists(
    work: Work, survivor: dict[str, Any], moved: dict[str, list[Any]], told: list[Any]
) -> dict[str, Any]:
    """From the merge on the survivor has both lists, and what was told of one of them before must not empty the other.

    A list told after the merge, though it arrived before, is that of both already: what moved to it ends.
    """
    as_of, _, seq = told
    provenance = {**survivor["provenance"]}
    for name, (model, is_part) in PATIENT_LISTS.items():
        if not is_older(datetime.fromisoformat(as_of), seq, provenance.get(name)):
            provenance[name] = [*told, UNITED]
            continue
        table = table_of(model)
        work.execute(
            sa.update(table)
            .where(
                table.c.id.in_(moved.get(f"{table.name}.patient_id", ())), table.c.ended_at.is_(None), is_part
            )
            .values(ended_at=work.clock.now())
        )
    return provenance


def _snapshot(rows: dict[str, Any]) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        return value.isoformat() if hasattr(value, "isoformat") else value

    return {key: {name: plain(value) for name, value in row.items()} for key, row in rows.items()}
