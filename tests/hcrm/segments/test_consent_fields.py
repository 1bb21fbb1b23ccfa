from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from hcrm.archive.models import DeceasedState
from hcrm.archive.reach.consent import may_contact
from hcrm.archive.reach.consent_records import record_consents
from hcrm.archive.reach.contact_stop import end_contact
from hcrm.archive.reach_models import Consent, ConsentDecision, ContactMeans, ContactPurpose, StopKind
from hcrm.core.work import Work
from hcrm.segments import catalogue
from hcrm.segments.catalogue import use_fields
from hcrm.segments.consent_fields import consent_fields
from hcrm.segments.fields import segment_fields
from hcrm.segments.models import Segment
from hcrm.segments.profile import refresh_profiles
from hcrm.segments.queries import is_in
from tests.support.builders import make_patient

TODAY = date(2026, 11, 22)
SMS = ContactMeans.SMS
SAID = st.builds(
    dict, decision=st.sampled_from(ConsentDecision), is_guardian=st.booleans(),
    expires_on=st.none() | st.dates(TODAY - timedelta(days=2), TODAY + timedelta(days=2)),
    means=st.sampled_from([SMS, SMS, ContactMeans.CALL]),
    purpose=st.sampled_from([ContactPurpose.CARE, ContactPurpose.EVENT]),
)  # fmt: skip
PERSON = st.tuples(
    st.none() | st.dates(date(2012, 11, 20), date(2012, 11, 25)), st.sampled_from(DeceasedState),
    st.sampled_from([*StopKind, None, None]), st.lists(SAID, max_size=3),
)  # fmt: skip


@pytest.fixture(autouse=True)
def fields() -> Iterator[None]:
    before = catalogue._makers
    use_fields((segment_fields, consent_fields))
    yield
    use_fields(before)


def people(work: Work, field: str, ids: list[str], *, operator: str = "in") -> frozenset[str]:
    lines = [{"field": field, "operator": operator, "values": ["sms"]}]
    return is_in(work, Segment(filter={"groups": [{"lines": lines}]}), ids)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(st.lists(PERSON, min_size=1, max_size=12))
def test_a_segment_of_who_may_be_contacted_is_the_answer_of_the_gate(work: Work, told: list[Any]):
    ids = []
    for born, deceased, stop, consents in told:
        patient = make_patient(work, birth_date=born, deceased=deceased)
        ids.append(patient.id)
        work.flush()
        if stop:
            end_contact(work, patient_id=patient.id, kind=stop, reason="本人要求")
        for said in consents:
            work.add(Consent(
                id=work.new_id(), patient_id=patient.id, given_by="", evidence="签字", text_version="1",
                source="console", given_on=TODAY, created_at=work.clock.now(), actor_id="a", actor_name="甲",
                ended_at=None, **said,
            ))  # fmt: skip
    work.flush()
    refresh_profiles(work, ids)

    for purpose in (ContactPurpose.CARE, ContactPurpose.EVENT):
        gate = may_contact(work, patient_ids=ids, purpose=purpose, channel=SMS)
        free = {key for key, barrier in gate.items() if barrier is None}
        field = f"consent.may_{purpose.value}"
        assert people(work, field, ids) == free
        assert people(work, field, ids, operator="not_in") == set(ids) - free
        assert people(work, field, ids, operator="known") | people(
            work, field, ids, operator="unknown"
        ) == set(ids)


def test_what_was_said_is_one_row_of_purpose_means_and_decision(work: Work):
    yes, no = (make_patient(work).id for _ in range(2))
    work.flush()
    for key, decision in ((yes, ConsentDecision.GRANTED), (no, ConsentDecision.REFUSED)):
        record_consents(
            work, patient_id=key, decisions={(ContactPurpose.EVENT, SMS): decision}, given_on=TODAY, evidence="签字",
        )  # fmt: skip
    refresh_profiles(work, [yes, no])
    lines = [{"field": "consent.purpose", "operator": "in", "values": ["event"]},
             {"field": "consent.decision", "operator": "in", "values": ["refused"]}]  # fmt: skip

    assert is_in(work, Segment(filter={"groups": [{"lines": lines}]}), [yes, no]) == {no}
