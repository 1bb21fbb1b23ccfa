"""The scheduler: ticks until told to stop; beside it, what is not sent to us is fetched and files are taken in."""

from hcrm.app.collector import Collector
from hcrm.app.exchanger import Exchanger
from hcrm.app.role import Role
from hcrm.app.wiring import exportables, importers
from hcrm.core import limits
from hcrm.core.clock import SystemClock
from hcrm.core.runtime import open_sources
from hcrm.scheduler.run import run_scheduler


def run(role: Role) -> None:
    """Every ten seconds; folders and views as often as their sources say."""
    collector = Collector(role.database, open_sources(role.settings), SystemClock())
    collector.run(role.stop)
    exchanger = Exchanger(role.database, importers(), exportables(), SystemClock())
    exchanger.run(role.stop)
    run_scheduler(role.database, SystemClock(), role.stop)
    collector.join(limits.STOP_SECONDS)
    exchanger.join(limits.STOP_SECONDS)
