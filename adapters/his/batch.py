"""Batches (HL7 v2 chapter 2.10.3): one frame with FHS, BHS, messages, BTS, FTS becomes messages of their own."""

import re
from typing import Final, NamedTuple

_LEADING: Final = b"\xef\xbb\xbf \t\r\n\x00"
_MARK: Final = re.compile(rb"(?:\A|(?<=[\r\n]))(MSH|FHS|BHS|BTS|FTS)(?=[!-/:-@\[-`{-~]|[\r\n]|\Z)")
_NAMES: Final = frozenset((b"MSH", b"BHS", b"BTS", b"FHS", b"FTS"))
_LINE_END: Final = re.compile(rb"[\r\n]|\Z")


class Part(NamedTuple):
    """One message of a frame as its bytes stood there, and what was wrong around it.

    `batch_count`: BTS-1 or FTS-1 names another number. `batch_cut`: a header or trailer stands inside the
    message, which is then not to be trusted. A part without MSH is what stood in no message.
    """

    raw: bytes
    flags: tuple[str, ...] = ()


def split_batch(raw: bytes) -> list[Part]:
    """The messages of a frame in order, the frame itself where it holds just one.

    Two messages without any batch header are split as well: read as one, the second patient's segments would be
    taken for the first's.
    """
    if raw.startswith(b"MSH"):
        lines = raw.replace(b"\n", b"\r").split(b"\r")
        if _NAMES.isdisjoint([line[:3] for line in lines[1:]]):
            return [Part(raw)]
    reader = _BatchReader(raw.lstrip(_LEADING))
    return reader.read() or [Part(raw)]


class _BatchReader:
    """Walks over the marks, closing a message at each one that is not inside it by mistake."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.marks = [(match[1], match.start()) for match in _MARK.finditer(raw)]
        self.parts: list[bytes] = []
        self.flags: list[set[str]] = []
        self.open: int | None = None  # where the message being read begins
        self.is_cut = False
        self.batch_start = 0  # messages before this batch
        self.batches = 0

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
        if name == b"BHS":
            self.batch_start, self.batches = len(self.parts), self.batches + 1
        told = re.match(rb"[BF]TS[^\w](\d{1,9})(?!\w)", line)
        if not told:
            return
        first = self.batch_start if name == b"BTS" else 0
        found = len(self.parts) - self.batch_start if name == b"BTS" else self.batches
        if int(told[1]) != found:
            for flags in self.flags[first:]:
                flags.add("batch_count")
