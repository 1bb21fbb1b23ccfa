"""HL7 v2 messages as people read and correct them: decoded by the source's rule, segments and fields as sent."""

from adapters.his.charset import codec_of
from adapters.hl7v2 import CharsetError, decode, read_header, read_message
from hcrm.core.sources import Sources
from hcrm.inbox.outline import Line, Readable

_TRIES = ("utf-8", "gb18030")


class Hl7Outline:
    """The reader of format `hl7v2`. See `hcrm.inbox.outline.Reader`."""

    def read(self, raw: bytes, sources: Sources) -> Readable:
        """The message as lines; one that cannot be decoded is shown in the first charset that fits."""
        header = read_header(raw)
        if header is None:
            return Readable(_lines(_guessed(raw)), None)
        source = sources.find(header.sender, header.facility) or sources.default
        try:
            text, _ = decode(raw, header, source)
            return Readable(_lines(text), codec_of(raw, header, source))
        except (CharsetError, ValueError):
            return Readable(_lines(_guessed(raw)), None)

    def text(self, raw: bytes, sources: Sources) -> str:
        """Decoded as `read` does, not taken apart."""
        header = read_header(raw)
        source = sources.default
        if header is not None:
            source = sources.find(header.sender, header.facility) or source
            try:
                return decode(raw, header, source)[0]
            except CharsetError:
                pass
        return _guessed(raw)

    def write(self, text: str, codec: str) -> bytes:
        """One segment a line, ended by carriage returns (chapter 2.5.2)."""
        lines = [line for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n") if line.strip()]
        return ("\r".join(lines) + "\r").encode(codec)


def _guessed(raw: bytes) -> str:
    for codec in _TRIES:
        try:
            return raw.decode(codec)
        except UnicodeDecodeError:
            continue
    return raw.decode("utf-8", "replace")


def _lines(text: str) -> tuple[Line, ...]:
    try:
        message = read_message(text)
    except ValueError:  # no MSH: nothing says what its delimiters are
        rows = text.replace("\r\n", "\r").replace("\n", "\r").split("\r")
        return tuple(Line(row[:3], row, ()) for row in rows if row.strip())
    mark = message.separators.field
    lines = []
    for segment in message:
        values = segment._fields
        fields = tuple((number, value) for number, value in enumerate(values) if number and value)
        text = mark.join([values[0], *values[2:]]) if segment.name == "MSH" else mark.join(values)
        lines.append(Line(segment.name, text, fields))
    return tuple(lines)
