"""What the interface console keeps: incidents, traffic, corrected copies, replays, what pruning has passed, who was refused.

Revision ID: 20261122_1620
Revises: 20261122_1610
"""

import sqlalchemy as sa
from alembic import op

from hcrm.core import db

revision = "20261122_1620"
down_revision = "20261122_1610"
branch_labels = None
depends_on = None

_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_REFUSED = ("detail", "source", "sender", "facility", "control_id", "subject", "door")
_TABLES = (
    "message_act", "message_correction", "replay_run", "prune_floor", "prune_later", "message_traffic", "incident",
)  # fmt: skip


def upgrade() -> None:
    """Tables of the console, and indexes that follow its filters."""
    op.create_table(
        "message_act",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("seq", _SEQ, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("happened_at", db.UtcDateTime(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("state_before", sa.Text(), nullable=True),
        sa.Column("reason_before", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message_act")),
    )
    op.create_index(op.f("ix_message_act_seq"), "message_act", ["seq"])
    op.create_table(
        "message_correction",
        sa.Column("original_seq", _SEQ, autoincrement=False, nullable=False),
        sa.Column("copy_seq", _SEQ, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("corrected_at", db.UtcDateTime(), nullable=False),
        sa.Column("corrected_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("original_seq", name=op.f("pk_message_correction")),
        sa.UniqueConstraint("copy_seq", name=op.f("uq_message_correction_copy_seq")),
    )
    op.create_table(
        "replay_run",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("started_at", db.UtcDateTime(), nullable=False),
        sa.Column("started_by", sa.Text(), nullable=False),
        sa.Column("started_by_name", sa.Text(), nullable=False),
        sa.Column("filters", db.Json(), nullable=False),
        sa.Column("upto_seq", _SEQ, nullable=False),
        sa.Column("seq", _SEQ, nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("finished_at", db.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replay_run")),
    )
    running = sa.text("state = 'running'")
    op.create_index(
        "ix_replay_run_running", "replay_run", ["id"], sqlite_where=running, postgresql_where=running
    )
    op.create_table(
        "prune_floor",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", _SEQ, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prune_floor")),
    )
    op.create_table(
        "prune_later",
        sa.Column("seq", _SEQ, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_prune_later")),
    )
    op.create_table(
        "message_traffic",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("slot_at", db.UtcDateTime(), nullable=False),
        sa.Column("received", sa.Integer(), nullable=False),
        sa.Column("parked", sa.Integer(), nullable=False),
        sa.Column("lag_seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("source", "slot_at", name=op.f("pk_message_traffic")),
    )
    op.create_index(op.f("ix_message_traffic_slot_at"), "message_traffic", ["slot_at"])
    op.create_table(
        "incident",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("opened_at", db.UtcDateTime(), nullable=False),
        sa.Column("closed_at", db.UtcDateTime(), nullable=True),
        sa.Column("detail", db.Json(), nullable=False),
        sa.Column("acknowledged_at", db.UtcDateTime(), nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("acknowledged_by_name", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident")),
    )
    is_open = sa.text("closed_at IS NULL")
    op.create_index(
        "uq_incident_open", "incident", ["kind", "source", "subject"], unique=True, sqlite_where=is_open,
        postgresql_where=is_open,
    )  # fmt: skip
    op.create_index("ix_inbox_application_kind_seq", "inbox_application", ["kind", "seq"])
    op.create_index("ix_inbox_application_source_seq", "inbox_application", ["source", "seq"])
    given = sa.text("reason IS NOT NULL")
    op.create_index(
        "ix_inbox_application_reason_seq", "inbox_application", ["reason", "seq"], sqlite_where=given,
        postgresql_where=given,
    )  # fmt: skip


    for name in _REFUSED:
        op.add_column("refused_message", sa.Column(name, sa.Text(), nullable=True), schema=db.INBOX_SCHEMA)
    op.add_column(
        "refused_message", sa.Column("peer_port", sa.Integer(), nullable=True), schema=db.INBOX_SCHEMA
    )
    op.add_column(
        "refused_message", sa.Column("name", sa.LargeBinary(), nullable=True), schema=db.INBOX_SCHEMA
    )


def downgrade() -> None:
    """Without them."""
    for name in ("name", "peer_port", *_REFUSED):
        op.drop_column("refused_message", name, schema=db.INBOX_SCHEMA)
    for name in ("reason", "source", "kind"):
        op.drop_index(f"ix_inbox_application_{name}_seq", table_name="inbox_application")
    for table in _TABLES:
        op.drop_table(table)
