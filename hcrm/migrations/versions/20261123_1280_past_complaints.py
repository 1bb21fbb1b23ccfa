"""Complaints of former times stand in the timeline as complaints, for who may read them.

Revision ID: 20261123_1280
Revises: 20261123_1270
"""

from alembic import op

revision = "20261123_1280"
down_revision = "20261123_1270"
branch_labels = None
depends_on = None

APART = (
    "UPDATE timeline_entry SET kind = 'complaint' WHERE kind = 'contact' AND subject_type = 'contact_entry' "
    "AND subject_id IN (SELECT id FROM contact_entry WHERE subject_type = 'past_complaint')"
)


def upgrade() -> None:
    """Lines of files taken in before they had a kind of their own."""
    op.execute(APART)


def downgrade() -> None:
    """They read as contacts again."""
    op.execute("UPDATE timeline_entry SET kind = 'contact' WHERE kind = 'complaint'")
