"""Jobs of segments."""

from datetime import timedelta

import sqlalchemy as sa

from hcrm.core import limits
from hcrm.core.actor import Actor
from hcrm.core.clock import Clock
from hcrm.core.db import Database
from hcrm.core.errors import HcrmError
from hcrm.core.work import Work, open_work
from hcrm.segments.models import Segment
from hcrm.segments.queries import count_patients, filter_of
from hcrm.segments.service import note_count


def count_segments(database: Database, actor: Actor, clock: Clock) -> int:
    """Count saved segments whose number is missing or old, the oldest number first; how many.

    Each is counted without holding the only writer of SQLite up. One that cannot be counted waits its turn like others.
    """
    before = clock.now() - timedelta(minutes=limits.SEGMENT_COUNT_MINUTES)
    with open_work(database, actor=actor, clock=clock, write=False) as work:
        old = work.scalars(
            sa.select(Segment)
            .where(
                Segment.ended_at.is_(None), sa.or_(Segment.counted_at.is_(None), Segment.counted_at < before)
            )
            .order_by(Segment.counted_at.is_not(None), Segment.counted_at, Segment.id)
            .limit(limits.SEGMENTS_COUNTED)
        )  # fmt: skip
    for segment in old:
        with open_work(database, actor=actor, clock=clock, write=False) as work:
            count = _count(work, segment)
        with open_work(database, actor=actor, clock=clock) as work:
            note_count(work, segment, count)
    return len(old)


def _count(work: Work, segment: Segment) -> int | None:
    try:
        return count_patients(work, filter_of(segment))
    except HcrmError:  # it asks for what is no longer there
        return None
