"""Numbers nobody may call are kept, for whoever comes with one of them later.

Revision ID: 20261123_1260
Revises: 20261123_1250
"""

import sqlalchemy as sa
from alembic import op

from hcrm.core import db

revision = "20261123_1260"
down_revision = "20261123_1250"
branch_labels = None
depends_on = None

_LIVE = sa.text("ended_at IS NULL")
_BY_NUMBER = sa.text("number_id IS NOT NULL AND ended_at IS NULL")


def upgrade() -> None:
    """The numbers; which of them ended contact with a patient."""
    op.create_table(
        "barred_number",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("value_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("value_index", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("created_at", db.UtcDateTime(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("ended_at", db.UtcDateTime(), nullable=True),
        sa.Column("ended_reason", sa.Text(), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_barred_number")),
    )
    op.create_index(
        "ix_barred_number_value", "barred_number", ["value_index"], sqlite_where=_LIVE, postgresql_where=_LIVE
    )
    op.add_column("contact_stop", sa.Column("number_id", sa.Text(), nullable=True))
    op.create_index(
        "ix_contact_stop_number", "contact_stop", ["number_id"], sqlite_where=_BY_NUMBER, postgresql_where=_BY_NUMBER
    )  # fmt: skip


def downgrade() -> None:
    """Without them: the patients they stopped stay stopped."""
    op.drop_index("ix_contact_stop_number", "contact_stop")
    op.drop_column("contact_stop", "number_id")
    op.drop_table("barred_number")
