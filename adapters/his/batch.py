"""Batches (HL7 v2 chapter 2.10.3): one frame with FHS, BHS, messages, BTS, FTS becomes messages of their own."""

import re
from itertools import islice
from typing import Final, NamedTuple

from hcrm.core import limits

_LEADING: Final = b"\xef\xbb\xbf \t\r\n\x00"
_MARK: Final = re.compile(rb"(?:\A|(?<=[\r\n]))(MSH|FHS|BHS|BTS|FTS)(?=[!-/:-@\[-`{-~]|[\r\n]|\Z)")
_NAMES: Final = frozenset((b"MSH", b"BHS", b"BTS", b"FHS", b"FTS"))
_SMALL: Final = 16_384
_LINE_END: Final = re.compile(rb"[\r\n]|\Z")


class Part(NamedTuple):
    """One message of a frame as its bytes stood there, and what was wrong around it.

    `batch_count`: BTS-1 or FTS-1 names another number. `batch_cut`: a header or trailer stands inside the
    message, which is then not to be trusted. A part without MSH is what stood in no message.
    """

    raw: bytes
    flags: tuple[str, ...] = ()


class BatchTooLong(ValueError):
    """More than MAX_BATCH_MESSAGES messages in one frame, or as many headers and trailers."""


def split_batch(raw: bytes) -> list[Part]:
    """The messages of a frame in order, the frame itself where it holds just one.

    Two messages without any batch header are split as well: read as one, the second patient's segments would be
    taken for the first's.
    """
    if raw.startswith(b"MSH") and not _has_second(raw):
        return [Part(raw)]
    reader = _BatchReader(raw.lstrip(_LEADING))
    return reader.read() or [Part(raw)]


def _has_second(raw: bytes) -> bool:
    if len(raw) > _SMALL:  # searches are fast in a long text, and a list of four million empty lines is not
        return any(raw.find(end + name) >= 0 for name in _NAMES for end in (b"\r", b"\n"))
    lines = raw.replace(b"\n", b"\r").split(b"\r")
    return not _NAMES.isdisjoint([line[:3] for line in lines[1:]])


class _BatchReader:
    """Walks over the marks, closing a message at each one that is not inside it by mistake."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        most = 4 * limits.MAX_BATCH_MESSAGES
        self.marks = [(match[1], match.start()) for match in islice(_MARK.finditer(raw), most + 1)]
        if len(self.marks) > most:
            raise BatchTooLong
        self.parts: list[bytes] = []
        self.flags: list[set[str]] = []
        self.open: int | None = None  # where the message being read begins
        self.is_cut = False
        self.file_start = self.batch_start = 0  # parts before this file, before this batch
        self.batches = 0  # of this file

    def read(self) -> list[Part]:
        """All parts."""
        if self.marks and self.marks[0][1] > 0:
            self._orphan(0, self.marks[0][1])
        for index, (name, start) in enumerate(self.marks):
            end = self.marks[index + 1][1] if index + 1 < len(self.marks) else len(self.raw)
            if name == b"MSH":
                self._close(start)
                self.open = start
                continue
            line_end = _LINE_END.search(self.raw, start).start()  # type: ignore[union-attr]  # \Z always matches
            if self.raw[line_end:end].strip():
                if self.open is not None:  # ordinary segments after it: it stands inside a message
                    self.is_cut = True
                    continue
                self._orphan(line_end, end)
            self._close(start)
            self._count(name, self.raw[start:line_end])
        self._close(len(self.raw))
        if len(self.parts) > limits.MAX_BATCH_MESSAGES:
            raise BatchTooLong
        return [Part(raw, tuple(sorted(flags))) for raw, flags in zip(self.parts, self.flags, strict=True)]

    def _close(self, end: int) -> None:
        if self.open is not None:
            self.parts.append(self.raw[self.open : end])
            self.flags.append({"batch_cut"} if self.is_cut else set())
        self.open, self.is_cut = None, False

    def _orphan(self, start: int, end: int) -> None:
        self.parts.append(self.raw[start:end].strip())
        self.flags.append(set())

    def _count(self, name: bytes, line: bytes) -> None:
        """Compare a trailer's count with what was found; a header begins the next count."""
        end = len(self.parts)
        told = re.match(rb"[BF]TS[^\w](\d{1,9})(?!\w)", line)
        start, found = (
            (self.batch_start, end - self.batch_start) if name == b"BTS" else (self.file_start, self.batches)
        )
        if told and int(told[1]) != found:
            for flags in self.flags[start:]:
                flags.add("batch_count")
        if name in (b"FHS", b"FTS"):
            self.file_start, self.batches = end, 0
        if name == b"BHS":
            self.batches += 1
        self.batch_start = end
