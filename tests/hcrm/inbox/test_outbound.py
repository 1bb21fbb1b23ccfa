"""The queue of what we send: what is queued, in which order, how often it is tried, who may send."""

from dataclasses import replace

import sqlalchemy as sa

from adapters.hl7v2 import read_message
from hcrm.app import wiring
from hcrm.core import limits
from hcrm.core.destinations import Destinations
from hcrm.core.work import open_work
from hcrm.inbox.outbound import Outbound, Post, post_outbound, retry_seconds
from hcrm.inbox.outbound_models import OutboundDestination, OutboundMessage, OutboundState
from hcrm.inbox.outbound_records import NotSent, Reply, Verdict
from tests.support.outbound import FOLLOW_UP, destination
from tests.support.outbound_queue import ACTOR, claim, courier_of, messages, post, record, states

__all__ = ["claim", "courier_of", "messages", "post", "record", "states"]

ACCEPTED = Reply(Verdict.ACCEPTED, "AA", "", b"MSH|\rMSA|AA|1\r")
ERROR = Reply(Verdict.ERROR, "AE", "207", b"MSH|\rMSA|AE|1\r")
REJECTED = Reply(Verdict.REJECTED, "AR", "203 MSH-12", b"MSH|\rMSA|AR|1\r")
MUTE = NotSent("no_answer")
DOWN = NotSent("unreachable", is_unreachable=True)


# ── queueing ────────────────────────────────────────────────────────────────


def test_a_message_is_queued_sealed_once_for_each_revision(post, messages, keys):
    assert post("p1") == 1
    assert post("p1") == 0  # the same fact again
    assert post("p1", revision="2") == 1

    first, second = messages()
    assert (first.kind, first.state, first.subject_id) == ("ORU^R01", OutboundState.PENDING, "p1-0")
    assert FOLLOW_UP.patient.name.encode() not in first.payload
    assert first.control_id != second.control_id
    assert len(first.control_id) == 20
    texts = [read_message(keys.open(row.payload).decode()) for row in (first, second)]
    assert [text.at("OBR-25") for text in texts] == ["F", "C"]
    assert [text.at("MSH-10") for text in texts] == [first.control_id, second.control_id]


def test_what_cannot_be_built_is_seen_and_keeps_nobody_else_waiting(write, messages):
    picky, other = destination(authorities=("H9",)), destination(code="lis")
    outbound = Outbound(Destinations([picky, other]), wiring.BUILDERS)
    made = Post("follow_up", "instruction", "i1", "1", "p1", FOLLOW_UP)

    assert write(lambda work: post_outbound(work, outbound=outbound, posts=[made])) == 2
    assert [(row.destination, row.state.value, row.error, row.detail) for row in messages()] == [
        ("his", "failed", "no_patient_number", "PID-3"), ("lis", "pending", None, None),
    ]  # fmt: skip


def test_the_first_that_could_be_built_is_no_correction(write, messages, keys):
    picky, other = destination(authorities=("H9",)), destination()
    made = Post("follow_up", "instruction", "i1", "1", "p1", FOLLOW_UP)
    write(
        lambda work: post_outbound(
            work, outbound=Outbound(Destinations([picky]), wiring.BUILDERS), posts=[made]
        )
    )
    again = replace(made, revision="2")
    write(
        lambda work: post_outbound(
            work, outbound=Outbound(Destinations([other]), wiring.BUILDERS), posts=[again]
        )
    )

    assert [row.state.value for row in messages()] == ["failed", "pending"]
    assert read_message(keys.open(messages()[1].payload).decode()).at("OBR-25") == "F"


# ── order, tries ────────────────────────────────────────────────────────────


def test_the_order_of_a_patient_is_kept_and_others_pass(post, claim, record, clock, states):
    post("p1", "p1", "p2")
    first = claim()
    record(first, ERROR)
    passing = claim()

    assert passing.seq == first.seq + 2  # p2; the second of p1 waits behind the first
    record(passing, ACCEPTED)
    assert claim() is None
    clock.move(seconds=60)
    assert claim().seq == first.seq
    assert states() == ["sending", "pending", "delivered"]


def test_an_error_is_tried_again_up_to_the_limit_and_then_blocks_nobody(post, claim, record, clock, messages):
    post("p1", "p1")
    for _ in range(limits.OUTBOUND_REFUSED_ATTEMPTS):
        record(claim(), ERROR)
        clock.move(hours=2)

    first, second = messages()
    assert (first.state, first.error, first.detail) == (OutboundState.FAILED, "AE", "207")
    assert (first.attempts, first.refusals) == (5, 5)
    assert first.decided_at is not None
    assert claim().seq == second.seq


def test_a_rejection_is_final_at_once(post, claim, record, messages, keys):
    post("p1")
    record(claim(), REJECTED)

    (row,) = messages()
    assert (row.state, row.error, row.detail, row.attempts) == (OutboundState.FAILED, "AR", "203 MSH-12", 1)
    assert keys.open(row.ack) == REJECTED.raw
    assert claim() is None


def test_silence_never_fails_a_message_and_pauses_grow_to_an_hour(post, claim, record, clock, messages):
    post("p1")
    pauses = []
    for _ in range(12):
        record(claim(), MUTE)
        (row,) = messages()
        pauses.append((row.not_before - clock.now()).total_seconds())
        clock.move(hours=3)

    assert row.state is OutboundState.PENDING
    for pause, planned in zip(pauses, [30, 60, 120, 240, 480, 960, 1920, *[3600] * 5], strict=True):
        assert planned * 0.8 <= pause <= planned * 1.2
    assert len(set(pauses)) > 6  # jitter


def test_pauses_double_and_are_capped():
    assert [retry_seconds(n) for n in (0, 1, 2, 3, 8, 1000)] == [30, 30, 60, 120, 3600, 3600]


def test_a_destination_that_is_down_rests_as_a_whole_and_holds_up_no_other(
    post, claim, record, clock, database, messages
):
    post("p1", "p2")
    post("p1", to=destination(code="lis"))
    record(claim(), DOWN)

    assert claim() is None  # p2 is not tried at a door that is shut
    assert claim(code="lis") is not None
    assert messages()[0].attempts == 0  # nothing of it left
    clock.move(seconds=40)
    record(claim(), ACCEPTED)
    with open_work(database, actor=ACTOR, clock=clock, write=False) as work:
        own = work.get(OutboundDestination, "his")
    assert (own.failures, own.not_before, own.error) == (0, None, None)
    assert own.delivered_at == clock.now()


def test_one_message_nobody_answers_does_not_stop_the_others_and_many_do(post, claim, record):
    post("p1", "p2", "p3", "p4")
    for _ in range(limits.OUTBOUND_MUTE_ATTEMPTS):
        record(claim(), MUTE)

    assert claim() is None  # a mute destination rests


def test_a_paused_destination_queues_and_waits(post, claim, write, states):
    post("p1")
    write(lambda work: setattr(work.get(OutboundDestination, "his"), "is_paused", True))
    post("p2")

    assert claim() is None
    assert states() == ["pending", "pending"]


def test_a_payload_whose_key_is_gone_fails_alone(post, claim, write, states):
    post("p1", "p2")
    write(lambda work: work.execute(sa.update(OutboundMessage).where(OutboundMessage.patient_id == "p1")
                                    .values(payload=b"\x02k9" + b"x" * 40)))  # fmt: skip

    assert claim() is None
    assert claim().seq == 2
    assert states() == ["failed", "sending"]


# ── leases ──────────────────────────────────────────────────────────────────


def test_only_one_sender_has_a_destination(post, claim, clock):
    post("p1", "p2")

    assert claim("a") is not None
    assert claim("b") is None
    clock.move(seconds=limits.OUTBOUND_LEASE_SECONDS - 1)
    assert claim("b") is None


def test_after_its_lease_a_sender_is_fenced_out_and_the_same_bytes_go_again(
    post, claim, record, clock, states
):
    post("p1")
    slow = claim("a")
    clock.move(seconds=limits.OUTBOUND_LEASE_SECONDS + 1)
    again = claim("b")

    assert (again.payload, again.control_id) == (slow.payload, slow.control_id)
    assert again.fence == slow.fence + 1
    assert record(slow, REJECTED) is False  # its word no longer counts
    assert states() == ["sending"]
    assert record(again, ACCEPTED) is True
    assert states() == ["delivered"]
    assert record(again, ERROR) is False  # and nothing is decided twice
