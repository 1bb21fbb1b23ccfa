"""The listener: HL7 v2 over MLLP into the inbox. Loads neither Flask nor the archive."""

import asyncio

import sqlalchemy as sa

from adapters.his.mllp import MllpLimits, run_mllp
from hcrm.app.processes import split_address
from hcrm.app.role import Role
from hcrm.core.clock import SystemClock
from hcrm.core.runtime import open_sources
from hcrm.inbox.intake import Committer
from hcrm.inbox.models import InboxMessage


def run(role: Role) -> None:
    """Receive until SIGTERM, then finish what is being committed."""
    host, port = split_address(role.address)
    mllp = role.settings.mllp
    allowed = MllpLimits(
        connections_per_address=mllp.connections_per_address, connections_total=mllp.connections_total
    )
    committer = Committer(role.database, pending=lambda: count_pending(role))
    asyncio.run(
        run_mllp(
            host, port, committer=committer, sources=open_sources(role.settings), clock=SystemClock(), allowed=allowed
        )
    )  # fmt: skip


def count_pending(role: Role) -> int:
    """How many messages wait for the worker: not taken up yet, and taken up but not applied."""
    with role.database.main.connect() as connection:
        received = connection.scalar(sa.select(sa.func.max(InboxMessage.seq))) or 0
        taken = connection.scalar(sa.text("SELECT max(seq) FROM inbox_application")) or 0
        waiting = connection.scalar(sa.text("SELECT count(*) FROM inbox_application WHERE state = 'waiting'"))
    return int(received) - int(taken) + int(waiting or 0)
