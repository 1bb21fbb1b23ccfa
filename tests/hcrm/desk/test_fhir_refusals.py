"""What FHIR clients may not ask: refused in the words of the standard, never ignored, never a fault (F4, C25-C28)."""

from hcrm.core import limits
from tests.support.fhir import RECORD_SYSTEM, FhirClient, Hospital, person

REFUSED = [
    ("Patient", "_count", "-1"),
    ("Patient", "_count", "many"),
    ("Patient", "_count", "9" * 30),
    ("Patient", "_include", "Patient:link"),
    ("Patient", "_revinclude", "Encounter:patient"),
    ("Patient", "_include:iterate", "Encounter:subject:Patient"),
    ("Patient", "_sort", "name'; DROP TABLE patient"),
    ("Patient", "_summary", "count"),
    ("Patient", "_elements", "name"),
    ("Patient", "_filter", "name eq x"),
    ("Patient", "name:contains", "%"),
    ("Patient", "name:exact", "张"),
    ("Patient", "identifier:not", "M1"),
    ("Patient", "identifier", "a|b|c"),
    ("Patient", "identifier", f"{RECORD_SYSTEM}|"),
    ("Encounter", "identifier", "|"),
    ("Patient", "identifier", ""),
    ("Patient", "identifier", "M1,,M2"),
    ("Patient", "identifier", "M\x001"),
    ("Patient", "identifier", ",".join(["x"] * (limits.FHIR_SEARCH_VALUES + 1))),
    ("Patient", "identifier", "x" * (limits.FHIR_VALUE_LENGTH + 1)),
    ("Patient", "name", " "),
    ("Patient", "phone", "nobody"),
    ("Patient", "_id", "' OR 1=1"),
    ("Patient", "birthdate", "1966-13"),
    ("Patient", "birthdate", "1966-02-30"),
    ("Patient", "birthdate", "19660307"),
    ("Patient", "birthdate", "0000"),
    ("Patient", "birthdate", "9999"),
    ("Patient", "birthdate", "ap1966"),
    ("Patient", "birthdate", "xx1966"),
    ("Patient", "birthdate", "1966-03-07T10:00"),
    ("Patient", "_lastUpdated", "0001-01-01T00:00:00+14:00"),
    ("Patient", "_lastUpdated", "2026-11-22T25:00:00Z"),
    ("Patient", "_lastUpdated", "2026-11-22T10:00:00+99:99"),
    ("Encounter", "status", "discharged"),
    ("Encounter", "status", "Finished"),
    ("Encounter", "patient", "Patient/../x"),
    ("Encounter", "patient.name", "张"),
    ("Encounter", "patient:Patient.identifier", "M1"),
    ("Encounter", "length", "5"),
    ("Condition", "code", "|"),
    ("Task", "owner:missing", "true"),
    ("QuestionnaireResponse", "based-on", "Task/1"),
]


def test_what_is_not_supported_is_refused_and_never_ignored(fhir: FhirClient, hospital: Hospital):
    for kind, name, value in REFUSED:
        outcome = fhir.refusal(kind, 400, query_string={name: value})

        assert outcome["issue"][0]["severity"] == "error"
        assert len(value.strip()) < 3 or value not in outcome["issue"][0]["details"]["text"]


def test_odd_words_are_data(fhir: FhirClient, town: Hospital):
    odd = ("'", "\\", "%", "_", "张'--", "\u202e", "<script>", "{{7*7}}", "A" * 5000)

    assert [fhir.ids("Patient", identifier=value) + fhir.ids("Patient", name=value) for value in odd] == [
        []
    ] * len(odd)


MISSING = [
    "Patient/unknown",
    "Patient/%00",
    "Patient/a_b",
    "Patient/" + "a" * 65,
    "Patient/_search",
    "Encounter/unknown",
    "Condition/unknown",
    "Task/unknown",
    "QuestionnaireResponse/unknown",
    "Observation/1",
    "Nonsense",
    "patient",
    "Patient/1/_history",
]


def test_what_is_not_there_is_not_found(fhir: FhirClient):
    for path in MISSING:
        fhir.refusal(path, 404)


def test_writing_is_not_allowed_yet(fhir: FhirClient, hospital: Hospital):
    hospital.tell(person("M1"))

    for method in ("PUT", "DELETE", "PATCH"):
        fhir.refusal(f"Patient/{hospital.patients['M1']}", 405, method=method)
    fhir.refusal("Patient", 405, method="POST", json={"resourceType": "Patient"})

    assert fhir.ids("Patient", identifier="M1") == [hospital.patients["M1"]]


ACCEPT = [
    ("application/fhir+json", 200),
    ("application/fhir+json; fhirVersion=4.3", 200),
    ("application/json", 200),
    ("text/html, */*;q=0.1", 200),
    ("application/fhir+xml", 406),
    ("application/xml", 406),
    ("application/fhir+json; fhirVersion=5.0", 406),
    ("application/fhir+json;q=0", 406),
]


def test_only_json_is_spoken(fhir: FhirClient):
    for accept, status in ACCEPT:
        for path in ("metadata", "Patient"):
            answer = fhir.open(path, headers={"Accept": accept})

            assert (accept, answer.status_code) == (accept, status)
            assert answer.headers["Content-Type"] == "application/fhir+json; charset=utf-8"


def test_the_format_may_be_asked_for_in_the_address(fhir: FhirClient):
    for wanted, status in (("json", 200), ("application/fhir+json", 200), ("xml", 406)):
        for path in ("metadata", "Patient"):
            answer = fhir.open(path, query_string={"_format": wanted}, headers={"Accept": "text/html"})

            assert (wanted, answer.status_code) == (wanted, status)


def test_reading_one_resource_takes_no_search_parameter(fhir: FhirClient):
    fhir.refusal("Patient/unknown", 400, query_string={"name": "x"})


def test_chinese_is_sent_as_it_is(fhir: FhirClient, town: Hospital):
    assert "张建国" in fhir.open("Patient", query_string={"identifier": "M1"}).data.decode()
