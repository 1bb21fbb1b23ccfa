from datetime import UTC, date, datetime

import pytest
import sqlalchemy as sa

from hcrm.archive.events import EncounterRevised, PatientsTouched
from hcrm.archive.models import Address, Patient
from hcrm.archive.reach.people import put_address
from hcrm.archive.terms import Informant
from hcrm.archive.visit_models import Diagnosis
from hcrm.audit.models import AuditSubject
from hcrm.centre.classification import classify_encounters, follow_touched
from hcrm.centre.events import EncounterClassified, EncounterReclassified
from hcrm.centre.models import Classification
from hcrm.centre.queries import list_classifications
from hcrm.centre.stays import load_stays
from hcrm.core.work import Work
from tests.support.builders import (
    cancel_discharge,
    discharged,
    make_department,
    make_encounter,
    make_patient,
    publish_rules,
)

pytestmark = pytest.mark.usefixtures("definitions")


def classes(work: Work) -> dict[str, list[str]]:
    rows = work.scalars(sa.select(Classification).order_by(Classification.axis, Classification.rank))
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.axis, []).append(row.code)
    return found


def test_a_discharged_stay_is_sorted_on_every_axis_with_the_rule_that_hit(work: Work):
    stay = make_encounter(
        work, patient=make_patient(work, region_code="330106"), department=make_department(work, name="肾内科"),
        diagnoses=["I63.900", "E11.900"],
    )  # fmt: skip

    assert classify_encounters(work, [discharged(stay)], home_region="330106") == 1

    assert classes(work) == {
        "specialty": ["03"],
        "disease_group": ["stroke", "diabetes"],
        "region": ["local"],
    }
    main = work.one(Classification, Classification.code == "stroke")
    assert (main.label, main.rank, main.rule_code, main.rule_version) == ("脑卒中", 0, "i63", 1)
    assert work.events == [EncounterClassified(encounter_id=stay.id, trigger_id=stay.discharge_id)]


def test_what_no_rule_knows_is_said_to_be_unclassified(work: Work):
    stay = make_encounter(work, diagnoses=["S52.500"])

    classify_encounters(work, [discharged(stay)])

    assert {codes[0] for codes in classes(work).values()} == {"unclassified"}


def test_a_revision_replaces_what_was_said_and_is_told_as_such(work: Work):
    stay = make_encounter(work, diagnoses=["S52.500"])
    classify_encounters(work, [discharged(stay)])
    work.flush()
    diagnosis = work.one(Diagnosis)
    diagnosis.code = "E11.900"

    classify_encounters(work, [EncounterRevised(encounter_id=stay.id, trigger_id=stay.discharge_id)])

    assert classes(work)["disease_group"] == ["diabetes"]
    assert work.events == [EncounterReclassified(encounter_id=stay.id, trigger_id=stay.discharge_id)]


def places(work: Work) -> set[str | None]:
    work.session.expire_all()
    return {row.department_id for row in work.all(Classification)}


def test_classes_go_with_their_stay_to_another_department(work: Work):
    ward, other = make_department(work, name="一病区"), make_department(work, name="二病区")
    stay = make_encounter(work, department=ward)
    classify_encounters(work, [discharged(stay)])
    assert places(work) == {ward.id}

    stay.department_id = other.id
    classify_encounters(work, [EncounterRevised(encounter_id=stay.id, trigger_id=stay.discharge_id)])

    assert places(work) == {other.id}


def test_classes_of_a_stay_that_goes_on_again_follow_it_too(work: Work):
    ward, other = make_department(work, name="一病区"), make_department(work, name="二病区")
    stay = make_encounter(work, department=ward)
    classify_encounters(work, [discharged(stay)])
    cancel_discharge(work, stay)
    stay.department_id = other.id

    follow_touched(work, [PatientsTouched(patient_ids=[stay.patient_id])])

    assert places(work) == {other.id}


def test_classes_of_an_archive_the_sender_deleted_for_a_while_stand_where_the_stay_is(work: Work):
    ward, other = make_department(work, name="一病区"), make_department(work, name="二病区")
    stay = make_encounter(work, department=ward)
    classify_encounters(work, [discharged(stay)])
    patient = work.get(Patient, stay.patient_id)
    patient.is_nullified, stay.department_id = True, other.id
    work.flush()
    classify_encounters(work, [EncounterRevised(encounter_id=stay.id, trigger_id=stay.discharge_id)])
    patient.is_nullified = False

    follow_touched(work, [PatientsTouched(patient_ids=[stay.patient_id])])

    assert places(work) == {other.id}


def test_a_revision_that_overtakes_the_discharge_counts_as_the_first_word(work: Work):
    stay = make_encounter(work)

    classify_encounters(work, [EncounterRevised(encounter_id=stay.id, trigger_id=stay.discharge_id)])

    assert isinstance(work.events[0], EncounterClassified)


def test_a_stay_whose_discharge_was_cancelled_meanwhile_is_left_alone(work: Work):
    stay = make_encounter(work)
    fact = discharged(stay)
    cancel_discharge(work, stay)

    assert classify_encounters(work, [fact]) == 0

    assert classes(work) == {}
    assert work.events == []


def test_every_patient_of_the_batch_stands_in_audit(work: Work):
    stays = [make_encounter(work) for _ in range(3)]

    classify_encounters(work, [discharged(stay) for stay in stays])
    work.flush()

    assert set(work.scalars(sa.select(AuditSubject.subject_patient_id))) == {
        stay.patient_id for stay in stays
    }


def test_the_classes_of_several_stays_are_read_at_once_main_class_first(work: Work):
    one, other = make_encounter(work, diagnoses=["I63.9", "E11.9"]), make_encounter(work, diagnoses=["E11.9"])
    classify_encounters(work, [discharged(one), discharged(other)])

    found = list_classifications(work, encounter_ids=[one.id, other.id])

    assert [row.code for row in found[one.id] if row.axis == "disease_group"] == ["stroke", "diabetes"]
    assert [row.code for row in found[other.id] if row.axis == "disease_group"] == ["diabetes"]


def test_publishing_rules_again_changes_nothing(work: Work):
    publish_rules(work)

    classify_encounters(work, [discharged(make_encounter(work))])

    assert len(work.events) == 1


# ── the facts rules see ─────────────────────────────────────────────────────


def facts_of(work: Work, stay):
    (found,) = load_stays(work, [discharged(stay)])
    return found.facts


def test_the_main_diagnosis_comes_first_whatever_its_rank(work: Work):
    stay = make_encounter(work, diagnoses=["I10", "E11.9"])
    for row in work.all(Diagnosis):
        row.is_main = row.code == "E11.9"

    assert facts_of(work, stay).diagnosis_codes == ("E11.9", "I10")


def test_a_code_of_a_tcm_table_is_no_icd_code(work: Work):
    stay = make_encounter(work, diagnoses=["A01.01", "I63.9"])
    work.one(Diagnosis, Diagnosis.code == "A01.01").system = "GB/T 15657-2021"

    assert facts_of(work, stay).diagnosis_codes == ("I63.9",)


def test_what_was_thought_on_admission_counts_only_where_nothing_came_later(work: Work):
    stay = make_encounter(work, diagnoses=["R10.4", "K35.9"])
    other = make_encounter(work, diagnoses=["R10.4"])
    for row in work.all(Diagnosis, Diagnosis.code == "R10.4"):
        row.kind = "A"

    assert facts_of(work, stay).diagnosis_codes == ("K35.9",)
    assert facts_of(work, other).diagnosis_codes == ("R10.4",)


def test_a_diagnosis_that_was_replaced_is_no_fact(work: Work):
    stay = make_encounter(work, diagnoses=["I63.9", "I10"])
    work.one(Diagnosis, Diagnosis.code == "I63.9").ended_at = work.clock.now()

    assert facts_of(work, stay).diagnosis_codes == ("I10",)


@pytest.mark.parametrize(("born", "age"), [(date(1966, 11, 21), 60), (date(1966, 11, 22), 59), (None, None)])
def test_the_age_is_that_on_the_hospital_s_day_of_discharge(work: Work, born, age):
    patient = make_patient(work, birth_date=born)
    stay = make_encounter(
        work, patient=patient, discharged_at=datetime(2026, 11, 20, 17, tzinfo=UTC)
    )  # 21st, 01:00

    assert facts_of(work, stay).age_years == age


def test_the_home_address_tells_the_region_before_the_registered_one(work: Work):
    patient = make_patient(work, region_code="330106")

    work.add(
        Address(
            id=work.new_id(), patient_id=patient.id, use="registered", rank=0, region_code="420100",
            text_sealed=b"x", source="test", as_of=work.clock.now(), seq=1, ended_at=None,
        )
    )  # fmt: skip

    assert facts_of(work, make_encounter(work, patient=patient)).region_code == "330106"


def test_a_visit_that_goes_on_follows_the_address_and_one_that_ended_keeps_its_word(work: Work):
    patient = make_patient(work, region_code="330106")
    ended = make_encounter(work, patient=patient)
    classify_encounters(work, [discharged(ended)], home_region="330106")
    going_on = make_encounter(work, patient=patient, discharged_at=None)
    touched = PatientsTouched(patient_ids=[patient.id])
    follow_touched(work, [touched], home_region="330106")
    assert regions(work) == {ended.id: "local", going_on.id: "local"}
    audited = len(work.all(AuditSubject))
    follow_touched(work, [touched], home_region="330106")
    assert len(work.all(AuditSubject)) == audited  # nothing changed, nothing is written

    put_address(
        work, patient_id=patient.id, use="home", informant=Informant.PATIENT, text="x", region_code="420102"
    )
    follow_touched(work, [touched], home_region="330106")

    assert regions(work) == {ended.id: "local", going_on.id: "unclassified"}  # no rule knows it


def regions(work: Work) -> dict[str, str]:
    work.session.expire_all()
    rows = work.all(Classification, Classification.axis == "region")
    return {row.encounter_id: row.code for row in rows}
