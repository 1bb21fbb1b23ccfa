"""The database itself keeps the audit log as it was written."""

import pytest
import sqlalchemy as sa

from hcrm.audit.models import AuditEvent
from hcrm.audit.service import record_audit
from hcrm.core.actor import system_actor
from hcrm.core.migrate import migrate
from hcrm.core.work import open_work

CHANGES = (
    "UPDATE audit_event SET actor_name = 'nobody'",
    "DELETE FROM audit_event",
    "UPDATE audit_subject SET subject_patient_id = 'nobody'",
    "DELETE FROM audit_subject",
    "TRUNCATE audit_subject",
    "TRUNCATE audit_event CASCADE",
)


@pytest.fixture
def noted(database, clock):
    """One act on one patient, committed."""
    with open_work(database, actor=system_actor("test"), clock=clock) as work:
        record_audit(work, action="patient.read", patients=["p1"])


@pytest.mark.parametrize("statement", CHANGES)
def test_nothing_that_was_noted_is_changed_or_removed(database, clock, noted, statement):
    if database.is_sqlite and statement.startswith("TRUNCATE"):
        return  # SQLite has none

    with pytest.raises(sa.exc.DBAPIError, match="is append-only"), database.writer.begin() as connection:
        connection.execute(sa.text(statement))

    with open_work(database, actor=system_actor("test"), clock=clock, write=False) as work:
        assert [event.actor_name for event in work.all(AuditEvent)] == ["test"]


def test_the_guard_can_be_taken_down_and_put_up_again(blank_database_url):
    migrate(blank_database_url)
    migrate(blank_database_url, "20261122_1400")
    migrate(blank_database_url)
