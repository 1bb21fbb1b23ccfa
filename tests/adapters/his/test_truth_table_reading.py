"""The ADT truth table: clocks, charsets, escapes, delimiters, batches (see `test_truth_table_visits`)."""

from datetime import UTC, date, datetime

import pytest

from hcrm.archive.models import (
    IdentifierKind,
    Patient,
    PatientIdentifier,
)
from hcrm.centre.models import Instruction
from hcrm.inbox.models import ApplicationState, InboxMessage
from tests.support.adt import adt, moment
from tests.support.hospital import Hospital
from tests.support.truth_table import EVENING, NI, evening, hospital, hospital_with_ties

__all__ = ["evening", "hospital", "hospital_with_ties"]


# ── clocks, charsets, escapes, delimiters ───────────────────────────────────


def test_b48_a_time_without_zone_is_the_senders_and_a_birth_date_has_none(hospital):
    at = "202611221000"
    hospital.receive(adt("A01", c=1, m=at))

    (event,) = hospital.log("V1")
    assert (event.happened_at, event.precision) == (datetime(2026, 11, 22, 2, tzinfo=UTC), "minute")
    assert hospital.patient(100).birth_date == date(1990, 3, 7)


def test_b49_a_time_without_zone_takes_the_offset_of_the_message(hospital):
    hospital.receive(adt("A01", c=1, m="20261122103000+0900", o="20261122093000"))

    assert hospital.log("V1")[0].happened_at == datetime(2026, 11, 22, 0, 30, tzinfo=UTC)


def test_b49_an_hour_is_kept_as_an_hour(hospital):
    hospital.receive(adt("A01", c=1, o="2026112209"))

    (event,) = hospital.log("V1")
    assert (event.happened_at, event.precision) == (moment("09:00"), "hour")


def test_b49_an_impossible_time_is_flagged_and_the_next_clock_counts(hospital):
    hospital.receive(adt("A01", c=1, m="10:20", r="10:10", o="20261122250000"))

    assert hospital.log("V1")[0].happened_at == moment("10:10")
    assert hospital.application().flags == "bad_time:EVN-6"


@pytest.mark.parametrize(
    ("place", "fields"),
    [
        ("PV1-44", {"PV1_44": "20261322120000"}),
        ("PV1-45", {"PV1_45": "20260230120000"}),
        ("PID-7", {"dob": "19900231"}),
        ("PID-7", {"dob": "20261123"}),
        ("EVN-6", {"o": "yesterday", "EVN_2": "", "MSH_7": ""}),
        ("MSH-7", {"EVN_2": "20261122250000", "MSH_7": "20261322"}),
    ],
)
def test_b49_an_impossible_date_that_decides_something_parks_the_message_with_its_place(
    hospital, place, fields
):
    hospital.receive(adt("A01", c=1, **fields))

    application = hospital.application()
    assert (application.state, application.reason, application.detail) == (
        ApplicationState.PARKED, "impossible_date", place,
    )  # fmt: skip
    assert hospital.all(Patient) == []


@pytest.mark.parametrize("fields", [{"PID_29": "20261322"}, {"segments": ["PR1|1||37.83^手术||20260230"]}])
def test_b49_elsewhere_it_is_flagged_and_the_rest_is_taken(hospital, fields):
    hospital.receive(adt("A01", c=1, **fields))

    assert hospital.application().state is ApplicationState.APPLIED
    assert hospital.application().flags.startswith("bad_time:")


@pytest.mark.parametrize(
    ("place", "fields"),
    [
        ("PID-7", {"dob": "00000000"}),
        ("PID-29", {"PID_29": "00000000000000"}),
        ("PV1-44", {"PV1_44": "00000000"}),
        ("PV1-45", {"PV1_45": "00000000000000"}),
        ("EVN-6", {"o": "00000000000000"}),
        ("PR1-5", {"segments": ["PR1|1||37.83^手术||00000000"]}),
    ],
)
def test_b49_a_date_of_zeros_says_nothing_and_is_flagged(hospital, place, fields):
    hospital.receive(adt("A01", c=1, m="10:00"), adt("A08", c=2, m="10:05", **fields))

    assert hospital.application(2).state is ApplicationState.APPLIED
    assert hospital.application(2).flags == f"empty_date:{place}"
    assert hospital.patient(100).birth_date == date(1990, 3, 7)
    assert hospital.visit("V1").admitted_at == moment("10:00")


def test_b49_a_child_is_born_on_the_day_of_receipt(hospital):
    hospital.receive(adt("A01", c=1, dob="20261122"))

    assert hospital.patient(100).birth_date == date(2026, 11, 22)


def test_b50_a_visit_does_not_end_in_the_future(hospital):
    hospital.receive(adt("A03", c=1, o="12:00", PV1_44="20271122", PV1_45="21261122120000"))

    visit = hospital.visit("V1")
    assert set(hospital.application().flags.split()) == {"clock_ahead:PV1-44", "clock_ahead:PV1-45"}
    assert (visit.admitted_at, visit.discharged_at) == (EVENING, EVENING)
    rows = hospital.all(Instruction, Instruction.encounter_id == visit.id)
    assert {row.due_on.year for row in rows} == {2026}


def test_b50_a_discharge_a_few_minutes_ahead_is_taken_as_told(hospital):
    hospital.receive(adt("A03", c=1, o="12:00", PV1_45="20261122230959"))

    assert hospital.visit("V1").discharged_at == moment("20261122230959+0800")
    assert hospital.application().flags == ""


def test_b50_a_clock_far_ahead_does_not_freeze_the_record(database, evening):
    with Hospital(database, evening) as hospital:
        hospital.receive(adt("A01", c=1))
        evening.move(microseconds=700_000)
        hospital.receive(adt("A08", c=2, phone="13800000001", m="20270101000000+0800"))
        assert hospital.phones(100) == ["+8613800000001"]
        assert set(hospital.application().flags.split()) == {
            "clock_ahead:MSH-7", "clock_ahead:EVN-2", "clock_ahead:EVN-6"}  # fmt: skip
        hospital.receive(adt("A08", c=3, phone="13800000002", m="20261122230000+0800"))

        assert hospital.phones(100) == ["+8613800000002"]
        hospital.assert_repeats_change_nothing(resend=False)  # by a clamped clock a resend is news


def test_b51_each_message_is_read_in_its_own_charset(hospital):
    name = "张珅"  # the second byte of 珅 is | in GB18030
    hospital.receive(
        adt("A01", c=1, p=100, v="V1", name=name, charset="GB 18030-2000", encoding="gb18030"),
        adt("A01", c=2, p=200, v="V2", name=name),
        adt("A01", c=3, p=300, v="V3", name=name, charset=""),
    )

    assert [hospital.patient(number).name for number in (100, 200, 300)] == [name] * 3


def test_b51_what_no_charset_fits_is_stored_acknowledged_and_parked(hospital):
    ack = hospital.receive(adt("A01", c=1, name="张珅", charset="UNICODE UTF-8", encoding="gb18030"))

    assert b"\rMSA|CA|1\r" in ack
    parked = hospital.application()
    assert (parked.state, parked.reason, parked.detail) == (ApplicationState.PARKED, "charset", "MSH-18")


def test_b51_a_message_in_utf_16_is_refused_and_the_connection_closed(hospital):
    with pytest.raises(EOFError):
        hospital.connect().ask(adt("A01", c=1, encoding="utf-16"))
    hospital.hang_up()

    assert hospital.count(InboxMessage) == 0


def test_b52_escapes_are_read_once_after_splitting(hospital):
    escaped = r"A\T\B \F\ \S\ \R\ \E\ \X0D0A\ x\.br\y \Zq\ \E\F\E\ ".strip()
    hospital.receive(adt("A01", c=1, address=escaped))

    (text,) = hospital.addresses(100)
    assert text == "A&B | ^ ~ \\ \n x\ny \\Zq\\ \\F\\"


def test_b53_delimiters_are_the_headers_own(hospital):
    raw = adt("A01", c=1, name="张^三", doctor="D1^李").decode()
    other = raw.translate(str.maketrans("|^~\\&", "#*!?%")).encode()
    hospital.receive(other)

    assert hospital.patient(100).name == "张三"
    assert hospital.visit("V1").location == "W1-101-1"


def test_b53_sub_components_of_an_identifier_are_read(hospital):
    hospital.receive(adt("A01", c=1, p="100^^^H1&1.2.3&ISO^MR"))

    assert hospital.patient(100, "H1").name == "张三"


def test_b53_the_first_name_of_several_is_the_patients(hospital):
    hospital.receive(adt("A01", c=1, name="张^三~Zhang^San^^^^^A"))

    assert hospital.patient(100).name == "张三"


def test_b54_a_citizen_number_alone_never_merges(hospital):
    hospital.receive(adt("A01", c=1, p=100, ni=NI), adt("A01", c=2, p=200, v="V2", ni=NI, m="10:05"))

    assert hospital.patient(100).id != hospital.patient(200).id
    sealed = hospital.all(PatientIdentifier, PatientIdentifier.kind == IdentifierKind.CITIZEN)
    assert len({row.value_index for row in sealed}) == 1
    assert {row.value for row in sealed} == {None}


def test_b54_a_missing_authority_is_the_senders_and_another_authority_another_patient(hospital):
    hospital.receive(
        adt("A01", c=1, p="100^^^^MR", v="V1"),
        adt("A08", c=2, p="100^^^H1^MR", phone="13800000001", m="10:05"),
        adt("A01", c=3, p="100^^^H2^MR", v="V3", m="10:10"),
    )

    assert hospital.phones(100) == ["+8613800000001"]
    assert hospital.patient(100, "H1").id != hospital.patient(100, "H2").id


def test_b54_an_id_number_sent_as_a_record_number_without_type_does_not_lie_in_clear(hospital):
    hospital.receive(adt("A01", c=1, p=f"100^^^H1^MR~{NI}"))

    assert hospital.count(PatientIdentifier, PatientIdentifier.value == NI) == 0
    assert hospital.count(PatientIdentifier, PatientIdentifier.kind == IdentifierKind.CITIZEN) == 1


def test_b55_a_batch_is_its_messages_and_a_wrong_count_is_flagged(database, evening):
    with Hospital(database, evening) as hospital:
        first, second = adt("A01", c=1), adt("A08", c=2, phone="13812345678", m="10:05")
        frame = b"FHS|^~\\&|HIS|H1\rBHS|^~\\&|HIS|H1\r" + first + second + b"BTS|3\rFTS|1\r"
        acks = [hospital.send(frame), hospital.connect().answer()]
        hospital.settle()

        assert [ack.split(b"\rMSA|")[1][:5] for ack in acks] == [b"CA|1\r", b"CA|2\r"]
        assert hospital.phones(100) == ["+8613812345678"]
        assert [hospital.application(number).flags for number in (1, 2)] == ["batch_count"] * 2
