import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Event as Signal

import pytest
import sqlalchemy as sa

from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.delivery import (
    Handlers,
    count_waiting,
    deliver_events,
    handler_name,
    list_troubled,
    retry_delivery,
)
from hcrm.core.errors import HcrmError
from hcrm.core.events import DeliveryState, Event, EventDelivery, Fact
from hcrm.core.work import Work, open_work

WORKER = system_actor("worker")


@dataclass(frozen=True, slots=True)
class BellRang(Fact):
    number: int


@dataclass(frozen=True, slots=True)
class DoorOpened(Fact):
    number: int


@dataclass(frozen=True, slots=True)
class Noted(Fact):
    number: int


class Listener:
    """Keeps what it was given, batch by batch; fails on the numbers it is told to fail on."""

    def __init__(self, *bad: int) -> None:
        self.batches: list[list[int]] = []
        self.bad = set(bad)

    def hear(self, work: Work, facts: Sequence[BellRang]) -> None:
        numbers = [fact.number for fact in facts]
        if self.bad.intersection(numbers):
            raise KeyError("张三 13800138000")
        self.batches.append(numbers)

    def answer(self, work: Work, facts: Sequence[BellRang]) -> None:
        work.emit_all(DoorOpened(number=fact.number) for fact in facts)

    @property
    def heard(self) -> list[int]:
        return sorted(number for batch in self.batches for number in batch)


class Second(Listener):
    def hear_too(self, work: Work, facts: Sequence[BellRang]) -> None:
        self.hear(work, facts)


@pytest.fixture
def ring(database: Database, clock: FixedClock):
    def ring(*numbers: int) -> None:
        with open_work(database, actor=WORKER, clock=clock) as work:
            work.emit_all(BellRang(number=number) for number in numbers)

    return ring


@pytest.fixture
def deliver(database: Database, clock: FixedClock):
    def deliver(handlers: Handlers, batch: int = limits.EVENT_BATCH) -> int:
        return deliver_events(database, handlers, clock, WORKER, batch)

    return deliver


@pytest.fixture
def waiting(database: Database, clock: FixedClock):
    def waiting() -> int:
        with open_work(database, actor=WORKER, clock=clock, write=False) as work:
            return count_waiting(work)

    return waiting


def test_each_handler_gets_a_batch_once_and_the_events_are_delivered(ring, deliver, waiting):
    first, second = Listener(), Second()
    ring(1, 2, 3)

    assert deliver({BellRang: [first.hear, second.hear_too]}) == 6
    assert deliver({BellRang: [first.hear, second.hear_too]}) == 0

    assert first.batches == second.batches == [[1, 2, 3]]
    assert waiting() == 0


def test_a_round_takes_the_oldest_events_up_to_the_batch(ring, deliver, waiting):
    listener = Listener()
    ring(1, 2, 3)

    deliver({BellRang: [listener.hear]}, batch=2)

    assert listener.batches == [[1, 2]]
    assert waiting() == 1


def test_what_a_handler_emits_is_delivered_by_the_next_round(ring, deliver):
    doors = Listener()
    ring(7)
    handlers = {BellRang: [doors.answer], DoorOpened: [doors.hear]}

    deliver({DoorOpened: [doors.hear], BellRang: [doors.answer]})
    assert doors.heard == []
    deliver(handlers)

    assert doors.heard == [7]


def test_an_event_nobody_listens_to_does_not_wait(ring, deliver, waiting):
    ring(1)

    assert deliver({}) == 0

    assert waiting() == 0


def test_a_poisoned_event_stays_behind_alone_and_is_parked_with_the_kind_of_its_failure(
    ring, deliver, waiting, database, clock
):
    listener = Listener(2)
    ring(1, 2, 3)

    for _ in range(limits.EVENT_ATTEMPTS):
        assert waiting() > 0
        deliver({BellRang: [listener.hear]})
        clock.move(seconds=limits.EVENT_RETRY_SECONDS)

    assert listener.heard == [1, 3]
    assert waiting() == 0
    with open_work(database, actor=WORKER, clock=clock, write=False) as work:
        (trouble,) = list_troubled(work)
    assert (trouble.kind, trouble.state, trouble.attempts, trouble.reason) == (
        "BellRang", DeliveryState.PARKED, limits.EVENT_ATTEMPTS, "KeyError",
    )  # fmt: skip


def test_a_failed_event_rests_before_it_is_tried_again(ring, deliver, clock):
    listener = Listener(1)
    ring(1)
    deliver({BellRang: [listener.hear]})
    listener.bad.clear()

    assert deliver({BellRang: [listener.hear]}) == 0
    clock.move(seconds=limits.EVENT_RETRY_SECONDS)
    assert deliver({BellRang: [listener.hear]}) == 1


def test_a_failing_handler_does_not_keep_the_event_from_the_others(ring, deliver, waiting):
    failing, second = Listener(1), Second()
    ring(1)

    deliver({BellRang: [failing.hear, second.hear_too]})

    assert second.heard == [1]
    assert waiting() == 1  # the first handler still wants it


def test_the_refusal_of_a_handler_is_kept_by_its_code(ring, deliver, database, clock):
    ring(1)

    def refuse(work: Work, facts: Sequence[BellRang]) -> None:
        raise HcrmError("bell.broken", "铃坏了")

    deliver({BellRang: [refuse]})

    with open_work(database, actor=WORKER, clock=clock, write=False) as work:
        assert [row.reason for row in list_troubled(work)] == ["bell.broken"]


def test_what_a_failing_handler_wrote_is_rolled_back(ring, deliver, waiting):
    def write_and_fail(work: Work, facts: Sequence[BellRang]) -> None:
        work.emit(DoorOpened(number=1))
        work.flush()
        raise ValueError

    ring(1)

    deliver({BellRang: [write_and_fail]})

    assert waiting() == 1  # the bell; no door


def test_a_parked_delivery_can_be_tried_anew(ring, deliver, database, clock):
    listener = Listener(1)
    ring(1)
    for _ in range(limits.EVENT_ATTEMPTS):
        deliver({BellRang: [listener.hear]})
        clock.move(seconds=limits.EVENT_RETRY_SECONDS)
    listener.bad.clear()

    with open_work(database, actor=WORKER, clock=clock) as work:
        (trouble,) = list_troubled(work)
        retry_delivery(work, event_id=trouble.event_id, handler=trouble.handler)
    deliver({BellRang: [listener.hear]})

    assert listener.heard == [1]


def test_failures_leave_no_patient_data_in_the_log(ring, deliver, caplog):
    ring(1)

    deliver({BellRang: [Listener(1).hear]})

    assert "KeyError" in caplog.text
    assert "13800138000" not in caplog.text


def test_two_workers_at_once_hand_over_each_event_exactly_once(ring, deliver, database, clock):
    ring(*range(200))
    listener = Listener()

    def drain() -> None:
        while deliver({BellRang: [listener.hear]}, batch=7):
            pass

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(drain) for _ in range(4)]:
            future.result()
    drain()

    assert listener.heard == list(range(200))
    with open_work(database, actor=WORKER, clock=clock, write=False) as work:
        assert work.scalar(sa.select(sa.func.count()).select_from(EventDelivery)) == 200


def test_a_handler_keeps_its_name_when_settings_are_bound_to_it():
    assert handler_name(partial(count_waiting)) == handler_name(count_waiting) == "delivery.count_waiting"


def test_the_waiting_events_are_found_by_their_index(sqlite_databases, tmp_path, keys):
    """SQLite uses a partial index only where statement and index say the same words."""
    with sqlite_databases.fresh(tmp_path) as url:
        database = Database(url, keys)
        statement = sa.select(Event.id).where(~Event.is_delivered, Event.kind == "x").order_by(Event.id)
        text = statement.compile(database.main, compile_kwargs={"literal_binds": True})

        with database.main.connect() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}").all()
        database.dispose()

    assert "ix_event_waiting" in str(plan)
    assert "TEMP B-TREE" not in str(plan)


# ── several workers ─────────────────────────────────────────────────────────


class Meddling(HcrmError):
    """A failure during whose noting, its work rolled back already, something else happens."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        super().__init__("bell.broken", "铃坏了")

    @property
    def code(self) -> str:
        self._act()
        return "bell.broken"

    @code.setter
    def code(self, _value: str) -> None:
        pass


def test_a_failure_does_not_touch_what_another_worker_has_settled_meanwhile(ring, deliver, database, clock):
    doors = Listener()
    others_turn = [lambda: deliver({BellRang: [hear]})]

    def hear(work: Work, facts: Sequence[BellRang]) -> None:
        if others_turn:
            raise Meddling(others_turn.pop())
        doors.answer(work, facts)

    ring(1)

    deliver({BellRang: [hear]})
    clock.move(seconds=limits.EVENT_RETRY_SECONDS)
    deliver({BellRang: [hear]})

    with open_work(database, actor=WORKER, clock=clock, write=False) as work:
        assert list_troubled(work) == []
        assert [row.kind for row in work.all(Event)].count("DoorOpened") == 1


def test_the_failures_of_two_workers_at_once_are_two_attempts(ring, deliver, database, clock):
    others_turn = [lambda: deliver({BellRang: [hear]})]

    def hear(work: Work, facts: Sequence[BellRang]) -> None:
        raise Meddling(others_turn.pop() if others_turn else lambda: None)

    ring(1)

    deliver({BellRang: [hear]})

    with open_work(database, actor=WORKER, clock=clock, write=False) as work:
        assert [(row.state, row.attempts) for row in list_troubled(work)] == [(DeliveryState.FAILED, 2)]


@pytest.mark.postgresql
@pytest.mark.parametrize("numbers", [(1,), (1, 2)], ids=["one", "batch"])
def test_a_work_that_met_anothers_is_tried_again_at_once_and_is_no_failure(
    postgresql_databases, tmp_path, keys, clock, numbers
):
    """A real deadlock: the handler has lock 1 and asks for 2, somebody else has 2 and asks for 1."""
    tries = []

    def lock(work: Work, number: int) -> None:
        work.execute(sa.select(sa.func.pg_advisory_xact_lock(4_899, number)))

    def cross(database: Database, has_one: Signal, has_two: Signal) -> None:
        with open_work(database, actor=WORKER, clock=clock) as work:
            # So that the handler is the one given up.
            work.execute(sa.text("SET LOCAL deadlock_timeout = '60s'"))
            lock(work, 2)
            has_two.set()
            has_one.wait(60)
            lock(work, 1)

    with postgresql_databases.fresh(tmp_path) as url, ThreadPoolExecutor(1) as others:
        database = Database(url, keys)
        has_one, has_two = Signal(), Signal()
        other = others.submit(cross, database, has_one, has_two)
        assert has_two.wait(60)

        def hear(work: Work, facts: Sequence[BellRang]) -> None:
            tries.append([fact.number for fact in facts])
            lock(work, 1)
            has_one.set()
            lock(work, 2)

        with open_work(database, actor=WORKER, clock=clock) as work:
            work.emit_all(BellRang(number=number) for number in numbers)
        done = deliver_events(database, {BellRang: [hear]}, clock, WORKER)
        other.result(60)
        with open_work(database, actor=WORKER, clock=clock, write=False) as work:
            receipts = {(row.state, row.attempts) for row in work.all(EventDelivery)}
        database.dispose()

    assert done == len(numbers)
    assert tries == [list(numbers), *([number] for number in numbers)]
    assert receipts == {(DeliveryState.DONE, 1)}


@pytest.mark.postgresql
def test_two_workers_whose_handlers_fail_now_and_then_count_each_event_exactly_once(
    postgresql_databases, tmp_path, keys, clock
):
    """Two handlers, so that what one has had is told by receipts alone."""
    count = 500

    def run(url: str, seed: int) -> None:
        chance = random.Random(seed)

        def answer(work: Work, facts: Sequence[BellRang]) -> None:
            work.emit_all(DoorOpened(number=fact.number) for fact in facts)
            if chance.random() < 0.2:
                raise ValueError

        def note(work: Work, facts: Sequence[BellRang]) -> None:
            work.emit_all(Noted(number=fact.number) for fact in facts)
            if chance.random() < 0.2:
                raise ValueError

        database = Database(url, keys)
        while True:
            done = deliver_events(database, {BellRang: [answer, note]}, clock, WORKER, 7)
            with open_work(database, actor=WORKER, clock=clock, write=False) as work:
                if not work.scalar(
                    sa.select(sa.exists().where(~Event.is_delivered, Event.kind == "BellRang"))
                ):
                    break
            if not done:
                clock.move(seconds=limits.EVENT_RETRY_SECONDS)
        database.dispose()

    with postgresql_databases.fresh(tmp_path) as url:
        database = Database(url, keys)
        with open_work(database, actor=WORKER, clock=clock) as work:
            work.emit_all(BellRang(number=number) for number in range(count))
        with ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(run, url, seed) for seed in (1, 2)]:
                future.result()
        with open_work(database, actor=WORKER, clock=clock, write=False) as work:
            parked = work.all(EventDelivery, EventDelivery.state == DeliveryState.PARKED)
            heard = {
                kind: sorted(row.payload["number"] for row in work.all(Event, Event.kind == kind))
                for kind in ("DoorOpened", "Noted")
            }
            receipts = len(work.all(EventDelivery))
        database.dispose()

    missing = count * 2 - len(parked)
    assert receipts == count * 2
    assert sum(len(numbers) for numbers in heard.values()) == missing
    assert all(len(set(numbers)) == len(numbers) for numbers in heard.values())
