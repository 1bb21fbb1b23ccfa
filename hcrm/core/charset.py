"""Which characters bytes are: charset words, and UTF-8 that was read as something else. Nothing is guessed."""

import re
from functools import lru_cache
from typing import Final, Literal

_CHARSETS: Final = {
    "ASCII": "ascii", "USASCII": "ascii", "UNICODE": "utf-8", "UTF8": "utf-8", "UNICODEUTF8": "utf-8",
    "GB18030": "gb18030", "GB180302000": "gb18030", "GB180302005": "gb18030", "GBK": "gb18030", "CP936": "gb18030",
    "GB2312": "gb18030", "GB231280": "gb18030", "BIG5": "big5", "CP950": "cp950", "KSX1001": "euc_kr",
    "ISOIR87": "iso2022_jp", "ISOIR159": "iso2022_jp_1", "ISO2022JP": "iso2022_jp",
    **{f"{word}8859{part}": f"iso8859-{part}" for word in ("", "ISO") for part in range(1, 17) if part != 12},
}  # fmt: skip


_LONG: Final = re.compile(
    "[\u0800-\u1cff\u2c80-\u2dff\u2e80-\ua71f\ua800-\uab2f\uab70-\ud7ff\uf900-\ufdff\ufe70-\ufefe\uff00-\uffef"
    "\U00020000-\U0003ffff]+"
)
"""Writing of three or four bytes a letter in UTF-8: Chinese, Tibetan, Mongolian, Yi, Hangul, kana. No Latin, and none
of the punctuation that other texts hold too."""
_SHORT: Final = re.compile("[\u0080-\u07ff]+")
"""Two bytes a letter (Arabic, Cyrillic, Greek, é): what is GB and valid UTF-8 by chance reads as such."""
_MARKS: Final = b"|^~\\&\r\n"
_GB: Final = "gb18030"
_AS_SURE_AS_IT_GETS: Final = 3
"""Letters of three bytes that are never UTF-8 by chance, whatever stands around them."""


def charset_named(word: str) -> str | None:
    """The codec of an MSH-18 word (HL7 table 0211, and what senders write); GB2312 and GBK are read as GB18030."""
    return _codec(word) if len(word) <= 32 else None  # cached: nothing long from outside may be a key


@lru_cache(maxsize=256)
def _codec(word: str) -> str | None:
    return _CHARSETS.get(re.sub(r"[\s_/.-]", "", word).upper())


def decode_strictly(raw: bytes, codec: str) -> str | None:
    """The text under that codec, or None where a byte does not fit."""
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        return None


def utf8_in_disguise(raw: bytes, text: str, codec: str) -> Literal["no", "maybe", "sure"]:
    """Whether bytes that were read in another charset are Chinese, or of another Asian writing, in UTF-8.

    In GB18030 two Chinese characters of UTF-8 are three rare ones, and an odd one takes the delimiter behind it along
    as its second byte: fields shift, and nothing fails. The other way round: what is GB and valid UTF-8 by chance reads
    there as Latin, Greek or Arabic (0.5 % of names), in letters of three bytes only where the first, second and third
    character are among the rarest: never a name with common characters, never two such in a message that go on like it.
    """
    if text.isascii() or codec.startswith(("utf", "UTF")):
        return "no"
    letters, short = letters_in_utf8(raw)
    if not letters:
        return "no"
    if letters >= _AS_SURE_AS_IT_GETS or any(raw.count(mark) > text.count(chr(mark)) for mark in _MARKS):
        return "sure"
    if codec == _GB and (letters == 1 or decode_strictly(raw, "gb2312") is not None):
        return "maybe"  # one character, or a reading that has common characters only
    return "sure" if codec == _GB or letters > short else "no"


def letters_in_utf8(raw: bytes) -> tuple[int, int]:
    """How many letters of three bytes and of two the bytes are in UTF-8; none where they are no UTF-8."""
    meant = decode_strictly(raw, "utf-8")
    if meant is None or meant.isascii():
        return 0, 0
    letters, short = (sum(map(len, pattern.findall(meant))) for pattern in (_LONG, _SHORT))
    return letters, short
