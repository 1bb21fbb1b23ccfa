"""`hcrm doctor`: what it warns of."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from hcrm.cli import doctor as module
from hcrm.cli.main import main
from hcrm.core import runtime


@pytest.mark.parametrize(
    ("line", "is_warned"), [("", True), ("follow_up_from: 2026-12-01T00:00:00+08:00\n", False)]
)
def test_a_source_without_a_cut_over_is_warned_of(tmp_path: Path, monkeypatch, line, is_warned):
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "his.yaml").write_text(
        f"code: his\ntitle: 医院信息系统\n{line}", encoding="utf-8"
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
