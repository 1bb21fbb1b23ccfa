"""What every table holds, as one number each: equal before and after only where the same rows stand."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass

import psycopg
from psycopg import sql

from bench.places import DATABASE, Place
from hcrm.core.db import Base
from hcrm.core.tables import load_tables

TOLD = frozenset(
    {"audit_event", "audit_subject", "event", "event_delivery", "import_run", "import_row", "import_mapping"}
)
"""What tells that something was done, and stays when it is undone."""
_FETCH = 10_000
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Digest:
    """How many rows, and the sum of their hashes: the order does not matter, a row more or less does."""

    rows: int
    total: int


def digest_archive(place: Place) -> dict[str, Digest]:
    """By table. Hashes are Python's own, which differ from process to process: compare within one."""
    load_tables()
    names = [
        table.name for table in Base.metadata.sorted_tables if table.schema is None and table.name not in TOLD
    ]
    if place.is_sqlite:
        with closing(sqlite3.connect(f"file:{place.folder / DATABASE}?mode=ro", uri=True)) as connection:
            return {name: _digest(connection.execute(f"SELECT * FROM {name}")) for name in names}
    with psycopg.connect(place.url) as asked:
        found = {}
        for name in names:
            with asked.cursor(f"all_of_{name}") as cursor:  # on the server: the rows come in parts
                cursor.itersize = _FETCH
                found[name] = _digest(
                    cursor.execute(sql.SQL("SELECT one::text FROM {} one").format(sql.Identifier(name)))
                )
        return found


def _digest(rows: Iterable[tuple[object, ...]]) -> Digest:
    count = total = 0
    for row in rows:
        count += 1
        total += hash(row)
    return Digest(count, total & _MASK)
