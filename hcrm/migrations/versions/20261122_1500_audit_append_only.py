"""The audit log refuses UPDATE, DELETE and TRUNCATE, whoever asks.

Inserts stay as they are. Rows will one day be pruned when the law allows it: retention then replaces the trigger on
DELETE, in a migration of its own, by one with a WHEN clause that refuses only rows younger than the limit (a subject
has the age of its event). No session can switch it off, so nothing younger can go even by mistake.

Revision ID: 20261122_1500
Revises: 20261122_1400
"""

from alembic import op

revision = "20261122_1500"
down_revision = "20261122_1400"
branch_labels = None
depends_on = None

TABLES = ("audit_event", "audit_subject")


def upgrade() -> None:
    """A trigger for each act that is refused."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
        )
        for table in TABLES:
            op.execute(
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
            )
        return
    for table in TABLES:
        for act in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{act.lower()} BEFORE {act} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )


def downgrade() -> None:
    """As before: append-only by habit."""
    if op.get_bind().dialect.name == "postgresql":
        for table in TABLES:
            op.execute(f"DROP TRIGGER {table}_append_only ON {table}")
        op.execute("DROP FUNCTION refuse_change()")
        return
    for table in TABLES:
        for act in ("update", "delete"):
            op.execute(f"DROP TRIGGER {table}_no_{act}")
