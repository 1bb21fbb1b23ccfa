"""Processes that are killed: what was acknowledged is stored and applied once, every time (A1, A5, T-KILL)."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from hcrm.app.wiring import handlers, intake
from hcrm.archive.visit_models import VisitEvent
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.delivery import deliver_events
from hcrm.core.paths import config_path
from hcrm.core.settings import load_settings
from hcrm.core.sources import load_sources
from hcrm.core.work import open_work
from hcrm.inbox.intake import store_now
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage
from hcrm.inbox.records import Incoming
from hcrm.inbox.service import process_messages
from tests.support.changes import EVENING
from tests.support.forked import Forked
from tests.support.hospital import ACTOR
from tests.support.killed import publish, wait_until_idle, write_keys
from tests.support.listener import Peer, make_keys
from tests.support.portrait import portrait_of
from tests.support.senders import CLIENTS, Client

KILLS = {"small": 10, "large": 100}  # of each, listener and worker


# ── those who are killed ────────────────────────────────────────────────────


class Killed:
    """A listener and workers, started again whenever they are killed."""

    def __init__(self, url: str, key_file: Path, listener: Forked, workers: Sequence[Forked]) -> None:
        self.url, self.key_file, self.listener, self.workers = url, key_file, listener, workers
        self.kills: Counter[str] = Counter()
        _, self.port = listener.start(url, key_file)
        for worker in workers:
            worker.start(url, key_file)

    def kill(self, one: Forked) -> None:
        one.kill()
        self.kills["listener" if one is self.listener else "worker"] += 1
        _, port = one.start(self.url, self.key_file)
        if one is self.listener:
            self.port = port

    def stop(self) -> None:
        for one in (self.listener, *self.workers):
            if one.process:
                one.kill()


@pytest.fixture(scope="module")
def listener() -> Iterator[Forked]:
    with Forked("tests.support.listener") as program:
        yield program


@pytest.fixture(scope="module")
def workers() -> Iterator[list[Forked]]:
    with Forked("tests.support.worker") as one, Forked("tests.support.worker") as other:
        yield [one, other]


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return write_keys(tmp_path)


@pytest.fixture
def hospital_url(database_url: str, key_file: Path) -> str:
    """A database that knows the shipped definitions, so that discharges issue instructions."""
    publish(database_url, make_keys(key_file))
    return database_url


# ── the proof ───────────────────────────────────────────────────────────────


def kill_under_load(killed: Killed, rounds: int) -> list[Client]:
    """Each of them killed that often, in turn and at random moments, while eight clients send."""
    chance = random.Random(20261122)
    clients = [Client(n, lambda: killed.port) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    for number in range(rounds):
        for one in (killed.listener, killed.workers[number % len(killed.workers)]):
            time.sleep(chance.uniform(0.05, 0.25))
            killed.kill(one)
    for client in clients:
        client.stop()
    return clients


def serial(source: Database, target_url: str) -> Database:
    """The same messages as they were stored, applied in that order by one worker nobody kills."""
    publish(target_url, source.keys)
    target, clock = Database(target_url, source.keys), FixedClock(EVENING)
    with open_work(source, actor=ACTOR, write=False) as work:
        rows = sorted(work.all(InboxMessage), key=lambda row: row.seq)
        items = [
            Incoming(row.sender, row.facility, row.control_id, row.sha256, row.kind, row.format,
                     source.keys.open(row.raw), b"", "", (), row.received_at)
            for row in rows
        ]  # fmt: skip
    sources = load_sources(config_path("sources"))
    reading, hearing = intake(sources, clock), handlers(load_settings(), sources)
    store_now(target, items)
    while process_messages(target, reading):
        pass
    while deliver_events(target, hearing, clock, ACTOR):
        pass
    return target


def assert_nothing_lost_and_all_applied_once(
    database: Database, reference: Database, acknowledged: set[str]
) -> None:
    with open_work(database, actor=ACTOR, write=False) as work:
        stored = list(work.scalars(sa.select(InboxMessage.control_id)))
        states = Counter(row.state for row in work.all(InboxApplication))
        seqs = [row.seq for row in work.all(VisitEvent)]
        found = portrait_of(work)
    assert acknowledged <= set(stored)
    assert len(stored) == len(set(stored)), "resends are no new rows"
    assert states == {ApplicationState.APPLIED: len(stored)}
    assert len(seqs) == len(set(seqs)), "no event twice"
    assert found["instructions"]
    with open_work(reference, actor=ACTOR, write=False) as work:
        assert found == portrait_of(work)
    if database.is_sqlite:
        with database.main.connect() as connection:
            for schema in ("main", "inbox"):
                assert connection.exec_driver_sql(f"PRAGMA {schema}.integrity_check").scalar() == "ok"


def prove(
    databases,
    url: str,
    key_file: Path,
    listener: Forked,
    workers: Sequence[Forked],
    rounds: int,
    folder: Path,
) -> str:
    killed = Killed(url, key_file, listener, workers)
    database = Database(url, make_keys(key_file))
    try:
        clients = kill_under_load(killed, rounds)
        wait_until_idle(database)
    finally:
        killed.stop()
    acknowledged = {control_id for client in clients for control_id in client.acknowledged}
    assert killed.kills == {"listener": rounds, "worker": rounds}
    assert len(acknowledged) > 10 * rounds
    folder.mkdir()
    with databases.fresh(folder) as reference_url:
        reference = serial(database, reference_url)
        assert_nothing_lost_and_all_applied_once(database, reference, acknowledged)
        reference.dispose()
    database.dispose()
    return f"{2 * rounds} kills, {len(acknowledged)} messages acknowledged, stored and applied once"


@pytest.mark.parametrize(
    "databases",
    [
        pytest.param("sqlite", marks=pytest.mark.sqlite),
        # a minute and more where the machine is busy: with the long proofs
        pytest.param("postgresql", marks=[pytest.mark.postgresql, pytest.mark.proof("kill")]),
    ],
    indirect=True,
)
def test_twenty_kills_lose_nothing_and_apply_nothing_twice(
    databases, hospital_url, key_file, listener, workers, tmp_path
):
    prove(databases, hospital_url, key_file, listener, workers[:1], KILLS["small"], tmp_path / "serial")


@pytest.mark.proof("kill")
@pytest.mark.parametrize("number", [1, 2], ids=["one-worker", "two-workers"])
def test_a_hundred_kills_of_each_lose_nothing_and_apply_nothing_twice(
    databases, hospital_url, key_file, listener, workers, tmp_path, capsys, number
):
    said = prove(
        databases, hospital_url, key_file, listener, workers[:number], KILLS["large"], tmp_path / "serial"
    )
    with capsys.disabled():
        print(f"\n{said}")  # noqa: T201  what the run is asked for


# ── around one commit ───────────────────────────────────────────────────────


def stored(database: Database) -> set[str]:
    with database.inbox.connect() as connection:
        return set(connection.scalars(sa.select(InboxMessage.control_id)))


@pytest.mark.parametrize(
    ("point", "is_stored"), [("before_commit", False), ("after_commit_before_ack", True)]
)
def test_between_commit_and_answer_nothing_is_promised(listener, database_url, key_file, point, is_stored):
    raw = b"MSH|^~\\&|HIS|H1|||2026||ADT^A01|%d|P|2.5\rPID|1||1\r"
    _, port = listener.start(database_url, key_file, f"{point}:2")
    with Peer(("127.0.0.1", port)) as peer:
        assert b"MSA|AA|1" in peer.ask(raw % 1)
        peer.frame(raw % 2)
        assert peer.is_closed()
    assert listener.ended() == -signal.SIGKILL
    database = Database(database_url, make_keys(key_file))
    assert stored(database) == ({"1", "2"} if is_stored else {"1"})
    database.dispose()


def test_told_to_stop_it_answers_what_it_read_and_ends_well(listener, database_url, key_file):
    process, port = listener.start(database_url, key_file)
    clients = [Client(n, lambda: port) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    time.sleep(0.5)
    told = time.monotonic()
    os.kill(process, signal.SIGTERM)
    assert listener.ended() == 0
    assert time.monotonic() - told < 15
    for client in clients:
        client.stop()
    acknowledged = {control_id for client in clients for control_id in client.acknowledged}
    database = Database(database_url, make_keys(key_file))
    assert acknowledged
    assert acknowledged <= stored(database)
    database.dispose()
