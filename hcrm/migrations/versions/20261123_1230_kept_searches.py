"""What was searched for, kept for its session.

Revision ID: 20261123_1230
Revises: 20261123_1220
"""

import sqlalchemy as sa
from alembic import op

revision = "20261123_1230"
down_revision = "20261123_1220"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Sealed words by key, of a session."""
    op.create_table(
        "kept_search",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("session_id", sa.String(length=32), nullable=False),
        sa.Column("words_sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"], ["account_session.id"], name="fk_kept_search_session_id_account_session"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_kept_search"),
    )
    op.create_index("ix_kept_search_session_id", "kept_search", ["session_id", "id"])


def downgrade() -> None:
    """Without it."""
    op.drop_table("kept_search")
