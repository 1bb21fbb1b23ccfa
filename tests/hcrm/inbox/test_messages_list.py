"""The list of messages: its filters, its searches, and how it is read from a large inbox."""

import re
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa

from hcrm.audit.models import AuditEvent
from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.db import Database
from hcrm.core.work import open_work
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage
from hcrm.inbox.pruning import prune_messages
from hcrm.inbox.queries import MessageFilters, list_messages, skip_scan
from tests.support.adt import adt
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings
from tests.support.hospital import Hospital

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings"]
ACTOR = system_actor("test")
NI = "110101199003078515"


@pytest.fixture
def hospital(database, clock):
    with Hospital(database, clock) as hospital:
        yield hospital


@pytest.fixture
def three(hospital, clock):
    """An admission, a discharge two hours later, and one that is parked."""
    hospital.receive(adt("A01", c="first", p=100, phone="13812345678", ni=NI))
    clock.move(hours=2)
    hospital.receive(adt("A03", c="second", p=100, v="V1", PV1_45="20261122113000"))
    hospital.receive(adt("A03", c="third", p=200, v="V2", name="李^四", PV1_45="20260230120000"))
    return hospital


def seqs(text: str) -> list[int]:
    return [int(found) for found in re.findall(r'class="row-link" href="/interface/messages/(\d+)[?"]', text)]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("", [3, 2, 1]),
        ("?state=parked", [3]),
        ("?kind=ADT^A03", [3, 2]),
        ("?source=default", [3, 2, 1]),
        ("?reason=impossible_date", [3]),
        ("?control_id=second", [2]),
        ("?from=2026-11-22T11:00&to=2026-11-22T13:00", [3, 2]),
        ("?to=2026-11-22T11:00", [1]),
        ("?from=2026-11-23T00:00", []),
        ("?state=applied&kind=ADT^A03&control_id=second&from=2026-11-22T08:00", [2]),
        ("?kind=ADT^A99", []),
    ],
)
def test_each_filter_narrows_the_list_and_they_go_together(three, browser_of, make_person, address, expected):
    make_person("wang")
    assert seqs(browser_of("wang").get("/interface/messages" + address).text) == expected


def test_a_moment_that_has_none_on_our_clock_is_refused(three, browser_of, make_person):
    make_person("wang")
    answer = browser_of("wang").get("/interface/messages?from=0001-01-01T00:00%2B14:00")
    assert answer.status_code == 422


def test_what_nobody_took_up_yet_is_listed_too(hospital, browser_of, make_person):
    make_person("wang")
    hospital.send(adt("A01", c=1))

    shown = browser_of("wang").get("/interface/messages").text
    assert seqs(shown) == [1]
    assert 'state-work">待处理' in shown
    assert "此前" not in browser_of("wang").get("/interface/messages/1").text


def test_an_empty_list_says_what_of_the_filter_may_be_wrong(three, browser_of, make_person):
    make_person("wang")
    browser = browser_of("wang")
    assert (
        "请对调后再筛选" in browser.get("/interface/messages?from=2026-11-22T13:00&to=2026-11-22T11:00").text
    )
    assert "区分大小写" in browser.get("/interface/messages?control_id=SECOND").text
    assert "可以批量重新处理" in browser.get("/interface/messages").text


def test_a_time_that_is_none_is_said_and_no_fault(three, browser_of, make_person):
    make_person("wang")
    browser = browser_of("wang")
    for word in ("yesterday", "9999-12-31T23:59", "0001-01-01T00:00"):
        assert browser.get("/interface/messages", query_string={"from": word}).status_code in (200, 422)


def found(browser, **fields) -> tuple[str, str]:
    """Search; the address it leads to and the page there."""
    browser.get("/interface/messages")
    answer = browser.post("/interface/messages/find", fields)
    assert answer.status_code == 303, answer.text
    return answer.location, browser.get(answer.location).text


@pytest.mark.parametrize("words", ["100", "13812345678", "138 1234 5678", NI])
def test_a_person_is_found_by_each_number_also_in_messages_that_were_not_applied(
    three, browser_of, make_person, words
):
    make_person("wang")
    three.send(adt("A03", c="fourth", p=100, v="V9", phone="13812345678", ni=NI, PV1_45="20260230120000"))
    three.settle()

    address, page = found(browser_of("wang"), by="person", words=words)
    assert seqs(page) == [4, 2, 1]
    assert words.replace(" ", "") not in address


def test_a_text_is_found_in_any_part_of_a_name_and_in_any_charset(three, browser_of, make_person):
    make_person("wang")
    three.send(adt("A28", c="gb", p=300, name="欧阳^春", charset="GB18030", encoding="gb18030"))
    three.settle()
    browser = browser_of("wang")

    assert seqs(found(browser, by="text", words="李四")[1]) == [3]
    assert seqs(found(browser, by="text", words="欧阳春")[1]) == [4]
    assert seqs(found(browser, by="text", words="his|h1")[1]) == [4, 3, 2, 1]
    address, page = found(browser, by="text", words="查无此人")
    assert seqs(page) == []
    assert "已检索所选范围内最新的 4 条，找到 0 条" in page
    assert "查无" not in address
    assert "text" not in parse_qs(urlsplit(address).query)


def test_a_search_stays_within_its_filters_and_its_limit_and_says_so(
    three, browser_of, make_person, monkeypatch
):
    make_person("wang")
    browser = browser_of("wang")
    assert seqs(found(browser, by="text", words="H1", kind="ADT^A03", to="2026-11-22T13:00")[1]) == [3, 2]

    monkeypatch.setattr(limits, "SEARCH_MESSAGES", 2)
    page = found(browser, by="text", words="ADT^A01")[1]
    assert "已检索所选范围内最新的 2 条，找到 0 条；已到上限，更早的没有检索，请缩小时间范围" in page


def test_a_search_is_noted_without_its_words_and_needs_the_right(three, browser_of, make_person):
    make_person("wang")
    make_person("root", roles=["sysadmin"])
    address, _ = found(browser_of("wang"), by="person", words="13812345678")

    events = three.all(AuditEvent, AuditEvent.action == "message.search")
    assert [event.detail for event in events] == [{"by": "person", "searched": 1, "count": 0}]
    root = browser_of("root")
    assert root.get("/interface/messages").status_code == 200
    assert root.get(address).status_code == 403
    assert root.post("/interface/messages/find", {"by": "text", "words": "李四"}).status_code == 403
    assert root.get("/interface/messages?find=AAAA").status_code == 403


def test_an_address_somebody_made_up_is_refused(three, browser_of, make_person):
    make_person("wang")
    browser = browser_of("wang")
    for sealed in ("x", "AAAA", "%00", "é", "A" * 4000):
        assert browser.get("/interface/messages", query_string={"find": sealed}).status_code == 400


def test_a_pruned_message_is_listed_and_its_page_says_that_its_text_is_gone(
    three, clock, browser_of, make_person
):
    make_person("wang")
    clock.move(days=31)
    prune_messages(three.database, actor=ACTOR, clock=clock, keep_days=30)
    browser = browser_of("wang")
    assert seqs(browser.get("/interface/messages").text) == [3, 2, 1]
    shown = browser.get("/interface/messages/1").text
    assert "原文已按保存期限清除" in shown
    assert "更正副本" not in shown
    assert browser.post("/interface/messages/1/replay").status_code == 409
    assert seqs(found(browser, by="text", words="H1")[1]) == [3]


# ── read from a large inbox ─────────────────────────────────────────────────


@pytest.fixture
def many(database: Database, clock) -> Database:
    """Three thousand messages of two senders, a few of them parked, and what the planner knows about them."""
    sealed = database.keys.seal(b"MSH|^~\\&|")
    now = clock.now()
    numbers = range(1, 3001)
    messages = [
        {"sender": f"S{n % 2}", "facility": "H1", "control_id": str(n), "sha256": n.to_bytes(32), "kind": kind_of(n),
         "format": "hl7v2", "raw": sealed, "ack": b"", "peer": "", "flags": "",
         "received_at": now - timedelta(minutes=3000 - n)}
        for n in numbers
    ]  # fmt: skip
    applications = [
        {"seq": n, "lane": 1, "state": ApplicationState.PARKED if n % 500 == 0 else ApplicationState.APPLIED,
         "reason": "no_pid" if n % 500 == 0 else None, "flags": "", "kind": kind_of(n), "source": f"s{n % 2}",
         "attempts": 1, "taken_up_at": now, "applied_at": now}
        for n in numbers
    ]  # fmt: skip
    inbox = database.inbox.execution_options(hcrm_write=True)
    with inbox.begin() as connection:
        connection.execute(sa.insert(InboxMessage), messages)
    with database.writer.begin() as connection:
        connection.execute(sa.insert(InboxApplication), applications)
        if not database.is_sqlite:
            connection.exec_driver_sql("ANALYZE")
    return database


def kind_of(n: int) -> str:
    return "ADT^A60" if n % 700 == 0 else "ADT^A01"


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({"state": ApplicationState.PARKED}, "state_seq"),
        ({"kind": "ADT^A60"}, "kind_seq"),
        ({"source": "s9"}, "source_seq"),
        ({"reason": "no_pid"}, "reason_seq"),
        ({}, ""),
    ],
    ids=str,
)
def test_the_list_reads_an_index_that_gives_its_order(many, clock, filters, index):
    """No sorting and no table read through, however large the inbox is."""
    plans: list[str] = []

    def explain(connection, _cursor, statement, parameters, *_):
        if "LIMIT" in statement and "received_at" in statement and not plans:
            word = "EXPLAIN QUERY PLAN" if many.is_sqlite else "EXPLAIN"
            raw = connection.connection.cursor()
            raw.execute(f"{word} {statement}", parameters)
            plans.append("\n".join(str(row) for row in raw.fetchall()))

    sa.event.listen(many.main, "before_cursor_execute", explain)
    try:
        with open_work(many, actor=ACTOR, clock=clock, write=False) as work:
            if not many.is_sqlite:
                work.execute(sa.text("SET LOCAL enable_seqscan = off"))  # a small table would be read through
            list_messages(work, MessageFilters(**filters), size=5)
    finally:
        sa.event.remove(many.main, "before_cursor_execute", explain)
    assert index in plans[0]
    assert "TEMP B-TREE" not in plans[0]
    assert "Seq Scan" not in plans[0]


def test_pages_by_key_lose_and_repeat_nothing(many, clock):
    seen: list[int] = []
    key = None
    with open_work(many, actor=ACTOR, clock=clock, write=False) as work:
        while True:
            page = list_messages(work, MessageFilters(state=ApplicationState.PARKED), key=key, size=2)
            seen += [row.seq for row in page.items]
            key = page.next_key
            if key is None:
                break
    assert seen == [3000, 2500, 2000, 1500, 1000, 500]


def test_a_control_id_is_probed_for_under_each_sender(many, clock):
    with open_work(many, actor=ACTOR, clock=clock, write=False) as work:
        assert skip_scan(work, InboxMessage.sender, 10) == ["S0", "S1"]
        assert [row.seq for row in list_messages(work, MessageFilters(control_id="1234")).items] == [1234]
        since = clock.now() - timedelta(minutes=10)
        span = MessageFilters(since=since, until=since + timedelta(minutes=2))
        assert [row.seq for row in list_messages(work, span).items] == [2991, 2990]
