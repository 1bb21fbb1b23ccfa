"""`hcrm import`: the pages' own code; results on the output, progress beside it, 0 only when all is well."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hcrm.archive.models import Patient
from hcrm.cli.main import main
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from tests.support.importing import Intake, csv_file


@pytest.fixture
def intake(database: Database, clock: FixedClock, monkeypatch: pytest.MonkeyPatch) -> Intake:
    monkeypatch.setattr("hcrm.cli.imports.open_database", lambda _: database)
    return Intake(database, clock)


def hcrm(*words: str) -> Result:
    return CliRunner().invoke(main, ["import", *words])


def test_a_file_is_checked_written_looked_at_and_taken_back(intake: Intake, tmp_path: Path) -> None:
    before = json.dumps(intake.dump(), default=str)
    file, errors = tmp_path / "list.csv", tmp_path / "errors.csv"
    file.write_bytes(csv_file(("号", "姓名", "性别"), ("1", "甲", "男"), ("2", "罕见", "鸟")))

    checked = hcrm("check", str(file), "--kind", "patients", "--column", "record_no=号")

    assert checked.exit_code == 1  # a row has a fault
    assert "待确认：共 2 行；新增 1，有错误 1" in checked.stdout
    assert "第 3 行  性别：只能填：男、女、其他、未知" in checked.stdout
    assert "罕见" not in checked.output
    number = checked.stdout.split()[1]
    assert hcrm("errors", number, str(errors)).exit_code == 0
    assert "罕见" in errors.read_text("utf-8-sig")
    written = hcrm("run", number)
    assert (written.exit_code, "已写入 1" in written.stdout) == (0, True)
    assert "正在导入" in written.stderr
    assert number in hcrm("status").stdout
    assert intake.work(lambda work: work.one(Patient)).name == "甲"
    assert hcrm("revert", number).exit_code == 0
    assert json.dumps(intake.dump(), default=str) == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run", "x"), "hcrm: 没有这次导入"),
        (("check", "{file}", "--kind", "people"), "hcrm: 没有这种导入；可用：patients"),
        (
            ("check", "{file}", "--kind", "patients", "--column", "record_no=编码"),
            "hcrm: 文件中没有“编码”这一列",
        ),
        (("check", "{file}", "--kind", "patients", "--column", "x=姓名"), "hcrm: 没有这一项：x"),
        (("check", "{file}", "--kind", "patients"), "hcrm: 病案号（record_no）：请选择文件中的列"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing(
    intake: Intake, tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    file = tmp_path / "list.csv"
    file.write_bytes(csv_file(("号", "姓名"), ("1", "甲")))

    done = hcrm(*(word.format(file=file) for word in words))

    assert (done.exit_code, sentence in done.output) == (1, True)
    assert hcrm("status").stdout == ""


def test_a_file_over_the_limit_is_told_its_size_and_is_not_read(intake: Intake, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    with file.open("wb") as opened:
        opened.truncate(60 * 1024 * 1024)

    done = hcrm("check", str(file), "--kind", "patients")

    assert (done.exit_code, hcrm("status").stdout) == (1, "")
    assert "hcrm: 文件有 60.0 MB，最大 10 MB，请拆成几个文件" in done.output
