"""`check_message`: what hl7apy finds, in words, without its traps."""

import pickle

import pytest

from adapters.his.check import BadProfile, check_message, load_profile
from adapters.his.explain import explain_message
from adapters.his.files import messages_of
from hcrm.core.paths import config_path
from hcrm.core.sources import Source, Sources, load_sources
from tests.support.adt import adt
from tests.support.outbound import destination, written

SOURCES = load_sources(config_path("sources"))
GOOD = written(destination())


def errors(raw, profile=None):
    return [(each.place, each.text) for each in check_message(raw, SOURCES, profile) if each.is_error]


@pytest.mark.parametrize("version", ["2.4", "2.5", "2.5.1", "2.6"])
@pytest.mark.parametrize("charset", ["utf-8", "gb18030"])
def test_what_we_send_ourselves_is_well(version, charset):
    assert errors(written(destination(version=version, charset=charset))) == []


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ((b"PID|1||00481516^^^H1^MR~77^^^H2^MR", b"PID|1||"), "PID-3"),
        ((b"|19660307|", b"|1966-03-07|"), "PID-7"),
        (("OBX|2|NM|pain^疼痛^99HCRM|".encode(), b"OBX|2|NM||"), "OBX-3"),
        ((b"|38.6|", b"|hot|"), "OBX-5"),
        ((b"OBR|1||", b"RXE|1|x\rOBR|1||"), "RXE"),
        ((b"|2.5.1|", b"|2.5.9|"), "MSH-12"),
        ((b"|^~\\&|", b"|^~\\\\&|"), "MSH-2"),
        ((b"ORU^R01^ORU_R01", b"XXX^R99^XXX_R99"), "MSH-9"),
        ((b"MSH|", b"MXX|"), "MSH"),
    ],
)
def test_each_fault_is_named_with_segment_and_field(change, place):
    raw = GOOD.replace(*change)
    assert raw != GOOD

    assert place in [found for found, _ in errors(raw)]


def test_a_charset_that_does_not_fit_is_said_and_the_rest_checked_all_the_same():
    raw = written(destination(charset="gb18030")).replace(b"GB 18030-2000", b"UNICODE UTF-8")

    assert errors(raw) == [("MSH-18", "字符集与内容不符，以下按 gb18030 检查")]
    assert "PID-7" in [place for place, _ in errors(raw.replace(b"|19660307|", b"|20261399|"))]


@pytest.mark.parametrize("charset", ["gb18030", "big5", "utf-8"])
def test_without_a_word_for_it_the_usual_charsets_are_tried_and_the_one_taken_is_named(charset):
    raw = adt("A01", name="陳^大文", address="", doctor="", charset="", encoding=charset)
    source = Sources([Source(code="default", title="t", charset="ascii")])

    found = check_message(raw, source)

    assert [each for each in found if each.is_error] == []
    assert f"以下按 {charset} 检查" in found[0].text or charset == "big5"  # which GB 18030 takes as well


def test_what_fits_no_usual_charset_is_said_so():
    raw = adt("A01", charset="").replace("张".encode(), b"\xff\xff")

    assert ("MSH-18", "字符集与内容不符，无法解码") in errors(raw)


def test_a_charset_that_is_asked_for_is_the_only_one():
    raw = adt("A01", charset="", encoding="gbk")

    assert [each for each in check_message(raw, SOURCES, charset="gbk") if each.is_error] == []
    assert errors_in(raw, "utf-8") == [("MSH-18", "内容不是 utf-8，无法解码")]
    assert errors_in(adt("A01"), "gbk") == [("MSH-18", "内容不是 gbk，无法解码")]  # UTF-8 in disguise


def errors_in(raw, charset):
    return [(each.place, each.text) for each in check_message(raw, SOURCES, charset=charset) if each.is_error]


@pytest.mark.parametrize("value", ["20261399", "1970年1月1日", "19900230", "1990-03-07", "199003072560"])
@pytest.mark.parametrize("version", ["2.3", "2.4", "2.5.1", "2.6"])
@pytest.mark.parametrize("extra", ["", "x"])  # a PID of which hl7apy knows nothing
def test_a_date_that_does_not_exist_is_a_fault(value, version, extra):
    found = errors(adt("A01", dob=value, MSH_11=version, PID_60=extra))

    assert ("PID-7", "值不是 DTM 的写法，或没有这个日期、时间") in found
    assert "PID-7" not in [place for place, _ in errors(adt("A01", MSH_11=version, PID_60=extra))]


@pytest.mark.parametrize(
    "value", ["1990", "199003", "19900307", "1990030710", "199003071000", "20261122100000.123+0800"]
)
def test_every_length_the_standard_allows_is_well(value):
    assert "EVN-2" not in [place for place, _ in errors(adt("A01", EVN_2=value))]


@pytest.mark.parametrize("kind", [b"ADT^A08", b"ADT^A04", b"ADT^A40"])
def test_a_header_without_its_structure_is_checked_by_that_of_its_event(kind):
    raw = adt(kind[-3:].decode())
    whole = raw.split(b"\r", 1)[0].split(b"|")[8]
    found = errors(raw.replace(whole, kind, 1))

    assert [place for place, _ in found if place == "MSH-9"] == []


def test_no_finding_quotes_a_value():
    raw = GOOD.replace(b"19660307", b"SECRET-1966").replace(b"|M\r", b"|SECRET\r")

    assert "SECRET" not in str(check_message(raw, SOURCES))


def test_a_value_outside_its_table_is_a_hint_and_no_error():
    found = check_message(GOOD.replace(b"|19660307|M", b"|19660307|X"), SOURCES)

    assert ("PID-8", "值不在表 HL70001 中", False) in [
        (each.place, each.text, each.is_error) for each in found
    ]
    assert errors(GOOD.replace(b"|19660307|M", b"|19660307|X")) == []


def test_z_segments_are_the_hospital_s_own():
    assert errors(GOOD + b"ZBX|1|local\r") == []


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_line_ends_are_no_fault(end):
    assert errors(GOOD.replace(b"\r", end)) == []


def test_a_profile_narrows_the_standard(tmp_path):
    from hl7apy import load_reference

    standard = load_reference("ADT_A01", "Message", "2.5.1")
    children = tuple(
        (name, ref, (1, 1) if name == "PD1" else cardinality, kind)
        for name, ref, cardinality, kind in standard[1]
    )  # fmt: skip
    path = tmp_path / "profile"
    path.write_bytes(pickle.dumps({"ADT_A01": (standard[0], children, *standard[2:])}))

    assert ("PD1", "缺少必填的 PD1") in errors(adt("A01"), load_profile(path))
    assert ("PD1", "缺少必填的 PD1") not in errors(adt("A01"))
    assert errors(GOOD, load_profile(path)) != []  # not in this profile


class Evil:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize("content", [pickle.dumps(Evil()), b"", b"<xml/>", pickle.dumps([1])])
def test_a_profile_that_is_none_or_would_run_code_is_refused(tmp_path, content, capsys):
    path = tmp_path / "profile"
    path.write_bytes(content)

    with pytest.raises(BadProfile):
        load_profile(path)
    assert capsys.readouterr().out == ""


def test_every_message_of_the_corpus_is_checked(corpus):
    files = [path for path in (corpus / "hl7").rglob("*.hl7") if path.stat().st_size < 3_000]
    parts = [part for path in files for part in messages_of(path.read_bytes())]
    for part in parts:
        check_message(part.raw, SOURCES)  # whatever it is, an answer and no exception

    assert len(parts) > 40


def test_every_message_of_the_corpus_is_explained(corpus, clock):
    files = [path for path in (corpus / "hl7").rglob("*.hl7") if path.stat().st_size < 1_500]
    parts = [part for path in files for part in messages_of(path.read_bytes())]
    told = [explain_message(part.raw, SOURCES, clock.now()) for part in parts]

    assert any(each.uses for each in told)
