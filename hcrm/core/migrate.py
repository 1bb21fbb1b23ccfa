"""Bringing a database to the schema of this release (Alembic), and telling whether it is there."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from hcrm.core.db import (
    INBOX_SCHEMA,
    Base,
    InboxMode,
    migration_engine,
    parse_url,
    require_files,
    require_inbox,
    sqlite_path,
)
from hcrm.core.errors import HcrmError
from hcrm.core.paths import package_path
from hcrm.core.tables import load_tables


def migrate(url: str | sa.URL, revision: str = "head") -> None:
    """Upgrade to a revision, or downgrade to an earlier one; everything in one transaction.

    Only a new database gets an inbox: beside an archive that stands, a lost one is not made up for by an empty one.
    """
    parsed = parse_url(url)
    if _is_built(parsed):
        require_files(parsed)
    with _connection(url) as connection:
        config = _config(connection)
        script = ScriptDirectory.from_config(config)
        here = MigrationContext.configure(connection).get_current_revision()
        if here:
            require_inbox(connection)
        if revision == "base" or (here and revision != "head" and _is_before(script, revision, here)):
            command.downgrade(config, revision)
        else:
            command.upgrade(config, revision)


def schema_revision(url: str | sa.URL) -> tuple[str | None, str]:
    """The revision the database is at, and the one this release needs."""
    parsed = parse_url(url)
    require_files(parsed)
    with _connection(parsed, inbox_mode="ro") as connection:
        script = ScriptDirectory.from_config(_config(connection))
        here = MigrationContext.configure(connection).get_current_revision()
        if here:
            require_inbox(connection)
        return here, str(script.get_current_head())


def require_current_schema(url: str | sa.URL) -> None:
    """Refuse to start on a database that is behind or ahead."""
    here, needed = schema_revision(url)
    if here != needed:
        raise HcrmError(
            "db.schema", f"数据库结构版本为 {here or '空'}，本程序需要 {needed}；请先备份，再运行 hcrm init"
        )


def schema_differences(url: str | sa.URL) -> list[object]:
    """What the models say and the database does not; empty when they are equal."""
    load_tables()
    with _connection(url) as connection:
        context = MigrationContext.configure(
            connection,
            opts={"include_schemas": True, "compare_type": False, "include_name": is_ours},
        )
        return list(compare_metadata(context, Base.metadata))


def is_ours(name: str | None, kind: str, _parent: object) -> bool:
    """Whether Alembic looks at it: our two schemas only."""
    return kind != "schema" or name in (None, "main", INBOX_SCHEMA)


def new_revision(url: str | sa.URL, words: str, *, revision: str) -> None:
    """Write a revision file from the difference between models and an up-to-date database; for developers."""
    with _connection(url) as connection:
        command.revision(_config(connection), message=words, autogenerate=True, rev_id=revision)


def _is_built(url: sa.URL) -> bool:
    """Whether an SQLite archive stands there that a migration has been through."""
    if url.get_backend_name() != "sqlite" or not sqlite_path(url).exists():
        return False
    with _connection(url, inbox_mode="ro") as connection:
        return MigrationContext.configure(connection).get_current_revision() is not None


@contextmanager
def _connection(url: str | sa.URL, *, inbox_mode: InboxMode = "rwc") -> Iterator[sa.Connection]:
    engine = migration_engine(parse_url(url), inbox_mode=inbox_mode)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _config(connection: sa.Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(package_path("migrations")))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes["connection"] = connection
    return config


def _is_before(script: ScriptDirectory, revision: str, here: str) -> bool:
    return revision in {item.revision for item in script.iterate_revisions(here, "base")} and revision != here
