"""Row scope: who sees which patient, by one function for lists and records."""

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hcrm.archive.merge.service import merge_patients
from hcrm.archive.models import Patient
from hcrm.archive.queries import get_patient
from hcrm.archive.scope import scope_by_department, scope_encounters, scope_patients
from hcrm.archive.visit_models import Encounter
from hcrm.audit.models import AuditEvent, AuditSubject
from hcrm.audit.queries import same_patient
from hcrm.core.actor import Actor
from hcrm.core.errors import DeniedError, NotFoundError
from hcrm.core.work import Work
from tests.support.builders import (
    actor_of,
    centre_actor,
    make_department,
    make_encounter,
    make_instruction,
    make_patient,
    make_practitioner,
)


@pytest.fixture
def as_actor(work):
    """The same transaction, seen by somebody else."""
    return lambda actor: Work(work.session, actor=actor, clock=work.clock, keys=work.keys, new_id=work.new_id)


@pytest.fixture
def hospital(work):
    """A physician of cardiology, and another department."""
    cardiology, neurology = make_department(work, name="心内科"), make_department(work, name="神经内科")
    return cardiology, neurology, make_practitioner(work, department=cardiology)


def seen_by(work, actor):
    return set(work.scalars(scope_patients(sa.select(Patient.id), actor)))


def test_a_physician_sees_who_lay_in_their_department_once(work, hospital):
    cardiology, neurology, physician = hospital
    own = make_encounter(work, department=cardiology).patient_id
    make_encounter(work, department=neurology)
    both = make_encounter(work, department=neurology)
    make_encounter(work, patient=work.get(Patient, both.patient_id), department=cardiology)

    assert seen_by(work, actor_of(physician, cardiology)) == {own, both.patient_id}


def test_a_physician_sees_whom_they_attended_or_hold_an_instruction_for_anywhere(work, hospital):
    cardiology, neurology, physician = hospital
    attended = make_encounter(work, department=neurology, attending=physician)
    instructed = make_encounter(work, department=neurology)
    make_instruction(work, encounter=instructed, assignee=physician)
    make_encounter(work, department=neurology)
    actor = actor_of(physician, cardiology)

    assert seen_by(work, actor) == {attended.patient_id, instructed.patient_id}
    stays = work.scalars(scope_encounters(sa.select(Encounter.id), actor))
    assert set(stays) == {attended.id, instructed.id}


def test_the_service_centre_sees_everybody_and_somebody_without_department_nobody(work, hospital):
    patients = {make_encounter(work, department=hospital[1]).patient_id, make_patient(work).id}
    nobody = Actor(id="x", name="x", department_ids=frozenset())

    assert seen_by(work, centre_actor()) == patients
    assert seen_by(work, nobody) == set()
    assert work.scalars(scope_encounters(sa.select(Encounter.id), nobody)) == []
    assert work.scalars(scope_by_department(sa.select(Encounter.id), Encounter.department_id, nobody)) == []


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stays=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=8),
    own=st.sets(st.integers(0, 2)),
)
def test_the_list_and_the_single_record_agree(work, as_actor, stays, own):
    departments = [make_department(work) for _ in range(3)]
    patients = [make_patient(work) for _ in range(5)]
    for patient, department in stays:
        make_encounter(work, patient=patients[patient], department=departments[department], diagnoses=())
    actor = Actor(id="a", name="a", department_ids=frozenset(departments[number].id for number in own))

    listed = seen_by(work, actor)

    for number, patient in enumerate(patients):
        allowed = any(which == number and department in own for which, department in stays)
        assert (patient.id in listed) == allowed
        if allowed:
            assert get_patient(as_actor(actor), patient.id) is patient
        else:
            with pytest.raises(DeniedError):
                get_patient(as_actor(actor), patient.id)


def test_reading_a_patient_is_noted_with_actor_and_patient(work, as_actor, hospital):
    cardiology, _, physician = hospital
    patient_id = make_encounter(work, department=cardiology).patient_id
    reader = as_actor(actor_of(physician, cardiology))

    get_patient(reader, patient_id)
    reader.flush()

    event = work.one(AuditEvent)
    assert (event.action, event.actor_name) == ("patient.read", physician.name)
    assert work.one(AuditSubject).subject_patient_id == patient_id


def test_a_refusal_carries_what_is_to_be_noted_and_reads_like_absence(work, as_actor, hospital):
    cardiology, neurology, physician = hospital
    patient_id = make_encounter(work, department=neurology).patient_id
    reader = as_actor(actor_of(physician, cardiology))

    with pytest.raises(DeniedError) as denied:
        get_patient(reader, patient_id)
    with pytest.raises(NotFoundError) as absent:
        get_patient(reader, "0" * 32)

    assert denied.value.patients == (patient_id,)
    assert (denied.value.code, denied.value.message, denied.value.status) == (
        absent.value.code, absent.value.message, absent.value.status,
    )  # fmt: skip
    assert not isinstance(absent.value, DeniedError)


# ── merges ──────────────────────────────────────────────────────────────────


@pytest.fixture
def merged(work, hospital):
    """A patient of neurology merged into one of cardiology."""
    cardiology, neurology, _ = hospital
    survivor = make_encounter(work, department=cardiology).patient_id
    old = make_encounter(work, department=neurology).patient_id
    merge_patients(work, survivor_id=survivor, merged_id=old, source="test", seq=1)
    work.session.expire_all()
    return survivor, old


def test_a_merged_id_leads_to_the_survivor(work, merged):
    survivor, old = merged

    assert get_patient(work, old).id == survivor
    assert sorted(same_patient(work, survivor)) == sorted([survivor, old])


def test_the_right_to_a_merged_id_is_decided_on_the_survivor(work, as_actor, hospital, merged):
    cardiology, neurology, _ = hospital
    survivor, old = merged
    elsewhere = Actor(id="x", name="x", department_ids=frozenset({make_department(work).id}))

    for department in (cardiology, neurology):
        actor = Actor(id="d", name="d", department_ids=frozenset({department.id}))
        assert get_patient(as_actor(actor), old).id == survivor
        assert seen_by(work, actor) == {survivor}, "the tombstone itself has no stay any more"
    for key in merged:
        with pytest.raises(DeniedError) as denied:
            get_patient(as_actor(elsewhere), key)
        assert denied.value.patients == (survivor,)


def test_a_ring_of_merges_ends_as_not_found(work, merged):
    survivor, old = merged
    work.execute(sa.update(Patient).where(Patient.id == survivor).values(merged_into_id=old))
    work.session.expire_all()

    with pytest.raises(NotFoundError):
        get_patient(work, old)
