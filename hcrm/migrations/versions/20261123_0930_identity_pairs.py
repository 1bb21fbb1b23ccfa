"""Pairs of archives that may be one person; record numbers given here.

Revision ID: 20261123_0930
Revises: 20261123_0920
"""

import sqlalchemy as sa
from alembic import op

from hcrm.core import db

revision = "20261123_0930"
down_revision = "20261123_0920"
branch_labels = None
depends_on = None

_ID = sa.String(length=32)


def upgrade() -> None:
    """Four tables, and the index by which two archives of one birth date and name sound meet."""
    op.create_table(
        "identity_pair",
        sa.Column("id", _ID, nullable=False),
        sa.Column("low_id", _ID, nullable=False),
        sa.Column("high_id", _ID, nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("evidence", db.Json(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", db.UtcDateTime(), nullable=True),
        sa.Column("found_at", db.UtcDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["low_id"], ["patient.id"], name=op.f("fk_identity_pair_low_id_patient")),
        sa.ForeignKeyConstraint(["high_id"], ["patient.id"], name=op.f("fk_identity_pair_high_id_patient")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_pair")),
        sa.UniqueConstraint("low_id", "high_id", name=op.f("uq_identity_pair_low_id_high_id")),
    )
    op.create_index("ix_identity_pair_state", "identity_pair", ["state", "score", "id"])
    op.create_index("ix_identity_pair_high", "identity_pair", ["high_id"])
    op.create_table(
        "identity_pair_decision",
        sa.Column("id", _ID, nullable=False),
        sa.Column("pair_id", _ID, nullable=False),
        sa.Column("before", sa.String(length=32), nullable=False),
        sa.Column("after", sa.String(length=32), nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("merge_id", _ID, nullable=True),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("decided_at", db.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["pair_id"], ["identity_pair.id"], name=op.f("fk_identity_pair_decision_pair_id_identity_pair")
        ),
        sa.ForeignKeyConstraint(
            ["merge_id"], ["patient_merge.id"], name=op.f("fk_identity_pair_decision_merge_id_patient_merge")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_pair_decision")),
    )
    op.create_index(op.f("ix_identity_pair_decision_pair_id"), "identity_pair_decision", ["pair_id"])
    op.create_index("ix_identity_pair_decision_actor", "identity_pair_decision", ["actor_id", "decided_at"])
    op.create_table(
        "identity_scan",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("cursor_at", db.UtcDateTime(), nullable=True),
        sa.Column("cursor_id", sa.Text(), nullable=False),
        sa.Column("handled", sa.Integer(), nullable=False),
        sa.Column("found", sa.Integer(), nullable=False),
        sa.Column("shared", sa.Integer(), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("started_at", db.UtcDateTime(), nullable=False),
        sa.Column("finished_at", db.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_identity_scan")),
    )
    op.create_table(
        "own_number",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("given_at", db.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_own_number")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_patient_birth_pinyin", "patient", ["birth_date", "name_pinyin"])


def downgrade() -> None:
    """Take it all away."""
    op.drop_index("ix_patient_birth_pinyin", table_name="patient")
    op.drop_table("own_number")
    op.drop_table("identity_scan")
    op.drop_table("identity_pair_decision")
    op.drop_table("identity_pair")
