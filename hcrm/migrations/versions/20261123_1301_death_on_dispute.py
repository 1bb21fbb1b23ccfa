"""The dispute on top of which a death was noted, so that it stands again when that is taken back.

Revision ID: 20261123_1301
Revises: 20261123_1300
"""

import sqlalchemy as sa
from alembic import op

from hcrm.core.db import Json

revision = "20261123_1301"
down_revision = "20261123_1300"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Of deaths noted before nobody knows it any more."""
    op.add_column("death_report", sa.Column("disputed", Json(), nullable=True))


def downgrade() -> None:
    """Without it."""
    op.drop_column("death_report", "disputed")
