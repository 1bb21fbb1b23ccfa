"""Coverage-guided fuzzing (atheris) of framer and reader: `python -m tests.fuzz.harness <seconds>`.

An exception nobody foresaw, or a stream that gives other pieces when it is cut elsewhere, ends the run with status 77.
"""

import sys
from datetime import UTC, datetime

import atheris  # type: ignore[import-not-found]

with atheris.instrument_imports(include=["adapters"]):
    from adapters.his.framing import Frame, Framer, Piece
    from adapters.his.mapping import map_message
    from adapters.his.reception import receive
    from adapters.hl7v2 import CharsetError, decode, read_header, read_message
from hcrm.core.sources import Source, Sources
from hcrm.inbox.records import Incoming

AT = datetime(2026, 11, 22, 15, tzinfo=UTC)
SOURCES = Sources([Source(code="default", title="default")])


def pieces_of(stream: bytes, cut: int) -> list[Piece]:
    """What a framer makes of the stream delivered in two chunks."""
    framer = Framer(max_frame=5_000, max_junk=500)
    return [*framer.feed(stream[:cut]), *framer.feed(stream[cut:]), *framer.close()]


def one(data: bytes) -> None:
    """Whole and cut in two it gives the same pieces; each frame is read to the end."""
    pieces = pieces_of(data, 0)
    assert pieces_of(data, len(data) // 2) == pieces
    assert pieces_of(data, data[0] if data else 0) == pieces
    for content in [piece.content for piece in pieces if isinstance(piece, Frame)] or [data]:
        for item in receive(content, sources=SOURCES, peer="", at=AT):
            if isinstance(item, Incoming):
                read(item.raw)


def read(raw: bytes) -> None:
    """Every value of every segment, and what the mapping makes of it."""
    header = read_header(raw)
    assert header is not None
    try:
        text, _ = decode(raw, header, SOURCES.default)
    except CharsetError:
        return
    for segment in read_message(text):
        for number in range(1, 8):
            segment.value(number, 2)
            segment.text(number, 1, 1, 2)
            for field in segment.repeats(number):
                field.whole()
    map_message(raw, SOURCES, AT)


if __name__ == "__main__":
    seconds, folders = sys.argv[1], sys.argv[2:]
    atheris.Setup(
        [sys.argv[0], f"-max_total_time={seconds}", "-max_len=4096", "-timeout=10", "-verbosity=0", *folders],
        one,
    )
    atheris.Fuzz()
