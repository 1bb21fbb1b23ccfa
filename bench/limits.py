"""The bare limits of the machine, measured beside every durable figure: the disk, SQLite, and nothing else."""

import os
import sqlite3
import time
from pathlib import Path

import psycopg

BLOCK = bytes(4096)
ROWS_PER_COMMIT = 64


def fdatasync_rate(folder: Path, seconds: float) -> float:
    """Overwrites of one 4 KiB block, each made durable by fdatasync, per second."""
    path = folder / "fdatasync"
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for offset in range(64):
            os.pwrite(file, BLOCK, offset * len(BLOCK))
        os.fsync(file)
        done, start = 0, time.perf_counter()
        while time.perf_counter() < start + seconds:
            os.pwrite(file, BLOCK, done % 64 * len(BLOCK))
            os.fdatasync(file)
            done += 1
        return done / (time.perf_counter() - start)
    finally:
        os.close(file)
        path.unlink()


def group_commit_rate(folder: Path, seconds: float, rows_per_commit: int = ROWS_PER_COMMIT) -> float:
    """Rows of 900 bytes with one index that SQLite makes durable per second (WAL, synchronous=FULL)."""
    path = folder / f"group-commit-{rows_per_commit}"
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, control_id TEXT UNIQUE, raw BLOB)")
        raw, done, start = os.urandom(900), 0, time.perf_counter()
        while time.perf_counter() < start + seconds:
            rows = [(f"C{number}", raw) for number in range(done, done + rows_per_commit)]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO message (control_id, raw) VALUES (?, ?)", rows)
            connection.execute("COMMIT")
            done += rows_per_commit
        return done / (time.perf_counter() - start)
    finally:
        connection.close()
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            (folder / name).unlink(missing_ok=True)


def postgresql_commit_rate(url: str, seconds: float, rows_per_commit: int = ROWS_PER_COMMIT) -> float:
    """The same rows in a PostgreSQL database of their own, with its shipped settings."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE message (id bigserial PRIMARY KEY, control_id text UNIQUE, raw bytea)"
        )
        raw, done, start = os.urandom(900), 0, time.perf_counter()
        while time.perf_counter() < start + seconds:
            rows = [(f"C{number}", raw) for number in range(done, done + rows_per_commit)]
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany("INSERT INTO message (control_id, raw) VALUES (%s, %s)", rows)
            done += rows_per_commit
        return done / (time.perf_counter() - start)
