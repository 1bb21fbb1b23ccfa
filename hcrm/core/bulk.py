"""Many rows into one table by the driver's own executemany.

SQLAlchemy works out a parameter set for every row, which costs more than SQLite needs to store it. Here names and
conversions are worked out once per table, and values are converted column by column.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Dialect

from hcrm.core.db import Base, Json, table_of

Row = Mapping[str, Any]
Convert = Callable[[Any], Any]


def insert_rows(
    connection: Connection, model: type[Base], rows: Sequence[Row], *, only_new: bool = False
) -> int:
    """Insert the rows, which all name the same columns; how many went in.

    `only_new` leaves alone what stands already.
    """
    plan = _plan(model, tuple(rows[0]), connection.dialect, only_new)
    values = zip(*(_converted(rows, column) for column in plan.given), strict=True)
    parameters: list[Any]
    if connection.dialect.positional:
        parameters = [(*row, *plan.defaults.values()) for row in values]
    else:
        names = [column.name for column in plan.given]
        parameters = [{**dict(zip(names, row, strict=True)), **plan.defaults} for row in values]
    return int(connection.exec_driver_sql(plan.sql, parameters).rowcount)


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    convert: Convert | None  # of its type
    repeats: bool  # whether its values can be told apart by hash


@dataclass(frozen=True, slots=True)
class _Plan:
    sql: str
    given: Sequence[_Column]  # the columns the rows name
    defaults: Mapping[str, Any]  # what the others get, converted


@lru_cache(maxsize=512)
def _plan(model: type[Base], names: tuple[str, ...], dialect: Dialect, only_new: bool) -> _Plan:
    table = table_of(model)
    defaults = {
        column.key: column.default.arg
        for column in table.c
        if column.key not in names
        and isinstance(column.default, sa.ColumnDefault)
        and column.default.is_scalar
    }
    order = [*names, *defaults]
    # Columns in our order, not the table's: what was compiled must take the values as they are handed over.
    wanted = sa.table(
        table.name, *(sa.column(name, table.c[name].type) for name in order), schema=table.schema
    )
    insert = sqlite.insert if dialect.name == "sqlite" else postgresql.insert
    statement: Any = insert(wanted)
    if only_new:
        statement = statement.on_conflict_do_nothing()
    converts = {name: table.c[name].type.dialect_impl(dialect).bind_processor(dialect) for name in order}
    return _Plan(
        sql=str(statement.compile(dialect=dialect)),
        given=[_Column(name, converts[name], not isinstance(table.c[name].type, Json)) for name in names],
        defaults={name: _convert(converts[name], value) for name, value in defaults.items()},
    )


def _converted(rows: Sequence[Row], column: _Column) -> list[Any]:
    """One column of all rows. A batch repeats its moments, dates and states: each is converted once."""
    values = [row[column.name] for row in rows]
    convert = column.convert
    if convert is None:
        return values
    if not column.repeats:
        return [convert(value) for value in values]
    known = {value: convert(value) for value in dict.fromkeys(values)}
    return [known[value] for value in values]


def _convert(convert: Convert | None, value: Any) -> Any:
    return value if convert is None else convert(value)
