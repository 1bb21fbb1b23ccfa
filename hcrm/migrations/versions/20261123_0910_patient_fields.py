"""What is known of a patient beyond the messages: fields, tags, notes.

Revision ID: 20261123_0910
Revises: 20261123_0900
"""

import sqlalchemy as sa
from alembic import op

from hcrm.core import db

revision = "20261123_0910"
down_revision = "20261123_0900"
branch_labels = None
depends_on = None

_LIVE = sa.text("ended_at IS NULL")
_ALLERGY = (("informant", sa.String(length=32)), ("actor_name", sa.Text()), ("ended_by_name", sa.Text()))


def upgrade() -> None:
    """Three tables, the list of who has no next step, and who entered an allergy by hand."""
    op.create_table(
        "patient_field_value",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("patient_id", sa.String(length=32), nullable=False),
        sa.Column("field_code", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("informant", sa.String(length=32), nullable=True),
        sa.Column("as_of", db.UtcDateTime(), nullable=False),
        sa.Column("asked_on", sa.Date(), nullable=True),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("act_id", sa.Text(), nullable=False),
        sa.Column("created_at", db.UtcDateTime(), nullable=False),
        sa.Column("ended_at", db.UtcDateTime(), nullable=True),
        sa.Column("ended_act_id", sa.Text(), nullable=True),
        sa.Column("ended_by_name", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["patient_id"], ["patient.id"], name=op.f("fk_patient_field_value_patient_id_patient")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient_field_value")),
    )
    op.create_index("ix_patient_field_value_patient", "patient_field_value", ["patient_id", "field_code"])
    op.create_index(
        "ix_patient_field_value_value", "patient_field_value", ["field_code", "value", "patient_id"],
        sqlite_where=_LIVE, postgresql_where=_LIVE,
    )  # fmt: skip
    op.create_table(
        "patient_tag",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("patient_id", sa.String(length=32), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("created_at", db.UtcDateTime(), nullable=False),
        sa.Column("ended_at", db.UtcDateTime(), nullable=True),
        sa.Column("ended_by_name", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["patient_id"], ["patient.id"], name=op.f("fk_patient_tag_patient_id_patient")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient_tag")),
    )
    op.create_index("ix_patient_tag_patient", "patient_tag", ["patient_id"])
    op.create_index(
        "ix_patient_tag_tag", "patient_tag", ["tag", "patient_id"], sqlite_where=_LIVE, postgresql_where=_LIVE
    )
    op.create_table(
        "patient_note",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("patient_id", sa.String(length=32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("created_at", db.UtcDateTime(), nullable=False),
        sa.Column("edited_at", db.UtcDateTime(), nullable=True),
        sa.Column("struck_at", db.UtcDateTime(), nullable=True),
        sa.Column("struck_by_name", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["patient_id"], ["patient.id"], name=op.f("fk_patient_note_patient_id_patient")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient_note")),
    )
    op.create_index("ix_patient_note_patient", "patient_note", ["patient_id", "created_at", "id"])
    op.create_table(
        "care_gap",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("patient_id", sa.String(length=32), nullable=False),
        sa.Column("rule_code", sa.Text(), nullable=False),
        sa.Column("rule_title", sa.Text(), nullable=False),
        sa.Column("since_on", sa.Date(), nullable=False),
        sa.Column("found_on", sa.Date(), nullable=False),
        sa.ForeignKeyConstraint(["patient_id"], ["patient.id"], name=op.f("fk_care_gap_patient_id_patient")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_care_gap")),
    )
    op.create_index(op.f("ix_care_gap_patient_id"), "care_gap", ["patient_id"])
    op.create_index("ix_care_gap_since", "care_gap", ["since_on", "id"])
    for name, kind in _ALLERGY:
        op.add_column("allergy", sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    """Take it all away."""
    for name, _ in reversed(_ALLERGY):
        op.drop_column("allergy", name)
    op.drop_table("care_gap")
    op.drop_table("patient_note")
    op.drop_table("patient_tag")
    op.drop_table("patient_field_value")
