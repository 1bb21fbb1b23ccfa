"""HCRM under test, through its commands only: `hcrm init`, `serve`, `inbox wait`, `simulate --load`."""

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Server, free_port
from bench.setting import SEED, Setting
from bench.variants import ROOT, Variant, count_rows

HCRM = Path(sys.executable).with_name("hcrm")
DATABASE = "bench.db"
ENV = {"HCRM_MLLP__CONNECTIONS_PER_ADDRESS": "64"}  # all load comes from one address
COMMAND_SECONDS = 120
LOAD_SECONDS = {100_000: 300, 1_000_000: 2400}
NAME = "HCRM"
DOES = (
    "group commit: whatever frames wait go into one durable transaction, sealed (AES-256-GCM), unique by sender, "
    "facility, control id and hash; then their ACKs"
)


def url(folder: Path) -> str:
    """The database inside a folder."""
    return f"sqlite:///{folder / DATABASE}"


def run_hcrm(*arguments: str, seconds: float = COMMAND_SECONDS, may_fail: bool = False) -> str:
    """Run one command to its end; what it printed."""
    done = subprocess.run(
        [str(HCRM), *arguments], cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode != 0 and not may_fail:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise RuntimeError(f"hcrm {' '.join(arguments[:2])}: {' / '.join(reason)}")
    return done.stdout


def prepare_template(setting: Setting) -> Path:
    """An initialised empty database, made once per run and copied for every server."""
    folder = setting.folder / "template"
    if not folder.exists():
        making = setting.folder / "template-making"
        making.mkdir()
        run_hcrm("init", "--db", url(making))
        making.rename(folder)
    return folder


def schema_revision(folder: Path) -> str:
    """The migration a database stands at: part of the key under which a loaded archive is kept."""
    with sqlite3.connect(f"file:{folder / DATABASE}?mode=ro", uri=True) as connection:
        return "-".join(
            sorted(row[0] for row in connection.execute("SELECT version_num FROM alembic_version"))
        )


def prepare_archive(setting: Setting) -> Path:
    """A bulk-loaded archive, kept under var/bench and made anew when schema or seed change."""
    template = prepare_template(setting)
    name = f"archive-{setting.size}"
    folder = setting.home / f"{name}-{schema_revision(template)}-{SEED}"
    if folder.exists():
        return folder
    for stale in setting.home.glob(f"{name}-*"):
        shutil.rmtree(stale)
    making = setting.folder / "archive-making"
    shutil.copytree(template, making)
    started = time.monotonic()
    load = ("simulate", "--load", str(setting.size), "--seed", str(SEED), "--db", url(making))
    run_hcrm(*load, seconds=LOAD_SECONDS[setting.size])
    setting.say(f"archive of {setting.size:,} patients loaded in {time.monotonic() - started:.0f} s")
    making.rename(folder)
    return folder


def serve(folder: Path, roles: str) -> Server:
    """`hcrm serve` with some of its roles over the database in a folder."""
    port = free_port()
    command = [str(HCRM), "serve", "--db", url(folder), "--only", roles]
    command += ["--mllp", f"127.0.0.1:{port}", "--http", f"127.0.0.1:{free_port()}"]
    return Server(command, port=port, log=folder / "server.log", cwd=ROOT, env=ENV)


def profiled_listener(folder: Path) -> Server:
    """The listener alone, in a process that prints its profile to its log when it is stopped."""
    port = free_port()
    command = [sys.executable, "-m", "bench.profiled_listener", f"127.0.0.1:{port}"]
    env = ENV | {"HCRM_DB__URL": url(folder)}
    return Server(command, port=port, log=folder / "profile.log", cwd=ROOT, env=env)


@dataclass(frozen=True)
class Waited:
    """What `hcrm inbox wait` printed, and the moment it returned."""

    received: int
    applied: int
    ignored: int
    held: int
    parked: int
    events_waiting: int
    ended: float  # monotonic
    seconds: float  # it took, its own start included


def wait_for_inbox(folder: Path, seconds: int) -> Waited:
    """Wait until no message waits and every event is delivered; a time-out shows in the counts."""
    started = time.monotonic()
    printed = run_hcrm(
        "inbox", "wait", "--db", url(folder), "--timeout", str(seconds), seconds=seconds + 60, may_fail=True
    )
    ended = time.monotonic()
    try:
        counts = json.loads(printed.strip().splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise RuntimeError("hcrm inbox wait printed no counts") from error
    return Waited(**counts, ended=ended, seconds=ended - started)


def count_instructions(folder: Path) -> int:
    """Instructions issued so far."""
    return count_rows(folder / DATABASE, "instruction")


def listener(setting: Setting) -> Variant:
    """Our listener alone, as a row beside the peers."""

    def start(folder: Path) -> Server:
        shutil.copytree(prepare_template(setting), folder, dirs_exist_ok=True)
        return serve(folder, "listener")

    def stored(folder: Path) -> int:
        return count_rows(folder / f"{DATABASE}-inbox", "inbox_message")

    return Variant(NAME, DOES, start, stored)
