"""Results, drug orders, charges, documents and appointments.

Revision ID: 20261122_1610
Revises: 20261122_1600
"""

revision = "20261122_1610"
down_revision = "20261122_1600"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
