"""The role of who connects systems: every message, no patient; and the list it works through."""

import re

import pytest

from hcrm.accounts.permissions import roles
from hcrm.audit.models import AuditEvent
from tests.support.adt import adt
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings
from tests.support.hospital import Hospital

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings"]
BAD = "20260230120000"


@pytest.fixture
def hospital(database, clock):
    """One admission, two discharges nobody can read."""
    with Hospital(database, clock) as hospital:
        hospital.receive(
            adt("A01", c=1),
            adt("A03", c=2, PV1_45=BAD),
            adt("A03", c=3, p=2, v="V2", PV1_45=BAD),
        )
        yield hospital


@pytest.fixture
def engineer(hospital, browser_of, make_person):
    make_person("zhou", ["interface"])
    return browser_of("zhou")


def test_the_engineer_reads_and_mends_messages_and_sees_no_patient(hospital, engineer):
    assert not any(
        word.startswith(("patient.", "followup.", "instruction.")) for word in roles()["interface"].words
    )
    assert engineer.get("/").location == "/interface/overview"
    shown = engineer.get("/interface/messages/2").text
    assert BAD in shown
    assert "打开患者档案" not in engineer.get("/interface/messages/1").text
    assert engineer.get("/interface/messages/2/correct").status_code == 200
    assert engineer.get("/interface/messages/replay?state=parked").status_code == 200
    patient = hospital.patient(100).id
    for path in ("/patients", f"/patients/{patient}", "/instructions"):
        assert engineer.get(path).status_code in (403, 404)


def test_the_system_administrator_lands_on_the_overview_too(hospital, browser_of, make_person):
    make_person("gu", ["sysadmin"])
    assert browser_of("gu").get("/").location == "/interface/overview"


def test_a_message_leads_back_to_its_list_and_on_to_its_neighbours(engineer):
    listed = engineer.get("/interface/messages?state=parked").text
    assert 'href="/interface/messages/3?state=parked"' in listed
    shown = engineer.get("/interface/messages/3?state=parked").text
    assert 'href="/interface/messages?state=parked"' in shown
    assert re.search(r'rel="next" href="/interface/messages/2\?state=parked"', shown)
    last = engineer.get("/interface/messages/2?state=parked").text
    assert 'rel="next"' not in last  # message 1 is not parked
    assert 'rel="prev"' in last
    assert re.search(
        r'class="nav-link py-1 active" href="/interface/messages" aria-current="true">消息', shown
    )
    assert "复制全文" in shown


def test_a_search_keeps_what_was_typed_and_no_address_holds_it(engineer):
    engineer.get("/interface/messages")
    answer = engineer.post("/interface/messages/find", {"by": "text", "words": "张三"})
    assert "张三" not in answer.location
    assert "%E5%BC%A0" not in answer.location
    page = engineer.get(answer.location).text
    assert 'value="张三"' in page
    assert '<option value="text" selected>' in page


def test_a_wrong_filter_in_the_address_is_named(engineer):
    answer = engineer.get("/interface/messages?state=bogus")
    assert answer.status_code == 422
    assert "状态" in answer.text


def test_a_replay_says_what_became_of_its_messages(hospital, engineer):
    engineer.get("/interface/messages/replay?state=parked")
    run = engineer.post("/interface/messages/replay", {"state": "parked", "upto": "3"}).location
    assert "还有 2 条等待处理" in engineer.get(run).text
    hospital.settle()
    page = engineer.get(run).text
    assert "已全部安排" in page
    assert re.search(r"已搁置</span></td><td>日期或时间不可能存在</td><td class=\"num\">2<", page)


def test_a_refusal_says_who_claimed_what_and_its_head_is_a_noted_read(
    hospital, engineer, browser_of, make_person
):
    hospital.send(adt("A01", c="R-1").replace(b"|P|2.5.1", b"|X|2.5.1"))
    page = engineer.get("/interface/refused").text
    for word in ("处理标识不接受：MSH-11", "HIS/H1", "R-1", "127.0.0.1", "MLLP "):
        assert word in page, word
    assert "R-1" not in engineer.get("/interface/refused?reason=junk").text
    assert "R-1" in engineer.get("/interface/refused?reason=processing_id&peer=127.0.0.1").text
    seq = re.search(r"/interface/refused/(\d+)", page)[1]
    assert "MSH|^~" in engineer.get(f"/interface/refused/{seq}").text

    make_person("gu", ["sysadmin"])
    masked = browser_of("gu").get(f"/interface/refused/{seq}").text
    assert "R-1" in masked
    assert "MSH|^~" not in masked
    noted = hospital.all(AuditEvent, AuditEvent.subject_type == "refused_message")
    assert [event.action for event in noted] == ["refused.read", "refused.open"]
