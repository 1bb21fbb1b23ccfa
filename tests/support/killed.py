"""What tests with killed processes share: a hospital's definitions in the database, keys in a file, the end of work."""

import json
import os
import time
from pathlib import Path

import sqlalchemy as sa

from hcrm.core.crypto import KeyRing
from hcrm.core.db import Database
from hcrm.core.definitions import Definition
from hcrm.core.events import Event
from hcrm.core.work import open_work
from hcrm.inbox.models import ApplicationState, InboxApplication
from hcrm.inbox.queries import is_idle
from tests.support.forked import Forked
from tests.support.hospital import ACTOR, shipped_definitions

PATIENCE = 180.0


def write_keys(folder: Path) -> Path:
    """The file `tests.support.listener.make_keys` reads."""
    path = folder / "key.json"
    path.write_text(json.dumps({"data": bytes(32).hex()}))
    return path


def publish(url: str, keys: KeyRing) -> None:
    """The shipped definitions, so that discharges issue instructions."""
    database = Database(url, keys)
    with open_work(database, actor=ACTOR) as work:
        work.insert(Definition, shipped_definitions())
    database.dispose()


def is_at_rest(database: Database) -> bool:
    with open_work(database, actor=ACTOR, write=False) as work:
        return is_idle(work)


def wait_until_idle(database: Database) -> None:
    """However much waits: only a worker that does nothing for so long has come to a stop."""
    done, deadline = -1, time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with open_work(database, actor=ACTOR, write=False) as work:
            if is_idle(work):
                return
            now = work.scalar(
                sa.select(sa.func.count()).select_from(Event).where(Event.is_delivered)
            ) + work.scalar(
                sa.select(sa.func.count())
                .select_from(InboxApplication)
                .where(InboxApplication.state != ApplicationState.WAITING)
            )
        if now > done:
            done, deadline = now, time.monotonic() + PATIENCE
        time.sleep(0.05)
    raise AssertionError("the worker does not come to rest")


def is_alive(program: Forked) -> bool:
    """Whether the one started last still runs: it may be about to kill itself at a fault point."""
    try:
        os.kill(program.process, 0)
    except ProcessLookupError:
        return False
    return True
