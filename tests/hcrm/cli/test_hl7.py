"""`hcrm hl7 check`: exit 0 only when all is well."""

import pickle

import pytest
from click.testing import CliRunner

from hcrm.cli.main import main
from tests.support.adt import adt
from tests.support.outbound import destination, written

GOOD = written(destination())


@pytest.fixture
def check(tmp_path):
    def run(*contents: bytes, options: tuple[str, ...] = ()):
        paths = []
        for number, content in enumerate(contents):
            path = tmp_path / f"{number}.hl7"
            path.write_bytes(content)
            paths.append(str(path))
        return CliRunner().invoke(main, ["hl7", "check", *options, *paths])

    return run


def test_all_well_is_zero(check):
    done = check(GOOD, GOOD)

    assert done.exit_code == 0, done.output
    assert "合格 2 条，不合格 0 条" in done.output


def test_one_bad_among_good_is_one_and_named_in_chinese(check):
    done = check(GOOD, GOOD.replace(b"|19660307|", b"|1966-03-07|"))

    assert done.exit_code == 1
    assert "错误 PID-7：值不是" in done.output
    assert "✗ 1.hl7" in done.output
    assert "1966" not in done.output


def test_framed_files_and_batches_are_opened(check):
    done = check(b"\x0b" + GOOD + b"\x1c\r\x0b" + GOOD + b"\x1c\r")

    assert (done.exit_code, done.output.count("✓")) == (0, 2)


@pytest.mark.parametrize("content", [b"", b"\r\n", b"no message at all"])
def test_what_is_no_message_is_not_well(check, content):
    done = check(content)

    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)


def test_a_broken_profile_is_refused_in_one_line(check, tmp_path):
    path = tmp_path / "profile"
    path.write_bytes(pickle.dumps(print))
    done = check(adt("A01"), options=("--profile", str(path)))

    assert done.exit_code == 1
    assert "规范文件 profile 无法读取" in done.output


def test_a_gbk_sample_before_there_is_a_source_is_read_and_the_charset_named(check):
    raw = adt("A01", charset="", encoding="gbk")
    done = check(raw)

    assert done.exit_code == 0, done.output
    assert "提示 MSH-18：没有写字符集，内容也不是 utf-8，以下按 gb18030 检查" in done.output
    assert "提示 MSH-18" not in check(raw, options=("--charset", "gbk")).output


def test_a_charset_or_source_nobody_knows_is_refused_in_chinese(check):
    for options, said in (
        (("--charset", "klingon"), "不认识的字符集"),
        (("--source", "none"), "没有这个来源"),
    ):
        done = check(adt("A01"), options=options)
        assert done.exit_code == 1
        assert said in done.output


def test_dates_that_do_not_exist_are_faults(check):
    for value in ("20261399", "1970年1月1日"):
        done = check(adt("A01", dob=value, charset="", encoding="gbk"))
        assert done.exit_code == 1
        assert "错误 PID-7：值不是 DTM 的写法，或没有这个日期、时间" in done.output
