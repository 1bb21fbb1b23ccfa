"""Two archives with a plan by the same protocol become one, and two again (mechanisms 5.3)."""

from datetime import timedelta

import pytest

from hcrm.archive.events import DischargeCancelled, PatientsMerged, PatientsParted
from hcrm.archive.merge.service import merge_patients
from hcrm.archive.parting.service import undo_merge
from hcrm.archive.visit_models import Encounter
from hcrm.centre.events import EncounterReclassified
from hcrm.centre.merged import restore_doubles, restore_left_doubles, withdraw_doubles
from hcrm.centre.models import InstructionHistory, InstructionState, Withdrawal
from hcrm.centre.replanning import replan_instructions, withdraw_for_cancelled
from hcrm.core.work import Work
from tests.support.builders import cancel_discharge, make_practitioner
from tests.support.stays import instructions, issued_stay, protocols

__all__ = ["protocols"]


@pytest.fixture
def two(work: Work, protocols):
    """The same stay in two archives, each with its instruction."""
    doctor = make_practitioner(work)
    return issued_stay(work, attending=doctor), issued_stay(work, attending=doctor)


def merge(work: Work, two) -> str:
    survivor, merged = (stay.patient_id for stay in two)
    merge_id = merge_patients(work, survivor_id=survivor, merged_id=merged, source="test", seq=None)
    withdraw_doubles(work, [PatientsMerged(survivor_id=survivor, merged_id=merged)])
    return merge_id


def part(work: Work, merge_id: str, survivor: str, merged: str) -> int:
    assert undo_merge(work, merge_id=merge_id, source="test") is None
    return restore_doubles(work, [PatientsParted(survivor_id=survivor, merged_id=merged)])


def states(work: Work) -> list[str]:
    return [row.state.value for row in instructions(work)]


def test_one_plan_goes_on_and_both_histories_stay(work: Work, two):
    survivor, merged = (stay.patient_id for stay in two)
    merge_id = merge(work, two)

    assert sorted(states(work)) == ["issued", "withdrawn"]
    (gone,) = (row for row in instructions(work) if row.state is InstructionState.WITHDRAWN)
    assert gone.withdrawal is Withdrawal.MERGED
    assert {row.patient_id for row in instructions(work)} == {survivor}
    assert withdraw_doubles(work, [PatientsMerged(survivor_id=survivor, merged_id=merged)]) == 0  # told again

    assert part(work, merge_id, survivor, merged) == 1

    assert states(work) == ["issued", "issued"]
    assert {row.patient_id for row in instructions(work)} == {survivor, merged}
    work.flush()
    assert [row.reason for row in work.all(InstructionHistory, InstructionHistory.instruction_id == gone.id)] == [
        "档案合并，同一方案已有一份", "合并已撤销，重新下达",
    ]  # fmt: skip


def test_what_somebody_works_on_stays_though_it_is_the_later(work: Work, two):
    first, second = instructions(work)
    second.state = InstructionState.IN_PROGRESS
    work.session.flush()

    merge(work, two)

    assert [(row.id, row.state.value) for row in instructions(work)] == [
        (first.id, "withdrawn"), (second.id, "in_progress"),
    ]  # fmt: skip


def test_two_that_are_both_worked_on_and_those_of_other_times_go_on(work: Work, two):
    for row in instructions(work):
        row.state = InstructionState.ACCEPTED
    later = issued_stay(work, attending=make_practitioner(work))
    (third,) = (row for row in instructions(work) if row.encounter_id == later.id)
    for name in ("opens_on", "due_on", "closes_on"):
        setattr(third, name, getattr(third, name) + timedelta(days=60))
    work.session.flush()

    merge(work, two)
    merge(work, (two[0], later))

    assert states(work) == ["accepted", "accepted", "issued"]


def test_a_corrected_record_brings_nothing_back_that_a_merge_withdrew(work: Work, two):
    merge(work, two)
    (gone,) = (row for row in instructions(work) if row.state is InstructionState.WITHDRAWN)

    replan_instructions(work, [EncounterReclassified(gone.encounter_id, gone.trigger_id)])

    assert sorted(states(work)) == ["issued", "withdrawn"]


def test_facts_that_come_late_change_nothing(work: Work, two):
    survivor, merged = (stay.patient_id for stay in two)
    merge_id = merge(work, two)
    assert restore_doubles(work, [PatientsParted(survivor_id=survivor, merged_id=merged)]) == 0
    part(work, merge_id, survivor, merged)

    assert withdraw_doubles(work, [PatientsMerged(survivor_id=survivor, merged_id=merged)]) == 0
    assert states(work) == ["issued", "issued"]


def test_when_a_record_takes_the_kept_plan_back_its_double_goes_on(work: Work, two):
    merge(work, two)
    (kept,) = (row for row in instructions(work) if row.state is InstructionState.ISSUED)
    gone = DischargeCancelled(kept.encounter_id, kept.trigger_id)
    stay = work.get(Encounter, kept.encounter_id)
    cancel_discharge(work, stay)
    withdraw_for_cancelled(work, [gone])

    assert restore_left_doubles(work, [gone]) == 1

    assert {row.id: row.state.value for row in instructions(work)}[kept.id] == "withdrawn"
    assert sorted(states(work)) == ["issued", "withdrawn"]
    assert restore_left_doubles(work, [gone]) == 0


def test_a_person_s_word_about_the_kept_plan_holds_for_its_double(work: Work, two):
    merge(work, two)
    (kept,) = (row for row in instructions(work) if row.state is InstructionState.ISSUED)
    kept.state, kept.withdrawal = InstructionState.WITHDRAWN, Withdrawal.BY_HAND
    work.session.flush()

    assert restore_left_doubles(work, [DischargeCancelled(kept.encounter_id, kept.trigger_id)]) == 0


def test_of_two_doubles_left_by_a_third_one_goes_on(work: Work, two):
    """The archive whose plan was kept is parted from two others that stay one."""
    third = issued_stay(work, attending=make_practitioner(work))
    first = instructions(work)[0]
    assert first.patient_id == two[0].patient_id
    merge(work, (third, two[1]))
    last = merge(work, (third, two[0]))
    first_now = next(row for row in instructions(work) if row.id == first.id)
    assert first_now.patient_id == third.patient_id

    part(work, last, third.patient_id, two[0].patient_id)

    standing = [row.patient_id for row in instructions(work) if row.state is InstructionState.ISSUED]
    assert sorted(standing) == sorted([third.patient_id, two[0].patient_id])


def test_a_merge_undone_carries_a_plan_on_though_its_patient_was_merged_further_since(work: Work, two):
    """The fact is heard late: by then the plan that waits for it is somebody else's."""
    third = issued_stay(work, attending=make_practitioner(work))
    shift(work, third, days=60)  # no double of anything
    survivor, merged = (stay.patient_id for stay in two)
    second = next(row for row in instructions(work) if row.patient_id == merged)
    merge_id = merge(work, two)
    (gone,) = (row for row in instructions(work) if row.state is InstructionState.WITHDRAWN)
    assert gone.id == second.id
    assert undo_merge(work, merge_id=merge_id, source="test") is None
    merge(work, (third, two[1]))

    assert restore_doubles(work, [PatientsParted(survivor_id=survivor, merged_id=merged)]) == 1

    assert {row.patient_id: row.state.value for row in instructions(work) if row.id == second.id} == {
        third.patient_id: "issued"
    }


def test_a_chain_undone_from_its_end_gives_each_their_own_plan_back(work: Work, two):
    third = issued_stay(work, attending=make_practitioner(work))
    (one, other), last = (stay.patient_id for stay in two), third.patient_id
    own = {row.id: row.patient_id for row in instructions(work)}
    inner = merge(work, two)
    outer = merge(work, (third, two[0]))
    assert sorted(states(work)) == ["issued", "withdrawn", "withdrawn"]

    part(work, outer, last, one)
    part(work, inner, one, other)

    assert states(work) == ["issued"] * 3
    assert {row.id: row.patient_id for row in instructions(work)} == own


def shift(work: Work, stay: Encounter, *, days: int) -> None:
    (row,) = (row for row in instructions(work) if row.encounter_id == stay.id)
    for name in ("opens_on", "due_on", "closes_on"):
        setattr(row, name, getattr(row, name) + timedelta(days=days))
    work.session.flush()
