"""What the daily comparison finds is applied, asked for or explained; what was healed is gone."""

from datetime import UTC, date, datetime

import pytest

from hcrm.archive.visit_models import Encounter
from hcrm.core.errors import ConflictError
from hcrm.inbox import census_acts as acts
from hcrm.inbox.census_models import CensusLine, CensusRun, LineState
from hcrm.inbox.models import ApplicationState, InboxMessage
from hcrm.inbox.monitor_models import IncidentKind
from tests.support.adt import adt
from tests.support.census import listed
from tests.support.census_house import (
    DAY,
    House,
    clock,
    folder,
    house_of,
    incidents,
    lists,
    message,
    view,
)

__all__ = ["clock", "folder", "house_of", "lists", "view"]


# ── what people do ──────────────────────────────────────────────────────────


@pytest.fixture
def troubled(house_of, folder) -> House:
    """V1 unknown, V2 without its discharge, V3 with another time, V4 extra."""
    house: House = house_of(folder)
    house.stay("V2", "18 10:00")
    house.stay("V3", "18 10:00", "21 15:00")
    house.stay("V4", "21 08:00")
    folder.put(DAY, [
        listed("V1", "21 07:00", "21 18:00"), listed("V2", "18 10:00", "21 16:00"),
        listed("V3", "18 10:00", "21 15:30"),
    ])  # fmt: skip
    house.office.run()
    return house


def the_run(house: House) -> CensusRun:
    return max(house.all(CensusRun), key=lambda run: run.number)


def test_applying_all_makes_messages_of_the_rows_and_the_next_run_is_healed(troubled, clock):
    run = the_run(troubled)
    before = troubled.count(InboxMessage)

    assert troubled.office.apply(run) == 3
    assert troubled.count(InboxMessage) == before + 3
    with pytest.raises(ConflictError):
        troubled.office.apply(run)  # pressed twice
    troubled.settle()
    clock.move(minutes=5)
    assert troubled.office.tick() == 1  # of itself

    assert troubled.office.said(the_run(troubled)) == [("V4", "admission", "extra", "")]
    assert {line.state for line in troubled.office.lines(run)} == {LineState.APPLIED, LineState.OPEN}
    assert troubled.visit("V3").discharged_at == datetime(2026, 11, 21, 7, 30, tzinfo=UTC)
    assert troubled.visit("V2").discharged_at == datetime(2026, 11, 21, 8, tzinfo=UTC)
    assert troubled.count(Encounter) == 4
    assert {row[0] for row in troubled.outcomes()} == {ApplicationState.APPLIED}


def test_one_finding_is_applied_alone_with_its_whole_stay(troubled):
    run = the_run(troubled)
    line = next(line for line in troubled.office.lines(run) if line.visit_no == "V1")

    assert troubled.office.apply(run, line.id) == 1

    states = {(each.visit_no, each.state) for each in troubled.office.lines(run)}
    assert states == {
        ("V1", LineState.APPLIED), ("V2", LineState.OPEN), ("V3", LineState.OPEN), ("V4", LineState.OPEN),
    }  # fmt: skip


def test_a_crash_between_store_and_note_applies_the_same_messages_again_once(troubled, monkeypatch):
    run = the_run(troubled)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(acts, "_mark", crash)
    with pytest.raises(KeyboardInterrupt):
        troubled.office.apply(run)
    monkeypatch.undo()
    stored = troubled.count(InboxMessage)
    assert troubled.office.apply(run) == 3

    assert troubled.count(InboxMessage) == stored
    troubled.settle()
    assert troubled.count(Encounter) == 4


def test_a_message_told_after_the_list_was_made_keeps_its_word(troubled, clock):
    run = the_run(troubled)
    clock.move(hours=1)
    at = "20261122103000+0800"
    troubled.receive(adt("A08", c="later", v="V3", p=3, m=at, r=at, PV1_45="20261121170000+0800"))
    clock.move(hours=1)

    troubled.office.apply(run)
    troubled.settle()

    assert troubled.visit("V3").discharged_at == datetime(2026, 11, 21, 9, tzinfo=UTC)


def test_what_was_explained_raises_no_alarm_and_stays_explained(troubled):
    run = the_run(troubled)
    troubled.office.apply(run)
    troubled.settle()
    (extra,) = troubled.office.lines(troubled.office.run())
    assert incidents(troubled) == [(IncidentKind.CENSUS, "2026-11-21", True)]

    troubled.office.write(lambda work: acts.explain_line(work, line_id=extra.id, note="自费体检，HIS 不统计"))

    assert incidents(troubled) == [(IncidentKind.CENSUS, "2026-11-21", False)]
    (again,) = troubled.office.lines(troubled.office.run())
    assert (again.state, again.note) == (LineState.EXPLAINED, "自费体检，HIS 不统计")
    assert incidents(troubled) == [(IncidentKind.CENSUS, "2026-11-21", False)]


def test_what_was_requested_waits_and_an_older_run_is_not_worked_on(troubled):
    run = the_run(troubled)
    asked = troubled.office.write(lambda work: acts.request_lines(work, run_id=run.id))
    assert asked == len(troubled.office.lines(run)) - 1  # nobody sends again what the HIS does not have

    again = troubled.office.run()

    assert {(line.visit_no == "V4", line.state) for line in troubled.office.lines(again)} == {
        (False, LineState.REQUESTED),
        (True, LineState.OPEN),
    }
    assert incidents(troubled) == [(IncidentKind.CENSUS, "2026-11-21", True)]
    with pytest.raises(ConflictError, match="此后又对过账"):
        troubled.office.apply(run)
    assert troubled.office.apply(again) == 3  # asked for, and then applied all the same


def test_findings_within_the_limit_raise_no_alarm(house_of, folder):
    house = house_of(folder, limit=1)
    folder.put(DAY, [listed("V1", "21 07:00"), listed("V2", "18 10:00")])
    house.stay("V3", "21 07:00")
    house.stay("V1", "21 07:00")

    assert house.office.run().findings == 1
    assert incidents(house) == []


def test_days_nobody_compared_are_made_up_for(house_of, folder, clock):
    house = house_of(folder)
    for day in range(15, 21):
        folder.put(date(2026, 11, day), [])
    clock.moment = datetime(2026, 11, 16, 2, tzinfo=UTC)
    assert house.office.tick() == 1  # the first: no history is asked for
    clock.moment = datetime(2026, 11, 20, 2, tzinfo=UTC)
    assert house.office.tick() == 4

    assert [run.day.day for run in house.all(CensusRun)] == [15, 16, 17, 18, 19]


def test_old_comparisons_go(house_of, folder, clock):
    house = house_of(folder)
    house.stay("V1", "21 07:00")
    folder.put(DAY, [listed("V2", "21 07:00")])
    house.office.tick()
    clock.move(days=402)
    folder.put(house.office.yesterday, [])
    house.office.tick()

    assert [run.day for run in house.all(CensusRun)] == [house.office.yesterday]
    assert house.all(CensusLine) == []


# ── the proof ───────────────────────────────────────────────────────────────


def test_three_percent_lost_and_one_percent_altered_are_named_exactly_and_healed(house_of, lists):
    """Some thousand stays on the socket; which messages never arrive, and which arrive wrong, the list finds out."""
    house = house_of(lists)
    rows, lost, altered = [], set(), set()
    for number in range(1_500):
        visit_no, patient = f"V{number}", str(number)
        is_discharge = number % 2 == 1
        hour = f"{7 + number % 12:02}:{number % 60:02}"
        admitted, discharged = ("18 10:00", f"21 {hour}") if is_discharge else (f"21 {hour}", None)
        rows.append(listed(visit_no, admitted, discharged, ks=f"W{number % 20}"))
        last = "A03" if is_discharge else "A01"
        if is_discharge:
            house.send(message("A01", visit_no, admitted, p=patient, loc=f"W{number % 20}^1^1"))
        if number % 33 == 5:
            lost.add(visit_no)
            continue
        when, ward = discharged or admitted, f"W{number % 20}^1^1"
        if number % 100 == 7:
            altered.add(visit_no)
            when, ward = (
                (f"21 {hour[:3]}{(int(hour[3:]) + 20) % 60:02}", ward)
                if number % 200 == 7
                else (when, "W77^1^1")
            )
        house.send(message(last, visit_no, when, p=patient, loc=ward))
    house.settle()
    lists.put(DAY, rows)

    run = house.office.run()

    found = house.office.lines(run)
    assert {line.visit_no for line in found if line.finding.value == "missing"} == lost
    assert {line.visit_no for line in found if line.finding.value == "differing"} == altered - lost
    assert not [line for line in found if line.finding.value == "extra"]
    assert len(lost) == 46
    assert len(altered) == 15
    assert run.findings == len(lost | altered)
    stays = house.count(Encounter)
    house.office.apply(run)
    house.settle()
    assert house.office.run().findings == 0
    assert house.count(Encounter) == stays + len([one for one in lost if int(one[1:]) % 2 == 0])
