"""Storing what arrives, durably, before anybody is told so: one transaction for whatever waits (group commit).

Nothing else is on the way to an acknowledgement (assurance, design rule 1). There is no collection timer: the
next transaction begins when the last one ends and takes what came meanwhile, which is faster at every load.
"""

import asyncio
import shutil
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import sqlalchemy as sa
import structlog

from hcrm.core import limits
from hcrm.core.db import Database, sqlite_path
from hcrm.core.faults import fault
from hcrm.inbox.models import RefusedMessage
from hcrm.inbox.records import Incoming, Refused, Stored
from hcrm.inbox.statements import PostgresqlStatements, SqliteStatements, Statements, Values

Arriving = Incoming | Refused

_TURNS = int(__import__("os").environ.get("TURNS", "2"))
_REUSED = "control_id_reused"
_ONE_WRITER = (
    threading.Lock()
)  # SQLite has one inbox connection in a process, several threads may call store_now
log = structlog.get_logger(__name__)


def store_now(database: Database, arriving: Sequence[Arriving]) -> list[Stored]:
    """Store messages and refusals in one transaction; returns after the commit, in the order handed over.

    A message stored before (same sender, facility, control id and bytes) is not stored again and answered with the
    ACK it got then. The same control id with other bytes is a message of its own, flagged `control_id_reused`.
    """
    rows = [_message_values(database, item) for item in arriving if isinstance(item, Incoming)]
    refusals = [_refusal_values(database, item) for item in arriving if isinstance(item, Refused)]
    if database.is_sqlite:
        with _ONE_WRITER:
            outcome = _write(database, rows, refusals)
    else:
        outcome = _write(database, rows, refusals)
    fault("after_commit_before_ack")
    stored = iter(outcome)
    return [next(stored) if isinstance(item, Incoming) else Stored(0, item.ack) for item in arriving]


def _write(database: Database, rows: list[list[Any]], refusals: list[dict[str, Any]]) -> list[Stored]:
    statements: Statements = SqliteStatements() if database.is_sqlite else PostgresqlStatements()
    stored: list[Stored] = []
    with database.inbox.begin() as connection:
        for start in range(0, len(rows), limits.COMMIT_BATCH):
            stored += _store_rows(statements, connection, rows[start : start + limits.COMMIT_BATCH])
        if refusals:
            connection.execute(sa.insert(RefusedMessage), refusals)
        fault("before_commit")
    return stored


def _store_rows(statements: Statements, connection: sa.Connection, rows: list[list[Any]]) -> list[Stored]:
    """Sort out what is new, what is a duplicate of a stored row or of one further up, and insert the new."""
    outcome: list[Stored | None] = [None] * len(rows)
    seen: set[tuple[str, ...]] = set()
    for n, seq, ack in statements.known(connection, rows):
        if seq is None:
            seen.add(tuple(rows[n][:3]))
        else:
            outcome[n] = Stored(seq, cast(bytes, ack), is_duplicate=True)
    first: dict[tuple[Any, ...], int] = {}  # index of the first row with this key
    for n, row in enumerate(rows):
        if outcome[n] is None and first.setdefault(tuple(row[:4]), n) == n:
            name = tuple(row[:3])
            if name in seen:
                row[9] = f"{row[9]} {_REUSED}".lstrip()
            seen.add(name)
    fresh = list(first.values())
    if fresh:
        seqs = statements.insert(connection, [rows[n] for n in fresh])
        for n, seq in zip(fresh, seqs, strict=True):
            outcome[n] = (
                _overtaken(statements, connection, rows[n]) if seq is None else Stored(seq, rows[n][7])
            )
    for n, row in enumerate(rows):
        if outcome[n] is None:
            outcome[n] = cast(Stored, outcome[first[tuple(row[:4])]])._replace(is_duplicate=True)
    return cast(list[Stored], outcome)


def _overtaken(statements: Statements, connection: sa.Connection, row: Values) -> Stored:
    """The row another listener committed between our search and our insert."""
    ((_, seq, ack),) = statements.known(connection, [row])
    return Stored(cast(int, seq), cast(bytes, ack), is_duplicate=True)


def _message_values(database: Database, item: Incoming) -> list[Any]:
    sealed, moment = database.keys.seal(item.raw), _stored_moment(database, item.received_at)
    return [*item[:6], sealed, item.ack, item.peer, " ".join(item.flags), moment]


def _refusal_values(database: Database, item: Refused) -> dict[str, Any]:
    return {
        "received_at": item.received_at, "peer": item.peer, "reason": item.reason, "size": item.size,
        "sha256": item.sha256, "head": database.keys.seal(item.head),
    }  # fmt: skip


def _stored_moment(database: Database, moment: datetime) -> Any:
    """As the column's type would have it, since the statements go past SQLAlchemy."""
    return moment.astimezone(UTC).isoformat(" ", "microseconds")[:-6] if database.is_sqlite else moment


class Committer:
    """Group commit for an event loop: commits in one thread of its own, so that the loop goes on reading.

    `pending` says how many messages wait for the worker; it is asked in that thread by `refresh`.
    """

    def __init__(self, database: Database, *, pending: Callable[[], int] | None = None) -> None:
        self.database = database
        self.is_full = False
        self._pending = pending
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inbox-commit")
        self._waiting: deque[_Order] = deque()
        self._is_busy = False
        self._idle = asyncio.Event()
        self._idle.set()

    def store(self, arriving: Sequence[Arriving]) -> "asyncio.Future[list[Stored]]":
        """Await the commit; the outcome comes in the order handed over. If it fails, answer nothing (A1)."""
        loop = asyncio.get_running_loop()
        order = _Order(arriving, loop.create_future())
        self._waiting.append(order)
        if not self._is_busy:
            self._is_busy = True
            self._idle.clear()
            loop.call_soon(self._begin, loop)  # soon: what else arrived in this turn of the loop comes along
        return order.future

    async def refresh(self) -> None:
        """See whether messages may go on arriving: not above PENDING_LIMIT, not on a full disk (A8)."""
        try:
            self.is_full = await asyncio.get_running_loop().run_in_executor(self._thread, self._must_stop)
        except sa.exc.SQLAlchemyError as error:
            log.warning("inbox.pending_unknown", error=type(error).__name__)

    async def close(self) -> None:
        """Finish what waits, for STOP_SECONDS at most, then let go of the thread."""
        try:
            async with asyncio.timeout(limits.STOP_SECONDS):
                await self._idle.wait()
        except TimeoutError:
            log.error(
                "inbox.commits_unfinished", orders=len(self._waiting)
            )  # nobody was told they are stored
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _must_stop(self) -> bool:
        if self.database.is_sqlite:
            free = shutil.disk_usage(sqlite_path(self.database.url).parent).free
            if free < limits.READY_FREE_BYTES:
                return True
        return self._pending is not None and self._pending() > limits.PENDING_LIMIT

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        orders = self._take()
        if not orders:
            self._is_busy = False
            self._idle.set()
            return
        done = loop.run_in_executor(self._thread, _store_orders, self.database, orders)
        done.add_done_callback(lambda finished: self._finish(loop, orders, finished.result()))

    def _take(self) -> list["_Order"]:
        """Whole orders up to the size of one transaction, one at least."""
        orders: list[_Order] = []
        count = size = 0
        while self._waiting:
            order = self._waiting[0]
            count += len(order.arriving)
            size += order.size
            if orders and (count > limits.COMMIT_BATCH or size > limits.COMMIT_BYTES):
                break
            orders.append(self._waiting.popleft())
        return orders

    def _finish(
        self,
        loop: asyncio.AbstractEventLoop,
        orders: list["_Order"],
        outcomes: "list[list[Stored] | Exception]",
    ) -> None:
        for order, outcome in zip(orders, outcomes, strict=True):
            if order.future.done():
                continue  # nobody waits any more
            if isinstance(outcome, Exception):
                order.future.set_exception(outcome)
            else:
                order.future.set_result(outcome)
        self._begin_after(loop, turns=_TURNS)

    def _begin_after(self, loop: asyncio.AbstractEventLoop, *, turns: int) -> None:
        """Let the loop send the answers and read what they bring: those senders come along in this transaction.

        Begun at once, it would take only the other half of the senders, and so for ever, with twice the commits.
        """
        if turns:
            loop.call_soon(partial(self._begin_after, loop, turns=turns - 1))
        else:
            self._begin(loop)


class _Order:
    """What one caller wants stored, and its promise."""

    __slots__ = ("arriving", "future", "size")

    def __init__(self, arriving: Sequence[Arriving], future: "asyncio.Future[list[Stored]]") -> None:
        self.arriving = arriving
        self.future = future
        self.size = sum(len(item.raw) for item in arriving if isinstance(item, Incoming))


def _store_orders(database: Database, orders: list[_Order]) -> "list[list[Stored] | Exception]":
    """All in one transaction. If the database is there but refuses, one by one, so that only the culprit fails."""
    try:
        stored = iter(store_now(database, [item for order in orders for item in order.arriving]))
        return [[next(stored) for _ in order.arriving] for order in orders]
    except Exception as error:  # noqa: BLE001  whatever it is: nobody may be told his message is stored
        log.error("inbox.commit_failed", error=type(error).__name__, orders=len(orders))
        if len(orders) == 1 or isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError)):
            return [error] * len(orders)
    return [_store_orders(database, [order])[0] for order in orders]
