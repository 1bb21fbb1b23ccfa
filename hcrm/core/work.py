"""The unit of work: one actor, one transaction, one clock. Only entry points open one."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from hcrm.core.actor import Actor
from hcrm.core.bulk import insert_rows
from hcrm.core.clock import Clock, SystemClock
from hcrm.core.crypto import KeyRing
from hcrm.core.db import Base, Database, table_of
from hcrm.core.errors import NotFoundError
from hcrm.core.events import Event, Fact
from hcrm.core.ids import new_id as make_id

Row = dict[str, Any]
M = TypeVar("M", bound=Base)


class Work:
    """What a service is handed first: the transaction, who acts, the time, new keys and the sealing keys."""

    def __init__(
        self,
        session: Session,
        *,
        actor: Actor,
        clock: Clock,
        keys: KeyRing,
        new_id: Callable[[], str] = make_id,
    ) -> None:
        self.session = session
        self.actor = actor
        self.clock = clock
        self.keys = keys
        self.new_id = new_id
        self.events: list[Fact] = []
        self._deferred: dict[type[Base], list[Row]] = {}

    # reading
    def execute(self, statement: sa.Executable, rows: Sequence[Row] | Row | None = None) -> sa.Result[Any]:
        """Run a statement; a list of rows makes it an executemany."""
        return self.session.execute(statement, rows)

    def scalars(self, statement: sa.Select[Any]) -> Sequence[Any]:
        """All first columns."""
        return self.session.scalars(statement).all()

    def scalar(self, statement: sa.Executable) -> Any:
        """The first column of the first row, or None."""
        return self.session.scalar(statement)

    def get(self, model: type[M], key: Any) -> M:
        """The row of that key; NotFoundError where there is none."""
        found = self.session.get(model, key)
        if found is None:
            raise NotFoundError
        return found

    def one(self, model: type[M], *where: Any) -> M:
        """The only row that fits."""
        return self.session.scalars(sa.select(model).where(*where)).one()

    def all(self, model: type[M], *where: Any) -> Sequence[M]:
        """Every row that fits; for small tables and tests."""
        return self.session.scalars(sa.select(model).where(*where)).all()

    def among(self, column: Any, keys: Iterable[str]) -> sa.ColumnElement[bool]:
        """`column IN (…)` over many keys as one parameter, so that the statement is the same for any number."""
        wanted: list[str] = sorted(set(keys))
        if self.session.get_bind().dialect.name == "sqlite":
            each = sa.func.json_each(json.dumps(wanted)).table_valued("value")
            found: sa.ColumnElement[bool] = column.in_(sa.select(each.c.value))
        else:
            found = column == sa.any_(sa.literal(wanted, postgresql.ARRAY(sa.Text)))
        return found

    # writing
    def add(self, row: Base) -> None:
        """One mapped row, flushed at once so that a refusal comes where it belongs."""
        self.session.add(row)
        self.session.flush()

    def insert(self, model: type[Base], rows: Sequence[Row]) -> None:
        """Many rows in one statement."""
        if rows:
            insert_rows(self.session.connection(), model, rows)

    def insert_new(self, model: type[Base], rows: Sequence[Row]) -> list[str]:
        """Many rows in one statement, those that stand already left alone; the keys that went in."""
        if not rows:
            return []
        connection = self.session.connection()
        with connection.begin_nested() as savepoint:
            if insert_rows(connection, model, rows, only_new=True) == len(rows):
                return [row["id"] for row in rows]
            savepoint.rollback()
        # Some stand: only a statement that returns its rows tells which, and it is several times slower.
        table = table_of(model)
        insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
        statement = insert(table).on_conflict_do_nothing().returning(table.c.id)
        return list(self.session.scalars(statement, list(rows)))

    def update_rows(self, model: type[Base], rows: Sequence[Row], *, key: str = "id") -> None:
        """Many rows by key in one executemany; every row names the same columns."""
        if rows:
            table = table_of(model)
            names = [name for name in rows[0] if name != key]
            statement = (
                sa.update(table)
                .where(table.c[key] == sa.bindparam("b_key"))
                .values({name: sa.bindparam(f"b_{name}") for name in names})
            )
            values = [{"b_key": row[key], **{f"b_{name}": row[name] for name in names}} for row in rows]
            self.session.connection().execute(statement, values)

    def emit(self, fact: Fact) -> None:
        """Something happened; the row is written when the work closes."""
        self.events.append(fact)

    def emit_all(self, facts: Iterable[Fact]) -> None:
        """Many things happened."""
        self.events.extend(facts)

    def defer(self, model: type[Base], row: Row) -> None:
        """A row to be written when the work closes, whatever kind of work it is: audit of reads."""
        self._deferred.setdefault(model, []).append(row)

    def undefer(self, model: type[Base], is_moot: Callable[[Row], bool]) -> None:
        """Let go of rows that wait and need not be written after all."""
        kept = [row for row in self._deferred.pop(model, []) if not is_moot(row)]
        if kept:
            self._deferred[model] = kept

    def flush(self) -> None:
        """Write what waits: events first, then deferred rows."""
        self.session.flush()
        if self.events:
            now = self.clock.now()
            self.insert(
                Event,
                [
                    {"id": self.new_id(), "kind": type(fact).__name__, "payload": fact.payload(), "recorded_at": now,
                     "is_delivered": False}
                    for fact in self.events
                ],
            )  # fmt: skip
            self.events = []
        for model, rows in self._deferred.items():
            self.insert(model, rows)
        self._deferred = {}

    def take_deferred(self) -> dict[type[Base], list[Row]]:
        """What a reading work could not write itself."""
        rows, self._deferred = self._deferred, {}
        return rows


@contextmanager
def open_work(
    database: Database, *, actor: Actor, clock: Clock | None = None, write: bool = True,
    new_id: Callable[[], str] = make_id,
) -> Iterator[Work]:  # fmt: skip
    """Begin, commit on leaving, roll back on error.

    A reading work holds no write lock; what it deferred (audit of reads) is committed in a short writing
    transaction before the caller goes on, and if that fails the caller gets the error and no data (W4).
    """
    clock = clock or SystemClock()
    engine = database.writer if write else database.main
    with Session(engine, expire_on_commit=False) as session:
        work = Work(session, actor=actor, clock=clock, keys=database.keys, new_id=new_id)
        with session.begin():
            session.connection()  # BEGIN now: a lock that must wait should wait before the work, not inside it
            yield work
            if write:
                work.flush()
    deferred = work.take_deferred()
    if deferred:
        with Session(database.writer) as session, session.begin():
            for model, rows in deferred.items():
                session.execute(sa.insert(table_of(model)), rows)
