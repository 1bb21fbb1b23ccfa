"""Systems that receive what we send: python-hl7's server, a node server, and one whose every answer is scripted."""

import asyncio
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import hl7  # type: ignore[import-untyped]
from hl7.mllp import start_hl7_server  # type: ignore[import-untyped]

from tests.support.database import missing

ROOT = Path(__file__).resolve().parent.parent.parent
NODE_PEER = Path(__file__).resolve().parent / "node_peer"
PATIENCE = 60.0
Answering = Callable[["Caller", bytes], object]
"""Does with one received message what it likes: answers, answers wrongly, hangs up."""


class Caller:
    """One connection to a `Receiver`."""

    def __init__(self, line: socket.socket, number: int) -> None:
        self.line = line
        self.number = number  # from 0, in order of connecting
        self._rest = b""

    def message(self) -> bytes | None:
        """The next one; None at the end."""
        while b"\x1c\r" not in self._rest:
            try:
                data = self.line.recv(65536)
            except OSError:
                return None
            if not data:
                return None
            self._rest += data
        frame, self._rest = self._rest.split(b"\x1c\r", 1)
        return frame.lstrip(b"\x0b")

    def send(self, data: bytes) -> None:
        self.line.sendall(data)

    def answer(self, control_id: bytes, code: bytes = b"AA", err: bytes = b"") -> None:
        msh = b"MSH|^~\\&|HIS|H1|HCRM||20261122||ACK^R01^ACK|1|P|2.5.1"
        self.send(b"\x0b" + msh + b"\rMSA|" + code + b"|" + control_id + b"\r" + err + b"\x1c\r")


def control_id_of(message: bytes) -> bytes:
    return message.split(b"\r", 1)[0].split(b"|")[9]


def accept(caller: Caller, message: bytes) -> None:
    caller.answer(control_id_of(message))


def answering(code: str, err: str = "") -> Answering:
    return lambda caller, message: caller.answer(control_id_of(message), code.encode(), err.encode())


class Receiver:
    """A server that does with the n-th message what the n-th entry of its script says, then goes on accepting."""

    def __init__(self, script: Sequence[Answering] = (), context: ssl.SSLContext | None = None) -> None:
        self.script = list(script)
        self.received: list[bytes] = []
        self.connections = 0
        self._context = context
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._lines: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)  # closing alone does not wake who accepts
        self._thread.join(PATIENCE)
        self._server.close()
        for line in self._lines:
            line.close()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(line, self.connections - 1), daemon=True).start()

    def _serve(self, line: socket.socket, number: int) -> None:
        try:
            if self._context:
                line = self._context.wrap_socket(line, server_side=True)
            self._lines.append(line)
            caller = Caller(line, number)
            while (message := caller.message()) is not None:
                self.received.append(message)
                act = self.script.pop(0) if self.script else accept
                act(caller, message)
        except OSError:
            line.close()


class PythonHl7Server:
    """`hl7.mllp.start_hl7_server` as its documentation shows it, on a loop in a thread."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self.received: list[hl7.Message] = []
        self._encoding = encoding
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    async def _run(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await start_hl7_server(self._converse, "127.0.0.1", 0, encoding=self._encoding)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()

    async def _converse(self, reader: Any, writer: Any) -> None:
        try:
            while not writer.is_closing():
                message = await reader.readmessage()
                self.received.append(message)
                writer.writemessage(message.create_ack())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(PATIENCE)


class NodeServer:
    """node-hl7-server in a node process; skipped by name where this machine has no node."""

    def __init__(self, code: str = "AA") -> None:
        home = install_node_peer()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._process = subprocess.Popen(
            [shutil.which("node") or "node", str(NODE_PEER / "receive.js"), str(self.port), code],
            cwd=home, stdout=subprocess.PIPE, text=True, encoding="utf-8",
        )  # fmt: skip

    def __enter__(self) -> Self:
        assert self._line() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        with self._process as process:
            process.kill()

    def message(self) -> dict[str, str]:
        """The next one it says it received."""
        found: dict[str, str] = json.loads(self._line())
        return found

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def install_node_peer() -> Path:
    """The folder in var/ that holds the locked packages, installed once. No node here: skipped, an error in CI."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        missing("node and npm (for node-hl7-server)")
    home = ROOT / "var" / "peers" / "node"
    lock, stamp = (NODE_PEER / "package-lock.json").read_text(), home / "installed.lock"
    if stamp.exists() and stamp.read_text() == lock:
        return home
    home.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(NODE_PEER / name, home / name)
    command = [npm, "ci", "--no-audit", "--no-fund", "--loglevel=error", "--ignore-scripts"]
    done = subprocess.run(
        command, cwd=home, env=dict(os.environ), capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        missing("node-hl7-server: npm ci failed")
    stamp.write_text(lock)
    return home


def eventually(found: Callable[[], object]) -> None:
    """What another thread or process does may take a moment."""
    deadline = time.monotonic() + PATIENCE
    while not found() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found()
