"""MLLP frames out of a TCP stream: 0x0B, content, 0x1C 0x0D, however the bytes are cut into chunks.

GB18030 and UTF-8 never use these three bytes inside a character, so frames are cut before anything is decoded.
"""

import re
from typing import Final, NamedTuple

from hcrm.core import limits

START: Final = b"\x0b"
END: Final = b"\x1c\r"

_EB: Final = 0x1C
_AFTER_END: Final = b"\r\n\x00\x0b"
_FILLER: Final = b"\r\n\x00"  # between frames; neither content nor junk
_RESTART: Final = re.compile(rb"\x0b(?=(?:\xef\xbb\xbf)?[\r\n]*(?:MSH|FHS|BHS))")


class Frame(NamedTuple):
    """The content of one whole frame."""

    content: bytes


class HalfFrame(NamedTuple):
    """The beginning of a frame whose end never came: the sender began anew, or is gone."""

    content: bytes


class Junk(NamedTuple):
    """Bytes outside any frame, up to the next one."""

    content: bytes


class TooLong(NamedTuple):
    """A frame, or junk, beyond its limit, as far as it may be kept. Nothing more comes out of this framer."""

    content: bytes
    is_frame: bool


Piece = Frame | HalfFrame | Junk | TooLong


class Framer:
    """Cuts a stream into pieces; what comes out depends on the bytes alone, never on how they were chunked.

    An end block counts when CR, LF, NUL or the next start block follows. One that nothing follows is taken for the
    end only by `settle`, after a silence: a lone 0x1C inside a text must not cut a message in two.
    """

    def __init__(
        self, max_frame: int = limits.MAX_FRAME_BYTES, max_junk: int = limits.MAX_JUNK_BYTES
    ) -> None:
        self._max_frame = max_frame
        self._max_junk = max_junk
        self._buffer = bytearray()
        self._scanned = 0  # no end block before this place
        self.is_inside = False
        self.is_spent = False  # a TooLong came out

    @property
    def held(self) -> int:
        """Bytes that wait for more."""
        return len(self._buffer)

    @property
    def awaits_end(self) -> bool:
        """Whether the last byte seen is an end block that nothing follows yet."""
        return self.is_inside and self._buffer.endswith(b"\x1c")

    def feed(self, data: bytes) -> list[Piece]:
        """The pieces that these bytes complete, in order."""
        if self.is_spent:
            return []
        if not self._buffer and not self.is_inside and _is_one_frame(data) and len(data) <= self._max_frame:
            return [Frame(data[1:-2])]
        self._buffer += data
        pieces: list[Piece] = []
        while self._cut_frame(pieces) if self.is_inside else self._find_start(pieces):
            pass
        return pieces

    def settle(self) -> list[Piece]:
        """Silence: an end block without its carriage return ends the frame after all (C6)."""
        if not self.awaits_end:
            return []
        pieces: list[Piece] = []
        self._emit(bytes(self._buffer[:-1]), pieces)
        self._buffer.clear()
        return pieces

    def close(self) -> list[Piece]:
        """No more bytes will come."""
        pieces = self.settle()
        rest = bytes(self._buffer)
        self._buffer.clear()
        if self.is_inside and not self.is_spent:
            pieces.append(HalfFrame(rest))
        elif rest.rstrip(_FILLER):
            pieces.append(Junk(rest.rstrip(_FILLER)))
        self.is_inside = False
        return pieces

    def _find_start(self, pieces: list[Piece]) -> bool:
        if self._buffer[:1] and self._buffer[0] in _FILLER:
            self._buffer = self._buffer.lstrip(_FILLER)
        start = self._buffer.find(START)
        if (start if start >= 0 else len(self._buffer)) > self._max_junk:
            self._spend(pieces, bytes(self._buffer[: self._max_junk]), is_frame=False)
            return False
        if start < 0:
            return False
        if start > 0:
            pieces.append(Junk(bytes(self._buffer[:start]).rstrip(_FILLER)))
        del self._buffer[: start + 1]
        self.is_inside = True
        return True

    def _cut_frame(self, pieces: list[Piece]) -> bool:
        buffer = self._buffer
        end = buffer.find(_EB, self._scanned)
        if (end if end >= 0 else len(buffer)) > self._max_frame:
            self._spend(pieces, bytes(buffer[: self._max_frame]), is_frame=True)
            return False
        if end < 0 or end + 1 == len(buffer):
            self._scanned = end if end >= 0 else len(buffer)
            return False
        if buffer[end + 1] not in _AFTER_END:
            self._scanned = end + 1
            return True
        self._emit(bytes(buffer[:end]), pieces)
        del buffer[: end + 1]
        return True

    def _emit(self, content: bytes, pieces: list[Piece]) -> None:
        """A start block inside content that goes on with a header is a sender that began anew (C7)."""
        restarts = [match.start() for match in _RESTART.finditer(content)] if START in content else []
        if restarts:
            pieces.append(HalfFrame(content[: restarts[-1]]))
            content = content[restarts[-1] + 1 :]
        pieces.append(Frame(content))
        self.is_inside = False
        self._scanned = 0

    def _spend(self, pieces: list[Piece], content: bytes, *, is_frame: bool) -> None:
        pieces.append(TooLong(content, is_frame))
        self._buffer.clear()
        self.is_spent = True


def _is_one_frame(data: bytes) -> bool:
    """One whole frame and nothing else, as nearly every sender delivers it."""
    return data.endswith(END) and data.rfind(START) == 0 and data.find(_EB) == len(data) - 2
