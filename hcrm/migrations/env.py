"""Alembic's entry: the connection comes from `hcrm.core.migrate`, the target from every model."""

from typing import Any

from alembic import context

from hcrm.core.db import Base, Json, UtcDateTime
from hcrm.core.migrate import is_ours
from hcrm.core.tables import load_tables

load_tables()


def render_item(kind: str, item: Any, autogen: Any) -> Any:
    """Our types by their own names; states are plain text in the table, the closed list is in the code."""
    if kind == "type" and isinstance(item, UtcDateTime | Json):
        autogen.imports.add("from hcrm.core import db")
        return f"db.{type(item).__name__}()"
    if kind == "type" and type(item).__name__ == "Enum":
        return "sa.String(length=32)"
    return False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    include_schemas=True,
    include_name=is_ours,
    render_item=render_item,
    render_as_batch=True,
    compare_type=False,
)
with context.begin_transaction():
    context.run_migrations()
