"""What a source's file may say of dates, places, events and charsets: read as meant, or refused at the start."""

from datetime import UTC, date, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.his.charset import CharsetError, decode
from adapters.his.header import read_header
from adapters.his.local import TARGETS
from adapters.his.map_acts import ACTS
from adapters.his.map_clinical import CLINICAL_EVENTS, STAFF_EVENTS
from adapters.his.mapping import EVENTS, PERSON_EVENTS, SWAP
from adapters.his.moments import BadTime, birth_date, moment
from hcrm.core.date_forms import DateForms, check_form
from hcrm.core.errors import HcrmError
from hcrm.core.local_habits import EVENTS as KNOWN
from hcrm.core.local_habits import SETTING_OF, LocalField
from hcrm.core.sources import Source, load_sources
from tests.support.profiles import example_files, example_sources

SHANGHAI = Source(code="x", title="x").zoneinfo
TOKENS = ("H", "m", "s", "S")
WALL_CLOCKS = st.datetimes(datetime.fromisoformat("1900-01-01"), datetime.fromisoformat("2100-01-01"))


def source(**settings) -> Source:
    return Source.model_validate({"code": "x", "title": "x", **settings})


# ── dates ───────────────────────────────────────────────────────────────────

separators = st.sampled_from(["/", "-", ".", " ", "年", "月", "T", ":", " 的 "])


@st.composite
def forms(draw) -> str:
    """Any form that is accepted: the order of the day's parts, separators, how exact, one digit or two."""
    order = draw(st.permutations(["yyyy", "M", "d"]))
    parts = [part if part == "yyyy" else part * draw(st.integers(1, 2)) for part in order]
    parts += [token * draw(st.integers(1, 2)) for token in TOKENS[: draw(st.integers(0, 3))]]
    text = "".join(part + draw(separators) for part in parts)[:-1]
    if len(parts) == 6 and draw(st.booleans()):
        text = text.rstrip(" 的/-.年月T:") + ".SSS"
    return text + draw(st.sampled_from(["", "日", "分"]))


def rendered(form: str, at: datetime) -> str:
    """As a system of that habit writes it; tokens are replaced from the longest on."""
    marks = {
        "yyyy": f"{at:%Y}", "SSS": f"{at.microsecond // 1000:03}", "MM": f"{at:%m}", "dd": f"{at:%d}",
        "HH": f"{at:%H}", "mm": f"{at:%M}", "ss": f"{at:%S}", "M": str(at.month), "d": str(at.day),
        "H": str(at.hour), "m": str(at.minute), "s": str(at.second),
    }  # fmt: skip
    written, rest = "", form
    while rest:
        mark = next((mark for mark in marks if rest.startswith(mark)), "")
        written += marks[mark] if mark else rest[0]
        rest = rest[len(mark) or 1 :]
    return written


@given(form=forms(), at=WALL_CLOCKS)
def test_a_time_in_any_configured_form_is_read_as_it_was_written(form, at):
    at = at.replace(microsecond=at.microsecond // 1000 * 1000 if "S" in form else 0)
    at = at.replace(
        second=at.second if "s" in form else 0, minute=at.minute if "m" in form else 0,
        hour=at.hour if "H" in form else 0, tzinfo=SHANGHAI,
    )  # fmt: skip
    dates = source(date_forms=[form]).dates

    found = moment(rendered(form, at), SHANGHAI, dates)

    assert found is not None
    assert found.at == at.astimezone(UTC)
    assert birth_date(rendered(form, at), dates) == at.date()


@given(at=WALL_CLOCKS)
def test_the_standard_s_own_forms_stay_what_they_are_beside_configured_ones(at):
    dates = source(
        date_forms=["yyyy/M/d", "dd-MM-yyyy HH:mm", "yyyy年M月d日"], empty_dates=["1900-01-01"]
    ).dates
    for form in ("%Y%m%d%H%M%S", "%Y-%m-%d %H:%M:%S", "%Y%m%d", "%Y-%m-%dT%H:%M:%S.%f"):
        assert moment(at.strftime(form), SHANGHAI, dates) == moment(at.strftime(form), SHANGHAI)


@pytest.mark.parametrize(
    "form",
    ["ddMMyyyy", "yyyyMd", "yyyy-MM", "yy-MM-dd", "yyyy-MM-dd mm:HH", "yyyy-MM-dd HH:ss", "MM/dd", "yyyy-MM-dd a",
     "yyyy/M/d0", "", "yyyyy-MM-dd", "yyyy-MM-dd HH:mm:ssSSS M"],
)  # fmt: skip
def test_a_form_that_could_be_read_in_two_ways_is_refused(form):
    with pytest.raises(ValueError, match="日期写法"):
        check_form(form)


@pytest.mark.parametrize("text", ["2026/13/1", "2026/2/30", "2026/1/1 extra", "x2026/1/1", "2026/001/1"])
def test_what_fits_no_form_or_no_calendar_is_no_time(text):
    with pytest.raises(BadTime):
        moment(text, SHANGHAI, source(date_forms=["yyyy/M/d"]).dates)


@pytest.mark.parametrize(
    "text",
    ["19000101", "1900-01-01", "1900/1/1", "19000101000000", "1900-01-01 00:00:00.000", " 无 ", "99991231"],
)
def test_a_marker_means_none_however_it_is_written(text):
    dates = DateForms(["yyyy/M/d"], [date(1900, 1, 1), date(9999, 12, 31), "无"])

    assert moment(text, SHANGHAI, dates) is None
    assert birth_date(text, dates) is None


def test_the_day_after_a_marker_is_a_day():
    dates = source(empty_dates=["1900-01-01", date(9999, 12, 31)]).dates

    assert birth_date("19000102", dates) == date(1900, 1, 2)
    assert source().dates is None


# ── charsets ────────────────────────────────────────────────────────────────


def read(text: str, encoding: str, declared: str, **settings) -> tuple[str, tuple[str, ...]]:
    raw = f"MSH|^~\\&|A|B|C|D|1||ADT^A01|1|P|2.4||||||{declared}\rPID|1||1||{text}\r".encode(encoding)
    header = read_header(raw)
    assert header is not None
    found, flags = decode(raw, header, source(**settings))
    return found.split("|")[-1].strip(), flags


def test_the_order_decides_who_is_believed():
    """UTF-8 bytes that are valid GB18030 too: by the header first, by the file first."""
    assert read("中文", "utf-8", "UNICODE UTF-8", charset="gb18030") == ("中文", ())
    with pytest.raises(
        CharsetError
    ) as refused:  # the file does not believe the header, and the bytes not the file
        read("中文", "utf-8", "UNICODE UTF-8", charset="gb18030", charset_order=["charset"])
    assert refused.value.code == "charset_utf8"


def test_the_second_is_tried_only_where_the_first_fails_and_says_so():
    order = {"charset": "utf-8", "charset_order": ["charset", "MSH-18", "gb18030"]}

    assert read("韡玘", "utf-8", "GBK", **order) == ("韡玘", ("charset_declared_wrong",))
    assert read("韡玘", "gb18030", "GBK", **order) == ("韡玘", ())
    assert read("韡玘", "gb18030", "", **order) == ("韡玘", ("charset_fallback",))
    with pytest.raises(CharsetError):
        read("é", "latin-1", "", **order)


@given(
    st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), min_size=1),
    st.sampled_from(["utf-8", "gbk"]),
)
def test_declared_text_is_read_as_declared(text, charset):
    declared = {"utf-8": "UNICODE UTF-8", "gbk": "GBK"}[charset]
    assert read(text, charset, declared, charset="utf-8")[0] == text


@pytest.mark.parametrize(
    "settings",
    [
        {"charset": "gb18030", "charset_order": ["charset", "utf-8"]},
        {"charset": "gbk", "charset_order": ["charset", "MSH-18"]},
        {"charset_order": ["latin-1", "charset"]},
        {"charset_order": []},
        {"charset_order": ["no-such"]},
    ],
)
def test_an_order_of_which_a_part_is_never_reached_is_refused(settings):
    with pytest.raises((ValueError, LookupError)):
        source(**settings)


# ── places and events ───────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ("fields: {patient.nmae: PID-9}", "patient.name"),  # the allowed names
        ("fields: {patient.name: PID9}", "PV1-3.4"),
        ("fields: {patient.name: PID-0}", "fields patient.name：位置"),
        ("fields: {encounter.department: ZPV-7}\ndepartment_from: [PV1-3.1]", "department_from"),
        ("department_from: [PV1_3]", "department_from 第 1 项：位置"),
        ("events: {ZP1: A99}", "events ZP1：不支持的事件"),
        ("events: {'bad code!': A28}", "bad code!"),
        ("event_from: MSH-21", "events"),
        ("event_from: MSH-21\nevents: {BS1: A29}", "A29"),
        ("identifier_types: {IDCard: card}", "visit_card"),
        ("date_forms: [ddMMyyyy]", "date_forms 第 1 项：日期写法没有分隔符"),
    ],
)
def test_a_mistake_stops_the_start_with_file_and_what_is_allowed(tmp_path, settings, named):
    (tmp_path / "his.yaml").write_text(f"code: his\ntitle: HIS\n{settings}\n", encoding="utf-8")

    with pytest.raises(HcrmError) as refused:
        load_sources(tmp_path)

    assert "his.yaml" in refused.value.message
    assert named in refused.value.message


def test_a_field_with_a_setting_of_its_own_is_that_setting():
    found = source(fields={"encounter.department": "ZPV-7", "patient.region": ["ZPI-4", "PID-11.9"]})

    assert found.department_from == ("ZPV-7",)
    assert found.region_from == ("ZPI-4", "PID-11.9")
    assert found.fields == {}


def test_every_field_has_a_place_and_every_event_a_mapper():
    assert set(get_args(LocalField)) == set(TARGETS) | set(SETTING_OF)
    adt = {*EVENTS, *PERSON_EVENTS, *ACTS, SWAP}
    clinical = {*CLINICAL_EVENTS, *STAFF_EVENTS}
    assert {f"ADT^{event}" for event in adt} | {"^".join(kind) for kind in clinical} == KNOWN


def test_the_examples_of_the_documentation_are_valid():
    assert {*example_files()} <= {*example_sources().by_code}
    assert (
        timedelta(hours=8)
        == datetime(2026, 1, 1, tzinfo=example_sources().by_code["bus"].zoneinfo).utcoffset()
    )
