"""Duty rosters and doctor schedules.

Revision ID: 20261123_1130
Revises: 20261123_1120
"""

import sqlalchemy as sa
from alembic import op

from hcrm.core import db

revision = "20261123_1130"
down_revision = "20261123_1120"
branch_labels = None
depends_on = None


def _key(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.String(length=32), nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _flag(name: str, default: sa.ColumnElement) -> sa.Column:
    return sa.Column(name, sa.Boolean(), server_default=default, nullable=False)


def _table(name: str, *columns: sa.Column) -> None:
    parents = (("department_id", "department"), ("campus_id", "campus"), ("practitioner_id", "practitioner"))
    op.create_table(
        name,
        _key("id"),
        *columns,
        sa.Column("created_at", db.UtcDateTime(), nullable=False),
        *(
            sa.ForeignKeyConstraint([column], [f"{parent}.id"], name=op.f(f"fk_{name}_{column}_{parent}"))
            for column, parent in parents
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
    )
    op.create_index(f"ix_{name}_department", name, ["department_id", "day"])
    op.create_index(f"ix_{name}_day", name, ["day", "id"])


def upgrade() -> None:
    """Who is on duty, who holds which clinic."""
    _table(
        "duty_shift",
        _key("department_id", nullable=True),
        _key("campus_id", nullable=True),
        sa.Column("day", sa.Date(), nullable=False),
        _text("shift"),
        _text("starts"),
        _text("ends"),
        _key("practitioner_id"),
        _text("phone", nullable=True),
        _flag("is_active", sa.true()),
    )
    op.create_index(op.f("ix_duty_shift_practitioner_id"), "duty_shift", ["practitioner_id"])
    _table(
        "schedule_slot",
        _key("practitioner_id"),
        _key("department_id"),
        _key("campus_id", nullable=True),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("session", sa.String(length=32), nullable=False),
        sa.Column("clinic_type", sa.String(length=32), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=False),
        _flag("is_stopped", sa.false()),
        _text("note", nullable=True),
    )
    op.create_index("ix_schedule_slot_practitioner", "schedule_slot", ["practitioner_id", "day"])


def downgrade() -> None:
    """Without them."""
    op.drop_table("schedule_slot")
    op.drop_table("duty_shift")
