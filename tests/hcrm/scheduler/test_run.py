from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from hcrm.core.actor import system_actor
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.work import Work, open_work
from hcrm.scheduler.models import Fire
from hcrm.scheduler.run import LEASE, latest_due, tick
from hcrm.scheduler.table import JOBS, Job

NIGHTLY = "5 0 * * *"


class Counting:
    """A job's function that says how often it ran and what it found."""

    def __init__(self, *found: int) -> None:
        self.found = list(found)
        self.runs = 0

    def __call__(self, _work: Work) -> int:
        self.runs += 1
        return self.found.pop(0) if self.found else 0


def fires(database: Database) -> list[tuple[str, int | None]]:
    with open_work(database, actor=system_actor("test"), write=False) as work:
        return [(row.state, row.result) for row in work.scalars(sa.select(Fire).order_by(Fire.due_at))]


def test_a_due_job_runs_once_whoever_ticks_and_until_it_finds_nothing_more(
    database: Database, clock: FixedClock
):
    function = Counting(3, 2)
    job = Job("test", "测试", NIGHTLY, function)

    assert [tick(database, clock, (job,)) for _ in range(3)] == [1, 0, 0]

    assert function.runs == 3
    assert fires(database) == [("done", 5)]


def test_the_next_day_it_is_due_again(database: Database, clock: FixedClock):
    job = Job("test", "测试", NIGHTLY, Counting())
    tick(database, clock, (job,))
    clock.move(days=1)
    assert tick(database, clock, (job,)) == 1


def test_a_job_that_failed_is_tried_again_after_its_lease_and_does_not_stop_the_others(
    database: Database, clock: FixedClock
):
    def broken(_work: Work) -> int:
        raise ValueError("not today")

    sound = Counting(1)
    jobs = (Job("broken", "坏", NIGHTLY, broken), Job("sound", "好", NIGHTLY, sound))
    tick(database, clock, jobs)
    assert sorted(fires(database)) == [("done", 1), ("failed", None)]

    mended = Counting(4)
    jobs = (Job("broken", "坏", NIGHTLY, mended), jobs[1])
    assert tick(database, clock, jobs) == 0
    clock.move(seconds=LEASE.total_seconds() + 1)
    assert tick(database, clock, jobs) == 1
    assert sorted(fires(database)) == [("done", 1), ("done", 4)]


def test_a_clock_that_steps_back_fires_nothing_twice(database: Database, clock: FixedClock):
    job = Job("test", "测试", "*/10 * * * *", Counting())
    tick(database, clock, (job,))
    clock.move(hours=-1)
    assert tick(database, clock, (job,)) == 0


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_every_job_of_the_table_has_been_due_within_the_last_week(job: Job):
    now = datetime(2026, 11, 22, 2, tzinfo=UTC)
    due = latest_due(job, now)
    assert due is not None
    assert now - timedelta(days=7) < due <= now
