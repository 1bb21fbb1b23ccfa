"""Lists narrowed by stays hold what a plain look at every stay finds, whichever way they are read."""

import random
from datetime import UTC, date, datetime, timedelta
from itertools import product

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import aliased

from hcrm.archive.reach_models import ContactStop
from hcrm.archive.search.filters import PatientFilters, StayMark
from hcrm.archive.search.patients import search_patients
from hcrm.archive.terms import WITHOUT_BED, StopKind
from hcrm.archive.visit_models import Encounter, EncounterClass, EncounterStatus
from hcrm.core.actor import Actor
from hcrm.core.clock import local_date
from hcrm.core.work import Work
from tests.support.builders import make_department, make_encounter, make_patient, make_practitioner

PATIENTS = 40
NAMES = ("张伟", "张敏", "李伟", "王芳")
START = datetime(2026, 11, 1, 3, tzinfo=UTC)
ASKED = 32
LIMITS = ((4_000, 30_000), (0, 30_000), (0, 0))


def mark_of(column, value):
    """The stays with that value."""
    asked = aliased(Encounter)
    return StayMark(
        sa.select(Encounter.id).where(getattr(Encounter, column) == value),
        lambda key: sa.select(sa.literal(1)).where(asked.id == key, getattr(asked, column) == value).exists(),
    )


@pytest.fixture
def house(work):
    """Patients with up to four stays each, spread over departments, physicians, days, states and two marks."""
    chance = random.Random(7)
    departments = [make_department(work, name=f"科室{n}") for n in range(3)]
    physicians = [make_practitioner(work, department=departments[n % 3]) for n in range(4)]
    patients = [
        make_patient(work, name=NAMES[n % 4], deceased="deceased" if n % 7 == 0 else "alive")
        for n in range(PATIENTS)
    ]
    stays = []
    for patient in chance.choices(patients, k=PATIENTS * 2):
        is_over = chance.random() < 0.8
        stay = make_encounter(
            work, patient=patient, department=chance.choice([*departments, None]),
            attending=chance.choice([*physicians, None]), diagnoses=(),
            encounter_class=chance.choice([EncounterClass.INPATIENT] * 3 + [EncounterClass.OUTPATIENT]),
            discharged_at=START + timedelta(days=chance.randrange(20)) if is_over else None,
        )  # fmt: skip
        stay.payment_type, stay.location = chance.choice(["1", "2"]), chance.choice(["1", "2", "3"])
        stay.status = EncounterStatus.CANCELLED if chance.random() < 0.1 else stay.status
        stays.append(stay)
    for at, (which, ended_at) in enumerate(((3, None), (4, None), (4, None), (5, START))):
        work.add(
            ContactStop(
                id=f"{at:032}", patient_id=patients[which].id, kind=StopKind.TERMINATED, reason="x", source="console",
                created_at=START, actor_id="a", actor_name="甲", ended_at=ended_at,
            )
        )  # fmt: skip
    patients[1].is_test = True
    patients[2].is_nullified = True
    work.session.flush()
    return departments, physicians, patients, stays


def plainly(house, actor, filters, marked, letters):
    """Keys of patients by their newest stay that fits, newest first."""
    _, _, patients, stays = house
    listed = {
        patient.id
        for patient in patients
        if not patient.is_test
        and not patient.is_nullified
        and letters in patient.name
        and (not filters.is_deceased or patient.deceased == "deceased")
        and (not filters.is_stopped or patient in patients[3:5])
    }
    newest = {}
    for stay in stays:
        if stay.patient_id in listed and fits(stay, actor, filters, marked):
            newest[stay.patient_id] = max(newest.get(stay.patient_id, ""), stay.id)
    return sorted(newest, key=newest.__getitem__, reverse=True)


def fits(stay, actor, filters, marked):
    first, last = filters.discharged_from, filters.discharged_to
    is_about_beds = filters.status or first or last
    return (
        (filters.department_id in (None, stay.department_id))
        and all(getattr(stay, column) == value for column, value in marked.items())
        and (stay.status == filters.status if filters.status else stay.status != EncounterStatus.CANCELLED)
        and (not is_about_beds or stay.encounter_class not in WITHOUT_BED)
        and (not (first or last) or stay.status == EncounterStatus.FINISHED)
        and (not first or local_date(stay.discharged_at) >= first)
        and (not last or local_date(stay.discharged_at) <= last)
        and (
            actor.department_ids is None
            or stay.department_id in actor.department_ids
            or (actor.practitioner_id is not None and stay.attending_id == actor.practitioner_id)
        )
    )


def everything(work, **asked):
    page = search_patients(work, size=7, **asked)
    found = [line.id for line in page.items]
    while page.next_key:
        page = search_patients(work, size=7, key=page.next_key, **asked)
        found += [line.id for line in page.items]
    return found


@pytest.mark.parametrize(("small", "large"), LIMITS)
def test_every_way_of_reading_gives_what_a_plain_look_gives(work, house, monkeypatch, small, large):
    monkeypatch.setattr("hcrm.core.limits.SEARCH_SMALL", small)
    monkeypatch.setattr("hcrm.core.limits.SEARCH_LARGE", large)
    departments, physicians, *_ = house
    of_one = frozenset({departments[0].id})
    actors = [
        Actor(id="a", name="甲", permissions=frozenset("*"), roles=(), department_ids=seen, practitioner_id=own)
        for seen, own in ((None, None), (of_one, None), (of_one, physicians[1].id), (frozenset(), physicians[2].id))
    ]  # fmt: skip
    days = ({}, {"discharged_from": date(2026, 11, 5), "discharged_to": date(2026, 11, 15)})
    asked = list(
        product(
            actors,
            (None, departments[0].id, departments[1].id),
            days,
            ({}, {"payment_type": "1"}, {"payment_type": "1", "location": "2"}),
            (None, EncounterStatus.IN_PROGRESS),
            ({}, {"is_deceased": True}, {"is_stopped": True}),
        )
    )
    for actor, department, day, marked, status, person in random.Random(small + large).sample(asked, ASKED):
        filters = PatientFilters(
            department_id=department, status=status, marks=[mark_of(*each) for each in marked.items()],
            **person, **day,
        )  # fmt: skip
        if not filters.is_about_stays:
            continue
        own = Work(work.session, actor=actor, clock=work.clock, keys=work.keys)
        assert everything(own, filters=filters) == plainly(house, actor, filters, marked, "")
        for words, letters in (("张", "张"), ("zhang", "张")):
            found = everything(own, q=words, filters=filters)
            assert sorted(found) == sorted(plainly(house, actor, filters, marked, letters))


def test_a_page_back_shows_what_the_page_before_showed(work, house):
    filters = PatientFilters(discharged_from=date(2026, 11, 3))
    first = search_patients(work, filters=filters, size=5)
    second = search_patients(work, filters=filters, size=5, key=first.next_key)
    back = search_patients(work, filters=filters, size=5, key=second.previous_key)

    assert [line.id for line in back.items] == [line.id for line in first.items]
