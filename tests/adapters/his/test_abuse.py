"""Hostile and broken messages that get past the door: each is applied or parked with its place, nobody waits for it.

The numbers are those of assurance section 2; what concerns framing and headers is tested with the listener.
"""

import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.his.mapping import map_message
from hcrm.archive.arrivals import Arrival
from hcrm.archive.models import ContactPoint, Patient
from hcrm.archive.records import Change
from hcrm.archive.service import absorb_records
from hcrm.core.actor import system_actor
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.work import open_work
from hcrm.inbox.models import ApplicationState, InboxMessage
from tests.support.adt import adt
from tests.support.changes import EVENING, SOURCES
from tests.support.hospital import Hospital

CPU_SECONDS = 10.0  # of listener and worker, both in this process; `make bench` prints what it takes


@pytest.fixture
def hospital(database: Database) -> Iterator[Hospital]:
    with Hospital(database, FixedClock(EVENING)) as hospital:
        yield hospital


def test_c13_an_ack_sent_as_a_message_is_stored_ignored_and_not_answered(hospital):
    hospital.connect().frame(b"MSH|^~\\&|HIS|H1|HCRM|H1|20261122100000||ACK^A01|9|P|2.5\rMSA|AA|1\r")
    hospital.receive(adt("A28", c=2))

    assert [message.kind for message in hospital.messages()] == ["ACK", "ADT^A28"]
    assert hospital.outcomes()[0] == (ApplicationState.IGNORED, "unexpected_ack")


WHOLE = adt(
    "A03", c=3, o="12:00", ni="110101199003070011", PID_29="20261122", PV1_36="1", PV1_44="20261120",
    segments=("NK1|1|王芳|2||13800000001", "AL1|1|DA|P^青霉素", "DG1|1||I10^高血压||20261122|F",
              "PR1|1||36.07^支架||20261121"),
)  # fmt: skip
MERGE = adt("A40", c=4, p=200, mrg=100)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Bits flipped, pieces cut out and doubled, delimiters swapped."""
    raw = bytearray(draw(st.sampled_from([WHOLE, MERGE])))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(3, len(raw) - 1))
        length = draw(st.integers(1, 40))
        match draw(st.sampled_from(["flip", "cut", "double", "swap", "junk"])):
            case "flip":
                raw[place] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del raw[place : place + length]
            case "double":
                raw[place:place] = raw[place : place + length]
            case "swap":
                raw[place] = draw(st.sampled_from(list(b'|^~\\&\r\n"')))
            case "junk":
                raw[place:place] = draw(st.binary(max_size=20))
    return bytes(raw)


class _Undo(Exception):
    pass


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=mutated())
def test_c14_a_mutated_message_is_parked_or_applied_and_never_breaks_the_worker(database, raw):
    result = map_message(raw, SOURCES, EVENING).result
    if not isinstance(result, Change):
        assert result.reason
        return
    try:
        with open_work(database, actor=system_actor("test"), clock=FixedClock(EVENING)) as work:
            for seq in (1, 2):
                (outcome,) = absorb_records(work, arrivals=[Arrival(seq, result)])
                work.flush()
            assert outcome.state
            raise _Undo
    except _Undo:
        pass


@pytest.mark.parametrize(
    "large",
    [
        adt("A08", c=1, phone="~".join(f"138{n:08}" for n in range(20_000))),
        adt("A08", c=1, segments=[f"OBX|{n}|TX|1234||text {n}" for n in range(5_000)]),
        adt("A08", c=1, segments=[f"DG1|{n}||I{n:05}^诊断" for n in range(5_000)]),
        adt("A08", c=1, segments=[f"NK1|{n}|王{n}|2" for n in range(5_000)]),
        adt("A08", c=1, address="x" * 1024 * 1024),
        adt("A08", c=1, name="x" * 1024 * 1024),
        adt("A01", c=1, v="9" * 10_000),
        adt("A01", c=1, segments=[f"ZZZ|{n}" for n in range(20_000)]),
    ],
    ids=["repeats", "obx", "dg1", "nk1", "address", "name", "visit-number", "segments"],
)
def test_c15_a_huge_message_is_applied_or_parked_and_its_lane_goes_on(hospital, large):
    began = time.process_time()
    hospital.receive(large)
    took = time.process_time() - began

    outcome = hospital.application()
    assert outcome.state is ApplicationState.APPLIED or outcome.reason == "budget"
    assert took < CPU_SECONDS
    hospital.receive(adt("A08", c=2, phone="13800000009", m="10:05"))
    assert hospital.phones(100) == ["+8613800000009"]


@pytest.mark.parametrize("control_id", ["'; DROP TABLE patient; --", "\N{BIRTHDAY CAKE}", "%s{{7*7}}${x}"])
def test_c16_a_strange_control_id_comes_back_as_it_was(hospital, control_id):
    ack = hospital.receive(adt("A28", c=control_id))

    assert f"\rMSA|CA|{control_id}\r".encode() in ack
    (stored,) = hospital.all(InboxMessage)
    assert stored.control_id == control_id


@pytest.mark.parametrize(
    "name",
    [
        "<img src=x onerror=alert(1)>",
        "=HYPERLINK(1)",
        "@SUM(A1)",
        "{{7*7}}{%x%}${y}%s",
        "Robert'); DROP TABLE patient; --",
        "a\u202eb\u200bc",
        "\N{CYRILLIC SMALL LETTER A}dam",
    ],
)
def test_c17_to_c22_a_name_is_kept_as_it_was_sent(hospital, name):
    hospital.receive(adt("A28", c=1, name=name))

    assert hospital.patient(100).name == name


def test_c20_a_line_break_in_a_name_is_a_blank(hospital):
    hospital.receive(adt("A28", c=1, name=r"Bcc:\X0D0A\x@example.org"))

    assert hospital.patient(100).name == "Bcc: x@example.org"


def test_c21_numbers_are_normalised_and_nonsense_is_kept_as_digits(hospital):
    hospital.receive(adt("A28", c=1, phone="(010)1234-5678~138 1234 5678~+44 20 7946 0958~12~无"))

    assert hospital.phones(100) == ["+861012345678", "+8613812345678", "+442079460958", "12"]
    assert hospital.count(ContactPoint) == 4


def test_c21_of_forty_numbers_five_are_kept(hospital):
    hospital.receive(adt("A28", c=1, phone="~".join(f"138000000{n:02}" for n in range(40))))

    assert hospital.phones(100) == [f"+861380000000{n}" for n in range(5)]


@pytest.mark.parametrize("broken", [b"\xed\xa0\x80", b"\xff", b"\xc3"], ids=["surrogate", "byte", "half"])
def test_c22_bytes_that_are_no_characters_park_the_message_and_the_next_is_applied(hospital, broken):
    hospital.receive(adt("A28", c=1, name="@").replace(b"@", broken), adt("A28", c=2))

    assert hospital.outcomes() == [(ApplicationState.PARKED, "charset"), (ApplicationState.APPLIED, None)]


def test_c22_a_nul_is_dropped_and_flagged(hospital):
    hospital.receive(adt("A28", c=1, name="张\x00三"))

    assert hospital.patient(100).name == "张三"
    assert hospital.application().flags == "nul_stripped"
    assert hospital.count(Patient) == 1
