"""The listener over real sockets: frames in, answers out, refusals, the corpus."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from hcrm.inbox.models import InboxMessage
from tests.support.listener import adt, eventually, refusals, stored

# ── frames in, answers out ──────────────────────────────────────────────────


def test_a_message_is_answered_once_it_is_stored(listen, database):
    with listen().connect() as peer:
        ack = peer.ask(adt())

        assert b"\rMSA|AA|7\r" in ack
        assert stored(database) == [("7", "")]


def test_three_frames_in_one_write_are_three_messages_answered_in_order(listen, database):
    with listen().connect() as peer:
        peer.send(b"".join(b"\x0b" + adt(str(n)) + b"\x1c\r" for n in range(3)))

        assert [peer.answer().split(b"|")[-1] for _ in range(3)] == [b"0\r", b"1\r", b"2\r"]
        assert [control_id for control_id, _ in stored(database)] == ["0", "1", "2"]


def test_one_frame_in_single_bytes_is_one_message(listen, database):
    with listen().connect() as peer:
        for byte in b"\x0b" + adt() + b"\x1c\r":
            peer.send(bytes([byte]))

        assert b"MSA|AA|7" in peer.answer()
        assert stored(database) == [("7", "")]


def test_refusals_and_messages_are_answered_in_the_order_of_their_frames(listen, database):
    with listen().connect() as peer:
        for one in (
            adt("1"),
            adt("2", version="9.9"),
            adt("3", acks="NE|"),
            adt("4", kind="ACK"),
            adt("5"),
        ):
            peer.frame(one)

        codes = [peer.answer().split(b"\rMSA|")[1][:4] for _ in range(3)]
        assert codes == [b"AA|1", b"AR|2", b"AA|5"]
        assert stored(database) == [("1", ""), ("3", ""), ("4", "unexpected_ack"), ("5", "")]
        assert refusals(database) == ["version"]


def test_a_resend_on_a_new_connection_gets_the_same_bytes(listen, database, clock):
    listener = listen()
    with listener.connect() as peer:
        first = peer.ask(adt())
    clock.move(minutes=5)
    with listener.connect() as peer:
        assert peer.ask(adt()) == first
    assert stored(database) == [("7", "")]


def test_a_re_used_control_id_loses_nothing(listen, database):
    with listen().connect() as peer:
        peer.ask(adt(body="PID|1||100"))
        assert b"MSA|AA|7" in peer.ask(adt(body="PID|1||200"))
    assert stored(database) == [("7", ""), ("7", "control_id_reused")]


def test_line_ends_fillers_and_missing_carriage_returns_are_tolerated(listen, database):
    with listen().connect() as peer:
        peer.send(b"\r\n\x00")
        assert b"MSA|AA|1" in peer.ask(adt("1").replace(b"\r", b"\n"))
        assert b"MSA|AA|2" in peer.ask(adt("2").replace(b"\r", b"\r\n"))
        peer.send(b"\x0b" + adt("3") + b"\x1c")  # and no more
        assert b"MSA|AA|3" in peer.answer()
        assert b"MSA|AA|4" in peer.ask(adt("4"))
    assert refusals(database) == []


def test_a_batch_is_answered_message_by_message(listen, database):
    with listen().connect() as peer:
        peer.frame(b"FHS|^~\\&\rBHS|^~\\&\r" + adt("1") + adt("2") + b"BTS|9\rFTS|1\r")

        assert [peer.answer().split(b"|")[-1] for _ in range(2)] == [b"1\r", b"2\r"]
    assert stored(database) == [("1", "batch_count"), ("2", "batch_count")]


def test_junk_around_a_frame_is_logged_once_and_the_frame_is_stored(listen, database):
    with listen().connect() as peer:
        peer.send(b"j\x0bunk\x1cx")
        assert b"MSA|AA|1" in peer.ask(adt("1"))
        peer.send(b"more")
        assert b"MSA|AA|2" in peer.ask(adt("2"))
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
        ack = peer.ask(adt(odd).replace(b"HIS", odd.encode()).replace(b"H1", odd.encode()))
        assert ack.endswith(b"MSA|AA|" + odd.encode() + b"\r")
    assert stored(database) == [(odd.replace("\x00", ""), "")]


# ── refusals ────────────────────────────────────────────────────────────────


def test_half_a_frame_is_logged_and_not_answered(listen, database):
    with listen().connect() as peer:
        peer.send(b"\x0b" + adt()[:40])
    eventually(lambda: refusals(database), ["half_frame"])
    assert stored(database) == []


def test_a_sender_that_says_no_more_still_gets_its_answer(listen, database):
    with listen().connect() as peer:
        peer.frame(adt("1"))
        peer.send(b"\x0b" + adt("2") + b"\x1c")
        peer.socket.shutdown(1)

        assert b"MSA|AA|1" in peer.answer()
        assert b"MSA|AA|2" in peer.answer()
        assert peer.is_closed()


@pytest.mark.parametrize("content", [b"", b"PID|1||100\r", "MSH|^~\\&|A".encode("utf-16")])
def test_a_frame_without_a_readable_msh_ends_the_connection_after_what_came_before(listen, database, content):
    with listen().connect() as peer:
        peer.send(b"".join(b"\x0b" + one + b"\x1c\r" for one in (adt("1"), content, adt("2"))))

        assert b"MSA|AA|1" in peer.answer()
        assert peer.is_closed()
    assert stored(database) == [("1", "")]
    assert refusals(database) == ["no_msh"]


def test_a_frame_beyond_the_limit_gets_an_error_and_the_end(listen, database):
    with listen(frame_bytes=2000).connect() as peer:
        peer.send(b"\x0b" + adt(body="OBX|1|TX|||" + "x" * 2_000_000))  # more than we ever read

        ack = peer.answer()
        assert b"MSA|AE|7" in ack
        assert b"|207^" in ack
        assert peer.is_closed()
    assert refusals(database) == ["oversize"]


def test_something_else_than_hl7_is_logged_once_and_skipped(listen, database, corpus: Path):
    with listen().connect() as peer:
        peer.send((corpus / "hl7" / "odd" / "not-hl7.txt").read_bytes())
        assert b"MSA|AA|7" in peer.ask(adt())
    assert refusals(database) == ["junk"]


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
            peer.send(b"\x0b" + adt("end") + b"\x1c\r")
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
        peer.ask(adt())
    with database.main.connect() as connection:
        assert connection.scalar(sa.select(InboxMessage.received_at)) == datetime(2026, 11, 22, 2, tzinfo=UTC)
