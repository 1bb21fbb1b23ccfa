"""Who asked for a search through all archives, and which process works on it.

Revision ID: 20261123_1300
Revises: 20261123_1280
"""

import sqlalchemy as sa
from alembic import op

from hcrm.core.db import UtcDateTime

revision = "20261123_1300"
down_revision = "20261123_1280"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A run broken off before has no lease: the scheduler goes on with it."""
    op.add_column("identity_scan", sa.Column("started_by_name", sa.String(), nullable=False, server_default=""))
    op.add_column("identity_scan", sa.Column("lease", sa.String(), nullable=True))
    op.add_column("identity_scan", sa.Column("leased_until", UtcDateTime(), nullable=True))


def downgrade() -> None:
    """Without them."""
    for name in ("leased_until", "lease", "started_by_name"):
        op.drop_column("identity_scan", name)
