"""Chinese in UTF-8 from a sender whose file says GBK: never a rare-character name with shifted fields, but parked."""

import itertools

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from adapters.his.charset import CharsetError, codec_of, decode
from adapters.his.header import read_header
from adapters.his.outline import Hl7Outline
from adapters.his.simulator import Simulator
from hcrm.archive.models import Patient
from hcrm.core.clock import FixedClock
from hcrm.core.paths import config_path
from hcrm.core.sources import Source, Sources
from hcrm.inbox.models import ApplicationState
from tests.support.adt import adt
from tests.support.changes import EVENING
from tests.support.hospital import Hospital

GBK = Source(code="default", title="GBK", charset="GBK", charset_order=("charset",))
LEVEL_1 = [
    bytes([lead, trail]).decode("gb2312")
    for lead, trail in itertools.product(range(0xB0, 0xD8), range(0xA1, 0xFF))
    if lead < 0xD7 or trail < 0xFA
]
COMMON = st.text(st.sampled_from(LEVEL_1), min_size=2, max_size=8)


def message(name: str, encoding: str, *, address: str = "", declared: str = "") -> bytes:
    return adt(name=name, address=address, doctor="", charset=declared, encoding=encoding)


def read(raw: bytes, source: Source = GBK) -> tuple[str, tuple[str, ...]]:
    header = read_header(raw)
    assert header is not None
    return decode(raw, header, source)


def simulated() -> tuple[list[str], list[str]]:
    """Every surname and every given name of the simulated hospital."""
    people = yaml.safe_load((config_path("demo") / "people.yaml").read_text(encoding="utf-8"))
    given_names = {
        first
        for group in people["given"]
        for sex in ("male", "female")
        for first in (
            *group[sex]["alone"],
            *map("".join, itertools.product(group[sex]["first"], group[sex]["second"])),
        )
    }
    return [*people["surnames"], *people["double_surnames"]], sorted(given_names)


def test_no_name_of_the_simulated_hospital_in_gb18030_is_taken_for_utf_8():
    surnames, given_names = simulated()
    looks_like_utf8 = 0
    for surname, given_name in itertools.product(surnames, given_names):
        raw = f"MSH|^~\\&|A|B|C|D|1||ADT^A01|1|P|2.4\rPID|||1||{surname}^{given_name}\r".encode("gb18030")
        joined = (surname + given_name).encode("gb18030")
        if not is_utf8(raw) and not is_utf8(joined):
            continue
        looks_like_utf8 += 1
        raw = raw.replace(b"^" + given_name.encode("gb18030"), given_name.encode("gb18030"))
        assert read(raw)[1] == ()
        assert f"||{surname}{given_name}\r" in read(raw)[0]

    assert looks_like_utf8 > 500  # 0.5 %: why nobody may guess the other way round


def is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(name=COMMON, address=COMMON | st.just(""))
def test_common_characters_in_gb18030_are_read_as_they_were_meant(name, address):
    text, flags = read(message(name, "gb18030", address=address))

    assert (name in text, flags) == (True, ())


@given(name=COMMON, address=COMMON | st.just(""))
def test_the_same_in_utf_8_is_caught(name, address):
    found = outcome(message(name, "utf-8", address=address))

    assert found == "charset_utf8" or (found == "charset_doubtful" and len(name + address) == 2)


def outcome(raw: bytes) -> str:
    """Why it is parked, else its flags."""
    try:
        return " ".join(read(raw)[1])
    except CharsetError as error:
        return error.code


@given(st.text(st.sampled_from([chr(number) for number in range(0x4E00, 0x9FA6)]), min_size=3, max_size=8))
def test_three_ideographs_in_utf_8_are_never_taken_for_gb18030(name):
    with pytest.raises(CharsetError) as refused:
        read(message(name, "utf-8"))
    assert refused.value.code == "charset_utf8"


@pytest.mark.parametrize(
    "other", ["བཀྲ་ཤིས་ཚེ་རིང", "ئابدۇللا مەمەت", "ᠪᠠᠲᠤ", "Қанат Әлиев", "김철수", "ꆈꌠꁱꂷ", "Müller"]
)
@pytest.mark.parametrize("name", ["扎西次仁", "拉萨市"])
def test_another_writing_beside_the_chinese_is_no_reason_to_read_it_as_gb18030(name, other):
    for end in ("", "a"):
        with pytest.raises(CharsetError) as refused:
            read(adt(name=name, PID_9=other + end, address="", doctor="", charset="", encoding="utf-8"))
        assert refused.value.code == "charset_utf8"


@pytest.mark.parametrize("name", ["བཀྲ་ཤིས", "ᠪᠠᠲᠤ", "김철수", "ꆈꌠꁱꂷ"])
def test_a_name_in_another_writing_of_three_bytes_is_caught_without_any_chinese(name):
    assert outcome(message(name, "utf-8")) == "charset_utf8"


@pytest.mark.parametrize("other", ["ئابدۇللا مەمەت", "Қанат Әлиев"])
def test_a_swallowed_delimiter_proves_it_whatever_stands_beside(other):
    assert (
        outcome(adt(name="王", PID_9=other, address="", doctor="", charset="", encoding="utf-8"))
        == "charset_utf8"
    )


@pytest.mark.parametrize(("name", "found"), [("丽丽", "charset_doubtful"), ("王伟", "charset_utf8")])
def test_two_characters_are_doubtful_only_where_gb2312_has_what_they_would_be(name, found):
    assert outcome(message(name, "utf-8")) == found


def test_no_message_of_the_simulated_hospital_is_misjudged_either_way():
    sent = [each.raw for each in Simulator(7, EVENING.date(), 3, 40).messages()]
    texts = [raw.decode().replace("UNICODE UTF-8", "") for raw in sent]

    assert len(texts) > 100
    for text in texts:
        assert read(text.encode("gb18030"))[1] == ()
        if not text.isascii():
            with pytest.raises(CharsetError):
                read(text.encode())


def test_delimiter_bytes_inside_characters_are_no_proof_against_gb18030(corpus):
    raw = (corpus / "hl7/derived-zh/a01-gb18030-delimiter-bytes.hl7").read_bytes()

    assert read(raw)[1] == ()
    assert raw.count(b"|") > read(raw)[0].count("|")


def test_what_is_declared_gbk_but_is_utf_8_is_read_by_the_source_s_own_charset():
    raw = message("欧阳建国", "utf-8", declared="GBK")
    source = Source(code="default", title="t")
    header = read_header(raw)
    assert header is not None

    text, flags = read(raw, source)

    assert "欧阳建国" in text
    assert flags == ("charset_declared_wrong",)
    assert codec_of(raw, header, source) == "utf-8"


@pytest.mark.parametrize("charset", ["utf-8-sig", "utf_8"])
def test_another_name_of_utf_8_is_no_disguise(charset):
    assert "欧阳" in read(message("欧阳", "utf-8"), Source(code="default", title="t", charset=charset))[0]


@pytest.mark.parametrize("charset", ["big5", "iso8859-1"])
def test_other_charsets_do_not_swallow_it_either(charset):
    with pytest.raises(CharsetError):
        read(message("欧阳建国", "utf-8"), Source(code="default", title="t", charset=charset))


def test_a_clerk_sees_the_real_text_and_why_it_waits_and_nothing_enters_the_archive(database):
    sources = Sources([GBK])
    with Hospital(database, FixedClock(EVENING), sources=sources) as hospital:
        raw = message("钟军", "utf-8", address="建国路8号")
        hospital.receive(raw)

        application = hospital.application()
        assert (application.state, application.reason) == (ApplicationState.PARKED, "charset_utf8")
        assert hospital.all(Patient) == []
        shown = Hl7Outline().read(raw, sources)
        assert shown.codec is None
        assert any("钟军" in line.text for line in shown.lines)

        hospital.restart_worker(Sources([Source(code="default", title="mended")]))
        hospital.replay()
        assert hospital.patient(100).name == "钟军"
