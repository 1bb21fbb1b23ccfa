"""Batches (HL7 v2 chapter 2.10.3): split, each message answered by itself, nothing of a cut one lost."""

from pathlib import Path

import pytest

from adapters.his.reception import receive
from hcrm.inbox.records import Incoming, Refused
from tests.support.reception import AT, SOURCES, message, verdict


def kinds(raw: bytes) -> list[str]:
    return [
        f"{item.control_id} {' '.join(item.flags)}".strip() if isinstance(item, Incoming) else item.reason
        for item in receive(raw, sources=SOURCES, peer="", at=AT)
    ]


def batch(*parts: bytes, head: bytes = b"BHS|^~\\&|HIS\r", tail: bytes = b"BTS|2\r") -> bytes:
    return head + b"".join(parts) + tail


ONE, TWO = message(control_id="1"), message(control_id="2")


def test_a_batch_is_split_and_each_message_answered_in_order():
    items = receive(batch(ONE, TWO), sources=SOURCES, peer="", at=AT)

    assert [(item.raw, verdict(item)) for item in items if isinstance(item, Incoming)] == [
        (ONE, "AA"),
        (TWO, "AA"),
    ]
    assert b"MSA|AA|2\r" in items[1].ack


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(batch(ONE, TWO, tail=b"BTS|3\r"), ["1 batch_count", "2 batch_count"]),
     (batch(ONE, TWO, tail=b"BTS\rFTS|1\r"), ["1", "2"]),
     (batch(batch(ONE, TWO), head=b"FHS|^~\\&\r", tail=b"FTS|2\r"), ["1 batch_count", "2 batch_count"]),
     (batch(b"", tail=b"FTS|1\r").join([ONE, TWO]), ["1", "2"]),
     (batch(batch(ONE, tail=b"BTS|1\r"), batch(TWO, tail=b""), head=b"FHS|^~\\&\r", tail=b"FTS|2\r"), ["1", "2"]),
     (batch(ONE, b"BHS|^~\\&\r", b"PID|2\r", TWO, tail=b""), ["1 batch_cut", "2"]),
     (batch(b"PID|1||orphan\r", TWO, tail=b""), ["no_msh", "2"]),
     (ONE + TWO, ["1", "2"]), (batch(ONE, TWO).replace(b"\r", b"\n"), ["1", "2"]),
     (b"BHS|^~\\&\rBTS|0\r", ["no_msh"])],
)  # fmt: skip
def test_headers_and_trailers_may_be_missing_wrong_or_misplaced(raw, expected):
    assert kinds(raw) == expected


def test_a_message_cut_by_a_stray_header_keeps_all_its_bytes():
    (item,) = receive(batch(ONE, b"BHS|^~\\&\rPID|2\r", tail=b"BTS|1\r"), sources=SOURCES, peer="", at=AT)

    assert isinstance(item, Incoming)
    assert item.raw == ONE + b"BHS|^~\\&\rPID|2\r"


def test_a_bad_header_in_a_batch_refuses_only_that_message():
    items = receive(batch(ONE, message(control_id="3", version="9.9"), TWO), sources=SOURCES, peer="", at=AT)

    assert [verdict(item) for item in items] == ["AA", "AR", "AA"]


def test_a_batch_of_too_many_messages_is_refused_as_a_whole():
    (item,) = receive(ONE * 2001, sources=SOURCES, peer="", at=AT)

    assert isinstance(item, Refused)
    assert (item.reason, verdict(item), item.is_fatal) == ("oversize", "AE", True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("bhs-0003", 1), ("bhs-0004", 2), ("bhs-0007", 1), ("fhs-0010", 1), ("fhs-0011", 3), ("fhs-0012", 2),
     ("fhs-0013", 1), ("bhs-0014", 1), ("fhs-0015", 1), ("fhs-0016", 1), ("bhs-0009", -1), ("fhs-0017", -1),
     ("fhs-0018", -1)],
)  # fmt: skip
def test_batches_of_the_corpus_are_split(corpus: Path, name, expected):
    items = receive(
        (corpus / "hl7" / "odd" / f"batch-{name}.hl7").read_bytes(), sources=SOURCES, peer="", at=AT
    )

    assert all(isinstance(item, Incoming) for item in items)
    cut = ["batch_cut" in item.flags for item in items if isinstance(item, Incoming)]
    assert cut == ([False] * expected if expected > 0 else [True])
