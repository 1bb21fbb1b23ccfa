"""Answers as FHIR R4B: QuestionnaireResponse, under the form version they were given to."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from hcrm.api.elements import Json, coding, compact, moment, reference, stamp
from hcrm.api.search import (
    Condition,
    Found,
    ResourceType,
    SearchParameter,
    id_parameter,
    read_code,
    reference_reader,
    unescape,
    updated_parameter,
)
from hcrm.archive.fhir import of_patient
from hcrm.archive.scope import not_test, patient_condition
from hcrm.core.work import Work
from hcrm.forms.answers import AnswerValue
from hcrm.forms.definition import Item, ItemType, Questionnaire
from hcrm.forms.models import Response, ResponseState
from hcrm.forms.queries import load_forms

TASK = "urn:hcrm:task"
"""Extension of a QuestionnaireResponse: the Task it carries out. R4B has no element for it (basedOn is for orders)."""
_STATUSES = ("in-progress", "completed", "amended", "entered-in-error", "stopped")


class ResponseType(ResourceType):
    """Filled questionnaires, drafts among them."""

    name = "QuestionnaireResponse"
    subject_type = "response"

    def __init__(self) -> None:
        patient = of_patient(Response.patient_id)
        parameters = (
            id_parameter(Response.id),
            updated_parameter(Response.id, _UPDATED_AT),
            SearchParameter("patient", "reference", "患者", patient, narrows=True),
            SearchParameter("subject", "reference", "患者", patient, narrows=True),
            SearchParameter(
                "encounter", "reference", "就诊", reference_reader(Response.encounter_id, "Encounter"), narrows=True
            ),
            SearchParameter("status", "token", "状态：in-progress 草稿、completed 已提交", _by_status),
            SearchParameter("questionnaire", "reference", "表单：urn:hcrm:form:{code}，可加 |version", _by_form),
        )  # fmt: skip
        super().__init__(Response.id, parameters)

    def rows(self, work: Work) -> sa.Select[Any]:
        """Answers of patients in scope."""
        statement = sa.select(*Response.__table__.columns, _UPDATED_AT.label("updated_at"))
        statement = statement.where(not_test(Response.patient_id))
        condition = patient_condition(work.actor, Response.patient_id)
        return statement if condition is None else statement.where(condition)

    def load(self, work: Work, rows: Sequence[sa.RowMapping]) -> list[Found]:
        """The answers with the questions of their form."""
        forms = load_forms(work, {(row["form_code"], row["form_version"]) for row in rows})
        return [
            Found(
                response_resource(row, forms.get((row["form_code"], row["form_version"]))),
                row["patient_id"],
                row["updated_at"],
            )
            for row in rows
        ]


_UPDATED_AT = sa.func.coalesce(Response.submitted_at, Response.saved_at)


def form_canonical(code: str, version: int) -> str:
    """The canonical address of a form of one version."""
    return f"urn:hcrm:form:{code}|{version}"


def response_resource(row: sa.RowMapping, form: Questionnaire | None) -> Json:
    """FHIR QuestionnaireResponse; without its form the answers stand alone, by the type they are stored in."""
    task = reference("Task", row["subject_id"]) if row["subject_type"] == "instruction" else None
    resource = compact(
        {
            "resourceType": "QuestionnaireResponse",
            "id": row["id"],
            "extension": [{"url": TASK, "valueReference": task}] if task else None,
            "questionnaire": form_canonical(row["form_code"], row["form_version"]),
            "status": row["state"].value,
            "subject": reference("Patient", row["patient_id"]),
            "encounter": reference("Encounter", row["encounter_id"]),
            "authored": moment(row["submitted_at"] or row["saved_at"]),
            "author": {"display": row["author_name"]},
            "item": _items(row["form_code"], row["answers"], form),
        }
    )
    return stamp(resource, row["updated_at"])


def _items(form_code: str, answers: Mapping[str, AnswerValue], form: Questionnaire | None) -> list[Json]:
    """The answered items in the order they were asked."""
    asked = {item.code: item for item in form.questions} if form else {}
    ordered = [code for code in asked if code in answers] + [code for code in answers if code not in asked]
    return [
        compact(
            {
                "linkId": code,
                "text": asked[code].text if code in asked else None,
                "answer": _answers(f"urn:hcrm:form:{form_code}:{code}", answers[code], asked.get(code)),
            }
        )
        for code in ordered
    ]


def _answers(system: str, value: AnswerValue, item: Item | None) -> list[Json]:
    if isinstance(value, list):
        return [_answer(system, each, item) for each in value]
    return [_answer(system, value, item)]


def _answer(system: str, value: bool | int | str, item: Item | None) -> Json:
    if isinstance(value, bool):
        return {"valueBoolean": value}
    kind = item.type if item else None
    if item and kind is ItemType.NUMBER:
        # A stored decimal is at most a dozen digits: the float prints as it was written.
        number = value if isinstance(value, int) else float(value)
        return {"valueQuantity": {"value": number, "unit": item.unit}}
    if isinstance(value, int):
        return {"valueInteger": value}
    if item and kind in (ItemType.CHOICE, ItemType.MULTI_CHOICE):
        return {"valueCoding": coding(system, value, item.labels.get(value))}
    return {"valueDate": value} if kind is ItemType.DATE else {"valueString": value}


def _by_status(_work: Work, text: str) -> Condition:
    code = read_code(text, system="http://hl7.org/fhir/questionnaire-answers-status", codes=_STATUSES)
    return Response.state.in_([state for state in ResponseState if state.value == code])


def _by_form(_work: Work, text: str) -> Condition:
    address, _, version = unescape(text).partition("|")
    where: list[Condition] = [Response.form_code == address.removeprefix("urn:hcrm:form:")]
    if version:
        where.append(sa.cast(Response.form_version, sa.Text) == version)
    return sa.and_(*where)
