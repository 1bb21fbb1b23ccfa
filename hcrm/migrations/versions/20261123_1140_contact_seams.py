"""Who entered an address or a relative by hand, and what a note said before.

Revision ID: 20261123_1140
Revises: 20261123_1130
"""

import sqlalchemy as sa
from alembic import op

from hcrm.core import db

revision = "20261123_1140"
down_revision = "20261123_1130"
branch_labels = None
depends_on = None

_ENTERED = (
    ("informant", sa.String(length=32)), ("actor_name", sa.Text()), ("ended_by_name", sa.Text()),
    ("replaces_id", sa.Text()),
)  # fmt: skip


def upgrade() -> None:
    """Nullable columns: what messages told has none of them."""
    for table in ("address", "related_person"):
        for name, kind in _ENTERED:
            op.add_column(table, sa.Column(name, kind, nullable=True))
    op.create_table(
        "patient_note_former",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("patient_id", sa.String(length=32), nullable=False),
        sa.Column("note_id", sa.String(length=32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("written_at", db.UtcDateTime(), nullable=False),
        sa.Column("replaced_at", db.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["patient_id"], ["patient.id"]),
        sa.ForeignKeyConstraint(["note_id"], ["patient_note.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_patient_note_former_patient_id", "patient_note_former", ["patient_id"])
    op.create_index("ix_patient_note_former_note_id", "patient_note_former", ["note_id"])


def downgrade() -> None:
    """Take them away."""
    op.drop_table("patient_note_former")
    for table in ("address", "related_person"):
        for name, _ in reversed(_ENTERED):
            op.drop_column(table, name)
