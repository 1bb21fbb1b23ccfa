"""What we send, over real sockets: crashes, two senders, and from a finished follow-up to its ACK."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from functools import partial

import pytest
import sqlalchemy as sa

from adapters.his.build import build_follow_up
from adapters.his.sender import MllpSender
from hcrm.app import role_sender, wiring
from hcrm.app.role import Role
from hcrm.archive.models import IdentifierKind, PatientIdentifier
from hcrm.centre.models import Instruction, Outcome, ReviewPolicy
from hcrm.contact_log.models import Channel, ContactResult
from hcrm.core import limits
from hcrm.core.clock import SystemClock
from hcrm.core.delivery import deliver_events
from hcrm.core.destinations import Destinations
from hcrm.core.errors import ConflictError
from hcrm.core.events import DeliveryState, Event, EventDelivery
from hcrm.core.settings import load_settings
from hcrm.core.sources import Sources
from hcrm.core.work import open_work
from hcrm.inbox.courier import Courier
from hcrm.inbox.outbound_acts import remake_message
from hcrm.inbox.outbound_models import OutboundState
from tests.support.builders import SOURCE, make_instruction, publish_form, publish_protocol
from tests.support.outbound import destination
from tests.support.outbound_queue import ACTOR, claim, courier_of, messages, post, record, states
from tests.support.receivers import (
    PythonHl7Server,
    Receiver,
    accept,
    answering,
    control_id_of,
    eventually,
)

__all__ = ["claim", "courier_of", "messages", "post", "record", "states"]


def test_two_couriers_at_once_send_each_message_once(database, post, states):
    """In threads, with clocks that run: on PostgreSQL they meet in the row, on SQLite at the one writer."""
    patients = [f"p{n}" for n in range(12)]
    with Receiver() as receiver:
        to = destination(receiver.port)
        post(*patients, to=to)
        stop = threading.Event()
        couriers = [
            Courier(
                database,
                destination="his",
                sender=MllpSender(to),
                clock=LaterClock(SystemClock()),
                holder=f"h{n}",
            )
            for n in range(2)
        ]
        threads = [threading.Thread(target=courier.run, args=(stop,)) for courier in couriers]
        for thread in threads:
            thread.start()
        eventually(lambda: states().count("delivered") == len(patients))
        stop.set()
        for thread in threads:
            thread.join()

        assert len(receiver.received) == len(patients)
        assert len({control_id_of(message) for message in receiver.received}) == len(patients)


class LaterClock:
    """Runs, and is never behind the tests' own clock, by which the messages were queued."""

    def __init__(self, inner):
        self.inner = inner

    def now(self):
        return self.inner.now() + timedelta(days=3650)


# ── over the socket ─────────────────────────────────────────────────────────


def test_what_is_delivered_came_with_the_bytes_that_were_queued(post, courier_of, messages, keys):
    with Receiver() as receiver:
        post("p1", "p2")
        courier = courier_of(receiver)
        assert [courier.send_next() for _ in range(3)] == [True, True, False]

        assert receiver.received == [keys.open(row.payload) for row in messages()]
        assert [row.state for row in messages()] == [OutboundState.DELIVERED] * 2
        assert b"MSA|AA|" in keys.open(messages()[0].ack)


def test_ae_then_aa_arrives_at_the_second_try_with_the_same_bytes(post, courier_of, clock, messages):
    with Receiver([answering("AE", "ERR||PID^1^3|204\r"), accept]) as receiver:
        post("p1")
        courier = courier_of(receiver)
        courier.send_next()
        assert (messages()[0].state, messages()[0].detail) == (OutboundState.PENDING, "204 PID-3")
        assert courier.send_next() is False  # not before its time
        clock.move(seconds=60)
        courier.send_next()

        assert messages()[0].state is OutboundState.DELIVERED
        assert receiver.received[0] == receiver.received[1]


def test_a_fault_of_ours_with_one_message_ends_nothing(post, database, clock, messages):
    class Broken:
        def send(self, payload, control_id):
            raise ZeroDivisionError

        def close(self):
            pass

    post("p1")
    courier = Courier(database, destination="his", sender=Broken(), clock=clock, holder="a")

    assert courier.send_next() is True
    assert (messages()[0].state, messages()[0].error) == (OutboundState.PENDING, "error")


CHILD = """
import sys
from hcrm.core.crypto import KeyRing
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.inbox.courier import Courier
from adapters.his.sender import MllpSender
from tests.support.outbound import destination
from datetime import datetime
keys = KeyRing(current="k1", data={"k1": bytes(range(32))}, index=bytes(range(32, 64)))
database = Database(sys.argv[1], keys)
courier = Courier(database, destination="his", sender=MllpSender(destination(int(sys.argv[2]))),
                  clock=FixedClock(datetime.fromisoformat(sys.argv[3])), holder="killed")
courier.send_next()
"""


def test_killed_between_the_answer_and_its_note_the_same_bytes_go_again(
    database_url, post, courier_of, clock, messages, states
):
    with Receiver() as receiver:
        post("p1", "p1")
        killed = subprocess.run(
            [sys.executable, "-c", CHILD, database_url, str(receiver.port), clock.now().isoformat()],
            env=os.environ | {"HCRM_FAULT": "before_outbound_record"}, check=False, capture_output=True,
        )  # fmt: skip
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert states() == ["sending", "pending"]  # it arrived, and nobody knows
        courier = courier_of(receiver, holder="b")
        assert courier.send_next() is False  # the dead one's lease
        clock.move(seconds=limits.OUTBOUND_LEASE_SECONDS + 1)
        while courier.send_next():
            pass

        assert states() == ["delivered", "delivered"]
        assert len(receiver.received) == 3
        assert (
            receiver.received[0] == receiver.received[1]
        )  # the receiver can tell the echo by its control id
        assert messages()[0].attempts == 2


# ── from the follow-up to its ACK ───────────────────────────────────────────


@pytest.fixture
def finished(write):
    """A follow-up recorded with a fever, which is a red flag."""
    from followup.station import record_followup

    def make(work):
        publish_form(work)
        publish_protocol(work)
        instruction = make_instruction(work, review_policy=ReviewPolicy.NONE)
        work.add(PatientIdentifier(
            id=work.new_id(), patient_id=instruction.patient_id, kind=IdentifierKind.RECORD, authority="H1",
            type="MR", value="481516", source=SOURCE, as_of=work.clock.now(), seq=1,
        ))  # fmt: skip
        record_followup(
            work, instruction_id=instruction.id, record_id=work.new_id(), outcome=Outcome.REACHED,
            result=ContactResult.REACHED, channel=Channel.PHONE,
            answers={"pain": "4", "temperature": "38.6", "remark": "夜间发热\n已服药"},
        )  # fmt: skip
        return instruction.id

    return write(make)


def deliver(database, clock, *destinations):
    handlers = wiring.handlers(load_settings(), Sources([]), Destinations(list(destinations)))
    while deliver_events(database, handlers, clock, ACTOR):
        pass


@pytest.mark.parametrize("charset", ["utf-8", "gb18030"])
def test_a_finished_follow_up_reaches_python_hl7_with_answers_and_flags(
    finished, database, clock, courier_of, states, charset
):
    with PythonHl7Server(encoding=charset) as server:
        deliver(database, clock, destination(server.port, charset=charset))
        assert states() == ["pending"]
        assert courier_of(server, charset=charset).send_next() is True
        assert states() == ["delivered"]

    (message,) = server.received
    assert str(message["PID.F3.R1.C1"]) == "481516"
    assert str(message["PID.F5"]) == "张三"
    assert [(str(obx[3][0][0]), str(obx[5]), str(obx[8])) for obx in message.segments("OBX")] == [
        ("outcome", "reached^已随访^99HCRM", ""), ("pain", "4", ""), ("temperature", "38.6", "A"),
        ("remark", "夜间发热~已服药", ""),
    ]  # fmt: skip
    assert str(message.segment("NTE")[3]) == "R2 fever: 当日联系医师"
    assert str(message["OBR.F3.R1.C1"]) == finished


def test_without_a_destination_nothing_is_queued(finished, database, clock, states):
    deliver(database, clock)

    assert states() == []


def test_queued_with_the_receipt_of_the_fact_or_not_at_all(finished, database, clock, states, monkeypatch):
    def broken(*arguments):
        build_follow_up(*arguments)
        raise ZeroDivisionError

    handlers = wiring.handlers(load_settings(), Sources([]), Destinations([destination()]))
    monkeypatch.setitem(wiring.BUILDERS, "follow_up", broken)
    deliver_events(database, handlers, clock, ACTOR)
    assert states() == []

    monkeypatch.undo()
    clock.move(seconds=limits.EVENT_RETRY_SECONDS + 1)
    deliver(database, clock, destination())
    assert states() == ["pending"]


def test_what_could_not_be_built_is_written_anew_once_its_cause_is_gone(
    finished, database, clock, write, states, messages
):
    deliver(database, clock, destination(authorities=("H9",)))
    assert states() == ["failed"]
    (failed,) = messages()
    again = partial(remake_message, seq=failed.seq, remakers=wiring.console_parts(Sources([])).remakers)
    write(again)
    deliver(database, clock, destination())

    assert states() == ["pending"]
    (built,) = messages()
    assert (built.subject_id, built.error) == (finished, None)
    with pytest.raises(ConflictError):
        write(partial(again, seq=built.seq))


def test_one_that_was_sent_back_meanwhile_is_told_only_when_finished_again(
    finished, database, clock, write, states
):
    write(lambda work: work.execute(
        sa.update(Instruction).where(Instruction.id == finished).values(state="in_progress")))  # fmt: skip
    deliver(database, clock, destination())

    assert states() == []


def test_many_at_once_are_built_in_rounds(database, clock, write, messages, monkeypatch):
    monkeypatch.setattr(limits, "OUTBOUND_BUILD_BATCH", 2)

    def make(work):
        from hcrm.centre.events import InstructionCompleted

        publish_form(work)
        for _ in range(5):
            instruction = make_instruction(
                work, state="completed", outcome=Outcome.REFUSED, done_at=work.clock.now(),
                done_on=work.clock.now().date(),
            )  # fmt: skip
            work.emit(InstructionCompleted(instruction_id=instruction.id))

    write(make)
    deliver(database, clock, destination())

    assert len({row.subject_id for row in messages()}) == 5
    with open_work(database, actor=ACTOR, clock=clock, write=False) as work:
        assert work.all(Event, ~Event.is_delivered) == []
        assert work.all(EventDelivery, EventDelivery.state != DeliveryState.DONE) == []


# ── the process ─────────────────────────────────────────────────────────────


@pytest.fixture
def sender_role(database, monkeypatch):
    """The role as `hcrm serve` runs it, in a thread."""

    @contextlib.contextmanager
    def running(*destinations):
        monkeypatch.setattr(role_sender, "open_destinations", lambda: Destinations(list(destinations)))
        monkeypatch.setattr(role_sender, "SystemClock", lambda: LaterClock(SystemClock()))
        role = Role(load_settings(), database, "", threading.Event())
        thread = threading.Thread(target=role_sender.run, args=(role,))
        thread.start()
        try:
            yield
        finally:
            role.stop.set()
            thread.join(30)
            assert not thread.is_alive()

    return running


def test_a_destination_that_is_silent_holds_up_no_other_and_does_not_keep_us_from_stopping(
    sender_role, post, states, monkeypatch
):
    monkeypatch.setattr(limits, "STOP_SECONDS", 0.2)
    with Receiver([lambda caller, message: None]) as silent, Receiver() as good:
        mute, well = destination(silent.port, answer_seconds=60.0), destination(good.port, code="lis")
        post("p1", to=mute)
        post("p2", to=well)
        with sender_role(mute, well):
            eventually(lambda: len(silent.received) == 1)
            eventually(lambda: states() == ["sending", "delivered"])
        assert states() == ["pending", "delivered"]  # the wait was ended, and it is known that it was


def test_what_is_paused_in_its_file_is_not_sent(sender_role, post, states):
    with Receiver() as receiver, Receiver() as other:
        paused, well = destination(receiver.port, paused=True), destination(other.port, code="lis")
        post("p1", to=paused)
        post("p1", to=well)
        with sender_role(paused, well):
            eventually(lambda: states() == ["pending", "delivered"])

        assert receiver.connections == 0
