"""The worker: applies messages and delivers events as long as there are any."""

import sqlalchemy as sa
import structlog

from hcrm.app import wiring
from hcrm.app.role import Role
from hcrm.core.actor import system_actor
from hcrm.core.clock import SystemClock
from hcrm.core.db import is_away
from hcrm.core.delivery import deliver_events
from hcrm.core.runtime import open_destinations, open_sources
from hcrm.inbox.service import process_messages

IDLE_SECONDS = 0.05
AWAY_SECONDS = 1.0
log = structlog.get_logger(__name__)


def run(role: Role) -> None:
    """Go round until told to stop; look again soon when nothing waits, later when the database is away."""
    clock = SystemClock()
    sources = open_sources(role.settings)
    intake = wiring.intake(sources, clock)
    handlers = wiring.handlers(role.settings, sources, open_destinations())
    actor = system_actor("worker")
    while not role.stop.is_set():
        try:
            done = process_messages(role.database, intake)
            done += deliver_events(role.database, handlers, clock, actor)
        except sa.exc.DBAPIError as error:
            if not is_away(error):
                raise
            log.warning("worker.database_away", error=type(error).__name__)
            role.stop.wait(AWAY_SECONDS)
            continue
        if not done:
            role.stop.wait(IDLE_SECONDS)
