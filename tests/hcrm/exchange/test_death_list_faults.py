"""Death lists that are none, break off, come twice or by several ways at once; a view of another database."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest

from hcrm.archive.death_list.models import (
    DeathListRun,
    EntryState,
    ListSource,
    RunState,
)
from hcrm.archive.death_list.state import (
    confirm_no_list,
    death_list_current,
)
from hcrm.archive.merge.service import merge_patients
from hcrm.archive.models import DeceasedState
from hcrm.archive.reach.consent import Barrier
from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.clock import local_date
from hcrm.core.errors import HcrmError
from hcrm.core.settings import load_settings
from hcrm.core.work import Work
from hcrm.exchange import death_list
from hcrm.exchange.models import ImportRun, ImportState
from hcrm.scheduler.table import JOBS
from tests.hcrm.exchange.death_lists import (
    DAY,
    HEAD,
    WANG,
    ZHANG,
    configured,
    die,
    entries,
    folder,
    gate,
    person,
    put,
    state_of,
    tick,
    zhang,
)
from tests.hcrm.exchange.test_patients_import import id_number
from tests.support.importing import csv_file
from tests.support.mariadb import MariaDb

__all__ = ["configured", "folder", "zhang"]


def test_a_process_that_dies_with_a_list_is_gone_on_from(intake, zhang, folder, monkeypatch):
    put(intake, folder, csv_file(HEAD, ZHANG, WANG))
    for place in ("take_in", "settle"):
        with monkeypatch.context() as bound:
            bound.setattr(f"hcrm.exchange.death_list{'_intake' if place == 'settle' else ''}.{place}", die)
            with pytest.raises(KeyboardInterrupt):
                tick(intake)
        assert gate(intake, zhang) is Barrier.DEATH_LIST

    (run,) = tick(intake)

    assert (run.state, run.matched, len(intake.work(lambda work: work.all(ImportRun)))) == (
        RunState.DONE,
        1,
        1,
    )


def test_before_its_hour_no_list_is_looked_for(intake, folder, configured):
    configured(at="10:30")
    assert tick(intake) == []

    assert len(tick(intake, by_hand=True)) == 1


@pytest.mark.parametrize(
    ("content", "age", "state", "words"),
    [
        (csv_file(HEAD, ZHANG), 5, RunState.ABSENT, "还在写入"),
        (csv_file(HEAD, WANG), 10 * 86_400, RunState.ABSENT, "今天还没有新的名单"),
        (b"", 3600, RunState.FAILED, "文件是空的"),
        (csv_file(("编号", "备注"), ("1", "2")), 3600, RunState.FAILED, "名单缺少列：姓名"),
        (b"%PDF-1.4 nothing", 3600, RunState.FAILED, "不是表格"),
    ],
)  # fmt: skip
def test_a_list_that_is_none_holds_sending_and_says_why(intake, zhang, folder, content, age, state, words):
    put(intake, folder, content, age=age)

    (run,) = tick(intake)

    assert run.state is state
    assert words in run.error
    assert gate(intake, zhang) is Barrier.DEATH_LIST


def test_a_list_that_would_note_many_at_once_waits_for_a_person(intake, zhang, folder, monkeypatch):
    monkeypatch.setattr(limits, "DEATH_LIST_AT_ONCE", 0)
    put(intake, folder, csv_file(HEAD, ZHANG))

    (run,) = tick(intake)
    assert (run.state, state_of(intake, zhang)) == (RunState.WAITING, DeceasedState.ALIVE)
    assert "1 份档案" in run.error
    assert tick(intake)[0].import_id == run.import_id  # it is not taken in twice
    intake.go(run.import_id)
    (run,) = tick(intake)

    assert (run.state, run.matched, state_of(intake, zhang)) == (RunState.DONE, 1, DeceasedState.DECEASED)


@pytest.mark.parametrize(("error", "state"), [("数据库一度不可用", RunState.DONE), (None, RunState.FAILED)])
def test_an_import_that_broke_off_is_gone_on_with_and_one_a_person_stopped_is_not(
    intake, zhang, folder, monkeypatch, error, state
):
    with monkeypatch.context() as bound:
        bound.setattr(limits, "DEATH_LIST_AT_ONCE", 0)
        put(intake, folder, csv_file(HEAD, ZHANG))
        (run,) = tick(intake)

    def stop(work: Work) -> None:
        found = work.get(ImportRun, run.import_id)
        found.state, found.error, found.position, found.progress = ImportState.STOPPED, error, 0, 0

    intake.work(stop)

    assert tick(intake)[0].state is state
    assert tick(intake, by_hand=True)[0].state is RunState.DONE
    assert state_of(intake, zhang) is DeceasedState.DECEASED


def test_a_list_whose_import_was_taken_back_does_not_come_back_the_next_morning(intake, zhang, folder):
    put(intake, folder, csv_file(HEAD, ZHANG))
    (run,) = tick(intake)
    intake.revert(run.import_id)
    intake.clock.move(days=1)

    (run,) = tick(intake)

    assert (run.state, state_of(intake, zhang)) == (RunState.ABSENT, DeceasedState.ALIVE)
    put(intake, folder, csv_file(HEAD, ZHANG), age=180)  # written anew
    assert "已撤销" in tick(intake)[0].error
    put(intake, folder, csv_file(HEAD, ZHANG, ("王五", id_number(5), "", "", "")), name="b.csv", age=120)
    assert tick(intake)[0].near == 1  # told again by itself: asked about


def test_a_list_a_person_took_in_today_stands_for_the_one_that_did_not_come(intake, zhang, folder):
    intake.take_in("death_list", csv_file(HEAD, ZHANG))
    tick(intake)

    run = intake.work(lambda work: work.one(DeathListRun, DeathListRun.source == ListSource.UPLOAD))
    assert (run.state, run.read, run.matched) == (RunState.DONE, 1, 1)
    assert intake.work(lambda work: death_list_current(work, local_date(work.clock.now())))


def test_the_dead_of_a_list_are_found_when_their_archive_comes_later(intake, folder):
    put(
        intake,
        folder,
        csv_file(HEAD, ZHANG, ("张山", id_number(), "", "", DAY), ("王五", id_number(5), "", "", "")),
    )
    tick(intake)
    assert {one.state for one in entries(intake).values()} == {EntryState.UNKNOWN}

    late = intake.work(lambda work: person(work).id)
    tick(intake)

    assert state_of(intake, late) is DeceasedState.DECEASED
    assert {name: one.state for name, one in entries(intake).items()} == {
        "张三": EntryState.MATCHED, "张山": EntryState.NEAR, "王五": EntryState.UNKNOWN,
    }  # fmt: skip
    intake.clock.move(days=limits.DEATH_LIST_KEEP_DAYS + 1)
    tick(intake)
    assert "王五" not in entries(intake)


def test_a_folder_that_is_gone_is_told_and_the_job_goes_on(intake, folder):
    folder.rmdir()
    job = next(job for job in JOBS if job.name == "death_list.apply")
    assert job.sweep is not None

    assert job.sweep(intake.database, system_actor(job.name), intake.clock) == 0

    assert intake.work(lambda work: work.one(DeathListRun)).state is RunState.FAILED


def test_a_list_that_is_required_must_be_configured(monkeypatch):
    monkeypatch.setenv("HCRM_DEATH_LIST__REQUIRED", "true")

    with pytest.raises(HcrmError, match="folder 或 view"):
        load_settings()


def test_who_is_merged_into_one_who_lives_is_a_question_and_no_list_or_revert_answers_it(
    intake, zhang, folder
):
    survivor = intake.work(lambda work: person(work, number="88", name="张三", at=4).id)
    put(intake, folder, csv_file(HEAD, ZHANG))
    (run,) = tick(intake)
    intake.work(lambda work: merge_patients(work, survivor_id=survivor, merged_id=zhang, source="his", seq=9))
    assert state_of(intake, survivor) is DeceasedState.DISPUTED

    done = intake.revert(run.import_id)

    assert (done.counts["kept"], state_of(intake, survivor)) == (1, DeceasedState.DISPUTED)
    put(intake, folder, csv_file(HEAD, (*ZHANG[:4], "2026-11-19")), name="b.csv", age=120)
    tick(intake)
    assert state_of(intake, survivor) is DeceasedState.DISPUTED


def test_two_processes_and_the_machine_at_once_take_a_list_in_once(intake, zhang, folder):
    many = [(f"人{at}", id_number(100 + at), "", "", DAY) for at in range(800)]
    put(intake, folder, csv_file(HEAD, ZHANG, *many, encoding="gb18030"))
    with ThreadPoolExecutor(3) as pool:
        turns = [pool.submit(tick, intake, by_hand=by_hand) for by_hand in (False, True)]
        turns.append(pool.submit(lambda: list(iter(intake.advance, False))))
        for turn in turns:
            turn.result(120)

    (run,) = tick(intake)

    assert (run.state, run.read, run.matched, run.unknown) == (RunState.DONE, 801, 1, 800)
    assert len(intake.work(lambda work: work.all(ImportRun))) == 1


@pytest.mark.parametrize("place", ["read_whole", "parse_file"])  # before and after the file is opened
def test_a_list_another_process_took_in_since_this_one_looked_is_left_as_it_is(
    intake, zhang, folder, monkeypatch, place
):
    put(intake, folder, csv_file(HEAD, ZHANG))
    real, others = getattr(death_list, place), []

    def late(*asked):
        if not others:
            others.append(None)
            tick(intake)
        return real(*asked)

    monkeypatch.setattr(death_list, place, late)

    for by_hand in (False, True):
        (run,) = tick(intake, by_hand=by_hand)
        assert (run.state, run.read, run.matched) == (RunState.DONE, 1, 1)
    assert len(intake.work(lambda work: work.all(ImportRun))) == 1


# ── a view of another database ──────────────────────────────────────────────


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDb]:
    server = MariaDb()
    yield server
    server.stop()


def test_a_view_on_mariadb_is_read_and_only_what_is_new_taken_in(
    intake, zhang, mariadb, configured, monkeypatch
):
    mariadb.run(
        "DROP TABLE IF EXISTS sw",
        "CREATE TABLE sw (xm varchar(40), zjh varchar(20), swrq datetime, djrq date)",
        f"INSERT INTO sw VALUES ('张三', '{id_number()}', '2026-11-20', '2026-11-21'), "
        f"('王五', '{id_number(5)}', NULL, '2026-11-21'), ('老人', '{id_number(7)}', NULL, '2020-01-01')",
    )
    monkeypatch.setenv("HIS_VIEW_PASSWORD", "Reader-2026")
    view = (
        f'{{"url": "{mariadb.url}", "password_env": "HIS_VIEW_PASSWORD", "name": "sw", "day": "djrq", '
        '"columns": {"name": "xm", "id_number": "zjh", "died_on": "swrq"}}'
    )
    configured(view=view, required="true")

    (run,) = tick(intake)

    assert (run.source, run.state, run.read, run.matched, run.unknown) == (
        ListSource.VIEW, RunState.DONE, 2, 1, 1,
    )  # fmt: skip
    assert entries(intake)["张三"].died_on == date(2026, 11, 20)
    intake.clock.move(days=1)
    assert (tick(intake)[0].known, len(intake.work(lambda work: work.all(ImportRun)))) == (2, 1)
    intake.clock.move(days=1)
    mariadb.run("DROP TABLE sw")
    (run,) = tick(intake)
    assert run.state is RunState.FAILED
    assert "view.missing" in run.error
    assert gate(intake, zhang) is Barrier.DECEASED
    assert intake.work(
        lambda work: death_list_current(work, local_date(work.clock.now()) - timedelta(days=1))
    )
    mariadb.run(
        "CREATE TABLE sw (xm varchar(40), zjh varchar(20), swrq datetime, djrq date)",
        "INSERT INTO sw VALUES ('李四', '1', NULL, '2026-11-23')",
    )
    for _ in range(2):
        (run,) = tick(intake)
        assert (run.state, "没有一行读得出" in run.error) == (RunState.FAILED, True)
    intake.clock.move(minutes=1)
    intake.work(lambda work: confirm_no_list(work, reason="疾控电话"))
    intake.clock.move(minutes=1)
    tick(intake)  # it fails as before: the word stands
    assert intake.work(lambda work: death_list_current(work, local_date(work.clock.now())))
