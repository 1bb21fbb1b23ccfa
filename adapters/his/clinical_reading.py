"""What the readers of clinical messages share: a message with its source, times, names, values, attachments. Pure."""

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from html.parser import HTMLParser
from re import compile as regex

from adapters.his.flags import Flags
from adapters.his.map_patient import person_name, read_moment
from adapters.his.moments import BadTime, moment
from adapters.hl7v2 import Message, Segment
from hcrm.core.sources import Source

_NUMBER = regex(r"[+-]?\d{1,12}(?:\.\d{1,9})?")
_NARRATIVE = frozenset({"TX", "FT"})
_BLOCKS = frozenset({"title", "paragraph", "br", "item", "tr", "p", "td", "th", "text"})
_MEDIA = {
    "pdf": "application/pdf", "xml": "text/xml", "cda": "text/xml", "html": "text/html", "plain": "text/plain",
    "txt": "text/plain", "rtf": "application/rtf", "jpeg": "image/jpeg", "jpg": "image/jpeg", "png": "image/png",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reading:
    """A message on its way to records. `flags` grows while it is read."""

    message: Message
    source: Source
    told_at: datetime
    flags: Flags

    def at(self, segment: Segment, field: int, component: int = 1) -> datetime | None:
        """The moment there; nonsense is flagged with its place, never with its value."""
        text = segment.text(field, component)
        return self.moment(text, f"{segment.name}-{field}") if text else None

    def moment(self, text: str, place: str) -> datetime | None:
        """The same of a text."""
        return read_moment(text, self.source, place, self.flags)

    def day(self, text: str, place: str) -> date | None:
        """The calendar day in the sender's zone."""
        try:
            found = moment(text, self.source.zoneinfo, self.source.dates)
        except BadTime:
            self.flags.append(f"bad_time:{place}")
            return None
        return found.at.astimezone(self.source.zoneinfo).date() if found else None

    def number(self, text: str, place: str) -> Decimal | None:
        """A decimal number; anything else is flagged."""
        if not text:
            return None
        if _NUMBER.fullmatch(text) is None:
            self.flags.append(f"bad_number:{place}")
            return None
        return Decimal(text)


def first(*texts: str) -> str:
    """The first that says something."""
    return next((text for text in texts if text), "")


def fingerprint(*parts: object) -> str:
    """A number for what its sender gave none: the same words make the same number."""
    return "~" + hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:32]


def coded(segment: Segment, field: int) -> tuple[str, str]:
    """Code and text of a CE or CWE; the alternate ones (.4, .5) or the original text (.9) where they are empty."""
    code = segment.text(field, 1) or segment.text(field, 4)
    text = segment.text(field, 2) or segment.text(field, 5) or segment.text(field, 9)
    return code or text, text or code


def staff_name(segment: Segment, field: int) -> str:
    """The name of an XCN."""
    return person_name(segment.text(field, 2), segment.text(field, 3))


def value_text(obx: Segment) -> str:
    """OBX-5 in words, all its repeats, by its type (OBX-2)."""
    kind = obx.text(2)
    parts = []
    for field in obx.repeats(5):
        if kind in ("CE", "CWE", "CNE", "IS"):
            part = first(field.text(2), field.text(9), field.text(1), field.text(5))
        elif kind == "SN":
            part = "".join(field.text(number) for number in (1, 2, 3, 4))
        elif kind in ("CQ", "MO"):
            part = " ".join(filter(None, (field.text(1), field.text(2))))
        elif kind in ("CX", "XCN", "XPN", "XAD", "XTN", "PN", "TN"):
            part = " ".join(filter(None, (field.text(number) for number in (1, 2, 3))))
        elif kind in ("NM", "DT", "TS", "DTM", "TM", "RP", "ED"):
            part = field.text(1)
        else:
            part = field.whole()
        if part:
            parts.append(part)
    return ("\n" if kind in _NARRATIVE else "；").join(parts)


def is_narrative(obx: Segment) -> bool:
    """Whether OBX-5 is free text."""
    return obx.text(2) in _NARRATIVE


def attachment(obx: Segment) -> tuple[bytes, str] | None:
    """Content and media type of an ED (section 2A.3.24); None where nothing can be decoded."""
    data = first(obx.text(5, 5), obx.text(5, 4) if obx.text(5, 3).lower() == "base64" else "")
    encoding = first(obx.text(5, 4), "Base64").lower()
    if not data:
        return None
    kinds = [obx.text(5, number).lower() for number in (2, 3)]
    media = next((_MEDIA[kind] for kind in reversed(kinds) if kind in _MEDIA), "application/octet-stream")
    if encoding in ("a", "none"):
        return data.encode(), media
    try:
        content = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    if content.startswith(b"%PDF"):
        media = "application/pdf"
    elif content.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<?xml"):
        media = "text/xml"
    return content, media


def narrative(content: bytes, media: str) -> str:
    """What a person reads in an attached CDA or plain text; empty for other kinds."""
    if media not in ("text/xml", "text/html", "text/plain"):
        return ""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = content.decode("gb18030")
        except UnicodeDecodeError:
            return ""
    if media == "text/plain":
        return text.strip()
    reader = _Narrative(wants_titles="ClinicalDocument" in text)
    reader.feed(text)
    reader.close()
    return reader.text()


class _Narrative(HTMLParser):
    """Titles and text of a CDA (`title`, `text`), or the words of a page.

    Not an XML parser: entities are not expanded, nothing is fetched, and no depth or loop of a document can hurt it.
    """

    def __init__(self, *, wants_titles: bool) -> None:
        super().__init__(convert_charrefs=True)
        self._inside = 0 if wants_titles else 1
        self._is_cda = wants_titles
        self._hidden = 0
        self._parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Text begins; a block begins a line."""
        if self._is_cda and tag in ("title", "text"):
            self._inside += 1
        if tag in ("script", "style"):
            self._hidden += 1
        if tag in _BLOCKS:
            self._parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        """Text ends."""
        if self._is_cda and tag in ("title", "text"):
            self._inside = max(self._inside - 1, 0)
        if tag in ("script", "style"):
            self._hidden = max(self._hidden - 1, 0)
        if tag in _BLOCKS:
            self._parts.append("\n")

    def handle_data(self, data: str) -> None:
        """Words."""
        if self._inside and not self._hidden:
            self._parts.append(data)

    def text(self) -> str:
        """Lines without the empty ones."""
        return "\n".join(_stripped("".join(self._parts).splitlines()))


def _stripped(lines: Iterable[str]) -> Iterable[str]:
    return (clean for line in lines if (clean := " ".join(line.split())))
