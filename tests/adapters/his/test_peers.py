"""Clients written by others send to our listener: what they sent is applied, and they understand our answer."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hl7.client import MLLPClient  # type: ignore[import-untyped]
from hl7apy.parser import parse_message

from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.inbox.models import ApplicationState
from tests.support.adt import adt
from tests.support.changes import EVENING
from tests.support.hospital import Hospital
from tests.support.receivers import NODE_PEER, install_node_peer

NAME = "张珅𠮷"
MESSAGES = (
    adt("A01", c="a-1", name=NAME),
    adt("A08", c="a-2", name=NAME, phone="13800000009", m="10:05"),
    adt("A03", c="a-3", name=NAME, phone="13800000009", o="12:00"),
)


@pytest.fixture
def hospital(database: Database) -> Iterator[Hospital]:
    with Hospital(database, FixedClock(EVENING)) as hospital:
        yield hospital


def port_of(hospital: Hospital) -> int:
    port: int = hospital.connect().socket.getpeername()[1]
    return port


def assert_applied(hospital: Hospital, answers: Sequence[Sequence[str]]) -> None:
    hospital.settle()
    assert [tuple(answer) for answer in answers] == [("CA", "a-1"), ("CA", "a-2"), ("CA", "a-3")]
    assert [state for state, _ in hospital.outcomes()] == [ApplicationState.APPLIED] * 3
    assert hospital.patient(100).name == NAME
    assert hospital.phones(100)[0] == "+8613800000009"
    assert hospital.visit("V1").discharged_at is not None


def msa(ack: str) -> list[str]:
    return ack.split("\rMSA|")[1].split("\r", maxsplit=1)[0].split("|")[:2]


def test_python_hl7_s_client(hospital: Hospital):
    with MLLPClient("127.0.0.1", port_of(hospital)) as client:
        answers = [msa(client.send_message(raw.decode()).decode()) for raw in MESSAGES]

    assert_applied(hospital, answers)


def test_hl7apy_s_messages_and_framing(hospital: Hospital):
    """hl7apy has no client of its own: its documentation sends `to_mllp()` over a socket."""
    answers = []
    with socket.create_connection(("127.0.0.1", port_of(hospital)), timeout=10) as line:
        for raw in MESSAGES:
            line.sendall(parse_message(raw.decode(), find_groups=False).to_mllp().encode())
            ack = parse_message(line.recv(65_536).decode()[1:-2])
            answers.append((ack.msa.msa_1.to_er7(), ack.msa.msa_2.to_er7()))

    assert_applied(hospital, answers)


@pytest.mark.parametrize("client", ["node-hl7-client", "simple-hl7"])
def test_a_node_client(hospital: Hospital, tmp_path: Path, client: str):
    home = install_node_peer()
    folder = tmp_path / "messages"
    folder.mkdir()
    for number, raw in enumerate(MESSAGES):
        (folder / f"{number}.hl7").write_bytes(raw)

    done = subprocess.run(
        [shutil.which("node") or "node", str(NODE_PEER / "send.js"), client, str(port_of(hospital)), str(folder)],
        cwd=home, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert_applied(hospital, [json.loads(line) for line in done.stdout.splitlines()])
