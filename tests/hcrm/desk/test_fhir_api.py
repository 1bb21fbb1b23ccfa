"""Reading patients and visits: what messages told the archive can be checked from outside."""

from datetime import UTC, datetime

import sqlalchemy as sa

from hcrm.archive import records as r
from hcrm.archive.models import DeceasedState, Patient, Sex
from hcrm.archive.visit_models import DischargeWay, EncounterClass, VisitEventKind
from tests.support.fhir import (
    CITIZEN_SYSTEM,
    ID_NUMBER,
    RECORD_SYSTEM,
    VISIT_SYSTEM,
    FhirClient,
    Hospital,
    ids_of,
    person,
    visit,
)

FULL = {
    "id_number": ID_NUMBER,
    "contacts": (
        r.ContactRecord("phone", "mobile", "138-0013-8000"),
        r.ContactRecord("email", "home", "z@example.cn"),
    ),
    "addresses": (
        r.AddressRecord("home", "浙江省杭州市西湖区某路 1 号", "330106"),
        r.AddressRecord("registered", "某村"),
    ),
    "related": (r.RelatedPersonRecord("李梅", "配偶", "13900139000"),),
    "marital_status": "已婚",
}  # fmt: skip


# ── patients ────────────────────────────────────────────────────────────────


def test_a_patient_is_read_with_numbers_contacts_addresses_and_relatives_in_full(
    fhir: FhirClient, hospital: Hospital
):
    hospital.tell(person("M1", **FULL))

    patient = fhir.read(f"Patient/{hospital.patients['M1']}")

    assert [(each["system"], each["value"], each["use"]) for each in patient["identifier"]] == [
        (RECORD_SYSTEM, "M1", "usual"),
        (CITIZEN_SYSTEM, ID_NUMBER, "official"),
    ]
    assert patient["name"] == [{"use": "official", "text": "张建国"}]
    assert (patient["gender"], patient["birthDate"], patient["active"]) == ("male", "1966-03-07", True)
    assert patient["telecom"] == [
        {"system": "phone", "value": "13800138000", "use": "mobile", "rank": 1},
        {"system": "email", "value": "z@example.cn", "use": "home", "rank": 2},
    ]
    home, registered = patient["address"]
    assert (home["text"], home["use"]) == ("浙江省杭州市西湖区某路 1 号", "home")
    assert home["extension"] == [{"url": "urn:hcrm:region", "valueCode": "330106"}]
    assert "use" not in registered
    assert registered["extension"] == [{"url": "urn:hcrm:address-kind", "valueCode": "registered"}]
    assert patient["contact"] == [
        {"relationship": [{"text": "配偶"}], "name": {"text": "李梅"},
         "telecom": [{"system": "phone", "value": "13900139000"}]}
    ]  # fmt: skip
    assert patient["maritalStatus"] == {"text": "已婚"}
    assert "deceasedBoolean" not in patient


def test_a_merged_id_answers_the_survivors_data_with_the_link_to_it(fhir: FhirClient, hospital: Hospital):
    hospital.tell(person("M1", name="张建国"))
    hospital.tell(person("M2", name="张建囯", birth_date=None))
    survivor, merged = hospital.patients["M1"], hospital.patients["M2"]
    hospital.merge("M1", "M2")

    tombstone, living = fhir.read(f"Patient/{merged}"), fhir.read(f"Patient/{survivor}")

    assert (tombstone["id"], tombstone["active"]) == (merged, False)
    assert tombstone["link"] == [
        {"other": {"reference": f"Patient/{survivor}", "type": "Patient"}, "type": "replaced-by"}
    ]
    assert tombstone["name"] == living["name"]
    assert [each["value"] for each in tombstone["identifier"]] == ["M1", "M2"]
    assert living["active"] is True
    assert living["link"] == [
        {"other": {"reference": f"Patient/{merged}", "type": "Patient"}, "type": "replaces"}
    ]
    assert [(each["value"], each["use"]) for each in living["identifier"]] == [
        ("M1", "usual"),
        ("M2", "old"),
    ]


def test_a_merged_merge_leads_to_the_last_survivor(fhir: FhirClient, hospital: Hospital):
    for mrn in ("M1", "M2", "M3"):
        hospital.tell(person(mrn))
    hospital.merge("M2", "M3")
    hospital.merge("M1", "M2")

    tombstone = fhir.read(f"Patient/{hospital.patients['M3']}")

    assert tombstone["link"][0]["other"]["reference"] == f"Patient/{hospital.patients['M1']}"
    assert fhir.ids("Patient", identifier="M3") == [hospital.patients["M1"]]


def test_every_identifier_of_a_merged_patient_finds_the_survivor(fhir: FhirClient, hospital: Hospital):
    hospital.tell(person("M1"))
    hospital.tell(person("M2", id_number=ID_NUMBER))
    hospital.merge("M1", "M2")

    for identifier in ("M2", f"{RECORD_SYSTEM}|M2", "M1", ID_NUMBER):
        bundle = fhir.search("Patient", identifier=identifier)

        assert (ids_of(bundle), bundle["total"]) == ([hospital.patients["M1"]], 1)


def test_a_merged_id_finds_the_survivor_wherever_a_patient_is_asked_for(fhir: FhirClient, hospital: Hospital):
    hospital.admit("M1", "V1")
    hospital.admit("M2", "V2")
    merged = hospital.patients["M2"]
    hospital.merge("M1", "M2")

    assert fhir.ids("Patient", _id=merged) == [hospital.patients["M1"]]
    assert fhir.ids("Encounter", patient=f"Patient/{merged}") == [
        hospital.visits["V1"],
        hospital.visits["V2"],
    ]


def test_a_death_is_told_with_its_moment_and_disputed_once_someone_says_otherwise(
    fhir: FhirClient, hospital: Hospital
):
    hospital.tell(person("M1"))
    hospital.die("M1", at=datetime(2026, 11, 20, 1, 30, tzinfo=UTC))
    dead = fhir.read(f"Patient/{hospital.patients['M1']}")
    hospital.tell(person("M1", deceased=DeceasedState.ALIVE))
    disputed = fhir.read(f"Patient/{hospital.patients['M1']}")

    assert dead["deceasedDateTime"] == "2026-11-20T09:30:00+08:00"
    assert dead["active"] is True
    assert "deceasedDateTime" not in disputed
    assert disputed["_deceasedBoolean"]["extension"][0]["valueCode"] == "unknown"


def test_dying_in_hospital_makes_the_patient_deceased(fhir: FhirClient, hospital: Hospital):
    hospital.admit("M1", "V1")
    hospital.discharge("M1", "V1", discharge_way=DischargeWay.DIED)

    patient = fhir.read(f"Patient/{hospital.patients['M1']}")

    assert patient.get("deceasedDateTime") or patient.get("deceasedBoolean") is True


def test_a_nullified_archive_is_gone_and_found_by_nothing(fhir: FhirClient, hospital: Hospital):
    hospital.tell(person("M1"))
    with hospital.work() as work:
        work.execute(sa.update(Patient).values(is_nullified=True))

    fhir.refusal(f"Patient/{hospital.patients['M1']}", 410)
    assert fhir.ids("Patient", identifier="M1") == []


def test_a_patient_of_any_sex_and_without_a_birth_date_is_told_as_known(fhir: FhirClient, hospital: Hospital):
    hospital.tell(person("M1", sex=Sex.UNKNOWN, birth_date=None))

    patient = fhir.read(f"Patient/{hospital.patients['M1']}")

    assert patient["gender"] == "unknown"
    assert "birthDate" not in patient


# ── visits ──────────────────────────────────────────────────────────────────


def test_a_stay_goes_from_admitted_to_finished_and_back_when_its_discharge_is_cancelled(
    fhir: FhirClient, hospital: Hospital
):
    hospital.admit("M1", "V1")
    address = f"Encounter/{hospital.visits['V1']}"
    admitted = fhir.read(address)
    hospital.discharge("M1", "V1")
    finished = fhir.read(address)
    hospital.cancel_discharge("M1", "V1")
    reopened = fhir.read(address)

    assert [each["status"] for each in (admitted, finished, reopened)] == [
        "in-progress",
        "finished",
        "in-progress",
    ]
    assert "end" not in admitted["period"]
    assert finished["period"] == {"start": "2026-11-22T10:01:00+08:00", "end": "2026-11-22T10:02:00+08:00"}
    assert finished["hospitalization"]["dischargeDisposition"]["coding"][0]["code"] == "1"
    assert reopened["period"] == admitted["period"]
    assert "hospitalization" not in reopened


def test_a_cancelled_admission_is_a_cancelled_encounter(fhir: FhirClient, hospital: Hospital):
    hospital.admit("M1", "V1")
    hospital.tell(person("M1"), visit("V1"), VisitEventKind.CANCEL_ADMIT)

    assert fhir.read(f"Encounter/{hospital.visits['V1']}")["status"] == "cancelled"


def test_an_encounter_names_number_class_physician_department_and_diagnoses(
    fhir: FhirClient, hospital: Hospital
):
    diagnoses = (
        r.DiagnosisRecord("I10.x00", "高血压", "ICD-10", "F"),
        r.DiagnosisRecord("I63.900", "脑梗死", "ICD-10", "F", is_main=True),
    )
    hospital.admit("M1", "V1", diagnoses=diagnoses, location="W1-101-1")

    encounter = fhir.read(f"Encounter/{hospital.visits['V1']}")
    main = fhir.read(encounter["diagnosis"][0]["condition"]["reference"])

    assert (encounter["identifier"][0]["system"], encounter["identifier"][0]["value"]) == (VISIT_SYSTEM, "V1")
    assert encounter["class"]["code"] == "IMP"
    assert encounter["type"][0]["coding"][0]["display"] == "住院"
    assert encounter["subject"]["reference"] == f"Patient/{hospital.patients['M1']}"
    assert encounter["participant"][0]["individual"]["identifier"]["value"] == "1001"
    assert encounter["serviceProvider"]["display"] == "内科"
    assert encounter["location"] == [{"location": {"display": "W1-101-1"}}]
    assert [each["rank"] for each in encounter["diagnosis"]] == [1, 2]
    assert main["code"] == {
        "coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "I63.900", "display": "脑梗死"}],
        "text": "脑梗死",
    }
    assert main["verificationStatus"]["coding"][0]["code"] == "confirmed"
    assert main["encounter"]["reference"] == f"Encounter/{encounter['id']}"


def test_every_class_of_visit_has_a_code_of_the_standard(fhir: FhirClient, hospital: Hospital):
    wanted = dict(zip(EncounterClass, ("IMP", "AMB", "EMER", "PRENC", "AMB", "UNK"), strict=True))
    for number in EncounterClass:
        hospital.admit("M1", number.value, encounter_class=number, class_text="特需")

    encounters = {each: fhir.read(f"Encounter/{hospital.visits[each.value]}") for each in EncounterClass}

    assert {each: encounter["class"]["code"] for each, encounter in encounters.items()} == wanted
    assert all(each["type"][0]["coding"][0]["code"] == kind.value for kind, each in encounters.items())


def test_a_diagnosis_that_a_newer_list_replaced_is_gone(fhir: FhirClient, hospital: Hospital):
    hospital.admit("M1", "V1", diagnoses=(r.DiagnosisRecord("R51.x00", "头痛", "ICD-10", "A"),))
    (first,) = fhir.ids("Condition", encounter=hospital.visits["V1"])
    hospital.discharge("M1", "V1", diagnoses=(r.DiagnosisRecord("I63.900", "脑梗死", "ICD-10", "F", True),))

    fhir.refusal(f"Condition/{first}", 410)
    bundle = fhir.search("Condition", encounter=hospital.visits["V1"])
    assert [each["resource"]["code"]["text"] for each in bundle["entry"]] == ["脑梗死"]


# ── versions ────────────────────────────────────────────────────────────────


def test_the_version_stands_in_the_etag_and_changes_with_the_content(fhir: FhirClient, hospital: Hospital):
    hospital.admit("M1", "V1")
    address = f"Patient/{hospital.patients['M1']}"
    first = fhir.open(address)
    hospital.tell(person("M1", name="张建军"))
    second = fhir.open(address)

    assert first.headers["ETag"] == f'W/"{first.get_json()["meta"]["versionId"]}"'
    assert first.headers["ETag"] != second.headers["ETag"]
    assert second.last_modified == datetime(2026, 11, 22, 2, 2, tzinfo=UTC)
    assert second.get_json()["meta"]["lastUpdated"] == "2026-11-22T10:02:00+08:00"


def test_a_client_that_has_the_version_gets_no_body(fhir: FhirClient, hospital: Hospital):
    hospital.tell(person("M1"))
    address = f"Patient/{hospital.patients['M1']}"
    etag = fhir.open(address).headers["ETag"]

    same = fhir.open(address, headers={"If-None-Match": etag})
    hospital.merge("M1", "M9")
    changed = fhir.open(address, headers={"If-None-Match": etag})

    assert (same.status_code, same.data) == (304, b"")
    assert changed.status_code == 200
