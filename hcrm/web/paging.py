"""Lists by key: one page costs the same at row 50 and at row 5,000,000, and no row is skipped while others arrive.

Flask-free, so that `queries.py` of any package may use it. Order columns are dates, numbers and ids: the key stands
in the address of the page, and nothing about a patient may stand there; a list in the order of something else seals it.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, TypeDecorator, UnaryExpression, and_, literal, not_, or_, tuple_
from sqlalchemy.orm import QueryableAttribute
from sqlalchemy.sql.operators import asc_op, desc_op

from hcrm.core.errors import HcrmError
from hcrm.core.work import Work

T = TypeVar("T")
PAGE_SIZE = 50
_NEXT, _PREVIOUS = "n", "p"
_LARGEST = 2**63 - 1  # what both databases take as an integer


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list and the keys of its neighbours, None where there is none."""

    items: list[T]
    next_key: str | None = None
    previous_key: str | None = None


@dataclass(frozen=True, slots=True)
class Walk:
    """Another way to the same rows: along the order, asking each row on the way, for a list in which many fit.

    `statement` finds the rows so; `along` selects from all rows in the order; after `rows` of them the walk ends.
    """

    statement: Select[*tuple[Any, ...]]
    along: Select[*tuple[Any, ...]]
    rows: int


@dataclass(frozen=True, slots=True)
class _Order:
    column: ColumnElement[Any]
    descending: bool

    def sorted(self, backward: bool) -> UnaryExpression[Any]:
        return self.column.desc() if self.descending != backward else self.column.asc()


def keyset_page(
    work: Work,
    statement: Select[*tuple[Any, ...]],
    *,
    order: Sequence[Any],
    key: str | None = None,
    size: int = PAGE_SIZE,
    walk: Walk | None = None,
    is_sealed: bool = False,
) -> Page[Any]:
    """Read one page of `statement` in `order` (columns, plain or `.desc()`; the last one unique, none nullable).

    With a `walk` the page is first looked for on a short walk, and by `statement` where too few stand by the way.

    `key` is a `next_key` or `previous_key` given out before; without it the first page is read. A statement of one
    entity yields entities, of several columns rows. A column's own collation decides how text compares.
    `is_sealed`: the order tells of people, so nobody else can read a key.
    """
    orders = [_order_of(column) for column in order]
    opened = _open_key(work, key) if key and is_sealed else key
    direction, values = (_NEXT, None) if not opened else _read_key(opened, orders)
    rows = _read_near(work, statement, orders, direction, values, size + 1, walk)
    # The start of the list is reached, or what stood beyond the key is gone: show a full first page.
    if values is not None and len(rows) <= (size if direction == _PREVIOUS else 0):
        direction, values = _NEXT, None
        rows = _read_near(work, statement, orders, direction, values, size + 1, walk)
    more = len(rows) > size
    rows = rows[:size]
    if direction == _PREVIOUS:
        rows.reverse()
    if not rows:
        return Page([])
    first, last = (_key_values(row, orders) for row in (rows[0], rows[-1]))
    after = _write_key(_NEXT, last) if more or direction == _PREVIOUS else None
    before = _write_key(_PREVIOUS, first) if values is not None else None
    if is_sealed:
        after, before = (each and work.keys.seal_token(each) for each in (after, before))
    return Page(
        items=[row[0] for row in rows] if len(statement.column_descriptions) == 1 else list(rows),
        next_key=after,
        previous_key=before,
    )


def _open_key(work: Work, key: str) -> str:
    try:
        return work.keys.open_token(key)
    except ValueError as error:
        raise _no_key() from error


def _no_key() -> HcrmError:
    return HcrmError("page.key", "页面地址不完整，请从列表第一页重新打开", status=400)


def _order_of(column: Any) -> _Order:
    """Split `column.desc()`; a nullable column is refused, since rows without a value would fall out of the list."""
    element, descending = column, False
    if isinstance(element, UnaryExpression) and element.modifier in (asc_op, desc_op):
        descending = element.modifier is desc_op
        element = element.element
    if isinstance(element, QueryableAttribute):
        element = element.expression
    if getattr(element, "nullable", False):
        raise TypeError(f"{element} may be NULL and cannot order a list by key")
    return _Order(element, descending)


def _read_near(
    work: Work, statement: Select[*tuple[Any, ...]], orders: list[_Order], direction: str,
    values: list[Any] | None, limit: int, walk: Walk | None,
) -> list[Any]:  # fmt: skip
    """By the walk where it fills the page or comes to the end of the list, else by the statement."""
    if walk is None:
        return _read_rows(work, statement, orders, direction, values, limit)
    backward = direction == _PREVIOUS
    along = walk.along.with_only_columns(*(each.column for each in orders))
    if values is not None:
        along = along.where(_beyond(orders, values, backward))
    along = along.order_by(None).order_by(*(each.sorted(backward) for each in orders))
    last = work.execute(along.offset(walk.rows).limit(1)).first()
    near = walk.statement if last is None else walk.statement.where(_upto(orders, list(last), backward))
    rows = _read_rows(work, near, orders, direction, values, limit)
    if last is None or len(rows) == limit:
        return rows
    return _read_rows(work, statement, orders, direction, values, limit)


def _read_rows(
    work: Work,
    statement: Select[*tuple[Any, ...]],
    orders: list[_Order],
    direction: str,
    values: list[Any] | None,
    limit: int,
) -> list[Any]:
    backward = direction == _PREVIOUS
    if values is not None:
        statement = statement.where(_beyond(orders, values, backward))
    statement = statement.add_columns(*(each.column.label(f"_key_{i}") for i, each in enumerate(orders)))
    statement = statement.order_by(None).order_by(*(each.sorted(backward) for each in orders)).limit(limit)
    return list(work.execute(statement))


def _beyond(orders: list[_Order], values: list[Any], backward: bool) -> ColumnElement[bool]:
    """What lies after the key. In one direction a row comparison, which both databases answer from the index."""
    bounds = [literal(value, each.column.type) for each, value in zip(orders, values, strict=True)]
    downward = [each.descending != backward for each in orders]
    if len(set(downward)) == 1:
        columns, limit = tuple_(*(each.column for each in orders)), tuple_(*bounds)
        return columns < limit if downward[0] else columns > limit
    steps = []
    for i, each in enumerate(orders):
        equal = [earlier.column == bounds[j] for j, earlier in enumerate(orders[:i])]
        steps.append(and_(*equal, each.column < bounds[i] if downward[i] else each.column > bounds[i]))
    return or_(*steps)


def _upto(orders: list[_Order], values: list[Any], backward: bool) -> ColumnElement[bool]:
    """What lies before the key, and the key itself."""
    downward = [each.descending != backward for each in orders]
    if len(set(downward)) > 1:
        return not_(_beyond(orders, values, backward))
    bounds = [literal(value, each.column.type) for each, value in zip(orders, values, strict=True)]
    columns, limit = tuple_(*(each.column for each in orders)), tuple_(*bounds)
    return columns >= limit if downward[0] else columns <= limit


def _key_values(row: Any, orders: list[_Order]) -> list[Any]:
    return list(row[-len(orders) :])


def _write_key(direction: str, values: list[Any]) -> str:
    text = json.dumps([direction, *map(_to_json, values)], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _read_key(key: str, orders: list[_Order]) -> tuple[str, list[Any]]:
    """Direction and values of a key; it comes from an address, so every value must fit its column's type."""
    try:
        parts = json.loads(base64.b64decode(key + "=" * (-len(key) % 4), altchars=b"-_", validate=True))
        direction, values = parts[0], parts[1:]
        if direction not in (_NEXT, _PREVIOUS) or len(values) != len(orders):
            raise ValueError(direction)
        return direction, [
            _from_json(value, _type_of(each)) for value, each in zip(values, orders, strict=True)
        ]
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        raise _no_key() from error


def _type_of(order: _Order) -> type:
    kind = order.column.type
    if isinstance(kind, TypeDecorator):
        kind = kind.impl_instance
    return kind.python_type


def _to_json(value: Any) -> str | int | float:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError("a moment without zone cannot order a list by key")
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, str | int | float):
        return value
    raise TypeError(f"a list by key cannot be ordered by {type(value).__name__}")


def _from_json(value: Any, kind: type) -> Any:
    if issubclass(kind, datetime):
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    if issubclass(kind, date):
        return date.fromisoformat(value)
    if issubclass(kind, Decimal):
        return Decimal(value)
    if issubclass(kind, int) and type(value) is int and abs(value) <= _LARGEST:
        return value
    if issubclass(kind, float) and type(value) in (int, float):
        return float(value)
    if issubclass(kind, str) and type(value) is str and "\x00" not in value:
        return value
    raise ValueError("not a value of that column")
