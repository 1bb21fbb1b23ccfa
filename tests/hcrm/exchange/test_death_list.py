"""Death lists: by hand, from a folder, from a view; whom they note as dead, what waits, whether sending is held."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from hcrm.archive.consent import Barrier, may_contact
from hcrm.archive.death import LIST_WORD, record_death, revoke_death, standing_reports
from hcrm.archive.death_list import confirm_entry, judge_entry, list_near, reject_entry, reopen_entry
from hcrm.archive.death_list_importer import death_importer
from hcrm.archive.death_list_models import (
    DeathListEntry,
    DeathListRun,
    EntryState,
    ListSource,
    NearReason,
    RunState,
)
from hcrm.archive.death_list_state import (
    confirm_no_list,
    death_list_current,
    death_list_policy,
    list_alarm,
    take_back_word,
)
from hcrm.archive.merge import merge_patients
from hcrm.archive.models import DeceasedState, IdentifierKind, Patient, PatientIdentifier
from hcrm.archive.reach_models import ContactMeans, ContactPurpose
from hcrm.audit.models import AuditEvent
from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.clock import day_bounds, local_date
from hcrm.core.errors import ConflictError, DeniedError, HcrmError
from hcrm.core.events import Event
from hcrm.core.settings import load_settings
from hcrm.core.work import Work
from hcrm.exchange import death_list
from hcrm.exchange.death_list import apply_lists
from hcrm.exchange.imports import confirm_import
from hcrm.exchange.models import ImportRun, ImportState
from hcrm.exchange.queries import marked_lines
from hcrm.scheduler.table import JOBS
from tests.hcrm.exchange.test_patients_import import id_number, known_patient
from tests.support.builders import actor_of, make_department, make_encounter, make_practitioner
from tests.support.importing import Intake, csv_file, sheet_file
from tests.support.mariadb import MariaDb

HEAD = ("姓名", "身份证号", "病案号", "出生日期", "死亡日期")
DAY = "2026-11-20"
ZHANG = ("张三", id_number(), "", "", DAY)
WANG = ("王五", id_number(7), "", "", DAY)


def person(work: Work, *, number: str = "1001", name: str = "张三", at: int = 1) -> Patient:
    """Somebody with a record number and an ID number."""
    patient = known_patient(work, number=number, name=name)
    add_id_number(work, patient, at)
    return patient


def add_id_number(work: Work, patient: Patient, at: int) -> None:
    work.add(
        PatientIdentifier(
            id=work.new_id(), patient_id=patient.id, kind=IdentifierKind.CITIZEN, authority="", type="",
            value_sealed=work.keys.seal_text(id_number(at)), value_index=work.keys.blind("id", id_number(at)),
            last4_index="x", source="his", as_of=work.clock.now(), seq=1,
        )
    )  # fmt: skip


@pytest.fixture
def zhang(intake: Intake) -> str:
    return intake.work(lambda work: person(work).id)


def state_of(intake: Intake, patient_id: str) -> DeceasedState:
    return intake.work(lambda work: work.get(Patient, patient_id).deceased)


def entries(intake: Intake) -> dict[str, DeathListEntry]:
    return {one.name: one for one in intake.work(lambda work: work.all(DeathListEntry))}


# ── by hand ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030"])
def test_what_fits_is_noted_as_dead_what_is_near_waits_and_the_unknown_are_kept(intake, zhang, encoding):
    lines = (
        HEAD, ZHANG, ("张山", id_number(), "", "", DAY), ("王五", id_number(5), "", "", ""),
        ("赵六", "", "77", "1950/3/1", "46346"), ("钱七", "11010119660307001X", "", "", ""),
        ("孙八", "", "", "", DAY), ("周九", id_number(6), "", "", "2026-11-23"),
    )  # fmt: skip

    run = intake.take_in("death_list", csv_file(*lines, encoding=encoding))

    assert {word: run.counts[word] for word in ("new", "changed", "wrong")} == {
        "new": 3,
        "changed": 1,
        "wrong": 3,
    }
    assert state_of(intake, zhang) is DeceasedState.DECEASED
    (report,) = intake.work(lambda work: standing_reports(work, [zhang]))
    assert (report.source, report.told_by, report.died_on, report.confirmed_at) == (
        "death_list", LIST_WORD, date(2026, 11, 20), None,
    )  # fmt: skip
    assert "PatientDied" in intake.work(lambda work: [row.kind for row in work.all(Event)])
    found = entries(intake)
    assert {name: one.state for name, one in found.items()} == {
        "张三": EntryState.MATCHED, "张山": EntryState.NEAR, "王五": EntryState.UNKNOWN, "赵六": EntryState.UNKNOWN,
    }  # fmt: skip
    assert (found["张山"].reason, found["赵六"].died_on) == (NearReason.NAME, date(2026, 11, 20))
    assert {number: problems[0][0] for number, problems in intake.reasons(run.id).items()} == {
        6: "id_number", 7: "", 8: "died_on",
    }  # fmt: skip


def test_the_same_list_again_does_nothing_and_a_reverted_one_leaves_the_patient_alive(intake, zhang):
    run = intake.take_in("death_list", sheet_file(HEAD, ZHANG), "list.xlsx")
    assert intake.check("death_list", csv_file(HEAD, ZHANG)).counts == {"same": 1}

    intake.revert(run.id)

    assert state_of(intake, zhang) is DeceasedState.ALIVE
    assert entries(intake) == {}
    assert intake.work(lambda work: [row.kind for row in work.all(Event)]).count("DeathRevoked") == 1
    intake.take_in(
        "death_list", csv_file(HEAD, ZHANG, ("王五", id_number(5), "", "", ""))
    )  # the right list, by hand
    assert state_of(intake, zhang) is DeceasedState.DECEASED


def test_a_list_is_the_second_source_of_a_death_already_noted_and_people_are_that_of_a_list(intake, zhang):
    intake.work(lambda work: record_death(work, patient_id=zhang, told_by="女儿来电"))
    run = intake.take_in("death_list", csv_file(HEAD, ZHANG))

    (report,) = intake.work(lambda work: standing_reports(work, [zhang]))
    assert (report.told_by, report.confirmation, entries(intake)["张三"].state) == (
        "女儿来电", LIST_WORD, EntryState.ALREADY,
    )  # fmt: skip
    intake.revert(run.id)
    (report,) = intake.work(lambda work: standing_reports(work, [zhang]))
    assert (report.confirmed_at, state_of(intake, zhang)) == (None, DeceasedState.DECEASED)

    other = intake.work(lambda work: person(work, number="1002", name="李四", at=2).id)
    run = intake.take_in("death_list", csv_file(HEAD, ("李四", id_number(2), "", "", DAY)))
    intake.work(lambda work: record_death(work, patient_id=other, told_by="儿子来电"))
    (report,) = intake.work(lambda work: standing_reports(work, [other]))
    assert report.confirmation == "儿子来电"
    intake.revert(run.id)
    assert state_of(intake, other) is DeceasedState.DECEASED  # the son's word stands


def test_a_death_people_took_back_is_never_applied_again_by_a_list(intake, zhang):
    intake.take_in("death_list", csv_file(HEAD, ZHANG))
    intake.work(lambda work: revoke_death(work, patient_id=zhang, reason="本人来院"))

    intake.take_in("death_list", csv_file(HEAD, (*ZHANG[:2], "1001", "1966-03-07", DAY)))

    assert state_of(intake, zhang) is DeceasedState.ALIVE
    reasons = {one.reason for one in intake.work(lambda work: work.all(DeathListEntry))}
    assert NearReason.REVOKED in reasons


# ── what waits ──────────────────────────────────────────────────────────────


@pytest.fixture
def near(intake, zhang) -> str:
    intake.take_in("death_list", csv_file(HEAD, ("张山", id_number(), "", "", DAY)))
    return entries(intake)["张山"].id


def test_a_person_confirms_a_near_match_once_and_only_for_whom_it_may_mean(intake, zhang, near):
    stranger = intake.work(lambda work: person(work, number="9", name="李四", at=9).id)
    for chosen, refusal in (([], HcrmError), ([stranger], ConflictError)):
        with pytest.raises(refusal):
            intake.work(lambda work, who=chosen: confirm_entry(work, entry_id=near, patient_ids=who, note=""))
    assert state_of(intake, zhang) is DeceasedState.ALIVE

    intake.work(lambda work: confirm_entry(work, entry_id=near, patient_ids=[zhang], note="家属证实"))

    assert state_of(intake, zhang) is DeceasedState.DECEASED
    with pytest.raises(ConflictError, match="已处理"):
        intake.work(lambda work: reject_entry(work, entry_id=near, note="不是"))


def test_a_no_is_remembered_and_can_be_taken_back(intake, zhang, near):
    intake.work(lambda work: reject_entry(work, entry_id=near, note="同号不同人"))

    assert intake.check("death_list", csv_file(HEAD, ("张山", id_number(), "", "", DAY))).counts == {
        "same": 1
    }
    assert intake.work(lambda work: list_near(work).items) == []
    intake.work(lambda work: reopen_entry(work, entry_id=near))
    assert [one.id for one in intake.work(lambda work: list_near(work).items)] == [near]


def test_the_list_is_not_for_those_who_see_only_their_department(intake, near):
    def ask(work: Work) -> None:
        home = make_department(work)
        work.actor = actor_of(make_practitioner(work, department=home), home)
        judge_entry(work, near)

    with pytest.raises(DeniedError):
        intake.work(ask)


def test_a_visit_after_the_day_of_death_is_a_question(intake, zhang):
    intake.work(lambda work: make_encounter(work, patient=work.get(Patient, zhang)))

    intake.take_in("death_list", csv_file(HEAD, (*ZHANG[:4], "2026-01-01")))

    assert (state_of(intake, zhang), entries(intake)["张三"].reason) == (
        DeceasedState.ALIVE, NearReason.LATER_VISIT,
    )  # fmt: skip


# ── each day ────────────────────────────────────────────────────────────────


@pytest.fixture
def configured(monkeypatch) -> Iterator[Callable[..., None]]:
    """Settings of the death list, read anew."""

    def configure(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"HCRM_DEATH_LIST__{name.upper()}", value)
        death_list_policy.cache_clear()

    yield configure
    death_list_policy.cache_clear()


@pytest.fixture
def folder(tmp_path, configured) -> Path:
    path = tmp_path / "deaths"
    path.mkdir()
    configured(folder=str(path), required="true")
    return path


def put(intake: Intake, folder: Path, content: bytes, *, name: str = "a.csv", age: float = 3600) -> None:
    path = folder / name
    path.write_bytes(content)
    stamp = intake.clock.now().timestamp() - age
    os.utime(path, (stamp, stamp))


def tick(intake: Intake, *, by_hand: bool = False) -> list[DeathListRun]:
    return apply_lists(
        intake.database, actor=system_actor("death_list.apply"), clock=intake.clock, importer=death_importer(),
        by_hand=by_hand,
    )  # fmt: skip


def die(*_values: object, **_names: object) -> None:
    raise KeyboardInterrupt


def evening_before(intake: Intake) -> datetime:
    """An hour after six in the evening of the day before."""
    midnight, _ = day_bounds(local_date(intake.clock.now()))
    return midnight - timedelta(hours=5)


def marked_of(work: Work, run_id: str, intake: Intake) -> list[list[str]]:
    return list(marked_lines(work, work.get(ImportRun, run_id), intake.importers["death_list"]))


def gate(intake: Intake, patient_id: str, means: ContactMeans = ContactMeans.SMS) -> Barrier | None:
    ask = {"purpose": ContactPurpose.CARE, "channel": means}
    return intake.work(lambda work: may_contact(work, patient_ids=[patient_id], **ask))[patient_id]


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
