"""What was issued when a patient dies, and when it turns out that they live."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from hcrm.archive.events import DeathRevoked, PatientDied
from hcrm.archive.models import DeceasedState, Patient, TimelineEntry
from hcrm.archive.visit_models import DischargeWay, Encounter
from hcrm.centre.models import Instruction, InstructionState, Withdrawal
from hcrm.centre.replanning import (
    restore_for_living,
    withdraw_for_deceased,
)
from hcrm.core.work import Work
from tests.support.builders import (
    cancel_discharge,
    make_encounter,
    make_instruction,
    make_patient,
    make_practitioner,
)
from tests.support.stays import instructions, issued_stay, protocols

__all__ = ["protocols"]


def test_a_death_withdraws_everything_that_waits_for_the_patient(work: Work, protocols):
    stay = issued_stay(work, diagnoses=["I63.9"])
    make_instruction(work, encounter=stay, state=InstructionState.COMPLETED)
    work.get(Patient, stay.patient_id).deceased = DeceasedState.DECEASED
    work.session.flush()

    assert withdraw_for_deceased(work, [PatientDied(patient_id=stay.patient_id)]) == 2

    assert sorted(row.state.value for row in instructions(work)) == ["completed", "withdrawn", "withdrawn"]


def test_a_death_that_was_taken_back_withdraws_nothing(work: Work, protocols):
    stay = issued_stay(work)

    assert withdraw_for_deceased(work, [PatientDied(patient_id=stay.patient_id)]) == 0


@pytest.fixture
def mourned(work: Work, protocols) -> Encounter:
    """A stay whose instructions were withdrawn because somebody said the patient had died; they live."""
    stay = issued_stay(work, diagnoses=["I63.9"], attending=make_practitioner(work))
    work.get(Patient, stay.patient_id).deceased = DeceasedState.DECEASED
    work.session.flush()
    withdraw_for_deceased(work, [PatientDied(patient_id=stay.patient_id)])
    work.get(Patient, stay.patient_id).deceased = DeceasedState.ALIVE
    work.session.flush()
    return stay


def bring_back(work: Work, stay: Encounter) -> int:
    return restore_for_living(
        work, [DeathRevoked(patient_id=stay.patient_id, noted_at=work.clock.now().isoformat())]
    )


def test_who_lives_after_all_has_the_instructions_again(work: Work, mourned):
    assert bring_back(work, mourned) == 2
    assert bring_back(work, mourned) == 0  # the fact delivered twice

    rows = instructions(work)
    assert {(row.state, row.withdrawal, row.reason) for row in rows} == {
        (InstructionState.ISSUED, None, None)
    }
    assert {row.assignee_id for row in rows} == {mourned.attending_id}
    work.flush()
    assert "已恢复随访指令 2 条（死亡登记已撤销）" in work.scalars(sa.select(TimelineEntry.title))


def test_what_was_withdrawn_for_another_reason_stays_withdrawn(work: Work, mourned):
    first = instructions(work)[0]
    first.withdrawal = Withdrawal.BY_HAND
    work.session.flush()

    assert bring_back(work, mourned) == 1
    assert work.get(Instruction, first.id).state is InstructionState.WITHDRAWN


def test_a_discharge_that_no_longer_stands_brings_nothing_back(work: Work, mourned):
    cancel_discharge(work, mourned)

    assert bring_back(work, mourned) == 0


def test_a_discharge_that_came_while_the_patient_was_thought_dead_gets_its_steps(work: Work, protocols):
    dead = make_patient(work, deceased=DeceasedState.DECEASED)
    make_encounter(work, patient=dead, discharged_at=work.clock.now() - timedelta(days=90))
    stay = issued_stay(work, patient=dead, discharged_at=work.clock.now(), diagnoses=["I63.9"])
    assert instructions(work) == []
    dead.deceased = DeceasedState.ALIVE
    work.session.flush()

    assert bring_back(work, stay) == 2
    assert bring_back(work, stay) == 0
    assert {row.encounter_id for row in instructions(work)} == {stay.id}


@pytest.mark.parametrize("state", [DeceasedState.DECEASED, None])
def test_who_died_after_all_is_not_called(work: Work, mourned, state):
    """Told again meanwhile, or by the way the stay ended."""
    if state:
        work.get(Patient, mourned.patient_id).deceased = state
    else:
        mourned.discharge_way = DischargeWay.DIED
    work.session.flush()

    assert bring_back(work, mourned) == 0
