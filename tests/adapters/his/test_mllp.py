"""The listener over real sockets: framing, answers, refusals, limits, failures."""

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from adapters.his.connection import MllpLimits
from hcrm.core.db import Database
from hcrm.core.sources import Source
from hcrm.inbox.models import InboxMessage, RefusedMessage
from tests.support.listener import PATIENCE, RunningListener, default_sources

Listen = Callable[..., RunningListener]


@pytest.fixture
def listen(database, clock) -> Iterator[Listen]:
    """Start a listener; keywords are limits."""
    running: list[RunningListener] = []

    def start(
        *sources: Source, pending: Callable[[], int] | None = None, **allowed: float
    ) -> RunningListener:
        listener = RunningListener(
            database,
            default_sources(*sources),
            clock,
            MllpLimits(**allowed),
            pending,  # type: ignore[arg-type]
        )
        running.append(listener.__enter__())
        return listener

    yield start
    for listener in running:
        listener.stop()


def message(
    control_id: str = "7",
    kind: str = "ADT^A01",
    version: str = "2.5.1",
    acks: str = "|",
    body: str = "PID|1||100",
) -> bytes:
    msh = f"MSH|^~\\&|HIS|H1|HCRM|H1|20261122||{kind}|{control_id}|P|{version}|||{acks}||UNICODE UTF-8"
    return f"{msh}\r{body}\r".encode()


def stored(database: Database) -> list[tuple[str, str]]:
    with database.main.connect() as connection:
        query = sa.select(InboxMessage.control_id, InboxMessage.flags).order_by(InboxMessage.seq)
        return [tuple(row) for row in connection.execute(query)]


def refusals(database: Database) -> list[str]:
    with database.main.connect() as connection:
        return list(connection.scalars(sa.select(RefusedMessage.reason).order_by(RefusedMessage.seq)))


def eventually(found: Callable[[], object], expected: object) -> None:
    """What happens behind a closed connection may take a moment."""
    deadline = time.monotonic() + PATIENCE
    while found() != expected and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found() == expected


# ── frames in, answers out ──────────────────────────────────────────────────


def test_a_message_is_answered_once_it_is_stored(listen, database):
    with listen().connect() as peer:
        ack = peer.ask(message())

        assert b"\rMSA|AA|7\r" in ack
        assert stored(database) == [("7", "")]


def test_three_frames_in_one_write_are_three_messages_answered_in_order(listen, database):
    with listen().connect() as peer:
        peer.send(b"".join(b"\x0b" + message(str(n)) + b"\x1c\r" for n in range(3)))

        assert [peer.answer().split(b"|")[-1] for _ in range(3)] == [b"0\r", b"1\r", b"2\r"]
        assert [control_id for control_id, _ in stored(database)] == ["0", "1", "2"]


def test_one_frame_in_single_bytes_is_one_message(listen, database):
    with listen().connect() as peer:
        for byte in b"\x0b" + message() + b"\x1c\r":
            peer.send(bytes([byte]))

        assert b"MSA|AA|7" in peer.answer()
        assert stored(database) == [("7", "")]


def test_refusals_and_messages_are_answered_in_the_order_of_their_frames(listen, database):
    with listen().connect() as peer:
        for one in (
            message("1"),
            message("2", version="9.9"),
            message("3", acks="NE|"),
            message("4", kind="ACK"),
            message("5"),
        ):
            peer.frame(one)

        codes = [peer.answer().split(b"\rMSA|")[1][:4] for _ in range(3)]
        assert codes == [b"AA|1", b"AR|2", b"AA|5"]
        assert stored(database) == [("1", ""), ("3", ""), ("4", "unexpected_ack"), ("5", "")]
        assert refusals(database) == ["version"]


def test_a_resend_on_a_new_connection_gets_the_same_bytes(listen, database, clock):
    listener = listen()
    with listener.connect() as peer:
        first = peer.ask(message())
    clock.move(minutes=5)
    with listener.connect() as peer:
        assert peer.ask(message()) == first
    assert stored(database) == [("7", "")]


def test_a_re_used_control_id_loses_nothing(listen, database):
    with listen().connect() as peer:
        peer.ask(message(body="PID|1||100"))
        assert b"MSA|AA|7" in peer.ask(message(body="PID|1||200"))
    assert stored(database) == [("7", ""), ("7", "control_id_reused")]


def test_line_ends_fillers_and_missing_carriage_returns_are_tolerated(listen, database):
    with listen().connect() as peer:
        peer.send(b"\r\n\x00")
        assert b"MSA|AA|1" in peer.ask(message("1").replace(b"\r", b"\n"))
        assert b"MSA|AA|2" in peer.ask(message("2").replace(b"\r", b"\r\n"))
        peer.send(b"\x0b" + message("3") + b"\x1c")  # and no more
        assert b"MSA|AA|3" in peer.answer()
        assert b"MSA|AA|4" in peer.ask(message("4"))
    assert refusals(database) == []


def test_a_batch_is_answered_message_by_message(listen, database):
    with listen().connect() as peer:
        peer.frame(b"FHS|^~\\&\rBHS|^~\\&\r" + message("1") + message("2") + b"BTS|9\rFTS|1\r")

        assert [peer.answer().split(b"|")[-1] for _ in range(2)] == [b"1\r", b"2\r"]
    assert stored(database) == [("1", "batch_count"), ("2", "batch_count")]


def test_junk_around_a_frame_is_logged_once_and_the_frame_is_stored(listen, database):
    with listen().connect() as peer:
        peer.send(b"j\x0bunk\x1cx")
        assert b"MSA|AA|1" in peer.ask(message("1"))
        peer.send(b"more")
        assert b"MSA|AA|2" in peer.ask(message("2"))
    assert refusals(database) == ["junk", "half_frame"]


def test_a_message_of_each_charset_on_one_connection_is_stored_as_its_bytes(listen, database, keys):
    raws = [
        f"MSH|^~\\&|HIS|H1|||2026||ADT^A08|{n}|P|2.4||||||{word}\rPID|1||||张珅\r".encode(codec)
        for n, (word, codec) in enumerate(
            [("UNICODE UTF-8", "utf-8"), ("GB 18030-2000", "gb18030"), ("", "gb18030")]
        )
    ]
    with listen().connect() as peer:
        assert [b"MSA|AA|" in peer.ask(raw) for raw in raws] == [True] * 3
    with database.main.connect() as connection:
        kept = connection.scalars(sa.select(InboxMessage.raw).order_by(InboxMessage.seq))
        assert [keys.open(raw) for raw in kept] == raws


@pytest.mark.parametrize("odd", ["'; DROP TABLE x; --", "😀", "a\x00b", "%s{}$1", "x" * 199, "\\F\\"])
def test_whatever_stands_in_the_header_is_stored_as_data(listen, database, odd):
    with listen().connect() as peer:
        ack = peer.ask(message(odd).replace(b"HIS", odd.encode()).replace(b"H1", odd.encode()))
        assert ack.endswith(b"MSA|AA|" + odd.encode() + b"\r")
    assert stored(database) == [(odd.replace("\x00", ""), "")]


# ── refusals ────────────────────────────────────────────────────────────────


def test_half_a_frame_is_logged_and_not_answered(listen, database):
    with listen().connect() as peer:
        peer.send(b"\x0b" + message()[:40])
    eventually(lambda: refusals(database), ["half_frame"])
    assert stored(database) == []


def test_a_sender_that_says_no_more_still_gets_its_answer(listen, database):
    with listen().connect() as peer:
        peer.frame(message("1"))
        peer.send(b"\x0b" + message("2") + b"\x1c")
        peer.socket.shutdown(1)

        assert b"MSA|AA|1" in peer.answer()
        assert b"MSA|AA|2" in peer.answer()
        assert peer.is_closed()


@pytest.mark.parametrize("content", [b"", b"PID|1||100\r", "MSH|^~\\&|A".encode("utf-16")])
def test_a_frame_without_a_readable_msh_ends_the_connection_after_what_came_before(listen, database, content):
    with listen().connect() as peer:
        peer.send(b"".join(b"\x0b" + one + b"\x1c\r" for one in (message("1"), content, message("2"))))

        assert b"MSA|AA|1" in peer.answer()
        assert peer.is_closed()
    assert stored(database) == [("1", "")]
    assert refusals(database) == ["no_msh"]


def test_a_frame_beyond_the_limit_gets_an_error_and_the_end(listen, database):
    with listen(frame_bytes=2000).connect() as peer:
        peer.send(b"\x0b" + message(body="OBX|1|TX|||" + "x" * 2_000_000))  # more than we ever read

        ack = peer.answer()
        assert b"MSA|AE|7" in ack
        assert b"|207^" in ack
        assert peer.is_closed()
    assert refusals(database) == ["oversize"]


def test_something_else_than_hl7_is_logged_once_and_skipped(listen, database, corpus: Path):
    with listen().connect() as peer:
        peer.send((corpus / "hl7" / "odd" / "not-hl7.txt").read_bytes())
        assert b"MSA|AA|7" in peer.ask(message())
    assert refusals(database) == ["junk"]


# ── limits ──────────────────────────────────────────────────────────────────


def test_a_frame_that_stops_in_the_middle_is_given_up(listen, database):
    with listen(gap_seconds=0.5).connect() as peer:
        peer.send(b"\x0b" + message()[:40])
        assert peer.is_closed()
    assert refusals(database) == ["timeout"]


def test_a_frame_that_trickles_is_given_up_as_a_whole(listen, database):
    with listen(frame_seconds=1.5).connect() as peer:
        peer.send(b"\x0b")
        peer.socket.settimeout(0.1)
        for byte in message(body="x" * 1000):
            peer.send(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                assert peer.socket.recv(1) == b""
                break
    assert refusals(database) == ["timeout"]


def test_a_silent_connection_is_closed(listen, database):
    listener = listen(idle_seconds=0.5)
    with listener.connect() as silent, listener.connect() as busy:
        deadline = time.monotonic() + 2.5
        while time.monotonic() < deadline:
            busy.ask(message())
            time.sleep(0.1)
        assert silent.is_closed()
        assert b"MSA" in busy.ask(message("8"))
    eventually(lambda: len(listener.server.connections), 0)


def test_a_peer_that_never_reads_is_left_and_others_go_on(listen, database):
    listener = listen(write_seconds=1)
    with listener.connect() as deaf, listener.connect() as other:
        deaf.socket.setsockopt(1, 8, 4096)  # SOL_SOCKET, SO_RCVBUF
        deaf.socket.settimeout(0.2)
        # What MSH-3 holds comes back in MSH-5 of the answer: soon every buffer on the way is full.
        frame = b"\x0b" + message().replace(b"HIS", b"H" * 4000) + b"\x1c\r"
        deadline = time.monotonic() + PATIENCE
        while listener.server.counts["closed_unread"] == 0 and time.monotonic() < deadline:
            try:
                deaf.send(frame * 20)
            except TimeoutError:
                assert b"MSA|AA|8" in other.ask(message("8"))
            except OSError:
                break
        eventually(lambda: listener.server.counts["closed_unread"], 1)


def test_connections_beyond_the_limit_are_refused_unread_and_logged_once(listen, database):
    listener = listen(connections_per_address=2)
    with listener.connect() as one, listener.connect() as two:
        assert b"MSA" in one.ask(message("1"))
        for _ in range(5):
            with listener.connect() as refused:
                assert refused.is_closed()
        assert b"MSA" in two.ask(message("2"))
    eventually(lambda: len(listener.server.connections), 0)
    with listener.connect() as again:
        assert b"MSA" in again.ask(message("3"))
    assert refusals(database) == ["too_many_connections"]


def test_many_large_frames_wait_for_memory_while_small_ones_pass(listen, database):
    listener = listen(held_bytes=400_000)
    large = message("1", body="OBX|1|TX|||" + "x" * 300_000)
    with listener.connect() as first, listener.connect() as second, listener.connect() as honest:
        for peer in (first, second):
            peer.send(b"\x0b" + large[:250_000])
        eventually(lambda: listener.server.held >= 400_000, True)
        assert b"MSA|AA|2" in honest.ask(message("2"))

        first.send(large[250_000:] + b"\x1c\r")
        assert b"MSA|AA|1" in first.answer()
        second.send(large[250_000:] + b"\x1c\r")
        assert b"MSA|AA|1" in second.answer()
    eventually(lambda: listener.server.held, 0)


def test_while_too_much_waits_for_the_worker_nothing_is_read_and_nothing_is_lost(listen, database):
    waiting = [10**6]
    listener = listen(pending=lambda: waiting[0])
    eventually(lambda: listener.committer.is_full, True)
    with listener.connect() as peer:
        peer.frame(message())
        assert peer.is_silent(1.5)
        waiting[0] = 0
        assert b"MSA|AA|7" in peer.answer()


# ── failures ────────────────────────────────────────────────────────────────


def test_without_a_database_there_is_no_answer_and_afterwards_all_goes_on(database_url, keys, clock):
    database = Database(database_url, keys, busy_seconds=0.3)
    blocking = Database(database_url, keys)
    with RunningListener(database, default_sources(), clock) as listener:
        with blocking.inbox.begin() as connection:
            if not database.is_sqlite:
                connection.exec_driver_sql("LOCK TABLE inbox.inbox_message IN ACCESS EXCLUSIVE MODE")
            with listener.connect() as peer:
                peer.frame(message())
                if not database.is_sqlite:
                    assert peer.is_silent()
                    connection.exec_driver_sql(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
                    )
                assert peer.is_closed()
        with listener.connect() as peer:
            assert b"MSA|AA|7" in peer.ask(message())
    assert stored(database) == [("7", "")]
    database.dispose()
    blocking.dispose()


def test_stopping_finishes_what_was_read_and_answers_it(listen, database):
    listener = listen()
    peers = [listener.connect() for _ in range(4)]
    for n, peer in enumerate(peers):
        peer.frame(message(str(n)))
    eventually(lambda: listener.server.counts["messages"] > 0, True)
    started = time.monotonic()
    listener.stop()

    assert time.monotonic() - started < 15
    answered = []
    for peer in peers:
        try:
            answered.append(peer.answer().split(b"|")[-1].strip().decode())
        except EOFError:
            continue
        finally:
            peer.close()
    assert set(answered) <= {control_id for control_id, _ in stored(database)}
    assert answered


def test_a_listener_needs_no_more_than_a_connection_for_a_thousand_messages(listen, database):
    listener = listen()
    with listener.connect() as peer:
        for n in range(0, 1000, 50):
            peer.send(b"".join(b"\x0b" + message(str(k)) + b"\x1c\r" for k in range(n, n + 50)))
        assert [peer.answer().split(b"|")[-1].strip() for _ in range(1000)] == [
            str(n).encode() for n in range(1000)
        ]
    assert len(stored(database)) == 1000
    eventually(lambda: listener.server.held, 0)


# ── the corpus ──────────────────────────────────────────────────────────────


def test_every_message_of_the_corpus_is_stored_and_answered_as_its_header_asks(
    listen, database, corpus: Path
):
    """Beyond the header nothing can be wrong at the door; what it means is decided later."""
    expected: dict[str, str] = {"lfh-0140.hl7": "AE", "not-hl7.txt": ""}
    listener = listen()
    for path in sorted((corpus / "hl7").rglob("*.hl7")):
        raw = path.read_bytes()
        with listener.connect() as peer:
            peer.send(raw if raw.startswith(b"\x0b") else b"\x0b" + raw + b"\x1c\r")
            peer.send(b"\x0b" + message("end") + b"\x1c\r")
            codes = []
            while not (ack := peer.answer()).endswith(b"|end\r"):
                codes.append(ack.split(b"\rMSA|")[1][:2].decode())
        if path.name in expected:
            assert codes == [expected[path.name]], path.name
        else:
            assert set(codes) <= {"AA", "CA"}, path.name
    assert refusals(database) == ["header"]
    assert len(stored(database)) > 100


def test_received_at_is_our_clock_s_moment(listen, database, clock):
    with listen().connect() as peer:
        peer.ask(message())
    with database.main.connect() as connection:
        assert connection.scalar(sa.select(InboxMessage.received_at)) == datetime(2026, 11, 22, 2, tzinfo=UTC)
