"""The ticker: on every node, every ten seconds; the unique fire row decides who acts.

APScheduler computes when a job is due; its own stores are not used, since two processes on one store fire twice.
"""

import threading
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from apscheduler.triggers.cron import CronTrigger

from hcrm.core import clock as clocks
from hcrm.core.actor import Actor, system_actor
from hcrm.core.clock import Clock
from hcrm.core.db import Database
from hcrm.core.work import open_work
from hcrm.scheduler.models import Fire
from hcrm.scheduler.table import JOBS, Job

TICK_SECONDS = 10.0
LOOK_BACK = timedelta(days=7)
LEASE = timedelta(minutes=10)
"""A fire that is not done after this long is taken over by whoever ticks."""
ROUNDS = 1_000  # a job that always finds something must not keep the others waiting for ever
log = structlog.get_logger(__name__)


def run_scheduler(database: Database, clock: Clock, stop: threading.Event) -> None:
    """Tick until told to stop; a database that is away is tried again at the next tick."""
    while not stop.is_set():
        try:
            tick(database, clock)
        except sa.exc.OperationalError:
            log.warning("scheduler.database_away")
        stop.wait(TICK_SECONDS)


def tick(database: Database, clock: Clock, jobs: tuple[Job, ...] = JOBS) -> int:
    """Fire what is due; how many fires were ours."""
    fired = 0
    for job in jobs:
        due = latest_due(job, clock.now())
        if due is not None and (fire_id := _claim(database, clock, job, due)):
            _run(database, clock, job, fire_id)
            fired += 1
    return fired


def latest_due(job: Job, now: datetime) -> datetime | None:
    """The newest instant at or before now at which the job was due."""
    minute, hour, day, month, weekday = job.cron.split()
    trigger = CronTrigger(
        minute=minute, hour=hour, day=day, month=month, day_of_week=weekday, timezone=clocks.HOSPITAL_ZONE
    )
    for span in (timedelta(hours=1), timedelta(days=1), LOOK_BACK):
        found, due = None, trigger.get_next_fire_time(None, now - span)
        while due is not None and due <= now:
            found, due = due, trigger.get_next_fire_time(due, due + timedelta(seconds=1))
        if found is not None:
            return found
    return None


def _claim(database: Database, clock: Clock, job: Job, due: datetime) -> str | None:
    """The fire is ours: new, or one whose node died or failed at it, once its lease is over (C42)."""
    actor = system_actor("scheduler")
    lost = sa.and_(Fire.state != "done", Fire.started_at < clock.now() - LEASE)
    with open_work(database, actor=actor, clock=clock, write=False) as work:
        newest = work.session.scalar(
            sa.select(Fire)
            .where(Fire.job == job.name, Fire.due_at >= due)
            .order_by(Fire.due_at.desc())
            .limit(1)
        )
        if newest is not None and (newest.state == "done" or newest.started_at >= clock.now() - LEASE):
            return None
    with open_work(database, actor=actor, clock=clock) as work:
        if newest is not None:
            again = (
                sa.update(Fire)
                .where(Fire.id == newest.id, lost)
                .values(started_at=clock.now(), state="pending")
            )
            return work.scalar(again.returning(Fire.id))
        claimed = work.insert_new(
            Fire,
            [{"id": work.new_id(), "job": job.name, "due_at": due, "state": "pending", "started_at": clock.now(),
              "finished_at": None, "result": None, "error": None}],
        )  # fmt: skip
    return claimed[0] if claimed else None


def _exhaust(database: Database, clock: Clock, job: Job, actor: Actor) -> int:
    """Call the job until it finds nothing more, each time in a work of its own; how many it touched."""
    if job.sweep is not None:
        return job.sweep(database, actor, clock)
    assert job.function is not None
    total = 0
    for _ in range(ROUNDS):
        with open_work(database, actor=actor, clock=clock) as work:
            count = job.function(work)
        total += count
        if not count:
            break
    return total


def _run(database: Database, clock: Clock, job: Job, fire_id: str) -> None:
    actor = system_actor(job.name)
    values: dict[str, object]
    try:
        values = {"state": "done", "result": _exhaust(database, clock, job, actor), "error": None}
    except Exception as error:  # noqa: BLE001  one job's fault must not stop the others; its row tells
        log.error("scheduler.job_failed", job=job.name, error=type(error).__name__)
        values = {"state": "failed", "result": None, "error": type(error).__name__}
    with open_work(database, actor=actor, clock=clock) as work:
        work.update_rows(Fire, [{"id": fire_id, "finished_at": clock.now(), **values}])
