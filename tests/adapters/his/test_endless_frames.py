"""A frame that never ends, on the limits as shipped: cut, refused, and neither memory nor neighbours notice (C3)."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from hcrm.core import limits
from hcrm.core.db import Database
from tests.support.forked import Forked
from tests.support.killed import write_keys
from tests.support.listener import Peer, adt, eventually, make_keys, refusals, stored

PIECE = 256 * 1024
FAR_BEYOND = 16 * limits.MAX_FRAME_BYTES
MEMORY = 32 * 1024 * 1024
"""What one such frame may cost while it is held: its bytes, collected and cut, and nothing that grows with it."""
TIMES = 5


@pytest.fixture(scope="module")
def program() -> Iterator[Forked]:
    with Forked("tests.support.listener") as program:
        yield program


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return write_keys(tmp_path)


@pytest.fixture
def listening(program: Forked, database_url: str, key_file: Path) -> Iterator[tuple[str, int]]:
    """A listener in a process of its own, whose memory can be measured: its address."""
    _, port = program.start(database_url, key_file)
    yield "127.0.0.1", port
    program.kill()


def send_endlessly(peer: Peer, head: bytes, neighbour: Peer, name: str, process: psutil.Process) -> int:
    """Until nobody reads any more; the most memory seen. The neighbour asks all the while."""
    most = sent = 0
    peer.socket.settimeout(0.5)
    with contextlib.suppress(OSError):
        peer.send(b"\x0b" + head)
        while sent < FAR_BEYOND:
            peer.send(b"x" * PIECE)
            sent += PIECE
            if sent % (4 * PIECE) == 0:
                control_id = f"{name}-{sent}"
                assert f"MSA|AA|{control_id}\r".encode() in neighbour.ask(adt(control_id))
            most = max(most, process.memory_info().rss)
    assert sent >= limits.MAX_FRAME_BYTES - PIECE
    return max(most, process.memory_info().rss)


def test_c3_an_endless_frame_is_cut_at_the_limit_and_memory_stays_flat(
    listening: tuple[str, int], program: Forked, database_url: str, key_file: Path
):
    process = psutil.Process(program.process)
    head = adt("endless", body="OBX|1|TX|||").rstrip(b"\r")
    seen = []
    with Peer(listening) as neighbour:
        for number in range(20):  # what a listener needs anyway
            neighbour.ask(adt(f"warm-{number}"))
        before = process.memory_info().rss
        for number in range(TIMES):
            with Peer(listening) as peer:
                seen.append(send_endlessly(peer, head, neighbour, str(number), process))
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    peer.socket.settimeout(10)
                    ack = peer.answer()
                    assert b"\rMSA|AE|endless\r" in ack
                    assert b"|207^" in ack
                    assert peer.is_closed()
            assert b"MSA|AA|after" in neighbour.ask(adt(f"after-{number}"))

    assert max(seen) - before < MEMORY
    assert seen[-1] - seen[0] < limits.MAX_FRAME_BYTES, "nothing is left behind by the ones before"
    database = Database(database_url, make_keys(key_file))
    eventually(lambda: refusals(database), ["oversize"] * TIMES)
    assert "endless" not in [control_id for control_id, _ in stored(database)]
    database.dispose()


def test_c3_endless_bytes_without_a_header_end_without_an_answer(
    listening: tuple[str, int], program: Forked, database_url: str, key_file: Path
):
    process = psutil.Process(program.process)
    with Peer(listening) as neighbour, Peer(listening) as peer:
        send_endlessly(peer, b"", neighbour, "n", process)
        peer.socket.settimeout(10)
        assert peer.is_closed()
        assert b"MSA|AA|after" in neighbour.ask(adt("after"))
    database = Database(database_url, make_keys(key_file))
    eventually(lambda: refusals(database), ["oversize"])
    database.dispose()
