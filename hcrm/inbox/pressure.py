"""Whether messages may go on arriving: not above PENDING_LIMIT, not on a full disk (A8)."""

import shutil

import sqlalchemy as sa

from hcrm.core import limits
from hcrm.core.db import Database, sqlite_path
from hcrm.inbox.floor import read_floor, untaken
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage


def is_full(database: Database) -> bool:
    """For those who bring messages one request or file at a time; the listener's committer asks in its own thread."""
    if database.is_sqlite:
        free = shutil.disk_usage(sqlite_path(database.url).parent).free
        if free < limits.READY_FREE_BYTES:
            return True
    return count_pending(database) > limits.PENDING_LIMIT


def count_pending(database: Database) -> int:
    """How many messages wait for the worker: not taken up yet, and taken up but not applied.

    Counted only as far as matters: behind a worker that stands still there may be millions.
    """
    enough = limits.PENDING_LIMIT + 1
    with database.main.connect() as connection:
        untaken_yet = sa.select(InboxMessage.seq).where(*untaken(read_floor(connection))).limit(enough)
        waiting = (
            sa.select(InboxApplication.seq)
            .where(InboxApplication.state == ApplicationState.WAITING)
            .limit(enough)
        )
        counts = [
            connection.scalar(sa.select(sa.func.count()).select_from(rows.subquery()))
            for rows in (untaken_yet, waiting)
        ]
    return sum(count or 0 for count in counts)
