"""Who may change a segment: whoever made it, and those who may share with the same readers."""

import pytest

from hcrm.core.actor import Actor
from hcrm.core.errors import DeniedError
from hcrm.core.work import Work
from hcrm.segments.filters import SegmentFilter
from hcrm.segments.models import Segment, ShareScope
from hcrm.segments.service import SegmentInput, change_segment, create_segment, end_segment, may_change
from tests.support.builders import centre_actor, make_department

SHARES = ("segment.read", "segment.share")


def somebody(*permissions: str, ward: str | None = None) -> Actor:
    scope = frozenset({ward}) if ward else None
    return Actor(id="account:other", name="乙", permissions=frozenset(permissions), department_ids=scope)


def shared(work: Work, scope: ShareScope, ward: str) -> Segment:
    work.actor = centre_actor()
    entered = SegmentInput(name="糖尿病", filter=SegmentFilter(), scope=scope, department_id=ward)
    return create_segment(work, entered=entered)


@pytest.mark.parametrize(
    ("scope", "of_all_reader", "of_all_sharer", "of_ward_reader", "of_ward_sharer", "of_other_ward"),
    [
        (ShareScope.OWN, False, False, False, False, False),
        (ShareScope.DEPARTMENT, False, True, False, True, False),
        (ShareScope.ALL, False, True, False, False, False),
    ],
)
def test_a_shared_segment_is_changed_by_its_owner_and_by_who_may_share_with_the_same_readers(
    work: Work, scope: ShareScope, of_all_reader: bool, of_all_sharer: bool, of_ward_reader: bool,
    of_ward_sharer: bool, of_other_ward: bool,
):  # fmt: skip
    ward, other = make_department(work).id, make_department(work).id
    segment = shared(work, scope, ward)
    assert may_change(work, segment)

    def may(actor: Actor) -> bool:
        work.actor = actor
        return may_change(work, segment)

    assert may(somebody("segment.read")) is of_all_reader
    assert may(somebody(*SHARES)) is of_all_sharer
    assert may(somebody("segment.read", ward=ward)) is of_ward_reader
    assert may(somebody(*SHARES, ward=ward)) is of_ward_sharer
    assert may(somebody(*SHARES, ward=other)) is of_other_ward


def test_a_department_keeps_its_segment_up_after_whoever_made_it_has_left(work: Work):
    ward = make_department(work).id
    segment = shared(work, ShareScope.DEPARTMENT, ward)
    entered = SegmentInput(
        name="糖尿病随访", filter=SegmentFilter(), scope=ShareScope.DEPARTMENT, department_id=ward
    )
    work.actor = somebody("segment.read", ward=ward)
    with pytest.raises(DeniedError):
        change_segment(work, segment_id=segment.id, version=segment.version, entered=entered)

    work.actor = somebody(*SHARES, ward=ward)
    changed = change_segment(work, segment_id=segment.id, version=segment.version, entered=entered)
    assert changed.name == "糖尿病随访"
    end_segment(work, segment_id=segment.id)
    assert segment.ended_at is not None
