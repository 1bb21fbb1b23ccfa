"""How long a statement may take, by who asks."""

import pytest
import sqlalchemy as sa

from hcrm.core import limits
from hcrm.core.db import JOBS, LISTENER, WEB, Database, migration_engine


def milliseconds(text: str) -> int:
    number, unit = text.rstrip("smin"), text.lstrip("0123456789")
    return int(number) * {"": 1, "ms": 1, "s": 1_000, "min": 60_000}[unit]


def setting(connection: sa.Connection, name: str) -> int:
    return milliseconds(connection.exec_driver_sql(f"SHOW {name}").scalar_one())


@pytest.mark.postgresql
def test_pages_wait_shortly_work_waits_long_and_migrations_have_no_end(postgresql_databases, tmp_path, keys):
    with postgresql_databases.fresh(tmp_path) as url:
        found = {}
        for name, use in (("web", WEB), ("listener", LISTENER), ("jobs", JOBS)):
            database = Database(url, keys, use=use)
            with database.writer.connect() as connection:
                found[name] = setting(connection, "statement_timeout")
                assert setting(connection, "idle_in_transaction_session_timeout") > 0
            database.dispose()
        engine = migration_engine(database.url)
        with engine.connect() as connection:
            found["migration"] = setting(connection, "statement_timeout")
            assert setting(connection, "idle_in_transaction_session_timeout") == 0
        engine.dispose()

    short, long = limits.STATEMENT_SECONDS * 1_000, limits.STATEMENT_JOB_SECONDS * 1_000
    assert found == {"web": short, "listener": short, "jobs": long, "migration": 0}
    assert short < long


@pytest.mark.postgresql
def test_a_page_whose_statement_takes_too_long_is_cut(postgresql_databases, tmp_path, keys, monkeypatch):
    with postgresql_databases.fresh(tmp_path) as url:
        database = Database(url, keys, use=WEB.__class__(busy_seconds=1, statement_seconds=0.2))
        with (
            database.main.connect() as connection,
            pytest.raises(sa.exc.OperationalError, match="statement timeout"),
        ):
            connection.exec_driver_sql("SELECT pg_sleep(5)")
        database.dispose()


def test_the_listener_keeps_little_of_sqlite_in_memory(sqlite_databases, tmp_path, keys):
    with sqlite_databases.fresh(tmp_path) as url:
        database = Database(url, keys, use=LISTENER)
        with database.main.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA cache_size").scalar() == -LISTENER.cache_kib
            assert connection.exec_driver_sql("PRAGMA mmap_size").scalar() == 0
        database.dispose()
