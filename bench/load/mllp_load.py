"""MLLP load client in Python, used only where no C compiler exists; same arguments and output as mllp_load.c.

It shares the two cores with the server it measures and costs about as much, so it pins itself to the last core
and the bench says that the figures are lower bounds.
"""

import argparse
import asyncio
import ipaddress
import json
import math
import os
import struct
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

START, END = b"\x0b", b"\x1c\r"
GRACE_SECONDS = 5
MAX_RECONNECTS = 1000


class Load:
    """What all connections share: the messages left to send and the counts so far."""

    def __init__(self, options: argparse.Namespace, messages: list[bytes]) -> None:
        self.options = options
        self.messages = messages
        self.sent = self.refused = self.mismatched = self.malformed = self.closed = self.unanswered = 0
        self.reconnects = 0
        self.latencies: list[float] = []
        self.first_send = self.last_answer = 0.0
        self.stop_at = time.monotonic() + options.seconds

    def take(self) -> bytes | None:
        """The next message, or None when the count or the time is used up."""
        if self.sent >= len(self.messages) or time.monotonic() >= self.stop_at:
            return None
        self.sent += 1
        return self.messages[self.sent - 1]

    def judge(self, answer: bytes, message: bytes, sent_at: float) -> None:
        """Count one answer: positive and for this message, or the way in which it is not."""
        segment = next((part for part in answer.split(b"\r") if part.startswith(b"MSA")), b"")
        fields = segment.split(segment[3:4]) if len(segment) > 3 else []
        if not answer.startswith(START) or len(fields) < 3:
            self.malformed += 1
        elif fields[1] not in (b"AA", b"CA"):
            self.refused += 1
        elif fields[2] != message.split(b"\r", 1)[0].split(message[3:4])[9]:
            self.mismatched += 1
        else:
            self.last_answer = time.monotonic()
            self.latencies.append(self.last_answer - sent_at)

    def report(self) -> dict[str, object]:
        """The one line of output."""
        times = sorted(self.latencies)
        seconds = self.last_answer - self.first_send if times else 0.0

        def percentile(share: float) -> float:
            return round(times[max(0, math.ceil(share * len(times)) - 1)] * 1000, 3) if times else 0.0

        return {
            "client": "python",
            "connections": self.options.connections,
            "new_connection": self.options.new_connection,
            "sent": self.sent,
            "acked": len(times),
            "errors": self.refused + self.mismatched + self.malformed + self.closed + self.unanswered,
            "refused": self.refused,
            "mismatched": self.mismatched,
            "malformed": self.malformed,
            "closed": self.closed,
            "unanswered": self.unanswered,
            "seconds": round(seconds, 6),
            "per_second": round(len(times) / seconds, 1) if seconds else 0.0,
            "p50_ms": percentile(0.5),
            "p99_ms": percentile(0.99),
            "max_ms": percentile(1.0),
            "first_send": round(self.first_send, 6),
        }


async def run_connection(load: Load) -> None:
    """Send messages one after the other until there are none left, reconnecting when the peer hangs up."""
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None
    while load.reconnects <= MAX_RECONNECTS and (message := load.take()):
        sent_at = time.monotonic()
        load.first_send = load.first_send or sent_at
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection(load.options.host, load.options.port)
            assert reader is not None
            writer.write(START + message + END)
            answer = await reader.readuntil(END)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            load.closed += 1
            load.reconnects += not load.options.new_connection
            if writer is not None:
                writer.close()
            writer = None
            continue
        except asyncio.CancelledError:
            load.unanswered += 1
            raise
        load.judge(answer, message, sent_at)
        if load.options.new_connection:
            writer.close()
            writer = None
    if writer is not None:
        writer.close()


async def run_load(load: Load) -> None:
    """All connections side by side, cut off a few seconds after the time is up."""
    tasks = [asyncio.create_task(run_connection(load)) for _ in range(load.options.connections)]
    _, late = await asyncio.wait(tasks, timeout=load.options.seconds + GRACE_SECONDS)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)


def read_frames(path: Path, first: int, count: int) -> list[bytes]:
    """Messages from a file of 4-byte big-endian lengths, each followed by its message."""
    data = path.read_bytes()

    def messages() -> Iterator[bytes]:
        at = 0
        while at + 4 <= len(data):
            (length,) = struct.unpack_from(">I", data, at)
            yield data[at + 4 : at + 4 + length]
            at += 4 + length

    return list(islice(messages(), first, first + count))


def bounded(low: int, high: int) -> Callable[[str], int]:
    """An argument type: a whole number between two bounds."""

    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be between {low} and {high}")
        return value

    return parse


def main() -> int:
    """Read the arguments, send, print the one line of JSON."""
    parser = argparse.ArgumentParser(prog="mllp_load")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=bounded(1, 65535), required=True)
    parser.add_argument("--connections", type=bounded(1, 1024), default=1)
    parser.add_argument("--count", type=bounded(1, 5_000_000), default=5_000_000)
    parser.add_argument("--seconds", type=bounded(1, 600), default=10)
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--first", type=bounded(0, 5_000_000), default=0)
    parser.add_argument("--new-connection", action="store_true")
    options = parser.parse_args()
    try:
        allowed = ipaddress.IPv4Address(options.host).is_loopback
    except ValueError:
        allowed = False
    if not allowed:
        parser.error("only loopback addresses (127.0.0.0/8) are allowed")
    messages = read_frames(options.frames, options.first, options.count)
    if not messages:
        parser.error("no message from --first on")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    load = Load(options, messages)
    asyncio.run(run_load(load))
    print(json.dumps(load.report()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
