"""The store is away: no positive acknowledgement leaves, and afterwards all goes on by itself (A1, A8, X1, X2)."""

import contextlib
import resource
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from hcrm.archive.visit_models import VisitEvent
from hcrm.core import limits
from hcrm.core.clock import FixedClock
from hcrm.core.crypto import KeyRing
from hcrm.core.db import LISTENER, Database, inbox_path, sqlite_path
from hcrm.core.migrate import migrate
from hcrm.core.work import open_work
from hcrm.inbox.models import ApplicationState, InboxMessage
from hcrm.inbox.pressure import count_pending
from tests.support.adt import adt as patient_message
from tests.support.changes import EVENING
from tests.support.database import SqliteDatabases
from tests.support.forked import Forked
from tests.support.hospital import ACTOR
from tests.support.killed import is_alive, publish, wait_until_idle, write_keys
from tests.support.listener import (
    PATIENCE,
    Peer,
    RunningListener,
    adt,
    default_sources,
    eventually,
    make_keys,
    stored,
)
from tests.support.messages import applications, make_intake, work_off
from tests.support.own_postgresql import OwnPostgresql
from tests.support.senders import Client

STOPS = {"small": 1, "large": 10}
FULL = b"OBX|1|TX|||" + b"x" * 200_000


# ── SQLite: locked, read-only, full ─────────────────────────────────────────


@pytest.fixture
def sqlite(sqlite_databases: SqliteDatabases, tmp_path: Path, keys: KeyRing) -> Iterator[Database]:
    """With a short patience, as the listener uses it."""
    with sqlite_databases.fresh(tmp_path) as url:
        database = Database(url, keys, use=replace(LISTENER, busy_seconds=0.3))
        yield database
        database.dispose()


def assert_refused(listener: RunningListener, raw: bytes) -> None:
    with listener.connect() as peer:
        peer.frame(raw)
        assert peer.is_closed(), "no answer at all"


def assert_taken(listener: RunningListener, raw: bytes) -> None:
    with listener.connect() as peer:
        assert b"\rMSA|AA|" in peer.ask(raw)


def test_while_the_file_is_locked_nothing_is_acknowledged(sqlite: Database, clock: FixedClock):
    with RunningListener(sqlite, default_sources(), clock) as listener:
        assert_taken(listener, adt("1"))
        other = sqlite3.connect(inbox_path(sqlite_path(sqlite.url)), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert_refused(listener, adt("2"))
        other.execute("ROLLBACK")
        other.close()
        assert_taken(listener, adt("3"))
    assert [control_id for control_id, _ in stored(sqlite)] == ["1", "3"]


def test_while_the_file_is_locked_again_and_again_senders_lose_nothing(sqlite: Database, clock: FixedClock):
    lock_again_and_again(sqlite, clock, STOPS["small"] + 1)


@pytest.mark.proof("kill")
def test_a_file_locked_ten_times_under_load_loses_nothing(sqlite: Database, clock: FixedClock):
    lock_again_and_again(sqlite, clock, STOPS["large"])


def lock_again_and_again(sqlite: Database, clock: FixedClock, times: int) -> None:
    """X1 on SQLite: somebody holds the file longer than anybody waits for it, while four clients send."""
    path = inbox_path(sqlite_path(sqlite.url))
    with RunningListener(sqlite, default_sources(), clock) as listener:
        clients = [Client(number, lambda: listener.server.address[1]) for number in range(4)]
        for client in clients:
            client.start()
        for _ in range(times):
            before = acknowledged(clients)
            eventually(lambda before=before: len(acknowledged(clients)) > len(before) + 20, True)
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("PRAGMA busy_timeout = 30000")
                other.execute("BEGIN IMMEDIATE")
                at_the_lock = acknowledged(clients)
                time.sleep(0.7)
                assert len(acknowledged(clients)) <= len(at_the_lock) + len(clients), (
                    "only what was on its way"
                )
                other.execute("ROLLBACK")
        after = acknowledged(clients)
        eventually(lambda: len(acknowledged(clients)) > len(after) + 20, True)
        for client in clients:
            client.stop()
    found = [control_id for control_id, _ in stored(sqlite)]
    assert acknowledged(clients) <= set(found)
    assert len(found) == len(set(found)), "resends are no new rows"


def test_a_file_that_cannot_be_written_acknowledges_nothing(sqlite: Database, clock: FixedClock):
    """`PRAGMA query_only` stands for the mount that went read-only: root may write any file."""
    with RunningListener(sqlite, default_sources(), clock) as listener:

        @sa.event.listens_for(sqlite.inbox, "checkout")
        def forbid(connection: sqlite3.Connection, *_: object) -> None:
            connection.execute("PRAGMA query_only = 1")

        assert_refused(listener, adt("1"))
        sa.event.remove(sqlite.inbox, "checkout", forbid)
        sqlite.inbox.dispose()
        assert_taken(listener, adt("2"))
    assert [control_id for control_id, _ in stored(sqlite)] == ["2"]


def test_on_a_full_disk_nothing_is_acknowledged_and_reading_goes_on(sqlite: Database, clock: FixedClock):
    """X2: the kernel refuses to let any file of ours grow (RLIMIT_FSIZE), then lets it again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    largest = max(file.stat().st_size for file in sqlite_path(sqlite.url).parent.iterdir() if file.is_file())
    taken: list[str] = []
    with RunningListener(sqlite, default_sources(), clock) as listener:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 500_000, hard))
        try:
            for number in range(20):
                with listener.connect() as peer:
                    peer.frame(adt(str(number)) + FULL + b"\r")
                    with contextlib.suppress(EOFError):
                        assert f"MSA|AA|{number}\r".encode() in peer.answer()
                        taken.append(str(number))
            assert 0 < len(taken) < 20, "the disk was full in between"
            assert [control_id for control_id, _ in stored(sqlite)] == taken
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, kept)
        assert_taken(listener, adt("after"))
    assert [control_id for control_id, _ in stored(sqlite)] == [*taken, "after"]
    with sqlite.inbox.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA inbox.integrity_check").scalar() == "ok"


# ── PostgreSQL stopped in the middle ────────────────────────────────────────


@pytest.mark.postgresql
def test_a_postgresql_stopped_in_the_middle_loses_nothing_that_was_acknowledged(
    own_postgresql: OwnPostgresql, tmp_path: Path
):
    stop_again_and_again(own_postgresql, tmp_path, STOPS["small"])


@pytest.mark.postgresql
@pytest.mark.proof("kill")
def test_a_postgresql_stopped_ten_times_loses_nothing_that_was_acknowledged(
    own_postgresql: OwnPostgresql, tmp_path: Path
):
    stop_again_and_again(own_postgresql, tmp_path, STOPS["large"])


def stop_again_and_again(own_postgresql: OwnPostgresql, folder: Path, stops: int) -> None:
    """X1, with the server's own fsync on; nobody restarts us, neither the listener nor the worker."""
    migrate(own_postgresql.url)
    key_file, clock = write_keys(folder), FixedClock(EVENING)
    keys = make_keys(key_file)
    publish(own_postgresql.url, keys)
    with Forked("tests.support.worker") as worker:
        process, _ = worker.start(own_postgresql.url, key_file)
        database = Database(own_postgresql.url, keys, use=LISTENER)
        send_while_it_stops(own_postgresql, database, clock, stops)
        wait_until_idle(database)
        assert worker.process == process
        assert is_alive(worker)
    with open_work(database, actor=ACTOR, write=False) as work:
        names = {row.seq: row.control_id for row in work.all(InboxMessage)}
        seqs = [row.seq for row in work.all(VisitEvent)]
    assert {row.state for row in applications(database)} == {ApplicationState.APPLIED}
    assert len(applications(database)) == len(names)
    assert len(seqs) == len(set(seqs)), "no event twice"
    database.dispose()


def send_while_it_stops(
    own_postgresql: OwnPostgresql, database: Database, clock: FixedClock, stops: int
) -> None:
    with RunningListener(database, default_sources(), clock) as listener:
        clients = [Client(number, lambda: listener.server.address[1]) for number in range(4)]
        for client in clients:
            client.start()
        for _ in range(stops):
            before = acknowledged(clients)
            eventually(lambda before=before: len(acknowledged(clients)) > len(before) + 20, True)
            own_postgresql.stop()
            at_the_stop = acknowledged(clients)
            time.sleep(0.3)
            assert len(acknowledged(clients)) <= len(at_the_stop) + len(clients), "only what was on its way"
            own_postgresql.start()
        after = acknowledged(clients)
        eventually(lambda: len(acknowledged(clients)) > len(after) + 20, True)
        for client in clients:
            client.stop()
    found = [control_id for control_id, _ in stored(database)]
    assert acknowledged(clients) <= set(found)
    assert len(found) == len(set(found)), "resends are no new rows"


def acknowledged(clients: list[Client]) -> set[str]:
    return {control_id for client in clients for control_id in list(client.acknowledged)}


# ── more than the worker can do ─────────────────────────────────────────────


def test_beyond_the_limit_nothing_is_read_nothing_is_lost_and_order_is_kept(
    database: Database, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
):
    """A8, with a limit of 200: the worker stands, 1,000 are sent, then it works."""
    monkeypatch.setattr(limits, "PENDING_LIMIT", 200)
    clock.move(hours=13)
    feed = [patient_message("A31", c=n, p=n % 20, m=moment(n)) for n in range(1_000)]
    with (
        RunningListener(
            database, default_sources(), clock, pending=lambda: count_pending(database)
        ) as listener,
        listener.connect() as peer,
    ):
        answers: list[bytes] = []
        sending = threading.Thread(target=send_all, args=(peer, feed))
        reading = threading.Thread(target=read_all, args=(peer, answers, len(feed)))
        sending.start()
        reading.start()
        intake = make_intake(clock)
        was_full = False
        deadline = time.monotonic() + 6 * PATIENCE
        while len(answers) < len(feed) and time.monotonic() < deadline:
            was_full = was_full or listener.committer.is_full
            if was_full or len(answers) == len(feed):
                work_off(database, intake)
            time.sleep(0.05)
        sending.join(PATIENCE)
        reading.join(PATIENCE)
    work_off(database, make_intake(clock))

    assert was_full
    assert [answer.split(b"|")[-1].strip() for answer in answers] == [b"%d" % n for n in range(1_000)]
    assert [int(control_id) for control_id, _ in stored(database)] == list(range(1_000))
    assert {row.state for row in applications(database)} == {ApplicationState.APPLIED}


def test_on_a_disk_nearly_full_nothing_is_read_until_there_is_room(
    sqlite: Database, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "READY_FREE_BYTES", 2**62)
    with RunningListener(sqlite, default_sources(), clock) as listener:
        eventually(lambda: listener.committer.is_full, True)
        with listener.connect() as peer:
            peer.frame(adt("1"))
            assert peer.is_silent(1.2)
            monkeypatch.setattr(limits, "READY_FREE_BYTES", 0)
            assert b"MSA|AA|1" in peer.answer()


def moment(number: int) -> str:
    return f"2026112210{number // 60:02}{number % 60:02}+0800"


def send_all(peer: Peer, raws: list[bytes]) -> None:
    peer.socket.settimeout(6 * PATIENCE)
    for raw in raws:
        peer.frame(raw)
        time.sleep(0.002)  # a burst would be in before anybody counts


def read_all(peer: Peer, answers: list[bytes], number: int) -> None:
    while len(answers) < number:
        answers.append(peer.answer())
