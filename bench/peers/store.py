"""The table every Python peer stores into: one row and one commit per message."""

import sqlite3
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY,
    control_id TEXT NOT NULL,
    received_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    raw BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS message_control_id ON message (control_id);
"""
INSERT = "INSERT INTO message (control_id, raw) VALUES (?, ?)"


def open_store(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode: each INSERT is a durable transaction of its own."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(SCHEMA)
    return connection
