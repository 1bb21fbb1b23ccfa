"""What was received is found however late its transaction is committed, and counted while it is not taken up."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from hcrm.app.role_listener import count_pending
from hcrm.core import limits
from hcrm.core.clock import FixedClock, SystemClock
from hcrm.core.db import Database
from hcrm.core.delivery import deliver_events
from hcrm.core.work import open_work
from hcrm.inbox.floor import read_floor, untaken
from hcrm.inbox.models import ApplicationState, InboxMessage
from hcrm.inbox.queries import is_idle, oldest_waiting
from hcrm.inbox.service import process_messages
from hcrm.inbox.take_up import Intake, take_up
from tests.support.adt import adt
from tests.support.messages import ACTOR, applications, make_intake, store, work_off


@pytest.fixture
def intake(clock: FixedClock) -> Intake:
    clock.move(hours=13)
    return make_intake(clock)


@contextmanager
def late_message(database: Database, clock: FixedClock, name: str = "late") -> Iterator[sa.Connection]:
    """A message whose transaction is open until the caller commits."""
    row = {
        "sender": "HIS", "facility": "H1", "control_id": name, "sha256": bytes(32), "kind": "ADT^A28",
        "format": "hl7v2", "raw": database.keys.seal(adt("A28", c=name, p=900)), "ack": b"", "peer": "", "flags": "",
        "received_at": clock.now(),
    }  # fmt: skip
    with database.main.connect() as connection:
        connection.execute(sa.insert(InboxMessage), [row])
        yield connection


def floor(database: Database) -> int:
    with database.main.connect() as connection:
        return read_floor(connection)


def look(database: Database) -> tuple[bool, bool, int]:
    """Idle, whether something is oldest, pending. Nobody listens here, and a fact that nobody hears is done."""
    deliver_events(database, {}, SystemClock(), ACTOR)
    with open_work(database, actor=ACTOR, write=False) as work:
        return is_idle(work), oldest_waiting(work) is not None, count_pending(database)


@pytest.mark.postgresql
def test_a_message_committed_an_hour_after_higher_ones_is_taken_up(postgresql, clock, intake):
    database = postgresql
    store(database, clock, adt("A28", c=1))
    with late_message(database, clock) as transaction:
        for n in range(2, 6):
            store(database, clock, adt("A28", c=n, p=n))
            work_off(database, intake)
            clock.move(minutes=20)
            work_off(database, make_intake(clock))  # another process
        assert floor(database) <= 1
        assert look(database) == (True, False, 0)

        transaction.commit()
    assert look(database) == (False, True, 1)

    work_off(database, intake)
    assert look(database) == (True, False, 0)
    assert [row.seq for row in applications(database)] == [1, 2, 3, 4, 5, 6]
    assert {row.state for row in applications(database)} == {ApplicationState.APPLIED}


@pytest.mark.postgresql
def test_the_floor_rises_as_soon_as_those_who_wrote_have_ended_though_others_write(postgresql, clock, intake):
    database = postgresql
    with late_message(database, clock) as first:
        store(database, clock, adt("A28", c=1))
        work_off(database, intake)
        with late_message(database, clock, "later"):
            first.rollback()
            work_off(
                database, intake
            )  # the first has ended; what was visible before the second wrote is settled
            assert floor(database) == 2
            store(database, clock, adt("A28", c=2, p=200))
            work_off(database, intake)
            assert floor(database) == 2
    work_off(database, intake)
    assert floor(database) == 4


def test_the_floor_stands_at_the_newest_message_once_all_are_taken_up(database, clock, intake):
    store(database, clock, *(adt("A28", c=n, p=n) for n in range(limits.APPLY_BATCH + 100)))
    with open_work(database, actor=ACTOR, clock=clock) as work:
        take_up(work, intake)
    assert floor(database) == limits.APPLY_BATCH  # as many as are taken up at once

    work_off(database, intake)
    assert floor(database) == limits.APPLY_BATCH + 100


def test_what_is_received_is_pending_until_it_is_applied(database, clock, intake):
    store(database, clock, *(adt("A28", c=n, p=n) for n in range(3)))
    assert look(database) == (False, True, 3)

    with open_work(database, actor=ACTOR, clock=clock) as work:
        take_up(work, intake)
    assert look(database) == (False, True, 3)

    store(database, clock, adt("A28", c=9, p=9))
    assert look(database) == (False, True, 4)

    work_off(database, intake)
    assert look(database) == (True, False, 0)


def test_pending_messages_are_counted_only_as_far_as_matters(database, clock, monkeypatch):
    monkeypatch.setattr(limits, "PENDING_LIMIT", 5)
    store(database, clock, *(adt("A28", c=n, p=n) for n in range(20)))

    assert count_pending(database) == 6


def test_what_is_new_is_found_by_keys_alone(database, clock, intake):
    """No scan of what was taken up long ago; ten million rows are as good as ten thousand."""
    store(database, clock, *(adt("A28", c=n, p=n % 50) for n in range(3_000)))
    work_off(database, intake)
    statement = sa.select(InboxMessage.seq).where(*untaken(floor(database)))
    explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"

    with database.main.connect() as connection:
        if not database.is_sqlite:
            connection.exec_driver_sql("ANALYZE inbox.inbox_message, inbox_application")
        text = str(statement.compile(database.main, compile_kwargs={"literal_binds": True}))
        plan = str(connection.exec_driver_sql(f"{explain} {text}").all())

    assert "SCAN" not in plan
    assert "Seq Scan" not in plan


@pytest.mark.postgresql
def test_the_proof_does_not_depend_on_the_servers_isolation_level(postgresql, keys):
    with postgresql.main.connect() as connection:
        name = connection.exec_driver_sql("SELECT current_database()").scalar()
        connection.exec_driver_sql(
            f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'repeatable read'"
        )
        connection.commit()
    fresh = Database(postgresql.url, keys)
    with fresh.main.connect() as connection:
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" RESET default_transaction_isolation')
        connection.commit()
    fresh.dispose()


def test_large_messages_are_taken_up_and_applied_bit_by_bit(database, clock, intake, monkeypatch):
    store(database, clock, *(adt("A28", c=n, p=n) for n in range(1, 8)))
    with open_work(database, actor=ACTOR, write=False) as work:
        size = work.scalar(sa.select(sa.func.max(sa.func.length(InboxMessage.raw))))
    monkeypatch.setattr(limits, "BATCH_BYTES", 2 * size + 1)

    taken = []
    for _ in range(5):
        with open_work(database, actor=ACTOR, clock=clock) as work:
            taken.append(take_up(work, intake))
    assert taken == [2, 2, 2, 1, 0]
    assert floor(database) == 7
    done = [process_messages(database, intake) for _ in range(5)]

    assert done == [2, 2, 2, 1, 0]
    assert {row.state for row in applications(database)} == {ApplicationState.APPLIED}


def test_a_message_larger_than_a_batch_goes_alone(database, clock, intake, monkeypatch):
    monkeypatch.setattr(limits, "BATCH_BYTES", 1)
    store(database, clock, adt("A28", c=1), adt("A28", c=2, p=2))
    work_off(database, intake)

    assert [row.state for row in applications(database)] == [ApplicationState.APPLIED] * 2
