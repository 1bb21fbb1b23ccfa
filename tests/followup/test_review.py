import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from followup.models import Alert, AlertState, Review, ReviewCause, ReviewState
from followup.review import (
    approve_followup,
    choose_review,
    count_waiting,
    list_reviews,
    list_waiting,
    send_back_followup,
)
from followup.station import Recorded, record_followup
from hcrm.audit.models import AuditEvent
from hcrm.centre.events import InstructionCompleted
from hcrm.centre.models import Instruction, InstructionState, Outcome, ReviewPolicy
from hcrm.contact_log.models import Channel, ContactResult
from hcrm.core.errors import ConflictError, DeniedError, HcrmError
from hcrm.core.ids import new_id
from hcrm.core.work import Work
from hcrm.forms.models import Response
from tests.support.builders import actor_of, make_department, make_practitioner

FEVER = {"pain": "3", "temperature": "38.5"}


@pytest.fixture
def waiting(work: Work, station) -> Instruction:
    """A record with a red flag that waits for the head."""
    instruction = station.instruction()
    record(work, instruction)
    return instruction


def record(
    work: Work, instruction: Instruction, answers=FEVER, outcome=Outcome.REACHED, result=ContactResult.REACHED
) -> Recorded:
    return record_followup(
        work, instruction_id=instruction.id, record_id=work.new_id(), outcome=outcome, result=result,
        channel=Channel.PHONE, answers=answers,
    )  # fmt: skip


def review_of(work: Work) -> Review:
    return work.one(Review, Review.state == ReviewState.WAITING)


def test_the_head_sees_what_waits_and_why(work: Work, station, waiting):
    (row,) = list_waiting(work).items

    assert (row.Review.cause, row.Instruction.id, row.assignee_name) == (
        ReviewCause.RED_FLAG, waiting.id, "李大夫",
    )  # fmt: skip
    assert count_waiting(work) == 1


def test_approving_completes_the_instruction(work: Work, waiting):
    approve_followup(work, review_id=review_of(work).id, comment="已核对")

    assert waiting.state is InstructionState.COMPLETED
    assert InstructionCompleted(instruction_id=waiting.id) in work.events
    (review,) = list_reviews(work, instruction_id=waiting.id)
    assert (review.state, review.comment, review.reviewer_name) == (ReviewState.APPROVED, "已核对", "李大夫")
    assert count_waiting(work) == 0


def test_sending_back_needs_a_word_and_reopens_the_instruction(work: Work, waiting):
    with pytest.raises(HcrmError, match="请写明原因"):
        send_back_followup(work, review_id=review_of(work).id, comment=" ")

    send_back_followup(work, review_id=review_of(work).id, comment="体温请复测")

    assert (waiting.state, waiting.reason, waiting.done_on) == (
        InstructionState.IN_PROGRESS, "体温请复测", None,
    )  # fmt: skip


def test_what_was_sent_back_is_recorded_anew_beside_the_old_record(work: Work, waiting):
    send_back_followup(work, review_id=review_of(work).id, comment="体温请复测")

    record(work, waiting)

    assert len(work.all(Response)) == 2
    alert = work.one(Alert)  # the red flag still waits, it is not raised twice
    assert alert.response_id == review_of(work).response_id
    assert waiting.state is InstructionState.IN_REVIEW


def test_a_red_flag_the_new_record_does_not_raise_is_superseded(work: Work, waiting):
    send_back_followup(work, review_id=review_of(work).id, comment="体温请复测")

    recorded = record(work, waiting, {"pain": "3", "temperature": "36.5"})

    alert = work.one(Alert)
    assert (alert.state, alert.handling) == (AlertState.CLOSED, "已由重新提交的记录取代")
    assert recorded.waiting == 0
    work.flush()
    assert work.one(AuditEvent, AuditEvent.action == "alert.supersede").subject_id == alert.id


def test_a_red_flag_stays_where_the_patient_was_not_reached_again(work: Work, waiting):
    send_back_followup(work, review_id=review_of(work).id, comment="体温请复测")

    recorded = record(work, waiting, {}, Outcome.LOST, ContactResult.NO_ANSWER)

    assert work.one(Alert).state is AlertState.OPEN
    assert recorded.waiting == 1


def test_a_review_is_decided_once(work: Work, waiting):
    review = review_of(work)
    approve_followup(work, review_id=review.id)

    with pytest.raises(ConflictError, match="李大夫已审核"):
        send_back_followup(work, review_id=review.id, comment="晚了")


def test_the_head_of_another_department_sees_and_decides_nothing(work: Work, waiting):
    review = review_of(work)
    work.actor = actor_of(make_practitioner(work), make_department(work))

    assert list_waiting(work).items == []
    with pytest.raises(DeniedError):
        approve_followup(work, review_id=review.id)


def sampled(key: str, percent: int) -> bool:
    instruction = Instruction(id=key, review_policy=ReviewPolicy.SAMPLE, sample_percent=percent)
    return choose_review(instruction, outcome=Outcome.REACHED, has_flags=False) is ReviewCause.SAMPLE


def test_the_sample_draws_about_its_share():
    drawn = sum(sampled(new_id(), 20) for _ in range(4000))

    assert 600 < drawn < 1000


@settings(deadline=None)  # a busy machine is no fault
@given(st.uuids(), st.integers(1, 98))
def test_the_same_instruction_is_always_drawn_or_never_and_a_larger_sample_holds_the_smaller(key, percent):
    assert sampled(key.hex, percent) == sampled(key.hex, percent)
    assert sampled(key.hex, percent) <= sampled(key.hex, percent + 1)
