"""The scheduler: ticks until told to stop, and fetches beside it what is not sent to us."""

from hcrm.app.collector import Collector
from hcrm.app.role import Role
from hcrm.core import limits
from hcrm.core.clock import SystemClock
from hcrm.core.runtime import open_sources
from hcrm.scheduler.run import run_scheduler


def run(role: Role) -> None:
    """Every ten seconds; folders and views as often as their sources say."""
    collector = Collector(role.database, open_sources(role.settings), SystemClock())
    collector.run(role.stop)
    run_scheduler(role.database, SystemClock(), role.stop)
    collector.join(limits.STOP_SECONDS)
