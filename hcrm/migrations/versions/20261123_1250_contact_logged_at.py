"""When an entry of the contact log was written, beside when the contact took place.

Revision ID: 20261123_1250
Revises: 20261123_1210
"""

import sqlalchemy as sa
from alembic import op

from hcrm.core import db

revision = "20261123_1250"
down_revision = "20261123_1210"
branch_labels = None
depends_on = None

_FIXED = ("happened_at", "channel", "is_outgoing", "result", "note", "actor_id", "actor_name", "whose",
          "duration_seconds", "corrects_id")  # fmt: skip


def upgrade() -> None:
    """Nullable, so that the table is not made anew; what stands was written when its file was, or when it happened."""
    op.add_column("contact_entry", sa.Column("logged_at", db.UtcDateTime(), nullable=True))
    op.execute(
        "UPDATE contact_entry SET logged_at = coalesce((SELECT coalesce(import_run.started_at, import_run.created_at) "
        "FROM import_run WHERE import_run.id = contact_entry.subject_id), happened_at)"
    )
    _keep(*_FIXED, "logged_at")


def downgrade() -> None:
    """Without it."""
    _keep(*_FIXED)
    op.drop_column("contact_entry", "logged_at")


def _keep(*names: str) -> None:
    """What an entry says is never changed, the new column no more than the others."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER contact_entry_fixed")
        act = "BEGIN SELECT RAISE(ABORT, 'contact_entry is append-only'); END"
    else:
        op.execute("DROP TRIGGER contact_entry_fixed ON contact_entry")
        act = "FOR EACH ROW EXECUTE FUNCTION contact_entry_fixed()"
    op.execute(
        f"CREATE TRIGGER contact_entry_fixed BEFORE UPDATE OF {', '.join(names)} ON contact_entry {act}"
    )
