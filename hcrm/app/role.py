"""A child process of `hcrm serve`: `python -m hcrm.app.role worker`. Imports only what its role needs."""

import importlib
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

from hcrm.core import limits
from hcrm.core.db import Database
from hcrm.core.errors import HcrmError
from hcrm.core.logs import set_up_logging
from hcrm.core.runtime import open_database
from hcrm.core.settings import Settings, load_settings


@dataclass(frozen=True)
class Role:
    """What a role runs with; `stop` is set by SIGTERM and Ctrl-C."""

    settings: Settings
    database: Database
    address: str
    stop: threading.Event


def run_role(name: str, address: str) -> None:
    """Run one role in this process until it is told to stop."""
    set_up_logging()
    settings = load_settings()
    serves = name in ("web", "listener")
    busy = limits.SQLITE_BUSY_SECONDS if serves else limits.SQLITE_BUSY_JOB_SECONDS
    database = open_database(settings, busy_seconds=busy)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    run: Callable[[Role], None] = importlib.import_module(f"hcrm.app.role_{name}").run
    try:
        run(Role(settings, database, address, stop))
    finally:
        database.dispose()


if __name__ == "__main__":
    try:
        run_role(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
    except HcrmError as error:
        sys.exit(f"hcrm: {error.message}")
