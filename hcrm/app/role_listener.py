"""The listener: HL7 v2 over MLLP into the inbox. Loads neither Flask nor the archive."""

import asyncio

import sqlalchemy as sa

from adapters.his.mllp import MllpLimits, run_mllp
from hcrm.app.address import split_address
from hcrm.app.role import Role
from hcrm.core import limits
from hcrm.core.clock import SystemClock
from hcrm.core.db import Database
from hcrm.core.runtime import open_sources
from hcrm.inbox.floor import read_floor, untaken
from hcrm.inbox.intake import Committer
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage


def run(role: Role) -> None:
    """Receive until SIGTERM, then finish what is being committed."""
    host, port = split_address(role.address)
    mllp = role.settings.mllp
    allowed = MllpLimits(
        connections_per_address=mllp.connections_per_address, connections_total=mllp.connections_total
    )
    committer = Committer(role.database, pending=lambda: count_pending(role.database))
    asyncio.run(
        run_mllp(
            host, port, committer=committer, sources=open_sources(role.settings), clock=SystemClock(), allowed=allowed
        )
    )  # fmt: skip


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
