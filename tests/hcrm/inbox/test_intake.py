"""Storing before acknowledging: duplicates, re-used control ids, group commit, failures."""

import asyncio
import hashlib
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hcrm.core import limits
from hcrm.core.db import LISTENER, Database
from hcrm.inbox import intake
from hcrm.inbox.intake import Committer, StoreUnavailable, store_now
from hcrm.inbox.models import InboxMessage, RefusedMessage
from hcrm.inbox.records import Incoming, Refused, Stored
from hcrm.inbox.statements import PostgresqlStatements, SqliteStatements

AT = datetime(2026, 11, 22, 2, 0, 0, 123456, tzinfo=UTC)


def incoming(control_id: str = "7", body: str = "张三", **changes: Any) -> Incoming:
    raw = f"MSH|{control_id}|{body}".encode()
    item = Incoming(
        "HIS", "H1", control_id, hashlib.sha256(raw).digest(), "ADT^A01", "hl7v2", raw,
        f"ack {control_id} {body}".encode(), "10.0.0.9", (), AT,
    )  # fmt: skip
    return item._replace(**changes)


def refused(ack: bytes = b"") -> Refused:
    return Refused("half_frame", 99, b"\x01" * 32, b"head", "10.0.0.9", AT, ack=ack)


def rows(database: Database) -> list[InboxMessage]:
    with sa.orm.Session(database.inbox) as session:
        return list(session.scalars(sa.select(InboxMessage).order_by(InboxMessage.seq)))


def committing(database: Database, act: Callable[[Committer], Awaitable[Any]], **options: Any) -> Any:
    """Run an act with a committer on a loop of its own."""

    async def run() -> Any:
        committer = Committer(database, **options)
        try:
            return await act(committer)
        finally:
            await committer.close()

    return asyncio.run(run())


def test_a_message_is_stored_as_received_and_sealed(database):
    (stored,) = store_now(
        database, [incoming(flags=("batch_count",), received_at=AT.astimezone(timezone(timedelta(hours=8))))]
    )

    (row,) = rows(database)
    assert (row.seq, row.sender, row.facility, row.control_id, row.kind, row.format, row.ack, row.peer, row.flags) == (
        stored.seq, "HIS", "H1", "7", "ADT^A01", "hl7v2", stored.ack, "10.0.0.9", "batch_count",
    )  # fmt: skip
    assert row.received_at == AT
    assert database.keys.open(row.raw) == "MSH|7|张三".encode()
    assert "张三".encode() not in row.raw


def test_a_resend_adds_no_row_and_gets_the_answer_of_the_first(database):
    (first,) = store_now(database, [incoming()])
    (second,) = store_now(database, [incoming(ack=b"another answer", received_at=AT + timedelta(1))])

    assert second == Stored(first.seq, first.ack, is_duplicate=True)
    assert len(rows(database)) == 1


def test_the_same_control_id_with_other_content_is_a_message_of_its_own(database):
    store_now(database, [incoming(body="one")])
    store_now(database, [incoming(body="two", flags=("batch_count",)), incoming("8")])

    assert [(row.control_id, row.flags) for row in rows(database)] == [
        ("7", ""), ("7", "batch_count control_id_reused"), ("8", ""),
    ]  # fmt: skip


def test_sender_and_facility_belong_to_the_key(database):
    store_now(database, [incoming(), incoming(sender="LIS"), incoming(facility="H2")])

    assert [row.flags for row in rows(database)] == ["", "", ""]


def test_duplicates_within_one_transaction_are_found_too(database):
    store_now(database, [incoming("1", "old")])

    outcome = store_now(
        database,
        [incoming("1", "new"), incoming("1", "old"), incoming("2"), incoming("1", "new"), incoming("2", "x")],
    )

    assert [stored.is_duplicate for stored in outcome] == [False, True, False, True, False]
    assert [stored.ack for stored in outcome] == [
        b"ack 1 new",
        b"ack 1 old",
        "ack 2 张三".encode(),
        b"ack 1 new",
        b"ack 2 x",
    ]
    assert [(row.control_id, row.flags) for row in rows(database)] == [
        ("1", ""), ("1", "control_id_reused"), ("2", ""), ("2", "control_id_reused"),
    ]  # fmt: skip
    assert outcome[0].seq == outcome[3].seq


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    batches=st.lists(
        st.lists(st.tuples(st.sampled_from("123"), st.sampled_from("abc")), max_size=6), max_size=4
    )
)
def test_however_messages_are_grouped_each_content_is_stored_once(database, batches):
    with database.inbox.begin() as connection:
        connection.execute(sa.delete(InboxMessage))

    outcome = [
        stored for batch in batches for stored in store_now(database, [incoming(*key) for key in batch])
    ]

    keys = [key for batch in batches for key in batch]
    seqs: dict[tuple[str, str], int] = {}
    for key, stored in zip(keys, outcome, strict=True):
        assert stored.is_duplicate == (key in seqs)
        assert stored.seq == seqs.setdefault(key, stored.seq)
        assert stored.ack == f"ack {key[0]} {key[1]}".encode()
    stored_rows = rows(database)
    assert [row.seq for row in stored_rows] == list(seqs.values())  # in the order of arrival
    seen = [control_id for control_id, _ in seqs]
    assert [row.flags == "control_id_reused" for row in stored_rows] == [
        name in seen[:n] for n, name in enumerate(seen)
    ]


def test_more_messages_than_one_statement_takes_are_one_transaction(database):
    count = limits.COMMIT_BATCH + 10

    outcome = store_now(database, [incoming(str(n)) for n in range(count)])

    assert [row.control_id for row in rows(database)] == [str(n) for n in range(count)]
    assert [stored.seq for stored in outcome] == [row.seq for row in rows(database)]


def test_a_control_id_used_ten_thousand_times_costs_no_more_than_another(database):
    """A sender that never counts: its rows are probed for, not fetched."""
    store_now(database, [incoming("1", str(n)) for n in range(2_000)])

    fetched = _known(database, [incoming("1", "new")])

    assert fetched == [(0, None, None)]


def _known(database: Database, items: list[Incoming]) -> list[Any]:
    statements = SqliteStatements() if database.is_sqlite else PostgresqlStatements()
    connection = database.inbox.raw_connection()
    try:
        return [tuple(row) for row in statements.known(connection.cursor(), [item[:4] for item in items])]
    finally:
        connection.close()


def test_refusals_are_logged_in_the_same_transaction_and_carry_their_own_answer(database):
    outcome = store_now(database, [refused(), incoming(), refused(b"AE")])

    assert [stored.ack for stored in outcome] == [b"", "ack 7 张三".encode(), b"AE"]
    with sa.orm.Session(database.inbox) as session:
        logged = list(session.scalars(sa.select(RefusedMessage)))
    assert [(row.reason, row.size, row.peer, row.received_at) for row in logged] == [
        ("half_frame", 99, "10.0.0.9", AT)
    ] * 2
    assert database.keys.open(logged[0].head) == b"head"


def test_several_threads_may_store_at_once(database):
    threads = [
        threading.Thread(
            target=lambda n=n: [
                store_now(database, [incoming(f"{n}-{k}"), incoming("same")]) for k in range(10)
            ]
        )
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(rows(database)) == 41


# ── the committer ───────────────────────────────────────────────────────────


def count_commits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    points: list[str] = []
    monkeypatch.setattr(
        intake, "fault", lambda point: points.append(point) if point == "before_commit" else None
    )
    return points


def test_what_waits_is_committed_together_and_answered_in_order(database, monkeypatch):
    commits = count_commits(monkeypatch)

    async def act(committer: Committer) -> list[list[Stored]]:
        return await asyncio.gather(
            *(committer.store([incoming(str(n)), incoming(f"{n}b")]) for n in range(50))
        )

    outcome = committing(database, act)

    assert [stored.ack.split()[1] for pair in outcome for stored in pair] == [
        name for n in range(50) for name in (f"{n}".encode(), f"{n}b".encode())
    ]
    assert len(commits) == 1
    assert [row.control_id for row in rows(database)] == [
        name for n in range(50) for name in (f"{n}", f"{n}b")
    ]


def test_a_transaction_is_cut_at_its_limits_but_never_inside_one_order(database, monkeypatch):
    monkeypatch.setattr(limits, "COMMIT_BATCH", 3)
    commits = count_commits(monkeypatch)

    async def act(committer: Committer) -> None:
        await asyncio.gather(*(committer.store([incoming(f"{n}-{k}") for k in range(2)]) for n in range(4)))

    committing(database, act)

    assert len(commits) == 4
    assert len(rows(database)) == 8


def test_a_message_the_database_refuses_fails_alone(database):
    async def act(committer: Committer) -> list[Any]:
        poison = incoming("2", sender=None)
        return await asyncio.gather(
            *(committer.store([item]) for item in (incoming("1"), poison, incoming("3"))),
            return_exceptions=True,
        )

    outcome = committing(database, act)

    assert [isinstance(result, Exception) for result in outcome] == [False, True, False]
    assert [row.control_id for row in rows(database)] == ["1", "3"]


def test_while_the_database_is_away_every_order_fails_and_afterwards_all_goes_on(database_url, keys):
    database = Database(database_url, keys, use=replace(LISTENER, busy_seconds=0.2))
    other = Database(database_url, keys)

    async def act(committer: Committer) -> list[Any]:
        with other.inbox.begin() as locking:
            if database.is_sqlite:
                first = await asyncio.gather(committer.store([incoming("1")]), return_exceptions=True)
            else:
                locking.exec_driver_sql("LOCK TABLE inbox.inbox_message IN ACCESS EXCLUSIVE MODE")
                waiting = asyncio.ensure_future(committer.store([incoming("1")]))
                await asyncio.sleep(0.2)
                locking.exec_driver_sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE pid <> pg_backend_pid() AND datname = current_database()"
                )
                first = await asyncio.gather(waiting, return_exceptions=True)
        return [*first, await committer.store([incoming("2")])]

    failed, stored = committing(database, act)

    assert isinstance(failed, StoreUnavailable)
    assert [row.control_id for row in rows(database)] == ["2"]
    assert not stored[0].is_duplicate
    database.dispose()
    other.dispose()


def test_too_many_waiting_messages_stop_the_intake_until_the_worker_has_caught_up(database):
    waiting = [limits.PENDING_LIMIT + 1]

    async def act(committer: Committer) -> list[bool]:
        found = [committer.is_full]
        for waiting[0] in (limits.PENDING_LIMIT + 1, limits.PENDING_LIMIT):
            await committer.refresh()
            found.append(committer.is_full)
        return found

    assert committing(database, act, pending=lambda: waiting[0]) == [False, True, False]


def test_a_full_disk_stops_the_intake(database, monkeypatch):
    monkeypatch.setattr(limits, "READY_FREE_BYTES", 1 << 60)

    async def act(committer: Committer) -> bool:
        await committer.refresh()
        return committer.is_full

    assert committing(database, act) is database.is_sqlite  # PostgreSQL's disk is not ours to see


def test_a_caller_that_went_away_does_not_disturb_the_others(database):
    async def act(committer: Committer) -> list[Stored]:
        gone = asyncio.ensure_future(committer.store([incoming("1")]))
        await asyncio.sleep(0)
        gone.cancel()
        return await committer.store([incoming("2")])

    assert committing(database, act)[0].ack == "ack 2 张三".encode()
    assert [row.control_id for row in rows(database)] == ["1", "2"]


@pytest.mark.parametrize("size", [1, 2, 31])
def test_seqs_are_those_of_the_rows(database, size):
    outcome = store_now(database, [incoming(str(n)) for n in range(size)])

    with database.inbox.connect() as connection:
        found = dict(connection.execute(sa.select(InboxMessage.control_id, InboxMessage.seq)).all())
    assert {str(n): stored.seq for n, stored in enumerate(outcome)} == found


@pytest.mark.parametrize("trouble", [OSError("no such disk"), sa.exc.SQLAlchemyError("gone")])
def test_how_much_waits_cannot_be_asked_and_all_goes_on(database, trouble):
    answers = [True, trouble, False]

    def pending() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return limits.PENDING_LIMIT + answer

    async def act(committer: Committer) -> list[bool]:
        found = []
        for _ in range(3):
            await committer.refresh()
            found.append(committer.is_full)
        return found

    assert committing(database, act, pending=pending) == [True, True, False]


def test_a_database_that_hangs_is_asked_once_and_answers_when_it_can(database, monkeypatch):
    monkeypatch.setattr(limits, "PENDING_SECONDS", 0.1)
    asked, may_answer = [0], threading.Event()

    def pending() -> int:
        asked[0] += 1
        may_answer.wait(10)
        return limits.PENDING_LIMIT + 1

    async def act(committer: Committer) -> None:
        for _ in range(3):
            await committer.refresh()
        assert (asked[0], committer.is_full) == (1, False)
        may_answer.set()
        await committer.refresh()
        assert (asked[0], committer.is_full) == (1, True)
        await committer.refresh()
        assert asked[0] == 2

    committing(database, act, pending=pending)
    assert asked[0] == 2
