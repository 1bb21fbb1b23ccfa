"""The door of MLLP over TLS: who may come in is asked before the handshake, who the peer is is known after it (A10)."""

import asyncio
import contextlib
import socket
import ssl
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import structlog

from adapters.his.connection import Connection
from hcrm.core import limits
from hcrm.core.errors import HcrmError

if TYPE_CHECKING:
    from adapters.his.mllp import MllpServer

log = structlog.get_logger(__name__)

_BACKLOG = 512
_MINUTE = 60.0
_VERIFY = {
    2: "unknown_ca", 9: "not_yet_valid", 10: "expired", 18: "unknown_ca", 19: "unknown_ca", 20: "unknown_ca",
    21: "unknown_ca", 23: "revoked", 26: "purpose",
}  # fmt: skip
"""X509_V_ERR codes of OpenSSL."""
_HANDSHAKE = {
    "peer_did_not_return_a_certificate": "no_certificate", "wrong_version_number": "not_tls", "http_request": "not_tls",
    "unsupported_protocol": "tls_version", "no_shared_cipher": "cipher", "tlsv1_alert_unknown_ca": "ours_unknown",
    "sslv3_alert_certificate_unknown": "ours_unknown", "sslv3_alert_bad_certificate": "ours_unknown",
    "sslv3_alert_certificate_expired": "ours_expired", "tlsv1_alert_protocol_version": "tls_version",
}  # fmt: skip
"""Reasons of OpenSSL; `ours_`: the peer refused our certificate."""
ClientCertificates = Literal["none", "required"]


def server_context(
    certificate: Path, key: Path, authority: Path | None, client_certificates: ClientCertificates
) -> ssl.SSLContext:
    """TLS 1.2 or newer with our certificate; `required`: peers must show one of this authority (RFC 8446, 4.3.2)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 1
    try:
        context.load_cert_chain(
            certificate, key, password=lambda: ""
        )  # never ask at a terminal nobody sits at
        if authority is not None:
            context.load_verify_locations(authority)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise HcrmError("mllp.tls", f"TLS 证书、私钥或 CA 文件无法使用（{type(error).__name__}）") from error
    if client_certificates == "required":
        if authority is None:
            raise HcrmError("mllp.tls", "要求客户端证书时须指定 mllp.tls_ca")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class TlsDoor:
    """Accepts connections itself, since asyncio's own server tells nobody whose handshake failed, nor before it."""

    def __init__(
        self, server: "MllpServer", loop: asyncio.AbstractEventLoop, context: ssl.SSLContext
    ) -> None:
        self._server = server
        self._loop = loop
        self._context = context
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: Counter[str] = Counter()
        self._counted_from = loop.time()
        self.shaking = 0

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._sockets[0].getsockname()[:2]
        return str(host), int(port)

    async def open(self, host: str, port: int) -> None:
        """Listen at every address of the host."""
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, proto, _, address in dict.fromkeys(found):
            listening = socket.socket(family, kind, proto)
            self._sockets.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind(address)
            listening.listen(_BACKLOG)
            listening.setblocking(False)
            self._start(self._accept(listening))

    def close(self) -> None:
        """Accept nobody more, and give up handshakes that are not over."""
        for task in list(self._tasks):
            task.cancel()
        for listening in self._sockets:
            listening.close()

    def forgive(self, now: float) -> None:
        """A minute is over: failed handshakes count anew."""
        if now - self._counted_from >= _MINUTE:
            self._counted_from = now
            self._failures.clear()

    def _start(self, task: "asyncio._CoroutineLike[None]") -> None:
        started = self._loop.create_task(task)
        self._tasks.add(started)
        started.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, address = await self._loop.sock_accept(listening)
            except OSError as error:  # out of descriptors: some will be free again
                log.error("mllp.accept_failed", error=type(error).__name__)
                await asyncio.sleep(1)
                continue
            peer, now = str(address[0]), self._loop.time()
            door = f"mllps {listening.getsockname()[1]}"
            if self._failures[peer] >= limits.HANDSHAKE_FAILURES or not self._server.admits(
                peer, now, door=door
            ):
                connection.close()
                continue
            self.shaking += 1
            self._server.enter(peer, 1)
            self._start(self._shake_hands(connection, peer, int(address[1]), door))

    async def _shake_hands(self, connection: socket.socket, peer: str, port: int, door: str) -> None:
        connection.setblocking(False)
        try:
            await self._loop.connect_accepted_socket(
                lambda: Connection(self._server, self._loop, is_counted=True), connection, ssl=self._context,
                ssl_handshake_timeout=self._server.allowed.handshake_seconds,
                ssl_shutdown_timeout=limits.LINGER_SECONDS,
            )  # fmt: skip
        except BaseException as error:
            self._server.enter(peer, -1)
            with contextlib.suppress(OSError):
                connection.close()
            if not isinstance(error, OSError):
                raise
            self._failed(peer, error, port, door)
        finally:
            self.shaking -= 1

    def _failed(self, peer: str, error: OSError, port: int, door: str) -> None:
        """A peer without a certificate we trust is news; one that hung up or said nothing (a port check) is counted."""
        self._server.counts["handshakes_failed"] += 1
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            self._failures[peer] += 1
            self._server.refuse_connection(
                "tls_handshake", peer, self._loop.time(), door=door, detail=handshake_fault(error), port=port
            )


def handshake_fault(error: ssl.SSLError) -> str:
    """Why a handshake failed, as a code: ours where it is known, else OpenSSL's own word."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY.get(error.verify_code, f"verify_{error.verify_code}")
    reason = (error.reason or "").lower()
    return _HANDSHAKE.get(reason, reason)
