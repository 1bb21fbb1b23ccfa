"""The daily comparison with a HIS's own list: what is missing, extra or differs."""

from datetime import date

import pytest

from hcrm.inbox.census_models import RunState
from hcrm.inbox.monitor_models import IncidentKind
from tests.support.adt import adt
from tests.support.census import listed
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

__all__ = ["clock", "folder", "house_of", "lists", "view"]


def test_a_list_that_says_what_the_archive_says_finds_nothing(house_of, lists):
    house = house_of(lists)
    house.stay("V1", "21 09:30")
    house.stay("V2", "18 10:00", "21 15:00")
    lists.put(DAY, [listed("V1", "21 09:30"), listed("V2", "18 10:00", "21 15:00")])

    run = house.office.run()

    assert (run.state, run.rows, run.findings, run.unreadable) == (RunState.COMPLETE, 2, 0, 0)
    assert [line[:3] + line[4:] for line in run.counts] == [
        ["admission", "", "W1", 1, 1, 0, 0, 0], ["discharge", "", "W1", 1, 1, 0, 0, 0],
    ]  # fmt: skip
    assert incidents(house) == []


def test_missing_extra_and_differing_stays_are_named_with_both_values(house_of, lists):
    house = house_of(lists)
    house.stay("V1", "18 10:00", "21 15:00")
    house.stay("V2", "18 10:00", "21 15:00", loc="W2^1^1")  # department and way altered
    house.stay("V3", "18 10:00")  # its discharge was lost
    house.stay("V4", "21 08:00")  # nobody of theirs
    lists.put(DAY, [
        listed("V1", "18 10:00", "21 15:05"),
        listed("V2", "18 10:00", "21 15:00", lyfs="4"),
        listed("V3", "18 10:00", "21 16:00"),
        listed("V5", "21 07:00", "21 18:00"),
    ])  # fmt: skip

    run = house.office.run()

    assert house.office.said(run) == [
        ("V1", "discharge", "differing", "discharged_at"),
        ("V2", "discharge", "differing", "department"),
        ("V2", "discharge", "differing", "discharge_way"),
        ("V3", "discharge", "missing", ""),
        ("V4", "admission", "extra", ""),
        ("V5", "admission", "missing", ""),
        ("V5", "discharge", "missing", ""),
    ]
    assert run.findings == 5
    (times, place, way, lost, *_) = house.office.lines(run)
    assert (times.theirs, times.ours) == ("2026-11-21 15:05:00", "2026-11-21 15:00:00")
    assert (place.theirs, place.ours) == ("W1", "W2")
    assert (way.theirs, way.ours) == ("非医嘱离院", "医嘱离院")
    assert (lost.theirs, lost.ours) == ("2026-11-21 16:00:00", "在院")
    assert incidents(house) == [(IncidentKind.CENSUS, "2026-11-21", True)]


def test_a_stay_is_found_by_its_number_whoever_it_is_said_to_be(house_of, folder):
    house = house_of(folder)
    house.stay("V1", "21 09:30", p="100")
    folder.put(DAY, [listed("V1", "21 09:30", patient="999", xm="另一个人")])

    run = house.office.run()

    assert house.office.said(run) == [("V1", "admission", "differing", "patient_no")]
    assert (house.office.lines(run)[0].theirs, house.office.lines(run)[0].ours) == ("999", "100")


def test_a_merged_visit_is_its_survivor_and_a_cancelled_one_is_nobody_s(house_of, folder):
    house = house_of(folder)
    house.stay("V1", "21 09:30", p="100")
    house.stay("V2", "21 09:30", p="100")
    house.receive(
        adt("A42", c="m", p=100, v="V1", m="20261121120000+0800", segments=["MRG|100^^^H1^MR||||V2"])
    )
    house.stay("V3", "21 09:30")
    house.receive(message("A11", "V3", "21 10:00", p="3"))
    folder.put(DAY, [listed("V2", "21 09:30", patient="100")])

    run = house.office.run()

    assert house.office.said(run) == []
    folder.put(DAY, [listed("V2", "21 09:30", patient="100"), listed("V3", "21 09:30")])
    assert house.office.said(house.office.run()) == [("V3", "admission", "missing", "")]


def test_a_discharge_around_midnight_is_one_discharge(house_of, folder):
    house = house_of(folder)
    house.receive(message("A01", "V1", "18 10:00", p="1"))
    house.receive(
        adt("A03", c="d1", v="V1", p=1, o="20261122000020+0800", m="20261122000020+0800", PV1_36="1")
    )
    house.receive(message("A01", "V2", "18 10:00", p="2"))
    house.receive(
        adt("A03", c="d2", v="V2", p=2, o="20261121000010+0800", m="20261121000010+0800", PV1_36="1")
    )
    house.stay("V3", "18 10:00", "22 00:30")
    folder.put(DAY, [
        listed("V1", "18 10:00", "21 23:59") | {"cyrq": "2026-11-21 23:59:40"},  # theirs before, ours after
        # V2: theirs stands on the list of the 20th
        listed("V3", "18 10:00", "21 23:30"),
    ])  # fmt: skip

    run = house.office.run()

    assert house.office.said(run) == [("V3", "discharge", "differing", "discharged_at")]


@pytest.mark.parametrize("day", [21, 22])
def test_seconds_around_midnight_are_no_finding_of_either_day(house_of, folder, day):
    """Ours ten seconds before midnight, theirs ten seconds after it: both sides count it on a day of their own."""
    house = house_of(folder)
    house.receive(message("A01", "V1", "18 10:00", p="1"))
    house.receive(
        adt("A03", c="d1", v="V1", p=1, o="20261121235950+0800", m="20261122000100+0800", PV1_36="1")
    )
    house.stay("V2", "18 10:00", "21 12:00")
    theirs = listed("V1", "18 10:00", "22 00:00") | {"cyrq": "2026-11-22 00:00:10"}
    lists = {21: [listed("V2", "18 10:00", "21 12:00")], 22: [theirs]}
    folder.put(date(2026, 11, day), lists[day])

    run = house.office.run(date(2026, 11, day))

    assert house.office.said(run) == []


def test_a_list_that_names_only_days_is_compared_by_days(house_of, folder):
    house = house_of(folder)
    house.stay("V1", "18 10:00", "21 15:00")
    folder.put(DAY, [listed("V1", "18 10:00") | {"ryrq": "2026-11-18", "cyrq": "2026/11/21", "lyfs": "1"}])

    run = house.office.run()

    assert (run.findings, run.counts[0][4:]) == (0, [1, 1, 0, 0, 0])


def test_deaths_are_counted_beside_discharges_and_a_lost_death_is_missing(house_of, folder):
    house = house_of(folder)
    house.stay("V1", "18 10:00", "21 15:00", PV1_36="5")
    house.stay("V2", "18 10:00", "21 15:00")
    folder.put(DAY, [
        listed("V1", "18 10:00", "21 15:00", lyfs="5"), listed("V2", "18 10:00", "21 15:00", lyfs="5"),
    ])  # fmt: skip

    run = house.office.run()

    assert house.office.said(run) == [
        ("V2", "death", "missing", ""), ("V2", "discharge", "differing", "discharge_way"),
    ]  # fmt: skip
    house.office.apply(run)
    house.settle()
    assert house.office.said(house.office.run()) == []
    assert house.visit("V2").discharge_way.label == "死亡"


def test_departments_are_counted_by_their_campus(house_of, folder):
    house = house_of(folder, campuses={"W2": "东院"}, campus="本部")
    house.stay("V1", "21 09:00")
    folder.put(DAY, [listed("V1", "21 09:00"), listed("V2", "21 09:00", ks="W2")])

    run = house.office.run()

    assert [line[1:3] + line[4:] for line in run.counts] == [
        ["东院", "W2", 1, 0, 1, 0, 0], ["本部", "W1", 1, 1, 0, 0, 0],
    ]  # fmt: skip
