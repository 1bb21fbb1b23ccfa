"""What we tell other systems, as HL7: valid by hl7apy, read back by our own reader and by python-hl7."""

import re
from dataclasses import replace
from datetime import date

import hl7
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.his.build import CHARSET_WORDS
from adapters.hl7v2 import Message, decode, read_header, read_message
from hcrm.archive.terms import Sex
from hcrm.core.sources import Source
from hcrm.inbox.outbound_records import AnswerKind, AnswerOut, FlagOut, NotBuilt, PatientOut
from tests.support.outbound import FOLLOW_UP, destination, written

VERSIONS = ("2.4", "2.5", "2.5.1", "2.6")


def read(raw: bytes) -> Message:
    """As the receiver would: the charset is what MSH-18 says."""
    header = read_header(raw)
    assert header is not None
    text, flags = decode(raw, header, Source(code="x", title="x", charset="ascii"))
    assert flags == ()
    return read_message(text)


@pytest.mark.parametrize("charset", CHARSET_WORDS)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_follow_up_reads_back_in_every_version_and_charset(version, charset):
    message = read(written(destination(version=version, charset=charset), "H42"))

    assert (message.at("MSH-9"), message.at("MSH-9.2")) == ("ORU", "R01")
    assert (message.at("MSH-5"), message.at("MSH-6"), message.at("MSH-10")) == ("HIS", "H1", "H42")
    assert message.at("MSH-7") == "20261122093000+0800"
    assert message.at("MSH-12") == version
    pid = message.segment("PID")
    assert [(cx.text(1), cx.text(4), cx.text(5)) for cx in pid.repeats(3)] == [
        ("00481516", "H1", "MR"), ("77", "H2", "MR"),
    ]  # fmt: skip
    assert (pid.text(5), pid.text(7), pid.text(8)) == ("欧阳\\建国|𠮷", "19660307", "M")
    assert (message.at("PV1-2"), message.at("PV1-19"), message.at("PV1-19.4")) == ("I", "V1", "H1")
    assert message.at("PV1-45") == "20261115080000+0800"
    assert (message.at("OBR-3"), message.at("OBR-4"), message.at("OBR-25")) == (
        FOLLOW_UP.instruction_id, "test.call", "F",
    )  # fmt: skip


def test_every_answer_is_an_observation_and_a_red_flag_its_mark_and_note():
    message = read(written(destination()))
    rows = [
        (
            obx.text(3),
            obx.text(2),
            [each.text(1) for each in obx.repeats(5)],
            obx.text(6),
            obx.text(8),
            obx.text(11),
        )
        for obx in message.segments("OBX")
    ]

    assert rows == [
        ("outcome", "CE", ["reached"], "", "", "F"),
        ("pain", "NM", ["3"], "", "", "F"),
        ("temperature", "NM", ["38.6"], "℃", "A", "F"),
        ("drugs", "CE", ["a", "b"], "", "", "F"),
        ("visit_on", "DT", ["20261201"], "", "", "F"),
        ("remark", "TX", ["第一行|^~&\\", "第二行"], "", "", "F"),
    ]
    names = [segment.name for segment in message]
    assert names[names.index("NTE") - 1 : names.index("NTE") + 2] == ["OBX", "NTE", "OBX"]
    assert message.at("NTE-3") == "R2 fever: 当日联系医师"
    assert message.segments("OBX")[3].repeats(5)[1].text(2) == "他汀"
    assert message.segments("OBX")[0].text(16, 2) == "李大夫"


def test_the_most_urgent_flag_is_marked_very_abnormal():
    flag = FlagOut("pus", "R1", "立即就诊", is_urgent=True)
    message = read(written(destination(), answers=(replace(FOLLOW_UP.answers[0], flags=(flag,)),)))

    assert message.segments("OBX")[1].text(8) == "AA"


def test_what_was_told_before_is_told_again_as_a_correction():
    message = read(written(destination(), is_correction=True))

    assert message.at("OBR-25") == "C"
    assert {obx.text(11) for obx in message.segments("OBX")} == {"C"}


def test_nothing_that_reaches_the_person_is_told():
    pid = read(written(destination())).segment("PID")

    assert [number for number in range(1, 40) if pid.has(number)] == [1, 3, 5, 7, 8]


def test_a_destination_gets_the_numbers_it_knows_in_its_order():
    pid = read(written(destination(authorities=("H2", "H1")))).segment("PID")
    assert [cx.text(1) for cx in pid.repeats(3)] == ["77", "00481516"]

    with pytest.raises(NotBuilt) as problem:
        written(destination(authorities=("H9",)))
    assert (problem.value.reason, problem.value.place) == ("no_patient_number", "PID-3")


def test_a_value_the_standard_does_not_allow_is_named_by_its_place_and_not_quoted():
    with pytest.raises(NotBuilt) as problem:
        written(destination(), patient=replace(FOLLOW_UP.patient, name="长" * 250))

    assert problem.value.reason == "not_valid"
    assert problem.value.place == "PID-5 MaxLengthReached"
    assert "长" not in str(problem.value)


def test_a_question_without_a_short_name_is_cut():
    obx = read(
        written(destination(), answers=(AnswerOut("n", "问" * 300, AnswerKind.NUMBER, (("1", ""),)),))
    ).segments("OBX")[1]

    assert obx.text(3) == "n"
    assert obx.text(3, 2) == "问" * 180


def test_an_enhanced_receiver_is_asked_for_the_accept_answer_only():
    message = read(written(destination(ack_mode="enhanced")))

    assert (message.at("MSH-15"), message.at("MSH-16")) == ("AL", "NE")


def test_the_same_record_and_moment_give_the_same_bytes():
    assert written(destination()) == written(destination())


def test_python_hl7_reads_it_too():
    message = hl7.parse(written(destination()).decode())

    assert str(message["PID.F3.R1.C1"]) == "00481516"
    assert message.extract_field("PID", 1, 5, 1, 1) == "欧阳\\建国|𠮷"


CONTROL = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029]|\s")
anything = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=450)


@pytest.mark.parametrize("charset", CHARSET_WORDS)
@settings(max_examples=25)
@given(text=anything, name=anything.map(lambda text: text[:20]))
def test_any_text_survives_the_way_but_for_blanks_and_control_characters(charset, text, name):
    patient = PatientOut(FOLLOW_UP.patient.numbers, name, Sex.UNKNOWN, date(2000, 1, 1))
    answers = (AnswerOut("t", "文字", AnswerKind.TEXT, ((text, ""),)),)
    message = read(written(destination(charset=charset), patient=patient, answers=answers))

    pieces = [each.text() for each in message.segments("OBX")[1].repeats(5)]
    assert CONTROL.sub("", "".join(pieces)) == CONTROL.sub("", text)
    assert CONTROL.sub("", message.at("PID-5")) == CONTROL.sub("", name)
