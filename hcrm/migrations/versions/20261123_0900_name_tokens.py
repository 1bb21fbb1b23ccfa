"""Words by which a patient's name is found; indexes that lead from stays to their patients.

Revision ID: 20261123_0900
Revises: 20261122_1650
"""

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

from hcrm.archive.names.tokens import tokens_of

revision = "20261123_0900"
down_revision = "20261122_1650"
branch_labels = None
depends_on = None

_BATCH = 10_000
_DECEASED = sa.text("deceased = 'deceased'")
_BY_BYTES = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """The table, filled for the archives that stand. A million patients take about two minutes."""
    op.create_table(
        "name_token",
        sa.Column("kind", sa.String(length=1), nullable=False),
        sa.Column("token", _BY_BYTES, nullable=False),
        sa.Column("patient_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["patient_id"], ["patient.id"], name=op.f("fk_name_token_patient_id_patient")),
        sa.PrimaryKeyConstraint("kind", "token", "patient_id", name=op.f("pk_name_token")),
        sqlite_with_rowid=False,
    )
    _fill(op.get_bind())
    op.create_index("ix_name_token_patient", "name_token", ["patient_id", "kind", "token"])
    op.drop_index("ix_patient_initials", table_name="patient")  # spellings are found by their tokens
    op.drop_index("ix_encounter_department_status", table_name="encounter")
    op.create_index(
        "ix_encounter_department_status", "encounter", ["department_id", "status", "discharged_at", "patient_id"]
    )
    op.create_index("ix_encounter_status", "encounter", ["status", "discharged_at", "patient_id"])
    op.create_index("ix_related_person_last4", "related_person", ["phone_last4_index"])
    op.create_index(
        "ix_patient_deceased", "patient", ["id"], sqlite_where=_DECEASED, postgresql_where=_DECEASED
    )
    op.create_index("ix_instruction_scope", "instruction", ["assignee_id", "patient_id"])


def downgrade() -> None:
    """Take it all away."""
    op.drop_index("ix_patient_deceased", table_name="patient")
    op.drop_index("ix_instruction_scope", table_name="instruction")
    op.drop_index("ix_related_person_last4", table_name="related_person")
    op.drop_index("ix_encounter_status", table_name="encounter")
    op.drop_index("ix_encounter_department_status", table_name="encounter")
    op.create_index("ix_encounter_department_status", "encounter", ["department_id", "status"])
    op.create_index("ix_patient_initials", "patient", ["name_initials", "id"])
    op.drop_table("name_token")


def _fill(connection: sa.Connection) -> None:
    """Gathered aside first and put in sorted: one by one, every row would touch another page of the index."""
    is_postgresql = connection.dialect.name == "postgresql"
    connection.execute(sa.text("CREATE TEMPORARY TABLE name_token_aside (kind TEXT, token TEXT, patient_id TEXT)"))
    mark = "%s" if is_postgresql else "?"
    for rows in _token_rows(connection):
        # By the driver's own executemany: a million patients have eight million tokens.
        connection.exec_driver_sql(f"INSERT INTO name_token_aside VALUES ({mark}, {mark}, {mark})", rows)
    by_bytes = 'COLLATE "C"' if is_postgresql else ""
    connection.execute(
        sa.text(
            "INSERT INTO name_token (kind, token, patient_id) SELECT kind, token, patient_id "
            f"FROM name_token_aside ORDER BY kind, token {by_bytes}, patient_id"
        )
    )
    connection.execute(sa.text("DROP TABLE name_token_aside"))


def _token_rows(connection: sa.Connection) -> Iterator[list[tuple[str, str, str]]]:
    patient = sa.table("patient", sa.column("id"), sa.column("name"))
    after = ""
    while True:
        found = connection.execute(
            sa.select(patient).where(patient.c.id > after).order_by(patient.c.id).limit(_BATCH)
        ).all()
        if not found:
            return
        rows = [(kind, token, row.id) for row in found for kind, token in tokens_of(row.name)]
        if rows:
            yield rows
        after = found[-1].id
