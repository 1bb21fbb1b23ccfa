"""Files of sources, destinations and settings: every mistake in Chinese at its line and field, none let through."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from typing import Annotated, get_args

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from hcrm.archive.clinical.terms import AbnormalFlag
from hcrm.archive.terms import DischargeWay, EncounterClass, Sex
from hcrm.core.destinations import Destination, load_destinations
from hcrm.core.dialling import DialRules
from hcrm.core.errors import HcrmError
from hcrm.core.local_habits import AbnormalWord, ClassWord, SexWord, WayCode
from hcrm.core.settings import load_settings
from hcrm.core.sources import Source, Sources, load_sources

HIS = "code: his\ntitle: HIS\nsender: HIS\n"
VIEW = (
    "view: {url: 'postgresql://u@h/d', name: v, watermark: t, key: [k], columns: {patient_no: p, name: n}, "
    "patient_no_type: MR}\ndefault_authority: H1\n"
)
CENSUS = (
    "census:\n  file: {path: /srv/cy-%Y%m%d.xlsx}\n"
    "  columns: {patient_no: P, visit_no: V, discharged_at: D, encounter_class: C}\n"
)


@pytest.fixture
def load(tmp_path):
    def read(**files: str | bytes) -> Sources:
        for name, content in files.items():
            raw = content.encode() if isinstance(content, str) else content
            (tmp_path / f"{name}.yaml").write_bytes(raw)
        return load_sources(tmp_path)

    return read


def refusal(load, **files: str | bytes) -> str:
    with pytest.raises(HcrmError) as refused:
        load(**files)
    assert refused.value.code == "source.invalid"
    return refused.value.message


# ── files that say the same ─────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        (HIS, HIS.replace("sender: HIS", "sender: LIS"), "code his"),
        (HIS, HIS.replace("code: his", "code: lis"), "sender HIS"),
        (HIS + "facility: H1\n", HIS.replace("code: his", "code: lis") + "facility: H1\n", "facility H1"),
        ("code: default\ntitle: a\n", "code: default\ntitle: b\n", "code default"),
    ],
)
def test_two_files_that_nobody_could_tell_apart_are_refused_naming_both(load, first, second, named):
    message = refusal(load, one=first, two=second)

    assert "one.yaml" in message
    assert "two.yaml" in message
    assert named in message


@pytest.mark.parametrize("more", ["", "facility: H1\n", "sender: ''\n", "folder: {path: /srv/drop}\n"])
def test_a_file_without_a_sender_would_never_be_found(load, more):
    message = refusal(load, his="code: his\ntitle: HIS\n" + more)

    assert "his.yaml" in message
    assert "sender" in message


def test_a_file_that_is_found_otherwise_needs_no_sender(load):
    found = load(
        a="code: a\ntitle: A\n" + VIEW, b="code: b\ntitle: B\nsoap: {}\n", default="code: default\ntitle: D\n"
    )

    assert set(found.by_code) == {"a", "b", "default"}


def test_a_sender_with_and_without_facility_are_two(load):
    found = load(a=HIS, b=HIS.replace("code: his", "code: b") + "facility: H2\n")

    assert [found.find("HIS", each).code for each in ("H1", "H2")] == ["his", "b"]


# ── mistakes in Chinese ─────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("colour: green", 4, "不认识“colour”"),
        ("facilty: H1", 4, "不认识“facilty”，是否想写 facility？"),
        ("folder: {path: /srv, every_second: 5}", 4, "不认识“every_second”，是否想写 every_seconds？"),
        ("charset: utf-88", 4, "charset：不认识的字符集"),
        ("charset_order: [charset, klingon]", 4, "不认识的字符集"),
        ("zone: Asia/Beijing", 4, "zone：没有这个时区，应写作 Asia/Shanghai"),
        ("zone: ''", 4, "没有这个时区"),
        ("ack_mode: maybe", 4, "只能是 auto、original"),
        ("merges_per_hour: many", 4, "merges_per_hour：应为整数"),
        ("merges_per_hour: -1", 4, "不能小于 0"),
        ("charset_forced: perhaps", 4, "应为 true 或 false"),
        ("departments: [a]", 4, "应为若干“名称: 值”"),
        ("record_number_types: MR", 4, "应为列表"),
        ("addresses: [10.1.0.0/33]", 4, "应为地址或网段"),
        ("follow_up_from: 2026-12-01 00:00:00", 4, "须写明时区"),
        ("follow_up_from: soon", 4, "应为日期和时间"),
        ("follow_up_from: 20261201", 4, "follow_up_from：应为日期和时间"),
        ("follow_up_from: '20261201'", 4, "follow_up_from：应为日期和时间"),
        ("follow_up_from: 20261201000000.5", 4, "follow_up_from：应为日期和时间"),
        ("follow_up_from: 2026-13-01", 4, "没有这样的日期或时间"),
        ("follow_up_from: 2026-12-01T00:00:00+99:00", 4, "没有这样的日期或时间"),
        ("follow_up_from: !!timestamp abc", 4, "没有这样的日期或时间"),
        ("empty_dates: [86400]", 4, "empty_dates 第 1 项：应为日期"),
        (CENSUS + "  at: '10:30+08:00'", 7, "census at：应为时间，如 06:30"),
        (CENSUS + "  at: 630", 7, "census at：应为时间，如 06:30"),
        (CENSUS + "  at: '630'", 7, "census at：应为时间，如 06:30"),
        ("merges_per_hour: 1:30", 4, "merges_per_hour：应为整数"),
        ("merges_per_hour: " + "9" * 5_000, 4, "位数过多"),
        ("charset_forced: !!bool maybe", 4, "应为 true 或 false"),
        ("departments: " + "[" * 3_000 + "]" * 3_000, 4, "嵌套超过 50 层"),
        ("folder: {path: /srv, every_seconds: soon}", 4, "folder every_seconds：应为数字"),
        ("folder: {pattern: x}", 4, "缺少“path”"),
        ("list_file: {columns: {patient_no: a, name: b}, charset: klingon}\nfolder: {path: /srv}", 4, "不认识的字符集"),
        ("discharge_ways: {'7': '8'}", 4, "只能是 1、2、3、4、5、9"),
        ("classes: {I: inpatiant}", 4, "classes I：只能是 inpatient、"),
        ("classes: {I: inpatiant}", 4, "，是否想写 inpatient？"),
        (VIEW.replace("name: n", "admited_at: n"), 4, "是否想写 admitted_at？"),
        ("sexes: {X: man}", 4, "只能是 male、"),
        ("abnormal_flags: {X: bad}", 4, "只能是 normal、"),
        ("title: again", 4, "“title”写了两次，前一次在第 2 行"),
        ("identifier_types: {BLH：record}", 4, "identifier_types BLH：冒号是全角的"),
        ("identifier_types: {BLH:record}", 4, "identifier_types BLH：冒号后缺少空格"),
        ("departments:\n  内一：K01", 4, "departments：冒号是全角的"),
        ("facility：H1\ncharset: gbk", 4, "冒号是全角的"),
        ("departments:\n\tA: B", 5, "有制表符（Tab）"),
        ("sexes: {M: male", 5, "YAML 写法有误"),
        ("tokens: [a\x00b]", 4, "YAML 写法有误"),
    ],
)  # fmt: skip
def test_a_mistake_is_said_in_chinese_at_its_line_and_field(load, text, line, said):
    message = refusal(load, his=f"{HIS}{text}\n")

    assert message.startswith(f"来源配置 his.yaml 有误：第 {line} 行")
    assert said in message
    assert not any(word in message for word in ("Input", "should", "valid", "Extra", "unknown encoding"))


def test_the_time_of_a_list_and_a_code_with_a_leading_zero_need_no_quotes(load):
    text = HIS + "default_authority: H1\ndepartments: {0312: K01}\n" + CENSUS + "  at: 10:30\n  due: 11:45\n"

    source = load(his=text).by_code["his"]

    assert source.census is not None
    assert (source.census.at, source.census.due) == (time(10, 30), time(11, 45))
    assert source.departments == {"0312": "K01"}


@pytest.mark.parametrize(
    "written", ["2026-12-01T00:00:00+08:00", "2026-12-01 00:00:00 +08:00", "'2026-11-30T16:00:00Z'"]
)
def test_the_cut_over_is_a_moment_with_its_offset(load, written):
    source = load(his=f"{HIS}follow_up_from: {written}\n").by_code["his"]

    assert source.follow_up_from == datetime(2026, 11, 30, 16, tzinfo=UTC)


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models_in(field.annotation)
    for part in get_args(annotation):
        yield from models_in(part)


@pytest.mark.parametrize("model", [Source, Destination, DialRules])
def test_no_file_holds_a_time_that_is_read_from_a_number(model):
    bare = {
        f"{each.__name__}.{name}"
        for each in models_in(model)
        for name, field in each.model_fields.items()
        for number in (86_400, "86400", 86_400.0)
        if {date, datetime, time} & set(map(type, read_times(field, number)))
    }
    assert bare == set()


def read_times(field: FieldInfo, number: object) -> Iterator[object]:
    """What a field makes of a number, alone or in a list."""
    for value in (number, [number]):
        try:
            read = TypeAdapter(Annotated[field.annotation, field]).validate_python(value)
        except ValidationError:
            continue
        yield from read if isinstance(read, list | tuple) else [read]


@pytest.mark.parametrize(
    "charset",
    ["utf-16", "utf-7", "utf-32-le", "idna", "punycode", "cp037", "hz", "unicode_escape",
     "raw_unicode_escape", "hex", "rot13", "undefined"],
)  # fmt: skip
def test_a_charset_that_changes_delimiters_or_gives_no_text_is_refused(load, charset):
    for line in (f"charset: {charset}", f"charset_order: [charset, {charset}]"):
        assert "字符集" in refusal(load, his=f"{HIS}{line}\n")


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "GBK", "gb18030", "gb2312", "big5", "iso8859-1"])
def test_a_charset_of_senders_is_accepted(load, charset):
    assert load(his=f"{HIS}charset: {charset}\n").by_code["his"].charset == charset


def test_every_mistake_is_said_at_once(load):
    message = refusal(load, his=HIS + "charset: x\nzone: y\nack_mode: z\n")

    assert all(f"第 {line} 行" in message for line in (4, 5, 6))


@pytest.mark.parametrize("content", ["title: 医院\n".encode("gb18030"), b"", b"- a\n- b\n", b"\xff\xfe"])
def test_a_file_that_is_none_is_refused(load, content):
    assert "his.yaml" in refusal(load, his=content)


def test_a_byte_order_mark_is_no_mistake(load):
    assert "his" in load(his=b"\xef\xbb\xbf" + HIS.encode()).by_code


def test_a_value_is_not_repeated_where_it_may_be_a_secret(load):
    view = VIEW.replace("u@h", "u:Secret-2026@h")

    assert "Secret" not in refusal(load, his=HIS + view)


@pytest.mark.parametrize(
    "text",
    ["charset: Secret", "charset_order: [Secret]", "zone: Secret", "fields: {patient.name: PID-Secret}",
     "date_forms: [Secret]", "date_forms: [yyyy-M-d Secret]", "events: {Z01: Secret}",
     "addresses: [Secret]", "follow_up_from: Secret", "ack_mode: Secret", "tokens: Secret",
     "event_from: Secret", "certificate_subjects: [Secret]"],
)  # fmt: skip
def test_no_sentence_repeats_what_was_written(load, text):
    assert "Secret" not in refusal(load, his=f"{HIS}{text}\n")


@pytest.mark.parametrize(
    ("word", "enum"),
    [(SexWord, Sex), (ClassWord, EncounterClass), (WayCode, DischargeWay), (AbnormalWord, AbnormalFlag)],
)
def test_the_closed_lists_are_those_of_the_archive(word, enum):
    assert {*get_args(word)} | {"unknown"} == {each.value for each in enum}


def test_a_destination_says_its_mistakes_the_same_way(tmp_path):
    (tmp_path / "lis.yaml").write_text(
        "code: lis\ntitle: L\nhost: h\nport: many\nzone: Mars\n", encoding="utf-8"
    )
    with pytest.raises(HcrmError) as refused:
        load_destinations(tmp_path)

    assert "第 4 行，port：应为整数" in refused.value.message
    assert "第 5 行，zone：没有这个时区" in refused.value.message


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"http": {"threads": "many"}}, "http.threads：应为整数"),
        ({"http": {"thread": 1}}, "不认识“thread”"),
        ({"hospital": {"zone": ""}}, "hospital.zone：没有这个时区"),
        ({"mllp": {"allow": ["x"]}}, "mllp.allow：应为地址或网段"),
        ({"mllp": {"client_certificates": "some"}}, "只能是 none、required"),
    ],
)
def test_a_setting_says_its_mistakes_the_same_way(values, said):
    with pytest.raises(HcrmError) as refused:
        load_settings(**values)

    assert refused.value.message.startswith("配置项有误：")
    assert said in refused.value.message
