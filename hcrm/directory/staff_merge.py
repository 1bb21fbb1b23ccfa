"""One person under two staff numbers: the duplicate's work is given to the other entry, and can be given back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from hcrm.audit.service import record_audit
from hcrm.core.db import Base, table_of
from hcrm.core.errors import ConflictError, HcrmError
from hcrm.core.work import Work
from hcrm.directory.entries import change_row
from hcrm.directory.events import StaffMoved
from hcrm.directory.models import Department, DirectoryChange, Practitioner

_LABELS = {
    "encounter.attending_id": "主管的就诊",
    "instruction.assignee_id": "负责的随访指令",
    "account.practitioner_id": "账号",
    "department.head_id": "任科主任的科室",
}


@dataclass(frozen=True, slots=True)
class MergePreview:
    """What moves where two entries become one."""

    duplicate: Practitioner
    into: Practitioner
    counts: Mapping[str, int]  # by what it is, as a person reads it


def preview_merge(work: Work, *, duplicate_id: str, into_code: str) -> MergePreview:
    """What `merge_staff` would move; refused where it would make no sense."""
    duplicate, into = _pair(work, duplicate_id, into_code)
    counts = {
        _LABELS.get(_name(column), column.table.name): work.scalar(
            sa.select(sa.func.count()).select_from(column.table).where(column == duplicate.id)
        )
        for column in _columns()
    }
    return MergePreview(duplicate, into, counts)


def merge_staff(work: Work, *, duplicate_id: str, into_code: str) -> None:
    """Give everything of a duplicate to the entry of that staff number; messages that name the duplicate name it."""
    duplicate, into = _pair(work, duplicate_id, into_code)
    moved: dict[str, list[str]] = {}
    for column in _columns():
        key = next(iter(column.table.primary_key))
        keys = list(work.scalars(sa.select(key).where(column == duplicate.id)))
        if keys:
            work.execute(sa.update(column.table).where(column == duplicate.id).values({column.name: into.id}))
            moved[_name(column)] = keys
    before = {"merged_into_id": None, "is_active": duplicate.is_active}
    duplicate.merged_into_id, duplicate.is_active = into.id, False
    work.session.flush()
    after = {"merged_into_id": into.id, "is_active": False, "moved": moved}
    work.insert(DirectoryChange, [change_row(work, "practitioner", duplicate.id, "merge", before, after)])
    work.emit(StaffMoved([duplicate.id, into.id]))
    _audit(work, duplicate.id, "merge")


def part_staff(work: Work, *, duplicate_id: str) -> None:
    """Two entries again: what moved and is still the other's comes back."""
    duplicate = work.session.get(Practitioner, duplicate_id, with_for_update=True, populate_existing=True)
    merge = work.scalar(
        sa.select(DirectoryChange)
        .where(
            DirectoryChange.kind == "practitioner", DirectoryChange.subject_id == duplicate_id,
            DirectoryChange.action == "merge",
        )
        .order_by(DirectoryChange.changed_at.desc(), DirectoryChange.id.desc())
        .limit(1)
    )  # fmt: skip
    if duplicate is None or duplicate.merged_into_id is None or merge is None:
        raise ConflictError("directory.merge_gone", "这条人员没有合并，或已拆开")
    into_id = duplicate.merged_into_id
    for column in _columns():
        keys = merge.after["moved"].get(_name(column), [])
        key = next(iter(column.table.primary_key))
        for start in range(0, len(keys), _CHUNK):
            chosen = key.in_(keys[start : start + _CHUNK])
            work.execute(
                sa.update(column.table).where(chosen, column == into_id).values({column.name: duplicate_id})
            )
    duplicate.merged_into_id, duplicate.is_active = None, merge.before["is_active"]
    work.session.flush()
    work.insert(
        DirectoryChange,
        [change_row(work, "practitioner", duplicate_id, "part", {"merged_into_id": into_id},
                    {"merged_into_id": None, "is_active": duplicate.is_active})],
    )  # fmt: skip
    work.emit(StaffMoved([duplicate_id, into_id]))
    _audit(work, duplicate_id, "part")


_CHUNK = 500


def _pair(work: Work, duplicate_id: str, into_code: str) -> tuple[Practitioner, Practitioner]:
    into_id = work.scalar(sa.select(Practitioner.id).where(Practitioner.code == into_code.strip()))
    if into_id is None:
        raise HcrmError("directory.into", "没有这个工号", field="into")
    rows = work.scalars(
        sa.select(Practitioner)
        .where(Practitioner.id.in_([duplicate_id, into_id]))
        .order_by(Practitioner.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    found = {row.id: row for row in rows}
    if into_id == duplicate_id or duplicate_id not in found:
        raise HcrmError("directory.into", "须是另一条人员", field="into")
    duplicate, into = found[duplicate_id], found[into_id]
    if duplicate.merged_into_id or into.merged_into_id:
        raise ConflictError("directory.merged", "其中一条已并入别的人员")
    if work.scalar(sa.select(Practitioner.id).where(Practitioner.merged_into_id == duplicate_id).limit(1)):
        raise ConflictError("directory.merged", "已有人员并入这一条，请把它们直接并入对方")
    return duplicate, into


def _columns() -> list[sa.Column[Any]]:
    """Every column that names a practitioner: by the schema, so that a later table moves too."""
    key = table_of(Practitioner).c.id
    found = [
        column
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if any(fk.column is key for fk in column.foreign_keys)
        and column is not table_of(Practitioner).c.merged_into_id
    ]
    return [*found, table_of(Department).c.head_id]


def _name(column: sa.Column[Any]) -> str:
    return f"{column.table.name}.{column.name}"


def _audit(work: Work, key: str, act: str) -> None:
    record_audit(
        work, action="directory.merge", subject_type="practitioner", subject_id=key, detail={"act": act}
    )
