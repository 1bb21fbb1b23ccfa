"""A run from end to end: messages sent through the socket until all are archived, classified and issued."""

import time
from contextlib import ExitStack
from dataclasses import dataclass

from bench import ours
from bench.client import Sent
from bench.limits import fdatasync_rate
from bench.messages import Feed
from bench.ours import Waited
from bench.places import Place
from bench.setting import Setting

CONNECTIONS = 32
FIRST = 400  # the start of `adt`; when they are applied, every process is at work
WARM_UP = FIRST + 800  # the rest tells how many messages fit a time
LEAST = 1000
PATIENCE = 240  # seconds until a run counts as stuck
SEND_SECONDS = 120
ASK_SECONDS = 0.05


@dataclass(frozen=True)
class Run:
    """One burst, sent and drained."""

    count: int
    applied: int
    seconds: float  # from the first send until all was decided and every event delivered
    drain_seconds: float  # from the last ACK until then
    discharges: int  # among the messages
    instructions: int
    sent: Sent
    disk: float  # fdatasync per second just before: a stall of the disk shows here
    left: dict[str, int]  # messages that were not applied, by what became of them, and events not delivered

    @property
    def per_second(self) -> float:
        """The rate that is judged."""
        return self.applied / self.seconds

    @property
    def complaint(self) -> str:
        """What makes the rate worth nothing; empty where all went its way."""
        if (self.sent.acked, self.sent.errors, self.applied) != (self.count, 0, self.count) or any(
            self.left.values()
        ):
            rest = ", ".join(f"{number} {name}" for name, number in self.left.items() if number)
            told = f"{self.sent.acked} acknowledged, {self.applied} applied, {rest or 'none left'}"
            return f"of {self.count} messages {told}"
        if self.instructions < self.discharges:
            return f"{self.instructions} instructions for {self.discharges} discharges"
        return ""


def measure_run(
    setting: Setting,
    place: Place,
    feed: Feed,
    *,
    seconds: float,
    most: int,
    workers: int = 1,
) -> Run:
    """Send as many messages as these workers apply in so many seconds, `most` at most, as fast as they are taken.

    Workers but the first are processes of `hcrm serve --only worker`.
    """
    with ExitStack() as stack:
        server = stack.enter_context(ours.serve(place, "listener,worker"))
        for _ in range(workers - 1):
            stack.enter_context(ours.serve(place, "worker"))

        def send(first: int, number: int) -> Sent:
            return setting.client.send(
                port=server.port,
                frames=feed.frames,
                connections=CONNECTIONS,
                count=number,
                seconds=SEND_SECONDS,
                first=first,
            )

        send(0, FIRST)
        wait_until_done(place, FIRST)
        warm = send(FIRST, WARM_UP - FIRST)
        rate = warm.acked / (wait_until_done(place, WARM_UP) - warm.first_send)
        before = ours.wait_for_inbox(place, PATIENCE)
        count = min(max(LEAST, int(rate * seconds) // 100 * 100), most, feed.count - WARM_UP)
        issued = place.count_instructions()
        disk = fdatasync_rate(place.folder, 0.5)
        sent = send(WARM_UP, count)
        ended = wait_until_done(place, WARM_UP + sent.acked)
        after = ours.wait_for_inbox(place, PATIENCE)
    took = ended - sent.first_send
    return Run(
        count=count,
        applied=after.applied - before.applied,
        seconds=took,
        drain_seconds=took - sent.seconds,
        discharges=feed.discharges(WARM_UP, count),
        instructions=place.count_instructions() - issued,
        sent=sent,
        disk=disk,
        left=_left(before, after),
    )


def wait_until_done(place: Place, received: int) -> float:
    """Ask the database until that many messages are decided and no event waits; the moment (monotonic).

    `hcrm inbox wait` would cost a second for its own start; it is asked afterwards, for the counts, and must agree.
    """
    until = time.monotonic() + PATIENCE
    while (now := time.monotonic()) < until:
        if place.count_decided() >= received and not place.count_undelivered():
            return now
        time.sleep(ASK_SECONDS)
    return now


def _left(before: Waited, after: Waited) -> dict[str, int]:
    names = ("ignored", "held", "parked")
    return {name: getattr(after, name) - getattr(before, name) for name in names} | {
        "not delivered": after.events_waiting
    }
