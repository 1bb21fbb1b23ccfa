"""The load client of `bench/` counts right: a wrong count would make every ratio of the bench wrong."""

import socketserver
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.client import LoadClient, Sent, write_frames

START, END = b"\x0b", b"\x1c\r"
MESSAGES = 60


class Echo(socketserver.ThreadingTCPServer):
    """Answers every frame as `answer` says: bytes to send back, or None to hang up."""

    allow_reuse_address = daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.answer = answer
        self.received: Counter[bytes] = Counter()
        self.conversations = 0


class Conversation(socketserver.BaseRequestHandler):
    """One connection; the answer goes out in two pieces, since TCP promises no boundaries."""

    server: Echo

    def handle(self) -> None:
        self.server.conversations += 1
        waiting = b""
        while data := self.request.recv(65536):
            waiting += data
            while END in waiting:
                frame, waiting = waiting.split(END, 1)
                control_id = frame.split(b"|")[9]
                self.server.received[control_id] += 1
                answer = self.server.answer(control_id)
                if answer is None:
                    return
                self.request.sendall(answer[:7])
                self.request.sendall(answer[7:])


def acknowledge(control_id: bytes, code: bytes = b"AA") -> bytes:
    """An ACK as any server sends it."""
    return START + b"MSH|^~\\&|A|B|C|D|||ACK|1|P|2.5\rMSA|" + code + b"|" + control_id + b"\r" + END


@pytest.fixture(params=["compiled", "interpreted"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> LoadClient:
    """Both clients: they must count alike."""
    found = LoadClient.compiled(tmp_path) if request.param == "compiled" else LoadClient.interpreted()
    return found or pytest.skip("no C compiler here")


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Sixty messages, C0 to C59."""
    head = "MSH|^~\\&|BENCH|HIS|HCRM|HCRM|20260801||ADT^A03|C{}|P|2.5\rPID|1||M{}\r"
    path = tmp_path / "frames"
    assert (
        write_frames(path, (head.format(number, number).encode() for number in range(MESSAGES))) == MESSAGES
    )
    return path


@pytest.fixture
def load(client: LoadClient, frames: Path) -> Iterator[Callable[..., tuple[Sent, Echo]]]:
    """Send all messages to a server that answers as told."""
    servers: list[Echo] = []

    def run(answer: Callable[[bytes], bytes | None], **more: object) -> tuple[Sent, Echo]:
        server = Echo(answer)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        arguments: dict = {"connections": 4, "count": MESSAGES, "seconds": 10} | more
        return client.send(port=server.server_address[1], frames=frames, **arguments), server

    yield run
    for server in servers:
        server.shutdown()
        server.server_close()


def test_every_message_is_sent_once_and_every_positive_ack_counts(load):
    sent, server = load(lambda control_id: acknowledge(control_id, b"CA" if control_id == b"C7" else b"AA"))

    assert (sent.acked, sent.errors) == (MESSAGES, 0)
    assert server.received == {f"C{number}".encode(): 1 for number in range(MESSAGES)}
    assert server.conversations == 4
    assert 0 < sent.p50_ms <= sent.p99_ms <= sent.max_ms <= sent.seconds * 1000 + 1
    assert sent.per_second == pytest.approx(MESSAGES / sent.seconds, rel=0.01)


def test_a_negative_ack_or_one_of_another_message_is_an_error(load):
    answers = {b"C3": acknowledge(b"C3", b"AE"), b"C4": acknowledge(b"C5"), b"C6": START + b"nonsense" + END}

    sent, _ = load(lambda control_id: answers.get(control_id, acknowledge(control_id)))

    assert sent.acked == MESSAGES - 3
    assert (sent.line["refused"], sent.line["mismatched"], sent.line["malformed"]) == (1, 1, 1)
    assert sent.errors == 3


def test_a_connection_closed_without_an_ack_is_an_error_and_the_rest_is_sent(load):
    sent, server = load(
        lambda control_id: None if control_id in (b"C10", b"C20") else acknowledge(control_id)
    )

    assert (sent.acked, sent.errors, sent.line["closed"]) == (MESSAGES - 2, 2, 2)
    assert server.conversations == 6


def test_a_new_connection_per_message_where_the_peer_needs_it(load):
    sent, server = load(acknowledge, new_connection=True)

    assert (sent.acked, sent.errors) == (MESSAGES, 0)
    assert server.conversations == MESSAGES


def test_first_and_count_choose_the_messages(load):
    _, server = load(acknowledge, first=50, count=5)

    assert sorted(server.received) == [b"C50", b"C51", b"C52", b"C53", b"C54"]


@pytest.mark.parametrize("arguments", [["--host", "192.0.2.1"], ["--host", "0.0.0.0"], ["--seconds", "601"]])
def test_it_refuses_other_addresses_and_unbounded_runs(client, frames, arguments):
    done = subprocess.run(
        [*client.command, "--port", "9", "--frames", str(frames), *arguments],
        capture_output=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stdout == b""
