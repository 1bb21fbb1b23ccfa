"""The scheduler: ticks until told to stop."""

from hcrm.app.role import Role
from hcrm.core.clock import SystemClock
from hcrm.scheduler.run import run_scheduler


def run(role: Role) -> None:
    """Every ten seconds."""
    run_scheduler(role.database, SystemClock(), role.stop)
