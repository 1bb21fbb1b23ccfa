"""The same rows in PostgreSQL: every table of an SQLite archive that holds any, by COPY, indexes afterwards."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from hcrm.core.db import Base
from hcrm.core.tables import load_tables

LEFT = frozenset(
    {"alembic_version", "audit_event", "audit_subject", "event", "event_delivery", "visit_event"}
)
"""What no page reads, or what grows while it is read."""
_INDEXES = """
SELECT c.relname, pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE t.relname = %s AND n.nspname = 'public' AND NOT EXISTS (
  SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid)
"""
_FETCH = 10_000


def copy_archive(source: Path, url: str) -> None:
    """Fill a migrated PostgreSQL database with the rows of an SQLite archive; what stood in those tables goes."""
    load_tables()
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as rows,
        psycopg.connect(url, autocommit=True) as target,
    ):
        for setting in (
            "session_replication_role = replica",  # no foreign key is checked: the rows hold together already
            "synchronous_commit = off",
            "maintenance_work_mem = '512MB'",
        ):
            target.execute(f"SET {setting}".encode())
        tables = [
            table for table in Base.metadata.sorted_tables if table.schema is None and table.name not in LEFT
        ]
        names = sql.SQL(", ").join(sql.Identifier(table.name) for table in tables)
        target.execute(sql.SQL("TRUNCATE {} CASCADE").format(names))
        for table in tables:
            _copy_table(rows, target, table)
        target.execute(b"VACUUM ANALYZE")


def _copy_table(rows: sqlite3.Connection, target: "psycopg.Connection[Any]", table: sa.Table) -> None:
    if rows.execute(f"SELECT 1 FROM {table.name} LIMIT 1").fetchone() is None:
        return
    indexes = target.execute(_INDEXES, (table.name,)).fetchall()
    for name, _ in indexes:
        target.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    columns = [column for column in table.columns if not column.computed]
    with (
        target.cursor() as cursor,
        cursor.copy(
            sql.SQL("COPY {} ({}) FROM STDIN").format(
                sql.Identifier(table.name), sql.SQL(", ").join(sql.Identifier(each.name) for each in columns)
            )
        ) as copy,
    ):
        for row in _read(rows, table.name, columns):
            copy.write_row(row)
    for _, made in indexes:
        target.execute(made)


def _read(rows: sqlite3.Connection, name: str, columns: Sequence[sa.Column[Any]]) -> Iterator[list[Any]]:
    """Rows as COPY takes them: what SQLite keeps as 0 and 1 is a truth value there."""
    makers = [(place, bool) for place, each in enumerate(columns) if isinstance(each.type, sa.Boolean)]
    cursor = rows.execute(f"SELECT {', '.join(each.name for each in columns)} FROM {name}")
    while found := cursor.fetchmany(_FETCH):
        for row in found:
            yield _made(row, makers)


def _made(row: tuple[Any, ...], makers: list[tuple[int, Callable[[Any], Any]]]) -> list[Any]:
    values = list(row)
    for place, make in makers:
        if values[place] is not None:
            values[place] = make(values[place])
    return values
