"""Fixtures of the outbound queue: post, claim, record, look, and a courier over a real client."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from adapters.his.sender import MllpSender
from hcrm.app import wiring
from hcrm.core.actor import system_actor
from hcrm.core.destinations import Destinations
from hcrm.core.work import open_work
from hcrm.inbox.courier import Courier
from hcrm.inbox.outbound import Outbound, Post, claim_message, post_outbound, record_result
from hcrm.inbox.outbound_models import OutboundMessage
from tests.support.outbound import FOLLOW_UP, destination

ACTOR = system_actor("test")


@pytest.fixture
def post(write):
    """Queue follow-ups of these patients for a destination; their numbers in the queue."""

    def queue(*patients, to=None, revision="1"):
        outbound = Outbound(Destinations([to or destination()]), wiring.BUILDERS)
        posts = [
            Post("follow_up", "instruction", f"{patient}-{n}", revision, patient,
                 replace(FOLLOW_UP, instruction_id=f"{patient}-{n}"))
            for n, patient in enumerate(patients)
        ]  # fmt: skip
        return write(lambda work: post_outbound(work, outbound=outbound, posts=posts))

    return queue


@pytest.fixture
def messages(database, clock):
    def read():
        with open_work(database, actor=ACTOR, clock=clock, write=False) as work:
            return work.scalars(sa.select(OutboundMessage).order_by(OutboundMessage.seq))

    return read


@pytest.fixture
def states(messages):
    return lambda: [row.state.value for row in messages()]


@pytest.fixture
def claim(write):
    return lambda holder="a", code="his": write(
        lambda work: claim_message(work, destination=code, holder=holder)
    )


@pytest.fixture
def record(write):
    return lambda claimed, result: write(lambda work: record_result(work, claimed=claimed, result=result))


@pytest.fixture
def courier_of(database, clock):
    """A courier over a real client, hung up at the end."""
    senders = []

    def make(receiver, holder="a", **changes):
        senders.append(MllpSender(destination(receiver.port, **changes)))
        return Courier(database, destination="his", sender=senders[-1], clock=clock, holder=holder)

    yield make
    for sender in senders:
        sender.close()
