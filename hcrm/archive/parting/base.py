"""Name, sex and birth date that people entered while two archives were one: of whom they are a person says."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from hcrm.archive.absorb.patient import PatientSide
from hcrm.archive.batch import Row
from hcrm.archive.corrections import mark_of
from hcrm.archive.events import PatientsTouched
from hcrm.archive.models import Patient, PatientIdentifier, PatientMerge, Sex
from hcrm.archive.records import NULL, Change, PatientRecord
from hcrm.archive.terms import BY_PEOPLE
from hcrm.core.db import table_of
from hcrm.core.work import Work

_LABELS = {"name": "姓名", "sex": "性别", "birth_date": "出生日期"}
_OF_MESSAGES = "分出的一份此项来自 HIS 消息，撤销后请在它的页面更正"


@dataclass(frozen=True, slots=True)
class EditedBase:
    """One value of the survivor's that people entered since the merge."""

    field: str
    entered_at: datetime
    words: str
    is_fixed: str = ""  # why it cannot be the other's


def edited_since(work: Work, merge: PatientMerge) -> list[EditedBase]:
    """What of it stands in the survivor's row."""
    table = table_of(Patient)
    ids = (merge.survivor_id, merge.merged_id)
    rows = {
        row["id"]: dict(row) for row in work.execute(sa.select(table).where(table.c.id.in_(ids))).mappings()
    }
    survivor, merged = (rows[key] for key in ids)
    found = []
    for field, label in _LABELS.items():
        told = survivor["provenance"].get(field)
        if told is None or told[1] != BY_PEOPLE or told == _found(merge)["provenance"].get(field):
            continue
        entered_at = datetime.fromisoformat(told[0])
        if entered_at < merge.merged_at:
            continue  # known before: a later merge that was undone has put it back
        words = f"{label}更正为{_shown(survivor[field]) or '未填'}（原为{_shown(_before(merge, field)) or '未填'}）"
        own = merged["provenance"].get(field)
        found.append(
            EditedBase(
                field,
                entered_at,
                words,
                _OF_MESSAGES if own and (own[1] != BY_PEOPLE or mark_of(own)) else "",
            )
        )
    return found


def give_base(work: Work, merge: PatientMerge, fields: Collection[str]) -> None:
    """Those values are the merged archive's; the survivor has again what the merge found. Both are parted by now."""
    given = [edit for edit in edited_since(work, merge) if edit.field in fields and not edit.is_fixed]
    if not given:
        return
    ids = (merge.survivor_id, merge.merged_id)
    side = PatientSide(work)
    side.patients.load(Patient.id.in_(ids), lock=True)
    side.index.identifiers.load(PatientIdentifier.patient_id.in_(ids), PatientIdentifier.ended_at.is_(None))
    survivor, merged = (side.patients.by_id[key] for key in ids)
    for edit in given:
        value = survivor[edit.field]
        record = PatientRecord(
            identifiers=(),
            name=value if edit.field == "name" else None,
            sex=value if edit.field == "sex" else None,
            birth_date=(value or NULL) if edit.field == "birth_date" else None,
        )
        side.apply(
            merged, record, Change(source=BY_PEOPLE, as_of=edit.entered_at, told_at=edit.entered_at), 0, []
        )
        told = _found(merge)["provenance"].get(edit.field)
        side.put_back(survivor, edit.field, _before(merge, edit.field), told)
    now = work.clock.now()
    for row in (survivor, merged):
        side.patients.change(row, updated_at=now, version=row["version"] + 1)
    side.write()
    work.session.expire_all()
    work.emit(PatientsTouched(patient_ids=list(ids)))


def _before(merge: PatientMerge, field: str) -> Any:
    value = _found(merge)[field]
    if field == "birth_date":
        return date.fromisoformat(value) if value else None
    return Sex(value) if field == "sex" else value


def _shown(value: Any) -> str:
    return value.label if isinstance(value, Sex) else str(value or "")


def _found(merge: PatientMerge) -> Row:
    row: Row = merge.before[merge.survivor_id]
    return row
