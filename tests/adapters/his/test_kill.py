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
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from hcrm.core.db import Database
from hcrm.inbox.models import InboxMessage
from tests.support.listener import Peer, make_keys

KILLS = {"small": 5, "large": 100}
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


@contextmanager
def listening(url: str, key_file: Path, fault: str = "") -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """A listener process and its port; gone afterwards, whatever happened."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.listener", url, str(key_file)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "HCRM_FAULT": fault},
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


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


def kill_under_load(url: str, key_file: Path, rounds: int) -> None:
    chance = random.Random(20261122)
    acknowledged: set[str] = set()
    for number in range(rounds):
        with listening(url, key_file) as (process, port):
            clients = sending(port, str(number))
            time.sleep(chance.uniform(0.05, 0.6))
            process.kill()
        acknowledged |= answered(clients)
    database = Database(url, make_keys(key_file))
    assert acknowledged
    assert acknowledged <= stored(database)
    if database.is_sqlite:
        with database.inbox.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA inbox.integrity_check").scalar() == "ok"
    database.dispose()


def test_what_was_acknowledged_survives_every_kill(database_url, key_file):
    kill_under_load(database_url, key_file, KILLS["small"])


@pytest.mark.proof("kill")
def test_what_was_acknowledged_survives_a_hundred_kills(database_url, key_file):
    kill_under_load(database_url, key_file, KILLS["large"])


@pytest.mark.parametrize(
    ("point", "is_stored"), [("before_commit", False), ("after_commit_before_ack", True)]
)
def test_between_commit_and_answer_nothing_is_promised(database_url, key_file, point, is_stored):
    raw = b"MSH|^~\\&|HIS|H1|||2026||ADT^A01|%d|P|2.5\rPID|1||1\r"
    with (
        listening(database_url, key_file, f"{point}:2") as (process, port),
        Peer(("127.0.0.1", port)) as peer,
    ):
        assert b"MSA|AA|1" in peer.ask(raw % 1)
        peer.frame(raw % 2)
        assert peer.is_closed()
        assert process.wait(10) == -signal.SIGKILL
    database = Database(database_url, make_keys(key_file))
    assert stored(database) == ({"1", "2"} if is_stored else {"1"})
    database.dispose()


def test_told_to_stop_it_answers_what_it_read_and_ends_well(database_url, key_file):
    with listening(database_url, key_file) as (process, port):
        clients = sending(port, "")
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    acknowledged = answered(clients)
    database = Database(database_url, make_keys(key_file))
    assert acknowledged
    assert acknowledged <= stored(database)
    database.dispose()
