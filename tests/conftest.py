"""Fixtures every test may ask for, and the rules every test lives under.

A test that asks for `database` runs twice, on SQLite and on PostgreSQL; one that asks for `browser` needs Chromium.
What a machine lacks is skipped with its reason; with `CI=true` it is an error. Sockets reach this machine only.
"""

import contextlib
import gc
import ipaddress
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from hcrm.core.actor import system_actor
from hcrm.core.clock import FixedClock
from hcrm.core.crypto import KeyRing
from hcrm.core.db import Database
from hcrm.core.work import Work, open_work
from tests.support.database import (
    ADDRESS,
    PostgresqlDatabases,
    SqliteDatabases,
    missing,
    server,
    share_statements,
)

ENGINES = ("sqlite", "postgresql")
PROOFS = ("kill", "fuzz", "year", "soak", "failover")
GIVEN = (ADDRESS, "HCRM_CORPUS")  # what a run may be given; a developer's own settings must not reach a test
PATIENCE = 60  # seconds a page is waited for: a machine may stand still for a while
MEMORY = Path("/dev/shm")  # Linux: a file system in memory, where waiting for the disk costs nothing
MEMORY_NEEDED = 4 * 1024**3
NOW = datetime(2026, 11, 22, 2, tzinfo=UTC)  # a Sunday, 10:00 in Shanghai


# ── the run ─────────────────────────────────────────────────────────────────


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all", default="", metavar="NAME[,NAME]", help=f"add long proofs: {', '.join(PROOFS)} (see run.py)"
    )


def pytest_configure(config: pytest.Config) -> None:
    asked = set(filter(None, config.getoption("--all").split(",")))
    # A busy machine is no fault of the code: examples are limited by number, not by time. They are the same in every
    # run, so that red always means a change; new ones are sought by `--all=fuzz`.
    hypothesis.settings.register_profile("hcrm", deadline=None, derandomize="fuzz" not in asked)
    hypothesis.settings.load_profile("hcrm")
    unknown = asked - set(PROOFS)
    if unknown:
        raise pytest.UsageError(f"--all: unknown proof {', '.join(sorted(unknown))}")
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_NEEDED:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    sys.addaudithook(refuse_other_hosts)
    for name in [name for name in os.environ if name.startswith("HCRM_") and name not in GIVEN]:
        del os.environ[name]
    os.environ["TZ"] = "America/New_York"  # a date taken from the process's zone, not the hospital's, shows
    if hasattr(time, "tzset"):
        time.tzset()


def pytest_collection_finish() -> None:
    """What was imported and collected stays: looking through it again and again cost a fifth of the processor time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


def pytest_unconfigure() -> None:
    server.stop()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Start PostgreSQL before the workers: they find its address in the environment they inherit."""
    # Where there is none, each worker meets the same refusal and reports it test by test.
    with contextlib.suppress(pytest.skip.Exception, pytest.fail.Exception):
        server.address()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test with its engine, and leave out long proofs nobody asked for."""
    wanted = config.getoption("--all").split(",")
    left_out = []
    for item in items:
        if not any(item.iter_markers("postgresql")):
            item.add_marker("sqlite")
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
        if any(mark.args[0] not in wanted for mark in item.iter_markers("proof")):
            left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def refuse_other_hosts(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: sockets are opened to and on this machine only, names are not looked up elsewhere."""
    if event in ("socket.connect", "socket.bind", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    elif event == "socket.getaddrinfo" and arguments[0]:
        host = arguments[0]
    else:
        return
    if not is_loopback(host.decode() if isinstance(host, bytes) else str(host)):
        raise PermissionError(f"a test reached for {host!r}: sockets only to loopback")


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# ── time, keys, databases ───────────────────────────────────────────────────


@pytest.fixture
def clock() -> FixedClock:
    """Stands at 2026-11-22 10:00 in Shanghai; `clock.move(days=1)` moves it."""
    return FixedClock(NOW)


@pytest.fixture(scope="session")
def keys() -> KeyRing:
    """Made-up keys, the same in every test."""
    return KeyRing(current="k1", data={"k1": bytes(range(32))}, index=bytes(range(32, 64)))


@pytest.fixture(scope="session")
def sqlite_databases(tmp_path_factory: pytest.TempPathFactory) -> SqliteDatabases:
    return SqliteDatabases(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(scope="session")
def postgresql_databases() -> Iterator[PostgresqlDatabases]:
    databases = PostgresqlDatabases()
    yield databases
    databases.close()


@pytest.fixture(params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in ENGINES])
def databases(request: pytest.FixtureRequest) -> SqliteDatabases | PostgresqlDatabases:
    """Where databases come from: a test that asks for one runs once on each engine."""
    return request.getfixturevalue(f"{request.param}_databases")


@pytest.fixture
def database_url(databases: SqliteDatabases | PostgresqlDatabases, tmp_path: Path) -> Iterator[str]:
    """Address of a fresh, migrated database."""
    with databases.fresh(tmp_path) as url:
        yield url


@pytest.fixture
def blank_database_url(databases: SqliteDatabases | PostgresqlDatabases, tmp_path: Path) -> Iterator[str]:
    """Address of a database without a table: for migrations, and whatever else changes the schema."""
    with databases.blank(tmp_path) as url:
        yield url


@pytest.fixture
def database(database_url: str, keys: KeyRing) -> Iterator[Database]:
    """A fresh, migrated database; the test runs once on each engine."""
    database = Database(database_url, keys)
    share_statements(database)
    yield database
    database.dispose()


@pytest.fixture
def work(database: Database, clock: FixedClock) -> Iterator[Work]:
    """An open writing work of the system, committed at the end: constraints are checked as in production."""
    with open_work(database, actor=system_actor("test"), clock=clock) as work:
        yield work


@pytest.fixture
def write(database: Database, clock: FixedClock) -> Callable[[Callable[[Work], Any]], Any]:
    """`write(act)` does something in a writing work of the system and commits it."""

    def run(act: Callable[[Work], Any]) -> Any:
        with open_work(database, actor=system_actor("test"), clock=clock) as work:
            return act(work)

    return run


# ── what a machine may lack ─────────────────────────────────────────────────


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The public HL7 and FHIR messages, which are not part of the repository."""
    folder = Path(os.environ.get("HCRM_CORPUS", ""))
    if not os.environ.get("HCRM_CORPUS") or not (folder / "MANIFEST.md").exists():
        missing("the corpus: HCRM_CORPUS names no folder with a MANIFEST.md")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium of the system, driven by Playwright.

    Not for the whole session: while Playwright's own event loop lives, no test of this process can run another.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        missing("Chromium (Debian: chromium)")
    from playwright.sync_api import expect, sync_playwright  # heavy, and only here

    expect.set_options(timeout=PATIENCE * 1000)

    arguments = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append(
            "--no-sandbox"
        )  # the sandbox refuses root, which containers run as; the pages are our own
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()
