"""The station's pages as the server answers them: what is listed, recorded, shown and noted."""

import re

import pytest
import sqlalchemy as sa

from followup.models import Alert, Review, ReviewState
from hcrm.archive.models import ContactPoint, Patient
from hcrm.audit.models import AuditEvent, AuditOutcome
from hcrm.centre.models import Instruction, InstructionState
from hcrm.contact_log.models import ContactEntry, ContactResult
from hcrm.core.actor import system_actor
from hcrm.core.work import open_work
from hcrm.forms.models import Response
from tests.support.builders import make_instruction
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings
from tests.support.station import PHONE, ward
from tests.support.station_forms import QUIET, filled, form_of, hidden, physician, read

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "physician", "settings", "ward"]


def test_today_lists_the_overdue_first_and_shows_no_whole_phone(physician, ward):
    page = physician.get("/today")

    assert page.text.index("张建国") < page.text.index("李秀英")
    assert "超期 2 天" in page.text
    assert "138****8000" in page.text
    assert PHONE not in page.text


def test_today_shows_the_first_number_that_is_dialled_else_why_none_is(physician, ward, write):
    def change(work):
        for patient, number, rank in (("张建国", "+442079460958", 0), ("李秀英", "96123456", 0)):
            found = work.one(
                ContactPoint, ContactPoint.patient_id == work.one(Patient, Patient.name == patient).id
            )
            if patient == "李秀英":
                found.value_sealed = work.keys.seal_text("+442079460000")
                found.rank = 2
            values = {column.key: getattr(found, column.key) for column in sa.inspect(ContactPoint).columns}
            sealed = work.keys.seal_text(number)
            work.insert(
                ContactPoint,
                [values | {"id": work.new_id(), "rank": rank, "value_sealed": sealed, "value_index": number}],
            )

    write(change)
    first, second = re.findall("<tr>.*?</tr>", physician.get("/today").text, re.DOTALL)[1:]

    assert "138****8000" in first
    assert "不拨打" not in first
    assert "961" in second
    assert "不拨打：" in second


def test_a_physician_without_work_reads_so(ward, browser_of):
    assert "今天没有要随访的患者" in browser_of("qian").get("/today").text


def test_a_submitted_form_is_recorded_once_and_opens_the_next_patient(physician, ward, database):
    sent = filled(form_of(physician, ward.first))
    answers = [physician.post(f"/instructions/{ward.first}/form", sent) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [303, 303]
    assert answers[0].headers["Location"] == f"/instructions/{ward.second}/form"
    responses = read(database, sa.select(Response))
    assert [one.answers for one in responses] == [
        {"pain": 2, "temperature": "36.5", "wound": False, "drugs": ["a", "b"], "remark": "都好"}
    ]
    assert len(read(database, sa.select(ContactEntry))) == 1
    assert read(database, sa.select(Instruction.state).where(Instruction.id == ward.first)) == [
        InstructionState.COMPLETED
    ]


def test_after_the_last_patient_the_list_says_so(physician, ward):
    for key in (ward.first, ward.second):
        answer = physician.post(f"/instructions/{key}/form", filled(form_of(physician, key)))

    assert answer.headers["Location"] == "/today"
    assert "今天的随访都做完了" in physician.get("/today").text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"a-temperature": "55"}, "体温：超出范围，应在 34～43 ℃ 之间"),
        ({"a-temperature": "三十六"}, "体温：请填数字"),
        ({"a-pain": ""}, "疼痛：此题必填"),
        ({"a-wound": "yes"}, "流脓：此题必填"),
        ({"a-visit_on": "2026-02-30"}, "请填日期"),
        ({"outcome": ""}, "随访结果：请从列出的选项中选择"),
    ],
)
def test_what_cannot_be_taken_is_said_at_its_field_and_the_text_stays(
    physician, ward, database, changes, sentence
):
    page = form_of(physician, ward.first)
    answer = physician.post(f"/instructions/{ward.first}/form", filled(page, **changes))

    assert answer.status_code == 422
    assert sentence in answer.text
    assert 'class="field-error"' in answer.text
    assert "都好" in answer.text
    assert read(database, sa.select(Response)) == []


def test_a_death_is_recorded_only_once_it_was_confirmed(physician, ward, database, browser_of):
    page, form = form_of(physician, ward.first), f"/instructions/{ward.first}/form"
    refused = physician.post(form, filled(page, outcome="died"))

    assert refused.status_code == 422
    assert "确认已故：请核实后勾选" in refused.text
    assert "都好" in refused.text
    assert read(database, sa.select(Instruction.outcome).where(Instruction.id == ward.first)) == [None]
    assert physician.post(form, filled(refused, outcome="died", confirm_death="1")).status_code == 303
    review = read(database, sa.select(Review.id))[0]
    assert "退回重做即撤销死亡登记" in browser_of("zhao").get(f"/reviews/{review}").text


def test_a_death_that_was_taken_back_is_seen_as_such(physician, ward, database, browser_of):
    form = f"/instructions/{ward.first}/form"
    physician.post(form, filled(form_of(physician, ward.first), outcome="died", confirm_death="1"))
    recorded = physician.get(form).text
    review = read(database, sa.select(Review.id))[0]
    browser_of("zhao").post(f"/reviews/{review}/send-back", {"comment": "误点"})

    assert "如登记有误，请联系科主任或服务中心撤销" in recorded
    assert "得知已故（已撤销）" not in recorded
    for path in (form, f"/instructions/{ward.first}"):
        assert "得知已故（已撤销）" in physician.get(path).text
    assert "如登记有误" not in physician.get(form).text


@pytest.mark.parametrize("form", ["test.call/99", "no.such.form/1"])
def test_flags_of_a_form_that_does_not_exist_are_not_found(physician, form):
    assert physician.post(f"/forms/{form}/flags", {"a-pain": "1"}, headers=QUIET).status_code == 404


def test_typed_answers_raise_their_flag_before_anything_is_saved(physician, ward, database):
    answer = physician.post("/forms/test.call/1/flags", {"a-temperature": "39", "a-pain": "1"}, headers=QUIET)

    assert 'hx-swap-oob="innerHTML:#flag-temperature"' in answer.text
    assert "R2 当日处置" in answer.text
    assert "体温：39 ℃（界值 ≥ 38.5 ℃）" in answer.text
    assert "当日联系医师" in answer.text
    assert read(database, sa.select(Alert)) == []


def test_a_red_flag_is_listed_acknowledged_and_closed_with_words(physician, ward, database):
    page = form_of(physician, ward.first)
    physician.post(f"/instructions/{ward.first}/form", filled(page, **{"a-temperature": "39"}))
    alert = read(database, sa.select(Alert.id))[0]

    listed = physician.get("/alerts")
    assert "张建国" in listed.text
    assert '1<span class="visually-hidden"> 条预警' in listed.text
    physician.post(f"/alerts/{alert}/acknowledge")
    empty = physician.post(f"/alerts/{alert}/handle", {"handling": "  "})
    assert (empty.status_code, "此项必填" in empty.text) == (422, True)
    assert physician.post(f"/alerts/{alert}/handle", {"handling": "已嘱来院"}).status_code == 303
    late = physician.post(f"/alerts/{alert}/handle", {"handling": "我也打了电话"})
    assert late.status_code == 409
    assert "李大夫已处置这条预警" in late.text
    assert "我也打了电话" in late.text
    assert "没有待处置的预警" in physician.get("/alerts").text


@pytest.mark.parametrize("result", ["no_answer", "busy", "wrong_number", "invalid_number"])
def test_an_attempt_is_one_post_and_leaves_the_instruction_open(physician, ward, database, result):
    page = form_of(physician, ward.first)
    key = re.search(r'name="record_id" value="([^"]*)">\s*<input type="hidden" name="channel"', page.text)[1]
    sent = {"record_id": key, "result": result, "channel": "phone"}
    for _ in range(2):
        answer = physician.post(f"/instructions/{ward.first}/attempts", sent, headers=QUIET)

    assert ContactResult(result).label in answer.text
    assert 'id="attempts"' in answer.text
    assert len(read(database, sa.select(ContactEntry))) == 1
    assert read(database, sa.select(Instruction.state).where(Instruction.id == ward.first)) == [
        InstructionState.IN_PROGRESS
    ]


def test_an_attempt_is_said_and_the_same_again_at_once_is_refused(physician, ward, database):
    form_of(physician, ward.first)
    first, again = (
        physician.post(
            f"/instructions/{ward.first}/attempts",
            {"record_id": key * 32, "result": "no_answer", "channel": "phone"},
            headers=QUIET,
        )
        for key in "ab"
    )

    assert "已记录：无人接听" in first.text
    assert "data-hotkey" not in first.text, "a stray key press records nothing"
    assert (again.status_code, "没有重复登记" in again.text) == (422, True)
    assert len(read(database, sa.select(ContactEntry))) == 1


def test_what_was_sent_back_is_marked_and_fills_the_form_again(physician, ward, browser_of, database):
    form = f"/instructions/{ward.first}/form"
    physician.post(form, filled(form_of(physician, ward.first), note="女儿接听", **{"a-temperature": "39"}))
    head = browser_of("zhao")
    head.post(f"/reviews/{read(database, sa.select(Review.id))[0]}/send-back", {"comment": "体温请复测"})

    page = form_of(physician, ward.first)
    assert re.search(r'name="a-temperature"[^>]*value="39"', page.text)
    assert "都好" in page.text
    assert "女儿接听" in page.text
    assert hidden(page, "version") == "0", "a new record, not a change of the old"
    assert 'title="体温请复测">退回' in physician.get("/today").text
    assert "退回重做" in physician.get(f"/instructions/{ward.first}").text
    physician.post(form, filled(page, **{"a-temperature": "36.5", "a-pain": "9"}, outcome="refused"))
    review = read(database, sa.select(Review.id).where(Review.state == ReviewState.WAITING))[0]
    shown = head.get(f"/reviews/{review}").text
    assert "上次退回重做" in shown
    assert "体温请复测" in shown
    assert "当日联系医师" not in shown
    assert "39 ℃" not in shown, "red flags of the record that was sent back"


def test_the_word_after_a_record_is_about_the_patient_before_and_names_nobody(physician, ward):
    page = form_of(physician, ward.first)
    physician.post(f"/instructions/{ward.first}/form", filled(page, **{"a-temperature": "39"}))

    said = form_of(physician, ward.second).text
    assert "上一位患者：随访已登记" in said
    assert "张建国" not in said
    assert "红旗 1 条未处置" in said


def test_the_tile_of_red_flags_counts_like_the_bell_and_leads_to_them(physician, ward):
    page = form_of(physician, ward.first)
    physician.post(f"/instructions/{ward.first}/form", filled(page, **{"a-temperature": "39"}))

    tile = r'href="/alerts"><span class="stat-label">有未处置红旗</span><span class="stat-value">1<'
    assert re.search(tile, physician.get("/today").text)


def test_a_refusal_keeps_what_was_answered_and_waits_for_the_head(physician, ward, browser_of, database):
    page = form_of(physician, ward.first)
    sent = filled(page, **{"outcome": "refused", "a-temperature": ""})
    assert physician.post(f"/instructions/{ward.first}/form", sent).status_code == 303
    review = read(database, sa.select(Review.id))[0]
    head = browser_of("zhao")

    assert "张建国" in head.get("/reviews").text
    shown = head.get(f"/reviews/{review}")
    assert "拒访" in shown.text
    assert "2 分" in shown.text
    bare = head.post(f"/reviews/{review}/send-back", {"comment": ""})
    assert (bare.status_code, "退回时请写明原因" in bare.text) == (422, True)
    assert head.post(f"/reviews/{review}/send-back", {"comment": "请换时间再打"}).status_code == 303
    assert read(database, sa.select(Review.state)) == [ReviewState.SENT_BACK]
    assert "退回原因：请换时间再打" in form_of(physician, ward.first).text
    late = head.post(f"/reviews/{review}/approve", {"comment": ""})
    assert late.status_code == 409


def test_a_finished_form_is_read_only(physician, ward):
    physician.post(f"/instructions/{ward.first}/form", filled(form_of(physician, ward.first)))
    page = form_of(physician, ward.first)

    assert "36.5 ℃" in page.text
    assert 'id="followup-form"' not in page.text


def test_another_departments_patient_is_not_there_and_the_try_is_noted(ward, browser_of, database):
    stranger = browser_of("qian")
    answers = [
        stranger.get(f"/instructions/{ward.first}/form"),
        stranger.get(f"/instructions/{ward.first}/findings"),
        stranger.post(f"/instructions/{ward.first}/form", {"record_id": "0" * 32, "outcome": "refused",
                                                           "channel": "phone"}),
        stranger.post(f"/instructions/{ward.first}/draft", {"record_id": "0" * 32, "a-pain": "1"}),
    ]  # fmt: skip

    assert [answer.status_code for answer in answers] == [404] * 4
    assert all("张建国" not in answer.text for answer in answers)
    denied = read(database, sa.select(AuditEvent).where(AuditEvent.outcome == AuditOutcome.DENIED))
    assert len(denied) == 4


def test_reading_a_form_is_noted_and_reading_it_again_too(physician, ward, database):
    for _ in range(2):
        form_of(physician, ward.first)

    read_ = sa.select(AuditEvent).where(AuditEvent.action == "instruction.read")
    assert len(read(database, read_)) == 2


def test_the_answers_of_the_last_time_stand_beside_the_form(physician, ward, database, clock):
    physician.post(f"/instructions/{ward.first}/form", filled(form_of(physician, ward.first)))
    with open_work(database, actor=system_actor("test"), clock=clock) as work:
        before = work.get(Instruction, ward.first)
        later = make_instruction(
            work, patient_id=before.patient_id, encounter_id=before.encounter_id, trigger_id=before.trigger_id,
            department_id=before.department_id, assignee_id=before.assignee_id, step_code="day30",
        ).id  # fmt: skip

    page = form_of(physician, later)

    assert "上次同一表单" in page.text
    assert "36.5 ℃" in page.text
