"""The daily comparison's lists: which are waited for, which are not believed, and what nobody can read."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from hcrm.core import limits
from hcrm.core.sources import Sources
from hcrm.core.work import open_work
from hcrm.inbox import census_acts as acts
from hcrm.inbox.census import reconcile_due
from hcrm.inbox.census_list import CensusParts
from hcrm.inbox.census_models import CensusRun, RunState
from hcrm.inbox.census_queries import left_out_of, matrix_of
from hcrm.inbox.monitor_models import IncidentKind
from hcrm.scheduler.table import CENSUS
from tests.support.census import ACTOR, Reconciling, listed, source_of
from tests.support.census_house import (
    DAY,
    clock,
    folder,
    house_of,
    incidents,
    lists,
    message,
    view,
)
from tests.support.messages import side_by_side

__all__ = ["clock", "folder", "house_of", "lists", "view"]


def test_an_empty_or_halved_list_is_not_believed_until_a_person_says_so(house_of, folder):
    house = house_of(folder)
    for number in range(24):
        house.send(message("A01", f"V{number}", "21 09:30", p=str(number)))
    house.settle()
    folder.put(DAY, [])
    empty = house.office.run()
    assert (empty.state, empty.usual, house.office.lines(empty)) == (RunState.SUSPECT, 24, [])
    assert house.office.run() is None  # nothing new to say
    folder.put(DAY, [listed(f"V{number}", "21 09:30") for number in range(11)])

    half = house.office.run()

    assert (half.state, half.number, half.rows) == (RunState.SUSPECT, 2, 11)
    assert incidents(house) == [(IncidentKind.CENSUS_LIST, "2026-11-21", True)]
    house.office.write(lambda work: acts.repeat_run(work, run_id=half.id, is_believed=True))
    assert house.office.tick() == 1
    (believed,) = house.all(CensusRun, CensusRun.number == 3)
    assert (believed.state, believed.findings, believed.believed_by_name) == (
        RunState.COMPLETE,
        13,
        ACTOR.name,
    )
    assert (IncidentKind.CENSUS_LIST, "2026-11-21", False) in incidents(house)


def test_what_is_usual_is_learned_from_the_days_before(house_of, folder, database, clock):
    house = house_of(folder)
    with open_work(database, actor=ACTOR, clock=clock) as work:
        for back in (7, 14, 1, 2):
            work.add(
                CensusRun(
                    id=work.new_id(), source="his", day=DAY - timedelta(days=back), number=1, state=RunState.COMPLETE,
                    list_at=None, rows=100 if back % 7 == 0 else 30, unreadable=0, usual=None, error=None, counts=[],
                    findings=0, allowed=0, ran_at=clock.now(), ran_by="", again_at=None, believed_by=None,
                    believed_by_name=None,
                )
            )  # fmt: skip
    folder.put(DAY, [listed(f"V{number}", "21 09:30") for number in range(40)])

    run = house.office.run()

    assert (run.state, run.usual) == (RunState.SUSPECT, 100)  # a Saturday as the Saturdays before


def test_a_list_that_does_not_come_raises_the_alarm_at_its_hour_and_is_compared_when_it_comes(
    house_of, folder, clock
):
    house = house_of(folder, at="06:30", due="08:00")
    house.stay("V1", "21 09:30")
    clock.moment = datetime(2026, 11, 21, 22, 29, tzinfo=UTC)  # 06:29
    assert house.office.tick() == 0
    clock.move(minutes=30)
    assert (house.office.tick(), incidents(house)) == (0, [])
    clock.move(minutes=61)
    assert (house.office.tick(), house.office.tick()) == (1, 0)  # said once
    assert incidents(house) == [(IncidentKind.CENSUS_LIST, "2026-11-21", True)]
    folder.put(DAY, [listed("V1", "21 09:30")])

    assert house.office.tick() == 1

    assert [run.state for run in house.all(CensusRun)] == [RunState.ABSENT, RunState.COMPLETE]
    assert incidents(house) == [(IncidentKind.CENSUS_LIST, "2026-11-21", False)]
    assert house.office.tick() == 0


def test_a_file_still_being_written_has_not_come(house_of, folder, clock):
    house = house_of(folder)
    folder.put(DAY, [listed("V1", "21 09:30")])
    written = (folder.folder / "cy-20261121.xlsx").stat().st_mtime
    census = house.office.source.census
    still = census.model_copy(update={"file": census.file.model_copy(update={"still_seconds": 60.0})})
    house.office.source = house.office.source.model_copy(update={"census": still})
    clock.moment = datetime.fromtimestamp(written, UTC) + timedelta(seconds=30)
    assert house.office.run(DAY) is None or house.all(CensusRun)[-1].error == "settling"
    assert incidents(house) == []
    clock.move(seconds=60)
    assert house.office.run(DAY).state is RunState.COMPLETE


def test_a_file_that_never_comes_to_rest_raises_the_alarm_all_the_same(house_of, folder, clock):
    house = house_of(folder)
    folder.put(DAY, [listed("V1", "21 09:30")])
    path = folder.folder / "cy-20261121.xlsx"
    census = house.office.source.census
    still = census.model_copy(update={"file": census.file.model_copy(update={"still_seconds": 60.0})})
    house.office.source = house.office.source.model_copy(update={"census": still})

    def write_on() -> None:
        os.utime(path, (clock.now().timestamp(), clock.now().timestamp()))

    write_on()
    assert house.office.run(DAY).error == "settling"
    clock.move(seconds=limits.CENSUS_SETTLE_SECONDS - 1)
    write_on()
    assert house.office.run(DAY) is None  # said once
    assert incidents(house) == []
    clock.move(seconds=1)

    assert incidents(house) == [(IncidentKind.CENSUS_LIST, "2026-11-21", True)]


def test_what_of_a_list_is_not_compared_is_counted_by_why(house_of, folder):
    house = house_of(folder)
    house.stay("V1", "18 10:00", "21 15:00")
    house.stay("V6", "18 10:00", "21 15:00", cls="O")  # ours, and of another class
    folder.put(DAY, [
        listed("V1", "18 10:00", "21 15:00"), listed("V1", "18 10:00", "21 15:00", xm="又一行"),
        listed("V2", "19 10:00"), listed("V3", "18 10:00", "20 15:00"),  # of other days
        listed("V4", "21 10:00", lb="O"), listed("V6", "18 10:00", "21 15:00", lb="O"),
        listed("V5", "21 10:00", lb="不知"),
    ])  # fmt: skip

    run = house.office.run()

    assert left_out_of(run) == {"other_day": 2, "other_class": 1, "same_stay": 1}
    assert house.office.said(run) == [("V5", "admission", "missing", "")]  # what class it is nobody said
    assert (run.rows, [row.movement.value for row in matrix_of(run)]) == (3, ["admission", "discharge"])


@pytest.mark.parametrize(
    ("content", "error"), [(b"PK\x03\x04 no zip", "unreadable"), (b"", "unreadable"), (None, "columns")]
)
def test_a_list_nobody_can_read_is_said_once_and_named(house_of, folder, content, error):
    house = house_of(folder)
    folder.put(DAY, [])
    path = folder.folder / "cy-20261121.xlsx"
    if content is not None:
        path.write_bytes(content)
    else:
        path = path.with_suffix(".csv")
        path.write_text("zyh,brid\n1,2\n")
        source = source_of({"file": {"path": str(folder.folder / "cy-%Y%m%d.csv"), "still_seconds": 0}})
        house.office = Reconciling(house.database, house.clock, source)

    run = house.office.run()

    assert (run.state, run.error) == (RunState.UNREADABLE, error)
    assert house.office.run() is None


def test_a_view_that_is_away_is_unreadable_and_nothing_of_it_is_logged(house_of, view, capsys):
    house = house_of(view)
    view.run("DROP VIEW v_mdrb")

    run = house.office.run()

    assert (run.state, run.error) == (RunState.UNREADABLE, "view.missing")
    assert "v_mdrb" not in capsys.readouterr().out


def test_a_pipe_in_a_list_s_place_keeps_nobody_waiting(house_of, folder):
    house = house_of(folder)
    os.mkfifo(folder.folder / "cy-20261121.xlsx")

    run = house.office.run()

    assert (run.state, run.error) == (RunState.UNREADABLE, "unreadable")


def test_rows_nobody_can_read_are_counted_and_a_list_of_them_is_not_believed(house_of, folder):
    house = house_of(folder)
    house.stay("V1", "21 09:30")
    bad = listed("V2", "21 09:30") | {"ryrq": "2026-02-30 09:30:00"}
    folder.put(DAY, [listed("V1", "21 09:30"), bad])
    assert (house.office.run().state, house.office.run().unreadable) == (RunState.COMPLETE, 1)
    folder.put(DAY, [bad, bad | {"zyh": "V3"}, bad | {"zyh": ""}])

    assert house.office.run() is None  # what was compared stands


def test_one_source_s_fault_does_not_keep_the_others_from_their_list(house_of, folder, database, clock):
    house = house_of(folder)
    house.stay("V1", "21 09:30")
    folder.put(DAY, [listed("V1", "21 09:30")])
    broken = source_of(folder.census()).model_copy(update={"code": "a_broken"})

    calls: list[int] = []

    def fail_first(path, form):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("of a driver")
        return CENSUS.read_file(path, form)

    with pytest.raises(RuntimeError):
        reconcile_due(
            database, actor=ACTOR, clock=clock, sources=Sources([broken, house.office.source]),
            parts=CensusParts(CENSUS.mapper, fail_first),
        )  # fmt: skip

    assert [(run.source, run.state) for run in house.all(CensusRun)] == [("his", RunState.COMPLETE)]


def test_two_who_compare_at_once_write_two_runs_or_one_and_never_fail(house_of, folder):
    house = house_of(folder)
    house.stay("V1", "21 09:30")
    folder.put(DAY, [listed("V1", "21 09:30"), listed("V2", "21 09:30")])

    side_by_side(*[house.office.run] * 4)

    numbers = sorted(run.number for run in house.all(CensusRun))
    assert numbers == list(range(1, len(numbers) + 1))
    assert {run.findings for run in house.all(CensusRun)} == {1}
