"""What was issued when a patient dies, and when it turns out that they live."""

from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta

import pytest
import sqlalchemy as sa

from hcrm.archive.death import report_death, revoke_death
from hcrm.archive.events import (
    ContactRestored,
    ContactStopped,
    DeathRevoked,
    PatientDied,
    PatientMarkedTest,
    PatientsMerged,
    PatientsParted,
)
from hcrm.archive.merge.service import merge_patients
from hcrm.archive.models import DeceasedState, Patient, TimelineEntry
from hcrm.archive.parting.service import undo_merge
from hcrm.archive.reach.contact_stop import end_contact, restore_contact
from hcrm.archive.reach_models import StopKind
from hcrm.archive.terms import PatientMark
from hcrm.archive.test_patients.service import mark_test_patient
from hcrm.archive.visit_models import DischargeWay, Encounter
from hcrm.centre.classification import classify_encounters
from hcrm.centre.events import EncounterClassified, EncounterReclassified
from hcrm.centre.instructions import issue_instructions
from hcrm.centre.models import Instruction, InstructionState, Withdrawal
from hcrm.centre.replanning import (
    replan_instructions,
    withdraw_for_deceased,
    withdraw_for_merged,
    withdraw_for_stopped,
    withdraw_for_test,
)
from hcrm.centre.restoring import restore_for_contact, restore_for_living, restore_for_parted
from hcrm.core.actor import system_actor
from hcrm.core.work import Work, open_work
from tests.support.builders import (
    cancel_discharge,
    classified,
    discharged,
    make_encounter,
    make_instruction,
    make_patient,
    make_practitioner,
    publish_form,
    publish_protocol,
    publish_rules,
)
from tests.support.interleaved import just_before
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


# ── contact that ended ──────────────────────────────────────────────────────


def stop(work: Work, patient_id: str) -> int:
    end_contact(work, patient_id=patient_id, kind=StopKind.TERMINATED, reason="家属要求")
    return withdraw_for_stopped(work, [ContactStopped(patient_id=patient_id)])


def take_up(work: Work, patient_id: str) -> int:
    noted_at = work.clock.now().isoformat()
    restore_contact(work, patient_id=patient_id, reason="家属同意")
    return restore_for_contact(work, [ContactRestored(patient_id=patient_id, noted_at=noted_at)])


def test_the_end_of_contact_withdraws_what_waits_and_taking_it_up_brings_it_back(work: Work, protocols):
    stay = issued_stay(work, diagnoses=["I63.9"], attending=make_practitioner(work))

    assert stop(work, stay.patient_id) == 2
    assert {row.withdrawal for row in instructions(work)} == {Withdrawal.CONTACT_ENDED}
    assert take_up(work, stay.patient_id) == 2
    assert {row.state for row in instructions(work)} == {InstructionState.ISSUED}


def test_nothing_is_issued_while_contact_has_ended_and_what_was_missed_comes_after(work: Work, protocols):
    patient = make_patient(work)
    stop(work, patient.id)

    issued_stay(work, patient=patient, attending=make_practitioner(work), discharged_at=work.clock.now())

    assert instructions(work) == []
    assert take_up(work, patient.id) == 1


def test_a_death_taken_back_restores_nothing_while_contact_has_ended(work: Work, mourned):
    end_contact(work, patient_id=mourned.patient_id, kind=StopKind.TERMINATED, reason="家属要求")

    assert bring_back(work, mourned) == 0
    assert take_up(work, mourned.patient_id) == len(instructions(work))


@pytest.mark.parametrize("is_death_first", [False, True])
def test_what_was_told_under_the_first_of_two_reasons_comes_when_the_last_ends(
    work: Work, protocols, is_death_first
):
    patient = make_patient(work)

    def end() -> None:
        end_contact(work, patient_id=patient.id, kind=StopKind.TERMINATED, reason="家属要求")

    def die() -> None:
        report_death(work, patient_id=patient.id)

    def go_on() -> int:
        restore_contact(work, patient_id=patient.id, reason="家属同意")
        return restore_for_contact(work, [one for one in work.events if isinstance(one, ContactRestored)])

    def live() -> int:
        revoke_death(work, patient_id=patient.id, reason="登错人")
        return restore_for_living(work, [one for one in work.events if isinstance(one, DeathRevoked)])

    first, second = (die, end) if is_death_first else (end, die)
    lift_first, lift_second = (live, go_on) if is_death_first else (go_on, live)
    first()
    work.clock.move(days=1)
    issued_stay(work, patient=patient, attending=make_practitioner(work), discharged_at=work.clock.now())
    work.clock.move(days=3)
    second()
    work.clock.move(days=1)
    assert lift_first() == 0

    assert lift_second() == 1


def test_what_was_planned_before_a_gap_between_two_reasons_is_left_alone(work: Work, protocols):
    patient = make_patient(work)
    stop(work, patient.id)
    make_encounter(work, patient=patient, discharged_at=work.clock.now())
    work.clock.move(days=1)
    restore_contact(work, patient_id=patient.id, reason="家属同意")
    work.clock.move(days=3)
    stop(work, patient.id)
    work.clock.move(days=1)

    noted_at = (work.clock.now() - timedelta(days=1)).isoformat()
    restore_contact(work, patient_id=patient.id, reason="家属同意")

    assert restore_for_contact(work, [ContactRestored(patient_id=patient.id, noted_at=noted_at)]) == 0


def test_the_end_of_contact_of_one_archive_is_that_of_both_until_they_are_parted(work: Work, protocols):
    stay = issued_stay(work, attending=make_practitioner(work))
    survivor, other = stay.patient_id, make_patient(work).id
    stop(work, other)
    merge = merge_patients(work, survivor_id=survivor, merged_id=other, source="test", seq=None)
    assert withdraw_for_merged(work, [PatientsMerged(survivor_id=survivor, merged_id=other)]) == 1

    undo_merge(work, merge_id=merge, source="test")

    assert restore_for_parted(work, [PatientsParted(survivor_id=survivor, merged_id=other)]) == 1
    assert [row.state for row in instructions(work)] == [InstructionState.ISSUED]


# ── at the same time ────────────────────────────────────────────────────────


def is_writing(statement: str) -> bool:
    """The first hold on a patient, or the first word about an instruction."""
    held = "FOR KEY SHARE" in statement and "FROM patient" in statement
    return held or statement.startswith(("INSERT INTO instruction ", "UPDATE instruction "))


def is_stopped_meanwhile(work: Work, patient_id: str) -> None:
    end_contact(work, patient_id=patient_id, kind=StopKind.TERMINATED, reason="家属要求")


def dies_meanwhile(work: Work, patient_id: str) -> None:
    report_death(work, patient_id=patient_id)


def is_test_meanwhile(work: Work, patient_id: str) -> None:
    mark_test_patient(work, patient_id=patient_id, mark=PatientMark.TEST, reason="培训用")


MEANWHILE = [is_stopped_meanwhile, dies_meanwhile, is_test_meanwhile]


def withdraw_heard(write, patient_id: str) -> None:
    write(lambda work: withdraw_for_stopped(work, [ContactStopped(patient_id=patient_id)]))
    write(lambda work: withdraw_for_deceased(work, [PatientDied(patient_id=patient_id)]))
    write(lambda work: withdraw_for_test(work, [PatientMarkedTest(patient_id=patient_id)]))


@pytest.fixture
def discharge(write) -> Encounter:
    """A stay that was sorted and has no instruction yet."""

    def build(work: Work) -> Encounter:
        publish_rules(work)
        publish_form(work)
        publish_protocol(work)
        stay = make_encounter(work, attending=make_practitioner(work), discharged_at=work.clock.now())
        classify_encounters(work, [discharged(stay)])
        return stay

    return write(build)


def open_ones(write) -> list[Instruction]:
    return write(lambda work: [one for one in instructions(work) if one.state is InstructionState.ISSUED])


@pytest.mark.parametrize("by", [issue_instructions, replan_instructions])
@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_nothing_is_issued_for_whom_nobody_calls_since_the_stay_was_read(
    database, write, discharge, meanwhile, by
):
    def act() -> None:
        write(lambda work: meanwhile(work, discharge.patient_id))
        withdraw_heard(write, discharge.patient_id)

    fact = EncounterClassified if by is issue_instructions else EncounterReclassified
    with just_before(database, act, is_writing):
        write(lambda work: by(work, [fact(discharge.id, discharge.discharge_id)]))

    assert open_ones(write) == []


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_nothing_is_restored_for_whom_nobody_calls_since_the_stay_was_read(
    database, clock, write, discharge, meanwhile
):
    patient_id = discharge.patient_id
    write(lambda work: issue_instructions(work, [classified(work.get(Encounter, discharge.id))]))
    clock.move(days=3)  # told long before: it is restored, not missed
    write(lambda work: stop(work, patient_id))
    write(lambda work: restore_contact(work, patient_id=patient_id, reason="家属同意"))
    told = ContactRestored(patient_id=patient_id, noted_at=clock.now().isoformat())

    def act() -> None:
        write(lambda work: meanwhile(work, patient_id))
        withdraw_heard(write, patient_id)

    with just_before(database, act, is_writing):
        write(lambda work: restore_for_contact(work, [told]))

    assert open_ones(write) == []


def test_whoever_ends_contact_while_instructions_are_written_waits_and_withdraws_them(
    database, clock, write, discharge
):
    with ThreadPoolExecutor() as pool:
        with open_work(database, actor=system_actor("issuer"), clock=clock) as work:
            issue_instructions(work, [classified(work.get(Encounter, discharge.id))])
            ending = pool.submit(lambda: write(lambda other: stop(other, discharge.patient_id)))
            assert wait([ending], timeout=0.3).not_done
        assert ending.result(timeout=60) == 1

    assert open_ones(write) == []
