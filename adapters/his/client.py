"""A small blocking MLLP client: one message, one answer. Simulated traffic and tests send with it."""

import socket
from types import TracebackType

_START, _END = b"\x0b", b"\x1c\r"


class MllpClient:
    """A connection to an MLLP listener; `send` waits for the answer and hands back its bytes."""

    def __init__(self, host: str, port: int, *, timeout: float = 30.0) -> None:
        self._socket = socket.create_connection((host, port), timeout=timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def send(self, raw: bytes) -> bytes:
        """Send one message and read one answer; ConnectionError when the listener closes instead."""
        self._socket.sendall(_START + raw + _END)
        return self.read()

    def read(self) -> bytes:
        """The next answer."""
        while _END not in self._buffer:
            part = self._socket.recv(65536)
            if not part:
                raise ConnectionError("closed without an answer")
            self._buffer += part
        answer, _, self._buffer = self._buffer.partition(_END)
        return answer.lstrip(_START)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> "MllpClient":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def is_positive(answer: bytes) -> bool:
    """Whether MSA-1 accepts (AA or CA)."""
    return b"\rMSA|AA" in answer or b"\rMSA|CA" in answer
