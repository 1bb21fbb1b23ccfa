"""The servers under test: what each does with a message, how it is started, how its rows are counted."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Server, free_port

ROOT = Path(__file__).resolve().parent.parent
NODE_PEER = Path(__file__).parent / "peers" / "node"
LEVELS = (1, 8, 32)
NPM_SECONDS = 300


@dataclass(frozen=True)
class House:
    """A server that is not started yet, and where it will store."""

    server: Server
    count_rows: Callable[[], int]  # stored rows, read after the server has ended


@dataclass(frozen=True)
class Variant:
    """One row of the table."""

    name: str
    does: str  # exactly what it does between a message and its ACK
    house: Callable[[Path], AbstractContextManager[House]]  # in a folder of its own
    new_connection: bool = False
    levels: tuple[int, ...] = LEVELS


def count_rows(database: Path, table: str) -> int:
    """Rows of a table of an SQLite file."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def _peer(
    name: str,
    does: str,
    command: list[str],
    *,
    after: tuple[str, ...] = (),
    cwd: Path = ROOT,
    new_connection: bool = False,
    levels: tuple[int, ...] = LEVELS,
) -> Variant:
    """A peer that takes PORT and DATABASE after its command, and `after` behind them."""

    @contextmanager
    def house(folder: Path) -> Iterator[House]:
        port, store = free_port(), folder / "peer.sqlite"
        line = [*command, str(port), str(store), *after]
        server = Server(line, port=port, log=folder / "server.log", cwd=cwd, env={})
        yield House(server, lambda: count_rows(store, "message"))

    return Variant(name, does, house, new_connection, levels)


def python_hl7() -> Variant:
    """python-hl7's asyncio server."""
    return _peer(
        "python-hl7",
        "readmessage (parses), INSERT and COMMIT of one row in the event loop, create_ack, writemessage",
        [sys.executable, "-m", "bench.peers.python_hl7"],
    )


def hl7apy() -> Variant:
    """hl7apy's server with a handler that avoids its parser."""
    return _peer(
        "hl7apy",
        "thread and connection per message (the server closes after one); MSH split by hand, one row committed, "
        "ACK text made by hand",
        [sys.executable, "-m", "bench.peers.hl7apy_server"],
        after=("cheap",),
        new_connection=True,
    )


def hl7apy_parsed() -> Variant:
    """hl7apy's server as its documentation uses it."""
    return _peer(
        "hl7apy, parsing",
        "the same, with parse_message and an ACK built by hl7apy, as its documentation shows",
        [sys.executable, "-m", "bench.peers.hl7apy_server"],
        after=("parsed",),
        new_connection=True,
        levels=(32,),
    )


def simple_hl7(home: Path) -> Variant:
    """simple-hl7 from npm; its packages lie in `home` (see `install_node_peers`)."""
    return _peer(
        "simple-hl7",
        "parses, makes its ACK, INSERT and COMMIT of one row in the event loop, res.end()",
        [shutil.which("node") or "node", str(NODE_PEER / "simple_hl7.js")],
        cwd=home,
    )


def node_hl7_server(home: Path) -> Variant:
    """node-hl7-server from npm, which answers only the first message of a connection rightly."""
    return _peer(
        "node-hl7-server",
        "connection per message (it keeps what it has read); parses, INSERT and COMMIT of one row in the event loop, "
        "sendResponse (makes its ACK)",
        [shutil.which("node") or "node", str(NODE_PEER / "node_hl7_server.js")],
        cwd=home,
        new_connection=True,
    )


def install_node_peers(home: Path) -> str | None:
    """Install the locked npm packages once under var/bench; the reason when it cannot be done.

    better-sqlite3 is compiled from its source, since a prebuilt binary would come from outside the registry;
    node 22 and later bring node:sqlite and need no compiler.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return "node or npm is missing"
    lock = (NODE_PEER / "package-lock.json").read_text()
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    stamp = home / "installed.json"
    wanted = {"node": version, "lock": lock}
    if stamp.exists() and json.loads(stamp.read_text()) == wanted:
        return None
    home.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(NODE_PEER / name, home / name)
    own_sqlite = int(version.lstrip("v").split(".")[0]) >= 22
    command = [npm, "ci", "--no-audit", "--no-fund", "--loglevel=error", *["--omit=optional"] * own_sqlite]
    env = os.environ | {"npm_config_build_from_source": "true", "JOBS": "max"}
    try:
        done = subprocess.run(
            command, cwd=home, env=env, capture_output=True, text=True, timeout=NPM_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"npm ci did not end within {NPM_SECONDS} s"
    if done.returncode != 0:
        return f"npm ci failed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"
    if not own_sqlite and not (home / "node_modules" / "better-sqlite3").is_dir():
        return "better-sqlite3 could not be compiled"
    stamp.write_text(json.dumps(wanted))
    return None
