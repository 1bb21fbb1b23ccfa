"""The listener under pressure: slow, deaf and greedy peers, a full inbox, a database that is away, the end."""

import contextlib
import threading
import time
from dataclasses import replace

from adapters.his.connection import Connection
from hcrm.core.db import LISTENER, Database
from hcrm.inbox import intake
from hcrm.inbox.intake import StoreUnavailable
from tests.support.listener import (
    PATIENCE,
    RunningListener,
    adt,
    default_sources,
    eventually,
    refusals,
    stored,
)

# ── limits ──────────────────────────────────────────────────────────────────


def test_a_frame_that_stops_in_the_middle_is_given_up(listen, database):
    with listen(gap_seconds=0.5).connect() as peer:
        peer.send(b"\x0b" + adt()[:40])
        assert peer.is_closed()
    assert refusals(database) == ["timeout"]


def test_a_frame_that_trickles_is_given_up_as_a_whole(listen, database):
    with listen(frame_seconds=1.5).connect() as peer:
        peer.send(b"\x0b")
        peer.socket.settimeout(0.1)
        for byte in adt(body="x" * 1000):
            peer.send(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                assert peer.socket.recv(1) == b""
                break
    assert refusals(database) == ["timeout"]


def test_a_silent_connection_is_closed(listen, database):
    listener = listen(idle_seconds=2)
    with listener.connect() as silent, listener.connect() as busy:
        deadline = time.monotonic() + 4.5
        while time.monotonic() < deadline:
            busy.ask(adt())
            time.sleep(0.1)
        assert silent.is_closed()
        assert b"MSA" in busy.ask(adt("8"))
    eventually(lambda: len(listener.server.connections), 0)


def test_a_peer_that_never_reads_is_left_and_others_go_on(listen, database):
    listener = listen(write_seconds=1)
    with listener.connect() as deaf, listener.connect() as other:
        deaf.socket.setsockopt(1, 8, 4096)  # SOL_SOCKET, SO_RCVBUF
        deaf.socket.settimeout(0.2)
        # What MSH-3 holds comes back in MSH-5 of the answer: soon every buffer on the way is full.
        frame = b"\x0b" + adt().replace(b"HIS", b"H" * 4000) + b"\x1c\r"
        deadline = time.monotonic() + PATIENCE
        while listener.server.counts["closed_unread"] == 0 and time.monotonic() < deadline:
            try:
                deaf.send(frame * 20)
            except TimeoutError:
                assert b"MSA|AA|8" in other.ask(adt("8"))
            except OSError:
                break
        eventually(lambda: listener.server.counts["closed_unread"], 1)


def test_connections_beyond_the_limit_are_refused_unread_and_logged_once(listen, database):
    listener = listen(connections_per_address=2)
    with listener.connect() as one, listener.connect() as two:
        assert b"MSA" in one.ask(adt("1"))
        for _ in range(5):
            with listener.connect() as refused:
                assert refused.is_closed()
        assert b"MSA" in two.ask(adt("2"))
    eventually(lambda: len(listener.server.connections), 0)
    with listener.connect() as again:
        assert b"MSA" in again.ask(adt("3"))
    assert refusals(database) == ["too_many_connections"]


def test_many_large_frames_wait_for_memory_while_small_ones_pass(listen, database):
    listener = listen(held_bytes=400_000)
    large = adt("1", body="OBX|1|TX|||" + "x" * 300_000)
    with listener.connect() as first, listener.connect() as second, listener.connect() as honest:
        for peer in (first, second):
            peer.send(b"\x0b" + large[:250_000])
        eventually(lambda: listener.server.held >= 400_000, True)
        assert b"MSA|AA|2" in honest.ask(adt("2"))

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
        peer.frame(adt())
        assert peer.is_silent(1.5)
        waiting[0] = 0
        assert b"MSA|AA|7" in peer.answer()


def test_time_limits_are_kept_while_nobody_knows_how_much_waits(listen):
    may_answer = threading.Event()

    def pending() -> int:
        may_answer.wait(30)
        return 0

    with listen(pending=pending, gap_seconds=0.5).connect() as peer:
        peer.send(b"\x0b" + adt()[:40])
        assert peer.is_closed()
    may_answer.set()


def test_a_second_in_which_something_goes_wrong_is_not_the_last_that_is_watched(
    listen, database, monkeypatch
):
    kept, failed = Connection.check, []

    def check(connection: Connection, now: float) -> None:
        if not failed:
            failed.append(now)
            raise OSError("Bad file descriptor")
        kept(connection, now)

    monkeypatch.setattr(Connection, "check", check)
    with listen(gap_seconds=0.5).connect() as peer:
        peer.send(b"\x0b" + adt()[:40])
        assert peer.is_closed()
    assert failed
    assert refusals(database) == ["timeout"]


# ── failures ────────────────────────────────────────────────────────────────


def test_without_a_database_there_is_no_answer_and_afterwards_all_goes_on(database_url, keys, clock):
    database = Database(database_url, keys, use=replace(LISTENER, busy_seconds=0.3))
    blocking = Database(database_url, keys)
    with RunningListener(database, default_sources(), clock) as listener:
        with blocking.inbox.begin() as connection:
            if not database.is_sqlite:
                connection.exec_driver_sql("LOCK TABLE inbox.inbox_message IN ACCESS EXCLUSIVE MODE")
            with listener.connect() as peer:
                peer.frame(adt())
                if not database.is_sqlite:
                    assert peer.is_silent()
                    connection.exec_driver_sql(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
                    )
                assert peer.is_closed()
        with listener.connect() as peer:
            assert b"MSA|AA|7" in peer.ask(adt())
    assert stored(database) == [("7", "")]
    database.dispose()
    blocking.dispose()


def test_stopping_finishes_what_was_read_and_answers_it(listen, database):
    listener = listen()
    peers = [listener.connect() for _ in range(4)]
    for n, peer in enumerate(peers):
        peer.frame(adt(str(n)))
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
            peer.send(b"".join(b"\x0b" + adt(str(k)) + b"\x1c\r" for k in range(n, n + 50)))
        assert [peer.answer().split(b"|")[-1].strip() for _ in range(1000)] == [
            str(n).encode() for n in range(1000)
        ]
    assert len(stored(database)) == 1000
    eventually(lambda: listener.server.held, 0)


def test_bytes_of_connections_that_ended_badly_are_not_held_for_ever(listen, database, monkeypatch):
    listener = listen()
    for _ in range(3):  # a fatal frame with the beginning of another behind it
        with listener.connect() as peer:
            peer.send(b"\x0bXXX\x1c\r\x0bMSH" + b"A" * 60_000)
            assert peer.is_closed()

    def away(*_: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(intake, "store_now", away)
    for n in range(3):  # a commit that fails, likewise
        with listener.connect() as peer:
            peer.send(b"\x0b" + adt(str(n)) + b"\x1c\r\x0b" + adt()[:-1] + b"A" * 300_000)
            assert peer.is_closed()

    eventually(lambda: listener.server.held, 0)


def test_an_end_block_without_its_return_counts_though_reading_was_paused_meanwhile(listen, database):
    listener = listen()
    with listener.connect() as peer:
        peer.send(b"\x0b" + adt("7") + b"\x1c")
        eventually(lambda: len(listener.server.connections), 1)
        (connection,) = listener.server.connections
        eventually(lambda: connection.held > 0, True)
        listener.call(connection.hold, "test")
        listener.call(connection.release, "test")
        assert b"MSA|AA|7" in peer.answer()


def test_a_large_frame_that_falls_silent_gives_its_turn_to_another(listen, database):
    listener = listen(held_bytes=100_000, gap_seconds=60)
    with listener.connect() as silent, listener.connect() as other:
        silent.send(b"\x0b" + adt("1", body="x" * 120_000))
        eventually(lambda: listener.server.held > 100_000, True)
        other.frame(adt("2", body="x" * 150_000))
        assert b"MSA|AA|2" in other.answer()
    assert stored(database) == [("2", "")]
