"""Files people upload are taken in, and files they ask for written, beside the scheduler in a thread of its own.

Not in the worker, whose messages must not wait for a list of 100,000 rows; not as a job, which starts once a minute.
Any number of processes may run it: a lease says whose an import is.
"""

import threading

import sqlalchemy as sa
import structlog

from hcrm.core import limits
from hcrm.core.clock import Clock
from hcrm.core.db import Database
from hcrm.core.ids import new_id
from hcrm.exchange.exports import Exportables, build_exports
from hcrm.exchange.imports import Importers
from hcrm.exchange.progress import advance_imports

_IDLE_SECONDS = 1.0
log = structlog.get_logger(__name__)


class Exchanger:
    """Works on imports and exports until told to stop."""

    def __init__(
        self, database: Database, importers: Importers, exportables: Exportables, clock: Clock
    ) -> None:
        self._database = database
        self._importers = importers
        self._exportables = exportables
        self._clock = clock
        self._owner = new_id()
        self._thread: threading.Thread | None = None

    def run(self, stop: threading.Event) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._go, args=(stop,), name="exchange", daemon=True)
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Let the transaction under way come to its end, for so long at most."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _go(self, stop: threading.Event) -> None:
        def rest() -> bool:
            return stop.wait(limits.IMPORT_PAUSE_SECONDS)

        while not stop.is_set():
            is_busy = False
            try:
                is_busy = build_exports(self._database, self._clock, self._exportables)
                is_busy |= advance_imports(
                    self._database, self._clock, self._importers, owner=self._owner, rest=rest
                )
            except sa.exc.DBAPIError as error:
                log.warning("exchange.database_away", error=type(error).__name__)
            except Exception as error:  # noqa: BLE001  a thread that ended would leave every import waiting
                log.error("exchange.broken", error=type(error).__name__)
            if not is_busy:
                stop.wait(_IDLE_SECONDS)
