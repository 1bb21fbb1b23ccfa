"""Links, held acts and undone merges of patients.

Revision ID: 20261122_1600
Revises: 20261122_1500
"""

revision = "20261122_1600"
down_revision = "20261122_1500"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
