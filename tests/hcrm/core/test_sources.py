"""Files of sources, destinations and settings: every mistake in Chinese at its line and field, none let through."""

from typing import get_args

import pytest

from hcrm.archive.clinical_terms import AbnormalFlag
from hcrm.archive.terms import DischargeWay, EncounterClass, Sex
from hcrm.core.destinations import load_destinations
from hcrm.core.errors import HcrmError
from hcrm.core.local_habits import AbnormalWord, ClassWord, SexWord, WayCode
from hcrm.core.settings import load_settings
from hcrm.core.sources import Sources, load_sources

HIS = "code: his\ntitle: HIS\nsender: HIS\n"
VIEW = (
    "view: {url: 'postgresql://u@h/d', name: v, watermark: t, key: [k], columns: {patient_no: p, name: n}, "
    "patient_no_type: MR}\ndefault_authority: H1\n"
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
        ("charset: utf-88", 4, "charset：不认识的字符集 utf-88"),
        ("charset_order: [charset, klingon]", 4, "不认识的字符集 klingon"),
        ("zone: Asia/Beijing", 4, "zone：没有这个时区：Asia/Beijing"),
        ("zone: ''", 4, "没有这个时区"),
        ("ack_mode: maybe", 4, "只能是 'auto'、'original'"),
        ("merges_per_hour: many", 4, "merges_per_hour：应为整数"),
        ("merges_per_hour: -1", 4, "不能小于 0"),
        ("charset_forced: perhaps", 4, "应为 true 或 false"),
        ("departments: [a]", 4, "应为若干“名称: 值”"),
        ("record_number_types: MR", 4, "应为列表"),
        ("addresses: [10.1.0.0/33]", 4, "应为地址或网段"),
        ("follow_up_from: 2026-12-01 00:00:00", 4, "须写明时区"),
        ("follow_up_from: soon", 4, "应为日期和时间"),
        ("folder: {path: /srv, every_seconds: soon}", 4, "folder every_seconds：应为数字"),
        ("folder: {pattern: x}", 4, "缺少“path”"),
        ("list_file: {columns: {patient_no: a, name: b}, charset: klingon}\nfolder: {path: /srv}", 4, "不认识的字符集"),
        ("discharge_ways: {'7': '8'}", 4, "只能是 '1'、'2'、'3'、'4'、'5'、'9'"),
        ("classes: {I: inpatiant}", 4, "classes I：只能是 'inpatient'"),
        ("sexes: {X: man}", 4, "只能是 'male'"),
        ("abnormal_flags: {X: bad}", 4, "只能是 'normal'"),
        ("title: again", 1, "“title”写了两次"),
        ("sexes: {M: male", 5, "YAML 写法有误"),
        ("tokens: [a\x00b]", 4, "YAML 写法有误"),
    ],
)  # fmt: skip
def test_a_mistake_is_said_in_chinese_at_its_line_and_field(load, text, line, said):
    message = refusal(load, his=f"{HIS}{text}\n")

    assert message.startswith(f"来源配置 his.yaml 有误：第 {line} 行")
    assert said in message
    assert not any(word in message for word in ("Input", "should", "valid", "Extra", "unknown encoding"))


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
        ({"mllp": {"client_certificates": "some"}}, "只能是 'none'、'required'"),
    ],
)
def test_a_setting_says_its_mistakes_the_same_way(values, said):
    with pytest.raises(HcrmError) as refused:
        load_settings(**values)

    assert refused.value.message.startswith("配置项有误：")
    assert said in refused.value.message
