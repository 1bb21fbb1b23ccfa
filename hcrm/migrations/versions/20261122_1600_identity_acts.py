"""Links between patients, merged and moved visits, accounts, replaced numbers, VIPs.

Revision ID: 20261122_1600
Revises: 20261122_1500
"""

import sqlalchemy as sa
from alembic import op

from hcrm.core import db

revision = "20261122_1600"
down_revision = "20261122_1500"
branch_labels = None
depends_on = None

_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MERGED = sa.text("merged_into_id IS NOT NULL")
_HAS_ACCOUNT = sa.text("account_no IS NOT NULL")


def upgrade() -> None:
    """One table, and columns that are added without rewriting the tables."""
    op.create_table(
        "patient_link",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("patient_id", sa.String(length=32), nullable=False),
        sa.Column("other_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("as_of", db.UtcDateTime(), nullable=False),
        sa.Column("seq", _SEQ, nullable=False),
        sa.Column("created_at", db.UtcDateTime(), nullable=False),
        sa.Column("ended_at", db.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["patient_id"], ["patient.id"], name=op.f("fk_patient_link_patient_id_patient")),
        sa.ForeignKeyConstraint(["other_id"], ["patient.id"], name=op.f("fk_patient_link_other_id_patient")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient_link")),
    )
    op.create_index(op.f("ix_patient_link_patient_id"), "patient_link", ["patient_id"])
    op.create_index(op.f("ix_patient_link_other_id"), "patient_link", ["other_id"])
    op.add_column("patient", sa.Column("is_vip", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("patient_identifier", sa.Column("replaced_at", db.UtcDateTime(), nullable=True))
    op.add_column("patient_merge", sa.Column("left", db.Json(), nullable=True))
    op.add_column("patient_merge", sa.Column("told_at", db.UtcDateTime(), nullable=True))
    op.create_index(op.f("ix_patient_merge_merged_at"), "patient_merge", ["merged_at"])
    op.add_column("encounter", sa.Column("account_no", sa.Text(), nullable=True))
    # Written out: Alembic would copy the whole table on SQLite to add a column with a foreign key.
    op.execute(
        "ALTER TABLE encounter ADD COLUMN merged_into_id VARCHAR(32) "
        "CONSTRAINT fk_encounter_merged_into_id_encounter REFERENCES encounter (id)"
    )
    op.create_index(
        "ix_encounter_account", "encounter", ["account_no"], sqlite_where=_HAS_ACCOUNT,
        postgresql_where=_HAS_ACCOUNT,
    )  # fmt: skip
    op.create_index(
        "ix_encounter_merged_into", "encounter", ["merged_into_id"], sqlite_where=_MERGED, postgresql_where=_MERGED
    )


def downgrade() -> None:
    """Take it all away."""
    op.drop_index("ix_encounter_merged_into", table_name="encounter")
    op.drop_index("ix_encounter_account", table_name="encounter")
    with op.batch_alter_table("encounter") as batch:
        batch.drop_column("merged_into_id")
        batch.drop_column("account_no")
    op.drop_index(op.f("ix_patient_merge_merged_at"), table_name="patient_merge")
    op.drop_column("patient_merge", "told_at")
    op.drop_column("patient_merge", "left")
    op.drop_column("patient_identifier", "replaced_at")
    op.drop_column("patient", "is_vip")
    op.drop_table("patient_link")
