"""Results, drug orders, charges, documents and appointments; what staff lists tell of practitioners.

Revision ID: 20261122_1610
Revises: 20261122_1600
"""

import sqlalchemy as sa
from alembic import op
from hcrm.core import db

revision = "20261122_1610"
down_revision = "20261122_1600"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Six tables, two columns."""
    op.create_table('appointment',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('patient_id', sa.String(length=32), nullable=False),
    sa.Column('encounter_id', sa.String(length=32), nullable=True),
    sa.Column('number', sa.Text(), nullable=False),
    sa.Column('status', sa.String(length=32), nullable=False),
    sa.Column('starts_at', db.UtcDateTime(), nullable=True),
    sa.Column('ends_at', db.UtcDateTime(), nullable=True),
    sa.Column('service', sa.Text(), nullable=False),
    sa.Column('department', sa.Text(), nullable=False),
    sa.Column('location', sa.Text(), nullable=False),
    sa.Column('practitioner', sa.Text(), nullable=False),
    sa.Column('practitioner_name', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('as_of', db.UtcDateTime(), nullable=False),
    sa.Column('seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('confirmed_at', db.UtcDateTime(), nullable=False),
    sa.Column('provenance', db.Json(), nullable=False),
    sa.Column('ended_at', db.UtcDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['encounter_id'], ['encounter.id'], name=op.f('fk_appointment_encounter_id_encounter')),
    sa.ForeignKeyConstraint(['patient_id'], ['patient.id'], name=op.f('fk_appointment_patient_id_patient')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_appointment'))
    )
    with op.batch_alter_table('appointment', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_appointment_encounter_id'), ['encounter_id'], unique=False)
        batch_op.create_index('ix_appointment_number', ['patient_id', 'number'], unique=False)
        batch_op.create_index('ix_appointment_patient', ['patient_id', 'starts_at', 'id'], unique=False)
        batch_op.create_index('ix_appointment_starts', ['starts_at', 'id'], unique=False, sqlite_where=sa.text('ended_at IS NULL'), postgresql_where=sa.text('ended_at IS NULL'))

    op.create_table('charge_item',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('patient_id', sa.String(length=32), nullable=False),
    sa.Column('encounter_id', sa.String(length=32), nullable=True),
    sa.Column('number', sa.Text(), nullable=False),
    sa.Column('kind', sa.String(length=32), nullable=False),
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('cost_class', sa.Text(), nullable=False),
    sa.Column('is_total', sa.Boolean(), nullable=False),
    sa.Column('quantity', sa.Numeric(precision=18, scale=4), nullable=True),
    sa.Column('amount_fen', sa.BigInteger(), nullable=True),
    sa.Column('charged_at', db.UtcDateTime(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('as_of', db.UtcDateTime(), nullable=False),
    sa.Column('seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('confirmed_at', db.UtcDateTime(), nullable=False),
    sa.Column('ended_at', db.UtcDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['encounter_id'], ['encounter.id'], name=op.f('fk_charge_item_encounter_id_encounter')),
    sa.ForeignKeyConstraint(['patient_id'], ['patient.id'], name=op.f('fk_charge_item_patient_id_patient')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_charge_item'))
    )
    with op.batch_alter_table('charge_item', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_charge_item_encounter_id'), ['encounter_id'], unique=False)
        batch_op.create_index('ix_charge_item_number', ['patient_id', 'number'], unique=False)
        batch_op.create_index('ix_charge_item_patient', ['patient_id', 'charged_at', 'id'], unique=False)

    op.create_table('diagnostic_report',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('patient_id', sa.String(length=32), nullable=False),
    sa.Column('encounter_id', sa.String(length=32), nullable=True),
    sa.Column('number', sa.Text(), nullable=False),
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('category', sa.String(length=32), nullable=False),
    sa.Column('status', sa.String(length=32), nullable=False),
    sa.Column('observed_at', db.UtcDateTime(), nullable=True),
    sa.Column('issued_at', db.UtcDateTime(), nullable=False),
    sa.Column('note_sealed', sa.LargeBinary(), nullable=True),
    sa.Column('results', sa.Integer(), nullable=False),
    sa.Column('abnormal', sa.Integer(), nullable=False),
    sa.Column('is_critical', sa.Boolean(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('as_of', db.UtcDateTime(), nullable=False),
    sa.Column('seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('confirmed_at', db.UtcDateTime(), nullable=False),
    sa.Column('provenance', db.Json(), nullable=False),
    sa.Column('ended_at', db.UtcDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['encounter_id'], ['encounter.id'], name=op.f('fk_diagnostic_report_encounter_id_encounter')),
    sa.ForeignKeyConstraint(['patient_id'], ['patient.id'], name=op.f('fk_diagnostic_report_patient_id_patient')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_diagnostic_report'))
    )
    with op.batch_alter_table('diagnostic_report', schema=None) as batch_op:
        batch_op.create_index('ix_diagnostic_report_critical', ['issued_at', 'id'], unique=False, sqlite_where=sa.text('is_critical = 1 AND ended_at IS NULL'), postgresql_where=sa.text('is_critical AND ended_at IS NULL'))
        batch_op.create_index(batch_op.f('ix_diagnostic_report_encounter_id'), ['encounter_id'], unique=False)
        batch_op.create_index('ix_diagnostic_report_number', ['patient_id', 'number'], unique=False)
        batch_op.create_index('ix_diagnostic_report_patient', ['patient_id', 'issued_at', 'id'], unique=False)

    op.create_table('document_reference',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('patient_id', sa.String(length=32), nullable=False),
    sa.Column('encounter_id', sa.String(length=32), nullable=True),
    sa.Column('number', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('title', sa.Text(), nullable=False),
    sa.Column('status', sa.String(length=32), nullable=False),
    sa.Column('author', sa.Text(), nullable=False),
    sa.Column('written_at', db.UtcDateTime(), nullable=False),
    sa.Column('replaces', sa.Text(), nullable=True),
    sa.Column('media_type', sa.Text(), nullable=False),
    sa.Column('size', sa.Integer(), nullable=False),
    sa.Column('text_sealed', sa.LargeBinary(), nullable=True),
    sa.Column('content_sealed', sa.LargeBinary(), nullable=True),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('as_of', db.UtcDateTime(), nullable=False),
    sa.Column('seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('confirmed_at', db.UtcDateTime(), nullable=False),
    sa.Column('provenance', db.Json(), nullable=False),
    sa.Column('ended_at', db.UtcDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['encounter_id'], ['encounter.id'], name=op.f('fk_document_reference_encounter_id_encounter')),
    sa.ForeignKeyConstraint(['patient_id'], ['patient.id'], name=op.f('fk_document_reference_patient_id_patient')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_document_reference'))
    )
    with op.batch_alter_table('document_reference', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_document_reference_encounter_id'), ['encounter_id'], unique=False)
        batch_op.create_index('ix_document_reference_number', ['patient_id', 'number'], unique=False)
        batch_op.create_index('ix_document_reference_patient', ['patient_id', 'written_at', 'id'], unique=False)

    op.create_table('medication_request',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('patient_id', sa.String(length=32), nullable=False),
    sa.Column('encounter_id', sa.String(length=32), nullable=True),
    sa.Column('number', sa.Text(), nullable=False),
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('status', sa.String(length=32), nullable=False),
    sa.Column('is_herbal', sa.Boolean(), nullable=False),
    sa.Column('components', db.Json(), nullable=False),
    sa.Column('dose', sa.Text(), nullable=False),
    sa.Column('dose_unit', sa.Text(), nullable=False),
    sa.Column('route', sa.Text(), nullable=False),
    sa.Column('frequency', sa.Text(), nullable=False),
    sa.Column('quantity', sa.Text(), nullable=False),
    sa.Column('quantity_unit', sa.Text(), nullable=False),
    sa.Column('doses', sa.Integer(), nullable=True),
    sa.Column('note_sealed', sa.LargeBinary(), nullable=True),
    sa.Column('starts_on', sa.Date(), nullable=False),
    sa.Column('ends_on', sa.Date(), nullable=True),
    sa.Column('end_basis', sa.String(length=32), nullable=True),
    sa.Column('given_at', db.UtcDateTime(), nullable=True),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('as_of', db.UtcDateTime(), nullable=False),
    sa.Column('seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('confirmed_at', db.UtcDateTime(), nullable=False),
    sa.Column('provenance', db.Json(), nullable=False),
    sa.Column('ended_at', db.UtcDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['encounter_id'], ['encounter.id'], name=op.f('fk_medication_request_encounter_id_encounter')),
    sa.ForeignKeyConstraint(['patient_id'], ['patient.id'], name=op.f('fk_medication_request_patient_id_patient')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_medication_request'))
    )
    with op.batch_alter_table('medication_request', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_medication_request_encounter_id'), ['encounter_id'], unique=False)
        batch_op.create_index('ix_medication_request_ends', ['ends_on', 'id'], unique=False, sqlite_where=sa.text('ends_on IS NOT NULL AND ended_at IS NULL'), postgresql_where=sa.text('ends_on IS NOT NULL AND ended_at IS NULL'))
        batch_op.create_index('ix_medication_request_number', ['patient_id', 'number'], unique=False)
        batch_op.create_index('ix_medication_request_patient', ['patient_id', 'starts_on', 'id'], unique=False)

    op.create_table('observation',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('report_id', sa.String(length=32), nullable=False),
    sa.Column('patient_id', sa.String(length=32), nullable=False),
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('rank', sa.Integer(), nullable=False),
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('value', sa.Text(), nullable=True),
    sa.Column('value_sealed', sa.LargeBinary(), nullable=True),
    sa.Column('unit', sa.Text(), nullable=False),
    sa.Column('reference_range', sa.Text(), nullable=False),
    sa.Column('flag', sa.String(length=32), nullable=True),
    sa.Column('flag_text', sa.Text(), nullable=False),
    sa.Column('status', sa.String(length=32), nullable=False),
    sa.Column('observed_at', db.UtcDateTime(), nullable=True),
    sa.Column('note_sealed', sa.LargeBinary(), nullable=True),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('as_of', db.UtcDateTime(), nullable=False),
    sa.Column('seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('confirmed_at', db.UtcDateTime(), nullable=False),
    sa.Column('ended_at', db.UtcDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['patient_id'], ['patient.id'], name=op.f('fk_observation_patient_id_patient')),
    sa.ForeignKeyConstraint(['report_id'], ['diagnostic_report.id'], name=op.f('fk_observation_report_id_diagnostic_report')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_observation'))
    )
    with op.batch_alter_table('observation', schema=None) as batch_op:
        batch_op.create_index('ix_observation_course', ['patient_id', 'code', 'observed_at'], unique=False)
        batch_op.create_index('ix_observation_report', ['report_id', 'rank'], unique=False)

    with op.batch_alter_table('practitioner', schema=None) as batch_op:
        batch_op.add_column(sa.Column('is_active', sa.Boolean(), server_default=sa.true(), nullable=False))
        batch_op.add_column(sa.Column('told_at', db.UtcDateTime(), nullable=True))


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table('practitioner', schema=None) as batch_op:
        batch_op.drop_column('told_at')
        batch_op.drop_column('is_active')
    with op.batch_alter_table('observation', schema=None) as batch_op:
        batch_op.drop_index('ix_observation_report')
        batch_op.drop_index('ix_observation_course')

    op.drop_table('observation')
    with op.batch_alter_table('medication_request', schema=None) as batch_op:
        batch_op.drop_index('ix_medication_request_patient')
        batch_op.drop_index('ix_medication_request_number')
        batch_op.drop_index('ix_medication_request_ends', sqlite_where=sa.text('ends_on IS NOT NULL AND ended_at IS NULL'), postgresql_where=sa.text('ends_on IS NOT NULL AND ended_at IS NULL'))
        batch_op.drop_index(batch_op.f('ix_medication_request_encounter_id'))

    op.drop_table('medication_request')
    with op.batch_alter_table('document_reference', schema=None) as batch_op:
        batch_op.drop_index('ix_document_reference_patient')
        batch_op.drop_index('ix_document_reference_number')
        batch_op.drop_index(batch_op.f('ix_document_reference_encounter_id'))

    op.drop_table('document_reference')
    with op.batch_alter_table('diagnostic_report', schema=None) as batch_op:
        batch_op.drop_index('ix_diagnostic_report_patient')
        batch_op.drop_index('ix_diagnostic_report_number')
        batch_op.drop_index(batch_op.f('ix_diagnostic_report_encounter_id'))
        batch_op.drop_index('ix_diagnostic_report_critical', sqlite_where=sa.text('is_critical = 1 AND ended_at IS NULL'), postgresql_where=sa.text('is_critical AND ended_at IS NULL'))

    op.drop_table('diagnostic_report')
    with op.batch_alter_table('charge_item', schema=None) as batch_op:
        batch_op.drop_index('ix_charge_item_patient')
        batch_op.drop_index('ix_charge_item_number')
        batch_op.drop_index(batch_op.f('ix_charge_item_encounter_id'))

    op.drop_table('charge_item')
    with op.batch_alter_table('appointment', schema=None) as batch_op:
        batch_op.drop_index('ix_appointment_starts', sqlite_where=sa.text('ended_at IS NULL'), postgresql_where=sa.text('ended_at IS NULL'))
        batch_op.drop_index('ix_appointment_patient')
        batch_op.drop_index('ix_appointment_number')
        batch_op.drop_index(batch_op.f('ix_appointment_encounter_id'))

    op.drop_table('appointment')
