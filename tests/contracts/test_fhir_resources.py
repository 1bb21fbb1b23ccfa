"""What leaves by FHIR is R4B: every resource validates with fhir.resources, and the statement says what holds."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from hypothesis import given
from hypothesis import strategies as st

from hcrm.api.elements import compact, moment
from hcrm.archive import records as r
from hcrm.archive.models import DeceasedState, Sex
from hcrm.archive.visit_models import DischargeWay, EncounterClass, VisitEventKind
from hcrm.centre.models import InstructionState, Outcome
from hcrm.forms.models import ResponseState
from tests.support.fhir import FhirClient, Hospital, make_response, make_task, person, visit

TYPES = ("Patient", "Encounter", "Condition", "Task", "QuestionnaireResponse")


def validate(resource: dict[str, Any]) -> None:
    get_fhir_model_class(resource["resourceType"]).model_validate(resource)


@pytest.fixture
def odd_hospital(hospital: Hospital) -> Hospital:
    """Every state the archive knows, and values as odd as senders make them."""
    odd = {
        "name": "<b>O'Neil</b> 𠮷\u202e",
        "sex": Sex.OTHER,
        "birth_date": date(1, 1, 1),
        "id_number": "not a number",
        "contacts": (r.ContactRecord("phone", "fax", "12 34"), r.ContactRecord("email", "home", "=HYPERLINK(1)")),
        "addresses": (r.AddressRecord("birth", "", "110101"), r.AddressRecord("home", "\n某路\t1 号")),
        "related": (r.RelatedPersonRecord("", "", "120"), r.RelatedPersonRecord("李梅", "")),
    }  # fmt: skip
    coded = (
        r.DiagnosisRecord("A 1  x", "", "ICD 10", "A", True),
        r.DiagnosisRecord("", "只有文字", "", "Z"),
        r.DiagnosisRecord("BNG080", "眩晕病", "GB/T 15657|2021", "W"),
    )
    for number, kind in enumerate(EncounterClass, start=1):
        hospital.admit(f"M{number}", kind.value, encounter_class=kind, diagnoses=coded)
    for number, (kind, way) in enumerate(zip(EncounterClass, DischargeWay, strict=False), start=1):
        text = "特殊" if way is DischargeWay.OTHER else None
        hospital.discharge(f"M{number}", kind.value, discharge_way=way, discharge_way_text=text)
    hospital.cancel_discharge("M1", "inpatient")
    hospital.tell(person("M 7|^ 号", **odd), visit("V 7"), VisitEventKind.PREADMIT)
    hospital.tell(person("M8", name=None, sex=None, birth_date=None))
    hospital.die("M8")
    hospital.die("M2", at=datetime(1899, 12, 31, 16, 0, 0, 1, tzinfo=UTC))
    hospital.tell(person("M3", deceased=DeceasedState.DECEASED))
    hospital.tell(person("M3", deceased=DeceasedState.ALIVE))
    hospital.merge("M1", "M4")
    for state in InstructionState:
        done = (
            {"outcome": Outcome.LOST, "reason": "空号", "note": "核实"}
            if state is InstructionState.RETURNED
            else {}
        )
        task = make_task(hospital, "outpatient", state=state, **done)
    make_response(
        hospital, task, {"pain": 10, "temperature": "38.50", "remark": "多行\n文字", "gone": ["a", "b"]}
    )
    make_response(hospital, task, {}, ResponseState.DRAFT)
    return hospital


def test_every_resource_and_every_page_is_valid_r4b(fhir: FhirClient, odd_hospital: Hospital):
    for kind in TYPES:
        bundle = fhir.search(kind, _count="3")
        validate(bundle)
        keys = fhir.crawl(kind)
        assert keys
        for key in keys:
            resource = fhir.read(f"{kind}/{key}")
            validate(resource)
            assert find_empty(resource) == []


def test_a_merged_patient_is_valid_r4b(fhir: FhirClient, odd_hospital: Hospital):
    validate(fhir.read(f"Patient/{odd_hospital.patients['M4']}"))


def find_empty(value: Any, path: str = "") -> list[str]:
    """Places where something empty stands, which FHIR forbids and fhir.resources lets pass."""
    if isinstance(value, dict):
        inside = [place for name, each in value.items() for place in find_empty(each, f"{path}.{name}")]
    elif isinstance(value, list):
        inside = [
            place for number, each in enumerate(value) for place in find_empty(each, f"{path}[{number}]")
        ]
    else:
        inside = []
    return inside + ([path] if value in (None, "", [], {}) else [])


def test_every_refusal_is_a_valid_outcome(fhir: FhirClient):
    for path, status in (
        ("Patient/x", 404), ("Nonsense", 404), ("Patient?_sort=x", 400), ("Patient?_format=xml", 406),
    ):  # fmt: skip
        validate(fhir.refusal(path, status))
    validate(fhir.refusal("Patient/x", 405, method="PUT"))
    validate(fhir.refusal("Patient", 401, headers={"Authorization": "Bearer wrong"}))


def test_the_statement_is_valid_and_says_what_the_server_is(fhir: FhirClient):
    statement = fhir.read("metadata")

    validate(statement)
    assert (statement["fhirVersion"], statement["kind"]) == ("4.3.0", "instance")
    assert statement["implementation"]["url"] == "http://localhost/fhir/R4B"
    assert [each["type"] for each in statement["rest"][0]["resource"]] == list(TYPES)


SAMPLES = {"token": "x", "reference": "x", "date": "2026-11-22", "string": "张"}
STATUSES = {"Encounter": "finished", "Task": "completed", "QuestionnaireResponse": "completed"}


def test_every_parameter_of_the_statement_is_answered_and_no_other(fhir: FhirClient, odd_hospital: Hospital):
    for resource in fhir.read("metadata")["rest"][0]["resource"]:
        kind = resource["type"]
        for parameter in resource["searchParam"]:
            value = SAMPLES[parameter["type"]]
            if parameter["name"] == "status":
                value = STATUSES[kind]
            elif parameter["name"] == "business-status":
                value = "issued"
            elif parameter["name"] == "phone":
                value = "13800138000"
            validate(fhir.search(kind, (parameter["name"], value)))
        fhir.refusal(f"{kind}?active=true", 400)
        assert {each["code"] for each in resource["interaction"]} == {"read", "search-type"}


# ── pieces ──────────────────────────────────────────────────────────────────


FIRST, LAST = datetime(1, 1, 2), datetime(9999, 12, 30)  # noqa: DTZ001  hypothesis adds the zone


@given(st.datetimes(min_value=FIRST, max_value=LAST, timezones=st.just(UTC)))
def test_a_moment_keeps_its_instant_and_is_a_fhir_datetime(at: datetime):
    text = moment(at)

    assert datetime.fromisoformat(text) == at
    get_fhir_model_class("Patient").model_validate({"resourceType": "Patient", "deceasedDateTime": text})


@given(st.dictionaries(st.text(), st.sampled_from([None, "", [], {}, 0, False, "x", [0], {"a": 1}])))
def test_compact_leaves_out_what_is_empty_and_nothing_else(values: dict):
    kept = compact(values)

    assert kept == {
        name: value for name, value in values.items() if json.dumps(value) not in ("null", '""', "[]", "{}")
    }
