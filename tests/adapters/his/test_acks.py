"""Acknowledgements on the wire: which, how many, in which order (A2), whose (A3), and the same again (A4, C8)."""

import random
import socket
import struct
from collections.abc import Iterable, Sequence

import pytest
import sqlalchemy as sa

from hcrm.archive.models import Patient
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.sources import Source
from hcrm.inbox.models import InboxMessage
from tests.support.adt import adt as patient_message
from tests.support.changes import EVENING
from tests.support.hospital import Hospital
from tests.support.listener import Listen, Peer, adt, refusals, stored

CONDITIONS = ("", "AL", "NE", "ER", "SU")
CODES = {
    # MSH-15 empty: the one answer is the application's, and MSH-16 says when it is wanted
    ("", ""): ("AA", "AE", "AR"), ("", "AL"): ("AA", "AE", "AR"), ("", "NE"): ("", "", ""),
    ("", "ER"): ("", "AE", "AR"), ("", "SU"): ("AA", "", ""),
    # else the accept acknowledgement, by MSH-15 alone
    **{("AL", other): ("CA", "CE", "CR") for other in CONDITIONS},
    **{("NE", other): ("", "", "") for other in CONDITIONS},
    **{("ER", other): ("", "CE", "CR") for other in CONDITIONS},
    **{("SU", other): ("CA", "", "") for other in CONDITIONS},
}  # fmt: skip
"""HL7 v2 chapter 2.9.3 and table 0155, written out: stored, header in error (101), header rejected (203)."""
RECORDS = 10_000


def answers_until(peer: Peer, last: str) -> list[tuple[str, str]]:
    """Code and control id of every ACK up to the one of `last`."""
    found: list[tuple[str, str]] = []
    while not found or found[-1][1] != last:
        code, control_id = msa(peer.answer())
        found.append((code.decode(), control_id.decode()))
    return found


def msa(ack: bytes) -> tuple[bytes, bytes]:
    """MSA-1 and MSA-2."""
    code, control_id = ack.split(b"\rMSA|")[1].split(b"\r")[0].split(b"|")[:2]
    return code, control_id


def test_all_25_pairs_of_msh_15_and_16_get_their_answers_in_order(listen: Listen):
    """Stored, error, reject, an ACK as a message, stored again: all in one write."""
    found, wanted = {}, {}
    with listen().connect() as peer:
        for (accept, application), (good, error, reject) in CODES.items():
            name, acks = f"{accept}-{application}", f"{accept}|{application}"
            raws = (
                adt(f"{name}-1", acks=acks), adt(f"{name}-2", kind="", acks=acks),
                adt(f"{name}-3", version="9.9", acks=acks), adt(f"{name}-4", kind="ACK", acks=acks),
                adt(f"{name}-5", acks=acks), adt(f"{name}-end"),
            )  # fmt: skip
            peer.send(b"".join(b"\x0b" + raw + b"\x1c\r" for raw in raws))
            found[accept, application] = answers_until(peer, f"{name}-end")
            answers = ((good, 1), (error, 2), (reject, 3), (good, 5), ("AA", "end"))
            wanted[accept, application] = [(code, f"{name}-{n}") for code, n in answers if code]

    assert len(found) == 25
    assert found == wanted


# ── MSA-2 ───────────────────────────────────────────────────────────────────


def random_control_ids(number: int) -> list[bytes]:
    """Of every length up to 199, of letters, signs, escapes, spaces, Chinese in two charsets, controls."""
    chance = random.Random(20261122)
    alphabet = [
        *"abcXYZ0189 '\";:-_/()[]{}<>%$#@!^~&",
        "\\F\\",
        "\\T\\",
        "\\X0D\\",
        "张",
        "珅",
        "𠮷",
        "é",
        "\t",
        "\x07",
    ]
    made = {b"x" * 199: None, b"\\F\\": None, b"0": None}
    while len(made) < number:
        pieces = chance.choices(alphabet, k=chance.choice([1, 2, 3, 8, 20, 40]))
        text = "".join(pieces)[: chance.randint(1, 199)]
        if text.strip():
            made[f"{text}{len(made)}"[-199:].encode()] = None
    return list(made)


def in_pieces(items: Sequence[bytes], size: int) -> Iterable[Sequence[bytes]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def test_msa_2_is_msh_10_byte_for_byte_for_ten_thousand_control_ids(listen: Listen):
    shell = adt("@@")
    with listen().connect() as peer:
        for some in in_pieces(random_control_ids(RECORDS), 250):
            peer.send(b"".join(b"\x0b" + shell.replace(b"@@", one) + b"\x1c\r" for one in some))
            assert [msa(peer.answer()) for _ in some] == [(b"AA", one) for one in some]


@pytest.mark.parametrize("control_id", ["", " ", "x" * 200, "x" * 10_000, "张" * 200])
def test_c16_no_control_id_or_a_longer_one_than_hl7_allows_is_an_error(listen: Listen, database, control_id):
    with listen().connect() as peer:
        ack = peer.ask(adt(control_id))
        assert ack.split(b"\rMSA|")[1].startswith(b"AE|" + control_id.encode() + b"\r")
        assert b"\rERR||MSH^1^10|101^" in ack
        assert b"MSA|AA|7" in peer.ask(adt("7")), "the connection goes on"
    assert refusals(database) == ["header"]
    assert stored(database) == [("7", "")]


@pytest.mark.parametrize(
    ("changes", "code", "error", "reason"),
    [
        ({"processing_id": "T"}, "AR", "MSH^1^11|202^", ["processing_id"]),
        ({"version": "2.9"}, "AA", "", []),
        ({"version": "9.9"}, "AR", "MSH^1^12|203^", ["version"]),
    ],
    ids=["training", "2.9", "9.9"],
)
def test_c12_a_training_message_and_an_unknown_version_are_refused_on_a_production_line(
    listen: Listen, database, changes, code, error, reason
):
    production = Source(code="his", title="HIS", sender="HIS", processing_ids=("P",))
    raw = adt("1", version=changes.get("version", "2.5.1"))
    raw = raw.replace(b"|1|P|", f"|1|{changes.get('processing_id', 'P')}|".encode(), 1)
    with listen(production).connect() as peer:
        ack = peer.ask(raw)
        assert b"MSA|AA|2" in peer.ask(adt("2")), "the connection goes on"

    assert f"\rMSA|{code}|1\r".encode() in ack
    assert error.encode() in ack
    assert refusals(database) == reason
    assert [control_id for control_id, _ in stored(database)] == (["2"] if reason else ["1", "2"])


# ── the same again ──────────────────────────────────────────────────────────


def reset(peer: Peer) -> None:
    """End with a TCP reset, as a peer that crashed does."""
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def test_c8_a_peer_that_resets_before_its_ack_and_sends_again_has_one_effect_and_one_ack(database: Database):
    with Hospital(database, FixedClock(EVENING)) as hospital:
        raw = patient_message("A01", c=1)
        for _ in range(5):
            peer = Peer(hospital.connect().socket.getpeername()[:2])
            peer.frame(raw)
            reset(peer)
        hospital.hang_up()
        first = hospital.send(raw)
        hospital.settle()

        assert hospital.send(raw) == first
        assert b"|1\r" in first
        assert len(hospital.messages()) == 1
        assert len(hospital.log("V1")) == 1


def test_a_message_twice_in_one_write_has_two_equal_acks_and_one_row(listen: Listen, database):
    with listen().connect() as peer:
        peer.send((b"\x0b" + adt("1") + b"\x1c\r") * 50)
        assert len({peer.answer() for _ in range(50)}) == 1
    assert stored(database) == [("1", "")]


def test_refusals_sent_again_get_the_same_words(listen: Listen, clock):
    """Nothing of a refused message is kept but hash and head, so its answer is made anew: equal but for the time."""
    with listen().connect() as peer:
        first = peer.ask(adt("1", version="9.9"))
        assert peer.ask(adt("1", version="9.9")) == first


def test_five_hundred_patients_of_a_sender_that_never_counts_are_five_hundred(database: Database):
    """A4: one MSH-10 for all, through the socket."""
    with Hospital(database, FixedClock(EVENING)) as hospital:
        raws = [patient_message("A28", c=0, p=number) for number in range(500)]
        peer = hospital.connect()
        for some in in_pieces(raws, 100):
            peer.send(b"".join(b"\x0b" + raw + b"\x1c\r" for raw in some))
            assert {msa(peer.answer()) for _ in some} == {(b"CA", b"0")}
        hospital.settle()

        with hospital.look() as work:
            assert work.scalar(sa.select(sa.func.count()).select_from(InboxMessage)) == 500
            assert work.scalar(sa.select(sa.func.count()).select_from(Patient)) == 500
