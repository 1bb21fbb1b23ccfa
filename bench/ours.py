"""HCRM under test, through its commands only: `hcrm init`, `serve`, `inbox wait`, `simulate --load`."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.places import DATABASE, Place, Postgresql, sqlite_place
from bench.processes import Server, free_port
from bench.setting import SEED, Setting
from bench.variants import ROOT, House, Variant

HCRM = Path(sys.executable).with_name("hcrm")
ENV = {"HCRM_MLLP__CONNECTIONS_PER_ADDRESS": "64"}  # all load comes from one address
COMMAND_SECONDS = 120
LOAD_SECONDS = {100_000: 900, 1_000_000: 3600}  # patience, not what it takes
NAME = "HCRM"
NAME_POSTGRESQL = "HCRM, PostgreSQL"
DOES = (
    "group commit: whatever frames wait go into one durable transaction, sealed (AES-256-GCM), unique by sender, "
    "facility, control id and hash; then their ACKs"
)


def run_hcrm(
    *arguments: str, env: Mapping[str, str], seconds: float = COMMAND_SECONDS, may_fail: bool = False
) -> str:
    """Run one command to its end; what it printed."""
    try:
        done = subprocess.run(
            [str(HCRM), *arguments],
            cwd=ROOT,
            env=os.environ | env,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"hcrm {' '.join(arguments[:2])}: not done within {seconds:.0f} s") from error
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
        run_hcrm("init", "--db", sqlite_place(making).url, env={})
        making.rename(folder)
    return folder


def prepare_postgresql(postgresql: Postgresql) -> None:
    """The same on PostgreSQL."""
    place = postgresql.template()
    run_hcrm("init", "--db", place.url, "--make-key", env=place.env)


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
    place = sqlite_place(setting.folder / "archive-making", template)
    started = time.monotonic()
    load = ("simulate", "--load", str(setting.size), "--seed", str(SEED), "--db", place.url)
    run_hcrm(*load, env={}, seconds=LOAD_SECONDS[setting.size])
    setting.say(f"archive of {setting.size:,} patients loaded in {time.monotonic() - started:.0f} s")
    place.folder.rename(folder)
    return folder


def serve(place: Place, roles: str, env: Mapping[str, str] | None = None) -> Server:
    """`hcrm serve` with some of its roles; ready when it listens, or without a listener when its role is at work."""
    port = free_port() if "listener" in roles else 0
    command = [str(HCRM), "serve", "--db", place.url, "--only", roles]
    command += ["--mllp", f"127.0.0.1:{port}"] if port else []
    log = place.folder / f"{roles.replace(',', '-')}.log"
    return Server(command, port=port, log=log, cwd=ROOT, env={**ENV, **place.env, **(env or {})})


def profiled_listener(place: Place) -> Server:
    """The listener alone, in a process that prints its profile to its log when it is stopped."""
    port = free_port()
    command = [sys.executable, "-m", "bench.profiled_listener", f"127.0.0.1:{port}"]
    env = {**ENV, **place.env, "HCRM_DB__URL": place.url}
    return Server(command, port=port, log=place.folder / "profile.log", cwd=ROOT, env=env)


@dataclass(frozen=True)
class Waited:
    """What `hcrm inbox wait` printed."""

    received: int
    applied: int
    ignored: int
    held: int
    parked: int
    events_waiting: int


def wait_for_inbox(place: Place, seconds: float) -> Waited:
    """Wait until no message waits and every event is delivered; a time-out shows in the counts."""
    command = ("inbox", "wait", "--db", place.url, "--timeout", f"{seconds:.0f}")
    printed = run_hcrm(*command, env=place.env, seconds=seconds + 60, may_fail=True)
    try:
        counts = json.loads(printed.strip().splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise RuntimeError("hcrm inbox wait printed no counts") from error
    return Waited(**counts)


@contextmanager
def empty_place(setting: Setting, folder: Path, *, on_postgresql: bool = False) -> Iterator[Place]:
    """An initialised database without a patient."""
    if not on_postgresql:
        yield sqlite_place(folder, prepare_template(setting))
        return
    if setting.postgresql is None:
        raise RuntimeError("there is no PostgreSQL")
    with setting.postgresql.place(folder) as place:
        yield place


def listener(setting: Setting, *, on_postgresql: bool = False) -> Variant:
    """Our listener alone, as a row beside the peers."""

    @contextmanager
    def house(folder: Path) -> Iterator[House]:
        with empty_place(setting, folder, on_postgresql=on_postgresql) as place:
            yield House(serve(place, "listener"), place.count_received)

    if on_postgresql:
        return Variant(NAME_POSTGRESQL, "the same, rows in PostgreSQL", house)
    return Variant(NAME, DOES, house)
