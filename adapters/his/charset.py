"""Which characters the bytes are: the charset rule of assurance section 0. Nothing is guessed, never per field."""

from typing import TYPE_CHECKING

from hcrm.core.charset import charset_named, decode_strictly, letters_in_utf8, utf8_in_disguise
from hcrm.core.local_habits import DECLARED, OWN
from hcrm.core.sources import Source

if TYPE_CHECKING:
    from adapters.his.header import Header


class CharsetError(ValueError):
    """The bytes decode neither as declared nor as the source says; `code` is why the message is parked."""

    def __init__(self, text: str, *, is_utf8: bool = False) -> None:
        super().__init__(text)
        self.code = "charset_utf8" if is_utf8 else "charset"


def decode(raw: bytes, header: "Header", source: Source) -> tuple[str, tuple[str, ...]]:
    """The message as text, and words for what was remarkable about it.

    Whole and strictly under the declared charset, else under the source's, else CharsetError: 0.4 % of Chinese
    names in GB18030 are valid UTF-8 as well, so trying one after the other would store rubbish unseen. Another order,
    or another charset after those, only where the source's file says so. GB18030 takes nearly any bytes, so what is
    Chinese in UTF-8 (`utf8_in_disguise`) counts as not decodable by it.
    Flags: `charset_declared_wrong`; `charset_fallback` (read by a charset that only `charset_order` names);
    `charset_doubtful` (too short to tell from UTF-8); `nul_stripped` (PostgreSQL cannot hold it);
    `replacement_character` (U+FFFD, broken before it came to us).
    """
    text, _, flags = _decoded(raw, header, source)
    if "\x00" in text:
        text = text.replace("\x00", "")
        flags += ("nul_stripped",)
    if "\ufffd" in text:
        flags += ("replacement_character",)
    return text.lstrip("\ufeff \t\r\n"), flags


def codec_of(raw: bytes, header: "Header", source: Source) -> str:
    """The codec `decode` takes."""
    return _decoded(raw, header, source)[1]


def _decoded(raw: bytes, header: "Header", source: Source) -> tuple[str, str, tuple[str, ...]]:
    """Text, codec and flags of the first charset in the source's order that fits."""
    declared = header.charset_word if DECLARED in source.charset_order and not source.charset_forced else ""
    codec = charset_named(declared) if declared else None
    for word in source.charset_order:
        if word == DECLARED:
            used = codec
        else:
            own = source.charset if word == OWN else word
            used = charset_named(own) or own
        if used is None or (text := decode_strictly(raw, used)) is None:
            continue
        is_utf8 = utf8_in_disguise(raw, text, used)
        if is_utf8 == "sure":
            continue
        flags: tuple[str, ...] = ()
        if word != DECLARED and declared and used != codec:
            flags = ("charset_declared_wrong",)
        if word not in (DECLARED, OWN):
            flags += ("charset_fallback",)
        if is_utf8 == "maybe":
            flags += ("charset_doubtful",)
        return text, used, flags
    raise CharsetError(
        f"MSH-18 {declared or 'empty'}, source {source.charset}", is_utf8=letters_in_utf8(raw)[0] > 0
    )
