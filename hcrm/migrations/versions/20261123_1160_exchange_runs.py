"""What imports and exports keep.

Revision ID: 20261123_1160
Revises: 20261123_1150
"""

import sqlalchemy as sa
from alembic import op

revision = "20261123_1160"
down_revision = "20261123_1150"
branch_labels = None
depends_on = None


_OWN = sa.text("own_index IS NOT NULL")


def upgrade() -> None:
    """What no two rows of a file may share."""
    op.add_column("import_row", sa.Column("own_index", sa.String(), nullable=True))
    op.create_index(
        "ix_import_row_own", "import_row", ["run_id", "own_index", "number"], sqlite_where=_OWN, postgresql_where=_OWN
    )  # fmt: skip


def downgrade() -> None:
    """Without it."""
    op.drop_index("ix_import_row_own", "import_row")
    op.drop_column("import_row", "own_index")
