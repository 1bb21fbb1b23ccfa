"""Campuses, code maps, the directory's history, test patients.

Revision ID: 20261123_0950
Revises: 20261123_0940
"""

import sqlalchemy as sa
from alembic import op

from hcrm.core import db

revision = "20261123_0950"
down_revision = "20261123_0940"
branch_labels = None
depends_on = None

_REFERENCES = (
    ("department", "campus_id", "campus"),
    ("department", "parent_id", "department"),
    ("practitioner", "merged_into_id", "practitioner"),
)


def upgrade() -> None:
    """Columns that are added without rewriting the tables, and new tables."""
    op.add_column("patient", sa.Column("is_test", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("patient", sa.Column("test_mark", sa.String(length=32), nullable=True))
    op.add_column("patient", sa.Column("test_reason", sa.Text(), nullable=True))
    op.create_index(
        "ix_patient_test", "patient", ["id"], sqlite_where=sa.text("is_test = 1"),
        postgresql_where=sa.text("is_test"),
    )  # fmt: skip
    op.create_table(
        "campus",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=True)
            for name in ("phone", "sms_signature", "address", "calendar_code", "roster_code")
        ),
        sa.Column("is_active", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("created_at", db.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campus")),
        sa.UniqueConstraint("code", name=op.f("uq_campus_code")),
    )
    op.create_table(
        "code_map",
        sa.Column("id", sa.String(length=32), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("source", "kind", "local_code", "target")),
        sa.Column("valid_from", sa.Date(), nullable=True),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", db.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_code_map")),
    )
    op.create_index("ix_code_map_local", "code_map", ["source", "kind", "local_code"])
    op.create_table(
        "code_sighting",
        sa.Column("id", sa.String(length=32), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("source", "kind", "local_code")),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("first_seen_at", db.UtcDateTime(), nullable=False),
        sa.Column("last_seen_at", db.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_code_sighting")),
        sa.UniqueConstraint("source", "kind", "local_code", name=op.f("uq_code_sighting_source_kind_local_code")),
    )
    op.create_table(
        "directory_change",
        sa.Column("id", sa.String(length=32), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("kind", "subject_id", "action")),
        sa.Column("before", db.Json(), nullable=True),
        sa.Column("after", db.Json(), nullable=True),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("changed_at", db.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_directory_change")),
    )
    op.create_index("ix_directory_change_subject", "directory_change", ["kind", "subject_id", "changed_at"])
    # Written out: Alembic would copy the whole table on SQLite to add a column with a foreign key.
    for table, column, other in _REFERENCES:
        op.execute(
            f"ALTER TABLE {table} ADD COLUMN {column} VARCHAR(32) "
            f"CONSTRAINT fk_{table}_{column}_{other} REFERENCES {other} (id)"
        )
    op.create_index(op.f("ix_department_parent_id"), "department", ["parent_id"])
    op.add_column("department", sa.Column("is_active", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("practitioner", sa.Column("valid_from", sa.Date(), nullable=True))
    op.add_column("practitioner", sa.Column("valid_to", sa.Date(), nullable=True))


def downgrade() -> None:
    """Take it all away."""
    op.drop_index(op.f("ix_department_parent_id"), table_name="department")
    with op.batch_alter_table("practitioner") as batch:
        for name in ("merged_into_id", "valid_to", "valid_from"):
            batch.drop_column(name)
    with op.batch_alter_table("department") as batch:
        for name in ("is_active", "parent_id", "campus_id"):
            batch.drop_column(name)
    op.drop_index("ix_directory_change_subject", table_name="directory_change")
    op.drop_index("ix_code_map_local", table_name="code_map")
    for table in ("directory_change", "code_sighting", "code_map", "campus"):
        op.drop_table(table)
    op.drop_index("ix_patient_test", table_name="patient")
    for name in ("test_reason", "test_mark", "is_test"):
        op.drop_column("patient", name)
