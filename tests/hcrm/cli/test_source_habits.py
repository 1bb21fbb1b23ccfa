"""`hcrm source check` with the example files of the documentation, as a hospital runs it: its own folder of sources."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hcrm.core.paths import config_path
from tests.support.adt import adt
from tests.support.profiles import example_files


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose sources are the shipped default and the examples."""
    shutil.copytree(config_path(), tmp_path / "config")
    for code, text in example_files().items():
        (tmp_path / "config" / "sources" / f"{code}.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def check(home: Path, raw: bytes, *options: str) -> tuple[int, str]:
    (home / "sample.hl7").write_bytes(raw)
    done = subprocess.run(
        [Path(sys.executable).with_name("hcrm"), "source", "check", *options, home / "sample.hl7"],
        env={**os.environ, "HCRM_HOME": str(home), "PYTHONIOENCODING": "utf-8"}, cwd=home, capture_output=True,
        check=False,
    )  # fmt: skip
    return done.returncode, (done.stdout + done.stderr).decode()


def test_the_check_shows_what_a_file_maps_and_what_it_leaves(home):
    raw = adt(
        "A03", p="88001^^^^PatientNO", MSH_3="ZYHIS", PV1_36="1", segments=["ZPV|1|x|05|rest", "ZZZ|1|free"]
    )
    code, output = check(home, raw.decode().encode("gbk"))

    assert code == 0, output
    assert "按来源 his_gbk 解读" in output
    line = next(line for line in output.splitlines() if line.strip().startswith("ZPV-3 "))
    assert "encounter.discharge_way" in line
    assert "死亡" in line
    unused = next(line for line in output.splitlines() if "没有用到的字段" in line)
    assert "PV1-36" in unused
    assert "ZPV-4" in unused
    assert "没有用到的段：ZZZ" in output


def test_a_code_in_a_z_segment_that_no_table_knows_is_named_there(home):
    raw = adt("A03", p="88001^^^^PatientNO", MSH_3="ZYHIS", segments=["ZPV|1|x|本地7"])
    code, output = check(home, raw.decode().encode("gbk"))

    assert code == 0, output
    assert "未对照的代码：ZPV-3 本地7（1 次）" in output


def test_a_wrong_file_is_named_with_the_fields_there_are(home):
    path = home / "config" / "sources" / "bus.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("patient.phone", "patient.tel"), encoding="utf-8"
    )

    code, output = check(home, adt("A01"))

    assert code != 0
    assert "bus.yaml" in output
    assert "patient.phone" in output
    assert "Traceback" not in output


LIST = """
code: lists
title: 每日名单
default_authority: H1
identifier_types: {{MR: record}}
folder: {{path: /srv/his/drop}}
list_file:
  columns: {{patient_no: 病人ID, visit_no: 住院号, {more}}}
{block}
census:
  file: {{path: "/srv/his/census/cy-%Y%m%d.xlsx"}}
  columns: {{patient_no: 病人ID, visit_no: 住院号, admitted_at: 入院时间}}
  classes: {classes}
"""


@pytest.mark.parametrize(
    ("more", "block", "classes", "named"),
    [
        ("name: 姓名", "", "[inpatient, preadmit]", ["list_file", "census"]),
        ("name: 姓名", "", "[inpatient]", ["list_file"]),
        ("name: 姓名", "  default_class: inpatient", "[inpatient]", []),
        ("encounter_class: 类别", "", "[inpatient]", []),
        ("name: 姓名", "  event: person", "[inpatient]", []),  # opens no stay
    ],
)
def test_rows_that_open_stays_of_no_class_are_said(home, more, block, classes, named):
    text = LIST.format(more=more, block=block, classes=classes)
    (home / "config" / "sources" / "lists.yaml").write_text(text, encoding="utf-8")

    code, output = check(home, adt("A01"))

    assert code == 0, output
    told = [line for line in output.splitlines() if "没有就诊类别" in line]
    assert [line.partition("来源 lists 的 ")[2].split()[0] for line in told] == named
    assert all("“未知”" in line for line in told)
    assert ["对账的“多出”" in line for line in told] == [name == "census" for name in named]
    if named:
        assert "来源 lists 的 list_file" in check(home, adt("A01"), "--source", "lists")[1]
        assert "没有就诊类别" not in check(home, adt("A01"), "--source", "default")[1]
