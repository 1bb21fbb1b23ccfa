"""Searching by FHIR: parameters, pages that hold still while messages come, and questions we do not answer."""

import base64
from datetime import UTC, datetime

import pytest

from hcrm.archive import records as r
from hcrm.archive.fhir import PatientType, Systems
from hcrm.archive.visit_models import EncounterClass, VisitEventKind
from hcrm.core import limits
from hcrm.core.sources import Source, Sources
from tests.support.fhir import (
    AUTHORITY,
    CITIZEN_SYSTEM,
    ID_NUMBER,
    RECORD_SYSTEM,
    STROKE,
    VISIT_SYSTEM,
    FhirClient,
    Hospital,
    ids_of,
    make_task,
    person,
    visit,
)

# ── patients ────────────────────────────────────────────────────────────────


PATIENTS = [
    ("identifier", "M1", ["M1"]),
    ("identifier", f"{RECORD_SYSTEM}|M1", ["M1"]),
    ("identifier", f"urn:hcrm:id:{AUTHORITY}|M1", ["M1"]),  # a client that encoded the address only once
    ("identifier", "urn:hcrm:id:other|M1", []),
    ("identifier", "|M1", []),
    ("identifier", "m1", []),
    ("identifier", "M%", []),
    ("identifier", "100%", ["100%"]),
    ("identifier", "M1,M2", ["M1", "M2"]),
    ("identifier", ID_NUMBER, ["M1"]),
    ("identifier", f"{CITIZEN_SYSTEM}|{ID_NUMBER}", ["M1"]),
    ("identifier", f"{RECORD_SYSTEM}|{ID_NUMBER}", []),
    ("identifier", f"{CITIZEN_SYSTEM}|M1", []),
    ("name", "张", ["M1", "M2"]),
    ("name", "张建国", ["M1"]),
    ("name", "建国", []),
    ("name", "%", []),
    ("name", "zhangjian", ["M1", "M2"]),
    ("name", "SMITH j", ["100%"]),
    ("birthdate", "1966-03-07", ["M1"]),
    ("birthdate", "1966", ["M1"]),
    ("birthdate", "ge1966-03", ["M1", "M2"]),
    ("birthdate", "gt1966", ["M2"]),
    ("birthdate", "lt1980-05-03", ["M1"]),
    ("birthdate", "le1980-05-03", ["M1", "M2"]),
    ("birthdate", "ne1980-05-03", ["M1"]),
    ("phone", "138 0013 8000", ["M1"]),
    ("phone", "+8613800138000", ["M1"]),
    ("phone", "mobile|13800138000", ["M1"]),
    ("phone", "work|13800138000", []),
    ("phone", "13800138001", []),
    ("_lastUpdated", "ge2026-11-22T10:02:00+08:00", ["M2", "100%"]),
    ("_lastUpdated", "ge2026-11-22T10:02:00 08:00", ["M2", "100%"]),
    ("_lastUpdated", "2026-11-22T02:01Z", ["M1"]),
    ("_lastUpdated", "2026-11-22", ["M1", "M2", "100%"]),
    ("_lastUpdated", "lt2026-11-22", []),
]


def test_patients_are_found_by_every_parameter(fhir: FhirClient, town: Hospital):
    found = [(name, value, fhir.ids("Patient", (name, value))) for name, value, _ in PATIENTS]

    assert found == [(name, value, [town.patients[mrn] for mrn in mrns]) for name, value, mrns in PATIENTS]


def test_repeated_parameters_must_all_hold(fhir: FhirClient, town: Hospital):
    dates = [("birthdate", "ge1966"), ("birthdate", "lt1970")]

    assert fhir.ids("Patient", *dates, name="张") == [town.patients["M1"]]


def test_an_old_phone_number_finds_nobody(fhir: FhirClient, town: Hospital):
    town.tell(person("M1", contacts=(r.ContactRecord("phone", "mobile", "13900139000"),)))

    assert fhir.ids("Patient", phone="13800138000") == []
    assert fhir.ids("Patient", phone="13900139000") == [town.patients["M1"]]


def test_a_comma_in_a_number_is_written_with_a_backslash(fhir: FhirClient, hospital: Hospital):
    hospital.tell(person("A,1"))

    assert fhir.ids("Patient", identifier=r"A\,1") == [hospital.patients["A,1"]]
    assert fhir.ids("Patient", identifier="A,1") == []


def test_a_source_may_name_the_system_of_an_authority(hospital: Hospital):
    uri = "https://hospital.example/mrn"
    source = Source(code="test", title="HIS", authority_uris={"院本部 HIS": uri})
    kind = PatientType(Systems(Sources([source])))
    hospital.tell(person("M1"))
    by_identifier = next(each for each in kind.parameters if each.name == "identifier")

    with hospital.work() as work:
        for system, count in ((uri, 1), (RECORD_SYSTEM, 0)):
            condition = by_identifier.read(work, f"{system}|M1")
            rows = work.execute(kind.rows(work).where(condition)).mappings().all()
            assert len(rows) == count
        (patient,) = kind.load(work, work.execute(kind.rows(work)).mappings().all())

    assert patient.resource["identifier"][0]["system"] == uri


# ── visits ──────────────────────────────────────────────────────────────────


@pytest.fixture
def ward(hospital: Hospital) -> Hospital:
    """A stay that ended, one that runs since the 15th, an outpatient visit and a planned stay."""

    def at(day: int) -> datetime:
        return datetime(2026, 11, day, 2, tzinfo=UTC)

    for number, admitted, discharged, kind in (
        ("DONE", at(1), at(10), EncounterClass.INPATIENT),
        ("RUNS", at(15), None, EncounterClass.INPATIENT),
        ("CLINIC", at(20), None, EncounterClass.OUTPATIENT),
    ):
        record = visit(number, admitted_at=admitted, encounter_class=kind, diagnoses=(STROKE,))
        hospital.tell(person("M1"), record, VisitEventKind.ADMIT)
        if discharged:
            ended = visit(number, discharged_at=discharged)
            hospital.tell(person("M1"), ended, VisitEventKind.DISCHARGE)
    hospital.tell(
        person("M2"), visit("PLAN", encounter_class=EncounterClass.PREADMIT), VisitEventKind.PREADMIT
    )
    return hospital


VISITS = [
    ("identifier", "RUNS", ["RUNS"]),
    ("identifier", f"{VISIT_SYSTEM}|RUNS", ["RUNS"]),
    ("identifier", "urn:hcrm:visit:other|RUNS", []),
    ("identifier", "urn:other|RUNS", []),
    ("status", "finished", ["DONE"]),
    ("status", "planned,finished", ["DONE", "PLAN"]),
    ("status", "http://hl7.org/fhir/encounter-status|in-progress", ["RUNS", "CLINIC"]),
    ("status", "urn:other|in-progress", []),
    ("status", "arrived", []),
    ("class", "IMP", ["DONE", "RUNS"]),
    ("class", "http://terminology.hl7.org/CodeSystem/v3-ActCode|AMB", ["CLINIC"]),
    ("class", "urn:hcrm:encounter-class|preadmit", ["PLAN"]),
    ("class", "nonsense", []),
    ("date", "2026-11", ["DONE"]),
    ("date", "2026-11-05", []),
    ("date", "ge2026-11-12", ["RUNS", "CLINIC"]),
    ("date", "ge2026-11-10", ["DONE", "RUNS", "CLINIC"]),
    ("date", "gt2026-11-10", ["RUNS", "CLINIC"]),
    ("date", "lt2026-11-15", ["DONE"]),
    ("date", "le2026-11-15", ["DONE", "RUNS"]),
    ("date", "sa2026-11-15", ["CLINIC"]),
    ("date", "eb2026-11-15", ["DONE"]),
    ("date", "ne2026-11", ["RUNS", "CLINIC"]),
]


def test_visits_are_found_by_every_parameter(fhir: FhirClient, ward: Hospital):
    found = [(name, value, fhir.ids("Encounter", (name, value))) for name, value, _ in VISITS]

    assert found == [
        (name, value, [ward.visits[each] for each in numbers]) for name, value, numbers in VISITS
    ]


def test_visits_and_diagnoses_are_found_by_patient_in_any_form_of_reference(fhir: FhirClient, ward: Hospital):
    key = ward.patients["M2"]

    for value in (key, f"Patient/{key}", f"http://localhost/fhir/R4B/Patient/{key}"):
        assert fhir.ids("Encounter", subject=value) == [ward.visits["PLAN"]]
    assert fhir.ids("Encounter", subject=f"Group/{key}") == []
    assert fhir.ids("Condition", patient=key) == []
    assert len(fhir.ids("Condition", patient=ward.patients["M1"])) == 3


def test_diagnoses_are_found_by_their_whole_code(fhir: FhirClient, ward: Hospital):
    icd = "http://hl7.org/fhir/sid/icd-10"
    found = {
        code: len(fhir.ids("Condition", code=code))
        for code in (
            "I63.900",
            f"{icd}|I63.900",
            "urn:hcrm:code-system:local|I63.900",
            "urn:x|I63.900",
            "I63",
        )
    }

    assert list(found.values()) == [3, 3, 0, 0, 0]


def test_what_changed_since_is_found_for_each_type(fhir: FhirClient, ward: Hospital):
    """What a client that keeps a copy asks again and again."""
    since = f"ge{ward.clock.now().isoformat()}"
    ward.tell(person("M1"), visit("RUNS", location="W1-101-1"))
    task = make_task(ward, "DONE")

    assert fhir.ids("Encounter", _lastUpdated=since) == [ward.visits["RUNS"], ward.visits["PLAN"]]
    assert fhir.ids("Task", _lastUpdated=since) == [task]
    assert fhir.ids("QuestionnaireResponse", _lastUpdated=since) == []


# ── pages ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("count", ["1", "7"])
def test_a_crawl_shows_every_patient_once_while_messages_come(
    fhir: FhirClient, hospital: Hospital, count: str
):
    ids = hospital.many(23)

    writes = iter(range(5))

    def write() -> None:
        if next(writes, None) is not None:
            hospital.tell(person("M1", name="张改名"))  # one already shown, one not yet, and a new one
            hospital.tell(person("M22", name="张改名"))
            hospital.many(1)

    crawled = fhir.crawl("Patient", between=write, name="张", _count=count)

    assert [key for key in crawled if key in ids] == ids
    assert len(crawled) == len(set(crawled))


def test_a_page_that_ends_with_the_last_row_has_no_next_link(fhir: FhirClient, hospital: Hospital):
    hospital.many(4)

    first = fhir.search("Patient", _count="2")
    second = fhir.read(next_address(first))

    assert [link["relation"] for link in second["link"]] == ["self"]
    assert len(ids_of(second)) == 2


def next_address(bundle: dict) -> str:
    (url,) = (link["url"] for link in bundle["link"] if link["relation"] == "next")
    return url.partition("/fhir/R4B/")[2]


def test_the_next_link_tells_nothing_of_what_was_searched_for(fhir: FhirClient, hospital: Hospital):
    hospital.many(3, contacts=(r.ContactRecord("phone", "mobile", "13800138000"),))

    address = next_address(fhir.search("Patient", phone="13800138000", _count="1"))

    key = address.partition("_page=")[2]
    assert "phone" not in address
    assert b"138001" not in base64.urlsafe_b64decode(key + "=" * (-len(key) % 4))


def test_a_page_key_is_taken_only_as_it_was_given(fhir: FhirClient, hospital: Hospital):
    hospital.many(3)
    address = next_address(fhir.search("Patient", _count="1"))
    key = address.partition("_page=")[2]

    for wrong in (
        f"{address}&name=x", f"{address}&{address.partition('?')[2]}", f"{address[:-6]}AAAAAA",
        f"Encounter?_page={key}", "Patient?_page=", "Patient?_page=AAAA", "Patient?_page=%F0%9F%92%8A",
        f"Patient?_page={'A' * 9000}",
    ):  # fmt: skip
        fhir.refusal(wrong, 400)


def test_the_number_of_hits_is_told_where_few_can_be_meant(fhir: FhirClient, hospital: Hospital):
    hospital.many(3, contacts=(r.ContactRecord("phone", "mobile", "13800138000"),))

    bundle = fhir.search("Patient", phone="13800138000", _count="2")

    assert (bundle["total"], len(ids_of(bundle))) == (3, 2)
    assert fhir.read(next_address(bundle))["total"] == 3
    assert "total" not in fhir.search("Patient", name="张")
    assert fhir.search("Patient", _id="unknown")["total"] == 0


def test_a_count_of_nought_asks_for_the_number_only(fhir: FhirClient, hospital: Hospital):
    hospital.many(3)

    bundle = fhir.search("Patient", name="张", _count="0")

    assert (bundle["total"], "entry" in bundle) == (3, False)


def test_a_page_is_never_larger_than_the_limit(fhir: FhirClient, hospital: Hospital):
    hospital.many(limits.FHIR_MAX_PAGE_SIZE + 1)

    assert len(fhir.ids("Patient")) == limits.FHIR_PAGE_SIZE
    assert len(fhir.ids("Patient", _count="1000000")) == limits.FHIR_MAX_PAGE_SIZE


def test_a_search_may_come_in_the_body_so_that_no_log_keeps_its_words(fhir: FhirClient, town: Hospital):
    answer = fhir.open("Patient/_search", method="POST", data={"identifier": ID_NUMBER})

    assert ids_of(answer.get_json()) == [town.patients["M1"]]
    fhir.refusal("Patient/_search", 415, method="POST", json={"identifier": ID_NUMBER})
