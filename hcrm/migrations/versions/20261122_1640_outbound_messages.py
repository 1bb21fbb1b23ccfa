"""Messages to other systems, with their tries.

Revision ID: 20261122_1640
Revises: 20261122_1630
"""

import sqlalchemy as sa
from alembic import op
from hcrm.core import db

revision = "20261122_1640"
down_revision = "20261122_1630"
branch_labels = None
depends_on = None

_UNSENT = sa.text("state IN ('pending', 'sending')")


def upgrade() -> None:
    """What is sent, and to whom."""
    op.create_table('outbound_destination',
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('fence', sa.Integer(), nullable=False),
    sa.Column('holder', sa.Text(), nullable=True),
    sa.Column('lease_until', db.UtcDateTime(), nullable=True),
    sa.Column('is_paused', sa.Boolean(), nullable=False),
    sa.Column('paused_by', sa.Text(), nullable=True),
    sa.Column('changed_at', db.UtcDateTime(), nullable=True),
    sa.Column('failures', sa.Integer(), nullable=False),
    sa.Column('not_before', db.UtcDateTime(), nullable=True),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('delivered_at', db.UtcDateTime(), nullable=True),
    sa.PrimaryKeyConstraint('code', name=op.f('pk_outbound_destination'))
    )
    op.create_table('outbound_message',
    sa.Column('seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), sa.Identity(always=False), nullable=False),
    sa.Column('destination', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('subject_type', sa.Text(), nullable=False),
    sa.Column('subject_id', sa.Text(), nullable=False),
    sa.Column('patient_id', sa.Text(), nullable=False),
    sa.Column('control_id', sa.Text(), nullable=False),
    sa.Column('payload', sa.LargeBinary(), nullable=True),
    sa.Column('state', sa.String(length=32), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('refusals', sa.Integer(), nullable=False),
    sa.Column('not_before', db.UtcDateTime(), nullable=False),
    sa.Column('fence', sa.Integer(), nullable=True),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('detail', sa.Text(), nullable=True),
    sa.Column('ack', sa.LargeBinary(), nullable=True),
    sa.Column('queued_at', db.UtcDateTime(), nullable=False),
    sa.Column('sent_at', db.UtcDateTime(), nullable=True),
    sa.Column('decided_at', db.UtcDateTime(), nullable=True),
    sa.ForeignKeyConstraint(['destination'], ['outbound_destination.code'], name=op.f('fk_outbound_message_destination_outbound_destination')),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_outbound_message')),
    sa.UniqueConstraint('destination', 'control_id', name=op.f('uq_outbound_message_destination_control_id')),
    sqlite_autoincrement=True
    )
    with op.batch_alter_table('outbound_message', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_outbound_message_patient_id'), ['patient_id'], unique=False)
        batch_op.create_index('ix_outbound_message_state', ['state', 'seq'], unique=False)
        batch_op.create_index('ix_outbound_message_subject', ['subject_type', 'subject_id'], unique=False)
        batch_op.create_index('ix_outbound_message_unsent', ['destination', 'patient_id', 'seq'], unique=False, sqlite_where=_UNSENT, postgresql_where=_UNSENT)


def downgrade() -> None:
    """Nothing is sent any more."""
    with op.batch_alter_table('outbound_message', schema=None) as batch_op:
        batch_op.drop_index('ix_outbound_message_unsent', sqlite_where=_UNSENT, postgresql_where=_UNSENT)
        batch_op.drop_index('ix_outbound_message_subject')
        batch_op.drop_index('ix_outbound_message_state')
        batch_op.drop_index(batch_op.f('ix_outbound_message_patient_id'))

    op.drop_table('outbound_message')
    op.drop_table('outbound_destination')
