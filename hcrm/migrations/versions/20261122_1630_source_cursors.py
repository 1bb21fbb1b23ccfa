"""How far each polled source has been read.

Revision ID: 20261122_1630
Revises: 20261122_1620
"""

revision = "20261122_1630"
down_revision = "20261122_1620"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
