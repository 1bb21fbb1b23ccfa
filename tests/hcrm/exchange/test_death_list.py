"""Death lists by hand: whom they note as dead, what waits for a person."""

from datetime import date

import pytest

from hcrm.archive.death import LIST_WORD, record_death, revoke_death, standing_reports
from hcrm.archive.death_list.models import (
    DeathListEntry,
    EntryState,
    NearReason,
)
from hcrm.archive.death_list.service import confirm_entry, judge_entry, list_near, reject_entry, reopen_entry
from hcrm.archive.models import DeceasedState, Patient
from hcrm.core.errors import ConflictError, DeniedError, HcrmError
from hcrm.core.events import Event
from hcrm.core.work import Work
from tests.hcrm.exchange.death_lists import (
    DAY,
    HEAD,
    ZHANG,
    configured,
    entries,
    folder,
    person,
    state_of,
    zhang,
)
from tests.hcrm.exchange.test_patients_import import id_number
from tests.support.builders import actor_of, make_department, make_encounter, make_practitioner
from tests.support.importing import csv_file, sheet_file

__all__ = ["configured", "folder", "zhang"]

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
