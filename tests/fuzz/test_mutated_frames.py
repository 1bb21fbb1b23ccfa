"""Mutated frames through the socket and the worker: each refused, parked or applied, none waited for (C14)."""

import random
import time

import pytest

from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.inbox.models import ApplicationState, InboxMessage, RefusedMessage
from tests.support.changes import EVENING
from tests.support.hospital import Hospital
from tests.support.listener import Peer, eventually
from tests.support.mutation import mutated, seeds

FRAMES = {"small": 400, "large": 10_000}
HANG = 1.0  # seconds a frame may take; the suite grants a busy machine ten times that
DECIDED = {
    ApplicationState.APPLIED, ApplicationState.IGNORED, ApplicationState.HELD, ApplicationState.PARKED,
}  # fmt: skip
SENTINEL = b"MSH|^~\\&|FUZZ|F|||20261122||ADT^A28|%d|P|2.5\rPID|1||F%d^^^H1^MR||\xe5\xbc\xa0\r"


def send_mutated(hospital: Hospital, frames: int, patience: float) -> float:
    """Every frame followed by a sound one, whose ACK says that nobody hangs; the longest wait."""
    chance, sown, longest = random.Random(20261122), seeds(), 0.0
    address = hospital.connect().socket.getpeername()[:2]
    peer: Peer | None = None
    for number in range(frames):
        raw = mutated(chance.choice(sown), chance)
        began = time.monotonic()
        if peer is None:
            peer = Peer(address)
        try:
            peer.send(b"\x0b" + raw + b"\x1c\r\x0b" + SENTINEL % (number, number) + b"\x1c\r")
            while b"|%d\r" % number not in (ack := peer.answer()) or b"MSA|AA|" not in ack:
                pass
        except EOFError:  # no MSH: the connection is closed, and the sender begins anew
            peer.close()
            peer = None
        longest = max(longest, time.monotonic() - began)
        assert longest < patience, raw
        if number % 200 == 199:
            hospital.settle()
    if peer is not None:
        peer.close()
    hospital.settle()
    return longest


def prove(database: Database, frames: int) -> str:
    with Hospital(database, FixedClock(EVENING)) as hospital:
        longest = send_mutated(hospital, frames, 10 * HANG)
        eventually(lambda: len(hospital._listener.server.connections) <= 1, True)
        hospital.settle()
        states = [state for state, _ in hospital.outcomes()]
        reasons = {reason for state, reason in hospital.outcomes() if state is ApplicationState.PARKED}
        assert len(states) == hospital.count(InboxMessage), "whatever was stored was decided"
        refused = hospital.count(RefusedMessage)
    assert set(states) <= DECIDED
    assert len(states) + refused >= frames
    assert not reasons & {"error", "unreadable"}, (
        "something of ours broke, and parked what it did not foresee"
    )
    counts = ", ".join(f"{states.count(state)} {state.value}" for state in sorted(DECIDED))
    return f"{frames} mutated frames: {counts}, {refused} refused; longest wait {longest:.3f} s"


def test_mutated_frames_are_refused_parked_or_applied_and_nobody_hangs(database: Database):
    prove(database, FRAMES["small"])


@pytest.mark.proof("fuzz")
def test_ten_thousand_mutated_frames_are_refused_parked_or_applied_and_nobody_hangs(
    database: Database, capsys
):
    said = prove(database, FRAMES["large"])
    with capsys.disabled():
        print(f"\n{said}")  # noqa: T201  what the run is asked for
