"""Which messages named a local code that nothing mapped.

Revision ID: 20261123_1150
Revises: 20261123_1140
"""

import sqlalchemy as sa
from alembic import op

revision = "20261123_1150"
down_revision = "20261123_1140"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A row for each code and message."""
    op.create_table(
        "code_met",
        sa.Column("sighting_id", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(
            ["sighting_id"], ["code_sighting.id"], name=op.f("fk_code_met_sighting_id_code_sighting")
        ),
        sa.PrimaryKeyConstraint("sighting_id", "seq", name=op.f("pk_code_met")),
    )


def downgrade() -> None:
    """Forget them; the counts stay."""
    op.drop_table("code_met")
