from datetime import timedelta

import pytest

from hcrm.archive.models import TimelineEntry
from hcrm.contact_log.models import Channel, ContactEntry, ContactResult
from hcrm.contact_log.queries import count_attempts, list_attempts, list_contacts
from hcrm.contact_log.service import record_contact
from hcrm.core.work import Work
from tests.support.builders import make_patient


@pytest.fixture
def patient_id(work: Work) -> str:
    return make_patient(work).id


def test_a_contact_says_who_reached_whom_how_and_stands_in_the_timeline(work: Work, patient_id):
    key = record_contact(
        work, patient_id=patient_id, channel=Channel.PHONE, result=ContactResult.RELATIVE, note=" 女儿接听 "
    )
    work.flush()

    entry = work.get(ContactEntry, key)
    assert (entry.note, entry.actor_name, entry.is_outgoing) == ("女儿接听", work.actor.name, True)
    assert work.one(TimelineEntry).title == "电话联系：接通，家属"


def test_contacts_of_a_patient_are_listed_the_latest_first(work: Work, patient_id):
    now = work.clock.now()
    for hours, result in ((1, ContactResult.BUSY), (2, ContactResult.REACHED)):
        record_contact(
            work,
            patient_id=patient_id,
            channel=Channel.PHONE,
            result=result,
            happened_at=now + timedelta(hours=hours),
        )

    page = list_contacts(work, patient_id=patient_id)

    assert [entry.result for entry in page.items] == [ContactResult.REACHED, ContactResult.BUSY]


def test_attempts_are_counted_per_thing_they_were_made_for(work: Work, patient_id):
    for subject in ("a", "a", "b"):
        record_contact(
            work, patient_id=patient_id, channel=Channel.PHONE, result=ContactResult.BUSY,
            subject_type="instruction", subject_id=subject,
        )  # fmt: skip

    assert count_attempts(work, subject_type="instruction", subject_ids=["a", "b", "c"]) == {"a": 2, "b": 1}
    assert len(list_attempts(work, subject_type="instruction", subject_id="a")) == 2
