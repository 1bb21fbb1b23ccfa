"""What tests of the worker share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hcrm.core.crypto import KeyRing
from hcrm.core.db import Database
from tests.support.database import PostgresqlDatabases


@pytest.fixture
def two_databases(
    postgresql_databases: PostgresqlDatabases, tmp_path: Path, keys: KeyRing
) -> Iterator[list[Database]]:
    """The same PostgreSQL as two processes hold it: SQLite has no second worker."""
    with postgresql_databases.fresh(tmp_path) as url:
        databases = [Database(url, keys), Database(url, keys)]
        yield databases
        for database in databases:
            database.dispose()


@pytest.fixture
def postgresql(two_databases: list[Database]) -> Database:
    """For what SQLite has no second worker for."""
    return two_databases[0]
