"""The ER7 reader: what it makes of delimiters, escapes, nulls, line ends, charsets and times."""

from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7v2 import (
    NULL,
    BadTime,
    CharsetError,
    birth_date,
    decode,
    moment,
    read_header,
    read_message,
)
from hcrm.core.sources import Source
from tests.support.effort import LINEAR, growth

SHANGHAI = ZoneInfo("Asia/Shanghai")
UTF8 = Source(code="default", title="default")
GB = Source(code="gb", title="gb", charset="gb18030")


def message(*segments: str, msh2: str = "^~\\&") -> str:
    return "\r".join((f"MSH|{msh2}|HIS|H1|HCRM|H1|20261122100000||ADT^A08|7|P|2.5", *segments)) + "\r"


def segment(text: str, msh2: str = "^~\\&"):
    return read_message(message(text, msh2=msh2)).segment(text[:3])


# ── values ──────────────────────────────────────────────────────────────────


def test_fields_components_repeats_and_sub_components_count_from_one():
    pid = segment("PID|1||100^^^H1&1.2.3&ISO^MR~110101^^^PRC^NI||张^三")

    assert (pid.text(3), pid.text(3, 5), pid.text(3, 4, 1, 2)) == ("100", "MR", "1.2.3")
    assert (pid.text(3, 1, 2), pid.text(3, 5, 2)) == ("110101", "NI")
    assert (pid.text(5, 1), pid.text(5, 2)) == ("张", "三")


def test_what_is_absent_reads_as_empty():
    pid = segment("PID|1")
    absent = read_message(message()).segment("PV1")

    assert (pid.text(3), pid.text(1, 9), pid.text(1, 1, 9), pid.text(1, 1, 1, 9), pid.repeats(30)) == (
        "",
        "",
        "",
        "",
        [],
    )
    assert not absent
    assert (absent.name, absent.text(19), absent.value(19), absent.repeats(3)) == ("PV1", "", None, [])


def test_a_null_is_told_from_an_absent_value():
    pid = segment('PID|1||||""^三||""||||""^^北京||""~139^PRN^CP')

    assert (pid.value(7), pid.value(7, 5), pid.value(8), pid.value(99)) == (NULL, NULL, None, None)
    assert (pid.value(5, 1), pid.value(5, 2), pid.value(5, 3)) == (NULL, "三", None)
    assert (pid.value(11, 1), pid.value(11, 2), pid.value(11, 3)) == (NULL, None, "北京")
    assert (pid.text(7), pid.is_null(7), pid.has(7), pid.has(8)) == ("", True, True, False)


def test_an_empty_first_repeat_keeps_its_place():
    repeats = segment("PID|1||||||||||||~139^PRN^CP").repeats(13)

    assert [(repeat.index, bool(repeat), repeat.text(1)) for repeat in repeats] == [
        (1, False, ""),
        (2, True, "139"),
    ]


def test_escapes_are_read_in_one_pass_after_splitting():
    pid = segment(
        r"PID|1||||||||||A\T\B \F\ \S\ \R\ \E\ \X0D0A\ x\.br\y|\E\F\E\|\Zq\F\ \H\F\N\ C:\a \T\ b\X00\c"
    )

    assert pid.text(11) == "A&B | ^ ~ \\ \n x\ny"
    assert pid.text(12) == r"\F" + "\\"
    assert pid.text(13) == "\\Zq\\F\\ \\H\\F\\N\\ C:\\a & bc"


@given(st.text(st.sampled_from("\\FSTREX0DAbr.Z |^~&é张"), max_size=30))
def test_escaping_a_text_and_reading_it_gives_it_back(text):
    names = {"|": "F", "^": "S", "&": "T", "~": "R", "\\": "E"}
    escaped = "".join(f"\\{names[char]}\\" if char in names else char for char in text)

    assert segment(f"PID|{escaped}|").text(1) == text.strip()


def test_the_header_decides_the_delimiters():
    text = "MSH#*!?%#HIS#H1#HCRM#H1#2026##ADT*A08#7#P#2.5\rPID#1##100***H1%1.2*MR##张*三!Zhang*San?S?x\r"

    pid = read_message(text).segment("PID")

    assert (pid.text(3), pid.text(3, 4, 1, 2), pid.text(5, 1, 2), pid.text(5, 2, 2)) == (
        "100",
        "1.2",
        "Zhang",
        "San*x",
    )


@pytest.mark.parametrize("msh2", ["^~\\&", "^~\\\\&", "^~\\&#", "^~&", "^~\\", "^~", "^", ""])
def test_msh_2_is_repaired(msh2):
    pid = segment("PID|1||100^^^H1&1.2&ISO^MR~x||a\\S\\b", msh2=msh2)

    assert (pid.text(3, 4, 1, 2), pid.text(3, 1, 2), pid.text(5)) == ("1.2", "x", "a^b")


# ── segments ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\\r", "<CR>", "\\r\r", "\r\n\r\n"])
def test_segments_end_with_whatever_the_sender_uses(end):
    text = end.join(message("PID|1||100", "DG1|1||I10", "DG1|2||I63").split("\r"))

    read = read_message(text)

    assert [segment.name for segment in read] == ["MSH", "PID", "DG1", "DG1"]
    assert [dg1.text(3) for dg1 in read.segments("DG1")] == ["I10", "I63"]
    assert read.at("MSH-12") == "2.5"


def test_a_line_that_is_no_segment_goes_on_with_the_one_before():
    read = read_message("MSH|^~\\&|A\nOBX|1|TX|||first line\nsecond line\n患者|third\n\nOBX|2|TX|||other")

    assert [obx.raw(5) for obx in read.segments("OBX")] == ["first line\nsecond line\n患者", "other"]
    assert read.count("OBX") == 2


def test_groups_begin_with_each_patient():
    read = read_message(message("EVN|A40", "PID|1||1", "PD1|a", "MRG|2", "PID|2||3", "MRG|4"))

    assert [(group.segment("PID").text(3), group.segment("MRG").text(1)) for group in read.groups("PID")] == [
        ("1", "2"),
        ("3", "4"),
    ]
    assert not read.groups("PID")[1].segment("PD1")


def test_a_place_is_named_as_in_source_files():
    read = read_message(message("PV1|1|I|W1^101^1^H1&1.2|"))

    assert [read.at(path) for path in ("PV1-3", "PV1-3.2", "PV1-3.4.2", "PV2-1")] == ["W1", "101", "1.2", ""]


def test_what_has_no_msh_is_refused():
    for text in ("", "PID|1", "MSH", "MSHA", "MSH\r"):
        with pytest.raises(ValueError, match="no MSH"):
            read_message(text)


@given(st.text(max_size=80), st.sampled_from(["|", "#", "^"]))
def test_no_text_after_an_msh_breaks_the_reader(rest, mark):
    for one in read_message(f"MSH{mark}{rest}"):
        one.text(1)
        one.value(2, 3)
        [field.value(1, 2) for field in one.repeats(5)]


def read_values(filling: str) -> None:
    for obx in read_message(message(f"OBX|1|TX|a||{filling}")).segments("OBX"):
        obx.text(5)
        [field.text(1) for field in obx.repeats(5)]


@pytest.mark.parametrize("filling", ["A~", "x\n", "\rOBX|2|NM|a||1", "\\T\\", "\\Z", "^", "\r"])
def test_a_megabyte_of_anything_is_read_without_delay(filling):
    small, large = (filling * (size // len(filling)) for size in (125_000, 1_000_000))

    assert growth(read_values, small, large) < LINEAR


# ── header ──────────────────────────────────────────────────────────────────


def test_the_header_is_read_from_bytes():
    header = read_header(
        b"\xef\xbb\xbfMSH|^~\\&|HIS^1.2^ISO|H1|HCRM|H2|2026||ADT^A03^ADT_A03|C 1|P^T|2.5^FRA^2.11|||AL|NE||GBK\nPID"
    )

    assert header is not None
    assert (header.sender, header.facility, header.kind, header.control_id) == ("HIS", "H1", "ADT^A03", "C 1")
    assert (header.processing_id, header.version, header.accept_ack, header.application_ack) == (
        "P",
        "2.5",
        "AL",
        "NE",
    )
    assert header.charset_word == "GBK"


def test_a_header_that_is_no_ascii_names_its_sender():
    text = "MSH|^~\\&|医院珅|总院|||2026||ADT^A03|剕|P|2.4||||||GB18030\r"
    for header in (read_header(text.encode("gb18030")), read_header(text.replace("GB18030", "").encode())):
        assert header is not None
        assert (header.sender, header.facility, header.control_id) == ("医院珅", "总院", "剕")


@pytest.mark.parametrize(
    "raw", [b"", b"MSH", b"MSHA|", b"PID|1", "MSH|^~\\&|A".encode("utf-16"), b"GET / HTTP/1.1\r\n"]
)
def test_no_readable_msh_is_no_header(raw):
    assert read_header(raw) is None


@given(st.binary(max_size=60))
def test_no_bytes_break_the_header(raw):
    header = read_header(b"MSH" + raw)

    assert header is None or isinstance(header.kind, str)


# ── charset ─────────────────────────────────────────────────────────────────


def read(
    text: str, codec: str, word: str, source: Source = UTF8, place: int = 18
) -> tuple[str, tuple[str, ...]]:
    msh = [
        "MSH",
        "^~\\&",
        "HIS",
        "H1",
        "",
        "",
        "2026",
        "",
        "ADT^A08",
        "7",
        "P",
        "2.4",
        "",
        "",
        "",
        "",
        "",
        "",
    ]
    msh[place - 1] = word
    raw = ("|".join(msh) + f"\rPID|1||||{text}\r").encode(codec)
    header = read_header(raw)
    assert header is not None
    decoded, flags = decode(raw, header, source)
    return read_message(decoded).segment("PID").raw(5), flags


@pytest.mark.parametrize(
    ("word", "codec"),
    [("UNICODE UTF-8", "utf-8"), ("UNICODE", "utf-8"), ("UTF8", "utf-8"), ("GB 18030-2000", "gb18030"),
     ("GB18030", "gb18030"), ("GB2312", "gb18030"), ("GBK", "gb18030"), ("~UNICODE UTF-8", "utf-8"),
     ("", "utf-8")],
)  # fmt: skip
def test_the_declared_charset_is_obeyed(word, codec):
    assert read("张珅", codec, word) == ("张珅", ())


@pytest.mark.parametrize("place", [16, 17])
def test_a_charset_word_one_field_early_counts(place):
    assert read("张珅", "gb18030", "GB18030", place=place) == ("张珅", ())


def test_a_wrong_declaration_falls_back_to_the_source_and_is_flagged():
    assert read("张珅", "gb18030", "UNICODE UTF-8", GB) == ("张珅", ("charset_declared_wrong",))
    assert read("张珅", "utf-8", "ASCII") == ("张珅", ("charset_declared_wrong",))
    assert read("张珅", "utf-8", "KLINGON") == ("张珅", ("charset_declared_wrong",))


def test_what_decodes_neither_way_is_refused_and_never_guessed():
    for word in ("UNICODE UTF-8", ""):
        with pytest.raises(CharsetError):
            read("张珅", "gb18030", word, UTF8)


def test_a_forced_charset_skips_msh_18():
    forced = Source(code="x", title="x", charset="gb18030", charset_forced=True)

    assert read("郑伟", "gb18030", "UNICODE UTF-8", forced) == (
        "郑伟",
        (),
    )  # these bytes are valid UTF-8 as well


def test_nul_is_stripped_and_a_replacement_character_noted():
    assert read("a\x00b\ufffd", "utf-8", "") == ("ab\ufffd", ("nul_stripped", "replacement_character"))


@pytest.mark.parametrize(("word", "codec"), [("UNICODE UTF-8", "utf-8"), ("GB 18030-2000", "gb18030")])
def test_every_ideograph_comes_through(word, codec):
    ideographs = "".join(map(chr, range(0x4E00, 0x9FA6))) + "𠀀𪛖㐀䶵"
    raw = f"MSH|^~\\&|HIS|H1|||2026||ADT^A08|7|P|2.4||||||{word}\rPID|1||||{'|'.join(ideographs)}\r".encode(
        codec
    )
    header = read_header(raw)
    assert header is not None

    pid = read_message(decode(raw, header, UTF8)[0]).segment("PID")

    assert "".join(pid.text(n) for n in range(5, 5 + len(ideographs))) == ideographs


@pytest.mark.parametrize(
    ("name", "charset", "flags"),
    [("a01-utf8", "utf-8", ()), ("a01-gb18030", "utf-8", ()), ("a08-gb18030", "utf-8", ()),
     ("a01-gb18030-undeclared", "gb18030", ()), ("a01-gb18030-declared-utf8", "gb18030", ("charset_declared_wrong",)),
     ("a01-gb18030-delimiter-bytes", "utf-8", ())],
)  # fmt: skip
def test_chinese_messages_of_the_corpus_are_read(corpus: Path, name, charset, flags):
    raw = (corpus / "hl7" / "derived-zh" / f"{name}.hl7").read_bytes()
    header = read_header(raw)
    assert header is not None

    text, found = decode(raw, header, Source(code="x", title="x", charset=charset))
    pid = read_message(text).segment("PID")

    assert found == flags
    assert pid.text(3) == "1645876667"
    assert all("\u4e00" <= char <= "\u9fff" for char in pid.text(5, 1) + pid.text(5, 2))


# ── times ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "expected", "precision"),
    [("1990", "1989-12-31T16:00", "year"), ("199003", "1990-02-28T16:00", "month"),
     ("19900307", "1990-03-06T16:00", "day"), ("2026112209", "2026-11-22T01:00", "hour"),
     ("202611221000", "2026-11-22T02:00", "minute"), ("20261122100000", "2026-11-22T02:00", "second"),
     ("20261122100000+0900", "2026-11-22T01:00", "second"),
     ("20261122100000.5-0330", "2026-11-22T13:30:00.500", "second"),
     ("2026-11-22", "2026-11-21T16:00", "day"), ("2026-11-22 10:00:00", "2026-11-22T02:00", "second"),
     ("2026-11-22T10:00:00.123Z", "2026-11-22T10:00:00.123", "second"),
     ("2026/11/22 10:00", "2026-11-22T02:00", "minute"),
     ("20261122240000", "2026-11-22T16:00", "second"), ("2026-11-22 24:00", "2026-11-22T16:00", "minute"),
     ("20261231240000+0800", "2026-12-31T16:00", "second"), ("2026112224", "2026-11-22T16:00", "hour"),
     (" 20261122100000 ", "2026-11-22T02:00", "second")],
)  # fmt: skip
def test_a_time_is_read_with_its_precision(text, expected, precision):
    read = moment(text, SHANGHAI)

    assert read is not None
    assert (read.at, read.precision) == (datetime.fromisoformat(expected).replace(tzinfo=UTC), precision)


def test_a_time_tells_whether_it_had_an_offset():
    with_offset, without = moment("20261122100000+0900", SHANGHAI), moment("20261122100000", SHANGHAI)

    assert with_offset is not None
    assert without is not None
    assert str(with_offset.offset) == "UTC+09:00"
    assert without.offset is None


@pytest.mark.parametrize("text", ["20261122250000", "20261122240001", "202611222430", "99991231240000", "20261301",
                                  "00000001", "00000000120000", "000000", "20260230", "yesterday", "2026112", "0000",
                                  "99999999999999", "20261122100000+9900", "２０２６１１２２"])  # fmt: skip
def test_an_impossible_time_says_so(text):
    with pytest.raises(BadTime):
        moment(text, SHANGHAI)


def test_no_time_is_none():
    assert [moment(text, SHANGHAI) for text in ("", " ", '""')] == [None, None, None]


@pytest.mark.parametrize("text", ["00000000", "00000000000000", "00000000000000.0000+0800", "0000-00-00",
                                  "0000-00-00 00:00:00", " 00000000 "])  # fmt: skip
def test_a_date_of_zeros_is_none(text):
    assert (moment(text, SHANGHAI), birth_date(text)) == (None, None)


def test_a_birth_date_is_the_same_in_every_zone():
    assert {
        birth_date(text) for text in ("19900307", "19900307000000", "1990-03-07", "19900307235959+1400")
    } == {date(1990, 3, 7)}
    assert birth_date("1990") is None
    assert birth_date("") is None
    with pytest.raises(BadTime):
        birth_date("19900230")
