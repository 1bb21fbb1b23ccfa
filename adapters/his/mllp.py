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
from dataclasses import dataclass
from functools import partial

import structlog

from adapters.his.connection import Committer, Connection, MllpLimits
from adapters.his.reception import refuse
from adapters.his.tls import TlsDoor
from hcrm.core import limits
from hcrm.core.clock import Clock
from hcrm.core.sources import Sources, is_within

log = structlog.get_logger(__name__)

_EVERY_SECONDS = 1.0
_READ_BYTES = 64 * 1024
_BACKLOG = 512
_REFUSAL_EVERY = 60.0  # refused connections of one address: one row a minute, not one a try (C10)


@dataclass(frozen=True)
class Tls:
    """TLS, and where: at the address itself, or at a second one beside the plain first."""

    context: ssl.SSLContext
    address: tuple[str, int] | None = None


Alert = Callable[[str, str], object]
"""Is told reason and address of what somebody should hear of, at most once a minute for both; must not block."""


async def serve_mllp(
    host: str, port: int, *, committer: Committer, sources: Sources, clock: Clock, allowed: MllpLimits | None = None,
    tls: Tls | None = None, on_alert: Alert | None = None,
) -> "MllpServer":  # fmt: skip
    """Listen; the server runs until `stop`."""
    server = MllpServer(committer, sources, clock, allowed or MllpLimits(), on_alert)
    await server.start(host, port, tls)
    return server


async def run_mllp(
    host: str, port: int, *, committer: Committer, sources: Sources, clock: Clock, allowed: MllpLimits | None = None,
    tls: Tls | None = None, on_alert: Alert | None = None, on_ready: "Callable[[MllpServer], object] | None" = None,
) -> None:  # fmt: skip
    """Listen until SIGTERM or SIGINT, then stop in order: the whole life of a listener process."""
    told = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, told.set)
    server = await serve_mllp(
        host, port, committer=committer, sources=sources, clock=clock, allowed=allowed, tls=tls, on_alert=on_alert
    )  # fmt: skip
    if on_ready:
        on_ready(server)
    await told.wait()
    await server.stop()


class MllpServer:
    """One listening address, or a plain and a TLS one; their connections and what they may hold together."""

    def __init__(
        self, committer: Committer, sources: Sources, clock: Clock, allowed: MllpLimits, on_alert: Alert | None = None
    ) -> None:  # fmt: skip
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
        self._told_at: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._on_alert = on_alert
        self._door: TlsDoor | None = None
        self._waiting: list[Connection] = []  # large frames that wait for memory
        self._going_on: Connection | None = None  # the one large frame that does not
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def shaking(self) -> int:
        """Connections whose handshake is not over."""
        return self._door.shaking if self._door is not None else 0

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; the port is the real one where 0 was asked for."""
        if self._server is None:
            return self.tls_address
        host, port = self._server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    @property
    def tls_address(self) -> tuple[str, int]:
        """Where it speaks TLS."""
        assert self._door is not None
        return self._door.address

    async def start(self, host: str, port: int, tls: Tls | None) -> None:
        """Open the sockets."""
        loop = asyncio.get_running_loop()
        if tls is None or tls.address is not None:
            self._server = await loop.create_server(
                lambda: Connection(self, loop), host, port, backlog=_BACKLOG
            )
        if tls is not None:
            self._door = TlsDoor(self, loop, tls.context)
            await self._door.open(*(tls.address or (host, port)))
            log.info("mllp.listening", host=self.tls_address[0], port=self.tls_address[1], tls=True)
        self._tasks = [
            loop.create_task(_every_second(partial(self._sweep, loop))),
            loop.create_task(_every_second(self._pause_or_resume)),
        ]
        if self._server is not None:
            log.info("mllp.listening", host=self.address[0], port=self.address[1], tls=False)

    async def stop(self) -> None:
        """Stop reading, finish the commits, send their ACKs, close; within 15 seconds (X3)."""
        if self._server is not None:
            self._server.close()
        if self._door is not None:
            self._door.close()
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

    def admits(self, address: str, now: float, *, door: str = "mllp") -> bool:
        """Whether one more connection of the address is let in, before a byte of it is read (C10)."""
        allowed = self.allowed
        if allowed.networks and not is_within(address, allowed.networks):
            reason = "address_not_allowed"
        elif (
            len(self.connections) + self.shaking >= allowed.connections_total
            or self._per_address[address] >= allowed.connections_per_address
        ):
            reason = "too_many_connections"
        else:
            return True
        self.counts["connections_refused"] += 1
        self.refuse_connection(reason, address, now, door=door)
        return False

    def refuse_connection(
        self, reason: str, address: str, now: float, *, door: str, detail: str = "", port: int | None = None
    ) -> None:
        """Note that an address was turned away: one row a minute, not one a try."""
        if self._is_news(f"{reason} {detail}", address, now):
            refusal = refuse(b"", reason, peer=address, at=self.clock.now())
            refusal = refusal._replace(detail=detail, peer_port=port, door=door)
            self.committer.submit([refusal], lambda _outcome: None)
            self._alarm(reason, address)

    def alert(self, reason: str, address: str) -> None:
        """A peer was refused for what it said it is; the refusal itself is stored already."""
        if self._is_news(reason, address, asyncio.get_running_loop().time()):
            self._alarm(reason, address)

    def _alarm(self, reason: str, address: str) -> None:
        log.warning("mllp.refused", peer=address, reason=reason)
        if self._on_alert is not None:
            self._on_alert(reason, address)

    def _is_news(self, reason: str, address: str, now: float) -> bool:
        key = (reason, address)
        if now - self._told_at.get(key, -_REFUSAL_EVERY) < _REFUSAL_EVERY:
            return False
        self._told_at[key] = now
        self._told_at.move_to_end(key)
        if len(self._told_at) > 1_000:
            self._told_at.popitem(last=False)
        return True

    def enter(self, address: str, change: int) -> None:
        """Count a connection of the address from before its handshake on."""
        self._per_address[address] += change
        if not self._per_address[address]:
            del self._per_address[address]

    def opened(self, connection: "Connection") -> None:
        """A connection begins."""
        self.connections.add(connection)
        self._is_empty.clear()
        if not connection.is_counted:
            self.enter(connection.peer, 1)

    def closed(self, connection: "Connection") -> None:
        """A connection is gone, with all it held."""
        self.connections.discard(connection)
        if not self.connections:
            self._is_empty.set()
        if connection in self._waiting:
            self._waiting.remove(connection)
        self.enter(connection.peer, -1)

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
        if self._door is not None:
            self._door.forgive(loop.time())

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
