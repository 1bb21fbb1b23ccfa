"""Somebody else's work between two statements of ours, without threads or waiting."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from hcrm.core.db import Database


@contextmanager
def just_before_our_lock(database: Database, act: Callable[[], Any], *, of: str = "") -> Iterator[None]:
    """Do `act` just before the first row the block locks, `of` that table.

    SQLite, which lets one write at a time, does it before all. Where the block locks nothing the act is not done, and
    the test fails.
    """
    with just_before(
        database, act, lambda statement: "FOR UPDATE" in statement and f"FROM {of}" in statement
    ):
        yield


@contextmanager
def just_before(database: Database, act: Callable[[], Any], is_it: Callable[[str], bool]) -> Iterator[None]:
    """Do `act` just before the block's first statement that is it; SQLite does it before all."""
    if database.writer.dialect.name == "sqlite":
        act()
        yield
        return
    waiting = [act]

    def meanwhile(_connection: Any, _cursor: Any, statement: str, *_others: Any) -> None:
        if waiting and is_it(statement):
            waiting.pop()()

    sa.event.listen(database.writer, "before_cursor_execute", meanwhile)
    try:
        yield
    finally:
        sa.event.remove(database.writer, "before_cursor_execute", meanwhile)
    assert not waiting, "there was no such statement"
