"""The day's death list from a folder: which lists count, when sending is held, what a person may say."""

from datetime import date

import pytest

from hcrm.archive.death import standing_reports
from hcrm.archive.death_list.models import (
    EntryState,
    NearReason,
    RunState,
)
from hcrm.archive.death_list.state import (
    confirm_no_list,
    list_alarm,
    take_back_word,
)
from hcrm.archive.models import DeceasedState, Patient
from hcrm.archive.reach.consent import Barrier
from hcrm.archive.reach_models import ContactMeans
from hcrm.audit.models import AuditEvent
from hcrm.core import limits
from hcrm.core.errors import ConflictError, HcrmError
from hcrm.core.events import Event
from hcrm.exchange.imports import confirm_import
from tests.hcrm.exchange.death_lists import (
    DAY,
    HEAD,
    WANG,
    ZHANG,
    configured,
    entries,
    evening_before,
    folder,
    gate,
    marked_of,
    person,
    put,
    state_of,
    tick,
    zhang,
)
from tests.hcrm.exchange.test_patients_import import id_number
from tests.support.builders import make_encounter
from tests.support.importing import csv_file

__all__ = ["configured", "folder", "zhang"]


def test_nothing_is_sent_until_todays_list_is_applied(intake, zhang, folder):
    other = intake.work(lambda work: person(work, number="1002", name="李四", at=2).id)
    assert gate(intake, other) is Barrier.DEATH_LIST
    assert gate(intake, other, ContactMeans.CALL) is None
    (run,) = tick(intake)
    assert (run.state, gate(intake, other)) == (RunState.ABSENT, Barrier.DEATH_LIST)
    alarm = intake.work(list_alarm)
    assert (alarm.is_held, alarm.reasons) == (True, ("文件夹：文件夹里没有名单",))

    first = csv_file(HEAD, ZHANG, ("张山", id_number(), "", "", DAY), ("王五", "1", "", "", ""))
    put(intake, folder, first)
    (run,) = tick(intake)

    assert (run.state, run.read, run.matched, run.near, run.unknown, run.wrong) == (
        RunState.DONE,
        3,
        1,
        1,
        0,
        1,
    )
    assert gate(intake, other) is None
    assert gate(intake, zhang) is Barrier.DECEASED
    alarm = intake.work(list_alarm)  # what could not be read is told, and given back
    assert (alarm.is_held, "有 1 行读不出" in alarm.sentence) == (False, True)
    assert len(intake.work(lambda work: marked_of(work, run.import_id, intake))) == 2
    intake.clock.move(days=1)
    (run,) = tick(intake)
    assert (run.state, gate(intake, other)) == (RunState.ABSENT, Barrier.DEATH_LIST)  # yesterday's file
    assert "最近一份写于 11-" in run.error
    put(intake, folder, first)  # written anew: today's list says the same
    (run,) = tick(intake)
    assert (run.state, run.known, run.wrong, run.matched) == (RunState.DONE, 2, 1, 0)
    assert gate(intake, other) is None


def test_a_list_that_comes_later_is_applied_that_day_and_none_hides_another(intake, zhang, folder):
    put(intake, folder, csv_file(HEAD, WANG), name="b.csv", age=60 * 60)
    (run,) = tick(intake)
    assert (run.state, run.unknown) == (RunState.DONE, 1)

    put(intake, folder, csv_file(HEAD, ZHANG), name="older.csv", age=3 * 86_400)
    (run,) = tick(intake)

    assert (run.state, run.read, run.matched, gate(intake, zhang)) == (RunState.DONE, 2, 1, Barrier.DECEASED)


def test_a_file_of_the_future_neither_hides_others_nor_counts_for_ever(intake, zhang, folder):
    put(intake, folder, csv_file(HEAD, WANG), name="old.csv", age=-200 * 86_400)
    assert tick(intake)[0].state is RunState.ABSENT  # seen; it may be at writing
    intake.clock.move(minutes=5)
    assert (tick(intake)[0].state, gate(intake, zhang)) == (RunState.DONE, None)
    intake.clock.move(days=1)

    assert tick(intake)[0].state is RunState.ABSENT
    put(intake, folder, csv_file(HEAD, ZHANG), name="new.csv")
    assert (tick(intake)[0].state, gate(intake, zhang)) == (RunState.DONE, Barrier.DECEASED)


def test_of_several_files_the_oldest_is_read_first_and_some_a_turn(intake, zhang, folder, monkeypatch):
    monkeypatch.setattr(limits, "DEATH_LIST_FILES", 2)
    days = ("2026-11-18", "2026-11-19", "2026-11-20")
    for at, day in enumerate(days):
        put(intake, folder, csv_file(HEAD, (*ZHANG[:4], day)), name=f"{9 - at}.csv", age=9000 - at)

    (run,) = tick(intake)
    assert (run.state, "1 个文件待读" in run.error, gate(intake, zhang)) == (
        RunState.WORKING, True, Barrier.DECEASED,
    )  # fmt: skip
    (run,) = tick(intake)

    assert (run.state, entries(intake)["张三"].died_on) == (RunState.DONE, date(2026, 11, 20))


def test_lists_written_in_the_evening_are_those_of_the_next_day_where_the_hospital_says_so(
    intake, zhang, folder, configured
):
    configured(evening="18:00")
    put(
        intake,
        folder,
        csv_file(HEAD, WANG),
        age=(intake.clock.now() - evening_before(intake)).total_seconds(),
    )

    assert (tick(intake)[0].state, gate(intake, zhang)) == (RunState.DONE, None)


def test_a_list_without_a_readable_line_is_not_applied_and_one_with_few_waits(intake, zhang, folder):
    put(intake, folder, csv_file(HEAD, ("张三", "1.10101E+17", "", "", DAY), ("李四", "1.1E+17", "", "", "")))

    (run,) = tick(intake)

    assert (run.state, run.wrong, gate(intake, zhang)) == (RunState.FAILED, 2, Barrier.DEATH_LIST)
    assert "没有一行读得出" in intake.work(list_alarm).sentence
    assert len(intake.work(lambda work: marked_of(work, run.import_id, intake))) == 3
    assert tick(intake)[0].state is RunState.FAILED
    put(
        intake,
        folder,
        csv_file(HEAD, ZHANG, ("李四", "1.1E+17", "", "", ""), ("王", "2", "", "", "")),
        age=120,
    )
    (run,) = tick(intake)  # in its place
    assert (run.state, state_of(intake, zhang)) == (RunState.WAITING, DeceasedState.ALIVE)
    intake.go(run.import_id)
    assert (tick(intake)[0].state, gate(intake, zhang)) == (RunState.DONE, Barrier.DECEASED)


def test_a_list_with_headings_only_says_that_nobody_died(intake, zhang, folder):
    put(intake, folder, csv_file(HEAD))

    assert (tick(intake)[0].state, gate(intake, zhang)) == (RunState.DONE, None)


@pytest.mark.parametrize("lines", [(), (ZHANG,)], ids=["nobody died", "all known"])
def test_a_list_without_news_counts_by_hand_too(intake, zhang, folder, lines):
    if lines:
        intake.take_in("death_list", csv_file(HEAD, ZHANG))
        intake.clock.move(days=1)
    run = intake.check("death_list", csv_file(HEAD, *lines, ()))

    intake.work(lambda work: confirm_import(work, run_id=run.id, importers=intake.importers))
    while intake.advance():
        pass
    tick(intake)

    assert gate(intake, zhang) is (Barrier.DECEASED if lines else None)
    assert intake.work(list_alarm) is None


def test_who_takes_todays_list_back_holds_sending_again(intake, zhang, folder):
    other = intake.work(lambda work: person(work, number="1002", name="李四", at=2).id)
    put(intake, folder, csv_file(HEAD, ZHANG))
    (run,) = tick(intake)
    assert gate(intake, other) is None

    intake.revert(run.import_id)

    assert (gate(intake, zhang), gate(intake, other)) == (Barrier.DEATH_LIST, Barrier.DEATH_LIST)
    assert tick(intake)[0].state is RunState.WITHDRAWN
    assert "已撤销" in intake.work(list_alarm).sentence
    put(intake, folder, csv_file(HEAD, WANG), name="b.csv", age=120)
    assert (tick(intake)[0].state, gate(intake, other)) == (RunState.DONE, None)


def test_a_corrected_day_of_death_arrives_as_a_change_that_can_be_taken_back(intake, zhang):
    intake.take_in("death_list", csv_file(HEAD, ZHANG))

    run = intake.take_in("death_list", csv_file(HEAD, (*ZHANG[:4], "2026-11-19")))

    def told() -> tuple[date | None, date | None]:
        (report,) = intake.work(lambda work: standing_reports(work, [zhang]))
        return report.died_on, entries(intake)["张三"].died_on

    assert (run.counts["changed"], told()) == (1, (date(2026, 11, 19), date(2026, 11, 19)))
    assert intake.check("death_list", csv_file(HEAD, ZHANG[:4])).counts == {"same": 1}  # a blank says nothing
    assert [row.kind for row in intake.work(lambda work: work.all(Event))].count("PatientDied") == 1
    intake.revert(run.id)
    assert told() == (date(2026, 11, 20), date(2026, 11, 20))
    assert state_of(intake, zhang) is DeceasedState.DECEASED


def test_a_corrected_day_answers_a_doubt_and_its_revert_asks_again(intake, zhang):
    intake.work(lambda work: make_encounter(work, patient=work.get(Patient, zhang)))
    intake.take_in("death_list", csv_file(HEAD, (*ZHANG[:4], "2026-01-01")))
    assert state_of(intake, zhang) is DeceasedState.ALIVE

    run = intake.take_in("death_list", csv_file(HEAD, (*ZHANG[:4], "2026-11-22")))

    assert (state_of(intake, zhang), entries(intake)["张三"].state) == (
        DeceasedState.DECEASED, EntryState.MATCHED,
    )  # fmt: skip
    intake.revert(run.id)
    assert (state_of(intake, zhang), entries(intake)["张三"].reason) == (
        DeceasedState.ALIVE, NearReason.LATER_VISIT,
    )  # fmt: skip


def test_a_person_says_that_there_is_no_list_with_a_reason_and_what_fails_later_holds_again(
    intake, zhang, folder
):
    with pytest.raises(HcrmError, match="请写明依据"):
        intake.work(lambda work: confirm_no_list(work, reason=" "))
    put(intake, folder, b"%PDF-1.4 nothing")
    assert tick(intake)[0].state is RunState.FAILED
    intake.clock.move(minutes=1)

    intake.work(lambda work: confirm_no_list(work, reason="疾控王科长电话"))

    assert (gate(intake, zhang), intake.work(list_alarm)) == (None, None)
    tick(intake)
    assert gate(intake, zhang) is None
    with pytest.raises(ConflictError, match="不需要确认"):
        intake.work(lambda work: confirm_no_list(work, reason="再说一次"))
    intake.clock.move(minutes=1)
    put(intake, folder, b"%PDF-1.5 nothing", name="b.csv", age=70)
    assert (tick(intake)[0].state, gate(intake, zhang)) == (RunState.FAILED, Barrier.DEATH_LIST)
    intake.clock.move(minutes=1)
    intake.work(lambda work: confirm_no_list(work, reason="文件误放"))
    assert gate(intake, zhang) is None
    intake.work(take_back_word)
    assert gate(intake, zhang) is Barrier.DEATH_LIST
    acts = intake.work(lambda work: [row.action for row in work.all(AuditEvent)])
    assert (acts.count("death_list.no_list"), acts.count("death_list.no_list_undo")) == (2, 1)
