"""The statements of the group commit, by hand for each engine: they run before every acknowledgement.

A batch of messages costs one search and one insert, whatever their number, on the driver's own cursor: through
SQLAlchemy a single message would take a third longer.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

COLUMNS = (
    "sender", "facility", "control_id", "sha256", "kind", "format", "raw", "ack", "peer", "flags", "received_at",
)  # fmt: skip
"""The order of a message's values; the first four are its key."""
REFUSED_COLUMNS = (
    "received_at", "peer", "reason", "size", "sha256", "head", "detail", "source", "sender", "facility", "control_id",
    "subject", "peer_port", "door", "name",
)  # fmt: skip

Values = Sequence[Any]
Latest = tuple[int, str, bytes]
"""Index of what was asked for; control id and hash of the row found."""
Known = tuple[int, int | None, bytes | None]
"""Index of the row; seq and ACK of the same message, or None, None where only its control id was seen before."""


class Statements(Protocol):
    """What `intake` asks of an engine, on a DBAPI cursor."""

    def begin(self, cursor: Any) -> None:
        """Begin a transaction that writes."""
        ...

    def latest(self, cursor: Any, series: Sequence[Values]) -> list[Latest]:
        """The last row of each series before this part of the taking, and nobody adds to one until we commit.

        A series is sender, facility, lowest control id, the one beyond its highest, and the part of a taking.
        """
        ...

    def known(self, cursor: Any, rows: Sequence[Values]) -> list[Known]:
        """Rows whose sender, facility and control id are stored already."""
        ...

    def insert(self, cursor: Any, rows: Sequence[Values]) -> list[int | None]:
        """Store the rows in order; their seqs, None where another process stored the same key first."""
        ...

    def refuse(self, cursor: Any, rows: Sequence[Values]) -> None:
        """Log refusals."""
        ...


class SqliteStatements:
    """Multi-row VALUES; the transaction is IMMEDIATE, so nothing comes between search and insert."""

    def begin(self, cursor: Any) -> None:
        """See Statements."""
        cursor.execute("BEGIN IMMEDIATE")

    def latest(self, cursor: Any, series: Sequence[Values]) -> list[Latest]:
        """See Statements; the transaction that writes is the only one."""
        asked = [value for n, each in enumerate(series) for value in (n, *each)]
        cursor.execute(f"WITH k({_SERIES}) AS (VALUES {_marks(len(series), 6)}) {_LATEST}", asked)
        found: list[Latest] = cursor.fetchall()
        return found

    def known(self, cursor: Any, rows: Sequence[Values]) -> list[Known]:
        """See Statements."""
        cursor.execute(
            _sqlite_search(len(rows)), [value for n, row in enumerate(rows) for value in (n, *row[:4])]
        )
        found: list[Known] = cursor.fetchall()
        return found

    def insert(self, cursor: Any, rows: Sequence[Values]) -> list[int | None]:
        """See Statements; AUTOINCREMENT numbers one statement's rows without a gap."""
        cursor.execute(_sqlite_insert(len(rows)), [value for row in rows for value in row])
        last: int = cursor.lastrowid
        return list(range(last - len(rows) + 1, last + 1))

    def refuse(self, cursor: Any, rows: Sequence[Values]) -> None:
        """See Statements."""
        cursor.executemany(_refusal("?"), rows)


_SERIES = "n, sender, facility, low, beyond, taking"
_LATEST = """
    SELECT k.n, m.control_id, m.sha256 FROM k JOIN inbox.inbox_message m
        ON m.sender = k.sender AND m.facility = k.facility AND m.control_id = (
            SELECT max(r.control_id) FROM inbox.inbox_message r
            WHERE r.sender = k.sender AND r.facility = k.facility AND r.control_id >= k.low
                AND r.control_id < coalesce(CASE WHEN k.taking <> '' THEN (
                    SELECT min(o.control_id) FROM inbox.inbox_message o
                    WHERE o.sender = k.sender AND o.facility = k.facility AND o.control_id >= k.low
                        AND o.control_id < k.beyond AND substr(o.control_id, 31, 8) = substr(k.taking, 1, 8)
                        AND substr(o.control_id, 31) >= k.taking
                ) END, k.beyond))
"""


@lru_cache(maxsize=1024)
def _sqlite_search(count: int) -> str:
    # A control id may have thousands of rows (a sender that never counts), so it is only probed for.
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


def _refusal(mark: str) -> str:
    marks = ", ".join([mark] * len(REFUSED_COLUMNS))
    return f"INSERT INTO inbox.refused_message ({', '.join(REFUSED_COLUMNS)}) VALUES ({marks})"  # noqa: S608


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

    _LOCK_SERIES = 4_805  # an advisory lock of our own

    def begin(self, cursor: Any) -> None:
        """See Statements; the driver begins with the first statement."""

    def latest(self, cursor: Any, series: Sequence[Values]) -> list[Latest]:
        """See Statements."""
        cursor.execute("SELECT pg_advisory_xact_lock(%s, 0)", [self._LOCK_SERIES])
        arrays = "%s::int[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[]"
        columns = [list(column) for column in zip(*series, strict=True)]
        cursor.execute(
            f"WITH k AS (SELECT * FROM unnest({arrays}) AS k({_SERIES})) {_LATEST}",  # noqa: S608
            [list(range(len(series))), *columns],
        )
        found: list[Latest] = cursor.fetchall()
        return found

    def known(self, cursor: Any, rows: Sequence[Values]) -> list[Known]:
        """See Statements."""
        keys = [list(column) for column in zip(*(row[:4] for row in rows), strict=True)]
        cursor.execute(self._SEARCH, [list(range(len(rows))), *keys])
        found: list[Known] = cursor.fetchall()
        return found

    def insert(self, cursor: Any, rows: Sequence[Values]) -> list[int | None]:
        """See Statements."""
        cursor.execute(self._INSERT, [list(column) for column in zip(*rows, strict=True)])
        seqs = {tuple(key): seq for seq, *key in cursor.fetchall()}
        return [seqs.get(tuple(row[:4])) for row in rows]

    def refuse(self, cursor: Any, rows: Sequence[Values]) -> None:
        """See Statements."""
        cursor.executemany(_refusal("%s"), rows)
