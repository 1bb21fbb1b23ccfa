"""Messages to other systems, with their tries.

Revision ID: 20261122_1640
Revises: 20261122_1630
"""

revision = "20261122_1640"
down_revision = "20261122_1630"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
