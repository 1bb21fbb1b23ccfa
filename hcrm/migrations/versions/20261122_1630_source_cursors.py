"""How far each polled source has been read.

Revision ID: 20261122_1630
Revises: 20261122_1620
"""

import sqlalchemy as sa
from alembic import op

from hcrm.core import db

revision = "20261122_1630"
down_revision = "20261122_1620"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One row a folder or view."""
    op.create_table(
        "source_cursor",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("watermark", sa.Text(), nullable=True),
        sa.Column("last_run_at", db.UtcDateTime(), nullable=True),
        sa.Column("last_ok_at", db.UtcDateTime(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("rows_last", sa.Integer(), nullable=False),
        sa.Column("rows_total", sa.Integer(), nullable=False),
        sa.Column("put_aside", sa.Integer(), nullable=True),
        sa.Column("leased_by", sa.Text(), nullable=True),
        sa.Column("leased_until", db.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source_cursor")),
        sa.UniqueConstraint("source", "channel", name=op.f("uq_source_cursor_source_channel")),
    )


def downgrade() -> None:
    """Without it every view is read from its beginning; what is known changes nothing."""
    op.drop_table("source_cursor")
