"""The database: base class, column types and engines for SQLite and PostgreSQL.

Two stores, one schema: the archive, and under the schema name `inbox` what was received. On PostgreSQL that is a
schema of the same database; on SQLite a file of its own (`<db>-inbox`), so that storing a message never waits for
a writer of the archive. Every connection attaches it read-only; only `Database.inbox` writes it. Nothing but a
migration of a new database makes that file: an empty one beside an archive that stands would hide that it is lost.
"""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.orm import DeclarativeBase, mapped_column

from hcrm.core import limits
from hcrm.core.crypto import KeyRing
from hcrm.core.errors import HcrmError
from hcrm.core.labels import LabelledEnum as LabelledEnum  # re-exported: models name it with Base

INBOX_SCHEMA = "inbox"


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """A moment: aware in Python, UTC in the table. A naive one is a mistake and is refused."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """To UTC; SQLite keeps it without the zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime must not reach the database")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Aware again."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Json(sa.types.TypeDecorator[Any]):
    """JSON kept as text on SQLite and JSONB on PostgreSQL; Chinese stays readable."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        """JSONB where there is one; None is SQL's NULL there too, not JSON's null."""
        jsonb = JSONB(none_as_null=True)
        return dialect.type_descriptor(jsonb if dialect.name == "postgresql" else sa.Text())

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        """Text for SQLite; the PostgreSQL type does its own."""
        if value is None or dialect.name == "postgresql":
            return value
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        """Back to Python."""
        return json.loads(value) if isinstance(value, str) and dialect.name != "postgresql" else value


Id = Annotated[str, mapped_column(sa.String(32), primary_key=True)]
"""A key made by `core.ids.new_id`."""

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Every table. Names of constraints follow one convention, so that migrations can name them on SQLite too."""

    metadata = sa.MetaData(naming_convention=NAMING)
    type_annotation_map = {
        datetime: UtcDateTime,
        date: sa.Date,
        str: sa.Text,
        bytes: sa.LargeBinary,
        dict[str, Any]: Json,
        list[Any]: Json,
        LabelledEnum: sa.Enum(
            LabelledEnum,
            native_enum=False,
            length=32,
            create_constraint=False,
            values_callable=lambda members: [member.value for member in members],
        ),
    }


def table_of(model: type[Base]) -> sa.Table:
    """The table of a mapped class, for statements on many rows."""
    return cast(sa.Table, model.__table__)


@dataclass(frozen=True, slots=True)
class Use:
    """How a process uses its database: how long it waits for a lock and for an answer, how much it keeps.

    `busy_seconds` and `cache_kib` (of each connection) are SQLite's, `statement_seconds` is PostgreSQL's; 0: no end.
    """

    busy_seconds: float
    statement_seconds: float
    connections: int = 32
    cache_kib: int = 65_536
    map_mib: int = 256


WEB = Use(limits.SQLITE_BUSY_SECONDS, limits.STATEMENT_SECONDS)
LISTENER = Use(
    limits.SQLITE_BUSY_SECONDS, limits.STATEMENT_SECONDS, connections=4, cache_kib=2_048, map_mib=0
)
"""It adds at the end and searches one index: a cache would only be memory."""
JOBS = Use(limits.SQLITE_BUSY_JOB_SECONDS, limits.STATEMENT_JOB_SECONDS)
"""Workers, scheduler, commands."""
_MIGRATION = Use(limits.SQLITE_BUSY_JOB_SECONDS, 0)


class Database:
    """The engines of one process.

    `main` reads, `writer` is the same pool opening `BEGIN IMMEDIATE` on SQLite, `inbox` is the only one that may
    write received messages. `keys` seals and finds what is kept encrypted.
    """

    def __init__(self, url: str | URL, keys: KeyRing, *, use: Use = JOBS) -> None:
        self.url = parse_url(url)
        self.keys = keys
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            path = sqlite_path(self.url)
            self.main = _sqlite_engine(self.url, inbox_path(path), use, inbox_mode="ro")
            self.inbox = _sqlite_engine(make_url("sqlite://"), inbox_path(path), use, inbox_mode="rw")
            self.inbox = self.inbox.execution_options(hcrm_write=True)
        else:
            self.main = _postgresql_engine(self.url, use)
            self.inbox = self.main
        self.writer = self.main.execution_options(hcrm_write=True)

    def dispose(self) -> None:
        """Close every connection."""
        self.main.dispose()
        self.inbox.dispose()


InboxMode = Literal["ro", "rw", "rwc"]
"""How SQLite attaches the inbox: to read, to write, or to write and make the file where there is none."""


def migration_engine(url: URL, *, inbox_mode: InboxMode = "rwc") -> Engine:
    """An engine that may change both stores; for migrations only. With `ro` it changes neither and makes no file."""
    if url.get_backend_name() == "sqlite":
        path = sqlite_path(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = _sqlite_engine(url, inbox_path(path), _MIGRATION, inbox_mode=inbox_mode)
        return engine.execution_options(hcrm_write=inbox_mode != "ro")
    return _postgresql_engine(url, _MIGRATION)


_AWAY = ("08", "25P03", "53", "57P", "55P03", "40")
"""SQLSTATEs that say nothing about what was asked: connection, idleness, resources, shut-down, locks, serialisation."""


def is_away(error: sa.exc.DBAPIError) -> bool:
    """Whether the database is gone or busy, so that the same statement may go through later.

    PostgreSQL calls much an OperationalError that is the statement's own fault (a key too long for its index).
    """
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_AWAY)
    # Without a state: psycopg's connection failures, and everything SQLite calls operational.
    return isinstance(error, sa.exc.OperationalError) and "parameters must be" not in str(error.orig)


_CROSSED = ("40P01", "40001")


def is_crossed(error: sa.exc.DBAPIError) -> bool:
    """Whether two transactions stood in each other's way and this one was given up: once more, it may go through."""
    return getattr(error.orig, "sqlstate", None) in _CROSSED


def parse_url(url: str | URL) -> URL:
    """A database address; PostgreSQL always by psycopg 3."""
    if not url:
        raise HcrmError("db.url", "请用 --db 或环境变量 HCRM_DB__URL 指定数据库")
    try:
        parsed = make_url(url)
    except sa.exc.ArgumentError as error:
        raise HcrmError("db.url", "数据库地址无法识别") from error
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise HcrmError("db.url", f"不支持的数据库：{parsed.get_backend_name()}")
    if parsed.get_backend_name() == "sqlite" and not parsed.database:
        raise HcrmError("db.url", "SQLite 需要一个文件路径")
    return parsed


def sqlite_path(url: URL) -> Path:
    """The archive's file."""
    return Path(str(url.database)).absolute()


def inbox_path(path: Path) -> Path:
    """The inbox file beside it."""
    return path.with_name(path.name + "-inbox")


def require_files(url: URL) -> None:
    """Refuse an SQLite database one of whose two files is not there; it would make an empty one of either."""
    if url.get_backend_name() != "sqlite":
        return
    path = sqlite_path(url)
    if not path.exists():
        raise HcrmError("db.missing", f"数据库 {path} 不存在，请先运行 hcrm init")
    if not inbox_path(path).exists():
        raise HcrmError(
            "db.inbox_missing",
            f"缺少 {inbox_path(path).name}：收到的原始消息在这个文件里，请与 {path.name} 一起从备份恢复到 "
            f"{path.parent}",
        )


def require_inbox(connection: sa.Connection) -> None:
    """Refuse an inbox that holds no messages' table: an empty file, or half of a dump."""
    if not sa.inspect(connection).has_table("inbox_message", schema=INBOX_SCHEMA):
        where = "模式 inbox" if connection.dialect.name == "postgresql" else "文件 …-inbox"
        raise HcrmError(
            "db.inbox_empty", f"收到的消息没有表（{where} 是空的或不完整），请与档案一起从备份恢复"
        )


def _sqlite_engine(url: URL, inbox: Path, use: Use, *, inbox_mode: InboxMode) -> Engine:
    memory = not url.database
    # A single connection for the inbox writer: one writer, one connection (assurance, design rule 10).
    pool = sa.pool.StaticPool if memory else sa.pool.QueuePool
    extra = {} if memory else _pool_sizes(use)
    engine = sa.create_engine(
        url,
        poolclass=pool,
        connect_args={"check_same_thread": False, "uri": True},
        hide_parameters=True,
        **extra,
    )  # hidden: what a statement is about must stand in no error and no log line

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours: pysqlite would begin late and never IMMEDIATE
        run = connection.execute
        run(f"PRAGMA busy_timeout = {int(use.busy_seconds * 1000)}")
        if not memory:
            run("PRAGMA journal_mode = WAL")
            run("PRAGMA main.synchronous = FULL")
            run(f"PRAGMA cache_size = -{use.cache_kib}")
            run(f"PRAGMA mmap_size = {use.map_mib * 1024**2}")
        run("PRAGMA foreign_keys = ON")
        if inbox_mode != "ro" or inbox.exists():
            run(f"ATTACH DATABASE 'file:{_uri_quoted(inbox)}?mode={inbox_mode}' AS inbox")
            if inbox_mode != "ro":
                run("PRAGMA inbox.journal_mode = WAL")
                run("PRAGMA inbox.synchronous = FULL")

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        write = connection.get_execution_options().get("hcrm_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _uri_quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23").replace("'", "''")


_POSTGRESQL = {"timezone": "UTC", "synchronous_commit": "on", "tcp_user_timeout": "15000"}
_IDLE_SECONDS = 20  # who hangs inside a transaction gives its locks back


def _postgresql_engine(url: URL, use: Use) -> Engine:
    # What may take any time, a migration, may also think between two statements.
    idle = _IDLE_SECONDS if use.statement_seconds else 0
    options = _POSTGRESQL | {
        "statement_timeout": str(int(use.statement_seconds * 1000)),
        "idle_in_transaction_session_timeout": str(idle * 1000),
    }
    return sa.create_engine(
        url,
        **_pool_sizes(use),
        pool_pre_ping=True,
        hide_parameters=True,
        isolation_level="READ COMMITTED",  # the inbox's floor and our locks rest on it, whatever the server says
        connect_args={
            "connect_timeout": 5,
            "tcp_user_timeout": 15_000,  # a server that vanished without a word
            "keepalives_idle": 15,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
        },
    )


def _pool_sizes(use: Use) -> dict[str, int]:
    return {"pool_size": use.connections // 2, "max_overflow": use.connections - use.connections // 2}
