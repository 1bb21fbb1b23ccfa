"""The watch over ways that fail: destinations, views, folders, files put aside; and how 接口 › 来源 shows them."""

import re
from dataclasses import replace

import pytest

from hcrm.app import wiring
from hcrm.app.collector import Collector
from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.destinations import Destinations
from hcrm.core.sources import Source, Sources
from hcrm.inbox import channels, outbound_views, views, words
from hcrm.inbox.monitor import watch_interface
from hcrm.inbox.monitor_models import Incident, IncidentKind
from hcrm.inbox.outbound import Outbound, Post, claim_message, post_outbound, record_result
from hcrm.inbox.outbound_acts import pause_destination
from hcrm.inbox.outbound_records import NotSent, Reply, Verdict
from tests.support.adt import adt
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings
from tests.support.outbound import FOLLOW_UP, destination

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings"]
ACTOR = system_actor("test")
HIS = destination(title="医院 HIS")


@pytest.fixture
def standing(write):
    """What the watch finds, and which incidents are open after it: kind, source, subject."""

    def look() -> list[tuple[IncidentKind, str, str]]:
        write(watch_interface)
        found = write(lambda work: work.all(Incident, Incident.closed_at.is_(None)))
        return sorted((row.kind, row.source, row.subject) for row in found)

    return look


@pytest.fixture
def incidents(write):
    return lambda: write(lambda work: work.all(Incident))


# ── destinations ────────────────────────────────────────────────────────────


@pytest.fixture
def queue(monkeypatch, write):
    """Two follow-ups wait for the HIS."""
    files = Destinations([HIS])
    for module in (channels, words):
        monkeypatch.setattr(module, "configured_destinations", lambda: files)
    monkeypatch.setattr(outbound_views, "configured", lambda: files)
    posts = [
        Post("follow_up", "instruction", f"i{n}", "1", f"p{n}", replace(FOLLOW_UP, instruction_id=f"i{n}"))
        for n in range(2)
    ]
    write(lambda work: post_outbound(work, outbound=Outbound(files, wiring.BUILDERS), posts=posts))


def answer(work, result) -> None:
    record_result(work, claimed=claim_message(work, destination="his", holder="a"), result=result)


def test_a_destination_that_takes_nothing_for_long_opens_one_incident_until_it_does(
    queue, standing, write, clock, incidents, browser_of, make_person
):
    assert standing() == []
    clock.move(seconds=limits.OUTBOUND_LATE_SECONDS)
    for _ in range(3):
        assert standing() == [(IncidentKind.UNSENT, "his", "")]
    make_person("wang")
    shown = browser_of("wang").get("/interface/incidents").text
    assert "发不出" in shown
    assert "发往 医院 HIS" in shown
    assert "2 条没有送达" in shown

    for _ in range(2):
        write(lambda work: answer(work, Reply(Verdict.ACCEPTED, "AA", "", b"MSH|\r")))
    assert standing() == []
    assert [row.closed_at is not None for row in incidents()] == [True]


def test_a_destination_that_rests_after_failures_is_an_incident_at_once(queue, standing, write, clock):
    for _ in range(limits.OUTBOUND_MUTE_ATTEMPTS):
        assert standing() == []
        write(lambda work: answer(work, NotSent("unreachable", is_unreachable=True)))
        clock.move(seconds=200)
    assert standing() == [(IncidentKind.UNSENT, "his", "")]


def test_a_paused_destination_is_somebodys_decision(queue, standing, write, clock):
    write(lambda work: pause_destination(work, code="his", is_paused=True))
    clock.move(seconds=2 * limits.OUTBOUND_LATE_SECONDS)
    assert standing() == []


# ── views and folders ───────────────────────────────────────────────────────


@pytest.fixture
def folder(tmp_path, monkeypatch, database, clock, app):
    """A source with a drop folder, and a turn over it."""
    drop = tmp_path / "drop"
    drop.mkdir()
    source = Source.model_validate(
        {"code": "lists", "title": "每日名单", "folder": {"path": str(drop), "still_seconds": 0},
         "list_file": {"columns": {"patient_no": "病人ID", "visit_no": "住院号", "discharged_at": "出院时间"}}}
    )  # fmt: skip
    sources = Sources([Source(code="default", title="未登记来源"), source])
    for module in (channels, words):
        monkeypatch.setattr(module, "configured_sources", lambda: sources)
    app.extensions[views.PARTS] = replace(app.extensions[views.PARTS], sources=sources)

    def turn() -> None:
        collector = Collector(database, sources, clock)
        assert collector.turn(collector.channels[0])

    return drop, turn


def test_a_folder_that_cannot_be_read_is_an_incident_and_never_shown_as_normal(
    folder, standing, clock, browser_of, make_person
):
    drop, turn = folder
    turn()
    assert standing() == []
    away = drop.rename(drop.with_name("away"))
    turn()
    assert standing() == []  # one failed turn
    make_person("wang")
    shown = browser_of("wang").get("/interface/sources").text
    assert "文件夹读不了" in shown
    assert "文件夹不存在（FileNotFoundError）" in shown

    clock.move(seconds=limits.CHANNEL_FAILING_SECONDS)
    turn()
    for _ in range(2):
        assert standing() == [(IncidentKind.UNREADABLE, "lists", "folder")]
    away.rename(drop)
    turn()
    assert standing() == []


def test_a_folder_nobody_reads_any_more_is_an_incident_too(folder, standing, clock):
    _, turn = folder
    turn()
    clock.move(hours=1)
    assert standing() == [(IncidentKind.UNREADABLE, "lists", "folder")]


def test_a_rejected_file_is_shown_with_its_reason_and_is_one_incident_until_acknowledged(
    folder, standing, write, clock, browser_of, make_person, incidents
):
    drop, turn = folder
    for name in ("bad.csv", "worse.csv"):
        (drop / name).write_text("病人ID,姓名\n1,张三\n", encoding="utf-8")
    turn()
    assert standing() == [(IncidentKind.FILES, "lists", "")]
    assert incidents()[0].detail == {"files": 2}
    make_person("wang")
    browser = browser_of("wang")
    assert "1 个</a>" in browser.get("/interface/sources").text
    listed = browser.get("/interface/refused?reason=file").text
    assert "表头缺少列（住院号、出院时间）" in listed
    one = browser.get("/interface/refused/1").text
    assert "bad.csv" in one
    assert "病人ID,姓名" in one

    clock.move(minutes=1)
    key = incidents()[0].id
    assert browser.post(f"/interface/incidents/{key}/acknowledge", {"note": "已找对方"}).status_code == 303
    for _ in range(2):  # nor does it alarm anew once its incident is closed
        assert standing() == []
    shown = browser.get("/interface/sources").text
    assert "2 个文件被拒" in shown  # still there, and not called normal
    clock.move(minutes=1)
    (drop / "third.csv").write_text("病人ID,姓名\n1,张三\n", encoding="utf-8")
    turn()
    assert standing() == [(IncidentKind.FILES, "lists", "")]
    assert sorted(row.detail["files"] for row in incidents()) == [1, 2]
    for path in (drop / "_error").iterdir():
        path.unlink()
    turn()
    assert standing() == []


def test_a_view_of_a_source_whose_file_is_gone_alarms_nobody(folder, standing, monkeypatch, clock):
    _, turn = folder
    turn()
    clock.move(hours=1)
    monkeypatch.setattr(channels, "configured_sources", lambda: Sources([]))
    assert standing() == []


def test_the_name_of_a_file_is_for_those_who_may_read_content(folder, browser_of, make_person):
    drop, turn = folder
    (drop / "张三.csv").write_text("病人ID\n1\n", encoding="utf-8")
    turn()
    make_person("gu", ["sysadmin"])
    browser = browser_of("gu")
    assert "表头缺少列" in browser.get("/interface/refused").text
    one = browser.get("/interface/refused/1").text
    assert "张三" not in one
    assert "您的角色不能查看" in one


def test_of_a_file_partly_taken_in_the_page_says_how_much_and_of_each_row_where_it_came_from(
    folder, browser_of, make_person
):
    drop, turn = folder
    (drop / "mixed.hl7").write_bytes(adt("A01", c=1) + adt("A01", c=2).replace(b"|P|2.5.1", b"|X|2.5.1"))
    (drop / "notes.hl7").write_bytes(b"hello")
    turn()
    make_person("wang")
    listed = browser_of("wang").get("/interface/refused").text
    assert "其中有消息未被接收，另 1 条已接收" in listed
    assert "没有消息被接收" in listed
    assert listed.count("mixed.hl7") == listed.count("notes.hl7") == 2  # the message, and the file
    assert "folder " not in re.sub(r'value="folder [^"]*"', "", listed)
    one = browser_of("wang").get("/interface/refused/1").text
    assert "folder lists" not in one


def test_a_silent_minute_is_no_fault_of_an_idle_folder(folder, standing, clock):
    _, turn = folder
    for _ in range(4):
        turn()
        clock.move(minutes=1)
        assert standing() == []
