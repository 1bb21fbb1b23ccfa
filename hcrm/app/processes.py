"""A running HCRM: one child process per role (web, listener, worker, scheduler, sender), each a module `role_*.py`.

`serve` starts children, waits, and ends them on SIGTERM; a child that dies is started again.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

import structlog

from hcrm.accounts.permissions import roles
from hcrm.app.address import split_address
from hcrm.app.role_listener import tls_of
from hcrm.core.errors import HcrmError
from hcrm.core.migrate import require_current_schema
from hcrm.core.runtime import open_database, open_destinations, open_sources
from hcrm.core.settings import Settings

ROLES = ("listener", "worker", "scheduler", "sender", "web")
MAX_DEATHS = 10
"""Ends of one role within a minute after which the whole service ends, for the supervisor above to see."""
AGAIN_SECONDS = 1.0
"""Pause before a child that died is started again."""
STOP_SECONDS = 15.0
log = structlog.get_logger(__name__)


def serve(settings: Settings, *, http: str, mllp: str, only: Sequence[str] = ROLES) -> int:
    """Run the roles as children until SIGTERM or Ctrl-C; the exit code."""
    unknown = set(only) - set(ROLES)
    if unknown:
        raise HcrmError("serve.role", f"没有这样的进程角色：{'、'.join(sorted(unknown))}")
    require_current_schema(settings.db.url)
    roles()  # an unknown permission stops the start, not the first sign-in
    listening = [mllp, settings.mllp.tls_listen] if "listener" in only else []
    for address in (http if "web" in only else "", *listening):
        if address:
            require_free(*split_address(address))
    if listening:
        tls_of(settings.mllp)
    open_database(settings).dispose()  # keys and database are there, or the start ends here with one line
    open_sources(settings)
    if not open_destinations():
        only = [role for role in only if role != "sender"]  # nobody to send to
    return _Parent({role: _command(role, http=http, mllp=mllp) for role in only}, settings).run()


def _command(role: str, *, http: str, mllp: str) -> list[str]:
    address = {"web": http, "listener": mllp}.get(role)
    return [sys.executable, "-m", "hcrm.app.role", role, *([address] if address else [])]


def require_free(host: str, port: int) -> None:
    """Refuse an address something else listens on, in one line instead of a child that dies again and again."""
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise HcrmError("serve.address", f"地址 {host}:{port} 不能使用（已被占用或无权限）") from error


class _Parent:
    """Starts children, starts them again when they die, ends them all when told."""

    def __init__(self, commands: dict[str, list[str]], settings: Settings) -> None:
        self._commands = commands
        self._environment = {**os.environ, "HCRM_DB__URL": settings.db.url}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._deaths: dict[str, list[float]] = {}
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
                    if self._dies_at_once(role):
                        log.error("serve.gave_up", role=role)
                        return self._end() or 1
                    time.sleep(AGAIN_SECONDS)
                    self._start(role)
        return self._end()

    def _dies_at_once(self, role: str) -> bool:
        """Whether this role has ended again and again within a minute: a fault that starting anew does not mend."""
        now = time.monotonic()
        self._deaths[role] = [each for each in self._deaths.get(role, []) if now - each < 60] + [now]
        return len(self._deaths[role]) > MAX_DEATHS

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
