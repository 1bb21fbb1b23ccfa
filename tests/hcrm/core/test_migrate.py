"""The schema: migrated up and down it is that of the models, on both databases, and every moment in it has a zone."""

import pytest
import sqlalchemy as sa

from hcrm.core.db import INBOX_SCHEMA, Base, Json, UtcDateTime, migration_engine, parse_url
from hcrm.core.errors import HcrmError
from hcrm.core.migrate import migrate, require_current_schema, schema_differences, schema_revision
from hcrm.core.tables import load_tables

load_tables()


def tables_in(url: str) -> set[str]:
    """Tables of both stores, without Alembic's own."""
    engine = migration_engine(parse_url(url))
    try:
        with engine.connect() as connection:
            inspector = sa.inspect(connection)
            schemas = [None, *([INBOX_SCHEMA] if INBOX_SCHEMA in inspector.get_schema_names() else [])]
            return {
                f"{schema}.{name}" if schema else name
                for schema in schemas
                for name in inspector.get_table_names(schema=schema)
                if name != "alembic_version"
            }
    finally:
        engine.dispose()


def test_up_down_and_up_again_ends_at_the_schema_of_the_models(blank_database_url):
    url = blank_database_url
    migrate(url)
    made = tables_in(url)
    assert made == set(Base.metadata.tables)
    assert schema_differences(url) == []

    migrate(url, "base")
    assert tables_in(url) == set()
    assert schema_revision(url)[0] is None

    migrate(url)
    assert tables_in(url) == made
    assert schema_differences(url) == []


def test_migrating_a_current_schema_changes_nothing(blank_database_url):
    migrate(blank_database_url)
    migrate(blank_database_url)

    here, needed = schema_revision(blank_database_url)
    assert here == needed
    require_current_schema(blank_database_url)


def test_a_database_that_is_behind_is_refused_with_what_to_do(blank_database_url):
    migrate(blank_database_url)
    migrate(blank_database_url, "base")

    with pytest.raises(HcrmError, match="hcrm init") as refusal:
        require_current_schema(blank_database_url)

    assert refusal.value.code == "db.schema"


def test_a_schema_whose_inbox_lacks_its_messages_is_refused_and_not_migrated(blank_database_url):
    migrate(blank_database_url)
    engine = migration_engine(parse_url(blank_database_url))
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE inbox.inbox_message"))
    engine.dispose()

    for opening in (require_current_schema, migrate):
        with pytest.raises(HcrmError) as refusal:
            opening(blank_database_url)
        assert refusal.value.code == "db.inbox_empty"


def test_a_difference_between_models_and_database_is_found(blank_database_url):
    migrate(blank_database_url)
    engine = migration_engine(parse_url(blank_database_url))
    with engine.begin() as connection:
        connection.execute(sa.text("DROP INDEX ix_patient_name"))
        connection.execute(sa.text("ALTER TABLE patient ADD COLUMN nickname TEXT"))
    engine.dispose()

    assert len(schema_differences(blank_database_url)) == 2


# ── types ───────────────────────────────────────────────────────────────────


def columns() -> list[sa.Column]:
    return [column for table in Base.metadata.tables.values() for column in table.columns]


def test_every_moment_is_aware_and_every_json_is_ours():
    """A naive datetime is refused by UtcDateTime alone; None is NULL in our Json alone."""
    moments = [
        column for column in columns() if isinstance(getattr(column.type, "impl", column.type), sa.DateTime)
    ]
    documents = [column for column in columns() if isinstance(column.type, sa.JSON)]

    assert moments
    assert {type(column.type) for column in moments} == {UtcDateTime}
    assert documents == []


def test_every_moment_has_its_zone_in_postgresql(database):
    if database.is_sqlite:
        return
    with database.main.connect() as connection:
        naive = connection.execute(
            sa.text(
                "SELECT table_name, column_name FROM information_schema.columns "
                "WHERE data_type = 'timestamp without time zone' AND table_schema IN ('public', 'inbox')"
            )
        ).all()

    assert naive == []


def test_nothing_is_null_in_a_json_column_and_not_json_s_null(database):
    kept = [column for column in columns() if isinstance(column.type, Json) and column.nullable]
    assert kept
    table = sa.Table(
        "scratch", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("data", Json)
    )
    with database.writer.begin() as connection:
        table.create(connection)
        connection.execute(sa.insert(table), [{"id": 1, "data": None}, {"id": 2, "data": {"名": "张三"}}])
        rows = connection.execute(sa.select(table.c.id).where(table.c.data.is_(None))).scalars().all()
        (data,) = connection.execute(sa.select(table.c.data).where(table.c.id == 2)).scalars()
        table.drop(connection)

    assert rows == [1]
    assert data == {"名": "张三"}
