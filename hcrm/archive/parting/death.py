"""Whose a death is that was told while two archives were one, once they are parted.

It stays where its source says. Where that cannot be known, whoever it may be is in doubt (存疑): nothing is sent to
either until a person has asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from hcrm.archive.batch import Row
from hcrm.archive.events import DeathRevoked
from hcrm.archive.merge.service import has_written
from hcrm.archive.merge.stamps import Stamp, merges_into
from hcrm.archive.models import DeceasedState, Patient, PatientMerge
from hcrm.archive.terms import BY_PEOPLE, TOLD_BY_PEOPLE
from hcrm.core.db import table_of
from hcrm.core.work import Work

_IN_DOUBT = "合并期间登记的死亡不能确定是哪一位，在世情况存疑的请核实，核实前不发送任何消息"
_OF_MERGED = "合并期间的死亡是以分出一份的病案号发来的，归分出的一份"


@dataclass(frozen=True, slots=True)
class PartedDeath:
    """What the death makes of both rows, and how that is told; nothing where none was told meanwhile."""

    survivor: Row = field(default_factory=dict)
    merged: Row = field(default_factory=dict)
    words: str = ""
    lives_again: DeathRevoked | None = None  # the survivor, whose follow-up goes on


def part_death(work: Work, merge: PatientMerge, survivor: Row, merged: Row) -> PartedDeath:
    """Judge it by the rows of both as they stand before the merge is undone."""
    standing = survivor["provenance"].get("deceased")
    told = _told_since(merge, merges_into(work, merge.survivor_id), standing)
    if told is None or survivor["deceased"] == DeceasedState.ALIVE:
        return PartedDeath()
    noted_by = _noted_by(work, survivor["id"], told)
    own = {merged["id"], *merge.moved.get("patient.merged_into_id", ())}
    if noted_by & own:
        return _of_merged(merge, survivor, merged, told, is_last_word=told == standing)
    is_by_people = told[1] == TOLD_BY_PEOPLE
    if noted_by or not (is_by_people or merge.source != BY_PEOPLE):
        return (
            PartedDeath()
        )  # told under the number of one of the others, or, by a HIS that knew two, of the survivor
    doubt_of_survivor = (
        is_by_people
        and survivor["deceased"] == DeceasedState.DECEASED
        and _found(merge)["deceased"] != DeceasedState.DECEASED.value
    )
    is_merged_doubted = merged["deceased"] == DeceasedState.ALIVE
    return PartedDeath(
        {"deceased": DeceasedState.DISPUTED} if doubt_of_survivor else {},
        _with(merged, DeceasedState.DISPUTED, None, told) if is_merged_doubted else {},
        _IN_DOUBT if doubt_of_survivor or is_merged_doubted else "",
    )


def tell_parted_death(work: Work, merge: PatientMerge) -> str:
    """What parting the two would make of a death, as a person reads it before deciding; empty where of none."""
    table = table_of(Patient)
    ids = (merge.survivor_id, merge.merged_id)
    rows = {
        row["id"]: dict(row) for row in work.execute(sa.select(table).where(table.c.id.in_(ids))).mappings()
    }
    return part_death(work, merge, *(rows[key] for key in ids)).words


def _of_merged(
    merge: PatientMerge, survivor: Row, merged: Row, told: Sequence[str], *, is_last_word: bool
) -> PartedDeath:
    """It goes with the merged archive; the survivor is as they were before the merge."""
    theirs = {}
    if merged["deceased"] == DeceasedState.ALIVE:  # noted by an archive that was merged into theirs
        theirs = _with(merged, DeceasedState.DECEASED, survivor["deceased_at"], told)
    if not is_last_word:
        return PartedDeath(
            merged=theirs, words=_OF_MERGED
        )  # another merge has written over it, and that stands
    before = _found(merge)
    was = DeceasedState(before["deceased"])
    at = datetime.fromisoformat(before["deceased_at"]) if before["deceased_at"] else None
    lives_again = None
    if was is DeceasedState.ALIVE:
        lives_again = DeathRevoked(patient_id=survivor["id"], noted_at=told[0])
    return PartedDeath(
        _with(survivor, was, at, before["provenance"].get("deceased")), theirs, _OF_MERGED, lives_again
    )


def _with(row: Row, state: DeceasedState, at: datetime | None, told: Stamp) -> Row:
    provenance = {name: value for name, value in row["provenance"].items() if name != "deceased"}
    if told is not None:
        provenance["deceased"] = list(told)
    return {"deceased": state, "deceased_at": at, "provenance": provenance}


def _told_since(merge: PatientMerge, merges: Sequence[PatientMerge], told: Stamp) -> Sequence[str] | None:
    """The word about life or death that anybody but a merge has said since this one; None where there is none."""
    at = next(number for number, row in enumerate(merges) if row.id == merge.id)
    for row in merges[:at]:
        if has_written(row, told, is_list=False):
            told = _found(row)["provenance"].get("deceased")
    for row in merges[at:]:  # one that was undone since may have left its word in what a later one found
        if has_written(row, told, is_list=False) or told == _found(row)["provenance"].get("deceased"):
            return None
    return told


def _noted_by(work: Work, survivor_id: str, told: Sequence[str]) -> set[str]:
    """Archives merged into that one under whose number this very word came."""
    rows = work.execute(
        sa.select(Patient.id, Patient.provenance).where(Patient.merged_into_id == survivor_id)
    )
    return {row.id for row in rows if row.provenance.get("deceased") == list(told)}


def _found(merge: PatientMerge) -> Row:
    row: Row = merge.before[merge.survivor_id]
    return row
