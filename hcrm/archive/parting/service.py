"""Undoing a merge: two archives again (truth table B41).

What hung on the merged archive before goes back, with all that came of its visits since, and so do visits that were
first told under its own numbers; what came meanwhile under the survivor's stays there and is listed on the merge for a
person to look through.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hcrm.archive.absorb.patient import PatientSide
from hcrm.archive.batch import Row
from hcrm.archive.events import PatientsParted
from hcrm.archive.links import tell_link
from hcrm.archive.merge.service import PATIENT_LISTS, columns_to, patient_columns
from hcrm.archive.merge.stamps import is_told_since, merges_into, without_merge
from hcrm.archive.models import (
    DeceasedState,
    LinkKind,
    Patient,
    PatientIdentifier,
    PatientMerge,
    TimelineEntry,
)
from hcrm.archive.parting.base import give_base
from hcrm.archive.parting.death import part_death
from hcrm.archive.parting.ended_since import stand_again
from hcrm.archive.parting.since_merge import BASE, NUMBERS, is_told_under, left_behind, visits_since
from hcrm.archive.visit_models import Encounter
from hcrm.audit.service import record_audit
from hcrm.core.db import Base, table_of
from hcrm.core.work import Work

_CHUNK = 500


def undo_merge(
    work: Work, *, merge_id: str, source: str, as_of: datetime | None = None, seq: int = 0,
    assigned: Mapping[str, Collection[str]] | None = None, unseen: Mapping[str, list[str]] | None = None,
) -> str | None:  # fmt: skip
    """Part the two archives of a merge; None, or the reason why it cannot be: `merge_gone`, `merged_further`.

    `as_of` says since when they count as two: the merge, told again later under an older time, changes nothing.
    `assigned`: what came meanwhile and a person says is the merged archive's, by table (`assign_rows`); without it what
    stays behind is listed on the merge, and so is what is `unseen`: it came while that person looked.
    """
    merge = work.session.get(PatientMerge, merge_id, with_for_update=True, populate_existing=True)
    if merge is None or merge.undone_at is not None:
        return "merge_gone"
    table = table_of(Patient)
    ids = sorted([merge.survivor_id, merge.merged_id])
    rows = {
        row["id"]: dict(row)
        for row in work.execute(
            sa.select(table).where(table.c.id.in_(ids)).order_by(table.c.id).with_for_update()
        ).mappings()
    }
    survivor, merged = rows[merge.survivor_id], rows[merge.merged_id]
    if survivor["merged_into_id"] or merged["merged_into_id"] != survivor["id"]:
        return "merged_further"  # that later merge has to be undone first
    now = work.clock.now()
    own = [row.id for row in visits_since(work, merge) if is_told_under(merge, row)]
    moved_visits = [*merge.moved.get("encounter.patient_id", ()), *own]
    left = left_behind(work, merge) if assigned is None else dict(unseen or {})
    death = part_death(work, merge, survivor, merged)
    merges = merges_into(work, merge.survivor_id)
    _keep_told(work, merge, merges, survivor)
    _move_back(work, merge, moved_visits)
    _reopen(work, merge)
    assign_rows(work, merge, assigned or {})
    stand_again(work, merge)
    survivor, merged = survivor | death.survivor, merged | death.merged
    work.update_rows(
        Patient,
        [
            {"id": survivor["id"], "merged_into_id": None, "updated_at": now, "version": survivor["version"] + 1,
             "deceased_at": survivor["deceased_at"], **without_merge(merge, merges, survivor)},
            {"id": merged["id"], "merged_into_id": None, "updated_at": now, "version": merged["version"] + 1,
             "deceased_at": merged["deceased_at"], "deceased": merged["deceased"], "is_vip": merged["is_vip"],
             "provenance": merged["provenance"]},
        ],
    )  # fmt: skip
    merge.undone_at, merge.left = now, left or None
    work.session.flush()
    give_base(work, merge, (assigned or {}).get(BASE, ()))
    tell_link(
        work, patient_id=survivor["id"], other_id=merged["id"], kind=LinkKind.APART, source=source,
        as_of=as_of or now, seq=seq,
    )  # fmt: skip
    number = sum(map(len, left.values()))
    words = f"合并已撤销；期间收到的 {number} 项留在本档案，请核对" if number else "合并已撤销"
    work.insert(
        TimelineEntry,
        [
            {"id": work.new_id(), "patient_id": patient_id, "happened_at": now, "kind": "merge", "title": title,
             "subject_type": "patient_merge", "subject_id": merge.id, "encounter_id": None}
            for patient_id, title in ((survivor["id"], words), (merged["id"], "合并已撤销"))
        ]
        + [
            {"id": work.new_id(), "patient_id": patient_id, "happened_at": now, "kind": "death", "title": death.words,
             "subject_type": "patient", "subject_id": patient_id, "encounter_id": None}
            for patient_id in (survivor["id"], merged["id"]) if death.words
        ],
    )  # fmt: skip
    record_audit(
        work, action="patient.unmerge", patients=[survivor["id"], merged["id"]], subject_type="patient_merge",
        subject_id=merge.id, detail={"source": source},
    )  # fmt: skip
    if death.lives_again is not None:
        work.emit(death.lives_again)
    work.emit(PatientsParted(survivor_id=survivor["id"], merged_id=merged["id"]))
    return None


def assign_rows(work: Work, merge: PatientMerge, assigned: Mapping[str, Collection[str]]) -> None:
    """Give rows that came while two were one to the merged archive: visits with all that hangs on them, and others.

    What the timeline tells of them goes with them. The survivor's own columns are given apart (`give_base`).
    """
    visits = sorted(assigned.get("encounter", ()))
    for column in patient_columns():
        for visit in _visit_columns(column.table):
            _give_back(work, merge, column, visit.in_(visits))
        keys = sorted(assigned.get(column.table.name, ()))
        if keys and column.table.name not in ("encounter", BASE):
            _give_back(work, merge, column, next(iter(column.table.primary_key)).in_(keys))
    others = sorted({key for name, keys in assigned.items() if name != BASE for key in keys})
    entries = table_of(TimelineEntry)
    _give_back(work, merge, entries.c.patient_id, entries.c.subject_id.in_(others))
    _follow_owners(work, merge)


def _follow_owners(work: Work, merge: PatientMerge) -> None:
    """What hangs on a row that has gone to the merged archive goes with it: the recording of a call, whenever made."""
    columns = {column.table.name: column for column in patient_columns()}
    for owner in columns.values():
        if owner.table.name in ("patient", "encounter"):
            continue
        theirs = sa.select(owner.table.c.id).where(owner == merge.merged_id)
        for column in columns.values():
            for key in columns_to(f"{owner.table.name}.id", column.table):
                _give_back(work, merge, column, key.in_(theirs))


def part_number(work: Work, *, number: Row, source: str, as_of: datetime, seq: int) -> str:
    """Give a number its own archive, which a merge retired before anything was known under it; the archive's id.

    There is no merge to undo and nothing to bring back but the visits told under the number since, and a death.
    """
    now = work.clock.now()
    side = PatientSide(work)
    side.patients.load(Patient.id == number["patient_id"], lock=True)
    survivor = side.patients.by_id[number["patient_id"]]
    own = side.create(is_stub=True)
    _part_death(side, survivor, own, number)
    side.patients.change(survivor, updated_at=now, version=survivor["version"] + 1)
    side.write()
    work.update_rows(PatientIdentifier, [{"id": number["id"], "patient_id": own["id"], "retired_at": None}])
    told = work.execute(
        sa.select(Encounter.id, Encounter.provenance).where(
            Encounter.patient_id == survivor["id"], Encounter.created_at >= number["retired_at"]
        )
    )
    visits = [row.id for row in told if row.provenance.get("told_under") == number["id"]]
    for column in patient_columns():
        for visit in _visit_columns(column.table):
            for start in range(0, len(visits), _CHUNK):
                _hand_over(work, column, visit.in_(visits[start : start + _CHUNK]), survivor["id"], own["id"])
    tell_link(
        work, patient_id=survivor["id"], other_id=own["id"], kind=LinkKind.APART, source=source, as_of=as_of, seq=seq
    )  # fmt: skip
    work.insert(
        TimelineEntry,
        [
            {"id": work.new_id(), "patient_id": patient_id, "happened_at": now, "kind": "merge",
             "title": "合并已撤销", "subject_type": "patient", "subject_id": own["id"], "encounter_id": None}
            for patient_id in (survivor["id"], own["id"])
        ],
    )  # fmt: skip
    record_audit(
        work, action="patient.unmerge", patients=[survivor["id"], own["id"]], subject_type="patient",
        subject_id=own["id"], detail={"source": source},
    )  # fmt: skip
    work.emit(PatientsParted(survivor_id=survivor["id"], merged_id=own["id"]))
    return str(own["id"])


def _part_death(side: PatientSide, survivor: Row, own: Row, number: Row) -> None:
    """A death told under the number from before the merge is its own; of any other a person decides whose it is.

    Until then nobody is sent anything. What was told of the number since is told again, and makes that death its own.
    """
    if survivor["deceased"] == DeceasedState.ALIVE:
        return
    told = survivor["provenance"].get("deceased", [])
    if told[1:] != [number["source"], number["seq"]]:
        side.patients.change(own, deceased=DeceasedState.DISPUTED)
        if survivor["deceased"] == DeceasedState.DECEASED:
            side.patients.change(survivor, deceased=DeceasedState.DISPUTED)
        return
    known = {name: value for name, value in survivor["provenance"].items() if name != "deceased"}
    side.patients.change(
        own,
        deceased=DeceasedState.DECEASED,
        deceased_at=survivor["deceased_at"],
        provenance={"deceased": told},
    )
    side.patients.change(survivor, deceased=DeceasedState.ALIVE, deceased_at=None, provenance=known)


def _keep_told(work: Work, merge: PatientMerge, merges: Sequence[PatientMerge], survivor: Row) -> None:
    """What the survivor was told to have since stays with them too, though the row goes back with the other."""
    for name, (model, is_part) in PATIENT_LISTS.items():
        table = table_of(model)
        keys = merge.moved.get(f"{table.name}.patient_id", ())
        if not keys or not is_told_since(merge, merges, name, survivor["provenance"].get(name)):
            continue
        rows = work.execute(
            sa.select(table).where(
                table.c.id.in_(keys),
                table.c.patient_id == merge.survivor_id,
                table.c.ended_at.is_(None),
                is_part,
            )
        ).mappings()
        work.insert(model, [{**row, "id": work.new_id()} for row in rows])


def _move_back(work: Work, merge: PatientMerge, moved_visits: list[str]) -> None:
    """Rows that moved, and those of the visits that moved, whenever they were written."""
    for column in patient_columns():
        key = next(iter(column.table.primary_key))
        keys = merge.moved.get(f"{column.table.name}.{column.name}", ())
        for start in range(0, len(keys), _CHUNK):
            _give_back(work, merge, column, key.in_(keys[start : start + _CHUNK]))
        for visit in _visit_columns(column.table):
            for start in range(0, len(moved_visits), _CHUNK):
                _give_back(work, merge, column, visit.in_(moved_visits[start : start + _CHUNK]))


def _visit_columns(table: Any) -> list[sa.Column[Any]]:
    """By what column the rows of a table belong to a visit; a visit belongs to itself."""
    return [table.c.id] if table.name == "encounter" else columns_to("encounter.id", table)


def _give_back(work: Work, merge: PatientMerge, column: sa.Column[Any], rows: sa.ColumnElement[bool]) -> None:
    _hand_over(work, column, rows, merge.survivor_id, merge.merged_id)


def _hand_over(
    work: Work, column: sa.Column[Any], rows: sa.ColumnElement[bool], from_id: str, to_id: str
) -> None:
    work.execute(
        sa.update(column.table)
        .where(rows, column == from_id)
        .values({column.name: to_id})
        .execution_options(synchronize_session=False)
    )


def _reopen(work: Work, merge: PatientMerge) -> None:
    """Numbers that this merge retired find their own archive again; list rows that ended since stand again."""
    moved = merge.moved
    identifiers = sorted(set(moved.get(NUMBERS, ())) - _retired_before(work, merge))
    by_merge = PatientIdentifier.retired_at == merge.merged_at
    changes: list[tuple[type[Base], str, Any, Any]] = [
        (PatientIdentifier, "retired_at", identifiers, by_merge)
    ]
    for model, is_part in PATIENT_LISTS.values():
        ended = table_of(model).c.ended_at
        keys = moved.get(f"{table_of(model).name}.patient_id", ())
        changes.append((model, "ended_at", keys, sa.and_(ended >= merge.merged_at, is_part)))
    for model, name, keys, where in changes:
        table = table_of(model)
        for start in range(0, len(keys), _CHUNK):
            work.execute(
                sa.update(table)
                .where(table.c.id.in_(keys[start : start + _CHUNK]), where)
                .values({name: None})
                .execution_options(synchronize_session=False)
            )


def _retired_before(work: Work, merge: PatientMerge) -> set[str]:
    """Numbers that came with archives merged into this one in the very moment of the merge: they stay retired."""
    earlier = work.scalars(
        sa.select(PatientMerge.moved).where(
            PatientMerge.survivor_id == merge.merged_id,
            PatientMerge.merged_at == merge.merged_at,
            PatientMerge.undone_at.is_(None),
        )
    )
    return {key for moved in earlier for key in moved.get(NUMBERS, ())}
