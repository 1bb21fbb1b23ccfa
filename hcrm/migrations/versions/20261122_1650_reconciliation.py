"""Daily comparison with the HIS's own list.

Revision ID: 20261122_1650
Revises: 20261122_1640
"""

import sqlalchemy as sa
from alembic import op

from hcrm.core import db

revision = "20261122_1650"
down_revision = "20261122_1640"
branch_labels = None
depends_on = None

_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """A run per source and day, and its findings."""
    op.create_table(
        "census_run",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("list_at", db.UtcDateTime(), nullable=True),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("unreadable", sa.Integer(), nullable=False),
        sa.Column("usual", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("counts", db.Json(), nullable=False),
        sa.Column("findings", sa.Integer(), nullable=False),
        sa.Column("allowed", sa.Integer(), nullable=False),
        sa.Column("ran_at", db.UtcDateTime(), nullable=False),
        sa.Column("ran_by", sa.Text(), nullable=False),
        sa.Column("again_at", db.UtcDateTime(), nullable=True),
        sa.Column("believed_by", sa.Text(), nullable=True),
        sa.Column("believed_by_name", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_census_run")),
        sa.UniqueConstraint("source", "day", "number", name=op.f("uq_census_run_source_day_number")),
    )
    op.create_index("ix_census_run_day", "census_run", ["day", "source"])
    op.create_table(
        "census_line",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("movement", sa.String(length=32), nullable=False),
        sa.Column("finding", sa.String(length=32), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("authority", sa.Text(), nullable=False),
        sa.Column("visit_no", sa.Text(), nullable=False),
        sa.Column("patient_no", sa.Text(), nullable=False),
        sa.Column("encounter_id", sa.Text(), nullable=True),
        sa.Column("patient_id", sa.Text(), nullable=True),
        sa.Column("campus", sa.Text(), nullable=False),
        sa.Column("department_code", sa.Text(), nullable=False),
        sa.Column("theirs", sa.Text(), nullable=False),
        sa.Column("ours", sa.Text(), nullable=False),
        sa.Column("row_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("message_seq", _SEQ, nullable=True),
        sa.Column("was_applied", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("acted_at", db.UtcDateTime(), nullable=True),
        sa.Column("acted_by", sa.Text(), nullable=True),
        sa.Column("acted_by_name", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["census_run.id"], name=op.f("fk_census_line_run_id_census_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_census_line")),
    )
    op.create_index(
        "ix_census_line_run", "census_line", ["run_id", "finding", "movement", "department_code", "id"]
    )
    to_do = sa.text("state != 'explained'")
    op.create_index(
        "ix_census_line_to_do", "census_line", ["run_id", "state"], sqlite_where=to_do, postgresql_where=to_do
    )


def downgrade() -> None:
    """Without them."""
    op.drop_table("census_line")
    op.drop_table("census_run")
