"""Two archives became one and both had a plan by the same protocol: one goes on, both histories stay in sight.

Of two instructions of one step, from both sides of the merge and with windows that overlap, the one that somebody has
taken up stays, else the earlier; the other is withdrawn as long as nobody has touched it. Undoing the merge restores
it, and so does a record that takes the first one back.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

import sqlalchemy as sa

from hcrm.archive.events import DischargeCancelled, PatientsMerged, PatientsParted
from hcrm.archive.models import PatientMerge
from hcrm.archive.queries import survivors_of
from hcrm.archive.visit_models import Encounter
from hcrm.centre.events import EncounterReclassified
from hcrm.centre.instructions import NO_CUT_OVERS, CutOvers
from hcrm.centre.models import IS_OPEN, Instruction, InstructionState, Withdrawal
from hcrm.centre.replanning import Standing, lock_standing, withdraw_all
from hcrm.centre.restoring import restore_withdrawn
from hcrm.core.work import Work

_MOVED = "instruction.patient_id"
_TAKEN_BY_MERGE = sa.and_(
    Instruction.state == InstructionState.WITHDRAWN, Instruction.withdrawal == Withdrawal.MERGED
)
TAKEN_BY_RECORDS = (Withdrawal.DISCHARGE_CANCELLED, Withdrawal.NOT_APPLICABLE)
"""What was withdrawn so leaves its step to a double; any other reason holds for the patient, or is a person's word."""


def withdraw_doubles(work: Work, facts: Sequence[PatientsMerged]) -> int:
    """Withdraw what has become double by these merges, as far as they stand; how many."""
    withdrawn = 0
    for fact in facts:
        moved = work.scalar(
            sa.select(PatientMerge.moved)
            .where(
                PatientMerge.survivor_id == fact.survivor_id,
                PatientMerge.merged_id == fact.merged_id,
                PatientMerge.undone_at.is_(None),
            )
            .order_by(PatientMerge.id.desc())
            .limit(1)
        )
        brought = set((moved or {}).get(_MOVED, ()))
        patients = work.scalars(
            sa.select(Instruction.patient_id).where(Instruction.id.in_(brought)).distinct()
        )
        standing = lock_standing(work, Instruction.patient_id.in_(patients), IS_OPEN)
        withdrawn += withdraw_all(work, list(_doubles(standing, brought)), Withdrawal.MERGED)
    return withdrawn


def restore_doubles(
    work: Work, facts: Sequence[PatientsParted], *, cut_overs: CutOvers = NO_CUT_OVERS
) -> int:
    """Restore what merges that were undone had withdrawn, unless a double still is the same patient's; how many.

    Who was merged into somebody else since has their plans there.
    """
    parties = {key for fact in facts for key in (fact.survivor_id, fact.merged_id)}
    return _restore(work, sorted(set(survivors_of(work, parties).values())), "合并已撤销", cut_overs)


def restore_left_doubles(
    work: Work,
    facts: Sequence[DischargeCancelled | EncounterReclassified],
    *,
    cut_overs: CutOvers = NO_CUT_OVERS,
) -> int:
    """Restore what a merge had withdrawn for the sake of one that these records have taken back since; how many."""
    patients = work.scalars(
        sa.select(Encounter.patient_id).where(Encounter.id.in_(sorted({fact.encounter_id for fact in facts})))
    )
    waiting = work.scalars(
        sa.select(Instruction.patient_id)
        .where(Instruction.patient_id.in_(sorted(set(patients))), _TAKEN_BY_MERGE)
        .distinct()
    )
    return _restore(work, sorted(waiting), "合并时保留的一份已撤回", cut_overs) if waiting else 0


def _restore(work: Work, patients: Sequence[str], words: str, cut_overs: CutOvers) -> int:
    """Restore of what merges had withdrawn all that has no double any more, nor gets one by this; how many."""
    rows = lock_standing(
        work,
        Instruction.patient_id.in_(patients),
        sa.or_(
            _TAKEN_BY_MERGE,
            Instruction.state != InstructionState.WITHDRAWN,
            Instruction.withdrawal.not_in(TAKEN_BY_RECORDS),
        ),
    )
    origins = _origins(work, patients)
    standing = [row for row in rows if row["withdrawal"] is not Withdrawal.MERGED]
    without = set()
    for row in sorted(rows, key=_rank):
        if row["withdrawal"] is not Withdrawal.MERGED:
            continue
        if any(
            other["patient_id"] == row["patient_id"]
            and origins[row["id"]] != origins[other["id"]]
            and _is_double(row, other)
            for other in standing
        ):
            without.add(row["id"])
        else:
            standing.append(row)
    return restore_withdrawn(work, patients, (Withdrawal.MERGED,), words, cut_overs, without=without)


def _origins(work: Work, patients: Sequence[str]) -> Mapping[str, Collection[str]]:
    """By which merges that stand each instruction came to its patient: those of one archive by the same."""
    origins: dict[str, set[str]] = defaultdict(set)
    survivors = set(patients)
    while survivors:
        merges = work.execute(
            sa.select(PatientMerge.id, PatientMerge.merged_id, PatientMerge.moved).where(
                PatientMerge.survivor_id.in_(sorted(survivors)), PatientMerge.undone_at.is_(None)
            )
        ).all()
        for merge in merges:
            for key in merge.moved.get(_MOVED, ()):
                origins[key].add(merge.id)
        survivors = {merge.merged_id for merge in merges}
    return origins


def _doubles(standing: Iterable[Standing], brought: Collection[str]) -> Iterable[Standing]:
    steps: dict[tuple[str, str, str], list[Standing]] = defaultdict(list)
    for row in standing:
        steps[row["patient_id"], row["protocol_code"], row["step_code"]].append(row)
    for rows in steps.values():
        kept: list[Standing] = []
        for row in sorted(rows, key=_rank):
            is_double = any(
                (row["id"] in brought) != (other["id"] in brought) and _is_double(row, other)
                for other in kept
            )
            if is_double and row["state"] is InstructionState.ISSUED:
                yield row
            else:
                kept.append(row)


def _rank(row: Standing) -> tuple[object, ...]:
    """Who stays: what somebody has taken up, then what is due first."""
    return row["state"] is InstructionState.ISSUED, row["due_on"], row["issued_at"], row["id"]


def _is_double(one: Standing, other: Standing) -> bool:
    return (
        (one["protocol_code"], one["step_code"]) == (other["protocol_code"], other["step_code"])
        and one["opens_on"] <= other["closes_on"]
        and other["opens_on"] <= one["closes_on"]
    )
