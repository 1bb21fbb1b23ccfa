from datetime import UTC, date, datetime

import sqlalchemy as sa

from hcrm.archive.events import PatientsMerged, PatientsTouched
from hcrm.archive.merge.service import merge_patients
from hcrm.archive.visit_models import EncounterClass, EncounterStatus
from hcrm.centre.classification import classify_encounters
from hcrm.core.db import table_of
from hcrm.core.seasons import season_of
from hcrm.core.work import Work
from hcrm.segments.models import PatientProfile, StayProfile
from hcrm.segments.profile import rebuild_profiles, refresh_profiles
from hcrm.segments.reactions import follow_facts
from tests.support.builders import (
    discharged,
    make_department,
    make_encounter,
    make_patient,
    publish_form,
    publish_rules,
)


def everything(work: Work) -> dict[str, list[dict[str, object]]]:
    tables = (table_of(PatientProfile), table_of(StayProfile))
    return {
        table.name: [dict(row) for row in work.execute(sa.select(table).order_by(table.c.id)).mappings()]
        for table in tables
    }


def test_a_patient_is_one_row_with_what_their_visits_come_to(work: Work):
    patient = make_patient(work, region_code="330106")
    make_encounter(work, patient=patient, diagnoses=["E11.9"])
    make_encounter(work, patient=patient, encounter_class=EncounterClass.OUTPATIENT, discharged_at=None)
    planned = make_encounter(work, patient=patient, discharged_at=None)
    planned.status = EncounterStatus.PLANNED
    work.session.flush()

    follow_facts(work, [PatientsTouched(patient_ids=[patient.id])])

    row = work.one(PatientProfile)
    assert (row.visits, row.inpatient_visits, row.outpatient_visits, row.in_house) == (2, 1, 1, False)
    assert (row.region_code, row.is_listed, row.last_discharged_on) == ("330106", True, date(2026, 11, 20))
    assert row.seen_on == row.last_visit_on == date(2026, 11, 16)
    assert sorted(stay.main_diagnosis for stay in work.all(StayProfile)) == ["E119", "K35900"]


def test_rows_that_follow_facts_are_those_a_rebuild_makes(work: Work):
    publish_rules(work)
    publish_form(work)
    ward = make_department(work, name="肾内科")
    patients = [make_patient(work, region_code="330106") for _ in range(5)]
    stays = [
        make_encounter(work, patient=patient, department=ward, diagnoses=[code])
        for patient in patients
        for code in ("E11.9", "I63.9")
    ]
    refresh_profiles(work, [patient.id for patient in patients])
    classify_encounters(work, [discharged(stay) for stay in stays])
    follow_facts(work, work.events)
    merge_patients(work, survivor_id=patients[0].id, merged_id=patients[1].id, source="test", seq=1)
    stays[5].patient_id = patients[4].id
    stays[6].status = EncounterStatus.CANCELLED
    work.session.flush()
    work.session.expire_all()
    follow_facts(
        work,
        [
            PatientsMerged(survivor_id=patients[0].id, merged_id=patients[1].id),
            PatientsTouched(patient_ids=[patients[2].id, patients[3].id, patients[4].id]),
        ],
    )
    kept = everything(work)

    work.execute(sa.delete(StayProfile))
    work.execute(sa.delete(PatientProfile))
    after, count = rebuild_profiles(work)
    assert (count, rebuild_profiles(work, after=after)[1]) == (5, 0)
    assert everything(work) == kept
    assert [row["visits"] for row in kept["patient_profile"]] != []
    assert refresh_profiles(work, [patient.id for patient in patients]) == 0  # again: nothing to write
    merged = work.one(PatientProfile, PatientProfile.id == patients[1].id)
    assert (merged.is_listed, merged.visits) == (False, 0)
    assert work.one(PatientProfile, PatientProfile.id == patients[0].id).visits == 4


def test_a_season_begins_at_its_solar_term():
    begins = {
        "2026-02-04": 1,
        "2026-05-05": 2,
        "2026-08-07": 3,
        "2026-11-07": 4,
        "2028-11-07": 4,
        "2030-02-04": 1,
    }

    for day, season in begins.items():
        on = date.fromisoformat(day)
        assert season_of(on) == season
        assert season_of(date.fromordinal(on.toordinal() - 1)) == (season - 2) % 4 + 1


def test_a_stay_that_is_not_over_is_in_house(work: Work):
    stay = make_encounter(work, discharged_at=None)
    stay.admitted_at = datetime(2026, 11, 21, 2, tzinfo=UTC)
    work.session.flush()

    refresh_profiles(work, [stay.patient_id])

    assert work.one(PatientProfile).in_house
    assert work.one(StayProfile).discharged_on is None
