"""Messages in the inbox without a socket: stored as the listener does it, worked off by one worker or several."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from adapters.his.mapping import map_message
from adapters.his.reception import receive
from hcrm.core.actor import system_actor
from hcrm.core.clock import Clock
from hcrm.core.db import Database
from hcrm.core.sources import Source, Sources
from hcrm.core.work import open_work
from hcrm.inbox.intake import store_now
from hcrm.inbox.models import ApplicationState, InboxApplication
from hcrm.inbox.service import process_messages
from hcrm.inbox.take_up import Intake, Mapper

ACTOR = system_actor("test")
SOURCES = Sources([Source(code="default", title="default")])


def make_intake(clock: Clock, mapper: Mapper = map_message) -> Intake:
    return Intake({"hl7v2": mapper}, SOURCES, ACTOR, clock)


def store(database: Database, clock: Clock, *messages: bytes) -> None:
    """As the listener does it."""
    arriving = [
        item for raw in messages for item in receive(raw, sources=SOURCES, peer="127.0.0.1", at=clock.now())
    ]
    store_now(database, arriving)


def is_done(database: Database) -> bool:
    """Whether nothing that was taken up waits."""
    with open_work(database, actor=ACTOR, write=False) as work:
        waiting = sa.select(sa.exists().where(InboxApplication.state == ApplicationState.WAITING))
        return not work.scalar(waiting)


def applications(database: Database) -> list[InboxApplication]:
    with open_work(database, actor=ACTOR, write=False) as work:
        return sorted(work.all(InboxApplication), key=lambda row: row.seq)


def work_off(database: Database, intake: Intake) -> None:
    """Until nothing waits."""
    for _ in range(1_000):
        if not process_messages(database, intake) and is_done(database):
            return
    raise AssertionError("messages wait for ever")


def side_by_side(*acts: Callable[[], Any]) -> None:
    """Each in a thread of its own, all to their ends; what one of them dies of is raised."""
    errors: list[BaseException] = []

    def run(act: Callable[[], Any]) -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001  raised below, in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads)


def run_workers(databases: Sequence[Database], clock: Clock) -> None:
    """A worker on each of the databases until nothing waits."""

    def work(database: Database) -> None:
        intake = make_intake(clock)
        while process_messages(database, intake) or not is_done(database):
            pass

    side_by_side(*(lambda database=database: work(database) for database in databases))
