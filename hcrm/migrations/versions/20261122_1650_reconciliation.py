"""Daily comparison with the HIS's own list.

Revision ID: 20261122_1650
Revises: 20261122_1640
"""

revision = "20261122_1650"
down_revision = "20261122_1640"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
