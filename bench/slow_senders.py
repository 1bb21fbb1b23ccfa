"""Section `slow_senders`: what an honest client notices of 200 connections that send one byte a second."""

import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from bench import ours
from bench.client import Sent
from bench.messages import Feed, read_frames
from bench.report import Aim, Section, figure, table
from bench.setting import Setting

SLOW = 200
HONEST_SECONDS = 8
BEFORE_SECONDS = 4
AIM_MS = 100
ENV = {"HCRM_MLLP__CONNECTIONS_PER_ADDRESS": str(SLOW + 2), "HCRM_MLLP__CONNECTIONS_TOTAL": str(SLOW + 2)}


class SlowSenders:
    """Connections that each send a message one byte a second; `alive` are those the server has not closed."""

    def __init__(self, port: int, message: bytes, count: int = SLOW) -> None:
        self._bytes = b"\x0b" + message
        self._sockets = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(count)]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self.bytes_each = 0

    @property
    def alive(self) -> int:
        """How many are still open: neither closed nor answered."""
        with selectors.DefaultSelector() as selector:
            for each in self._sockets:
                selector.register(each, selectors.EVENT_READ)
            return len(self._sockets) - len(selector.select(0))

    def start(self) -> None:
        """Send from now on."""
        self._thread.start()

    def close(self) -> None:
        """Hang up."""
        self._stop.set()
        if self._thread.ident:
            self._thread.join(5)
        for each in self._sockets:
            each.close()

    def _send(self) -> None:
        # Spread over the second, as 200 senders would be, not all at once.
        pause = 1 / len(self._sockets)
        while self.bytes_each < len(self._bytes):
            began = time.monotonic()
            for place, each in enumerate(self._sockets):
                if self._stop.wait(max(began + place * pause - time.monotonic(), 0)):
                    return
                try:
                    each.send(self._bytes[self.bytes_each : self.bytes_each + 1])
                except OSError:
                    continue  # the server has closed it: `alive` tells
            self.bytes_each += 1


@contextmanager
def slow_senders(port: int, message: bytes, count: int = SLOW) -> Iterator[SlowSenders]:
    """Some of them, sending."""
    senders = SlowSenders(port, message, count)
    try:
        senders.start()
        yield senders
    finally:
        senders.close()


def measure_slow_senders(setting: Setting, feed: Feed) -> Section:
    """One honest connection, alone and then beside them, on SQLite, the listener alone."""
    with (
        setting.room("slow-senders") as folder,
        ours.empty_place(setting, folder) as place,
        ours.serve(place, "listener", ENV) as server,
    ):

        def send(first: int, seconds: int) -> Sent:
            return setting.client.send(
                port=server.port,
                frames=feed.frames,
                connections=1,
                count=5_000,
                seconds=seconds,
                first=first,
            )

        send(0, 1)
        alone = send(5_000, BEFORE_SECONDS)
        message = next(read_frames(feed.frames))
        with slow_senders(server.port, message) as senders:
            time.sleep(2)
            beside = send(10_000, HONEST_SECONDS)
            alive, each = senders.alive, senders.bytes_each
    section = Section("slow_senders")
    if beside.errors or alone.errors:
        setting.note(f"slow_senders: {alone.errors + beside.errors} errors of the honest client")
    if alive < SLOW:
        setting.note(f"slow_senders: only {alive} of {SLOW} slow connections were open at the end")
    rows = [
        [name, figure(sent.per_second), figure(sent.p50_ms), figure(sent.p99_ms), figure(sent.max_ms)]
        for name, sent in (("alone", alone), (f"beside {alive} slow ones", beside))
    ]
    section.lines = [
        f"One honest connection, and {SLOW} others that had sent {each} bytes each by the end",
        *table(["", "ACKs/s", "p50 ms", "p99 ms", "max ms"], rows),
    ]
    p99 = beside.p99_ms if alive == SLOW and not beside.errors else None
    section.aims = [
        Aim(3, f"ACK p99 of an honest client beside {SLOW} slow senders", p99, below=AIM_MS, unit=" ms")
    ]
    section.data = {"alone": asdict(alone), "beside": asdict(beside), "alive": alive}
    return section
