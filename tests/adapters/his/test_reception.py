"""What a frame becomes: acceptance of headers, and the bytes of the answer."""

import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.his.reception import receive
from adapters.hl7v2 import CharsetError, decode, read_header, read_message
from hcrm.core import limits
from hcrm.core.sources import Source
from hcrm.inbox.records import Incoming, Refused
from tests.support.effort import LINEAR, growth
from tests.support.reception import AT, SOURCES, message, take, verdict

# ── acknowledgements ────────────────────────────────────────────────────────

CONDITIONS = ("", "AL", "NE", "ER", "SU")


@pytest.mark.parametrize("application", CONDITIONS)
@pytest.mark.parametrize("accept", CONDITIONS)
def test_msh_15_and_16_decide_whether_and_how_we_answer(accept, application):
    asked = accept or application  # where only MSH-16 is filled, the one answer we give is the application's
    letter = "C" if accept else "A"
    good = letter if asked in ("", "AL", "SU") else ""
    bad = letter if asked in ("", "AL", "ER") else ""

    accepted = take(message(acks=f"{accept}|{application}"))
    erroneous = take(message(acks=f"{accept}|{application}", control_id=""))
    rejected = take(message(acks=f"{accept}|{application}", version="9.9"))

    assert (verdict(accepted), verdict(erroneous), verdict(rejected)) == (
        good and f"{good}A", bad and f"{bad}E", bad and f"{bad}R",
    )  # fmt: skip


@pytest.mark.parametrize(("mode", "acks", "expected"), [("original", "AL|AL", "AA"), ("original", "NE|NE", "AA"),
                                                        ("enhanced", "|", "CA"), ("enhanced", "NE|", "")])  # fmt: skip
def test_a_source_may_say_otherwise(mode, acks, expected):
    source = Source(code="his", title="x", sender="HIS", ack_mode=mode)

    assert verdict(take(message(acks=acks), source)) == expected


# ── the application's word ──────────────────────────────────────────────────

WAITS = Source(code="his", title="x", sender="HIS", ack_mode="application")
VISIT = "PID|1||100^^^H1^MR||王^五||19900307\rPV1|1|I|W1||||||||||||||||V1"
BAD_BIRTH = VISIT.replace("19900307", "19901307")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"body": "PV1|1|I"}, "PID^1 100"),
        ({"body": "PID|1"}, "PID^1^3 101"),
        ({"body": "PID|1||100"}, "PV1^1 100"),
        ({"kind": "ADT^A99"}, "MSH^1^9 201"),
        ({"body": BAD_BIRTH}, "PID^1^7 102"),
        ({"body": VISIT + "|" * 25 + "2026022912"}, "PV1^1^44 102"),
        ({"body": VISIT + "|" * 26 + "yesterday"}, "PV1^1^45 102"),
    ],
)  # fmt: skip
def test_who_waits_for_the_application_hears_what_will_be_parked(fields, error):
    item = take(message(**fields), WAITS)

    assert isinstance(item, Incoming), "stored all the same"
    _, msa, err, _ = item.ack.decode().split("\r")
    assert msa == "MSA|AE|7"
    place, what = (err.split("|")[n] for n in (2, 3))
    assert f"{place} {what.split('^')[0]}" == error


def test_bytes_of_another_charset_are_told_to_who_waits_for_the_application():
    raw = message(more="||UNICODE UTF-8", body=VISIT).replace("王".encode(), b"\xff\xfe")

    assert b"ERR||MSH^1^18|102^" in take(raw, WAITS).ack


def test_before_2_5_the_place_of_a_segment_stands_in_the_one_field():
    _, _, err, _ = take(message(version="2.4", body="PV1|1|I"), WAITS).ack.decode().split("\r")

    assert err == "ERR|PID^1^^100&Segment sequence error&HL70357"


@pytest.mark.parametrize(("acks", "good", "bad"), [("|", "AA", "AE"), ("AL|AL", "AA", "AE"), ("AL|NE", "", ""),
                                                  ("NE|ER", "", "AE"), ("AL|SU", "AA", "")])  # fmt: skip
def test_the_application_s_word_is_the_only_one_and_msh_16_asks_for_it(acks, good, bad):
    assert verdict(take(message(acks=acks, body=VISIT), WAITS)) == good
    assert verdict(take(message(acks=acks, body=BAD_BIRTH), WAITS)) == bad


def test_other_sources_hear_only_that_it_is_stored():
    assert verdict(take(message(body=BAD_BIRTH))) == "AA"


def test_what_cannot_even_be_judged_is_said_without_a_word_of_it(monkeypatch):
    def fail(*_arguments):
        raise RuntimeError("王五")

    monkeypatch.setattr("adapters.his.mapping.map_message", fail)

    assert b"MSA|AE|7\rERR||MSH^1|207^" in take(message(body=VISIT), WAITS).ack


def test_the_mapping_is_loaded_only_where_a_source_asks_for_it():
    script = "import sys, adapters.his.mllp; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "adapters.his.reception" in loaded.stdout.split()
    assert not {"adapters.his.mapping", "hcrm.archive.records"} & set(loaded.stdout.split())


def test_an_answer_goes_back_the_way_the_message_came():
    ack = take(message(acks="AL|NE", more="||UNICODE UTF-8")).ack

    own_id = ack.split(b"|")[9].decode()
    assert own_id
    assert ack.decode().split("\r") == [
        f"MSH|^~\\&|HCRM|H2|HIS|H1|20261122100000+0800||ACK^A01^ACK|{own_id}|P|2.5.1||||||UNICODE UTF-8",
        "MSA|CA|7",
        "",
    ]
    assert ack == take(message(acks="AL|NE", more="||UNICODE UTF-8")).ack


def test_an_answer_keeps_the_sender_s_delimiters_and_charset():
    raw = "MSH#*!?%#医院珅*1.2#H1###2026##ADT*A01#剕#P#2.3######GB18030\r".encode("gb18030")

    ack = take(raw).ack.decode("gb18030")

    assert ack.startswith("MSH#*!?%###医院珅*1.2#H1#20261122100000+0800##ACK*A01#")
    assert ack.endswith("#P#2.3######GB18030\rMSA#AA#剕\r")


@given(st.text(st.characters(codec="utf-8", exclude_characters="|\r\n"), min_size=1, max_size=198))
def test_msa_2_is_the_control_id_byte_for_byte(control_id):
    raw = message(control_id=f"{control_id}7", more="||UNICODE UTF-8")

    assert take(raw).ack.split(b"\rMSA|AA|")[1] == control_id.encode() + b"7\r"


def test_an_acknowledgement_is_stored_and_never_answered():
    for raw in (message("ACK^A01"), message("ACK"), message("ADT", body="MSA|AA|9"), message("MCF")):
        item = take(raw)
        assert isinstance(item, Incoming)
        assert (item.kind, item.flags, item.ack) == ("ACK", ("unexpected_ack",), b"")
    refused = take(message("", body="MSA|AA|9"))
    assert isinstance(refused, Refused)
    assert refused.ack == b""
    assert verdict(take(message("ORR^O02", body="MSA|AA|9"))) == "AA"  # an application's answer is a message


# ── headers ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [({"kind": ""}, "AE 101 9", "header"), ({"control_id": ""}, "AE 101 10", "header"),
     ({"control_id": " "}, "AE 101 10", "header"), ({"control_id": "9" * 200}, "AE 101 10", "header"),
     ({"kind": "^A01"}, "AR 200 9", "header"), ({"kind": "出院^A03"}, "AR 200 9", "header"),
     ({"kind": "ADT^<A03>"}, "AR 201 9", "header"), ({"processing_id": "X"}, "AR 202 11", "processing_id"),
     ({"version": "9.9"}, "AR 203 12", "version"), ({"version": "3.0"}, "AR 203 12", "version")],
)  # fmt: skip
def test_an_unusable_header_is_refused_with_its_error(fields, code, reason):
    item = take(message(**fields))

    assert isinstance(item, Refused)
    assert item.reason == reason
    _, msa, err, _ = item.ack.decode().split("\r")
    place, what, severity, text = (err.split("|")[n] for n in (2, 3, 4, 8))
    assert f"{msa.split('|')[1]} {what.split('^')[0]} {place.split('^')[2]}" == code
    assert (err.split("|")[0], place.split("^")[:2], what.split("^")[2], severity) == (
        "ERR",
        ["MSH", "1"],
        "HL70357",
        "E",
    )
    assert text


def test_before_2_5_the_error_segment_has_one_field():
    _, msa, err, _ = take(message(control_id="", version="2.3")).ack.decode().split("\r")

    assert msa == "MSA|AE||Required field missing"
    assert err == "ERR|MSH^1^10^101&Required field missing&HL70357"


@pytest.mark.parametrize(
    "version", ["2.1", "2.3", "2.3.1", "2.5.1", "2.9", "2.6.1", "v2.4", "2.3.z", "", "2.5^FRA^2.11"]
)
def test_versions_as_senders_write_them_are_accepted(version):
    assert isinstance(take(message(version=version)), Incoming)


@pytest.mark.parametrize("processing_id", ["P", "T", "D", ""])
def test_every_processing_id_is_accepted_unless_the_source_lists_its_own(processing_id):
    production = Source(code="his", title="x", sender="HIS", processing_ids=("P",))

    assert isinstance(take(message(processing_id=processing_id)), Incoming)
    assert isinstance(
        take(message(processing_id=processing_id), production), Incoming if processing_id == "P" else Refused
    )


def test_an_unknown_sender_is_rejected_where_only_known_ones_are_let_in():
    item = take(message(), known_senders_only=True)

    assert isinstance(item, Refused)
    assert (item.reason, verdict(item)) == ("sender_unknown", "AR")


def test_a_refusal_keeps_hash_and_head_only():
    item = take(message(version="9.9", body="PID|1||100||张^三"))

    assert isinstance(item, Refused)
    assert (item.size, len(item.sha256), len(item.head), item.is_fatal) == (
        len(message(body="PID|1||100||张^三")) - 2,
        32,
        64,
        False,
    )


def test_what_has_no_msh_is_fatal():
    for raw in (b"", b"PID|1||100", message().decode().encode("utf-16")):
        item = take(raw)
        assert isinstance(item, Refused)
        assert (item.reason, item.ack, item.is_fatal) == ("no_msh", b"", True)


@given(st.data())
def test_a_mutated_message_is_stored_or_refused_and_never_crashes(data):
    raw = bytearray(message(acks="AL|NE"))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))

    assert all(
        isinstance(item, Incoming | Refused) for item in receive(bytes(raw), sources=SOURCES, peer="", at=AT)
    )


def test_ten_thousand_damaged_messages_are_stored_or_refused_and_read():
    chance = random.Random(20261122)
    pieces = [
        b"|",
        b"^",
        b"~",
        b"\\",
        b"&",
        b"\r",
        b"\n",
        b"MSH",
        b"BHS|",
        b"\x00",
        b"\xff",
        b'""',
        "张".encode("gb18030"),
    ]
    outcomes = set()
    for _ in range(10_000):
        raw = bytearray(message(acks="AL|NE", body="PID|1||100^^^H1^MR||张^三\\T\\||19900307"))
        for _ in range(chance.randint(1, 5)):
            at = chance.randrange(len(raw))
            raw[at : at + chance.randint(0, 4)] = chance.choice(pieces)
        for item in receive(bytes(raw), sources=SOURCES, peer="", at=AT):
            outcomes.add(read(item) if isinstance(item, Incoming) else item.reason)
    assert outcomes >= {"read", "charset", "no_msh", "header", "processing_id", "version"}


def read(item: Incoming) -> str:
    header = read_header(item.raw)
    assert header is not None
    try:
        text, _ = decode(item.raw, header, SOURCES.default)
    except CharsetError:
        return "charset"
    for segment in read_message(text):
        for number in range(1, 10):
            segment.value(number, 2)
            assert [field.text(1) for field in segment.repeats(number)][:1] in ([], [segment.text(number)])
    return "read"


SIZES = (limits.MAX_FRAME_BYTES // 8, limits.MAX_FRAME_BYTES)


def sort_out(raw: bytes) -> None:
    receive(raw, sources=SOURCES, peer="", at=AT)


@pytest.mark.parametrize(
    "filling", [b"\r", b"|", b"MSH|\r", b"BHS|\r", b"MSH|\rFTS|1\r", b"\rPID", b"x\n", b"\xff", b"\\r"]
)
def test_four_megabytes_of_anything_are_sorted_out_without_delay(filling):
    small, large = (message() + filling * (size // len(filling) - 100) for size in SIZES)
    for change in (bytes, lambda raw: raw.lstrip(b"MSH"), lambda raw: raw.replace(b"\r", b"")):
        assert growth(sort_out, change(small), change(large)) < LINEAR
