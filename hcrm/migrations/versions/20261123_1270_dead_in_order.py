"""The dead in the order of the list of patients.

Revision ID: 20261123_1270
Revises: 20261123_1260
"""

import sqlalchemy as sa
from alembic import op

revision = "20261123_1270"
down_revision = "20261123_1260"
branch_labels = None
depends_on = None

_DEAD = sa.text("deceased = 'deceased'")


def upgrade() -> None:
    """An index of the few who have died, by their latest change."""
    op.create_index(
        "ix_patient_deceased_updated", "patient", ["updated_at", "id"], sqlite_where=_DEAD, postgresql_where=_DEAD
    )


def downgrade() -> None:
    """Without it."""
    op.drop_index("ix_patient_deceased_updated", "patient")
