"""The two statements of the group commit, by hand for each engine: they run before every acknowledgement.

A batch of 32 messages costs one search and one insert, whatever their number; SQLAlchemy compiles neither.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import sqlalchemy as sa

COLUMNS = (
    "sender", "facility", "control_id", "sha256", "kind", "format", "raw", "ack", "peer", "flags", "received_at",
)  # fmt: skip
"""The order of a row's values; the first four are its key."""

Values = Sequence[Any]
Known = tuple[int, int | None, bytes | None]
"""Index of the row; seq and ACK of the same message, or None, None where only its control id was seen before."""


class Statements(Protocol):
    """What `intake` asks of an engine, inside its transaction."""

    def known(self, connection: sa.Connection, rows: Sequence[Values]) -> list[Known]:
        """Rows whose sender, facility and control id are stored already."""
        ...

    def insert(self, connection: sa.Connection, rows: Sequence[Values]) -> list[int | None]:
        """Store the rows in order; their seqs, None where another process stored the same key first."""
        ...


class SqliteStatements:
    """Multi-row VALUES; the transaction is IMMEDIATE, so nothing comes between search and insert."""

    def known(self, connection: sa.Connection, rows: Sequence[Values]) -> list[Known]:
        """See Statements."""
        values = [value for n, row in enumerate(rows) for value in (n, *row[:4])]
        return [
            tuple(found) for found in connection.exec_driver_sql(_sqlite_search(len(rows)), tuple(values))
        ]

    def insert(self, connection: sa.Connection, rows: Sequence[Values]) -> list[int | None]:
        """See Statements; AUTOINCREMENT numbers one statement's rows without a gap."""
        values = [value for row in rows for value in row]
        last = connection.exec_driver_sql(_sqlite_insert(len(rows)), tuple(values)).lastrowid
        return list(range(last - len(rows) + 1, last + 1))


@lru_cache(maxsize=1024)
def _sqlite_search(count: int) -> str:
    # A stored control id may have thousands of rows (a sender that never counts), so it is only probed for.
    return f"""
        WITH k(n, sender, facility, control_id, sha256) AS (VALUES {_marks(count, 5)})
        SELECT k.n, m.seq, m.ack FROM k LEFT JOIN inbox.inbox_message m
            ON m.sender = k.sender AND m.facility = k.facility AND m.control_id = k.control_id AND m.sha256 = k.sha256
        WHERE EXISTS (SELECT 1 FROM inbox.inbox_message r
            WHERE r.sender = k.sender AND r.facility = k.facility AND r.control_id = k.control_id)
    """  # noqa: S608  nothing but question marks is put in


@lru_cache(maxsize=1024)
def _sqlite_insert(count: int) -> str:
    return f"INSERT INTO inbox.inbox_message ({', '.join(COLUMNS)}) VALUES {_marks(count, len(COLUMNS))}"  # noqa: S608


def _marks(rows: int, columns: int) -> str:
    return ",".join(["(" + ",".join("?" * columns) + ")"] * rows)


class PostgresqlStatements:
    """Arrays by UNNEST: one prepared statement for every size of batch."""

    # LATERAL with LIMIT keeps the planner to one index probe a row, whatever its statistics say.
    _SEARCH = """
        SELECT k.n, m.seq, m.ack
        FROM unnest(%s::int[], %s::text[], %s::text[], %s::text[], %s::bytea[])
            AS k(n, sender, facility, control_id, sha256)
        JOIN LATERAL (SELECT 1 FROM inbox.inbox_message r WHERE r.sender = k.sender AND r.facility = k.facility
            AND r.control_id = k.control_id LIMIT 1) seen ON true
        LEFT JOIN LATERAL (SELECT seq, ack FROM inbox.inbox_message s WHERE s.sender = k.sender
            AND s.facility = k.facility AND s.control_id = k.control_id AND s.sha256 = k.sha256 LIMIT 1) m ON true
    """
    _INSERT = f"""
        INSERT INTO inbox.inbox_message ({", ".join(COLUMNS)})
        SELECT {", ".join(COLUMNS)} FROM unnest(%s::text[], %s::text[], %s::text[], %s::bytea[], %s::text[],
            %s::text[], %s::bytea[], %s::bytea[], %s::text[], %s::text[], %s::timestamptz[])
            WITH ORDINALITY AS k({", ".join(COLUMNS)}, n)
        ORDER BY n ON CONFLICT DO NOTHING
        RETURNING seq, sender, facility, control_id, sha256
    """  # noqa: S608  nothing but column names is put in

    def known(self, connection: sa.Connection, rows: Sequence[Values]) -> list[Known]:
        """See Statements."""
        keys = [list(column) for column in zip(*(row[:4] for row in rows), strict=True)]
        return [
            tuple(found)
            for found in connection.exec_driver_sql(self._SEARCH, (list(range(len(rows))), *keys))
        ]

    def insert(self, connection: sa.Connection, rows: Sequence[Values]) -> list[int | None]:
        """See Statements."""
        columns = tuple(list(column) for column in zip(*rows, strict=True))
        seqs = {tuple(key): seq for seq, *key in connection.exec_driver_sql(self._INSERT, columns)}
        return [seqs.get(tuple(row[:4])) for row in rows]
