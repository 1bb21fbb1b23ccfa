"""Saved segments and the flat profile they count over; how a visit is paid for; sorting anew.

Revision ID: 20261123_0940
Revises: 20261123_0930
"""

import sqlalchemy as sa
from alembic import op
from hcrm.core import db

revision = "20261123_0940"
down_revision = "20261123_0930"
branch_labels = None
depends_on = None

_INDEXES = {
    "patient_loss": {
        "ix_patient_loss_patient": ["patient_id", "created_at"],
        "ix_patient_loss_reason": ["reason", "patient_id"],
    },
    "classification_run": {"ix_classification_run_state": ["state", "id"]},
    "classification_change": {
        "ix_classification_change_axis": ["run_id", "axis", "before_code", "after_code", "id"],
        "ix_classification_change_stay": ["run_id", "encounter_id"],
        "ix_classification_change_encounter_id": ["encounter_id"],
    },
    "classification_before": {
        "ix_classification_before_stay": ["run_id", "encounter_id"],
        "ix_classification_before_encounter_id": ["encounter_id"],
    },
    "segment": {"ix_segment_name": ["name", "id"]},
    "patient_profile": {
        "ix_patient_profile_seen": ["is_listed", "seen_on", "id"],
        "ix_patient_profile_created": ["is_listed", "created_on", "id"],
        "ix_patient_profile_visits": ["is_listed", "visits", "id"],
        "ix_patient_profile_birth": ["birth_on", "id"],
        "ix_patient_profile_region": ["region_code", "id"],
        "ix_patient_profile_discharged": ["last_discharged_on", "id"],
    },
    "stay_profile": {
        "ix_stay_profile_patient": ["patient_id"],
        "ix_stay_profile_visited": ["visited_on", "patient_id"],
        "ix_stay_profile_discharged": ["discharged_on", "patient_id"],
        "ix_stay_profile_department": ["department_id", "discharged_on", "patient_id"],
        "ix_stay_profile_attending": ["attending_id", "discharged_on", "patient_id"],
        "ix_stay_profile_diagnosis": ["main_diagnosis", "discharged_on", "patient_id"],
        "ix_stay_profile_disease": ["disease_group", "discharged_on", "patient_id"],
        "ix_stay_profile_specialty": ["specialty", "discharged_on", "patient_id"],
    },
}


def upgrade() -> None:
    """What segments are, and what they are counted over."""
    op.add_column('encounter', sa.Column('payment_type', sa.Text(), nullable=True))
    op.create_table('segment',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('code', sa.Text(), nullable=True),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('note', sa.Text(), server_default='', nullable=False),
    sa.Column('filter', db.Json(), nullable=False),
    sa.Column('columns', db.Json(), nullable=False),
    sa.Column('sort', sa.Text(), nullable=False),
    sa.Column('scope', sa.String(length=32), nullable=False),
    sa.Column('department_id', sa.String(length=32), nullable=True),
    sa.Column('default_for', sa.Text(), nullable=True),
    sa.Column('owner_id', sa.Text(), nullable=False),
    sa.Column('owner_name', sa.Text(), nullable=False),
    sa.Column('counted', sa.Integer(), nullable=True),
    sa.Column('counted_at', db.UtcDateTime(), nullable=True),
    sa.Column('created_at', db.UtcDateTime(), nullable=False),
    sa.Column('updated_at', db.UtcDateTime(), nullable=False),
    sa.Column('ended_at', db.UtcDateTime(), nullable=True),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['department_id'], ['department.id'], name=op.f('fk_segment_department_id_department')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_segment')),
    sa.UniqueConstraint('code', name=op.f('uq_segment_code'))
    )
    op.create_table('patient_profile',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('is_listed', sa.Boolean(), nullable=False),
    sa.Column('sex', sa.Text(), nullable=False),
    sa.Column('birth_on', sa.Date(), nullable=True),
    sa.Column('region_code', sa.Text(), nullable=False),
    sa.Column('marital_status', sa.Text(), nullable=False),
    sa.Column('deceased', sa.Text(), nullable=False),
    sa.Column('is_vip', sa.Boolean(), nullable=False),
    sa.Column('created_on', sa.Date(), nullable=False),
    sa.Column('seen_on', sa.Date(), nullable=False),
    sa.Column('first_visit_on', sa.Date(), nullable=True),
    sa.Column('last_visit_on', sa.Date(), nullable=True),
    sa.Column('last_discharged_on', sa.Date(), nullable=True),
    sa.Column('in_house', sa.Boolean(), nullable=False),
    sa.Column('visits', sa.Integer(), nullable=False),
    sa.Column('inpatient_visits', sa.Integer(), nullable=False),
    sa.Column('outpatient_visits', sa.Integer(), nullable=False),
    sa.Column('emergency_visits', sa.Integer(), nullable=False),
    sa.Column('recent_visits', sa.Integer(), nullable=False),
    sa.Column('tcm_visits', sa.Integer(), nullable=False),
    sa.Column('diseases', sa.Integer(), nullable=False),
    sa.Column('missed_bookings', sa.Integer(), nullable=False),
    sa.Column('payment_type', sa.Text(), nullable=False),
    sa.Column('spending_fen', sa.BigInteger(), nullable=False),
    sa.Column('drug_fen', sa.BigInteger(), nullable=False),
    sa.Column('treatment_fen', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_patient_profile'))
    )
    op.create_table('stay_profile',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('patient_id', sa.String(length=32), nullable=False),
    sa.Column('encounter_class', sa.Text(), nullable=False),
    sa.Column('status', sa.Text(), nullable=False),
    sa.Column('department_id', sa.Text(), nullable=False),
    sa.Column('attending_id', sa.Text(), nullable=False),
    sa.Column('visited_on', sa.Date(), nullable=True),
    sa.Column('discharged_on', sa.Date(), nullable=True),
    sa.Column('discharge_way', sa.Text(), nullable=False),
    sa.Column('days', sa.Integer(), nullable=True),
    sa.Column('visit_month', sa.Integer(), nullable=True),
    sa.Column('visit_quarter', sa.Integer(), nullable=True),
    sa.Column('specialty', sa.Text(), nullable=False),
    sa.Column('disease_group', sa.Text(), nullable=False),
    sa.Column('region', sa.Text(), nullable=False),
    sa.Column('main_diagnosis', sa.Text(), nullable=False),
    sa.Column('is_tcm', sa.Boolean(), nullable=False),
    sa.Column('payment_type', sa.Text(), nullable=False),
    sa.Column('spending_fen', sa.BigInteger(), nullable=False),
    sa.Column('drug_fen', sa.BigInteger(), nullable=False),
    sa.Column('treatment_fen', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['patient_id'], ['patient.id'], name=op.f('fk_stay_profile_patient_id_patient')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_stay_profile'))
    )
    op.create_table('patient_loss',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('patient_id', sa.String(length=32), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('note', sa.Text(), nullable=False),
    sa.Column('actor_id', sa.Text(), nullable=False),
    sa.Column('actor_name', sa.Text(), nullable=False),
    sa.Column('created_at', db.UtcDateTime(), nullable=False),
    sa.Column('ended_at', db.UtcDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['patient_id'], ['patient.id'], name=op.f('fk_patient_loss_patient_id_patient')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_patient_loss'))
    )
    op.add_column('classification', sa.Column('is_provisional', sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table('classification_run',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('state', sa.String(length=32), nullable=False),
    sa.Column('stopped_in', sa.String(length=32), nullable=True),
    sa.Column('rules', db.Json(), nullable=False),
    sa.Column('cursor', sa.Text(), nullable=False),
    sa.Column('looked', sa.Integer(), nullable=False),
    sa.Column('changed', sa.Integer(), nullable=False),
    sa.Column('applied', sa.Integer(), nullable=False),
    sa.Column('undone', sa.Integer(), nullable=False),
    sa.Column('kept', sa.Integer(), nullable=False),
    sa.Column('appearing', sa.Integer(), nullable=False),
    sa.Column('missed', sa.Integer(), nullable=False),
    sa.Column('moving', sa.Integer(), nullable=False),
    sa.Column('withdrawn', sa.Integer(), nullable=False),
    sa.Column('started_by', sa.Text(), nullable=False),
    sa.Column('started_by_name', sa.Text(), nullable=False),
    sa.Column('started_at', db.UtcDateTime(), nullable=False),
    sa.Column('applied_by_name', sa.Text(), nullable=True),
    sa.Column('applied_at', db.UtcDateTime(), nullable=True),
    sa.Column('finished_at', db.UtcDateTime(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_classification_run'))
    )
    op.create_table('classification_change',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('run_id', sa.String(length=32), nullable=False),
    sa.Column('encounter_id', sa.String(length=32), nullable=False),
    sa.Column('axis', sa.Text(), nullable=False),
    sa.Column('before_code', sa.Text(), nullable=False),
    sa.Column('before_label', sa.Text(), nullable=False),
    sa.Column('after_code', sa.Text(), nullable=False),
    sa.Column('after_label', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['encounter_id'], ['encounter.id'], name=op.f('fk_classification_change_encounter_id_encounter')),
    sa.ForeignKeyConstraint(['run_id'], ['classification_run.id'], name=op.f('fk_classification_change_run_id_classification_run')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_classification_change'))
    )
    op.create_table('classification_before',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('run_id', sa.String(length=32), nullable=False),
    sa.Column('encounter_id', sa.String(length=32), nullable=False),
    sa.Column('rows', db.Json(), nullable=False),
    sa.Column('applied_at', db.UtcDateTime(), nullable=False),
    sa.ForeignKeyConstraint(['encounter_id'], ['encounter.id'], name=op.f('fk_classification_before_encounter_id_encounter')),
    sa.ForeignKeyConstraint(['run_id'], ['classification_run.id'], name=op.f('fk_classification_before_run_id_classification_run')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_classification_before'))
    )
    for table, indexes in _INDEXES.items():
        for name, columns in indexes.items():
            op.create_index(name, table, columns, unique=False)


def downgrade() -> None:
    """No segments; the archive they were made of stands."""
    tables = ("classification_before", "classification_change", "classification_run")
    for table in (*tables, "patient_loss", "stay_profile", "patient_profile", "segment"):
        op.drop_table(table)
    op.drop_column('classification', 'is_provisional')
    op.drop_column('encounter', 'payment_type')
