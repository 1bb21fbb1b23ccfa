"""Pruning: texts of what is done go, everything else stays, and a message sent again is still known."""

import random
import time
from datetime import timedelta
from threading import Thread

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.work import open_work
from hcrm.inbox.console_models import PruneLater
from hcrm.inbox.intake import store_now
from hcrm.inbox.models import ApplicationState, RefusedMessage
from hcrm.inbox.pruning import prune_messages
from hcrm.inbox.records import Refused
from hcrm.inbox.service import replay_messages
from hcrm.scheduler.models import Fire
from hcrm.scheduler.run import tick
from hcrm.scheduler.table import JOBS
from tests.support.adt import adt
from tests.support.hospital import Hospital

ACTOR = system_actor("inbox.prune")
DONE = (ApplicationState.APPLIED, ApplicationState.IGNORED)


@pytest.fixture(autouse=True)
def no_rest(monkeypatch):
    monkeypatch.setattr(limits, "PRUNE_PAUSE_SECONDS", 0.0)


@pytest.fixture
def hospital(database, clock):
    with Hospital(database, clock) as hospital:
        yield hospital


def prune(hospital, days: int = 30) -> int:
    return prune_messages(hospital.database, actor=ACTOR, clock=hospital.clock, keep_days=days)


def texts(hospital) -> list[bool]:
    """Whether each message still has its text."""
    return [bool(row.raw) for row in hospital.messages()]


def test_only_what_was_applied_or_ignored_long_ago_loses_its_text(hospital, clock):
    hospital.receive(adt("A01", c=1), adt("A03", c=2, PV1_45="20260230120000"), adt("A11", c=3, p=7, v="V7"))
    hospital.receive(
        adt("A08", c=4, p=8, v="V8", cls="I")
    )  # an update before its visit: applied, and read again
    hospital.send(adt("A01", c=5, p=9, v="V9"))  # nobody takes it up
    assert [state for state, _ in hospital.outcomes()][:3] == [
        ApplicationState.APPLIED, ApplicationState.PARKED, ApplicationState.HELD,
    ]  # fmt: skip
    assert hospital.application(4).visit_key is not None
    clock.move(days=29)
    assert prune(hospital) == 0
    clock.move(days=2)
    assert prune(hospital, days=0) == 0
    assert prune(hospital) == 1

    assert texts(hospital) == [False, True, True, True, True]
    hospital.settle()
    assert prune(hospital) == 0


def test_what_was_kept_goes_once_it_is_done_long_enough(hospital, clock):
    hospital.receive(adt("A08", c=1, p=8, v="V8", cls="I"))
    clock.move(days=31)
    prune(hospital)
    assert texts(hospital) == [True]
    assert [row.seq for row in hospital.all(PruneLater)] == [1]

    hospital.receive(adt("A01", c=2, p=8, v="V8", cls="I"))
    clock.move(days=29)
    assert prune(hospital) == 0
    clock.move(days=2)
    assert prune(hospital) == 2
    assert hospital.all(PruneLater) == []


def test_a_pruned_message_sent_again_gets_its_answer_and_is_not_applied_again(hospital, clock):
    raw = adt("A01", c=1)
    ack = hospital.receive(raw)
    clock.move(days=31)
    assert prune(hospital) == 1
    before = hospital.snapshot()

    assert hospital.send(raw) == ack
    hospital.settle()
    assert len(hospital.messages()) == 1
    assert hospital.snapshot() == before
    with open_work(hospital.database, actor=ACTOR, clock=clock) as work:
        assert replay_messages(work, seqs=[1]) == 0
    hospital.settle()
    assert hospital.outcomes() == [(ApplicationState.APPLIED, None)]


def test_small_batches_do_the_same_and_the_time_is_bounded(hospital, clock, monkeypatch):
    monkeypatch.setattr(limits, "PRUNE_BATCH", 3)
    for number in range(1, 9):
        hospital.send(adt("A28", c=number, p=number))
    hospital.settle()
    clock.move(days=31)
    monkeypatch.setattr(limits, "PRUNE_SECONDS", 0.0)
    assert prune(hospital) == 0
    monkeypatch.setattr(limits, "PRUNE_SECONDS", 60.0)
    assert prune(hospital) == 8
    assert not any(texts(hospital))


def test_a_replay_and_pruning_at_once_lose_no_text(hospital, clock):
    """Whoever is first holds the row: pruning waits for the replay, and sees that the message waits again."""
    hospital.receive(adt("A01", c=1))
    clock.move(days=31)
    pruning = Thread(target=prune, args=[hospital])
    with open_work(hospital.database, actor=ACTOR, clock=clock) as work:
        assert replay_messages(work, seqs=[1]) == 1
        pruning.start()
        pruning.join(0.3)
        assert pruning.is_alive()
    pruning.join(30)
    assert texts(hospital) == [True]
    hospital.settle()
    assert hospital.outcomes() == [(ApplicationState.APPLIED, None)]


def test_the_listener_goes_on_storing_meanwhile(hospital, clock, monkeypatch):
    monkeypatch.setattr(limits, "PRUNE_BATCH", 2)
    monkeypatch.setattr(limits, "PRUNE_PAUSE_SECONDS", 0.02)
    for number in range(60):
        hospital.send(adt("A28", c=number, p=number))
    hospital.settle()
    clock.move(days=31)
    pruning = Thread(target=prune, args=[hospital])
    pruning.start()
    slowest, stored = 0.0, 0
    while pruning.is_alive():
        began = time.perf_counter()
        hospital.send(adt("A28", c=f"new{stored}", p=1000 + stored))
        slowest = max(slowest, time.perf_counter() - began)
        stored += 1
    assert stored > 5
    assert slowest < 5.0
    assert sum(texts(hospital)) == stored


def test_the_job_prunes_by_the_settings(hospital, clock):
    hospital.receive(adt("A01", c=1))
    clock.move(days=31)
    jobs = tuple(job for job in JOBS if job.name == "inbox.prune")
    assert tick(hospital.database, clock, jobs) == 1
    (fire,) = hospital.all(Fire)
    assert (fire.state, fire.result) == ("done", 1)
    assert texts(hospital) == [False]


def test_refused_rows_go_by_age(database, clock):
    with open_work(database, actor=ACTOR, clock=clock) as work:
        now = work.clock.now()
    store_now(
        database,
        [
            Refused("junk", 3, b"x" * 32, b"abc", "10.0.0.1", now - timedelta(days=days))
            for days in (0, 29, 31, 400)
        ],
    )
    prune_messages(database, actor=ACTOR, clock=clock, keep_days=30)
    with open_work(database, actor=ACTOR, clock=clock, write=False) as work:
        assert len(work.all(RefusedMessage)) == 2


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6))
def test_pruning_at_any_time_leaves_what_is_not_done_and_a_resend_changes_nothing(hospital, clock, seed):
    """A13: pending and parked rows are the same before and after, whenever it runs."""
    dice = random.Random(seed)
    sent: list[bytes] = []
    for number in range(12):
        p = seed * 100 + dice.randrange(4)
        bad = {"PV1_45": "20260230120000"} if dice.random() < 0.3 else {}
        raw = adt(dice.choice(["A01", "A03", "A08", "A11"]), c=f"{seed}-{number}", p=p, v=f"V{p}", **bad)
        sent.append(raw)
        hospital.send(raw)
        if dice.random() < 0.6:
            hospital.settle()
        clock.move(days=dice.choice([0, 0, 1, 20, 40]))
        if dice.random() < 0.5:
            kept = not_done(hospital)
            prune(hospital)
            assert not_done(hospital) == kept
    hospital.settle()
    clock.move(days=60)
    prune(hospital)
    before, outcomes = hospital.snapshot(), hospital.outcomes()
    for raw in sent:
        hospital.send(raw)
    hospital.settle()
    assert (hospital.snapshot(), hospital.outcomes()) == (before, outcomes)


def not_done(hospital) -> dict[int, bytes]:
    """Texts of what waits, is held, parked or not taken up."""
    states = {
        row.seq: row.state for row in hospital.all(type(hospital.application())) if row
    } if hospital.outcomes() else {}  # fmt: skip
    return {row.seq: bytes(row.raw) for row in hospital.messages() if states.get(row.seq) not in DONE}
