"""Imports that can be reverted, exports with a purpose.

Revision ID: 20261123_1000
Revises: 20261123_0950
"""

import sqlalchemy as sa
from alembic import op

from hcrm.core import db

revision = "20261123_1000"
down_revision = "20261123_0950"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Files taken in and their rows."""
    op.create_table(
        "import_run",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("name_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("content_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("file_index", sa.Text(), nullable=False),
        sa.Column("file_form", sa.Text(), nullable=False),
        sa.Column("charset", sa.Text(), nullable=False),
        sa.Column("delimiter", sa.Text(), nullable=False),
        sa.Column("is_1904", sa.Boolean(), nullable=False),
        sa.Column("heading_line", sa.Integer(), nullable=False),
        sa.Column("heading", db.Json(), nullable=False),
        sa.Column("sample_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("places", db.Json(), nullable=False),
        sa.Column("options", db.Json(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("counts", db.Json(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease", sa.Text(), nullable=True),
        sa.Column("leased_until", db.UtcDateTime(), nullable=True),
        sa.Column("created_at", db.UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_by_name", sa.Text(), nullable=False),
        sa.Column("checked_at", db.UtcDateTime(), nullable=True),
        sa.Column("started_at", db.UtcDateTime(), nullable=True),
        sa.Column("finished_at", db.UtcDateTime(), nullable=True),
        sa.Column("reverted_at", db.UtcDateTime(), nullable=True),
        sa.Column("purged_at", db.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_run")),
    )
    op.create_index("ix_import_run_created", "import_run", ["created_at", "id"])
    op.create_index("ix_import_run_file", "import_run", ["file_index"])
    at_work = sa.text("state IN ('reading', 'checking', 'running', 'reverting')")
    op.create_index(
        "ix_import_run_at_work", "import_run", ["id"], sqlite_where=at_work, postgresql_where=at_work
    )
    op.create_table(
        "import_row",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("cells_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("is_merged", sa.Boolean(), nullable=False),
        sa.Column("verdict", sa.String(length=32), nullable=True),
        sa.Column("problems", db.Json(), nullable=True),
        sa.Column("key_index", sa.Text(), nullable=True),
        sa.Column("content_index", sa.Text(), nullable=True),
        sa.Column("finding_index", sa.Text(), nullable=True),
        sa.Column("patient_id", sa.String(length=32), nullable=True),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("journal_sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["patient_id"], ["patient.id"], name=op.f("fk_import_row_patient_id_patient")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["import_run.id"], name=op.f("fk_import_row_run_id_import_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_row")),
        sa.UniqueConstraint("run_id", "number", name=op.f("uq_import_row_run_id_number")),
    )
    for name, columns in (
        ("key", ["run_id", "key_index", "number"]), ("verdict", ["run_id", "verdict", "number"]),
        ("state", ["run_id", "state", "number"]), ("patient", ["patient_id"]),
    ):  # fmt: skip
        op.create_index(f"ix_import_row_{name}", "import_row", columns)
    op.create_table(
        "import_mapping",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("heading_index", sa.Text(), nullable=False),
        sa.Column("places", db.Json(), nullable=False),
        sa.Column("options", db.Json(), nullable=False),
        sa.Column("updated_at", db.UtcDateTime(), nullable=False),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_mapping")),
        sa.UniqueConstraint("kind", "heading_index", name=op.f("uq_import_mapping_kind_heading_index")),
    )
    op.create_table(
        "export_request",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("asked", db.Json(), nullable=False),
        sa.Column("columns", db.Json(), nullable=False),
        sa.Column("file_form", sa.Text(), nullable=False),
        sa.Column("is_clear", sa.Boolean(), nullable=False),
        sa.Column("clear_reason", sa.Text(), nullable=True),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("purpose_text", sa.Text(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("requested_at", db.UtcDateTime(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_by_name", sa.Text(), nullable=False),
        sa.Column("decided_at", db.UtcDateTime(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_by_name", sa.Text(), nullable=True),
        sa.Column("decision_note", sa.Text(), nullable=True),
        sa.Column("content_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("built_at", db.UtcDateTime(), nullable=True),
        sa.Column("expires_at", db.UtcDateTime(), nullable=True),
        sa.Column("downloads", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_export_request")),
    )
    op.create_index("ix_export_request_by", "export_request", ["requested_by", "requested_at", "id"])
    to_do = sa.text("state IN ('waiting', 'queued')")
    op.create_index(
        "ix_export_request_to_do",
        "export_request",
        ["state", "id"],
        sqlite_where=to_do,
        postgresql_where=to_do,
    )


def downgrade() -> None:
    """Without them."""
    op.drop_table("export_request")
    op.drop_table("import_mapping")
    op.drop_table("import_row")
    op.drop_table("import_run")
