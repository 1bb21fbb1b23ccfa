"""`hcrm source check`: sample messages explained, without a database."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

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


def test_what_nobody_reads_is_listed_z_segments_too(check):
    done = check(adt("A01") + b"ZBX|1|local\r")

    assert "没有用到的段：ZBX" in done.output


def test_a_message_that_would_be_parked_says_why_and_ends_with_one(check):
    done = check(adt("A03", PV1_45="20260230120000"))

    assert done.exit_code == 1
    assert "会被搁置，日期或时间不可能存在（PV1-45）" in done.output
    assert "会被搁置 1 条" in done.output


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
