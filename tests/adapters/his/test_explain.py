"""What a field becomes is found by trying, so it is what the mapper does."""

from datetime import UTC, datetime

import pytest

from adapters.his.explain import explain_message
from adapters.his.files import NotMessages, messages_of
from hcrm.core.sources import Source, Sources
from tests.support.adt import adt

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def told(raw, **settings):
    return explain_message(raw, Sources([Source(code="default", title="t", **settings)]), NOW)


def fields(raw, **settings):
    """Path: our fields."""
    return {use.path: [name for name, _ in use.became] for use in told(raw, **settings).uses}


def test_each_value_that_is_read_names_the_field_it_became():
    found = fields(adt("A01"))

    assert found["PID-5.1"] == ["patient.name"]
    assert found["PID-5.2"] == ["patient.name"]
    assert found["PID-8"] == ["patient.sex"]
    assert found["PV1-2"] == ["encounter.encounter_class"]
    assert "encounter.visit_no" in found["PV1-19"] or "encounter.visit_no" in found["PV1-19.1"]
    assert found["MSH-5"] == []


def test_the_source_s_settings_decide_what_is_read():
    raw = adt("A01") + b"ZDP|1|D77\r"

    assert fields(raw)["ZDP-2"] == []
    assert told(raw).unread_segments == ("ZDP",)
    assert fields(raw, department_from=("ZDP-2",))["ZDP-2"] == ["encounter.department.code"]
    assert "ZDP" not in told(raw, department_from=("ZDP-2",)).unread_segments


def test_a_value_that_is_only_kept_for_another_is_not_called_used():
    """EVN-1 names the event only where MSH-9 does not."""
    raw = adt("A01").replace(b"EVN||", b"EVN|A01|")
    kind = raw.split(b"\r", 1)[0].split(b"|")[8]

    assert fields(raw)["EVN-1"] == []
    assert fields(raw.replace(kind, b"ADT", 1))["EVN-1"] == ["event.kind"]


def test_repeats_segments_and_components_are_told_apart():
    raw = adt("A01") + b"DG1|1||I10^\xe9\xab\x98\xe8\xa1\x80\xe5\x8e\x8b\rDG1|2||E11\r"
    found = fields(raw)

    assert found["DG1[1]-3.1"] == ["encounter.diagnoses[1].code"]
    assert found["DG1[2]-3"][0] == "encounter.diagnoses[2].code"


def test_what_decides_whether_it_is_applied_is_marked():
    by_path = {use.path: use for use in told(adt("A03", PV1_45="20260230120000")).uses}

    assert by_path["PV1-45"].is_decisive


@pytest.mark.parametrize("charset", ["utf-8", "gb18030"])
def test_it_reads_in_the_charset_of_the_source(charset):
    raw = adt("A01", name="欧阳^建国").decode().replace("UNICODE UTF-8", "").encode(charset)
    by_path = {use.path: use for use in told(raw, charset=charset).uses}

    assert by_path["PID-5.1"].value == "欧阳"
    assert by_path["PID-5.1"].became == (("patient.name", "欧阳建国"),)


@pytest.mark.parametrize(
    "raw", [b"MSH", b"MSH|", b"MSH|^~\\&", b"PID|1", b"\xff\xfe", b"MSH|^~\\&|\r" + b"|" * 3000 + b"\r"]
)
def test_odd_bytes_get_an_answer(raw):
    assert told(raw) is not None


def test_files_of_any_make_give_their_messages():
    one, two = adt("A01", c=1), adt("A08", c=2)
    framed = b"\x0b" + one + b"\x1c\r\x0b" + two + b"\x1c\r"

    assert [part.raw.strip() for part in messages_of(framed)] == [one.strip(), two.strip()]
    assert len(messages_of(framed[:-2])) == 2  # the last end block was cut off
    assert len(messages_of(one + two)) == 2
    assert len(messages_of(b"\xef\xbb\xbf" + one.replace(b"\r", b"\r\n"))) == 1
    with pytest.raises(NotMessages):
        messages_of(b" \r\n")
