"""The death list of the hospital.

Revision ID: 20261123_1120
Revises: 20261123_1110
"""

import sqlalchemy as sa
from alembic import op

from hcrm.core import db

revision = "20261123_1120"
down_revision = "20261123_1110"
branch_labels = None
depends_on = None


def _text(name: str, *, nullable: bool = True) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _number(name: str) -> sa.Column:
    return sa.Column(name, sa.Integer(), nullable=False)


def upgrade() -> None:
    """Lines of death lists, and what became of each list on its day."""
    op.create_table(
        "death_list_entry",
        sa.Column("id", sa.String(length=32), nullable=False),
        _text("fingerprint", nullable=False),
        _text("name", nullable=False),
        sa.Column("id_number_sealed", sa.LargeBinary(), nullable=True),
        _text("id_index"),
        _text("record_no"),
        sa.Column("birth_date", sa.Date(), nullable=True),
        sa.Column("died_on", sa.Date(), nullable=True),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("patient_id", sa.String(length=32), nullable=True),
        _text("import_id", nullable=False),
        sa.Column("created_at", db.UtcDateTime(), nullable=False),
        sa.Column("decided_at", db.UtcDateTime(), nullable=True),
        _text("decided_by"),
        _text("note"),
        sa.ForeignKeyConstraint(
            ["patient_id"], ["patient.id"], name=op.f("fk_death_list_entry_patient_id_patient")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_death_list_entry")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_death_list_entry_fingerprint")),
    )
    near, unknown = sa.text("state = 'near'"), sa.text("state = 'unknown'")
    table = "death_list_entry"
    op.create_index(
        "ix_death_list_entry_near", table, ["created_at", "id"], sqlite_where=near, postgresql_where=near
    )
    op.create_index(
        "ix_death_list_entry_unknown", table, ["id"], sqlite_where=unknown, postgresql_where=unknown
    )
    op.create_index("ix_death_list_entry_patient", table, ["patient_id"])
    op.create_index("ix_death_list_entry_import", table, ["import_id"])
    op.create_table(
        "death_list_run",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("list_at", db.UtcDateTime(), nullable=True),
        *(_number(name) for name in ("read", "known", "matched", "already", "near", "unknown", "wrong")),
        _text("import_id"),
        _text("error"),
        sa.Column("ran_at", db.UtcDateTime(), nullable=False),
        _text("ran_by", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_death_list_run")),
        sa.UniqueConstraint("day", "source", name=op.f("uq_death_list_run_day_source")),
    )
    op.add_column("death_report", sa.Column("revoked_reason", sa.Text(), nullable=True))


def downgrade() -> None:
    """Without them."""
    op.drop_column("death_report", "revoked_reason")
    op.drop_table("death_list_run")
    op.drop_table("death_list_entry")
