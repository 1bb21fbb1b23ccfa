"""The messages sent, distinct and of new patients only, from the product's one seeded generator: the feeds."""

import hashlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from adapters.his.simulator import SimulatedMessage, bench_messages, bench_results, bench_stays
from bench.client import write_frames
from bench.setting import SEED, Setting
from bench.variants import ROOT

ALREADY = 2_000_000  # above every record number of a loaded archive: all of them are new patients
SOURCES = ("adapters/his/simulator", "config/demo")
MAKERS: dict[str, Callable[..., Iterator[SimulatedMessage]]] = {
    "discharges": bench_messages,
    "adt": bench_stays,
    "oru": bench_results,
}
DOES = {
    "discharges": "A03 of about 900 bytes, each of a new patient with a stay closed: the dearest kind",
    "adt": "whole stays of new patients, A01, two A08, A02 and A03 some 200 messages apart",
    "oru": "ORU^R01 with 20 OBX, 15 reports for each new patient",
}


@dataclass(frozen=True)
class Feed:
    """Messages of one kind in a file of frames."""

    name: str
    frames: Path
    count: int

    def discharges(self, first: int, count: int) -> int:
        """How many of some of them end a stay."""
        found = islice(read_frames(self.frames), first, first + count)
        return sum(b"|ADT^A03^" in message[:200] for message in found)


def make_messages(name: str, count: int) -> Iterator[bytes]:
    """The first `count` messages of a feed."""
    return (message.raw for message in MAKERS[name](SEED, count, already=ALREADY))


def prepare_feed(setting: Setting, name: str, count: int) -> Feed:
    """A file of `count` messages for the load client, kept under var/bench until the generator changes.

    Every server gets a fresh database, so all of them may be sent the same messages.
    """
    digest = hashlib.sha256()
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.*")):
            if path.suffix != ".pyc":
                digest.update(path.read_bytes())
    path = setting.home / f"frames-{name}-{count}-{SEED}-{digest.hexdigest()[:12]}"
    if not path.exists():
        for stale in setting.home.glob(f"frames-{name}-*"):
            stale.unlink()
        making = setting.folder / f"frames-{name}-making"
        write_frames(making, make_messages(name, count))
        making.rename(path)
    return Feed(name, path, count)


def read_frames(path: Path) -> Iterator[bytes]:
    """The messages of a file that `write_frames` wrote."""
    with path.open("rb") as file:
        while head := file.read(4):
            yield file.read(struct.unpack(">I", head)[0])
