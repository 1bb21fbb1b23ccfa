"""`hcrm doctor`: what it warns of."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from hcrm.app.install import install
from hcrm.app.processes import serve
from hcrm.cli import doctor as module
from hcrm.cli.main import main
from hcrm.core import runtime
from hcrm.core.errors import HcrmError
from hcrm.core.settings import load_settings


@pytest.mark.parametrize(
    ("line", "is_warned"), [("", True), ("follow_up_from: 2026-12-01T00:00:00+08:00\n", False)]
)
def test_a_source_without_a_cut_over_is_warned_of(tmp_path: Path, monkeypatch, line, is_warned):
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "his.yaml").write_text(
        f"code: his\ntitle: 医院信息系统\nsender: HIS\n{line}", encoding="utf-8"
    )
    monkeypatch.setattr(module, "config_path", tmp_path.joinpath)

    shown = CliRunner().invoke(main, ["doctor"]).output
    assert ("来源 his 没有设切换时间" in shown) is is_warned


def test_a_mistake_in_a_destination_is_named(tmp_path: Path, monkeypatch):
    (tmp_path / "destinations").mkdir()
    (tmp_path / "destinations" / "lis.yaml").write_text("code: lis\nport: x\n", encoding="utf-8")
    monkeypatch.setattr(runtime, "config_path", tmp_path.joinpath)

    shown = CliRunner().invoke(main, ["doctor"]).output
    assert "✗ 发送目标 destinations：发送目标 lis.yaml 有误" in shown


def test_two_files_of_one_sender_are_named_and_no_service_starts(tmp_path: Path, monkeypatch):
    settings = load_settings(db={"url": f"sqlite:///{tmp_path}/h.db"})
    install(settings)
    (tmp_path / "sources").mkdir()
    for code in ("his", "lis"):
        (tmp_path / "sources" / f"{code}.yaml").write_text(
            f"code: {code}\ntitle: t\nsender: HIS\n", encoding="utf-8"
        )
    monkeypatch.setattr(module, "config_path", tmp_path.joinpath)
    monkeypatch.setattr(runtime, "config_path", tmp_path.joinpath)

    said = "来源配置 lis.yaml 有误：sender HIS 与 his.yaml 相同"
    shown = CliRunner().invoke(main, ["doctor", "--db", settings.db.url]).output
    assert f"✗ 来源配置 sources：{said}" in shown
    assert shown.count(said) == 1  # the folders cannot be looked at either, for the same reason
    assert "✗ 文件夹与视图 folders and views：没有检查，原因同上" in shown
    with pytest.raises(HcrmError, match=said):
        serve(settings, http="127.0.0.1:0", mllp="127.0.0.1:0", only=("worker",))


@pytest.fixture
def shown_for(tmp_path: Path, monkeypatch):
    """What doctor says of files in `config/sources/`."""

    def run(files: dict[str, str], *, url: str = "") -> str:
        folder = tmp_path / "sources"
        folder.mkdir(exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        for each in (module, runtime):
            monkeypatch.setattr(each, "config_path", tmp_path.joinpath)
        return CliRunner().invoke(main, ["doctor", *(["--db", url] if url else [])]).output

    return run


HIS = "code: his\ntitle: 医院信息系统\nsender: HIS\nfacility: H1\n"


def test_the_sources_that_are_read_are_named_and_files_that_are_not(shown_for):
    shown = shown_for(
        {"his.yaml": HIS, "lab.yml": HIS, "his.yaml.bak": HIS, "LIS.YAML": HIS, "README.md": "", ".x.swp": ""}
    )

    assert "    his（医院信息系统）：MSH-3 HIS，MSH-4 H1\n" in shown
    assert "! config/sources 中没有读的文件：LIS.YAML、his.yaml.bak、lab.yml。只读扩展名为 .yaml" in shown


def test_a_table_of_departments_that_leads_nowhere_is_warned_of_and_is_no_fault(shown_for, tmp_path):
    url = f"sqlite:///{tmp_path}/h.db"
    install(load_settings(db={"url": url}))
    (tmp_path / "d.csv").write_text(
        "kind,code,name,specialty,title,department,is_head\ndepartment,K01,心内科,,,,\n", encoding="utf-8"
    )
    assert (
        CliRunner().invoke(main, ["directory", "load", str(tmp_path / "d.csv"), "--db", url]).exit_code == 0
    )

    shown = shown_for({"his.yaml": HIS + "departments: {'0312': K01, '0313': K99}\n"}, url=url)

    assert "! 来源 his 的 departments 对照到科室目录中没有的代码：K99。" in shown
    assert "✗" not in shown


@pytest.mark.parametrize(("line", "is_warned"), [("", True), (", default_class: inpatient", False)])
def test_rows_that_open_stays_of_no_class_are_warned_of(shown_for, tmp_path, line, is_warned):
    rows = f"{{columns: {{patient_no: a, visit_no: b, name: n, admitted_at: c}}, patient_no_type: MR{line}}}"
    shown = shown_for(
        {"his.yaml": HIS + f"default_authority: H1\nfolder: {{path: {tmp_path}}}\nlist_file: {rows}\n"}
    )

    assert ("! 来源 his 的 list_file 没有就诊类别" in shown) is is_warned
    assert ("不参加对账" in shown) is is_warned


@pytest.mark.parametrize(("value", "is_warned"), [("false", True), ("true", False)])
def test_senders_without_a_file_are_warned_of_where_they_are_let_in(shown_for, monkeypatch, value, is_warned):
    monkeypatch.setenv("HCRM_MLLP__KNOWN_SENDERS_ONLY", value)

    assert ("! 没有来源文件的发送方也会收下" in shown_for({"his.yaml": HIS})) is is_warned
