"""What we send, as people see it: list and destinations, one message, send again, stop, pause."""

import re
from dataclasses import replace

import pytest
import sqlalchemy as sa

from hcrm.app import wiring
from hcrm.audit.models import AuditEvent, AuditSubject
from hcrm.core.actor import system_actor
from hcrm.core.destinations import Destinations
from hcrm.core.events import Event
from hcrm.core.work import open_work
from hcrm.inbox import outbound_views
from hcrm.inbox.outbound import Outbound, Post, claim_message, post_outbound, record_result
from hcrm.inbox.outbound_acts import prune_outbound
from hcrm.inbox.outbound_models import OutboundDestination, OutboundMessage, OutboundState
from hcrm.inbox.outbound_records import NotSent, Reply, Verdict
from tests.support.console import browser_of
from tests.support.outbound import FOLLOW_UP, destination

__all__ = ["browser_of"]

ACTOR = system_actor("test")
HIS = destination(title="医院 HIS")
LIS = destination(code="lis", title="检验系统", host="10.20.30.40", port=2575)
DESK, PHONE = {"width": 1280, "height": 720}, {"width": 390, "height": 844}
URL = "/interface/outbound"


@pytest.fixture(autouse=True)
def files(monkeypatch):
    monkeypatch.setattr(outbound_views, "configured", lambda: Destinations([HIS, LIS]))


@pytest.fixture
def queue(write):
    """Post follow-ups to both; the first at the HIS is delivered, then one waits after an AE, one was rejected."""

    def post(work, revision="1"):
        outbound = Outbound(Destinations([HIS, LIS]), wiring.BUILDERS)
        posts = [
            Post("follow_up", "instruction", f"i{n}", revision, f"p{n}", replace(FOLLOW_UP, instruction_id=f"i{n}"))
            for n in range(4)
        ]  # fmt: skip
        return post_outbound(work, outbound=outbound, posts=posts)

    def tell(work, result, code="his"):
        claimed = claim_message(work, destination=code, holder="a")
        record_result(work, claimed=claimed, result=result)
        return claimed.seq

    def make(work):
        post(work)
        ack = b"MSH|^~\\&|HIS|H1|HCRM||20261122||ACK|9|P|2.5.1\rMSA|%b|1\rERR|||207\r"
        seqs = {
            "delivered": tell(work, Reply(Verdict.ACCEPTED, "AA", "", ack % b"AA")),
            "pending": tell(work, Reply(Verdict.ERROR, "AE", "207 PID-3", ack % b"AE")),
            "failed": tell(work, Reply(Verdict.REJECTED, "AR", "203 MSH-12", ack % b"AR")),
        }
        tell(work, NotSent("unreachable", is_unreachable=True), code="lis")
        return seqs

    make.again = lambda: write(lambda work: post(work, "2"))
    return make


def rows(database, *where):
    with open_work(database, actor=ACTOR, write=False) as work:
        return work.scalars(sa.select(OutboundMessage).where(*where).order_by(OutboundMessage.seq))


def state_of(database, seq):
    return rows(database, OutboundMessage.seq == seq)[0].state


def test_the_list_shows_states_destinations_and_no_content(queue, write, make_person, browser_of):
    write(queue)
    make_person("wang")
    text = browser_of("wang").get(URL).text

    for word in (
        "医院 HIS",
        "检验系统",
        "连不上对方",
        "对方拒绝（203 MSH-12）",
        "对方报错（207 PID-3）",
        "已送达",
        "待发",
    ):
        assert word in text, word
    assert "欧阳" not in text
    filtered = browser_of("wang").get(f"{URL}?state=failed&destination=his").text
    assert filtered.count('class="row-link"') == 1


def test_the_text_is_for_those_who_may_read_it_and_reading_is_noted(
    queue, write, make_person, browser_of, database
):
    seq = write(queue)["delivered"]
    make_person("wang")
    make_person("gu", ["sysadmin"])

    page = browser_of("wang").get(f"{URL}/{seq}").text
    assert "欧阳" in page
    assert "对方应答" in page
    other = browser_of("gu").get(f"{URL}/{seq}").text
    assert "欧阳" not in other
    assert "您的角色只能查看发送过程" in other
    with open_work(database, actor=ACTOR, write=False) as work:
        (read,) = work.all(AuditEvent, AuditEvent.action == "outbound.read")
        assert (read.subject_type, read.subject_id) == ("outbound_message", str(seq))
        assert [
            row.subject_patient_id for row in work.all(AuditSubject, AuditSubject.audit_id == read.id)
        ] == ["p0"]
        assert len(work.all(AuditEvent, AuditEvent.action == "outbound.open")) == 1


def test_our_text_is_shown_by_named_fields_and_the_place_of_an_error_marked(
    queue, write, make_person, browser_of
):
    seqs = write(queue)
    make_person("wang")
    browser = browser_of("wang")
    page = browser.get(f"{URL}/{seqs['pending']}").text
    assert '<th scope="row">PID-5</th><td>' in page
    assert re.search(r'class="wrong"><th scope="row">PID-3', page)  # ERR: 207 PID-3
    assert re.search(r"排队 \d\d-\d\d \d\d:\d\d:\d\d", page)


def test_a_destination_that_did_not_accept_is_not_called_normal_and_one_that_rests_counts(
    queue, write, make_person, browser_of
):
    write(queue)
    make_person("wang")
    browser = browser_of("wang")
    page = browser.get(URL).text
    rows = re.findall(r'destination=(\w+)">[^<]+</a></td>\s*<td>(.*?)</td>', page, re.DOTALL)
    told = dict(rows)
    assert "2 条对方没有接受" in told["his"]
    assert "正常" not in told["his"]
    assert "连不上对方" in told["lis"]
    assert "连续 1 次" in told["lis"]
    assert "完成并审核后" in page
    seq = re.findall(rf'href="{URL}/(\d+)">', browser.get(f"{URL}?destination=lis").text)[-1]
    assert "目标连续 1 次没有接通" in browser.get(f"{URL}/{seq}").text


def test_a_failed_message_is_sent_again_with_its_bytes(queue, write, make_person, browser_of, database):
    seq = write(queue)["failed"]
    before = rows(database, OutboundMessage.seq == seq)[0]
    make_person("wang")
    browser = browser_of("wang")
    browser.get(f"{URL}/{seq}")

    assert browser.post(f"{URL}/{seq}/resend").status_code == 302
    after = rows(database, OutboundMessage.seq == seq)[0]
    assert (after.state, after.attempts, after.error) == (OutboundState.PENDING, 0, None)
    assert (after.payload, after.control_id) == (before.payload, before.control_id)
    assert browser.post(f"{URL}/{seq}/resend").status_code == 409


def test_one_that_could_not_be_built_is_generated_anew(write, make_person, browser_of, database):
    picky = Outbound(Destinations([destination(authorities=("H9",))]), wiring.BUILDERS)
    write(lambda work: post_outbound(
        work, outbound=picky, posts=[Post("follow_up", "instruction", "i1", "1", "p1", FOLLOW_UP)]))  # fmt: skip
    (row,) = rows(database)
    make_person("wang")
    browser = browser_of("wang")
    page = browser.get(f"{URL}/{row.seq}").text
    assert "请重新生成" in page
    assert f"{URL}/{row.seq}/remake" in page

    assert browser.post(f"{URL}/{row.seq}/remake").status_code == 302
    assert rows(database) == []
    with open_work(database, actor=ACTOR, write=False) as work:
        assert work.all(Event, Event.kind == "ReportPostponed")


def test_an_old_word_does_not_go_over_a_newer_one(queue, write, make_person, browser_of, database):
    seq = write(queue)["failed"]
    queue.again()
    make_person("wang")
    browser = browser_of("wang")
    browser.get(f"{URL}/{seq}")

    answer = browser.post(f"{URL}/{seq}/resend")
    assert answer.status_code == 409
    assert "旧内容覆盖新内容" in answer.text
    assert "没有可以重发的消息" in browser.get(f"{URL}/destinations/his/resend").text


def test_failed_messages_go_again_in_bulk_after_their_number_was_shown(
    queue, write, make_person, browser_of, database
):
    seqs = write(queue)
    make_person("wang")
    browser = browser_of("wang")
    assert "重发 1 条" in browser.get(f"{URL}/destinations/his/resend").text
    assert state_of(database, seqs["failed"]) is OutboundState.FAILED

    browser.post(f"{URL}/destinations/his/resend")
    assert state_of(database, seqs["failed"]) is OutboundState.PENDING
    assert state_of(database, seqs["delivered"]) is OutboundState.DELIVERED


def test_a_waiting_message_is_stopped_and_its_patient_waits_no_longer(
    queue, write, make_person, browser_of, database
):
    seqs = write(queue)
    make_person("wang")
    browser = browser_of("wang")
    browser.get(URL)
    browser.post(f"{URL}/{seqs['pending']}/stop")

    assert state_of(database, seqs["pending"]) is OutboundState.STOPPED
    assert browser.post(f"{URL}/{seqs['delivered']}/stop").status_code == 409


def test_a_destination_is_paused_and_resumed_by_name(queue, write, make_person, browser_of, database):
    write(queue)
    make_person("wang", display_name="王敏")
    browser = browser_of("wang")
    browser.get(URL)
    browser.post(f"{URL}/destinations/lis/pause")
    assert '已暂停</span><span class="wide"> 王敏' in browser.get(URL).text

    browser.post(f"{URL}/destinations/lis/resume")
    with open_work(database, actor=ACTOR, write=False) as work:
        own = work.get(OutboundDestination, "lis")
    assert (own.is_paused, own.not_before) == (False, None)  # at once, though it was resting
    assert browser.post(f"{URL}/destinations/nowhere/pause").status_code == 404


def test_a_physician_has_no_business_there(make_person, browser_of):
    make_person("li", ["physician"])
    browser = browser_of("li")

    assert browser.get(URL).status_code == 403
    assert browser.post(f"{URL}/1/resend").status_code == 403


def test_age_removes_what_arrived_and_nothing_that_waits_or_failed(queue, write, database, clock):
    seqs = write(queue)
    clock.move(days=91)

    assert write(prune_outbound) == 1
    assert write(prune_outbound) == 0
    left = {row.seq for row in rows(database)}
    assert seqs["delivered"] not in left
    assert {seqs["pending"], seqs["failed"]} < left


def test_younger_than_its_age_nothing_goes(queue, write, clock):
    write(queue)
    clock.move(days=89)

    assert write(prune_outbound) == 0


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)  # a page looks alike on both
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_pages_fit_their_screen_and_axe_finds_no_fault(page_of, make_person, queue, write, size):
    from axe_playwright_python.sync_playwright import Axe  # only here

    seqs = write(queue)
    make_person("wang", display_name="王敏")
    page = page_of("wang")
    page.set_viewport_size(size)
    faults = []
    for path in (URL, f"{URL}/{seqs['failed']}", f"{URL}/destinations/his/resend"):
        page.goto(path)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            faults.append(f"{path} is {wide} px too wide")
        faults += [f"{path}: {found['id']}" for found in Axe().run(page).response["violations"]]

    assert faults == []
