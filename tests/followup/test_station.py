import pytest
import sqlalchemy as sa

from followup.events import AlertRaised
from followup.models import Alert, Review, ReviewCause, ReviewState
from followup.station import RESULTS, record_attempt, record_followup, save_followup_draft
from hcrm.archive.events import PatientDied
from hcrm.archive.models import DeceasedState, LinkKind, Patient, PatientLink, TimelineEntry
from hcrm.archive.reach.numbers import add_number, known_numbers
from hcrm.archive.reach_models import NumberState
from hcrm.audit.models import AuditEvent
from hcrm.centre.events import InstructionCompleted
from hcrm.centre.models import InstructionState, Outcome, ReviewPolicy
from hcrm.contact_log.models import Channel, ContactEntry, ContactResult
from hcrm.core.errors import ConflictError, DeniedError, HcrmError, InvalidInput, NotFoundError
from hcrm.core.work import Work
from hcrm.forms.models import Response, ResponseState
from tests.support.builders import actor_of, centre_actor, make_department, make_patient, make_practitioner

S = InstructionState
GOOD = {"pain": "3", "temperature": "36.5"}
FEVER = {"pain": "3", "temperature": "38.5"}


def record(work: Work, instruction, answers=GOOD, outcome=Outcome.REACHED, **values):
    values = {
        "record_id": work.new_id(), "result": RESULTS[outcome][0], "channel": Channel.PHONE, **values,
    }  # fmt: skip
    return record_followup(work, instruction_id=instruction.id, answers=answers, outcome=outcome, **values)


# ── recording ───────────────────────────────────────────────────────────────


def test_a_follow_up_leaves_answers_contact_history_and_a_completed_instruction(work: Work, station):
    instruction = station.instruction()

    recorded = record(work, instruction, note="情况良好")

    assert (instruction.state, instruction.outcome, recorded.review) == (S.COMPLETED, Outcome.REACHED, None)
    assert instruction.done_at == work.clock.now()
    contact = work.one(ContactEntry)
    assert (contact.result, contact.encounter_id, contact.actor_name, contact.note) == (
        ContactResult.REACHED, instruction.encounter_id, "李大夫", "情况良好",
    )  # fmt: skip
    assert work.one(Response).subject_id == instruction.id
    assert work.events == [InstructionCompleted(instruction_id=instruction.id)]


def test_every_contact_lands_in_the_timeline_of_the_stay(work: Work, station):
    instruction = station.instruction()

    record(work, instruction, answers=FEVER)
    work.flush()

    entries = work.all(TimelineEntry)
    assert {entry.kind for entry in entries} == {"form", "contact", "alert"}
    assert {(entry.patient_id, entry.encounter_id) for entry in entries} == {
        (instruction.patient_id, instruction.encounter_id)
    }


def test_what_is_wrong_is_said_at_the_field_and_nothing_is_recorded(work: Work, station):
    instruction = station.instruction()

    with pytest.raises(InvalidInput) as refusal:
        record(work, instruction, answers={"pain": "12", "temperature": "36.5"})

    assert list(refusal.value.errors) == ["pain"]
    assert (work.all(ContactEntry), instruction.state) == ([], S.ISSUED)


@pytest.mark.parametrize(
    ("outcome", "result"),
    [
        (Outcome.REACHED, ContactResult.NO_ANSWER),
        (Outcome.LOST, ContactResult.REACHED),
        (Outcome.DIED, ContactResult.RELATIVE),
        (Outcome.REFUSED, ContactResult.BUSY),
    ],
)
def test_contact_and_outcome_must_agree(work: Work, station, outcome, result):
    with pytest.raises(HcrmError, match="不符") as refusal:
        record(work, station.instruction(), outcome=outcome, result=result)
    assert refusal.value.field == "result"


@pytest.mark.parametrize("state", [S.COMPLETED, S.IN_REVIEW, S.RETURNED, S.WITHDRAWN])
def test_what_is_closed_is_not_recorded_again(work: Work, station, state):
    with pytest.raises(ConflictError, match=state.label):
        record(work, station.instruction(state=state))


def test_after_the_window_a_late_record_is_taken(work: Work, station):
    instruction = station.instruction(state=S.EXPIRED)

    record(work, instruction)

    assert instruction.state is S.COMPLETED


def test_another_department_s_patient_cannot_be_recorded(work: Work, station):
    instruction = station.instruction()
    elsewhere = make_department(work)
    work.actor = actor_of(make_practitioner(work), elsewhere)

    with pytest.raises(DeniedError):
        record(work, instruction)


def test_the_act_stands_in_audit_with_its_patient(work: Work, station):
    record(work, station.instruction())
    work.flush()

    actions = set(work.scalars(sa.select(AuditEvent.action)))
    assert {"followup.record", "response.submit", "contact.record"} <= actions


# ── sent twice ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("outcome", Outcome)
def test_the_same_record_sent_twice_is_recorded_once(work: Work, station, outcome):
    instruction, key = station.instruction(), work.new_id()
    answers = FEVER if outcome is Outcome.REACHED else {}

    first = record(work, instruction, answers=answers, outcome=outcome, record_id=key)
    events = list(work.events)
    again = record(work, instruction, answers=answers, outcome=outcome, record_id=key)

    assert (first.is_new, again.is_new) == (True, False)
    assert (first.response_id, first.review) == (again.response_id, again.review)
    assert len(work.all(ContactEntry)) == 1
    assert len(work.all(Alert)) == len(first.flags)
    assert work.events == events


@pytest.mark.parametrize(
    ("answers", "outcome"), [(FEVER, Outcome.REACHED), ({}, Outcome.LOST), ({}, Outcome.REACHED)]
)
def test_other_content_under_the_same_key_is_refused(work: Work, station, answers, outcome):
    instruction, key = station.instruction(), work.new_id()
    record(work, instruction, record_id=key)

    with pytest.raises(ConflictError, match="没有保存"):
        record(work, instruction, answers=answers, outcome=outcome, record_id=key)


def test_a_key_used_for_another_patient_opens_nothing(work: Work, station):
    key = work.new_id()
    record(work, station.instruction(), record_id=key)

    with pytest.raises(NotFoundError):
        record(work, station.instruction(), record_id=key)


# ── not reached ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.REFUSED, Outcome.DIED])
def test_who_was_not_followed_up_needs_no_answers(work: Work, station, outcome):
    instruction = station.instruction()

    recorded = record(work, instruction, answers={"pain": ""}, outcome=outcome)

    assert (recorded.response_id, instruction.outcome) == (None, outcome)
    assert work.all(Response) == []


def test_what_was_answered_before_the_patient_refused_is_kept(work: Work, station):
    recorded = record(work, station.instruction(), answers={"temperature": "39"}, outcome=Outcome.REFUSED)

    assert work.one(Response).answers == {"temperature": "39"}
    assert [hit.flag.code for hit in recorded.flags] == ["fever"]


def test_the_draft_of_a_call_that_led_nowhere_is_kept(work: Work, station):
    instruction, key = station.instruction(), work.new_id()
    save_followup_draft(work, instruction_id=instruction.id, record_id=key, answers={"pain": "3"})

    recorded = record(work, instruction, answers={}, outcome=Outcome.LOST)

    assert recorded.response_id == key
    assert work.one(Response).state is ResponseState.SUBMITTED


def test_learning_of_a_death_stops_everything_else(work: Work, station):
    instruction = station.instruction()

    record(work, instruction, answers={}, outcome=Outcome.DIED)

    assert work.get(Patient, instruction.patient_id).deceased is DeceasedState.DECEASED
    assert PatientDied(patient_id=instruction.patient_id) in work.events


# ── attempts and drafts ─────────────────────────────────────────────────────


def test_an_attempt_is_logged_and_the_instruction_stays_open(work: Work, station):
    instruction = station.instruction()

    for result in (ContactResult.NO_ANSWER, ContactResult.BUSY):
        record_attempt(
            work, instruction_id=instruction.id, record_id=work.new_id(), result=result, channel=Channel.PHONE
        )

    assert instruction.state is S.IN_PROGRESS
    assert len(work.all(ContactEntry)) == 2


def test_a_doubled_attempt_is_one_attempt(work: Work, station):
    instruction, key = station.instruction(), work.new_id()

    for _ in range(2):
        record_attempt(
            work,
            instruction_id=instruction.id,
            record_id=key,
            result=ContactResult.BUSY,
            channel=Channel.PHONE,
        )

    assert len(work.all(ContactEntry)) == 1


def test_the_same_attempt_within_a_minute_is_a_slip_and_stores_nothing(work: Work, station):
    instruction = station.instruction()

    def attempt(result=ContactResult.NO_ANSWER):
        record_attempt(
            work, instruction_id=instruction.id, record_id=work.new_id(), result=result, channel=Channel.PHONE
        )

    attempt()
    with pytest.raises(HcrmError, match="一分钟内已记录过“无人接听”"):
        attempt()
    assert len(work.all(ContactEntry)) == 1
    attempt(ContactResult.BUSY)
    work.clock.move(seconds=60)
    attempt()
    assert len(work.all(ContactEntry)) == 3


def number_of(work: Work, patient_id: str, owner: str = "") -> str:
    """A number of the patient; with an owner, as people said whose it is."""
    return "contact:" + add_number(
        work, patient_id=patient_id, number="13600136000", relation=owner[:2], owner_name=owner[3:]
    )


@pytest.mark.parametrize("outcome", [Outcome.REACHED, Outcome.LOST])
def test_the_log_knows_whose_number_was_called(work: Work, station, outcome):
    instruction = station.instruction()
    number = number_of(work, instruction.patient_id, "女儿 李红")

    record(work, instruction, outcome=outcome, number=number, channel=Channel.PHONE)

    assert work.one(ContactEntry).whose == "女儿 李红"


def test_a_visit_goes_to_no_number(work: Work, station):
    instruction = station.instruction()

    record(
        work, instruction, number=number_of(work, instruction.patient_id, "女儿 李红"), channel=Channel.VISIT
    )

    assert work.one(ContactEntry).whose is None


def test_the_mother_s_number_of_a_newborn_is_found_empty_on_her_own_list(work: Work, station):
    instruction = station.instruction()
    mother = make_patient(work, name="王芳")
    work.add(
        PatientLink(
            id=work.new_id(), patient_id=instruction.patient_id, other_id=mother.id, kind=LinkKind.MOTHER,
            source="t", as_of=work.clock.now(), seq=1, created_at=work.clock.now(), ended_at=None,
        )
    )  # fmt: skip
    doctor, work.actor = work.actor, centre_actor()
    number = number_of(work, mother.id)
    work.actor = doctor

    record_attempt(
        work, instruction_id=instruction.id, record_id=work.new_id(), result=ContactResult.INVALID_NUMBER,
        channel=Channel.PHONE, number=number,
    )  # fmt: skip

    assert work.one(ContactEntry).whose == "母亲 王芳"
    assert known_numbers(work, mother.id).popitem()[1].state is NumberState.INVALID


def test_a_stranger_s_number_was_not_called(work: Work, station):
    stranger = station.instruction()
    number = number_of(work, stranger.patient_id)

    with pytest.raises(NotFoundError):
        record(work, station.instruction(), number=number)


def test_whoever_was_reached_is_no_attempt(work: Work, station):
    with pytest.raises(HcrmError, match="登记随访结果"):
        record_attempt(
            work, instruction_id=station.instruction().id, record_id=work.new_id(),
            result=ContactResult.REACHED, channel=Channel.PHONE,
        )  # fmt: skip


def test_a_draft_takes_the_instruction_up_and_is_submitted_under_its_key(work: Work, station):
    instruction, key = station.instruction(), work.new_id()
    saved = save_followup_draft(work, instruction_id=instruction.id, record_id=key, answers={"pain": "3"})
    assert instruction.state is S.IN_PROGRESS

    record(work, instruction, record_id=key, version=saved.version)

    assert work.one(Response).id == key


# ── red flags and the choice for review ─────────────────────────────────────


def test_a_red_flag_raises_an_alert_with_its_evidence(work: Work, station):
    instruction = station.instruction()

    record(work, instruction, answers=FEVER)

    alert = work.one(Alert)
    assert (alert.level, alert.flag_code, alert.says) == ("R2", "fever", "当日联系医师")
    assert alert.evidence == "体温：38.5 ℃（界值 ≥ 38.5 ℃）"
    assert AlertRaised(alert_id=alert.id, level="R2") in work.events


@pytest.mark.parametrize(
    ("policy", "answers", "outcome", "cause"),
    [
        (ReviewPolicy.FLAGS, GOOD, Outcome.REACHED, None),
        (ReviewPolicy.FLAGS, FEVER, Outcome.REACHED, ReviewCause.RED_FLAG),
        (ReviewPolicy.FLAGS, {}, Outcome.LOST, ReviewCause.LOST),
        (ReviewPolicy.FLAGS, {}, Outcome.REFUSED, ReviewCause.REFUSED),
        (ReviewPolicy.FLAGS, {}, Outcome.DIED, ReviewCause.DIED),
        (ReviewPolicy.NONE, FEVER, Outcome.REACHED, None),
        (ReviewPolicy.NONE, {}, Outcome.LOST, None),
        (ReviewPolicy.ALL, GOOD, Outcome.REACHED, ReviewCause.ALL),
    ],
)
def test_the_policy_of_the_step_chooses_what_the_head_sees(
    work: Work, station, policy, answers, outcome, cause
):
    instruction = station.instruction(review_policy=policy)

    recorded = record(work, instruction, answers=answers, outcome=outcome)

    assert recorded.review is cause
    assert instruction.state is (S.IN_REVIEW if cause else S.COMPLETED)
    assert [review.cause for review in work.all(Review)] == ([cause] if cause else [])
    assert all(review.state is ReviewState.WAITING for review in work.all(Review))
