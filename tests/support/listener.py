"""A real listener for tests: in a thread of the test, or as a program in a process that may be killed."""

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa

from adapters.his.connection import MllpLimits
from adapters.his.mllp import MllpServer, run_mllp, serve_mllp
from hcrm.core.clock import Clock, FixedClock
from hcrm.core.crypto import KeyRing
from hcrm.core.db import Database
from hcrm.core.logs import set_up_logging
from hcrm.core.sources import Source, Sources
from hcrm.inbox.intake import Committer
from hcrm.inbox.models import InboxMessage, RefusedMessage
from tests.support.changes import EVENING
from tests.support.forked import serve_each_line

PATIENCE = 60.0


def default_sources(*sources: Source, known_senders_only: bool = False) -> Sources:
    return Sources([Source(code="default", title="default"), *sources], known_senders_only=known_senders_only)


def adt(
    control_id: str = "7",
    kind: str = "ADT^A01",
    version: str = "2.5.1",
    acks: str = "|",
    body: str = "PID|1||100",
) -> bytes:
    msh = f"MSH|^~\\&|HIS|H1|HCRM|H1|20261122||{kind}|{control_id}|P|{version}|||{acks}||UNICODE UTF-8"
    return f"{msh}\r{body}\r".encode()


def stored(database: Database) -> list[tuple[str, str]]:
    with database.main.connect() as connection:
        query = sa.select(InboxMessage.control_id, InboxMessage.flags).order_by(InboxMessage.seq)
        return [(row.control_id, row.flags) for row in connection.execute(query)]


def refusals(database: Database) -> list[str]:
    with database.main.connect() as connection:
        return list(connection.scalars(sa.select(RefusedMessage.reason).order_by(RefusedMessage.seq)))


def eventually(found: Callable[[], object], expected: object) -> None:
    """What happens behind a closed connection may take a moment."""
    deadline = time.monotonic() + PATIENCE
    while found() != expected and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found() == expected


class Peer:
    """A sender on a blocking socket."""

    def __init__(self, address: tuple[str, int], source: str = "") -> None:
        here = (source, 0) if source else None
        self.socket = socket.create_connection(address, timeout=PATIENCE, source_address=here)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def frame(self, message: bytes) -> None:
        self.send(b"\x0b" + message + b"\x1c\r")

    def answer(self) -> bytes:
        """The next ACK; EOFError where the listener closed instead."""
        while b"\x1c\r" not in self._rest:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                raise EOFError
            self._rest += data
        frame, self._rest = self._rest.split(b"\x1c\r", 1)
        assert frame.startswith(b"\x0b"), frame
        return frame[1:]

    def ask(self, message: bytes) -> bytes:
        self.frame(message)
        return self.answer()

    def is_silent(self, seconds: float = 0.3) -> bool:
        """Whether nothing comes and the connection stays."""
        self.socket.settimeout(seconds)
        try:
            return not self._rest and self.socket.recv(1, socket.MSG_PEEK) is None
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(PATIENCE)

    def is_closed(self) -> bool:
        """Whether the listener closes without another word."""
        try:
            self.answer()
        except EOFError:
            return True
        return False


class RunningListener:
    """A listener on a loop in a thread of its own."""

    def __init__(self, database: Database, sources: Sources, clock: Clock, allowed: MllpLimits | None = None,
                 pending: Callable[[], int] | None = None, **more: Any) -> None:  # fmt: skip
        self._arguments: dict[str, Any] = {"sources": sources, "clock": clock, "allowed": allowed, **more}
        self._database, self._pending = database, pending
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.server: MllpServer
        self.committer: Committer
        self.problems: list[dict[str, Any]] = []

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(lambda _, context: self.problems.append(context))
        self._over = asyncio.Event()
        self.committer = Committer(self._database, pending=self._pending)
        self.server = await serve_mllp("127.0.0.1", 0, committer=self.committer, **self._arguments)
        self._ready.set()
        await self._over.wait()
        await self.server.stop()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(30)
        assert not self._thread.is_alive()
        assert self.problems == []

    def call(self, act: Callable[..., object], *arguments: object) -> None:
        """In the loop's own thread."""
        self._loop.call_soon_threadsafe(act, *arguments)

    def connect(self) -> Peer:
        return Peer(self.server.address)


Listen = Callable[..., RunningListener]


def make_keys(path: Path) -> KeyRing:
    data = bytes.fromhex(json.loads(path.read_text())["data"])
    return KeyRing(current="k1", data={"k1": data}, index=bytes(32))


def serve(url: str, key_file: str) -> None:
    """One listener until SIGTERM; its process id and port are printed once it listens."""
    set_up_logging()
    database = Database(url, make_keys(Path(key_file)))
    asyncio.run(
        run_mllp("127.0.0.1", 0, committer=Committer(database), sources=default_sources(), clock=FixedClock(EVENING),
                 allowed=MllpLimits(connections_per_address=200),
                 on_ready=lambda server: print(os.getpid(), server.address[1], flush=True))  # noqa: T201
    )  # fmt: skip
    database.dispose()


if __name__ == "__main__":
    serve_each_line(serve)
