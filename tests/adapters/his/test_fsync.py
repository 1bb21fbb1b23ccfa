"""What the kernel saw: no answer leaves before what it answers was forced to the disk (A1).

On SQLite the listener itself syncs; on PostgreSQL a process of the server does, and one strace watches both.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from hcrm.core.migrate import migrate
from tests.support.database import SqliteDatabases, missing
from tests.support.killed import write_keys
from tests.support.listener import Peer, adt
from tests.support.own_postgresql import OwnPostgresql

CLIENTS, MESSAGES = 4, 15
CALL = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)")
FRAME = re.compile(
    r"\\v(MSH.*?)\\34\\r"
)  # as strace writes a frame: the same bytes on their way to a database have none
NAME = re.compile(r"trace-\d+-\d+")
ACK = re.compile(r"MSA\|AA\|(trace-\d+-\d+)")


@dataclass
class Trace:
    """Lines of `strace -f` by their order: when a frame was read, when a sync began and ended, when its ACK left."""

    read: dict[str, int] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    syncs: list[tuple[int, int]] = field(default_factory=list)

    def take(self, lines: Iterator[str], synced: str) -> "Trace":
        """`synced`: what stands in the path of the file that counts."""
        begun: dict[str, tuple[int, bool]] = {}
        for place, line in enumerate(lines):
            found = CALL.match(line)
            if found is None:
                continue
            process, call = found.groups()
            is_end = "<unfinished" not in line
            is_begin = "resumed>" not in line
            if call in ("fsync", "fdatasync"):
                if is_begin:
                    begun[process] = (place, synced in line)
                start, counts = begun.get(process, (place, False))
                if counts and is_end and line.rstrip().endswith("= 0"):
                    self.syncs.append((start, place))
            elif call == "recvfrom" and is_end:
                for frame in FRAME.findall(line):
                    for name in NAME.findall(frame):
                        self.read.setdefault(name, place)
            elif call == "sendto" and is_begin:
                for frame in FRAME.findall(line):
                    for name in ACK.findall(frame):
                        self.sent.setdefault(name, place)
        return self

    def too_early(self) -> list[str]:
        """Whose answer left without a sync that began after its frame was read and ended before."""
        return [
            name
            for name in sorted(self.sent)
            if not any(self.read[name] < begun and ended < self.sent[name] for begun, ended in self.syncs)
        ]


@contextmanager
def traced(url: str, folder: Path, others: Sequence[int] = ()) -> Iterator[tuple[int, Path]]:
    """A listener under strace, and other processes beside it: its port, and the file of what they did."""
    strace = shutil.which("strace")
    if strace is None:
        missing("strace")
    key_file, trace = write_keys(folder), folder / "trace"
    calls = ["-f", "-I2", "-y", "-s", "1000", "-e", "trace=recvfrom,sendto,fsync,fdatasync", "-o", str(trace)]
    beside = [word for process in others for word in ("-p", str(process))]
    with subprocess.Popen(
        [strace, *calls, *beside, sys.executable, "-m", "tests.support.listener"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as program:  # fmt: skip
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(f"{url}\t{key_file}\t\n")
        program.stdin.flush()
        line = program.stdout.readline().split()
        if not line:
            # No package brings this right, so it is no error in CI either.
            pytest.skip(f"no right to trace: {program.communicate()[1].strip()}")
        try:
            yield int(line[1]), trace
        finally:
            os.kill(int(line[0]), signal.SIGTERM)
            program.stdin.close()  # the listener ends, then the program that waits for it
            program.stdout.read()
            program.send_signal(signal.SIGINT)  # then strace, which may have others to watch


def converse(port: int, client: int) -> None:
    with Peer(("127.0.0.1", port)) as peer:
        for n in range(MESSAGES):
            assert f"MSA|AA|trace-{client}-{n}\r".encode() in peer.ask(adt(f"trace-{client}-{n}"))


def watch(url: str, folder: Path, synced: str, others: Sequence[int] = ()) -> Trace:
    """What was seen while four clients got their answers."""
    with traced(url, folder, others) as (port, file):
        clients = [threading.Thread(target=converse, args=(port, n)) for n in range(CLIENTS)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(60)
    trace = Trace().take(iter(file.read_text(errors="replace").splitlines()), synced)
    names = {f"trace-{client}-{n}" for client in range(CLIENTS) for n in range(MESSAGES)}
    assert names == set(trace.sent) == set(trace.read)
    return trace


def test_every_answer_leaves_after_a_sync_that_began_after_its_frame_was_read(
    sqlite_databases: SqliteDatabases, tmp_path: Path
):
    with sqlite_databases.fresh(tmp_path) as url:
        assert watch(url, tmp_path, "inbox").too_early() == []


@pytest.mark.postgresql
def test_on_postgresql_every_answer_leaves_after_a_sync_of_the_server_s_log(
    own_postgresql: OwnPostgresql, tmp_path: Path
):
    """Also where the server's own setting would let it answer at once: each of our sessions asks for the sync."""
    migrate(own_postgresql.url)
    set_server(own_postgresql, "synchronous_commit = off")

    assert watch(own_postgresql.url, tmp_path, "pg_wal", own_postgresql.processes()).too_early() == []


@pytest.mark.postgresql
def test_the_trace_would_show_a_postgresql_that_does_not_sync(own_postgresql: OwnPostgresql, tmp_path: Path):
    migrate(own_postgresql.url)
    set_server(own_postgresql, "fsync = off")

    trace = watch(own_postgresql.url, tmp_path, "pg_wal", own_postgresql.processes())
    assert trace.too_early() == sorted(trace.sent)


def set_server(server: OwnPostgresql, setting: str) -> None:
    address = server.url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET {setting}".encode())
        connection.execute("SELECT pg_reload_conf()")
