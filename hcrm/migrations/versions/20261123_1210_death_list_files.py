"""Which files of the folder of death lists were taken in, and what people said of a day.

Revision ID: 20261123_1210
Revises: 20261123_1230
"""

import sqlalchemy as sa
from alembic import op

from hcrm.core import db

revision = "20261123_1210"
down_revision = "20261123_1230"
branch_labels = None
depends_on = None

_COUNTS = ("read", "known", "matched", "already", "near", "unknown", "wrong")


def upgrade() -> None:
    """Files of the folder; since when a day stands as it does, and why."""
    op.create_table(
        "death_list_file",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("version_index", sa.Text(), nullable=False),
        sa.Column("name_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("written_at", db.UtcDateTime(), nullable=False),
        sa.Column("noted_at", db.UtcDateTime(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("import_id", sa.Text(), nullable=True),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in _COUNTS),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_death_list_file")),
        sa.UniqueConstraint("version_index", name=op.f("uq_death_list_file_version_index")),
    )
    op.create_index("ix_death_list_file_noted", "death_list_file", ["noted_at", "id"])
    op.create_index("ix_death_list_file_import", "death_list_file", ["import_id"])
    op.add_column("death_list_run", sa.Column("note", sa.Text(), nullable=True))
    with op.batch_alter_table("death_list_run") as table:
        table.add_column(sa.Column("since", db.UtcDateTime(), nullable=True))
    op.execute("UPDATE death_list_run SET since = ran_at")
    with op.batch_alter_table("death_list_run") as table:
        table.alter_column("since", existing_type=db.UtcDateTime(), nullable=False)


def downgrade() -> None:
    """Without them."""
    op.execute("DELETE FROM death_list_run WHERE source = 'word'")
    op.execute("UPDATE death_list_run SET state = 'failed' WHERE state = 'withdrawn'")
    with op.batch_alter_table("death_list_run") as table:
        table.drop_column("since")
        table.drop_column("note")
    op.drop_table("death_list_file")
