"""When an entry was written stands beside when the contact took place."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from hcrm.contact_log.models import Channel, ContactEntry, ContactResult
from hcrm.contact_log.service import record_contact
from hcrm.core.actor import system_actor
from hcrm.core.clock import FixedClock
from hcrm.core.crypto import KeyRing
from hcrm.core.db import Database, UtcDateTime
from hcrm.core.migrate import migrate
from hcrm.core.work import Work, open_work
from hcrm.exchange.models import ImportRun, ImportState
from tests.support.builders import make_patient

HAPPENED = datetime(2026, 11, 20, 1, 30, tzinfo=UTC)


def test_an_entry_says_when_it_was_written_by_our_clock(work: Work) -> None:
    now = work.clock.now()
    patient_id = make_patient(work).id
    keys = [
        record_contact(
            work, patient_id=patient_id, channel=Channel.PHONE, result=ContactResult.REACHED,
            happened_at=now - timedelta(hours=hours),
        )
        for hours in (1, 26)
    ]  # fmt: skip
    work.flush()

    entries = [work.get(ContactEntry, key) for key in keys]
    assert [entry.logged_at for entry in entries] == [now, now]
    assert [entry.logged_late_at for entry in entries] == [None, now]


@pytest.fixture
def earlier(blank_database_url: str, keys: KeyRing) -> Iterator[Database]:
    """A database of the release before, with a contact logged there and one taken from a file."""
    migrate(blank_database_url, "20261123_1210")
    database = Database(blank_database_url, keys)
    with open_work(database, actor=system_actor("test"), clock=FixedClock(HAPPENED)) as work:
        patient_id = make_patient(work).id
        work.flush()
        for key, subject in (("a" * 32, None), ("b" * 32, "c" * 32)):
            work.execute(
                sa.text(
                    "INSERT INTO contact_entry (id, patient_id, happened_at, channel, is_outgoing, result, "
                    "subject_id, actor_id, actor_name) VALUES (:key, :patient, :at, 'phone', true, 'reached', "
                    ":subject, 'x', '王敏')"
                ).bindparams(sa.bindparam("at", type_=UtcDateTime())),
                {"key": key, "patient": patient_id, "at": HAPPENED, "subject": subject},
            )
        _import_run(work, "c" * 32)
    yield database
    database.dispose()


def _import_run(work: Work, key: str) -> None:
    work.add(ImportRun(
        id=key, kind="follow_ups", state=ImportState.DONE, file_index="", file_form="csv", charset="", delimiter=",",
        is_1904=False, heading_line=1, heading=[], places={}, options={}, counts={}, created_by="x",
        created_by_name="王敏", created_at=HAPPENED + timedelta(days=3),
    ))  # fmt: skip


def test_entries_of_before_are_as_old_as_their_contact_or_their_file(
    earlier: Database, blank_database_url: str
) -> None:
    migrate(blank_database_url)

    with earlier.main.connect() as connection:
        rows = dict(connection.execute(sa.select(ContactEntry.id, ContactEntry.logged_at)).all())
    assert rows == {"a" * 32: HAPPENED, "b" * 32: HAPPENED + timedelta(days=3)}
    for change in ("note = 'x'", "logged_at = NULL"):
        with pytest.raises(sa.exc.DBAPIError, match="append-only"), earlier.writer.begin() as connection:
            connection.execute(sa.text(f"UPDATE contact_entry SET {change}"))
    migrate(blank_database_url, "20261123_1210")
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), earlier.writer.begin() as connection:
        connection.execute(sa.text("UPDATE contact_entry SET note = 'x'"))
