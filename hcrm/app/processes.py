"""The roles of a running HCRM, one child process each: web, listener, worker, scheduler.

`serve` starts children, waits, and ends them on SIGTERM; a child that dies is started again. Each role is also a
function here, so that a test or another machine runs one alone.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType

import sqlalchemy as sa
import structlog

from hcrm.core import limits
from hcrm.core.clock import SystemClock
from hcrm.core.db import Database
from hcrm.core.errors import HcrmError
from hcrm.core.logs import set_up_logging
from hcrm.core.migrate import require_current_schema
from hcrm.core.paths import config_path
from hcrm.core.runtime import open_database
from hcrm.core.settings import Settings, load_settings
from hcrm.core.sources import Sources, load_sources

ROLES = ("listener", "worker", "scheduler", "web")
IDLE_SECONDS = 0.05
AWAY_SECONDS = 1.0
STOP_SECONDS = 15.0
log = structlog.get_logger(__name__)


def serve(settings: Settings, *, http: str, mllp: str, only: Sequence[str] = ROLES) -> int:
    """Run the roles as children until SIGTERM or Ctrl-C; the exit code."""
    unknown = set(only) - set(ROLES)
    if unknown:
        raise HcrmError("serve.role", f"没有这样的进程角色：{'、'.join(sorted(unknown))}")
    require_current_schema(settings.db.url)
    open_database(settings).dispose()  # keys and database are there, or the start ends here with one line
    _sources(settings)
    return _Parent({role: _command(role, http=http, mllp=mllp) for role in only}, settings).run()


def _command(role: str, *, http: str, mllp: str) -> list[str]:
    address = {"web": http, "listener": mllp}.get(role)
    return [sys.executable, "-m", "hcrm.app.role", role, *([address] if address else [])]


class _Parent:
    """Starts children, starts them again when they die, ends them all when told."""

    def __init__(self, commands: dict[str, list[str]], settings: Settings) -> None:
        self._commands = commands
        self._environment = {**os.environ, "HCRM_DB__URL": settings.db.url}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._stopping = False

    def run(self) -> int:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._stop)
        for role in self._commands:
            self._start(role)
        while not self._stopping:
            time.sleep(0.2)
            for role, child in self._children.items():
                if child.poll() is not None and not self._stopping:
                    log.error("serve.child_ended", role=role, code=child.returncode)
                    time.sleep(AWAY_SECONDS)
                    self._start(role)
        return self._end()

    def _start(self, role: str) -> None:
        # A session of their own: Ctrl-C in the terminal reaches the parent only, which ends them in order.
        self._children[role] = subprocess.Popen(
            self._commands[role], env=self._environment, start_new_session=True
        )

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _end(self) -> int:
        for child in self._children.values():
            if child.poll() is None:
                child.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        code = 0
        for role, child in self._children.items():
            try:
                code |= child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("serve.child_killed", role=role)
                child.kill()
                code = 1
        return 1 if code else 0


def run_role(role: str, address: str | None) -> None:
    """One role in this process until SIGTERM."""
    settings = load_settings()
    set_up_logging()
    busy = limits.SQLITE_BUSY_SECONDS if role in ("web", "listener") else limits.SQLITE_BUSY_JOB_SECONDS
    database = open_database(settings, busy_seconds=busy)
    stop = threading.Event()
    if role != "listener":
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda _number, _frame: stop.set())
    runners: dict[str, Callable[[], None]] = {
        "listener": lambda: run_listener(settings, database, address or ""),
        "worker": lambda: run_worker(settings, database, stop),
        "scheduler": lambda: run_schedule(database, stop),
        "web": lambda: run_web(settings, database, address or "", stop),
    }
    try:
        runners[role]()
    finally:
        database.dispose()


def run_worker(settings: Settings, database: Database, stop: threading.Event) -> None:
    """Apply messages and deliver events as long as there are any; look again soon when there are none."""
    from hcrm.app import wiring  # the listener's process must not load what the worker needs
    from hcrm.core.actor import system_actor
    from hcrm.core.delivery import deliver_events
    from hcrm.inbox.service import process_messages

    clock = SystemClock()
    sources = _sources(settings)
    intake, handlers = wiring.intake(sources, clock), wiring.handlers(settings, sources)
    actor = system_actor("worker")
    while not stop.is_set():
        try:
            done = process_messages(database, intake)
            done += deliver_events(database, handlers, clock, actor)
        except sa.exc.OperationalError as error:
            log.warning("worker.database_away", error=type(error).__name__)
            stop.wait(AWAY_SECONDS)
            continue
        if not done:
            stop.wait(IDLE_SECONDS)


def run_schedule(database: Database, stop: threading.Event) -> None:
    """Tick until told to stop."""
    from hcrm.scheduler.run import run_scheduler  # APScheduler is only needed here

    run_scheduler(database, SystemClock(), stop)


def run_listener(settings: Settings, database: Database, address: str) -> None:
    """Receive over MLLP until SIGTERM."""
    from adapters.his.mllp import run_mllp  # only this process listens

    host, port = split_address(address)
    asyncio.run(run_mllp(settings, database, _sources(settings), host, port))


def run_web(settings: Settings, database: Database, address: str, stop: threading.Event) -> None:
    """Answer pages and API until told to stop, letting running requests finish."""
    from waitress.server import create_server  # Flask and its extensions take a second to load: here only

    from hcrm.app.factory import create_app

    host, port = split_address(address)
    app = create_app(settings, database)
    server = create_server(app, host=host, port=port, threads=settings.http.threads, ident=None)
    thread = threading.Thread(target=server.run, name="web", daemon=True)
    thread.start()
    stop.wait()
    server.close()
    server.task_dispatcher.shutdown(timeout=10)


def split_address(address: str) -> tuple[str, int]:
    """`127.0.0.1:8080` as host and port."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise HcrmError("serve.address", f"地址应写作 主机:端口，而不是 {address!r}")
    return host.strip("[]"), int(port)


def _sources(settings: Settings) -> Sources:
    return load_sources(config_path("sources"), known_senders_only=settings.mllp.known_senders_only)
