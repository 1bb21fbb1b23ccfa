"""What the kernel saw: no answer leaves before what it answers was forced to the disk (A1)."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.database import SqliteDatabases, missing
from tests.support.listener import Peer, adt

CLIENTS, MESSAGES = 4, 15
NAME = re.compile(r"trace-\d+-\d+")
CALL = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)")


@dataclass
class Trace:
    """Lines of `strace -f` by their order: when a frame was read, when a sync began and ended, when its ACK left."""

    read: dict[str, int] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    syncs: list[tuple[int, int]] = field(default_factory=list)

    def take(self, lines: Iterator[str]) -> "Trace":
        begun: dict[str, int] = {}
        for place, line in enumerate(lines):
            found = CALL.match(line)
            if found is None:
                continue
            process, call = found.groups()
            is_end = "<unfinished" not in line
            is_begin = "resumed>" not in line
            if call in ("fsync", "fdatasync"):
                if is_begin:
                    begun[process] = place
                if is_end and line.rstrip().endswith("= 0"):
                    self.syncs.append((begun[process], place))
            elif call == "recvfrom" and is_end:
                for name in NAME.findall(line):
                    self.read.setdefault(name, place)
            elif call == "sendto" and is_begin:
                for name in NAME.findall(line):
                    self.sent.setdefault(name, place)
        return self


@pytest.fixture
def traced(sqlite_databases: SqliteDatabases, tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A listener under strace: its port, and the file of what it did. PostgreSQL syncs in a process of its own."""
    strace = shutil.which("strace")
    if strace is None:
        missing("strace")
    key_file, trace = tmp_path / "key.json", tmp_path / "trace"
    key_file.write_text(json.dumps({"data": bytes(32).hex()}))
    calls = "trace=recvfrom,sendto,fsync,fdatasync"
    with sqlite_databases.fresh(tmp_path) as url:
        program = subprocess.Popen(
            [strace, "-f", "-s", "500", "-e", calls, "-o", str(trace), sys.executable, "-m", "tests.support.listener"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(f"{url}\t{key_file}\t\n")
        program.stdin.flush()
        line = program.stdout.readline().split()
        if not line:
            # No package brings this right, so it is no error in CI either.
            pytest.skip(f"no right to trace: {program.communicate()[1].strip()}")
        yield int(line[1]), trace
        os.kill(int(line[0]), signal.SIGTERM)
        program.communicate(timeout=30)  # the listener ends, then the program that waits for it, then strace


def converse(port: int, client: int) -> None:
    with Peer(("127.0.0.1", port)) as peer:
        for n in range(MESSAGES):
            assert f"MSA|AA|trace-{client}-{n}\r".encode() in peer.ask(adt(f"trace-{client}-{n}"))


def test_every_answer_leaves_after_a_sync_that_began_after_its_frame_was_read(traced):
    port, file = traced
    clients = [threading.Thread(target=converse, args=(port, n)) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(60)

    trace = Trace().take(iter(file.read_text(errors="replace").splitlines()))
    names = {f"trace-{client}-{n}" for client in range(CLIENTS) for n in range(MESSAGES)}
    assert names == set(trace.sent) == set(trace.read)
    too_early = [
        name
        for name in sorted(names)
        if not any(trace.read[name] < begun and ended < trace.sent[name] for begun, ended in trace.syncs)
    ]
    assert too_early == []
