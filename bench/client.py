"""The load client as a process: compiled where a C compiler exists, else Python pinned to one core."""

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Server, free_port

SOURCES = Path(__file__).parent / "load"


def compile_source(name: str, folder: Path) -> Path | None:
    """Compile load/NAME.c into a folder; None where there is no C compiler or it refuses."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    program = folder / name
    command = [compiler, "-O2", "-Wall", "-o", str(program), str(SOURCES / f"{name}.c")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return program if done.returncode == 0 else None


def write_frames(path: Path, messages: Iterable[bytes]) -> int:
    """Write messages as the client reads them, each behind its length in four bytes; returns their number."""
    count = 0
    with path.open("wb") as file:
        for message in messages:
            file.write(struct.pack(">I", len(message)) + message)
            count += 1
    return count


@dataclass(frozen=True)
class Sent:
    """What one run of the client measured."""

    acked: int
    errors: int
    per_second: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    seconds: float
    first_send: float  # on the monotonic clock, which is one for all processes
    line: dict[str, object]


class LoadClient:
    """Starts the client; `command` is the program with its interpreter."""

    def __init__(self, command: list[str], description: str) -> None:
        self.command, self.description = command, description

    @classmethod
    def compiled(cls, folder: Path) -> "LoadClient | None":
        """The client in C, or None where it cannot be compiled."""
        program = compile_source("mllp_load", folder)
        return cls([str(program)], "compiled from load/mllp_load.c") if program else None

    @classmethod
    def interpreted(cls) -> "LoadClient":
        """The client in Python."""
        words = "Python, pinned to one core: no C compiler here, so fast servers are under-measured"
        return cls([sys.executable, str(SOURCES / "mllp_load.py")], words)

    def send(
        self,
        *,
        port: int,
        frames: Path,
        connections: int,
        count: int,
        seconds: int,
        first: int = 0,
        new_connection: bool = False,
    ) -> Sent:
        """Send up to `count` messages for up to `seconds`; the counts and latencies of the acknowledged ones."""
        command = [
            *self.command,
            "--port",
            str(port),
            "--frames",
            str(frames),
            "--connections",
            str(connections),
        ]
        command += ["--count", str(count), "--seconds", str(seconds), "--first", str(first)]
        command += ["--new-connection"] * new_connection
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
        if done.returncode != 0:
            raise RuntimeError(f"load client: {done.stderr.strip()}")
        line = json.loads(done.stdout)
        return Sent(line=line, **{name: line[name] for name in Sent.__annotations__ if name != "line"})


def echo_server(folder: Path) -> Server | None:
    """A server that stores nothing, for the client's own ceiling; None where it cannot be compiled."""
    program = compile_source("mllp_echo", folder)
    if program is None:
        return None
    port = free_port()
    return Server([str(program), str(port)], port=port, log=folder / "echo.log", cwd=folder, env={})


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
