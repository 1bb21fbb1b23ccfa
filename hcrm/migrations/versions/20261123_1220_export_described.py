"""What a list taken out was asked for, in sentences for whoever approves it.

Revision ID: 20261123_1220
Revises: 20261123_1160
"""

import sqlalchemy as sa
from alembic import op

from hcrm.core.db import Json

revision = "20261123_1220"
down_revision = "20261123_1160"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Beside what was asked."""
    op.add_column("export_request", sa.Column("described", Json(), nullable=False, server_default="[]"))


def downgrade() -> None:
    """Without it."""
    op.drop_column("export_request", "described")
