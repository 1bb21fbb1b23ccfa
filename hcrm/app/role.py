"""A child process of `hcrm serve`: `python -m hcrm.app.role worker`. Imports only what its role needs."""

import importlib
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
import structlog

from hcrm.core.db import JOBS, LISTENER, WEB, Database
from hcrm.core.errors import HcrmError
from hcrm.core.logs import set_up_logging
from hcrm.core.runtime import open_database
from hcrm.core.settings import Settings, load_settings
from hcrm.inbox.configured import read_configured

USES = {"web": WEB, "listener": LISTENER, "worker": JOBS, "scheduler": JOBS, "sender": JOBS}
AWAY_SECONDS = 1.0
log = structlog.get_logger(__name__)


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
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    read_configured()  # not when a job or page first asks: the files may be changed by then
    run: Callable[[Role], None] = importlib.import_module(f"hcrm.app.role_{name}").run
    database = _open(settings, name, stop)
    if database is None:
        return
    try:
        run(Role(settings, database, address, stop))
    finally:
        database.dispose()


def _open(settings: Settings, name: str, stop: threading.Event) -> Database | None:
    """The database, as soon as it is there; None where we are told to stop first."""
    while not stop.is_set():
        try:
            return open_database(settings, use=USES[name])
        except sa.exc.OperationalError as error:
            log.warning("serve.database_away", role=name, error=type(error).__name__)
            stop.wait(AWAY_SECONDS)
    return None


if __name__ == "__main__":
    try:
        run_role(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
    except HcrmError as error:
        sys.exit(f"hcrm: {error.message}")
