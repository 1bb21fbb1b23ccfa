"""A message put into standard positions: pairs apart, escapes and repeats as sent, places as the sender knows them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.his.explain import explain_message
from adapters.his.local import localise
from adapters.his.map_acts import ACTS
from adapters.his.mapping import map_message
from adapters.his.outline import Hl7Outline
from adapters.hl7v2 import read_header, read_message
from hcrm.archive.records import Change, Unmapped
from hcrm.archive.terms import DischargeWay, Sex
from hcrm.core.sources import Source, Sources
from tests.support.adt import adt
from tests.support.effort import LINEAR, growth
from tests.support.truth_table import EVENING


def sources(**settings) -> Sources:
    return Sources([Source.model_validate({"code": "default", "title": "t", **settings})])


def changed(raw: bytes, **settings) -> Change:
    result = map_message(raw, sources(**settings), EVENING).result
    assert isinstance(result, Change), result
    return result


def test_of_a_pair_each_patient_keeps_what_follows_their_own_pid():
    """A17: the Z segment behind a patient is that patient's."""
    raw = adt("A17", p=100, v="V1", segments=[
        "ZPI|1|张三|1", "PID|2||200^^^H1^MR||x||19800101|M", "PV1|2|I|W2^2^2|||||||||||||||||V2", "ZPI|2|李四|2",
    ])  # fmt: skip
    change = changed(raw, fields={"patient.name": "ZPI-2", "patient.sex": "ZPI-3"})

    first, second = (part.patient for part in change.parts)
    assert first is not None
    assert second is not None
    assert (first.name, first.sex, second.name, second.sex) == ("张三", Sex.MALE, "李四", Sex.FEMALE)


def test_a_second_patient_without_the_segment_gets_nothing_of_the_first():
    raw = adt("A17", p=100, v="V1", segments=[
        "ZPI|1|张三", "PID|2||200^^^H1^MR||x||19800101|M", "PV1|2|I|W2^2^2|||||||||||||||||V2",
    ])  # fmt: skip
    change = changed(raw, fields={"patient.name": "ZPI-2"})

    assert change.also is not None
    assert change.also.patient is not None
    assert change.also.patient.name is None


@pytest.mark.parametrize("event", sorted(ACTS))
def test_acts_find_a_number_that_stands_elsewhere(event):
    raw = adt(event, p="^^^H1^MR", PID_2="100", mrg=99, segments=["PV1|1|I|||||||||||||||||V9"])
    change = map_message(raw, sources(fields={"patient.record_number": "PID-2"}), EVENING).result

    if isinstance(change, Unmapped):  # a pair needs a second patient, moved visits their numbers
        assert change.reason in ("no_second_pid", "no_visit_number")
    else:
        assert change.acts[0].subject[0].value == "100"


def test_repeats_escapes_and_components_come_along():
    raw = adt("A31", phone="", segments=["ZPI|1|0571\\F\\1^PRN^PH~13900001111^^CP|1^医嘱离院|王\\T\\李^x"])
    change = changed(raw, fields={"patient.phone": "ZPI-2", "patient.name": "ZPI-4.1"})

    assert change.patient is not None
    assert change.patient.name == "王&李"
    assert [contact.value for contact in change.patient.contacts or ()] == ["0571|1", "13900001111"]


def test_a_number_from_elsewhere_comes_first_and_replaces_none():
    change = changed(adt("A31", p=100, PID_4="555"), fields={"patient.record_number": ["PID-4"]})

    assert change.patient is not None
    assert [item.value for item in change.patient.identifiers] == ["555", "100"]


def test_a_segment_that_is_not_there_says_nothing():
    change = changed(adt("A31"), fields={"encounter.discharge_way": "ZPV-3", "patient.sex": "ZPI-1"})

    assert change.patient is not None
    assert change.patient.sex is None


def test_faults_are_named_where_the_sender_wrote_them():
    way = {"fields": {"encounter.discharge_way": "ZPV-3", "encounter.discharged_at": "ZPV-4"}}
    change = changed(adt("A03", PV1_36="1", segments=["ZPV|1|x|本地|20261122100000"]), **way)
    assert change.flags == ("unmapped:ZPV-3",)

    result = map_message(adt("A03", segments=["ZPV|1|x|1|20260230"]), sources(**way), EVENING).result
    assert result == Unmapped("impossible_date", "ZPV-4")


def test_more_patients_than_any_message_names_are_parked_at_once():
    settings = sources(fields={"patient.name": "ZPI-2"})

    def read(patients: int) -> Change | Unmapped:
        return map_message(adt("A40", mrg=1, segments=["PID"] * patients), settings, EVENING).result

    assert read(200_000) == Unmapped("budget", "PID")
    assert growth(read, 25_000, 200_000) < LINEAR


@given(st.text('PIDZV|^~&\\\r12-"', max_size=200))
def test_whatever_is_sent_the_mapper_answers(tail):
    fields = {
        "patient.name": "ZPI-2.1.2",
        "encounter.discharge_way": "ZPV-3",
        "patient.record_number": "PID-2",
    }
    settings = {"fields": fields, "events": {"A01": "A04"}, "event_from": "ZPI-9", "date_forms": ["yyyy/M/d"]}

    assert map_message(adt("A01") + tail.encode(), sources(**settings), EVENING) is not None


def test_nothing_is_touched_without_such_settings():
    raw = adt("A03", segments=["ZPV|1|x|5"])
    header, message = read_header(raw), read_message(raw.decode())
    assert header is not None
    kind = (header.type, header.event)

    assert list(localise(message, kind, header, Source(code="x", title="x")).message.lines) == list(
        message.lines
    )


def test_the_check_shows_moved_fields_and_what_stays_unmapped():
    raw = adt("A03", PV1_36="1", segments=["ZPV|1|x|5|kept^only", "ZZZ|1|free"])
    found = explain_message(raw, sources(fields={"encounter.discharge_way": "ZPV-3"}), EVENING)
    became = {use.path: [name for name, _ in use.became] for use in found.uses}

    assert became["ZPV-3"][0] == "encounter.discharge_way"
    assert became["PV1-36"] == []
    assert became["ZPV-2"] == became["ZPV-4.1"] == []
    assert found.unread_segments == ("ZZZ",)
    assert not isinstance(found.mapped.result, Unmapped)
    assert found.mapped.result.encounter is not None
    assert found.mapped.result.encounter.discharge_way is DischargeWay.DIED


def test_the_check_reads_in_the_order_of_the_file():
    raw = adt("A01", name="韡玘^", charset="UNICODE UTF-8", encoding="gbk")
    found = explain_message(raw, sources(charset="gbk", charset_order=["charset"]), EVENING)

    assert {use.path: use.value for use in found.uses}["PID-5.1"] == "韡玘"


def test_z_segments_stay_in_what_people_see():
    lines = Hl7Outline().read(adt("A01", segments=["ZPV|1|x|5"]), sources()).lines

    assert [line.text for line in lines if line.name == "ZPV"] == ["ZPV|1|x|5"]
