"""A death recorded by a slip, taken back."""

import pytest

from followup.deaths import revoke_death
from followup.models import Review, ReviewCause, ReviewState
from followup.review import approve_followup, send_back_followup
from followup.station import record_followup
from hcrm.archive.merge.service import merge_patients
from hcrm.archive.models import DeceasedState, Patient
from hcrm.centre.models import Instruction, InstructionState, Outcome, ReviewPolicy
from hcrm.contact_log.models import Channel, ContactResult
from hcrm.core.errors import ConflictError, DeniedError
from hcrm.core.work import Work
from tests.support.builders import actor_of, make_department, make_encounter, make_patient, make_practitioner


@pytest.fixture
def record_death(work: Work, station):
    """A physician says that the patient has died; the instruction."""

    def record(**values) -> Instruction:
        instruction = station.instruction(**values)
        record_followup(
            work, instruction_id=instruction.id, record_id=work.new_id(), outcome=Outcome.DIED,
            result=ContactResult.DECEASED, channel=Channel.PHONE, answers={},
        )  # fmt: skip
        return instruction

    return record


def alive(work: Work, instruction: Instruction) -> bool:
    return work.get(Patient, instruction.patient_id).deceased is DeceasedState.ALIVE


def review_of(work: Work, instruction: Instruction) -> Review:
    return work.one(Review, Review.instruction_id == instruction.id)


def test_a_reported_death_waits_for_the_head(work: Work, record_death):
    instruction = record_death()

    assert instruction.state is InstructionState.IN_REVIEW
    assert review_of(work, instruction).cause is ReviewCause.DIED


def test_sending_it_back_takes_the_death_back(work: Work, record_death):
    instruction = record_death()

    send_back_followup(work, review_id=review_of(work, instruction).id, comment="误点，患者在世")

    assert alive(work, instruction)
    assert (instruction.state, instruction.outcome, instruction.reason) == (
        InstructionState.IN_PROGRESS, None, "误点，患者在世",
    )  # fmt: skip
    assert review_of(work, instruction).state is ReviewState.SENT_BACK


@pytest.mark.parametrize("policy", [ReviewPolicy.FLAGS, ReviewPolicy.NONE])
def test_taking_it_back_opens_the_record_that_said_so(work: Work, record_death, policy):
    instruction = record_death(review_policy=policy)

    revoke_death(work, patient_id=instruction.patient_id, reason="误点")

    assert alive(work, instruction)
    assert (instruction.state, instruction.outcome, instruction.done_on) == (
        InstructionState.IN_PROGRESS, None, None,
    )  # fmt: skip
    assert [one.state for one in work.all(Review)] == [ReviewState.SENT_BACK] * (policy is ReviewPolicy.FLAGS)


def test_a_death_the_head_had_approved_can_still_be_taken_back(work: Work, record_death):
    instruction = record_death()
    approve_followup(work, review_id=review_of(work, instruction).id)

    revoke_death(work, patient_id=instruction.patient_id, reason="家属来院说明")

    assert (alive(work, instruction), instruction.state) == (True, InstructionState.IN_PROGRESS)


def test_where_the_his_says_so_too_nothing_is_opened(work: Work, record_death):
    instruction = record_death()
    patient = work.get(Patient, instruction.patient_id)
    patient.provenance = {"deceased": [work.clock.now().isoformat(), "his", 9]}
    work.session.flush()

    with pytest.raises(ConflictError, match="HIS"):
        revoke_death(work, patient_id=patient.id, reason="误点")

    assert (alive(work, instruction), instruction.state) == (False, InstructionState.IN_REVIEW)


def test_the_head_of_a_department_that_shares_the_patient_opens_the_other_s_record_too(
    work: Work, record_death
):
    instruction = record_death()
    ward = make_department(work, name="外科")
    make_encounter(work, patient=work.get(Patient, instruction.patient_id), department=ward)
    work.actor = actor_of(make_practitioner(work, department=ward), ward)

    revoke_death(work, patient_id=instruction.patient_id, reason="患者今日来院")

    assert instruction.state is InstructionState.IN_PROGRESS


def test_who_may_not_see_the_patient_may_not_bring_them_back(work: Work, record_death):
    instruction = record_death()
    ward = make_department(work)
    work.actor = actor_of(make_practitioner(work, department=ward), ward)

    with pytest.raises(DeniedError):
        revoke_death(work, patient_id=instruction.patient_id, reason="误点")


def test_an_old_link_to_an_archive_that_was_merged_takes_it_back_as_well(work: Work, record_death):
    instruction = record_death()
    retired, survivor = instruction.patient_id, make_patient(work)
    merge_patients(
        work, survivor_id=survivor.id, merged_id=retired, source="his", seq=1, as_of=work.clock.now()
    )
    work.session.expire_all()

    revoke_death(work, patient_id=retired, reason="误点")

    assert work.get(Patient, survivor.id).deceased is DeceasedState.ALIVE
    assert work.get(Instruction, instruction.id).state is InstructionState.IN_PROGRESS
