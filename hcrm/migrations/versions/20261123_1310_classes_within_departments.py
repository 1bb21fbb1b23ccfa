"""Classes know the department of their stay; a physician's own stays are read from an index alone.

Revision ID: 20261123_1310
Revises: 20261123_1301
"""

import sqlalchemy as sa
from alembic import op

revision = "20261123_1310"
down_revision = "20261123_1301"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A class within a department is one range of an index."""
    op.add_column("classification", sa.Column("department_id", sa.String, nullable=True))
    op.execute(
        "UPDATE classification SET department_id = "
        "(SELECT encounter.department_id FROM encounter WHERE encounter.id = classification.encounter_id)"
    )
    op.create_index(
        "ix_classification_department",
        "classification",
        ["axis", "code", "department_id", "encounter_id", "is_sensitive"],
    )
    op.drop_index("ix_encounter_attending_id", "encounter")
    op.create_index("ix_encounter_attending", "encounter", ["attending_id", "id", "patient_id"])


def downgrade() -> None:
    """Without it."""
    op.drop_index("ix_encounter_attending", "encounter")
    op.create_index("ix_encounter_attending_id", "encounter", ["attending_id"])
    op.drop_index("ix_classification_department", "classification")
    op.drop_column("classification", "department_id")
