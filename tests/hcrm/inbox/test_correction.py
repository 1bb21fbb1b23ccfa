"""A corrected copy: checked, stored as a message of its own, the original kept as it was and left alone."""

import re
from threading import Event, Thread, current_thread

import pytest

from adapters.his.outline import Hl7Outline
from hcrm.audit.models import AuditEvent, AuditOutcome
from hcrm.inbox import words
from hcrm.inbox.console_models import MessageCorrection
from hcrm.inbox.correction import lock_original
from hcrm.inbox.intake import store_now
from hcrm.inbox.models import ApplicationState
from tests.support.adt import adt
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings
from tests.support.hospital import Hospital

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings"]
BAD, GOOD = "20260230120000", "20261122113000"


@pytest.fixture
def hospital(database, clock):
    with Hospital(database, clock) as hospital:
        yield hospital


@pytest.fixture
def clerk(hospital, browser_of, make_person):
    """Somebody of the service centre before a parked discharge."""
    hospital.receive(adt("A01", c=1), adt("A03", c=2, PV1_45=BAD))
    make_person("wang")
    return browser_of("wang")


def text_of(browser, seq: int) -> str:
    page = browser.get(f"/interface/messages/{seq}/correct").text
    found = re.search(r"<textarea[^>]*>(.*?)</textarea>", page, re.DOTALL)
    assert found, page
    return found[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">").replace("&#34;", '"')


def send(browser, seq: int, text: str, *, step: str = "send", reason: str = "日期写错"):
    return browser.post(f"/interface/messages/{seq}/correct", {"text": text, "reason": reason, "step": step})


def test_a_correction_is_shown_before_it_is_sent_and_then_goes_its_way(hospital, clerk):
    text = text_of(clerk, 2).replace(BAD, GOOD)

    check = send(clerk, 2, text, step="check").text
    assert f"<del>{BAD}</del>" in check
    assert f"<ins>{GOOD}</ins>" in check
    assert "出院时间" in check
    assert len(hospital.messages()) == 2

    assert send(clerk, 2, text).location == "/interface/messages/3"
    hospital.settle()
    original, copy = hospital.messages()[1:]
    assert (original.raw, hospital.application(2).state) != (copy.raw, ApplicationState.APPLIED)
    assert hospital.outcomes()[1:] == [
        (ApplicationState.IGNORED, "corrected"),
        (ApplicationState.APPLIED, None),
    ]
    assert (copy.sender, copy.control_id, copy.ack) == (original.sender, original.control_id, b"")
    assert "corrected_copy" in copy.flags.split()
    assert hospital.visit("V1").discharged_at is not None
    assert "已更正为" in clerk.get("/interface/messages/2").text
    shown = clerk.get("/interface/messages/3").text
    assert "的更正副本" in shown
    assert "日期写错" in shown
    assert "人工更正的副本" in shown


def test_the_original_is_never_changed_nor_applied_beside_its_copy(hospital, clerk):
    before = bytes(hospital.messages()[1].raw)
    send(clerk, 2, text_of(clerk, 2).replace(BAD, GOOD))
    hospital.settle()

    assert hospital.messages()[1].raw == before
    clerk.get("/interface/messages/2")
    assert clerk.post("/interface/messages/2/replay").status_code == 409
    hospital.replay()
    assert hospital.outcomes()[1] == (ApplicationState.IGNORED, "corrected")
    ack = hospital.sent[1][1]
    assert hospital.send(hospital.sent[1][0]) == ack  # sent again by its sender: still the same message
    hospital.settle()
    assert hospital.outcomes()[1] == (ApplicationState.IGNORED, "corrected")


def test_a_copy_can_itself_be_corrected(hospital, clerk):
    send(clerk, 2, text_of(clerk, 2).replace(BAD, "20260231000000"))
    hospital.settle()
    assert hospital.application(3).state is ApplicationState.PARKED

    assert clerk.get("/interface/messages/2/correct").status_code == 409
    send(clerk, 3, text_of(clerk, 3).replace("20260231000000", GOOD))
    hospital.settle()
    assert [row[0].value for row in hospital.outcomes()] == ["applied", "ignored", "ignored", "applied"]
    links = {row.original_seq: row.copy_seq for row in hospital.all(MessageCorrection)}
    assert links == {2: 3, 3: 4}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text, "没有更改"),
        (lambda text: text.replace("|HIS|", "|LIS|"), "MSH 段"),
        (lambda text: text.replace("|H1|", "|H2|", 1), "MSH 段"),
        (lambda text: text.replace("ADT^A03", "ADT^A11"), "MSH 段"),
        (lambda text: "\n".join(text.split("\n")[1:]), "MSH 段"),
        (lambda text: text + "\n" + text, "一次只能有一条"),
        (lambda text: "", "此项必填|MSH 段"),
    ],
    ids=["same", "sender", "facility", "event", "no header", "two", "empty"],
)
def test_what_says_who_sent_it_may_not_be_changed(hospital, clerk, change, said):
    for step in ("check", "send"):
        answer = send(clerk, 2, change(text_of(clerk, 2)), step=step)
        assert answer.status_code == 422
        assert re.search(said, answer.text)
    assert len(hospital.messages()) == 2


def test_a_reason_is_asked_for(hospital, clerk):
    answer = send(clerk, 2, text_of(clerk, 2).replace(BAD, GOOD), reason="")
    assert answer.status_code == 422
    assert GOOD in answer.text  # nothing typed is lost
    assert len(hospital.messages()) == 2


def test_a_correction_that_equals_a_message_that_came_is_refused(hospital, clerk):
    hospital.receive(adt("A03", c=2, PV1_45=GOOD))  # the sender corrected it by itself
    answer = send(clerk, 2, text_of(clerk, 2).replace(BAD, GOOD))
    assert answer.status_code == 409
    assert "与已收到的消息 3 完全相同" in answer.text


def test_a_copy_that_was_stored_before_a_crash_is_found_and_linked(hospital, clerk, monkeypatch):
    from hcrm.inbox import views  # the page's own name is replaced

    text = text_of(clerk, 2).replace(BAD, GOOD)

    def die(*_, **__):
        raise RuntimeError

    monkeypatch.setattr(views, "record_correction", die)
    assert send(clerk, 2, text).status_code == 500
    monkeypatch.undo()
    assert len(hospital.messages()) == 3
    assert hospital.outcomes()[1][0] is ApplicationState.PARKED

    assert send(clerk, 2, text).status_code == 303
    hospital.settle()
    assert len(hospital.messages()) == 3
    assert hospital.outcomes()[1:] == [
        (ApplicationState.IGNORED, "corrected"),
        (ApplicationState.APPLIED, None),
    ]


def test_a_held_original_is_not_applied_while_its_copy_is_stored(hospital, clerk, monkeypatch):
    from hcrm.inbox import views  # the page's own name is replaced

    hospital.receive(adt("A13", c=3, v="V2", m="12:00"))
    assert hospital.outcomes()[2][0] is ApplicationState.HELD
    text = text_of(clerk, 3).replace("中山路1号", "中山路2号")
    hospital.send(adt("A01", c=4, v="V2", m="09:00"))
    hospital.send(adt("A03", c=5, v="V2", m="11:00"))
    worker = Thread(target=hospital.settle)

    def store_beside_a_worker(*items):
        worker.start()
        worker.join(0.5)  # it waits for us, or is done with what it may do
        return store_now(*items)

    monkeypatch.setattr(views, "store_now", store_beside_a_worker)
    assert send(clerk, 3, text).status_code == 303
    worker.join(30)
    hospital.settle()
    states = [state for state, _ in hospital.outcomes()[2:]]
    assert states == [ApplicationState.IGNORED, *[ApplicationState.APPLIED] * 3]


def test_of_two_who_correct_one_message_at_once_the_second_stores_nothing(
    hospital, clerk, browser_of, make_person, monkeypatch
):
    from hcrm.inbox import views  # the page's own name is replaced

    make_person("zhao")
    other = browser_of("zhao")
    theirs = text_of(other, 2).replace(BAD, "20261122093000")
    answers: list[int] = []
    has_read = Event()
    second = Thread(target=lambda: answers.append(send(other, 2, theirs).status_code))

    def lock_late(*items):
        if current_thread() is second:
            has_read.set()
        return lock_original(*items)

    def store_beside_the_other(*items):
        if current_thread() is not second:
            second.start()
            has_read.wait(2)  # SQLite: it waits before it may read
        return store_now(*items)

    monkeypatch.setattr(views, "lock_original", lock_late)
    monkeypatch.setattr(views, "store_now", store_beside_the_other)
    assert send(clerk, 2, text_of(clerk, 2).replace(BAD, GOOD)).status_code == 303
    second.join(60)
    hospital.settle()

    assert answers == [409]
    assert len(hospital.messages()) == 3
    assert [(link.original_seq, link.copy_seq) for link in hospital.all(MessageCorrection)] == [(2, 3)]


def test_an_applied_message_is_not_corrected_here(hospital, clerk):
    assert clerk.get("/interface/messages/1/correct").status_code == 409


def test_correcting_needs_a_right_of_its_own_and_is_noted(hospital, clerk, browser_of, make_person):
    make_person("root", roles=["sysadmin"])
    root = browser_of("root")
    assert root.get("/interface/messages/2/correct").status_code == 403
    assert "更正副本" not in root.get("/interface/messages/2").text

    send(clerk, 2, text_of(clerk, 2).replace(BAD, GOOD))
    noted = hospital.all(AuditEvent, AuditEvent.action == "message.correct")
    assert [event.outcome for event in noted] == [AuditOutcome.DENIED, AuditOutcome.DONE]
    assert (noted[1].subject_id, noted[1].detail) == ("2", {"copy": 3, "segments": ["PV1"]})


def test_a_copy_keeps_the_charset_of_its_message(hospital, browser_of, make_person):
    make_person("wang")
    clerk = browser_of("wang")
    hospital.receive(adt("A03", c=1, name="欧阳^春", charset="GB18030", encoding="gb18030", PV1_45=BAD))
    send(clerk, 1, text_of(clerk, 1).replace(BAD, GOOD).replace("欧阳", "司马"))
    hospital.settle()
    assert hospital.patient(100).name == "司马春"
    raw = hospital.database.keys.open(hospital.messages()[1].raw)
    assert "司马".encode("gb18030") in raw


def test_the_page_names_segments_and_fields_and_marks_what_is_wrong(hospital, clerk, browser_of, make_person):
    shown = clerk.get("/interface/messages/2").text
    assert "就诊信息" in shown
    assert "PV1-45" in shown
    assert "出院时间" in shown
    assert BAD in shown
    assert re.search(r'<tr class="wrong"><th scope="row">PV1-45', shown)
    assert "MSA|" in shown  # what was answered

    make_person("root", roles=["sysadmin"])
    masked = browser_of("root").get("/interface/messages/2").text
    assert "PV1-45" in masked
    assert "出院时间" in masked
    for value in (BAD, "张^三", "13912345678", "MSA|"):
        assert value not in masked


def test_a_message_written_as_it_was_read_is_the_same(hospital):
    reader = Hl7Outline()
    for raw in (
        adt("A01", c=1),
        adt("A03", c=2, name="欧阳^春", charset="GB18030", encoding="gb18030"),
        adt("A08", c=3, segments=["ZYB|1|a^b&c~d", "OBX|1|TX|x||line\\.br\\two"]),
    ):
        readable = reader.read(raw, hospital.sources)
        assert reader.write("\n".join(line.text for line in readable.lines), readable.codec) == raw


def test_every_state_has_its_word():
    assert words.state_words("parked") == "已搁置"
    assert words.state_words("gone") == "gone"


# ── before it is stored ─────────────────────────────────────────────────────


def test_the_form_says_what_is_wrong_and_where_beside_the_named_fields(clerk):
    page = clerk.get("/interface/messages/2/correct").text
    assert "日期或时间不可能存在，在 <strong>PV1-45</strong>" in page
    assert "PV1-45 是 PV1 那一行第 45 个 | 之后的内容" in page
    assert re.search(r'<tr class="wrong"><th scope="row">PV1-45</th><td>出院时间', page)


def test_the_copy_is_read_on_trial_before_it_is_stored(hospital, clerk):
    text = text_of(clerk, 2)
    still = send(clerk, 2, text.replace(BAD, "20260231000000"), step="check").text
    assert "仍不能入档" in still
    assert "日期或时间不可能存在（PV1-45）" in still
    good = send(clerk, 2, text.replace(BAD, GOOD), step="check").text
    assert "可以入档" in good
    assert len(hospital.messages()) == 2

    back = send(clerk, 2, text.replace(BAD, GOOD), step="edit")
    assert back.status_code == 200
    assert GOOD in back.text  # what was typed is still there
    assert "日期写错" in back.text


def test_our_own_copy_is_not_called_a_control_id_used_again(hospital, clerk):
    send(clerk, 2, text_of(clerk, 2).replace(BAD, GOOD))
    hospital.settle()
    assert hospital.messages()[2].flags.split() == ["corrected_copy"]
    assert "消息控制号重复使用" not in clerk.get("/interface/messages/3").text


def test_what_happened_to_an_original_stands_in_order_with_seconds(hospital, clerk, clock):
    text = text_of(clerk, 2)
    clock.move(minutes=5)
    send(clerk, 2, text.replace(BAD, GOOD))
    way = clerk.get("/interface/messages/2").text.partition('<ol class="way">')[2].partition("</ol>")[0]
    said = re.findall(r"<time>([^<]+)</time> ([^<\n]+)", way)
    assert [words_of.split("：")[-1].split("（")[0] for _, words_of in said] == [
        "收到并保存，已应答", "取出", "更正，原消息不再处理", "已忽略",
    ]  # fmt: skip
    assert [time for time, _ in said] == sorted(time for time, _ in said)
    assert all(re.fullmatch(r"\d\d-\d\d \d\d:\d\d:\d\d", time) for time, _ in said)
