"""Storing what arrives, durably, before anybody is told so: one transaction for whatever waits (group commit).

Nothing else is on the way to an acknowledgement (assurance, design rule 1). There is no collection timer: a
transaction takes what came while the one before it ran, which is faster at every load.
"""

import asyncio
import contextlib
import shutil
import threading
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from queue import SimpleQueue
from typing import Any, cast

import sqlalchemy as sa
import structlog

from hcrm.core import limits
from hcrm.core.db import Database, sqlite_path
from hcrm.core.errors import HcrmError
from hcrm.core.faults import fault
from hcrm.inbox.records import CORRECTED_COPY, Incoming, Refused, Stored
from hcrm.inbox.row_series import Place, number_rows
from hcrm.inbox.statements import PostgresqlStatements, SqliteStatements, Statements, Values

Arriving = Incoming | Refused
Outcome = list[Stored] | Exception
"""What became of one submission."""

_REUSED = "control_id_reused"
_TURNS = 2
ONE_WRITER = threading.Lock()
"""SQLite has one inbox connection in a process; several threads may call store_now, and pruning writes too."""
log = structlog.get_logger(__name__)


class StoreUnavailable(HcrmError):
    """The database is away, busy or full: nothing was stored, nobody may be told so, the sender asks again."""

    def __init__(self) -> None:
        super().__init__("inbox.unavailable", "暂时无法保存消息，请稍后重发", status=503)


def store_now(database: Database, arriving: Sequence[Arriving]) -> list[Stored]:
    """Store messages and refusals in one transaction; returns after the commit, in the order handed over.

    A message stored before (same sender, facility, control id and bytes) is not stored again and answered with the
    ACK it got then. The same control id with other bytes is a message of its own, flagged `control_id_reused`.
    Rows of a series get their control ids here (`hcrm.inbox.row_series`).
    """
    rows = [_message_values(database, item) for item in arriving if isinstance(item, Incoming)]
    places = [Place(item.series, item.taking) for item in arriving if isinstance(item, Incoming)]
    refusals = [_refusal_values(database, item) for item in arriving if isinstance(item, Refused)]
    driver = database.inbox.dialect.loaded_dbapi
    try:
        if database.is_sqlite:
            with ONE_WRITER:
                outcome = _write(database, SqliteStatements(), rows, refusals, places)
        else:
            outcome = _write(database, PostgresqlStatements(), rows, refusals, places)
    except (sa.exc.OperationalError, driver.OperationalError, driver.InterfaceError) as error:
        log.error("inbox.store_unavailable", error=type(error).__name__, messages=len(rows))
        raise StoreUnavailable from error
    fault("after_commit_before_ack")
    stored = iter(outcome)
    return [next(stored) if isinstance(item, Incoming) else Stored(0, item.ack) for item in arriving]


def _write(
    database: Database,
    statements: Statements,
    rows: list[list[Any]],
    refusals: list[Values],
    places: list[Place],
) -> list[Stored]:
    """One transaction on the driver's connection; whatever goes wrong, the next one begins on a new connection."""
    stored: list[Stored] = []
    connection = database.inbox.raw_connection()
    try:
        cursor = connection.cursor()
        statements.begin(cursor)
        number_rows(statements, cursor, rows, places)
        for start in range(0, len(rows), limits.COMMIT_BATCH):
            stored += _store_rows(statements, cursor, rows[start : start + limits.COMMIT_BATCH])
        if refusals:
            statements.refuse(cursor, refusals)
        cursor.close()
        fault("before_commit")
        connection.commit()
    except BaseException:
        with contextlib.suppress(Exception):
            connection.rollback()  # a closed SQLite connection keeps its lock while a cursor of it is alive
        connection.invalidate()
        raise
    finally:
        connection.close()
    return [
        each._replace(control_id=row[2]) if place.series else each
        for each, row, place in zip(stored, rows, places, strict=True)
    ]


def _store_rows(statements: Statements, cursor: Any, rows: list[list[Any]]) -> list[Stored]:
    """Sort out what is new, what is a duplicate of a stored row or of one further up, and insert the new."""
    outcome: list[Stored | None] = [None] * len(rows)
    seen: set[tuple[str, ...]] = set()
    for n, seq, ack in statements.known(cursor, rows):
        if seq is None:
            seen.add(tuple(rows[n][:3]))
        else:
            outcome[n] = Stored(seq, cast(bytes, ack), is_duplicate=True)
    first: dict[tuple[Any, ...], int] = {}  # index of the first row with this key
    for n, row in enumerate(rows):
        if outcome[n] is None and first.setdefault(tuple(row[:4]), n) == n:
            name = tuple(row[:3])
            if name in seen and CORRECTED_COPY not in row[9]:
                row[9] = f"{row[9]} {_REUSED}".lstrip()
            seen.add(name)
    fresh = list(first.values())
    if fresh:
        seqs = statements.insert(cursor, [rows[n] for n in fresh])
        for n, seq in zip(fresh, seqs, strict=True):
            outcome[n] = _overtaken(statements, cursor, rows[n]) if seq is None else Stored(seq, rows[n][7])
    for n, row in enumerate(rows):
        if outcome[n] is None:
            outcome[n] = cast(Stored, outcome[first[tuple(row[:4])]])._replace(is_duplicate=True)
    return cast(list[Stored], outcome)


def _overtaken(statements: Statements, cursor: Any, row: Values) -> Stored:
    """The row another listener committed between our search and our insert."""
    ((_, seq, ack),) = statements.known(cursor, [row])
    return Stored(cast(int, seq), cast(bytes, ack), is_duplicate=True)


def _message_values(database: Database, item: Incoming) -> list[Any]:
    sealed, moment = database.keys.seal(item.raw), _stored_moment(database, item.received_at)
    return [*item[:6], sealed, item.ack, item.peer, " ".join(item.flags), moment]


def _refusal_values(database: Database, item: Refused) -> Values:
    sealed, moment = database.keys.seal(item.head), _stored_moment(database, item.received_at)
    said = (item.detail, item.source, item.sender, item.facility, item.control_id, item.subject)
    name = database.keys.seal(item.name.encode("utf-8", "surrogateescape")) if item.name else None
    return (
        moment, item.peer, item.reason, item.size, item.sha256, sealed, *(text or None for text in said),
        item.peer_port, item.door or None, name,
    )  # fmt: skip


def _stored_moment(database: Database, moment: datetime) -> Any:
    """As the column's type would have it, since the statements go past SQLAlchemy."""
    return moment.astimezone(UTC).isoformat(" ", "microseconds")[:-6] if database.is_sqlite else moment


class Committer:
    """Group commit for an event loop: commits in one thread of its own, so that the loop goes on reading.

    `pending` says how many messages wait for the worker; `refresh` asks it.
    """

    def __init__(self, database: Database, *, pending: Callable[[], int] | None = None) -> None:
        self.database = database
        self.is_full = False
        self._pending = pending
        self._question: asyncio.Future[bool] | None = None
        self._waiting: deque[_Order] = deque()
        self._is_busy = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._handed_over: SimpleQueue[tuple[asyncio.AbstractEventLoop, list[_Order]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._commit_orders, name="inbox-commit", daemon=True)
        self._thread.start()

    def submit(self, arriving: Sequence[Arriving], done: Callable[[Outcome], object]) -> None:
        """Store; `done` is called on the loop after the commit, with what was stored in the order handed over.

        Submissions are done in their order. With an exception nothing is stored, and nothing may be answered (A1).
        """
        self._waiting.append(_Order(arriving, done))
        if not self._is_busy:
            self._is_busy = True
            self._idle.clear()
            loop = asyncio.get_running_loop()
            loop.call_soon(self._begin, loop)  # soon: what else arrived in this turn of the loop comes along

    async def store(self, arriving: Sequence[Arriving]) -> list[Stored]:
        """`submit`, to be awaited."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.submit(arriving, future.set_result)
        outcome = await asyncio.shield(future)  # who stops waiting does not stop the commit
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def refresh(self) -> None:
        """See whether messages may go on arriving: not above PENDING_LIMIT, not on a full disk (A8).

        What is not known within PENDING_SECONDS stays as it was; a question still open is not asked a second time.
        """
        question = self._question = self._question or self._ask()
        try:
            async with asyncio.timeout(limits.PENDING_SECONDS):
                self.is_full = await asyncio.shield(question)
        except (sa.exc.SQLAlchemyError, OSError) as error:  # a time-out is an OSError
            log.warning("inbox.pending_unknown", error=type(error).__name__)
        finally:
            if question.done():
                self._question = None

    async def close(self) -> None:
        """Finish what waits, for STOP_SECONDS at most, then let the thread end."""
        try:
            async with asyncio.timeout(limits.STOP_SECONDS):
                await self._idle.wait()
        except TimeoutError:
            log.error(
                "inbox.commits_unfinished", orders=len(self._waiting)
            )  # nobody was told they are stored
        self._handed_over.put(None)

    def _ask(self) -> asyncio.Future[bool]:
        """Ask in a thread nobody waits for at the end: a database that hangs must not keep the process."""
        loop = asyncio.get_running_loop()
        question: asyncio.Future[bool] = loop.create_future()

        def ask() -> None:
            try:
                tell = partial(question.set_result, self._must_stop())
            except Exception as error:  # noqa: BLE001  whoever waits for the answer gets it
                tell = partial(question.set_exception, error)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(tell)

        threading.Thread(target=ask, name="inbox-pending", daemon=True).start()
        return question

    def _must_stop(self) -> bool:
        if self.database.is_sqlite:
            free = shutil.disk_usage(sqlite_path(self.database.url).parent).free
            if free < limits.READY_FREE_BYTES:
                return True
        return self._pending is not None and self._pending() > limits.PENDING_LIMIT

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        orders = self._take()
        if orders:
            self._handed_over.put((loop, orders))
        else:
            self._is_busy = False
            self._idle.set()

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

    def _commit_orders(self) -> None:
        """The thread."""
        while handed_over := self._handed_over.get():
            loop, orders = handed_over
            outcomes = _store_orders(self.database, orders)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._finish, loop, orders, outcomes)

    def _finish(
        self, loop: asyncio.AbstractEventLoop, orders: list["_Order"], outcomes: list[Outcome]
    ) -> None:
        for order, outcome in zip(orders, outcomes, strict=True):
            try:
                order.done(outcome)
            except Exception as error:  # noqa: BLE001  one sender's trouble must not keep the others' answers
                log.error("inbox.answer_failed", error=type(error).__name__)
        self._begin_after(loop, _TURNS)

    def _begin_after(self, loop: asyncio.AbstractEventLoop, turns: int) -> None:
        """Let the loop send the answers and read what they bring, so that those senders come along at once.

        Begun earlier, a transaction finds only the other half of the senders waiting, and so for ever: twice the
        commits for the same messages.
        """
        if turns:
            loop.call_soon(partial(self._begin_after, loop, turns - 1))
        else:
            self._begin(loop)


class _Order:
    """What one caller wants stored, and how it is told."""

    __slots__ = ("arriving", "done", "size")

    def __init__(self, arriving: Sequence[Arriving], done: Callable[[Outcome], object]) -> None:
        self.arriving = arriving
        self.done = done
        self.size = sum([len(item.raw) for item in arriving if isinstance(item, Incoming)])


def _store_orders(database: Database, orders: list[_Order]) -> list[Outcome]:
    """All in one transaction. If the database is there but refuses, one by one, so that only the culprit fails."""
    try:
        stored = iter(store_now(database, [item for order in orders for item in order.arriving]))
        return [[next(stored) for _ in order.arriving] for order in orders]
    except StoreUnavailable as error:
        return [error] * len(orders)
    except Exception as error:  # noqa: BLE001  whatever it is: nobody may be told his message is stored
        log.error("inbox.commit_failed", error=type(error).__name__, orders=len(orders))
        if len(orders) == 1:
            return [error]
    return [_store_orders(database, [order])[0] for order in orders]
