"""What the interface console keeps: incidents, traffic by hour, corrected copies.

Revision ID: 20261122_1620
Revises: 20261122_1610
"""

revision = "20261122_1620"
down_revision = "20261122_1610"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
