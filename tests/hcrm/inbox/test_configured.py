"""Sources' files are read at start, and what is written there later waits for the next one."""

from pathlib import Path
from typing import Any

import pytest

from hcrm.app import role
from hcrm.core import runtime
from hcrm.core.actor import system_actor
from hcrm.core.errors import HcrmError
from hcrm.inbox import configured
from hcrm.scheduler import table


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The one source of a hospital of its own."""
    (tmp_path / "sources").mkdir()
    for module in (configured, runtime):
        monkeypatch.setattr(module, "config_path", tmp_path.joinpath)
    configured.configured_sources.cache_clear()
    configured.configured_destinations.cache_clear()
    yield tmp_path / "sources" / "lab.yaml"
    configured.configured_sources.cache_clear()
    configured.configured_destinations.cache_clear()


def test_the_comparing_job_goes_by_the_files_as_they_were_when_the_process_started(
    file: Path, database, clock, monkeypatch
):
    file.write_text("code: lab\ntitle: 检验\nsender: LIS\n", encoding="utf-8")
    compared: list[list[str]] = []

    def reconcile(*_: Any, sources: Any, **__: Any) -> int:
        compared.append([source.title for source in sources.by_code.values()])
        return 0

    monkeypatch.setattr(table, "reconcile_due", reconcile)
    configured.read_configured()
    for changed in ("code: lab\ntitle: 另一个\nsender: LIS\n", "code: [lab\n"):  # valid, then a slip
        file.write_text(changed, encoding="utf-8")
        table.reconcile_by_sources(database, system_actor("test"), clock)

    assert compared == [["检验"], ["检验"]]


def test_a_role_reads_them_before_it_opens_anything(file: Path, monkeypatch):
    file.write_text("code: [lab\n", encoding="utf-8")
    monkeypatch.setattr(role, "_open", lambda *_: pytest.fail("the database was asked first"))
    monkeypatch.setattr(role.signal, "signal", lambda *_: None)
    monkeypatch.setenv("HCRM_DB__URL", f"sqlite:///{file.parent}/h.db")

    with pytest.raises(HcrmError, match=r"来源配置 lab\.yaml 有误"):
        role.run_role("scheduler", "")
