"""Replaying all that a filter gives: counted before, in batches, to be stopped, and no more than was counted."""

import re

import pytest

from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.work import open_work
from hcrm.inbox.console_models import MessageAct, ReplayRun, ReplayState
from hcrm.inbox.models import ApplicationState
from hcrm.inbox.queries import MessageFilters
from hcrm.inbox.replaying import continue_replays, preview_replay, start_replay, stop_replay
from tests.support.adt import adt
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings
from tests.support.hospital import Hospital

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings"]
ACTOR = system_actor("test")
PARKED = MessageFilters(state=ApplicationState.PARKED)


@pytest.fixture
def hospital(database, clock):
    """Five messages parked and one applied."""
    with Hospital(database, clock) as hospital:
        hospital.send(adt("A01", c=0, p=900, v="V900"))
        for number in range(1, 6):
            hospital.send(adt("A03", c=number, p=number, v=f"V{number}", PV1_45="20260230120000"))
        hospital.settle()
        yield hospital


def run_once(hospital) -> int:
    with open_work(
        hospital.database, actor=system_actor("inbox.replay_batches"), clock=hospital.clock
    ) as work:
        return continue_replays(work)


def start(hospital, filters=PARKED) -> str:
    with open_work(hospital.database, actor=ACTOR, clock=hospital.clock) as work:
        return start_replay(work, filters, upto=preview_replay(work, filters).upto)


def waiting(hospital) -> list[int]:
    from_states = enumerate((state for state, _ in hospital.outcomes()), 1)
    return [seq for seq, state in from_states if state is ApplicationState.WAITING]


def test_what_is_counted_is_what_is_replayed(hospital, browser_of, make_person):
    make_person("wang")
    browser = browser_of("wang")
    shown = browser.get("/interface/messages/replay?state=parked").text
    assert "将重新处理 5 条" in shown
    assert "日期或时间不可能存在" in shown
    upto = re.search(r'name="upto" value="(\d+)"', shown)[1]

    hospital.receive(adt("A03", c=9, p=9, v="V9", PV1_45="20260230120000"))  # parked after it was counted
    address = browser.post("/interface/messages/replay", {"state": "parked", "upto": upto}).location
    assert waiting(hospital) == [2, 3, 4, 5, 6]
    assert "已安排 5 / 5 条" in browser.get(address).text
    hospital.settle()
    assert len([1 for state, _ in hospital.outcomes() if state is ApplicationState.PARKED]) == 6
    acts = hospital.all(MessageAct)
    assert {act.actor_name for act in acts} == {"wang"}
    assert {(act.state_before, act.reason_before) for act in acts} == {("parked", "impossible_date")}
    assert "重新处理" in browser.get("/interface/messages/2").text


def test_it_goes_in_batches_in_order_of_arrival_and_ends(hospital, monkeypatch):
    monkeypatch.setattr(limits, "REPLAY_BATCH", 2)
    start(hospital)
    assert waiting(hospital) == [2, 3]
    assert run_once(hospital) == 2
    assert waiting(hospital) == [2, 3, 4, 5]
    hospital.settle()  # parked again meanwhile: not replayed a second time
    assert run_once(hospital) == 1
    assert waiting(hospital) == [6]
    (run,) = hospital.all(ReplayRun)
    assert (run.state, run.done, run.total) == (ReplayState.DONE, 5, 5)
    assert run_once(hospital) == 0


def test_it_can_be_stopped(hospital, monkeypatch):
    monkeypatch.setattr(limits, "REPLAY_BATCH", 2)
    run_id = start(hospital)
    with open_work(hospital.database, actor=ACTOR, clock=hospital.clock) as work:
        stop_replay(work, run_id)
    assert run_once(hospital) == 0
    assert waiting(hospital) == [2, 3]


def test_it_rests_while_too_much_waits_so_that_senders_are_not_stopped(hospital, monkeypatch):
    monkeypatch.setattr(limits, "REPLAY_BATCH", 2)
    monkeypatch.setattr(limits, "REPLAY_WAITING", 2)
    start(hospital)
    assert run_once(hospital) == 0
    hospital.settle()
    assert run_once(hospital) == 2


def test_replaying_all_three_times_changes_nothing(hospital):
    hospital.receive(adt("A03", c=10, p=900, v="V900"))
    before, outcomes = hospital.snapshot(), hospital.outcomes()
    for _ in range(3):
        start(hospital, MessageFilters())
        hospital.settle()
        assert (hospital.snapshot(), hospital.outcomes()) == (before, outcomes)


def test_nothing_to_replay_is_said_and_needs_the_right(hospital, browser_of, make_person):
    make_person("wang")
    make_person("dong", roles=["director"])
    browser = browser_of("wang")
    assert "没有可以重新处理的消息" in browser.get("/interface/messages/replay?state=held").text
    assert browser.post("/interface/messages/replay", {"state": "held", "upto": "9"}).status_code == 409
    assert browser_of("dong").get("/interface/messages/replay").status_code == 403
