"""Instructions and answers as Task and QuestionnaireResponse."""

from datetime import UTC, date, datetime

from hcrm.centre.fhir import TASK_STATUS
from hcrm.centre.models import InstructionState, Outcome
from hcrm.forms.models import ResponseState
from tests.support.fhir import FhirClient, Hospital, make_response, make_task


def test_every_state_of_an_instruction_is_a_task_status(fhir: FhirClient, hospital: Hospital):
    hospital.discharge("M1", "V1")
    keys = {state: make_task(hospital, state=state) for state in InstructionState}

    for state, key in keys.items():
        task = fhir.read(f"Task/{key}")

        assert (task["status"], task["businessStatus"]["text"]) == (TASK_STATUS[state], state.label)
        assert key in fhir.ids("Task", status=task["status"])
        assert fhir.ids("Task", **{"business-status": state.value}) == [key]
    assert len(fhir.ids("Task", status="in-progress")) == 2


def test_a_task_names_patient_stay_owner_window_and_what_was_answered(fhir: FhirClient, hospital: Hospital):
    hospital.discharge("M1", "V1")
    key = make_task(
        hospital, state=InstructionState.COMPLETED, outcome=Outcome.REACHED, due_on=date(2026, 11, 29),
        done_at=datetime(2026, 11, 28, 3, tzinfo=UTC), note="离院方式未知，先核实",
    )  # fmt: skip
    answered = make_response(hospital, key, {"pain": 3, "temperature": "36.5", "remark": "一切都好"})

    task = fhir.read(f"Task/{key}")

    stay, patient = f"Encounter/{hospital.visits['V1']}", f"Patient/{hospital.patients['M1']}"
    assert (task["focus"]["reference"], task["encounter"]["reference"]) == (stay, stay)
    assert task["for"]["reference"] == patient
    assert task["owner"]["identifier"] == {"system": "urn:hcrm:staff", "value": "1001"}
    assert task["owner"]["display"] == "李大夫"
    assert task["restriction"] == {
        "extension": [{"url": "urn:hcrm:due-on", "valueDate": "2026-11-29"}],
        "period": {"start": "2026-11-27", "end": "2026-12-04"},
    }
    assert task["input"][0]["valueCanonical"] == "urn:hcrm:form:test.call|1"
    assert task["output"][0]["valueCodeableConcept"]["coding"][0]["code"] == "reached"
    assert task["output"][1]["valueReference"]["reference"] == f"QuestionnaireResponse/{answered}"
    assert task["executionPeriod"] == {"end": "2026-11-28T11:00:00+08:00"}
    assert task["note"] == [{"text": "离院方式未知，先核实"}]


def test_answers_are_read_in_the_order_of_the_form_with_their_types(fhir: FhirClient, hospital: Hospital):
    hospital.discharge("M1", "V1")
    task = make_task(hospital)
    key = make_response(hospital, task, {"remark": "一切都好", "temperature": "36.5", "pain": 3, "old": True})

    response = fhir.read(f"QuestionnaireResponse/{key}")

    assert response["questionnaire"] == "urn:hcrm:form:test.call|1"
    assert (response["status"], response["author"]) == ("completed", {"display": "李大夫"})
    assert response["extension"][0]["valueReference"]["reference"] == f"Task/{task}"
    assert [(each["linkId"], each.get("text"), each["answer"]) for each in response["item"]] == [
        ("pain", "疼痛几分？", [{"valueInteger": 3}]),
        ("temperature", "体温多少？", [{"valueQuantity": {"value": 36.5, "unit": "℃"}}]),
        ("remark", "其他", [{"valueString": "一切都好"}]),
        ("old", None, [{"valueBoolean": True}]),
    ]


def test_responses_are_found_by_patient_stay_and_status(fhir: FhirClient, hospital: Hospital):
    hospital.discharge("M1", "V1")
    task = make_task(hospital)
    done = make_response(hospital, task, {"pain": 3})
    draft = make_response(hospital, task, {}, ResponseState.DRAFT)

    assert fhir.ids("QuestionnaireResponse", subject=f"Patient/{hospital.patients['M1']}") == [done, draft]
    assert fhir.ids("QuestionnaireResponse", encounter=hospital.visits["V1"], status="completed") == [done]
    assert fhir.ids("QuestionnaireResponse", status="in-progress,completed") == [done, draft]
    assert fhir.ids("QuestionnaireResponse", questionnaire="urn:hcrm:form:test.call|2") == []


def test_tasks_are_found_by_patient_stay_and_owner(fhir: FhirClient, hospital: Hospital):
    hospital.discharge("M1", "V1")
    hospital.discharge("M2", "V2")
    key = make_task(hospital)
    owner = fhir.read(f"Task/{key}")["owner"]["reference"]

    assert fhir.ids("Task", patient=hospital.patients["M1"]) == [key]
    assert fhir.ids("Task", patient=hospital.patients["M2"]) == []
    assert fhir.ids("Task", focus=f"Encounter/{hospital.visits['V1']}") == [key]
    assert fhir.ids("Task", encounter=hospital.visits["V2"]) == []
    assert fhir.ids("Task", owner=owner) == [key]
    assert fhir.ids("Task", **{"owner:identifier": "urn:hcrm:staff|1001"}) == [key]
    assert fhir.ids("Task", **{"owner:identifier": "1002"}) == []
