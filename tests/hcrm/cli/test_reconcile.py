"""`hcrm inbox reconcile`: a day compared by hand."""

from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from hcrm.cli import reconcile as module
from hcrm.cli.main import main
from hcrm.core.clock import local_date
from hcrm.core.sources import Sources
from hcrm.core.work import open_work
from hcrm.inbox.census_models import CensusRun
from tests.support.census import ACTOR, ListFolder, listed, source_of


@pytest.fixture
def folder(tmp_path) -> ListFolder:
    return ListFolder(tmp_path)


@pytest.fixture
def run(database, folder, monkeypatch):
    """The command with one source; its exit code and what it says."""
    sources = Sources([source_of(folder.census())])
    monkeypatch.setattr(module, "open_sources", lambda _: sources)
    monkeypatch.setattr(module, "open_database", lambda _: database)

    def reconcile(*arguments: str) -> tuple[int, str]:
        answer = CliRunner().invoke(main, ["inbox", "reconcile", *arguments], catch_exceptions=False)
        return answer.exit_code, answer.output

    return reconcile


def test_a_day_is_compared_and_the_code_says_whether_it_agrees(run, folder, database):
    folder.put(datetime(2026, 11, 21, tzinfo=UTC).date(), [listed("V1", "21 09:30")])

    code, said = run("--day", "2026-11-21")

    assert code == 1
    assert "2026-11-21 名单可疑" in said or "不一致 1 人次" in said
    assert "V1" not in said
    with open_work(database, actor=ACTOR, write=False) as work:
        assert work.one(CensusRun).rows == 1


def test_yesterday_is_the_day_where_none_is_named(run, folder):
    yesterday = local_date(datetime.now(UTC)) - timedelta(days=1)
    folder.put(yesterday, [])

    code, said = run()

    assert (code, str(yesterday) in said, "不一致 0 人次" in said) == (0, True, True)


def test_a_source_without_a_list_is_refused_in_words(run):
    code, said = run("--source", "other")

    assert code != 0
    assert "没有来源配置了 census" in said
