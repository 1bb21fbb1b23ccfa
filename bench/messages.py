"""The messages sent: distinct ADT^A03 of about 900 bytes, from the product's one seeded generator."""

import hashlib
from pathlib import Path

from adapters.his.simulator import bench_messages
from bench.client import write_frames
from bench.setting import SEED, Setting
from bench.variants import ROOT

ALREADY = 2_000_000  # above every record number of a loaded archive: all of them are new patients
SOURCES = ("adapters/his/simulator", "config/demo")


def prepare_frames(setting: Setting, count: int) -> Path:
    """A file of `count` messages for the load client, kept under var/bench until the generator changes.

    Every server gets a fresh database, so all of them may be sent the same messages.
    """
    digest = hashlib.sha256()
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.*")):
            if path.suffix != ".pyc":
                digest.update(path.read_bytes())
    path = setting.home / f"frames-{count}-{SEED}-{digest.hexdigest()[:12]}"
    if not path.exists():
        for stale in setting.home.glob("frames-*"):
            stale.unlink()
        making = setting.folder / "frames-making"
        write_frames(making, (message.raw for message in bench_messages(SEED, count, already=ALREADY)))
        making.rename(path)
    return path
