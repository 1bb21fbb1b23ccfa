"""`hcrm source check`: sample messages explained, without a database."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from click.testing import CliRunner, Result

from hcrm.archive.records import Change
from hcrm.cli.field_words import field_words
from hcrm.cli.main import main
from tests.support.adt import adt


@pytest.fixture
def check(tmp_path):
    def run(raw: bytes, *options: str) -> Result:
        path = tmp_path / "sample.hl7"
        path.write_bytes(raw)
        return CliRunner().invoke(main, ["source", "check", *options, str(path)])

    return run


def test_each_value_is_shown_with_what_it_becomes_and_masked(check):
    done = check(adt("A01", PID_5="欧阳^建国", PID_8="M"))

    assert done.exit_code == 0, done.output
    assert "可以入档" in done.output
    assert "patient.name 姓名" in done.output
    assert "欧阳" not in done.output
    assert "某某" in done.output
    assert "male 男" in done.output  # a word of a closed list says nothing of a person


def test_the_values_themselves_on_demand(check):
    assert "欧阳建国" in check(adt("A01", PID_5="欧阳^建国"), "--clear").output


def test_a_code_nobody_knows_is_named_with_its_place(check):
    done = check(adt("A03", PV1_36="本地7"))

    assert "未对照的代码：PV1-36 本地7（1 次）" in done.output
    assert "代码未对照（PV1-36）" in done.output


def test_a_sample_in_a_charset_no_file_names_is_read_on_trial_and_still_said_to_be_parked(check):
    gbk = adt("A01", charset="", encoding="gb18030", MSH_3="WHO", MSH_4="H9", PV1_36="本地7")
    done = check(gbk)

    assert done.exit_code == 1
    assert "会被搁置，字符集无法识别（MSH-18）。发送方 WHO/H9 没有来源文件" in done.output
    assert "以下按 gb18030 试读；若对，在来源文件写 charset: gb18030" in done.output
    assert "patient.name 姓名" in done.output
    assert "其余字段未检查" not in done.output
    assert "未对照的代码：PV1-36 本地7（1 次）" in done.output
    assert "怎么办：在来源文件的 discharge_ways 中加上 PV1-36 的代码" in done.output
    assert "合计：会被搁置 1 条" in done.output


def test_a_named_charset_is_the_one_it_is_read_in(check):
    gbk = adt("A01", charset="", encoding="gb18030")

    assert check(gbk, "--charset", "gbk").exit_code == 0
    wrong = check(gbk, "--charset", "big5", "--clear")
    assert "张三" not in wrong.output
    assert "试读" not in wrong.output
    assert "不认识的字符集" in check(gbk, "--charset", "klingon").output


def test_what_nobody_reads_is_listed_z_segments_too(check):
    done = check(adt("A01") + b"ZBX|1|local\r")

    assert "没有用到的段：ZBX" in done.output


def test_a_message_that_would_be_parked_says_why_and_ends_with_one(check):
    done = check(adt("A03", PV1_45="20260230120000"))

    assert done.exit_code == 1
    assert "会被搁置，日期或时间不可能存在（PV1-45）" in done.output
    assert "会被搁置 1 条" in done.output


def test_every_problem_is_told_in_one_run_and_the_other_fields_are_looked_at(check):
    done = check(adt("A03", PID_7="20261399", PV1_44="2026年1月1日", PV1_45="20260230120000", PV1_36="本地7"))

    assert done.exit_code == 1
    for place in ("PID-7", "PV1-44", "PV1-45"):
        assert f"日期或时间不可能存在（{place}）" in done.output
    assert "未对照的代码：PV1-36 本地7（1 次）" in done.output
    assert "patient.name 姓名" in done.output
    row = next(line for line in done.output.splitlines() if line.strip().startswith("PV1-45"))
    assert row.split() == ["PV1-45", "99999999999999", "决定能否入档"]
    unused = next(line for line in done.output.splitlines() if "没有用到的字段" in line)
    assert not any(place in unused for place in ("PID-7", "PV1-44", "PV1-45", "PID-5"))


def test_several_results_with_impossible_times_are_one_problem(check):
    obr = ["OBR|1||A1|K1^血常规", *(f"OBX|{n}|NM|WBC^白细胞||5|||N|||F|||2026023{n}" for n in (0, 1, 2))]
    done = check(adt("A01", segments=obr).replace(b"ADT^A01^ADT_A01", b"ORU^R01^ORU_R01"))

    assert "Traceback" not in done.output
    assert done.output.count("日期或时间不可能存在（OBX-14）") <= 1


@pytest.mark.parametrize("raw", [
    adt("A01", PID_3=""), adt("A01").replace(b"ADT^A01^ADT_A01", b"ADT^Z99"),
    adt("A01").replace("张".encode(), b"\xff\xff"),
])  # fmt: skip
def test_after_an_early_stop_no_field_is_called_unused(check, raw):
    done = check(raw)

    assert done.exit_code == 1
    assert "其余字段未检查" in done.output
    assert "没有用到的" not in done.output


def test_times_are_shown_on_the_hospital_s_clock(check):
    done = check(adt("A03", PV1_45="20261121233000"))

    assert "2026-11-21 23:30:00+0800" in done.output


def test_nothing_of_a_person_is_shown_whatever_it_becomes(check):
    """A citizen ID with another last digit is none: that its kind is a word of a list must not uncover it."""
    done = check(adt("A03", ni="11010119900307731X", phone="13912345678", PV1_36="5^死了"))

    for value in ("11010119900307731X", "13912345678", "中山路", "1990"):
        assert value not in done.output
    assert "encounter.discharge_way_text 离院方式原文" in done.output
    assert "死了" in done.output


def test_every_field_of_our_records_has_a_name():
    paths = list(leaves(Change, ""))

    assert "encounter.discharge_way_text" in paths
    assert "clinical.reports[1].observations[1].value" in paths
    assert [path for path in paths if field_words(path) == path] == []


def leaves(record: type, path: str) -> Iterator[str]:
    """Paths as `explain_message` writes them; another patient's are the same again."""
    hints = get_type_hints(record, include_extras=False)
    for each in fields(record):
        if each.name in ("also", "flags", "source", "unmapped"):
            continue
        name = f"{path}.{each.name}" if path else each.name
        inner = [part for part in parts_of(hints[each.name]) if is_dataclass(part)]
        is_list = any(get_origin(part) is tuple for part in (hints[each.name], *get_args(hints[each.name])))
        if is_list or not inner:
            yield name
        for part in inner:
            yield from leaves(part, f"{name}[1]" if is_list else name)


def parts_of(hint: Any) -> Iterator[Any]:
    yield hint
    for part in get_args(hint):
        yield from parts_of(part)


def test_framed_batched_and_with_any_line_end_it_is_the_same(check):
    first, second = adt("A01", c=1), adt("A08", c=2)
    framed = b"\x0b" + first + b"\x1c\r\x0b" + second + b"\x1c\r"
    batch = b"FHS|^~\\&\rBHS|^~\\&\r" + first + second + b"BTS|2\rFTS|1\r"
    for raw in (framed, batch, first + second, first.replace(b"\r", b"\n") + second.replace(b"\r", b"\r\n")):
        done = check(raw)
        assert "可以入档 2 条" in done.output, done.output


@pytest.mark.parametrize("raw", [b"", b"\r\n", b"PDF-1.4 nothing", b"\x00\xff\xfe"])
def test_what_is_no_message_is_said_so(check, raw):
    done = check(raw)

    assert done.exit_code == 1
    assert "Traceback" not in done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)


def test_an_unknown_source_is_refused_with_those_there_are(check):
    done = check(adt("A01"), "--source", "nowhere")

    assert done.exit_code == 1
    assert "没有这个来源：nowhere" in done.output
    assert check(adt("A01"), "--source", "default").exit_code == 0


def test_every_file_of_the_corpus_is_explained(corpus):
    files = sorted(map(str, (corpus / "hl7").rglob("*.hl7")))
    small = [path for path in files if Path(path).stat().st_size < 1_200]

    done = CliRunner().invoke(main, ["source", "check", *small])

    assert isinstance(done.exception, SystemExit)
    assert done.output.count("■") >= len(small) - 3
    assert "合计：" in done.output
