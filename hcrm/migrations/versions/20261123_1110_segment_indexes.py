"""Indexes of the segments at three million stays: each holds what is usually asked together.

Revision ID: 20261123_1110
Revises: 20261123_1100
"""

import sqlalchemy as sa
from alembic import op

revision = "20261123_1110"
down_revision = "20261123_1100"
branch_labels = None
depends_on = None

_LIVE = sa.text("ended_at IS NULL")
_INDEXES = {  # table, name: before, after
    ("patient_profile", "ix_patient_profile_seen"): (
        ["is_listed", "seen_on", "id"],
        ["is_listed", "seen_on", "id", "deceased", "sex", "birth_on", "last_discharged_on"],
    ),
    ("stay_profile", "ix_stay_profile_visited"): (
        ["visited_on", "patient_id"],
        ["visited_on", "department_id", "encounter_class", "patient_id"],
    ),
    ("stay_profile", "ix_stay_profile_discharged"): (
        ["discharged_on", "patient_id"],
        ["discharged_on", "encounter_class", "patient_id"],
    ),
    ("stay_profile", "ix_stay_profile_department"): (
        ["department_id", "discharged_on", "patient_id"],
        ["department_id", "discharged_on", "encounter_class", "main_diagnosis", "disease_group", "patient_id"],
    ),
    ("stay_profile", "ix_stay_profile_attending"): (
        ["attending_id", "discharged_on", "patient_id"],
        ["attending_id", "discharged_on", "encounter_class", "patient_id"],
    ),
    ("stay_profile", "ix_stay_profile_diagnosis"): (
        ["main_diagnosis", "discharged_on", "patient_id"],
        ["main_diagnosis", "discharged_on", "encounter_class", "department_id", "patient_id"],
    ),
    ("stay_profile", "ix_stay_profile_disease"): (
        ["disease_group", "discharged_on", "patient_id"],
        ["disease_group", "discharged_on", "encounter_class", "patient_id"],
    ),
    ("stay_profile", "ix_stay_profile_specialty"): (
        ["specialty", "discharged_on", "patient_id"],
        ["specialty", "discharged_on", "encounter_class", "patient_id"],
    ),
}


def upgrade() -> None:
    """Wider indexes, and one by which consents are asked."""
    for (table, name), (_, after) in _INDEXES.items():
        op.drop_index(name, table)
        op.create_index(name, table, after)
    op.create_index(
        "ix_consent_asked", "consent", ["purpose", "means", "decision", "patient_id"], sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    )  # fmt: skip


def downgrade() -> None:
    """The narrow ones."""
    op.drop_index("ix_consent_asked", "consent")
    for (table, name), (before, _) in _INDEXES.items():
        op.drop_index(name, table)
        op.create_index(name, table, before)
