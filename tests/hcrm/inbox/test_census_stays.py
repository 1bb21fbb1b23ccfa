"""The daily comparison's numbers open the stays they count; stays of no known class, and numbers no longer in use."""

import pytest

from hcrm.core.work import open_work
from hcrm.inbox.census_models import CensusRun, Movement
from hcrm.inbox.census_queries import left_out_of, matrix_of, totals_of
from hcrm.inbox.census_stays import Asked, Side, count_stays, count_then, list_stays
from tests.support.adt import adt
from tests.support.census import ACTOR, listed
from tests.support.census_house import DAY, clock, folder, house_of, message

__all__ = ["clock", "folder", "house_of"]


@pytest.fixture
def house(house_of, folder):
    """Every way list and archive can agree or not."""
    house = house_of(folder)
    house.stay("V1", "21 09:30")
    house.stay("V2", "18 10:00", "21 15:00")
    house.stay("V3", "21 08:00", "21 15:00", loc="W2^1^1")  # theirs elsewhere
    house.stay("V4", "18 10:00")  # its discharge was lost
    house.stay("V5", "21 08:00")  # nobody of theirs
    house.stay("V6", "18 10:00", "22 00:30")  # theirs the evening before
    house.stay("V7", "18 10:00", "21 23:30")  # theirs the day after
    house.stay("V8", "18 10:00", "21 15:00", PV1_36="5")
    house.stay("V9", "18 10:00", "20 15:00")  # of no number of this day
    house.stay("V10", "21 10:00", loc="W2^1^1")
    house.receive(message("A11", "V10", "21 11:00", p="10"))
    folder.put(DAY, [
        listed("V1", "21 09:30"), listed("V2", "18 10:00", "21 15:00"), listed("V3", "21 08:00", "21 15:00"),
        listed("V4", "18 10:00", "21 16:00"), listed("V6", "18 10:00", "21 23:30"),
        listed("V7", "18 10:00", "22 00:30"), listed("V8", "18 10:00", "21 15:00", lyfs="5"),
        listed("V20", "21 07:00", "21 18:00"),
    ])  # fmt: skip
    house.office.run()
    return house


def the_run(house):
    return house.office.write(lambda work: max(work.all(CensusRun), key=lambda run: run.number))


def visits(house, run, asked: Asked) -> set[str]:
    with open_work(house.database, actor=ACTOR, clock=house.clock) as work:
        found = [stay.visit_no for stay in list_stays(work, run, house.office.source, asked).items]
        assert len(found) == count_stays(work, run, house.office.source, asked)
    assert len(found) == len(set(found))
    return set(found)


def test_each_number_opens_as_many_stays_as_it_counts(house):
    run = the_run(house)
    rows = matrix_of(run)

    for side in (Side.LISTED, Side.OURS):
        asked = [Asked(side, row.movement, row.department) for row in rows]
        asked += [Asked(side, movement) for movement in totals_of(rows)]
        asked += [Asked(side)] if side is Side.LISTED else []
        for one in asked:
            assert len(visits(house, run, one)) == count_then(run, one), one


def test_the_stays_are_those_that_were_counted(house):
    run = the_run(house)

    assert visits(house, run, Asked(Side.LISTED)) == {"V1", "V2", "V3", "V4", "V6", "V8", "V20"}
    assert visits(house, run, Asked(Side.LISTED, Movement.ADMISSION, "W1")) == {"V1", "V3", "V20"}
    assert visits(house, run, Asked(Side.OURS, Movement.ADMISSION)) == {"V1", "V3", "V5"}
    assert visits(house, run, Asked(Side.OURS, Movement.DISCHARGE, "W1")) == {"V2", "V3", "V6", "V8"}
    assert visits(house, run, Asked(Side.LISTED, Movement.DEATH)) == {"V8"}


def test_what_came_after_the_comparison_is_not_among_them(house):
    run = the_run(house)
    house.clock.move(minutes=5)
    house.office.apply(run)
    house.stay("V30", "21 11:00")
    house.settle()

    assert len(visits(house, run, Asked(Side.OURS, Movement.ADMISSION))) == 3
    assert len(visits(house, run, Asked(Side.LISTED))) == run.rows


def test_a_stay_of_no_known_class_is_said_and_not_compared(house_of, folder):
    house = house_of(folder)
    house.stay("V1", "18 10:00", "21 15:00", cls="Q9")
    house.stay("V2", "18 10:00", "21 15:00", cls="Q9")  # the list names it: it is compared
    folder.put(DAY, [listed("V2", "18 10:00", "21 15:00")])

    run = house.office.run()

    assert house.office.said(run) == []
    assert left_out_of(run) == {"classless": 1}
    assert matrix_of(run)[0].ours == 1
    assert "V1" in visits(house, run, Asked(Side.CLASSLESS))
    folder.put(DAY, [listed("V2", "18 10:00", "21 15:00"), listed("V1", "18 10:00", "21 15:00")])
    run = house.office.run()
    assert left_out_of(run) == {}
    assert visits(house, run, Asked(Side.OURS, Movement.DISCHARGE, "W1")) == {"V1", "V2"}


def test_an_extra_stay_is_shown_under_the_number_in_use(house_of, folder):
    """A merge retires the older number, which sorts before the other."""
    house = house_of(folder)
    house.stay("V1", "18 10:00", p="100")
    house.stay("V2", "18 10:00", "21 15:00", p="200")
    house.receive(adt("A40", c="m", p=200, m="20261121160000+0800", segments=["MRG|100^^^H1^MR"]))
    folder.put(DAY, [listed("V3", "21 15:00", patient="300")])

    run = house.office.run()

    assert {line.visit_no: line.patient_no for line in house.office.lines(run)} == {"V2": "200", "V3": "300"}
    folder.put(DAY, [listed("V2", "18 10:00", "21 15:00", patient="300")])
    (other,) = house.office.lines(house.office.run())
    assert (other.field, other.theirs, other.ours) == ("patient_no", "300", "200")
