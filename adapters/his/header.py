"""What a message says about itself: MSH from bytes (HL7 v2 chapter 2.14.9), delimiters repaired, nothing else read."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from hcrm.core.charset import charset_named

_NEVER: Final = "\x00"  # stands for a delimiter the sender does not use; NUL is stripped before reading
_BLANK: Final = b"\xef\xbb\xbf \t\r\n\x00"
_DEFAULTS: Final = "^~\\&"
_KEY_LENGTH: Final = (
    199  # MSH-3.1 and MSH-4.1 are keys of an index; PostgreSQL takes 2,700 bytes in one entry
)


class Separators(NamedTuple):
    """MSH-1 and MSH-2 after repair: five distinct characters."""

    field: str
    component: str
    repetition: str
    escape: str
    sub: str

    @property
    def encoding(self) -> str:
        """MSH-2 as we write it."""
        return "".join(self[1:]).replace(_NEVER, "")


@lru_cache(maxsize=64)
def read_separators(field: str, encoding: str) -> Separators:
    """Delimiters of MSH-1 and MSH-2; a doubled, missing or fifth character is repaired (interop.md section 1)."""
    found = "".join(dict.fromkeys(encoding))[:4]
    if len(found) == 3 and found[2] == "&":  # the backslash was eaten on the way
        found = found[:2] + "\\&"
    for char in _DEFAULTS[len(found) :]:
        found += _NEVER if char in found or char == field else char
    return Separators(field, *found)


def is_delimiter(char: str) -> bool:
    """Whether the character after MSH can separate fields: printable ASCII, no letter or digit."""
    return "!" <= char <= "~" and not char.isalnum()


def split_written_ends(text: str, *, at_most: int = 0) -> list[str]:
    r"""Segments of a message whose line ends arrived written out as `\r`, `\n` or `<CR>` (domain.md 3.1)."""
    return re.split(
        rf"(?:\\r\\n|\\r|\\n|<CR>)(?:(?=[A-Z][A-Z0-9]{{2}}{re.escape(text[3:4])})|$)", text, maxsplit=at_most
    )


@dataclass(slots=True)
class Header:
    """MSH as the door needs it. `fields[n]` is MSH-n, raw; encoding it with `codec` gives its bytes back."""

    fields: list[str]
    codec: str
    separators: Separators
    sender: str  # MSH-3.1
    facility: str  # MSH-4.1
    type: str  # MSH-9.1
    event: str  # MSH-9.2
    control_id: str  # MSH-10
    processing_id: str  # MSH-11.1
    version: str  # MSH-12.1
    accept_ack: str  # MSH-15
    application_ack: str  # MSH-16
    charset_word: str  # MSH-18, or 17 or 16 where a field was left out

    @property
    def kind(self) -> str:
        """`ADT^A01`, or the type alone."""
        return f"{self.type}^{self.event}" if self.event else self.type


def read_header(raw: bytes) -> Header | None:
    """The header of one message from its bytes; None where there is no readable MSH (UTF-16 and UTF-32 too)."""
    if not raw.startswith(b"MSH"):
        raw = raw.lstrip(_BLANK)
        if not raw.startswith(b"MSH"):
            return None
    end = raw.find(b"\r")
    line = raw if end < 0 else raw[:end]
    end = line.find(b"\n")
    if end >= 0:
        line = line[:end]
    try:
        text, codec = line.decode("ascii"), "ascii"
    except UnicodeDecodeError:
        text, codec = _decode_line(line)
    mark = text[3:4]
    if not is_delimiter(mark):
        return None
    if len(line) == len(raw):  # no line end at all: it may be written out
        text = split_written_ends(text, at_most=1)[0]
    fields = text.split(mark, 20)
    fields.insert(1, mark)
    if len(fields) < 20:
        fields += [""] * (20 - len(fields))
    separators = read_separators(mark, fields[2][:8])  # cached: nothing long from outside may be a key
    component = separators.component
    kind = fields[9].split(component, 2)
    control_id = fields[10]
    return Header(
        fields, codec, separators,
        _first(fields[3], component)[:_KEY_LENGTH], _first(fields[4], component)[:_KEY_LENGTH],
        kind[0].strip(), kind[1].strip() if len(kind) > 1 else "",
        control_id if control_id.isprintable() else control_id.replace("\x00", ""),
        _first(fields[11], component), _first(fields[12], component), fields[15].strip(), fields[16].strip(),
        _charset_word(fields, separators),
    )  # fmt: skip


def _first(value: str, component: str) -> str:
    if value.isalnum():  # nearly all of them
        return value
    return value.split(component, 1)[0].replace("\x00", "").strip()


def _charset_word(fields: list[str], separators: Separators) -> str:
    """MSH-18; two real senders leave out a field before it, so 17 and 16 count when they hold a charset word."""
    for number in (18, 17, 16):
        word = fields[number]
        if word and not charset_named(word):
            word = _first(word.split(separators.repetition, 1)[0], separators.component)
        if word and (number == 18 or charset_named(word)):
            return word
    return ""


def _decode_line(line: bytes) -> tuple[str, str]:
    """A header that is not ASCII: by a charset word found anywhere in it, else in a fixed order.

    Bytes cannot be split first, since a GB18030 trail byte may be a delimiter. What comes out only names the
    sender; how the message is read is decided by `charset.decode` alone.
    """
    words = (
        charset_named(word.decode("ascii", "replace")) for word in line.split(line[3:4] or b"|", 40)[12:]
    )
    for codec in dict.fromkeys([*(word for word in words if word), "utf-8", "gb18030"]):
        try:
            return line.decode(codec), codec
        except UnicodeDecodeError:
            continue
    return line.decode("latin-1"), "latin-1"
