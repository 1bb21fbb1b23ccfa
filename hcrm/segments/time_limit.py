"""A statement that may take so long and no longer: a count beside a form must not hold up the person who types."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa

from hcrm.core.work import Work

T = TypeVar("T")
_STEPS = 20_000  # of SQLite's machine between two looks at the clock: some milliseconds
_CANCELLED = "57014"


def within(work: Work, seconds: float, read: Callable[[], T]) -> T | None:
    """What `read` finds; None where it took longer than so many seconds and was broken off."""
    connection = work.session.connection()
    try:
        if connection.dialect.name == "sqlite":
            return _watched(connection, seconds, read)
        with connection.begin_nested():  # else breaking off would end the whole transaction
            before = connection.exec_driver_sql("SHOW statement_timeout").scalar_one()
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(seconds * 1000)}")
            found = read()
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{before}'")
            return found
    except sa.exc.OperationalError as error:
        if not _is_ours(error):
            raise
        return None


def _watched(connection: sa.Connection, seconds: float, read: Callable[[], T]) -> T:
    driver: Any = connection.connection.driver_connection
    deadline = time.monotonic() + seconds
    driver.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    try:
        return read()
    finally:
        driver.set_progress_handler(None, 0)


def _is_ours(error: sa.exc.OperationalError) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    return state == _CANCELLED if state is not None else "interrupted" in str(error.orig)
