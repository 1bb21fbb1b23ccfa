"""Counting saved segments in the background, for their list."""

from datetime import date

from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.segment import Operator
from hcrm.core.work import Work, open_work
from hcrm.segments.filters import Group, Line, SegmentFilter
from hcrm.segments.jobs import count_segments
from hcrm.segments.models import PatientProfile, Segment
from hcrm.segments.profile import refresh_profiles
from hcrm.segments.queries import sample_patients
from hcrm.segments.service import SegmentInput, create_segment
from tests.support.builders import centre_actor, make_patient


def test_every_saved_segment_gets_its_number_and_a_new_one_after_its_time(
    database: Database, clock: FixedClock
):
    job = system_actor("segments.count")

    def does(act):
        with open_work(database, actor=centre_actor(), clock=clock) as work:
            return act(work)

    def begin(work: Work) -> list[str]:
        keys = [
            create_segment(work, entered=SegmentInput(name=name, filter=SegmentFilter())).id
            for name in "甲乙"
        ]
        lost = Line(field="field.no_longer_there", operator=Operator.YES)
        work.get(Segment, keys[1]).filter = SegmentFilter(groups=(Group(lines=(lost,)),)).model_dump(
            mode="json"
        )
        refresh_profiles(work, [make_patient(work).id])
        return keys

    known, broken = does(begin)
    assert count_segments(database, job, clock) == 2
    assert does(lambda work: [work.get(Segment, key).counted for key in (known, broken)]) == [1, None]
    assert count_segments(database, job, clock) == 0

    does(lambda work: refresh_profiles(work, [make_patient(work).id]))
    clock.move(minutes=limits.SEGMENT_COUNT_MINUTES + 1)
    assert count_segments(database, job, clock) == 2
    assert does(lambda work: work.get(Segment, known).counted) == 2


def test_a_newborn_is_as_old_as_on_every_other_page(work: Work):
    born = make_patient(work, birth_date=date(2026, 11, 13))
    refresh_profiles(work, [born.id])
    assert work.one(PatientProfile).birth_on == date(2026, 11, 13)
    assert [row.cells for row in sample_patients(work, SegmentFilter(), ("age",)) or ()] == [("9 天",)]
