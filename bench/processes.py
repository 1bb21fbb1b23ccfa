"""Servers as child processes: free ports, readiness, resident memory, and an end by their own pid."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

READY_SECONDS = 60
STOP_SECONDS = 15


def free_port() -> int:
    """A loopback port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def children_of(pid: int) -> list[int]:
    """A process and all its descendants, from /proc; only the process itself where there is no /proc."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # ended while we looked
        parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found = [pid]
    for parent in found:
        found.extend(parents.get(parent, []))
    return found


def resident_peak_mb(pid: int) -> float | None:
    """The most memory a process ever held (VmHWM), in MB of a million bytes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM")), None)


class Memory(NamedTuple):
    """What some processes hold, in KB of 1,024 bytes: all of it, and what no file backs."""

    resident: int
    anonymous: int


def memory_of(pids: list[int]) -> Memory:
    """What these processes hold together; one that has ended holds nothing."""
    found = {"VmRSS:": 0, "RssAnon:": 0}
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition("\t")
            if name in found:
                found[name] += int(value.split()[0])
    return Memory(found["VmRSS:"], found["RssAnon:"])


def command_of(pid: int) -> list[str]:
    """The words a process was started with."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    except OSError:
        return []


def _is_connected(pid: int) -> bool:
    try:
        return any(str(entry.readlink()).startswith("socket:") for entry in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def _listening_inodes(port: int) -> set[str]:
    found = set()
    for table in ("tcp", "tcp6"):
        try:
            rows = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:  # 0A: LISTEN
                found.add(f"socket:[{fields[9]}]")
    return found


def _holds(pid: int, inodes: set[str]) -> bool:
    try:
        return any(str(entry.readlink()) in inodes for entry in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


class Server:
    """One server under test, ready when its port accepts; ended on leaving, and whatever it started with it.

    Without a port (0) it is ready when a process it started has a connection, which is one to its database.
    """

    def __init__(
        self, command: list[str], *, port: int, log: Path, cwd: Path, env: Mapping[str, str]
    ) -> None:
        self.command, self.port, self.log, self.cwd, self.env = command, port, log, cwd, env
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                cwd=self.cwd,
                env=os.environ | self.env,
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_until_ready(self) -> None:
        assert self.process
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            if self._is_ready():
                return
            time.sleep(0.05)
        raise RuntimeError(f"{Path(self.command[0]).name} does not listen; end of its log:\n{self.log_end()}")

    def _is_ready(self) -> bool:
        assert self.process
        if not self.port:
            return any(map(_is_connected, children_of(self.process.pid)[1:]))
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def family_of(self, *words: str) -> list[int]:
        """The process it started with these words in its command, and those that one started."""
        assert self.process
        for pid in children_of(self.process.pid)[1:]:
            command = command_of(pid)
            if all(word in command for word in words):
                return children_of(pid)
        return []

    def log_end(self) -> str:
        """The last lines it wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])

    def resident_mb(self) -> float | None:
        """Peak memory of the process that holds the listening socket."""
        assert self.process
        inodes = _listening_inodes(self.port)
        peaks = [resident_peak_mb(pid) for pid in children_of(self.process.pid) if _holds(pid, inodes)]
        return max((peak for peak in peaks if peak is not None), default=None)

    def stop(self) -> None:
        """Ask it to end; what is still there after a while, of the processes it started, is ended by pid."""
        if self.process is None:
            return
        family = children_of(self.process.pid)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in family[1:]:
            try:
                if os.getpgid(pid) == self.process.pid:  # still ours, not a number given to somebody else
                    os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process = None
