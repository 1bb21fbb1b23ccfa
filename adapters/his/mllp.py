"""The MLLP listener (HL7 Transport Specification MLLP 1): positive ACK only after the commit, or no ACK at all.

On the way to the commit are framing, header and hash; nothing is decoded, mapped or looked up. What arrives on all
connections while one transaction runs goes into the next (`hcrm.inbox.intake.Committer`).
"""

import asyncio
import contextlib
import signal
import ssl
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from adapters.his.connection import Committer, Connection, MllpLimits
from adapters.his.reception import refuse
from hcrm.core import limits
from hcrm.core.clock import Clock
from hcrm.core.sources import Sources

log = structlog.get_logger(__name__)

_EVERY_SECONDS = 1.0
_READ_BYTES = 64 * 1024
_REFUSAL_EVERY = 60.0  # refused connections of one address: one row a minute, not one a try (C10)


async def serve_mllp(
    host: str, port: int, *, committer: Committer, sources: Sources, clock: Clock, allowed: MllpLimits | None = None,
    tls: ssl.SSLContext | None = None,
) -> "MllpServer":  # fmt: skip
    """Listen; the server runs until `stop`."""
    server = MllpServer(committer, sources, clock, allowed or MllpLimits())
    await server.start(host, port, tls)
    return server


async def run_mllp(
    host: str, port: int, *, committer: Committer, sources: Sources, clock: Clock, allowed: MllpLimits | None = None,
    tls: ssl.SSLContext | None = None, on_ready: "Callable[[MllpServer], object] | None" = None,
) -> None:  # fmt: skip
    """Listen until SIGTERM or SIGINT, then stop in order: the whole life of a listener process."""
    told = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, told.set)
    server = await serve_mllp(
        host, port, committer=committer, sources=sources, clock=clock, allowed=allowed, tls=tls
    )
    if on_ready:
        on_ready(server)
    await told.wait()
    await server.stop()


class MllpServer:
    """One listening address, its connections and what they may hold together."""

    def __init__(self, committer: Committer, sources: Sources, clock: Clock, allowed: MllpLimits) -> None:
        self.committer = committer
        self.sources = sources
        self.clock = clock
        self.allowed = allowed
        self.counts: Counter[str] = Counter()
        self.buffer = memoryview(bytearray(_READ_BYTES))
        self.held = 0
        self.connections: set[Connection] = set()
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._per_address: Counter[str] = Counter()
        self._refused_at: OrderedDict[str, float] = OrderedDict()
        self._waiting: list[Connection] = []  # large frames that wait for memory
        self._going_on: Connection | None = None  # the one large frame that does not
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; the port is the real one where 0 was asked for."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Open the socket."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self, loop), host, port, ssl=tls, backlog=512
        )
        self._tasks = [
            loop.create_task(_every_second(partial(self._sweep, loop))),
            loop.create_task(_every_second(self._pause_or_resume)),
        ]
        log.info("mllp.listening", host=self.address[0], port=self.address[1])

    async def stop(self) -> None:
        """Stop reading, finish the commits, send their ACKs, close; within 15 seconds (X3)."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        for connection in list(self.connections):
            connection.finish()
        await self.committer.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * limits.LINGER_SECONDS):  # the last answers go out
                await self._is_empty.wait()
        for connection in list(self.connections):
            connection.abort("stopping")

    def admits(self, address: str, now: float) -> bool:
        """Whether one more connection of the address is let in, before a byte of it is read (C10)."""
        allowed = self.allowed
        if (
            len(self.connections) < allowed.connections_total
            and self._per_address[address] < allowed.connections_per_address
        ):
            return True
        self.counts["connections_refused"] += 1
        if now - self._refused_at.get(address, -_REFUSAL_EVERY) >= _REFUSAL_EVERY:
            self._refused_at[address] = now
            self._refused_at.move_to_end(address)
            if len(self._refused_at) > 1_000:
                self._refused_at.popitem(last=False)
            refusal = refuse(b"", "too_many_connections", peer=address, at=self.clock.now())
            self.committer.submit([refusal], lambda _outcome: None)
            log.warning("mllp.too_many_connections", peer=address)
        return False

    def opened(self, connection: "Connection") -> None:
        """A connection begins."""
        self.connections.add(connection)
        self._is_empty.clear()
        self._per_address[connection.peer] += 1

    def closed(self, connection: "Connection") -> None:
        """A connection is gone, with all it held."""
        self.connections.discard(connection)
        if not self.connections:
            self._is_empty.set()
        if connection in self._waiting:
            self._waiting.remove(connection)
        self._per_address[connection.peer] -= 1
        if not self._per_address[connection.peer]:
            del self._per_address[connection.peer]

    def account(self, connection: Connection, change: int) -> None:
        """Keep the sum of bytes held; beyond the limit large frames go on one at a time (A7).

        One always goes on, or those half received would wait for each other.
        """
        self.held += change
        is_large = connection.held > limits.LISTENER_SHARE_BYTES
        if change > 0 and is_large and self.held > self.allowed.held_bytes:
            if self._going_on is None:
                self._going_on = connection
            elif self._going_on is not connection and connection not in self._waiting:
                self._waiting.append(connection)
                connection.hold("memory")
        elif change < 0:
            if self._going_on is connection and not is_large:
                self._going_on = None
            while self._waiting and (self._going_on is None or self.held <= self.allowed.held_bytes):
                self._going_on = self._waiting.pop(0)
                self._going_on.release("memory")

    def _pass_on(self, now: float) -> None:
        """The large frame that may go on says nothing: another takes its turn."""
        if self._waiting and self._going_on and now - self._going_on.heard_at > _EVERY_SECONDS:
            self._going_on = self._waiting.pop(0)
            self._going_on.release("memory")

    async def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Time limits of every connection."""
        for connection in list(self.connections):
            connection.check(loop.time())
        self._pass_on(loop.time())

    async def _pause_or_resume(self) -> None:
        """Whether messages may go on arriving (A8); in a task of its own, since a database may answer late."""
        was_full = self.committer.is_full
        await self.committer.refresh()
        is_full = self.committer.is_full
        if is_full != was_full:
            log.warning("mllp.paused" if is_full else "mllp.resumed")
        for connection in list(self.connections):
            if is_full:
                connection.hold("full")
            else:
                connection.release("full")


async def _every_second(act: Callable[[], Awaitable[None]]) -> None:
    """Again and again until cancelled, whatever goes wrong once."""
    while True:
        await asyncio.sleep(_EVERY_SECONDS)
        try:
            await act()
        except Exception as error:  # noqa: BLE001  a limit that is no longer watched would be none
            log.error("mllp.sweep_failed", error=type(error).__name__)
