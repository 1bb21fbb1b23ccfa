import pytest
import sqlalchemy as sa

from hcrm.archive.models import TimelineEntry
from hcrm.core.actor import Actor
from hcrm.core.errors import ConflictError, InvalidInput, NotFoundError
from hcrm.core.work import Work
from hcrm.forms.models import Response, ResponseState
from hcrm.forms.queries import find_draft, list_responses, load_form
from hcrm.forms.service import DraftConflictError, Subject, close_draft, save_draft, submit_response
from tests.support.builders import make_patient, publish_form

GOOD = {"pain": "3", "temperature": "36.5"}
FEVER = {"pain": "3", "temperature": "38.5"}


@pytest.fixture
def subject(work: Work) -> Subject:
    publish_form(work)
    return Subject("instruction", work.new_id(), make_patient(work).id, None, "test.call", 1)


@pytest.fixture
def key(work: Work) -> str:
    """What the page was given."""
    return work.new_id()


def another(work: Work) -> Actor:
    return Actor(id="account:other", name="王大夫", department_ids=None)


# ── drafts ──────────────────────────────────────────────────────────────────


def test_a_draft_may_leave_everything_open(work: Work, subject, key):
    saved = save_draft(work, subject=subject, response_id=key, raw={"pain": "3"}, note=" 正在通话 ")

    draft = find_draft(work, subject_type="instruction", subject_id=subject.id)
    assert (draft.id, draft.answers, draft.note) == (key, {"pain": 3}, "正在通话")
    assert saved.answers.missing == ("temperature",)


def test_a_wrong_value_is_told_and_the_good_ones_are_kept(work: Work, subject, key):
    saved = save_draft(work, subject=subject, response_id=key, raw={"pain": "3", "temperature": "99"})

    assert "temperature" in saved.answers.errors
    assert work.one(Response).answers == {"pain": 3}


def test_saving_on_goes_by_the_version(work: Work, subject, key):
    first = save_draft(work, subject=subject, response_id=key, raw={"pain": "3"})
    second = save_draft(work, subject=subject, response_id=key, version=first.version, raw={"pain": "4"})

    assert second.version > first.version
    assert work.one(Response).answers == {"pain": 4}


def test_saving_the_same_twice_is_saving_once(work: Work, subject, key):
    first = save_draft(work, subject=subject, response_id=key, raw={"pain": "3"})

    assert save_draft(work, subject=subject, response_id=key, raw={"pain": "3"}).version == first.version


def test_an_older_version_overwrites_nothing_and_sees_what_stands(work: Work, subject, key):
    save_draft(work, subject=subject, response_id=key, raw={"pain": "3"})
    save_draft(work, subject=subject, response_id=key, version=1, raw={"pain": "4"})

    with pytest.raises(DraftConflictError) as conflict:
        save_draft(work, subject=subject, response_id=key, version=1, raw={"pain": "9"})

    assert conflict.value.answers == {"pain": 4}
    assert work.one(Response).answers == {"pain": 4}


def test_two_people_do_not_overwrite_each_other(work: Work, subject, key):
    save_draft(work, subject=subject, response_id=key, raw={"pain": "3"})
    author, work.actor = work.actor.name, another(work)

    with pytest.raises(DraftConflictError, match=author):
        save_draft(work, subject=subject, response_id=work.new_id(), raw={"pain": "9"})


def test_a_draft_of_what_was_submitted_meanwhile_is_refused(work: Work, subject, key):
    save_draft(work, subject=subject, response_id=key, raw=GOOD)
    submit_response(work, subject=subject, response_id=key, version=1, raw=GOOD)

    with pytest.raises(ConflictError, match="已提交"):
        save_draft(work, subject=subject, response_id=key, version=1, raw=GOOD)


# ── submitting ──────────────────────────────────────────────────────────────


def test_a_draft_becomes_the_response(work: Work, subject, key):
    save_draft(work, subject=subject, response_id=key, raw={"pain": "3"})

    submitted = submit_response(work, subject=subject, response_id=key, version=1, raw=GOOD)

    assert submitted.is_new
    response = work.one(Response)
    assert (response.id, response.state, response.answers) == (
        key, ResponseState.SUBMITTED, {"pain": 3, "temperature": "36.5"},
    )  # fmt: skip
    assert response.submitted_at == work.clock.now()


def test_a_response_without_a_draft_is_taken_too_and_told_in_the_timeline(work: Work, subject, key):
    submit_response(work, subject=subject, response_id=key, raw=GOOD)
    work.flush()

    assert work.one(TimelineEntry).title == "已填写：电话随访"


def test_every_mistake_is_said_at_once_and_nothing_is_stored(work: Work, subject, key):
    with pytest.raises(InvalidInput) as refusal:
        submit_response(work, subject=subject, response_id=key, raw={"pain": "11"})

    assert set(refusal.value.errors) == {"pain", "temperature"}
    assert work.all(Response) == []


def test_submitting_twice_gives_the_same_answer_once(work: Work, subject, key):
    first = submit_response(work, subject=subject, response_id=key, raw=FEVER)
    again = submit_response(work, subject=subject, response_id=key, raw=FEVER)

    assert (first.is_new, again.is_new) == (True, False)
    assert first.response.id == again.response.id
    assert [hit.flag.code for hit in first.flags] == [hit.flag.code for hit in again.flags] == ["fever"]
    assert len(work.all(Response)) == 1


def test_other_answers_under_the_same_key_are_not_an_echo(work: Work, subject, key):
    submit_response(work, subject=subject, response_id=key, raw=GOOD)

    with pytest.raises(ConflictError, match="没有保存"):
        submit_response(work, subject=subject, response_id=key, raw=FEVER)


def test_the_key_of_somebody_else_s_response_opens_nothing(work: Work, subject, key):
    submit_response(work, subject=subject, response_id=key, raw=GOOD)
    other = Subject("instruction", work.new_id(), subject.patient_id, None, "test.call", 1)

    with pytest.raises(NotFoundError):
        submit_response(work, subject=other, response_id=key, raw=GOOD)


def test_the_server_judges_the_red_flags_itself(work: Work, subject, key):
    raw = {**FEVER, "flags": "", "fever": "no"}

    submitted = submit_response(work, subject=subject, response_id=key, raw=raw)

    (hit,) = submitted.flags
    assert hit.evidence == "体温：38.5 ℃（界值 ≥ 38.5 ℃）"


def test_a_talk_that_was_broken_off_may_leave_items_open(work: Work, subject, key):
    submit_response(work, subject=subject, response_id=key, raw={"pain": "3"}, partial=True)

    assert work.one(Response).answers == {"pain": 3}


def test_closing_keeps_what_the_draft_holds(work: Work, subject, key):
    save_draft(work, subject=subject, response_id=key, raw={"temperature": "39"})

    closed = close_draft(work, subject=subject)

    assert closed is not None
    assert (closed.response.state, len(closed.flags)) == (ResponseState.SUBMITTED, 1)


def test_closing_throws_an_empty_draft_away(work: Work, subject, key):
    save_draft(work, subject=subject, response_id=key, raw={})

    assert close_draft(work, subject=subject) is None
    assert work.all(Response) == []


# ── reading ─────────────────────────────────────────────────────────────────


def test_an_old_answer_is_read_with_its_own_version(work: Work, subject, key):
    publish_form(work, version=2, title="新表单")

    assert load_form(work, code="test.call", version=1).title == "电话随访"
    assert load_form(work, code="test.call", version=2).title == "新表单"


def test_only_what_was_submitted_is_listed(work: Work, subject, key):
    submit_response(work, subject=subject, response_id=key, raw=GOOD)
    save_draft(work, subject=subject, response_id=work.new_id(), raw={})

    found = list_responses(work, subject_type="instruction", subject_ids=[subject.id])

    assert [response.id for response in found] == [key]
    assert work.scalar(sa.select(sa.func.count()).select_from(Response)) == 2
