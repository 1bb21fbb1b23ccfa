"""Which characters the bytes are: the charset rule of assurance section 0. Nothing is guessed, never per field."""

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from hcrm.core.local_habits import DECLARED, OWN
from hcrm.core.sources import Source

if TYPE_CHECKING:
    from adapters.his.header import Header

_CHARSETS: Final = {
    "ASCII": "ascii", "USASCII": "ascii", "UNICODE": "utf-8", "UTF8": "utf-8", "UNICODEUTF8": "utf-8",
    "GB18030": "gb18030", "GB180302000": "gb18030", "GB180302005": "gb18030", "GBK": "gb18030", "CP936": "gb18030",
    "GB2312": "gb18030", "GB231280": "gb18030", "BIG5": "big5", "CP950": "cp950", "KSX1001": "euc_kr",
    "ISOIR87": "iso2022_jp", "ISOIR159": "iso2022_jp_1", "ISO2022JP": "iso2022_jp",
    **{f"{word}8859{part}": f"iso8859-{part}" for word in ("", "ISO") for part in range(1, 17) if part != 12},
}  # fmt: skip


class CharsetError(ValueError):
    """The bytes decode neither as declared nor as the source says; the message is parked `charset`."""

    code = "charset"


def charset_named(word: str) -> str | None:
    """The codec of an MSH-18 word (HL7 table 0211, and what senders write); GB2312 and GBK are read as GB18030."""
    return _codec(word) if len(word) <= 32 else None  # cached: nothing long from outside may be a key


@lru_cache(maxsize=256)
def _codec(word: str) -> str | None:
    return _CHARSETS.get(re.sub(r"[\s_/.-]", "", word).upper())


def decode(raw: bytes, header: "Header", source: Source) -> tuple[str, tuple[str, ...]]:
    """The message as text, and words for what was remarkable about it.

    Whole and strictly under the declared charset, else under the source's, else CharsetError: 0.4 % of Chinese
    names in GB18030 are valid UTF-8 as well, so trying one after the other would store rubbish unseen. Another order,
    or another charset after those, only where the source's file says so.
    Flags: `charset_declared_wrong`; `charset_fallback` (read by a charset that only `charset_order` names);
    `nul_stripped` (PostgreSQL cannot hold it); `replacement_character` (U+FFFD, broken before it came to us).
    """
    order = source.charset_order
    declared = header.charset_word if DECLARED in order and not source.charset_forced else ""
    codec = charset_named(declared) if declared else None
    text = None
    flags: tuple[str, ...] = ()
    for word in order:
        if word == DECLARED:
            text = _strictly(raw, codec) if codec else None
        else:
            own = source.charset if word == OWN else word
            used = charset_named(own) or own
            text = _strictly(raw, used)
            if text is not None and declared and used != codec:
                flags = ("charset_declared_wrong",)
            if text is not None and word != OWN:
                flags += ("charset_fallback",)
        if text is not None:
            break
    else:
        raise CharsetError(f"MSH-18 {declared or 'empty'}, source {source.charset}")
    if "\x00" in text:
        text = text.replace("\x00", "")
        flags += ("nul_stripped",)
    if "\ufffd" in text:
        flags += ("replacement_character",)
    return text.lstrip("\ufeff \t\r\n"), flags


def _strictly(raw: bytes, codec: str) -> str | None:
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        return None
