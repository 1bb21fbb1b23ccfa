"""What merges wrote into their survivor's own row, and what stands there once one of them is undone.

Each merge keeps what it found. Several stand over one another in the survivor, and people undo them in any order: what
one wrote goes, what stood before it comes back, and what the others would have written without it is written.
"""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from hcrm.archive.batch import Row, stamp
from hcrm.archive.matching import deceased_after_merge
from hcrm.archive.merge.service import PATIENT_LISTS, has_written
from hcrm.archive.models import DeceasedState, PatientMerge
from hcrm.core.work import Work

Stamp = Sequence[Any] | None


def merges_into(work: Work, survivor_id: str) -> Sequence[PatientMerge]:
    """Every merge into that archive, undone or not, the newest first."""
    found: Sequence[PatientMerge] = work.scalars(
        sa.select(PatientMerge)
        .where(PatientMerge.survivor_id == survivor_id)
        .order_by(PatientMerge.merged_at.desc(), PatientMerge.id.desc())
    )
    return found


def is_told_since(merge: PatientMerge, merges: Sequence[PatientMerge], name: str, told: Stamp) -> bool:
    """Whether anybody has told that list since the merge; a later merge, which united it once more, tells nothing."""
    for row in merges:
        is_its = has_written(row, told, is_list=True)
        if row.id == merge.id:
            return not is_its
        if is_its:
            told = _found(row)["provenance"].get(name)
    return True


def without_merge(merge: PatientMerge, merges: Sequence[PatientMerge], survivor: Row) -> dict[str, Any]:
    """What the survivor's row would say, had there never been this merge of `merges`."""
    gone = {merge.id, *(row.id for row in merges if row.undone_at is not None)}
    values: dict[str, Any] = {"deceased": survivor["deceased"], "is_vip": survivor["is_vip"]}
    provenance = dict(survivor["provenance"])
    for name in (*PATIENT_LISTS, *values):
        told, base = _below(merges, gone, name, provenance.get(name))
        if base is None:
            continue  # told by somebody else, or by a merge that stands
        if name in values:
            later = [row for row in merges[: merges.index(base)] if row.id not in gone]
            values[name], told = _told_again(name, _found(base)[name], told, later[::-1])
        if told is None:
            del provenance[name]
        else:
            provenance[name] = list(told)
    return values | {"provenance": provenance}


def _below(
    merges: Sequence[PatientMerge], gone: Collection[str], name: str, told: Stamp
) -> tuple[Stamp, PatientMerge | None]:
    """The stamp under those of merges that are gone, and the oldest of these; None where none of them has one."""
    base = None
    for row in merges:
        if has_written(row, told, is_list=name in PATIENT_LISTS):
            if row.id not in gone:
                break
            told, base = _found(row)["provenance"].get(name), row
    return told, base


def _told_again(name: str, value: Any, told: Stamp, merges: Sequence[PatientMerge]) -> tuple[Any, Stamp]:
    """The value, and its stamp, once these merges, the oldest first, have had their say about it."""
    value = DeceasedState(value) if name == "deceased" else value
    for row in merges:
        merged = row.before[row.merged_id]
        after = (
            deceased_after_merge({"deceased": value}, merged)
            if name == "deceased"
            else value or merged["is_vip"]
        )
        if after != value:
            value, told = after, stamp(row.told_at or row.merged_at, row.source, row.seq or 0)
    return value, told


def _found(merge: PatientMerge) -> Row:
    """The survivor's row as the merge found it."""
    row: Row = merge.before[merge.survivor_id]
    return row
