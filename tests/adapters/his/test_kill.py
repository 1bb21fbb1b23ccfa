"""A listener that is killed: what it acknowledged is stored, every time (A1, T-KILL)."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from hcrm.core.db import Database
from hcrm.inbox.models import InboxMessage
from tests.support.listener import Peer, make_keys

KILLS = {"small": 20, "large": 100}
CLIENTS = 8


class Client(threading.Thread):
    """Sends one message after the other and notes which were acknowledged, until the listener is gone."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(daemon=True)
        self.port, self.prefix = port, name
        self.acknowledged: list[str] = []

    def run(self) -> None:
        try:
            with Peer(("127.0.0.1", self.port)) as peer:
                for n in range(100_000):
                    control_id = f"{self.prefix}-{n}"
                    ack = peer.ask(
                        f"MSH|^~\\&|HIS|H1|||2026||ADT^A01|{control_id}|P|2.5\rPID|1||{n}\r".encode()
                    )
                    assert f"MSA|AA|{control_id}\r".encode() in ack
                    self.acknowledged.append(control_id)
        except (EOFError, OSError):
            return


class Listeners:
    """One process after the other, each forked from a program that has everything imported."""

    def __init__(self) -> None:
        self._program = subprocess.Popen(
            [sys.executable, "-m", "tests.support.listener"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def start(self, url: str, key_file: Path, fault: str = "") -> tuple[int, int]:
        """Process id and port."""
        assert self._program.stdin is not None
        self._program.stdin.write(f"{url}\t{key_file}\t{fault}\n")
        self._program.stdin.flush()
        return self._line()

    def ended(self) -> int:
        """The exit status of the one started last, once it is gone."""
        return os.waitstatus_to_exitcode(self._line()[1])

    def close(self) -> None:
        with self._program as program:
            program.terminate()

    def _line(self) -> tuple[int, int]:
        assert self._program.stdout is not None
        first, second = self._program.stdout.readline().split()
        return int(first), int(second)


@pytest.fixture(scope="module")
def listeners() -> Iterator[Listeners]:
    listeners = Listeners()
    yield listeners
    listeners.close()


def stored(database: Database) -> set[str]:
    with database.inbox.connect() as connection:
        return set(connection.scalars(sa.select(InboxMessage.control_id)))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key.json"
    path.write_text(json.dumps({"data": bytes(32).hex()}))
    return path


def sending(port: int, prefix: str) -> list[Client]:
    clients = [Client(port, f"{prefix}-{n}") for n in range(CLIENTS)]
    for client in clients:
        client.start()
    return clients


def answered(clients: list[Client]) -> set[str]:
    for client in clients:
        client.join(10)
    return {control_id for client in clients for control_id in client.acknowledged}


def kill_under_load(listeners: Listeners, url: str, key_file: Path, rounds: int) -> None:
    chance = random.Random(20261122)
    acknowledged: set[str] = set()
    for number in range(rounds):
        process, port = listeners.start(url, key_file)
        clients = sending(port, str(number))
        time.sleep(chance.uniform(0.05, 0.3))
        os.kill(process, signal.SIGKILL)
        assert listeners.ended() == -signal.SIGKILL
        acknowledged |= answered(clients)
    database = Database(url, make_keys(key_file))
    assert acknowledged
    assert acknowledged <= stored(database)
    if database.is_sqlite:
        with database.inbox.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA inbox.integrity_check").scalar() == "ok"
    database.dispose()


def test_what_was_acknowledged_survives_every_kill(listeners, database_url, key_file):
    kill_under_load(listeners, database_url, key_file, KILLS["small"])


@pytest.mark.proof("kill")
def test_what_was_acknowledged_survives_a_hundred_kills(listeners, database_url, key_file):
    kill_under_load(listeners, database_url, key_file, KILLS["large"])


@pytest.mark.parametrize(
    ("point", "is_stored"), [("before_commit", False), ("after_commit_before_ack", True)]
)
def test_between_commit_and_answer_nothing_is_promised(listeners, database_url, key_file, point, is_stored):
    raw = b"MSH|^~\\&|HIS|H1|||2026||ADT^A01|%d|P|2.5\rPID|1||1\r"
    _, port = listeners.start(database_url, key_file, f"{point}:2")
    with Peer(("127.0.0.1", port)) as peer:
        assert b"MSA|AA|1" in peer.ask(raw % 1)
        peer.frame(raw % 2)
        assert peer.is_closed()
    assert listeners.ended() == -signal.SIGKILL
    database = Database(database_url, make_keys(key_file))
    assert stored(database) == ({"1", "2"} if is_stored else {"1"})
    database.dispose()


def test_told_to_stop_it_answers_what_it_read_and_ends_well(listeners, database_url, key_file):
    process, port = listeners.start(database_url, key_file)
    clients = sending(port, "")
    time.sleep(0.5)
    told = time.monotonic()
    os.kill(process, signal.SIGTERM)
    assert listeners.ended() == 0
    assert time.monotonic() - told < 15
    acknowledged = answered(clients)
    database = Database(database_url, make_keys(key_file))
    assert acknowledged
    assert acknowledged <= stored(database)
    database.dispose()
