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
    assert f"✗ 来源配置 sources：{said}" in CliRunner().invoke(main, ["doctor"]).output
    with pytest.raises(HcrmError, match=said):
        serve(settings, http="127.0.0.1:0", mllp="127.0.0.1:0", only=("worker",))
