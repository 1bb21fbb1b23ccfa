"""The gate: who may be contacted for what, by which way; no on everything that is not known."""

from datetime import date, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from hcrm.archive.merge.service import merge_patients
from hcrm.archive.models import DeceasedState
from hcrm.archive.reach.consent import (
    WITHOUT_CONSENT,
    Barrier,
    GateConsent,
    GatePatient,
    judge,
    judge_all,
    may_contact,
)
from hcrm.archive.reach.consent_records import list_consents, record_consents
from hcrm.archive.reach.contact_stop import end_contact, restore_contact
from hcrm.archive.reach_models import ConsentDecision, ContactMeans, ContactPurpose, StopKind
from hcrm.core.clock import local_date
from hcrm.core.errors import HcrmError
from hcrm.core.work import Work
from tests.support.builders import make_patient

CARE, EVENT, MARKETING = ContactPurpose.CARE, ContactPurpose.EVENT, ContactPurpose.MARKETING
SMS = ContactMeans.SMS
GRANTED, REFUSED, OPTED_OUT = ConsentDecision
TODAY = date(2026, 11, 22)
ADULT, CHILD = date(1966, 3, 7), date(2015, 1, 1)


def consent(decision=GRANTED, **values) -> GateConsent:
    return GateConsent(decision, **values)


TABLE = [  # patient, consents for the purpose and means, answer for care, answer for marketing
    ({}, [], None, Barrier.NO_CONSENT),
    ({}, [consent()], None, None),
    ({}, [consent(expires_on=TODAY)], None, None),
    ({}, [consent(expires_on=TODAY - timedelta(days=1))], None, Barrier.EXPIRED),
    ({}, [consent(REFUSED)], Barrier.REFUSED, Barrier.REFUSED),
    ({}, [consent(OPTED_OUT)], Barrier.OPTED_OUT, Barrier.OPTED_OUT),
    ({}, [consent(), consent(REFUSED)], Barrier.REFUSED, Barrier.REFUSED),
    ({"birth_date": CHILD}, [consent()], None, Barrier.GUARDIAN),
    ({"birth_date": CHILD}, [consent(is_guardian=True)], None, None),
    ({"birth_date": None}, [consent()], None, Barrier.GUARDIAN),
    ({"deceased": DeceasedState.DECEASED}, [consent()], Barrier.DECEASED, Barrier.DECEASED),
    ({"deceased": DeceasedState.DISPUTED}, [consent()], Barrier.DISPUTED, Barrier.DISPUTED),
    ({"is_merged": True}, [consent()], Barrier.MERGED, Barrier.MERGED),
    ({"is_nullified": True}, [consent()], Barrier.NULLIFIED, Barrier.NULLIFIED),
    ({"is_test": True}, [consent()], Barrier.TEST, Barrier.TEST),
    ({"stops": frozenset({StopKind.TERMINATED})}, [consent()], Barrier.TERMINATED, Barrier.TERMINATED),
    ({"stops": frozenset({StopKind.DO_NOT_CONTACT})}, [], Barrier.DO_NOT_CONTACT, Barrier.DO_NOT_CONTACT),
]


@pytest.mark.parametrize(("patient", "consents", "care", "marketing"), TABLE)
def test_the_gate_answers_by_the_table(patient, consents, care, marketing):
    who = GatePatient(**{"birth_date": ADULT, **patient})

    assert judge(who, consents, purpose=CARE, today=TODAY) is care
    assert judge(who, consents, purpose=MARKETING, today=TODAY) is marketing


patients = st.builds(
    GatePatient, is_merged=st.booleans(), is_nullified=st.booleans(), is_test=st.booleans(),
    deceased=st.sampled_from(DeceasedState), birth_date=st.none() | st.dates(),
    stops=st.frozensets(st.sampled_from(StopKind)),
)  # fmt: skip
consents = st.lists(
    st.builds(
        GateConsent, decision=st.sampled_from(ConsentDecision), is_guardian=st.booleans(),
        expires_on=st.none() | st.dates(),
    ),
    max_size=3,
)  # fmt: skip


@given(st.none() | patients, consents, st.sampled_from(ContactPurpose))
def test_yes_is_only_said_where_nothing_forbids_it(patient, rows, purpose):
    if judge(patient, rows, purpose=purpose, today=TODAY) is not None:
        return

    assert patient is not None
    assert (patient.is_merged, patient.is_nullified, patient.is_test, patient.deceased, patient.stops) == (
        False, False, False, DeceasedState.ALIVE, frozenset(),
    )  # fmt: skip
    assert {row.decision for row in rows} <= {GRANTED}
    assert purpose in WITHOUT_CONSENT or any(
        row.expires_on is None or row.expires_on >= TODAY for row in rows
    )


@given(patients, consents, st.sampled_from(ContactPurpose))
def test_a_further_refusal_never_opens_the_gate(patient, rows, purpose):
    assert judge(patient, [*rows, consent(REFUSED)], purpose=purpose, today=TODAY) is not None


# ── on the rows ─────────────────────────────────────────────────────────────


def record(work: Work, patient_id: str, decisions, **values) -> int:
    return record_consents(
        work, patient_id=patient_id, decisions=decisions, **{"evidence": "电话告知", **values}
    )


def gate(work: Work, *ids: str, purpose=MARKETING, channel=SMS):
    return may_contact(work, patient_ids=ids, purpose=purpose, channel=channel)


def test_a_refusal_of_marketing_does_not_end_care_and_one_way_is_not_another(work: Work):
    patient = make_patient(work)
    record(work, patient.id, {(MARKETING, SMS): OPTED_OUT, (EVENT, SMS): GRANTED})

    assert gate(work, patient.id) == {patient.id: Barrier.OPTED_OUT}
    assert gate(work, patient.id, purpose=CARE) == {patient.id: None}
    assert gate(work, patient.id, purpose=EVENT) == {patient.id: None}
    assert gate(work, patient.id, purpose=EVENT, channel=ContactMeans.CALL) == {
        patient.id: Barrier.NO_CONSENT
    }
    assert judge_all(work, patient.id)[MARKETING, SMS] is Barrier.OPTED_OUT


def test_many_are_asked_about_at_once_with_one_query_a_table(work: Work):
    known = [make_patient(work).id for _ in range(30)]
    end_contact(work, patient_id=known[0], kind=StopKind.TERMINATED, reason="搬走")
    statements: list[str] = []
    connection = work.session.connection()
    sa.event.listen(connection, "before_cursor_execute", lambda *words: statements.append(words[2]))

    answers = gate(work, *known, "nobody", purpose=CARE)

    assert len(statements) == 3
    assert (answers["nobody"], answers[known[0]], answers[known[1]]) == (
        Barrier.UNKNOWN_PATIENT, Barrier.TERMINATED, None,
    )  # fmt: skip


@pytest.mark.parametrize("words", [{"purpose": "spam"}, {"channel": "pigeon"}])
def test_a_word_nobody_knows_is_refused(work: Work, words):
    with pytest.raises(ValueError, match="not a valid"):
        gate(work, make_patient(work).id, **words)


def test_contact_taken_up_again_opens_the_gate(work: Work):
    patient = make_patient(work)
    end_contact(work, patient_id=patient.id, kind=StopKind.DO_NOT_CONTACT, reason="家属要求")

    restore_contact(work, patient_id=patient.id, reason="家属同意")

    assert gate(work, patient.id, purpose=CARE) == {patient.id: None}


def test_a_new_word_takes_the_place_of_the_old_one_which_stays_as_history(work: Work):
    patient = make_patient(work)
    record(work, patient.id, {(MARKETING, SMS): GRANTED}, text_version="2026-1")
    work.clock.move(minutes=1)

    record(work, patient.id, {(MARKETING, SMS): REFUSED})

    assert gate(work, patient.id) == {patient.id: Barrier.REFUSED}
    assert [(row.decision, row.ended_at is None) for row in list_consents(work, patient.id)] == [
        (REFUSED, True), (GRANTED, False),
    ]  # fmt: skip
    record(work, patient.id, {(MARKETING, SMS): None})
    assert gate(work, patient.id) == {patient.id: Barrier.NO_CONSENT}


def test_a_child_s_own_consent_is_not_taken_but_its_refusal_is(work: Work):
    child = make_patient(work, birth_date=CHILD)

    with pytest.raises(HcrmError) as refusal:
        record(work, child.id, {(MARKETING, SMS): GRANTED})

    assert refusal.value.field == "is_guardian"
    assert record(work, child.id, {(MARKETING, SMS): REFUSED}) == 1


@pytest.mark.parametrize(
    ("values", "field"),
    [({"evidence": " "}, "evidence"), ({"given_on": "+1"}, "given_on"), ({"expires_on": "-1"}, "expires_on")],
)
def test_what_does_not_hold_together_is_refused(work: Work, values, field):
    today = local_date(work.clock.now())
    days = {
        name: today + timedelta(days=int(word)) if word.strip() else word for name, word in values.items()
    }

    with pytest.raises(HcrmError) as refusal:
        record(work, make_patient(work).id, {(MARKETING, SMS): GRANTED}, **days)

    assert refusal.value.field == field


def test_of_two_archives_that_became_one_the_stricter_word_counts(work: Work):
    survivor, merged = make_patient(work), make_patient(work)
    record(work, survivor.id, {(MARKETING, SMS): GRANTED})
    record(work, merged.id, {(MARKETING, SMS): REFUSED})

    merge_patients(work, survivor_id=survivor.id, merged_id=merged.id, source="test", seq=None)

    assert gate(work, survivor.id, merged.id) == {survivor.id: Barrier.REFUSED, merged.id: Barrier.MERGED}


def test_the_gate_answers_for_any_number_of_patients(work):
    """More than a statement has parameters on either database."""
    known = make_patient(work)
    asked = [known.id, *(f"{number:032x}" for number in range(70_000))]

    found = may_contact(work, patient_ids=asked, purpose=CARE, channel=SMS)

    assert len(found) == len(asked)
    assert found[known.id] is not Barrier.UNKNOWN_PATIENT
    assert found[asked[1]] is Barrier.UNKNOWN_PATIENT
