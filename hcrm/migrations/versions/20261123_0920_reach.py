"""How a patient may be reached, and when no longer: owners of numbers, consents, disclosure, contact log.

Revision ID: 20261123_0920
Revises: 20261123_0910
"""

import sqlalchemy as sa
from alembic import op

from hcrm.core import db

revision = "20261123_0920"
down_revision = "20261123_0910"
branch_labels = None
depends_on = None

_LIVE = sa.text("ended_at IS NULL")
_UNCONFIRMED = sa.text("confirmed_at IS NULL AND revoked_at IS NULL")
_CORRECTS = sa.text("corrects_id IS NOT NULL")
_KEPT = sa.text("removed_at IS NULL")
_FIXED = ("happened_at", "channel", "is_outgoing", "result", "note", "actor_id", "actor_name", "whose",
          "duration_seconds", "corrects_id")  # fmt: skip


def _key(name: str) -> sa.Column:
    return sa.Column(name, sa.String(length=32), nullable=False)


def _text(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _word(name: str) -> sa.Column:
    return sa.Column(name, sa.String(length=32), nullable=False)


def _moment(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, db.UtcDateTime(), nullable=nullable)


def _by() -> list[sa.Column]:
    return [_moment("created_at"), _text("actor_id"), _text("actor_name")]


def _of_patient(table: str, *columns: sa.Column) -> None:
    op.create_table(
        table,
        _key("id"),
        _key("patient_id"),
        *columns,
        sa.ForeignKeyConstraint(["patient_id"], ["patient.id"], name=op.f(f"fk_{table}_patient_id_patient")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    )


def _partial(name: str, table: str, columns: list[str], where: sa.TextClause) -> None:
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def upgrade() -> None:
    """Tables of their own, and columns of the contact log that are added without rewriting it."""
    _of_patient(
        "known_number", _text("value_index"), _text("relation"), _text("owner_name"), _word("state"),
        _moment("state_at"), _text("state_by"), _text("note"), sa.Column("rank", sa.Integer(), nullable=False),
        *_by(), _moment("ended_at", nullable=True),
    )  # fmt: skip
    _partial("ix_known_number_patient", "known_number", ["patient_id"], _LIVE)
    _of_patient(
        "consent", _word("purpose"), _word("means"), _word("decision"), _text("given_by"),
        sa.Column("is_guardian", sa.Boolean(), nullable=False), _text("evidence"), _text("text_version"),
        _text("source"), sa.Column("given_on", sa.Date(), nullable=False),
        sa.Column("expires_on", sa.Date(), nullable=True), *_by(), _moment("ended_at", nullable=True),
    )  # fmt: skip
    _partial("ix_consent_patient", "consent", ["patient_id", "purpose"], _LIVE)
    op.create_index("ix_consent_history", "consent", ["patient_id", "created_at", "id"])
    _of_patient(
        "disclosure", _word("state"), _text("contact_name"), _text("contact_relation"),
        _text("related_id", nullable=True), _text("note"), *_by(), _moment("ended_at", nullable=True),
    )  # fmt: skip
    _partial("ix_disclosure_patient", "disclosure", ["patient_id"], _LIVE)
    _of_patient(
        "contact_stop", _word("kind"), _text("reason"), _text("source"), *_by(), _moment("ended_at", nullable=True),
        _text("ended_reason", nullable=True), _text("ended_by", nullable=True),
    )  # fmt: skip
    _partial("ix_contact_stop_patient", "contact_stop", ["patient_id"], _LIVE)
    _of_patient(
        "death_report", _text("source"), _text("told_by"), sa.Column("died_on", sa.Date(), nullable=True),
        _text("note"), *_by(), _moment("confirmed_at", nullable=True), _text("confirmed_by", nullable=True),
        _text("confirmation", nullable=True), _moment("revoked_at", nullable=True),
    )  # fmt: skip
    op.create_index("ix_death_report_patient", "death_report", ["patient_id"])
    _partial("ix_death_report_unconfirmed", "death_report", ["created_at", "id"], _UNCONFIRMED)
    _contact_log()


def _contact_log() -> None:
    for column in (
        _text("whose", nullable=True), sa.Column("duration_seconds", sa.Integer(), nullable=True),
        _text("department_id", nullable=True), _text("corrects_id", nullable=True),
    ):  # fmt: skip
        op.add_column("contact_entry", column)
    op.create_index("ix_contact_entry_happened", "contact_entry", ["happened_at", "id"])
    op.create_index("ix_contact_entry_actor", "contact_entry", ["actor_id", "happened_at", "id"])
    op.create_index("ix_contact_entry_department", "contact_entry", ["department_id", "happened_at", "id"])
    _partial("ix_contact_entry_corrects", "contact_entry", ["corrects_id"], _CORRECTS)
    op.create_table(
        "contact_recording",
        _key("id"),
        _key("patient_id"),
        _key("entry_id"),
        *(_text(name) for name in ("file_name", "media_type")),
        sa.Column("size", sa.Integer(), nullable=False),
        _text("sha256"),
        _moment("recorded_at"),
        *_by(),
        _moment("removed_at", nullable=True),
        sa.ForeignKeyConstraint(
            ["patient_id"], ["patient.id"], name=op.f("fk_contact_recording_patient_id_patient")
        ),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["contact_entry.id"], name=op.f("fk_contact_recording_entry_id_contact_entry")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact_recording")),
    )
    for name in ("patient_id", "entry_id"):
        op.create_index(op.f(f"ix_contact_recording_{name}"), "contact_recording", [name])
    _partial("ix_contact_recording_kept", "contact_recording", ["recorded_at", "id"], _KEPT)
    _keep_entries()


def _keep_entries() -> None:
    """What an entry says is never changed; a merge may still hand it to another archive."""
    names = ", ".join(_FIXED)
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER contact_entry_fixed BEFORE UPDATE OF {names} ON contact_entry "
            "BEGIN SELECT RAISE(ABORT, 'contact_entry is append-only'); END"
        )
        return
    op.execute(
        "CREATE FUNCTION contact_entry_fixed() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'contact_entry is append-only'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER contact_entry_fixed BEFORE UPDATE OF {names} ON contact_entry "
        "FOR EACH ROW EXECUTE FUNCTION contact_entry_fixed()"
    )


def downgrade() -> None:
    """Take it all away."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER contact_entry_fixed")
    else:
        op.execute("DROP TRIGGER contact_entry_fixed ON contact_entry")
        op.execute("DROP FUNCTION contact_entry_fixed()")
    op.drop_table("contact_recording")
    for name in ("corrects", "department", "actor", "happened"):
        op.drop_index(f"ix_contact_entry_{name}", table_name="contact_entry")
    for name in ("corrects_id", "department_id", "duration_seconds", "whose"):
        op.drop_column("contact_entry", name)
    for table in ("death_report", "contact_stop", "disclosure", "consent", "known_number"):
        op.drop_table(table)
