"""Views of other systems' databases, read by watermark: each row becomes a message, stored before the mark moves.

Read-only, in pages, with time-outs. What came late, below the mark, is found by reading a while back each time; the
inbox knows the rows it has. Rows with one and the same mark are told apart by the view's key, so a page may end
between them.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Engine, make_url

from hcrm.core import limits
from hcrm.core.channels import ReadOnlyView, View
from hcrm.core.db import Database
from hcrm.core.errors import HcrmError
from hcrm.core.sources import Source
from hcrm.inbox.intake import store_now
from hcrm.inbox.pressure import is_full
from hcrm.inbox.turns import Turn
from hcrm.inbox.view_rows import view_messages

_DRIVERS: Final = {
    "postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql",
    "oracle": "oracle+oracledb", "mssql": "mssql+pymssql",
}  # fmt: skip
_STAMP: Final = "%Y%m%d%H%M%S"
Mark = datetime | date | int | Decimal | str


class ViewUnreadable(HcrmError):
    """The view cannot be read as the source's file says; the code says why, and never a value or a password."""


def poll_view(database: Database, source: Source, turn: Turn) -> int:
    """Read what is new, a page at a time; how many rows were new to the inbox."""
    view = source.view
    assert view is not None
    engine = open_view(view)
    try:
        return _read_pages(database, source, view, turn, engine)
    finally:
        engine.dispose()


def open_view(view: ReadOnlyView) -> Engine:
    """An engine that can only read, and does not wait for ever."""
    url = make_url(view.url)
    url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
    secret = password_of(view)
    if secret is not None:
        url = url.set(password=secret)
    try:
        engine = sa.create_engine(url, poolclass=sa.pool.NullPool, connect_args=_connect_args(url, view))
    except (ModuleNotFoundError, sa.exc.NoSuchModuleError) as error:
        raise ViewUnreadable("view.driver", f"没有安装 {url.drivername} 的驱动") from error
    if url.get_backend_name() in ("sqlite", "oracle"):
        event.listen(engine, "connect", _SET_UP[url.get_backend_name()](view))
    return engine


def password_of(view: ReadOnlyView) -> str | None:
    """The password from where it is kept; None where the database asks for none."""
    if view.password_env:
        found = os.environ.get(view.password_env)
        if not found:
            raise ViewUnreadable("view.password", f"环境变量 {view.password_env} 没有设置")
        return found
    if view.password_file is not None:
        try:
            return view.password_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ViewUnreadable("view.password", "读不到视图的密码文件") from error
    return None


def _connect_args(url: URL, view: ReadOnlyView) -> dict[str, Any]:
    wait, statement = int(limits.CONNECT_SECONDS), int(view.statement_seconds)
    backend = url.get_backend_name()
    if backend == "postgresql":
        options = f"-c default_transaction_read_only=on -c statement_timeout={statement * 1000}"
        return {"connect_timeout": wait, "options": options}
    if backend in ("mysql", "mariadb"):
        return {"connect_timeout": wait, "read_timeout": statement, "write_timeout": statement,
                "init_command": "SET SESSION TRANSACTION READ ONLY"}  # fmt: skip
    if backend == "mssql":  # a read-only login is the hospital's; ApplicationIntent stands in the address
        return {"login_timeout": wait, "timeout": statement} if url.get_driver_name() == "pymssql" else {}
    return {"tcp_connect_timeout": float(wait)} if backend == "oracle" else {}


def _sqlite_set_up(_view: ReadOnlyView) -> Callable[[Any, Any], None]:
    return lambda connection, _record: connection.execute("PRAGMA query_only = ON")


def _oracle_set_up(view: ReadOnlyView) -> Callable[[Any, Any], None]:
    def set_up(connection: Any, _record: Any) -> None:
        connection.call_timeout = int(view.statement_seconds * 1000)

    return set_up


_SET_UP: Final = {"sqlite": _sqlite_set_up, "oracle": _oracle_set_up}


# ── pages ───────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Place:
    """Where a page ended: the mark and the key of its last row."""

    values: tuple[Any, ...]


def _read_pages(database: Database, source: Source, view: View, turn: Turn, engine: Engine) -> int:
    now = turn.clock.now()
    highest = decode_mark(turn.watermark) if turn.watermark else first_mark(view)
    low = back(highest, view.overlap) if turn.watermark else highest
    latest = now.astimezone(source.zoneinfo)
    place: _Place | None = None
    new = 0
    with engine.connect() as connection:
        if engine.dialect.name == "oracle":
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        while True:
            if is_full(database):
                raise HcrmError("inbox.full", "等待处理的消息过多或磁盘将满", status=503)
            *rows, extra = [*connection.execute(page_of(view, low, place)).mappings(), None]
            if len(rows) > view.batch:
                extra = rows.pop()
            connection.rollback()  # nothing of theirs is held while ours is written
            if not rows:
                break
            fresh = _store(database, source, view, rows, turn)
            new += fresh
            highest = _highest(highest, rows, view, latest)
            turn.advance(
                rows=len(rows), new=fresh, watermark=encode_mark(highest) if highest is not None else None
            )
            if extra is None:
                break
            place = _next_place(rows[-1], extra, view)
    return new


def _store(
    database: Database, source: Source, view: View, rows: Sequence[Mapping[Any, Any]], turn: Turn
) -> int:
    messages = view_messages(database, source, view, rows, at=turn.clock.now())
    return sum(not stored.is_duplicate for stored in store_now(database, messages))


def page_of(view: View, low: Mark | None, place: _Place | None) -> sa.Select[Any]:
    """One page in the order of mark and key, from `low` on, after `place`."""
    names = list(dict.fromkeys([*view.columns.values(), view.watermark, *view.key]))
    columns: dict[str, sa.ColumnClause[Any]] = {name: sa.column(name) for name in names}
    schema, _, table = view.name.rpartition(".")
    order = [columns[view.watermark], *(columns[name] for name in view.key)]
    statement = (
        sa.select(*columns.values())
        .select_from(sa.table(table, schema=schema or None))
        .order_by(*order)
        .limit(view.batch + 1)  # one more, to see whether the page ends between rows it cannot tell apart
    )
    if place is not None:
        after = [
            sa.and_(*(order[n] == place.values[n] for n in range(at)), order[at] > place.values[at])
            for at in range(len(order))
        ]
        return statement.where(sa.or_(*after))
    mark = columns[view.watermark]
    return statement.where(mark.is_not(None) if low is None else mark >= low)


def _next_place(last: Mapping[Any, Any], following: Mapping[Any, Any], view: View) -> _Place:
    """Where the next page begins: behind the last row, which the key must tell from the one that follows it."""
    place, beyond = (
        _Place(tuple(row[name] for name in (view.watermark, *view.key))) for row in (last, following)
    )
    if any(value is None for value in place.values):
        raise ViewUnreadable("view.key_empty", "视图的 key 列中有空值，无法分页")
    if place == beyond:
        raise ViewUnreadable("view.key_repeats", "视图的 key 列不能区分各行，无法分页")
    return place


# ── marks ───────────────────────────────────────────────────────────────────


def _highest(
    mark: Mark | None, rows: Sequence[Mapping[Any, Any]], view: View, latest: datetime
) -> Mark | None:
    """The highest mark read so far, but no time still to come: a slip in the year would hide all that follows."""
    found = [mark] if mark is not None else []
    for row in rows:
        value = row[view.watermark]
        if value is None or isinstance(value, float):
            value = None if value is None else Decimal(repr(value))
        if isinstance(value, Mark) and not _is_ahead(value, latest):
            found.append(value)
    try:
        return max(found, default=None)
    except TypeError as error:
        raise ViewUnreadable("view.watermark", "视图的 watermark 列的类型变了") from error


def _is_ahead(value: Mark, latest: datetime) -> bool:
    if isinstance(value, datetime):
        return value > (latest if value.tzinfo else latest.replace(tzinfo=None))
    if isinstance(value, date):
        return value > latest.date()
    written = _written_time(value)
    return written is not None and written > latest.replace(tzinfo=None)


def back(mark: Mark | None, overlap: int) -> Mark | None:
    """So much further back; what is neither time nor number stays."""
    if isinstance(mark, datetime | date):
        return mark - timedelta(seconds=overlap)
    if isinstance(mark, int | Decimal):
        return mark - overlap
    written = _written_time(mark)
    return (written - timedelta(seconds=overlap)).strftime(_STAMP) if written else mark


def _written_time(mark: Mark | None) -> datetime | None:
    """The time of a text like 20261122103000."""
    if isinstance(mark, str) and len(mark) == 14 and mark.isdigit():
        try:
            return datetime.strptime(mark, _STAMP)  # noqa: DTZ007  compared with its like only
        except ValueError:
            return None
    return None


def first_mark(view: View) -> Mark | None:
    """`since` of the file, by what it looks like: a time, a number, else a text."""
    text = view.since.strip()
    if not text:
        return None
    try:
        return int(text) if len(text) != 14 else text
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text) if len(text) > 10 else date.fromisoformat(text)
    except ValueError:
        return text


def encode_mark(mark: Mark) -> str:
    """As the cursor keeps it."""
    if isinstance(mark, datetime):
        return f"t:{mark.isoformat()}"
    if isinstance(mark, date):
        return f"d:{mark.isoformat()}"
    return f"n:{mark}" if isinstance(mark, int | Decimal) else f"s:{mark}"


def decode_mark(text: str) -> Mark:
    """Back again."""
    kind, _, value = text.partition(":")
    if kind == "t":
        return datetime.fromisoformat(value)
    if kind == "d":
        return date.fromisoformat(value)
    if kind == "n":
        number = Decimal(value)
        return int(number) if number == number.to_integral_value() else number
    return value
