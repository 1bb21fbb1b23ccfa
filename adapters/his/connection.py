"""One MLLP connection: its frames in order, its answers in the same order, its limits."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from adapters.his.framing import END, START, Frame, Framer, HalfFrame, Junk, Piece, TooLong
from adapters.his.reception import receive, refuse, refuse_oversize
from hcrm.core import limits
from hcrm.core.sources import Caller, Network
from hcrm.inbox.records import Incoming, Refused, Stored

if TYPE_CHECKING:
    from adapters.his.mllp import MllpServer

ALERTS = frozenset({"sender_certificate", "sender_address"})
"""Refusals of a message that somebody should hear of: a peer spoke as a system it is not."""
_SHORT = {
    "commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C",
    "stateOrProvinceName": "ST", "localityName": "L", "serialNumber": "SERIALNUMBER", "domainComponent": "DC",
}  # fmt: skip
"""Attribute names of a certificate's subject (RFC 4514) as OpenSSL's long names."""
log = structlog.get_logger(__name__)


class Committer(Protocol):
    """What stores (`hcrm.inbox.intake.Committer`)."""

    is_full: bool

    def submit(
        self, arriving: Sequence[Incoming | Refused], done: Callable[[list[Stored] | Exception], object]
    ) -> None:
        """Store, then call `done`."""
        ...

    def refresh(self) -> Awaitable[None]:
        """Look whether there is room."""
        ...

    def close(self) -> Awaitable[None]:
        """Finish."""
        ...


@dataclass(frozen=True)
class MllpLimits:
    """How much a peer may do; the defaults are `core.limits`, the first two are settings."""

    connections_per_address: int = limits.CONNECTIONS_PER_ADDRESS
    connections_total: int = limits.CONNECTIONS_TOTAL
    frame_bytes: int = limits.MAX_FRAME_BYTES
    gap_seconds: float = limits.FRAME_GAP_SECONDS
    frame_seconds: float = limits.FRAME_SECONDS
    idle_seconds: float = limits.IDLE_SECONDS
    write_seconds: float = limits.WRITE_SECONDS
    held_bytes: int = limits.LISTENER_BYTES
    handshake_seconds: float = limits.HANDSHAKE_SECONDS
    networks: tuple[Network, ...] = ()  # who may connect at all; empty: everybody


def address_of(name: Any) -> tuple[str, int | None]:
    """Host and port of a socket's name; of one that has none, nothing."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) and len(name) > 1 else ("", None)


def subject_of(certificate: Any) -> frozenset[str]:
    """The subject of a verified client certificate as a set: CN=his.example."""
    names = (pair for part in (certificate or {}).get("subject", ()) for pair in part)
    return frozenset(f"{_SHORT.get(name, name.upper())}={value}" for name, value in names)


class Connection(asyncio.BufferedProtocol):
    """One sender: bytes in, answers out in the order of its frames."""

    def __init__(
        self, server: "MllpServer", loop: asyncio.AbstractEventLoop, *, is_counted: bool = False
    ) -> None:
        self.server = server
        self.loop = loop
        self.peer = ""
        self.is_counted = is_counted  # over TLS it was let in before the handshake
        self._caller: Caller | None = None
        self._door = self._subject = ""
        self._peer_port: int | None = None
        self.held = 0  # bytes of the unfinished frame and of frames not committed yet
        self._framer = Framer(server.allowed.frame_bytes)
        self._transport: asyncio.Transport
        self._holds: set[str] = set()  # why we do not read
        self._in_flight = 0  # orders with the committer
        self._uncommitted = 0  # their bytes
        self._is_admitted = False
        self._is_last = False  # nothing counts after what is in flight
        self._has_junk = False
        self._heard = 0  # how often
        self.heard_at = self._frame_at = self._message_at = self._held_at = loop.time()
        self._blocked_at: float | None = None  # since then the peer leaves its answers unread

    # ── what asyncio calls ──────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let in, or closed unread."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.peer, self._peer_port = address_of(transport.get_extra_info("peername"))
        if not self.is_counted and not self.server.admits(self.peer, self.loop.time()):
            transport.abort()
            return
        self._is_admitted = True
        subject = subject_of(transport.get_extra_info("peercert"))
        if self.server.sources.has_bindings:
            self._caller = Caller(self.peer, subject)
        self._subject = ",".join(sorted(subject))
        here = address_of(transport.get_extra_info("sockname"))[1]
        self._door = f"{'mllps' if self.is_counted else 'mllp'} {here or ''}".rstrip()
        # So that pause_writing means: the peer does not read. Over TLS what the handshake left must go out first, and
        # a limit of 0 would be reached by 0 bytes.
        if self.is_counted:
            self.loop.call_soon(partial(transport.set_write_buffer_limits, high=1))
        else:
            transport.set_write_buffer_limits(high=0)
        self.server.opened(self)
        if self.server.committer.is_full:
            self.hold("full")

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: a buffer of all connections, emptied at once by `buffer_updated`.

        A Protocol would be handed new bytes, for each of which asyncio asks for 256 KiB first: that takes memory apart.
        """
        return self.server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes of the stream."""
        if self._is_last:
            return
        data = bytes(self.server.buffer[:nbytes])
        now = self.heard_at = self.loop.time()
        self._heard += 1
        was_inside = self._framer.is_inside
        pieces = self._framer.feed(data)
        if pieces or not was_inside:
            self._frame_at = now
        if pieces:
            self._take(pieces)
        self._account()
        if self._framer.awaits_end:
            self.loop.call_later(limits.FRAME_END_SECONDS, self._settle, self._heard)

    def eof_received(self) -> bool:
        """The peer says no more, but may still listen for answers (not over TLS, which ends both ways)."""
        if not self._is_last:
            self._take(self._framer.close())
            self._is_last = True
        return self._in_flight > 0 and self._transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone; what it left half said is noted, what was whole is stored and answered on the resend."""
        if not self._is_admitted:
            return
        rest = self._framer.close()  # whatever becomes of it: its bytes are nobody's any more
        if not self._is_last:
            self._take(rest)
        self._is_last = True
        self._uncommitted = 0
        self._account()
        self.server.closed(self)

    def pause_writing(self) -> None:
        """The peer does not read."""
        self._blocked_at = self.loop.time()
        self.hold("unread")

    def resume_writing(self) -> None:
        """It does again."""
        self._blocked_at = None
        self.release("unread")

    # ── what the server calls ───────────────────────────────────────────────

    def hold(self, reason: str) -> None:
        """Stop reading; TCP tells the sender."""
        if not self._holds:
            self._held_at = self.loop.time()
            self._transport.pause_reading()
        self._holds.add(reason)

    def release(self, reason: str) -> None:
        """Read again once no reason is left."""
        if reason in self._holds:
            self._holds.discard(reason)
            if not self._holds:
                now = self.loop.time()
                self._frame_at += now - self._held_at
                self.heard_at = self._message_at = now  # the silence was ours
                self._transport.resume_reading()

    def check(self, now: float) -> None:
        """Time limits; called once a second."""
        allowed = self.server.allowed
        if self._blocked_at is not None and now - self._blocked_at > allowed.write_seconds:
            self.abort("unread")
        elif self._is_last or self._holds:
            return
        elif self._framer.is_inside:
            is_silent = now - self.heard_at > allowed.gap_seconds
            if is_silent or now - self._frame_at > allowed.frame_seconds:
                self._end_half_frame()
        elif not self._in_flight and now - self._message_at > allowed.idle_seconds:
            self.server.counts["closed_idle"] += 1
            self._transport.close()

    def finish(self) -> None:
        """Read nothing more; close once everything in flight is answered."""
        if not self._is_last:
            self._is_last = True
            self.hold("finishing")
            if not self._in_flight:
                self._leave()

    def abort(self, reason: str) -> None:
        """Close at once, with answers unsent: the sender will ask again."""
        self.server.counts[f"closed_{reason}"] += 1
        self._is_last = True
        self._transport.abort()

    # ── frames in, answers out ──────────────────────────────────────────────

    def _take(self, pieces: Sequence[Piece]) -> None:
        """Hand pieces to the committer in order, up to one after which nothing can be trusted."""
        arriving: list[Incoming | Refused] = []
        size = 0
        for piece in pieces:
            arriving += [
                self._described(each) if isinstance(each, Refused) else each for each in self._arriving(piece)
            ]
            size += len(piece.content)
            if arriving and isinstance(arriving[-1], Refused) and arriving[-1].is_fatal:
                self._is_last = True
                self.hold("finishing")
                break
        if arriving:
            self._message_at = self.loop.time()
            self._order(arriving, size)

    def _arriving(self, piece: Piece) -> Sequence[Incoming | Refused]:
        server, at = self.server, self.server.clock.now()
        content = piece.content
        match piece:
            case Frame():
                return receive(content, sources=server.sources, peer=self.peer, at=at, caller=self._caller)
            case HalfFrame():
                return [refuse(content, "half_frame", peer=self.peer, at=at)]
            case TooLong(is_frame=True):
                limit = server.allowed.frame_bytes
                return [refuse_oversize(content, limit=limit, sources=server.sources, peer=self.peer, at=at)]
            case Junk() if self._has_junk:  # one row a connection says enough
                server.counts["junk_bytes"] += len(content)
                return []
            case _:
                self._has_junk = True
                server.counts["junk_bytes"] += len(content)
                return [refuse(content, "junk", peer=self.peer, at=at, is_fatal=isinstance(piece, TooLong))]

    def _described(self, refused: Refused) -> Refused:
        """With what is known of the connection it came on."""
        return refused._replace(peer_port=self._peer_port, door=self._door, subject=self._subject)

    def _order(self, arriving: Sequence[Incoming | Refused], size: int) -> None:
        self._in_flight += 1
        self._uncommitted += size
        if self._in_flight >= limits.PIPELINED_ORDERS:
            self.hold("pipeline")
        self.server.committer.submit(arriving, partial(self._answer, arriving, size))

    def _answer(
        self, arriving: Sequence[Incoming | Refused], size: int, outcome: list[Stored] | Exception
    ) -> None:
        """After the commit: every ACK in order. A failed commit: no ACK, close, and the sender will ask again (A1)."""
        self._in_flight -= 1
        self._uncommitted = max(0, self._uncommitted - size)
        counts = self.server.counts
        if isinstance(outcome, Exception):
            counts["commits_failed"] += 1
            self.abort("unstored")
            return
        for item, stored in zip(arriving, outcome, strict=True):
            if isinstance(item, Refused):
                counts[f"refused_{item.reason}"] += 1
                if item.reason in ALERTS:
                    self.server.alert(item.reason, self.peer)
            else:
                counts["duplicates" if stored.is_duplicate else "messages"] += 1
        if self._transport.is_closing():
            return
        answer = b"".join([START + stored.ack + END for stored in outcome if stored.ack])
        if answer:
            self._transport.write(answer)
        self._account()
        if self._in_flight < limits.PIPELINED_ORDERS // 2:
            self.release("pipeline")
        if self._is_last and not self._in_flight:
            self._leave()

    def _leave(self) -> None:
        """Close so that the last answer arrives: closed with bytes unread, TCP resets and the peer may lose it."""
        if not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
        self._holds.clear()
        self._transport.resume_reading()  # and drop what comes; the peer's end of stream closes us
        self.loop.call_later(limits.LINGER_SECONDS, self._transport.close)

    def _settle(self, heard: int) -> None:
        if self._heard == heard and not self._is_last:
            self._take(self._framer.settle())
            self._account()

    def _end_half_frame(self) -> None:
        self._is_last = True
        self.server.counts["closed_timeout"] += 1
        content = b"".join(piece.content for piece in self._framer.close())
        self.hold("finishing")
        refused = refuse(content, "timeout", peer=self.peer, at=self.server.clock.now())
        self._order([self._described(refused)], len(content))

    def _account(self) -> None:
        held = self._framer.held + self._uncommitted
        change, self.held = held - self.held, held
        if change:
            self.server.account(self, change)
