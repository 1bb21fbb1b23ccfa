"""Where death lists come from: the files of a folder, the rows of a view. Only read; others decide what is due."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from hcrm.core import limits
from hcrm.core.channels import DeathView
from hcrm.core.errors import HcrmError
from hcrm.core.importing import Importer
from hcrm.core.text import size_over
from hcrm.inbox.polling import open_view
from hcrm.inbox.rows import cell_text

_SUFFIXES = (".csv", ".txt", ".xlsx", ".xlsm", ".xls")
_LAST_SECOND = datetime(2200, 1, 1, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True)
class ListFile:
    """A file as it lies there."""

    path: Path
    size: int  # bytes
    changed: int  # nanoseconds of its own clock

    @property
    def name(self) -> str:
        """What it is called; signs of another encoding than ours are marked."""
        return os.fsencode(self.path.name).decode("utf-8", "replace")

    @property
    def written_at(self) -> datetime:
        """Its time of change, kept within years there are."""
        seconds = min(max(self.changed / 1e9, 0), _LAST_SECOND)
        return datetime.fromtimestamp(seconds, UTC)

    @property
    def version(self) -> str:
        """The file as it is now: written again, it is another."""
        return f"{self.size}|{self.changed}|{self.name}"


def look_into(folder: str) -> list[ListFile]:
    """Lists of a folder, the oldest first; OSError where it cannot be read."""
    found = []
    for path in Path(folder).iterdir():
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith((".", "~")):
            try:
                told = path.stat()
            except OSError:  # taken away meanwhile
                continue
            if path.is_file():
                found.append(ListFile(path, told.st_size, told.st_mtime_ns))
    return sorted(found, key=lambda one: (one.changed, one.name))


def is_still(one: ListFile, now: datetime, seen_at: datetime | None) -> bool:
    """Whether nobody writes it any more; `seen_at`: when we first saw it as it is now."""
    still = timedelta(seconds=limits.DEATH_LIST_STILL_SECONDS)
    return now - one.written_at >= still or (seen_at is not None and now - seen_at >= still)


def read_whole(one: ListFile) -> bytes | None:
    """Its content; None where it changed while it was read. HcrmError where it is too large, OSError as it comes."""
    if one.size > limits.MAX_UPLOAD_BYTES:
        raise HcrmError("death_list.oversize", f"名单有 {size_over(one.size, limits.MAX_UPLOAD_BYTES)}")
    content = one.path.read_bytes()
    told = one.path.stat()
    is_same = (told.st_size, told.st_mtime_ns, len(content)) == (one.size, one.changed, one.size)
    return content if is_same else None


def read_view(view: DeathView, importer: Importer, today: date) -> tuple[list[str], list[list[str]]]:
    """Heading and lines of a view."""
    titles = {column.code: column.title for column in importer.columns}
    engine = open_view(view)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "oracle":
                connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            rows: Sequence[Any] = connection.execute(view_statement(view, today)).all()
    finally:
        engine.dispose()
    if len(rows) > limits.MAX_LIST_ROWS:
        raise HcrmError("death_list.oversize", f"视图超过 {limits.MAX_LIST_ROWS} 行，请用 day 只读近期")
    lines = [[cell_text(value, view.charset).removesuffix("T00:00:00") for value in row] for row in rows]
    return [titles[code] for code in view.columns], lines


def view_statement(view: DeathView, today: date) -> sa.Select[Any]:
    """The list, one row more than we take."""
    schema, _, table = view.name.rpartition(".")
    columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in view.columns.values()]
    statement = (
        sa.select(*columns)
        .select_from(sa.table(table, schema=schema or None))
        .limit(limits.MAX_LIST_ROWS + 1)
    )
    if not view.day:
        return statement
    column: sa.ColumnClause[Any] = sa.column(view.day)
    return statement.where(column >= today - timedelta(days=view.days))
