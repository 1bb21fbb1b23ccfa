"""Frames as they come out of broken senders: seeds of every kind, and what may happen to them on the way."""

import os
import random
from datetime import date
from itertools import islice
from pathlib import Path

from adapters.his.simulator import Simulator

_DELIMITERS = b'|^~\\&\r\n"\x0b\x1c\x00 '
_PIECES = (
    b"|", b"^", b"~", b"\\", b"&", b"\r", b"\n", b"\x00", b"\xff\xfe", b"MSH|", b"PID|", b"PV1|", b"OBX|", b"MRG|",
    b"BHS|^~\\&\r", b"BTS|9\r", b'""', b"\\F\\", b"\\X0D0A\\", b"\\E\\", "张".encode("gb18030"), "张".encode(),
    b"9" * 400, b"-1", b"99999999999999999999", b"20260230", b"\x0b", b"\x1c", b"\x1c\r", b"\xef\xbb\xbf",
)  # fmt: skip


def seeds() -> list[bytes]:
    """The corpus where this machine has it, and one message of every kind the simulator writes."""
    found: dict[str, bytes] = {}
    for message in islice(Simulator(20261122, date(2025, 11, 22), 30, 60).messages(), 3_000):
        found.setdefault(kind_of(message.raw), message.raw)
    folder = Path(os.environ.get("HCRM_CORPUS", "no corpus")) / "hl7"
    files = sorted(path for path in folder.rglob("*.hl7") if path.stat().st_size < 100_000)
    return [*found.values(), *(path.read_bytes().strip(b"\x0b\x1c\r") for path in files)]


def kind_of(raw: bytes) -> str:
    return raw.split(b"|", 9)[8].decode("ascii", "replace")


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """Bits flipped, pieces cut out, doubled and put elsewhere, delimiters swapped, one to eight times."""
    content = bytearray(raw)
    for _ in range(chance.randint(1, 8)):
        if len(content) < 2:
            break
        at, size = chance.randrange(len(content)), chance.randint(1, 40)
        match chance.randrange(7):
            case 0:
                content[at] ^= 1 << chance.randrange(8)
            case 1:
                del content[at : at + size]
            case 2:
                content[at:at] = content[at : at + size] * chance.choice([1, 1, 1, 50])
            case 3:
                content[at] = chance.choice(_DELIMITERS)
            case 4:
                content[at:at] = chance.choice(_PIECES)
            case 5:
                one, other = chance.sample(_DELIMITERS[:5], 2)
                content = content.translate(bytes.maketrans(bytes([one, other]), bytes([other, one])))
            case 6:
                del content[at:]
    return bytes(content)
