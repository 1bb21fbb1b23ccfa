"""What came while two archives were one, and where it goes when they are parted: shown before, or sorted after."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hcrm.archive.models import PatientMerge
from hcrm.archive.parting.base import edited_since
from hcrm.archive.queries import patient_in_scope
from hcrm.archive.reach.people import ADDRESS_USES
from hcrm.archive.terms import BY_PEOPLE
from hcrm.archive.visit_models import Encounter
from hcrm.core.db import Base
from hcrm.core.errors import NotFoundError
from hcrm.core.text import mask_phone
from hcrm.core.work import Work

NUMBERS = "patient_identifier.patient_id"
"""The record numbers among what a merge moved."""
BASE = "patient"
"""Under what name the survivor's own columns are listed; the key is the column's."""
_LONGEST = 40  # characters of a text that are shown


@dataclass(frozen=True, slots=True)
class CameMeanwhile:
    """One row: where it goes unless a person says otherwise, and whether a person may."""

    table: str
    id: str
    happened_at: datetime
    words: str
    goes_back: bool  # told under a number of the merged archive: its own beyond doubt
    is_fixed: str = ""  # why it stays with the survivor, whatever anybody says

    @property
    def name(self) -> str:
        """What its field of the form is called."""
        return f"{self.table}.{self.id}"

    @property
    def may_stay(self) -> bool:
        """Whether it is a person's to say where it goes: what nobody decided has to be looked through."""
        return not self.goes_back and not self.is_fixed


@dataclass(frozen=True, slots=True)
class _Written:
    """A table people write: when a row happened, and in what words it is shown."""

    moment: str
    words: Callable[[Work, sa.RowMapping], str]
    is_fixed: str = ""


def _contact(_: Work, row: sa.RowMapping) -> str:
    return _with_text(f"联系记录（{row['channel'].label}）", row["note"])


def _number(work: Work, row: sa.RowMapping) -> str:
    value = work.keys.open_text(row["value_sealed"])
    return f"联系方式：{mask_phone(value) if row['system'] == 'phone' else '邮箱'}"


def _allergy(_: Work, row: sa.RowMapping) -> str:
    return _with_text("过敏", row["text"])


def _relative(_: Work, row: sa.RowMapping) -> str:
    return _with_text("联系人", f"{row['name']} {row['relation']}".strip())


def _address(_: Work, row: sa.RowMapping) -> str:
    return _with_text("地址", ADDRESS_USES.get(row["use"]))


def _with_text(words: str, text: str | None) -> str:
    return f"{words}：{text[:_LONGEST]}" if text else words


WRITTEN: Mapping[str, _Written] = {
    "contact_entry": _Written("happened_at", _contact),
    "patient_note": _Written("created_at", lambda _, row: _with_text("备注", row["text"])),
    "patient_tag": _Written("created_at", lambda _, row: f"标签：{row['tag']}"),
    "patient_field_value": _Written("created_at", lambda _, row: _with_text("档案内容", row["value"])),
    "patient_loss": _Written("created_at", lambda _, row: _with_text("流失原因", row["note"])),
    "contact_point": _Written("as_of", _number),
    "related_person": _Written("as_of", _relative),
    "address": _Written("as_of", _address),
    "allergy": _Written("as_of", _allergy),
    "known_number": _Written("created_at", lambda _, row: f"号码核对：{row['state'].label}"),
    "consent": _Written(
        "created_at",
        lambda _, row: f"意愿：{row['purpose'].label}，{row['means'].label}，{row['decision'].label}",
    ),
    "disclosure": _Written("created_at", lambda _, row: f"知情标记：{row['state'].label}"),
    "contact_stop": _Written("created_at", lambda _, row: _with_text(row["kind"].label, row["reason"])),
    "death_report": _Written(
        "created_at",
        lambda _, row: _with_text("死亡登记", row["note"]),
        "不能确定是哪一位，撤销后请在两份档案上核实在世情况",
    ),
}
"""Tables beside the visits whose rows people write: each row may be given to either archive."""
_TOLD_TOO = ("contact_point", "related_person", "address", "allergy", "patient_field_value")
"""Those that messages write too: what they told goes by the number it was told under."""


def get_merge(work: Work, merge_id: str) -> PatientMerge:
    """A merge whose survivor, and once undone the other too, is in the scope of who asks."""
    merge = work.session.get(PatientMerge, merge_id, populate_existing=True)
    if merge is None:
        raise NotFoundError
    for patient_id in (merge.survivor_id, merge.merged_id):
        patient_in_scope(work, patient_id, "patient.unmerge")
    return merge


def came_meanwhile(work: Work, merge: PatientMerge) -> list[CameMeanwhile]:
    """What came since the merge and hangs on no visit of before, the oldest first; once undone what is left."""
    if merge.undone_at is not None:
        left = merge.left or {}
        visits = _visits(work, left.get("encounter", ()), merge, set())
        written = [row for name in WRITTEN for row in _rows(work, name, merge, left.get(name, ()))]
        base = [row for row in _base(work, merge) if row.id in left.get(BASE, ())]
        return sorted([*visits, *written, *base], key=_order)
    since = visits_since(work, merge)
    own = {row.id for row in since if is_told_under(merge, row)}
    visits = _visits(work, [row.id for row in since], merge, own)
    written = [row for name in WRITTEN for row in _rows(work, name, merge)]
    return sorted([*visits, *written, *_base(work, merge)], key=_order)


def left_behind(work: Work, merge: PatientMerge) -> dict[str, list[str]]:
    """What of it stays with the survivor when nobody says where it goes: keys by table, to be looked through."""
    return rows_by_table([row for row in came_meanwhile(work, merge) if row.may_stay])


def rows_by_table(rows: Collection[CameMeanwhile]) -> dict[str, list[str]]:
    """Their keys, as a merge keeps what is to be looked through."""
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.table, []).append(row.id)
    return {name: sorted(keys) for name, keys in found.items()}


def visits_since(work: Work, merge: PatientMerge) -> Sequence[Any]:
    """Visits the survivor got since the merge: key and provenance."""
    rows = work.execute(
        sa.select(Encounter.id, Encounter.provenance).where(
            Encounter.patient_id == merge.survivor_id,
            Encounter.created_at >= merge.merged_at,
            Encounter.id
            > merge.id,  # keys are made in order: what was there in that very moment is not meant
        )
    )
    brought = _brought_later(work, merge, "encounter")
    return [row for row in rows if row.id not in brought]


def _brought_later(work: Work, merge: PatientMerge, table: str) -> set[str]:
    """Rows of archives that were merged into the survivor later: theirs, whenever they came."""
    later = work.scalars(
        sa.select(PatientMerge.moved).where(
            PatientMerge.survivor_id == merge.survivor_id,
            PatientMerge.merged_at >= merge.merged_at,
            PatientMerge.id > merge.id,
            PatientMerge.undone_at.is_(None),
        )
    )
    return {key for moved in later for key in moved.get(f"{table}.patient_id", ())}


def is_told_under(merge: PatientMerge, visit: Any) -> bool:
    """Whether such a visit was told under a number the merge moved."""
    return visit.provenance.get("told_under") in set(merge.moved.get(NUMBERS, ()))


def only_known(
    chosen: Mapping[str, Collection[str]], rows: Collection[CameMeanwhile]
) -> dict[str, list[str]]:
    """What was chosen, as far as it is of those rows and may be: a form may hold anything."""
    known = {(row.table, row.id) for row in rows if not row.is_fixed}
    return {table: [key for key in keys if (table, key) in known] for table, keys in chosen.items()}


def _base(work: Work, merge: PatientMerge) -> list[CameMeanwhile]:
    return [
        CameMeanwhile(BASE, edit.field, edit.entered_at, edit.words, False, edit.is_fixed)
        for edit in edited_since(work, merge)
    ]


def _visits(
    work: Work, keys: Collection[str], merge: PatientMerge, own: Collection[str]
) -> list[CameMeanwhile]:
    rows = work.scalars(
        sa.select(Encounter)
        .where(Encounter.id.in_(keys), Encounter.patient_id == merge.survivor_id)
        .order_by(Encounter.id)
    )
    return [
        CameMeanwhile(
            "encounter", row.id, row.admitted_at or row.created_at,
            f"{row.encounter_class.label if row.encounter_class else '就诊'} {row.visit_no or ''}".strip(),
            row.id in own,
        )
        for row in rows
    ]  # fmt: skip


def _rows(
    work: Work, name: str, merge: PatientMerge, keys: Collection[str] | None = None
) -> list[CameMeanwhile]:
    """What people wrote for the survivor since, in one table; or those rows of it, where they still are."""
    table = Base.metadata.tables.get(name)
    if table is None:
        return []
    where = [table.c.patient_id == merge.survivor_id]
    if keys is not None:
        where.append(table.c.id.in_(keys))
    else:
        where.append(table.c.id > merge.id)
        if "encounter_id" in table.c:
            where.append(table.c.encounter_id.is_(None))  # else it goes with its visit
        if name in _TOLD_TOO:
            where.append(table.c.source == BY_PEOPLE)
    kind = WRITTEN[name]
    rows = work.execute(sa.select(table).where(*where).order_by(table.c.id)).mappings().all()
    brought = _brought_later(work, merge, name) if rows and keys is None else ()
    return [
        CameMeanwhile(name, row["id"], row[kind.moment], kind.words(work, row), False, kind.is_fixed)
        for row in rows
        if row["id"] not in brought
    ]


def _order(row: CameMeanwhile) -> tuple[datetime, str]:
    return row.happened_at, row.id
