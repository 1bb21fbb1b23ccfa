"""`hcrm deaths`: the day's list applied by hand, and what became of it."""

import os
import subprocess
import sys
from datetime import timedelta

from click.testing import CliRunner

from hcrm.archive.death_list.state import death_list_policy
from hcrm.archive.models import DeceasedState, Patient
from hcrm.cli.main import main
from tests.hcrm.exchange.death_lists import HEAD, ZHANG, person
from tests.support.importing import csv_file


def run(word: str, database_url: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["deaths", word, "--db", database_url])
    return done.exit_code, done.output


def test_the_newest_list_is_applied_and_its_state_told(
    database, database_url, write, tmp_path, monkeypatch, clock
):
    monkeypatch.setattr("hcrm.cli.deaths.open_database", lambda _: database)
    monkeypatch.setattr("hcrm.cli.deaths.SystemClock", lambda: clock)
    death_list_policy.cache_clear()
    code, output = run("apply", database_url)
    assert (code, "没有配置死亡名单" in output) == (1, True)
    monkeypatch.setenv("HCRM_DEATH_LIST__FOLDER", str(tmp_path))
    death_list_policy.cache_clear()
    code, output = run("status", database_url)
    assert (code, "今天还没有处理" in output) == (1, True)
    zhang = write(lambda work: person(work).id)
    (tmp_path / "a.csv").write_bytes(csv_file(HEAD, ZHANG))
    os.utime(tmp_path / "a.csv", ((clock.now() - timedelta(hours=1)).timestamp(),) * 2)

    code, output = run("apply", database_url)

    assert (code, "文件夹 已应用：1 行，登记已故 1" in output) == (0, True)
    assert "张三" not in output
    assert write(lambda work: work.get(Patient, zhang).deceased) is DeceasedState.DECEASED
    assert run("status", database_url)[0] == 0
    monkeypatch.undo()
    death_list_policy.cache_clear()


def test_the_command_by_itself_knows_every_table_its_import_hangs_on():
    """Tests have loaded them all; a process of its own has what the command names."""
    program = "import hcrm.cli.deaths; from hcrm.core.db import Base; print(len(Base.metadata.sorted_tables))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
