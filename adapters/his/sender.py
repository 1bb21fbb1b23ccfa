"""Our MLLP client for other systems: one message, and the answer to this very message or none (assurance A3).

An answer counts when its MSA-2 is our control id byte for byte. After anything else (a foreign answer, a second one,
a time-out, bytes that are no frame) the connection is dropped, so that a late answer meets nobody it could mislead.
"""

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Final

from adapters.his.answer import Answer, read_answer
from adapters.his.framing import END, START, Frame, Framer, HalfFrame
from hcrm.core import limits
from hcrm.core.destinations import Destination
from hcrm.inbox.outbound_records import NotSent, Reply

_TRIES: Final = 2
"""On a foreign answer: dropped, connected anew, sent again; the second one is not argued with."""


class MllpSender:
    """A connection to one destination, made when needed and kept while its answers are right."""

    def __init__(self, destination: Destination) -> None:
        self._to = destination
        self._socket: socket.socket | None = None
        self._framer = Framer(max_frame=limits.OUTBOUND_ANSWER_BYTES, max_junk=limits.OUTBOUND_ANSWER_BYTES)

    def send(self, payload: bytes, control_id: str) -> Reply:
        """Send and wait; NotSent says why there is no answer to this message."""
        for _ in range(_TRIES):
            try:
                return self._ask(payload, control_id.encode())
            except _ForeignAnswer:
                self.close()
            except BaseException:
                self.close()
                raise
        raise NotSent("foreign_answer")

    def close(self) -> None:
        """Hang up, and forget what was half received."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._framer = Framer(max_frame=limits.OUTBOUND_ANSWER_BYTES, max_junk=limits.OUTBOUND_ANSWER_BYTES)

    def abort(self) -> None:
        """From another thread: whoever waits for an answer waits no longer."""
        line = self._socket
        if line is not None:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def _ask(self, payload: bytes, control_id: bytes) -> Reply:
        if self._socket is not None and self._has_something(self._socket):
            self.close()  # a second answer to the message before, or the end: nothing on this line is for us
        line = self._socket or self._connect()
        deadline = time.monotonic() + self._to.answer_seconds
        try:
            line.settimeout(self._to.answer_seconds)
            line.sendall(START + payload + END)
            for raw in self._frames(line, deadline):
                answer = read_answer(raw)
                if answer is None:
                    raise NotSent("bad_answer")
                if answer.control_id != control_id:
                    raise _ForeignAnswer
                return _reply(answer, raw)
        except TimeoutError as error:
            raise NotSent("no_answer") from error
        except OSError as error:
            raise NotSent("closed") from error
        raise NotSent("closed")

    def _connect(self) -> socket.socket:
        to = self._to
        try:
            line = socket.create_connection((to.host, to.port), timeout=to.connect_seconds)
        except OSError as error:
            raise NotSent("unreachable", is_unreachable=True) from error
        try:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if to.tls:
                line = to.tls.context().wrap_socket(line, server_hostname=to.tls.server_name or to.host)
        except OSError as error:  # ssl.SSLError is one
            line.close()
            raise NotSent("tls", is_unreachable=True) from error
        self._socket = line
        return line

    def _has_something(self, line: socket.socket) -> bool:
        """Whether bytes or the end wait on a line on which nothing is due."""
        if self._framer.held or self._framer.is_inside:
            return True
        if isinstance(line, ssl.SSLSocket) and line.pending():
            return True
        return bool(select.select([line], [], [], 0)[0])

    def _frames(self, line: socket.socket, deadline: float) -> Iterator[bytes]:
        """What comes, frame by frame, until the other side closes; TimeoutError after the deadline."""
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            line.settimeout(min(left, limits.FRAME_END_SECONDS) if self._framer.awaits_end else left)
            try:
                data = line.recv(65_536)
            except TimeoutError:
                if not self._framer.awaits_end:
                    raise
                pieces = self._framer.settle()  # an end block without its carriage return
            else:
                pieces = self._framer.feed(data) if data else self._framer.close()
                if not data and not pieces:
                    return
            for piece in pieces:
                if isinstance(piece, HalfFrame):
                    return
                if not isinstance(piece, Frame):
                    raise NotSent("bad_answer")
                yield piece.content


class _ForeignAnswer(Exception):
    """The answer to another message."""


def _reply(answer: Answer, raw: bytes) -> Reply:
    return Reply(answer.verdict, answer.code, answer.detail, raw)
