"""Follow-up instructions as FHIR R4B: Task. States: vocabulary, Instruction ↔ Task.status."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from hcrm.api.elements import Json, coding, compact, concept, moment, reference, stamp
from hcrm.api.search import (
    Condition,
    Found,
    ResourceType,
    SearchParameter,
    id_parameter,
    read_code,
    read_token,
    reference_reader,
    updated_parameter,
)
from hcrm.archive.fhir import of_patient
from hcrm.archive.visit_fhir import STAFF_SYSTEM, staff
from hcrm.centre.models import Instruction, InstructionHistory, InstructionState, Outcome
from hcrm.centre.scope import instructions_in_scope
from hcrm.core.work import Work
from hcrm.directory.models import Practitioner
from hcrm.forms.fhir import form_canonical
from hcrm.forms.queries import list_responses

STATE_SYSTEM = "urn:hcrm:instruction-state"
"""Our own states, in Task.businessStatus: the standard has no word for 待审核."""
OUTCOME_SYSTEM = "urn:hcrm:followup-outcome"
"""How a follow-up ended (随访结果), in Task.output."""
DISCHARGE_SYSTEM = "urn:hcrm:discharge"
"""The discharge an instruction was issued for: a stay that is discharged twice has two groups of tasks."""
DUE = "urn:hcrm:due-on"
"""Extension of Task.restriction: the day the contact is planned for, inside the window."""
TASK_STATUS = {
    InstructionState.ISSUED: "requested",
    InstructionState.ACCEPTED: "accepted",
    InstructionState.IN_PROGRESS: "in-progress",
    InstructionState.IN_REVIEW: "in-progress",
    InstructionState.COMPLETED: "completed",
    InstructionState.RETURNED: "rejected",
    InstructionState.WITHDRAWN: "cancelled",
    InstructionState.EXPIRED: "failed",
    InstructionState.MISSED: "failed",
}
_STATUSES = (
    "draft", "requested", "received", "accepted", "rejected", "ready", "cancelled", "in-progress", "on-hold", "failed",
    "completed", "entered-in-error",
)  # fmt: skip

_CHANGED_AT = (
    sa.select(sa.func.max(InstructionHistory.changed_at))
    .where(InstructionHistory.instruction_id == Instruction.id)
    .correlate(Instruction)
    .scalar_subquery()
)
_UPDATED_AT = sa.func.coalesce(_CHANGED_AT, Instruction.issued_at)


class TaskType(ResourceType):
    """Follow-up instructions."""

    name = "Task"
    subject_type = "instruction"

    def __init__(self) -> None:
        patient = of_patient(Instruction.patient_id)
        encounter = reference_reader(Instruction.encounter_id, "Encounter")
        parameters = (
            id_parameter(Instruction.id),
            updated_parameter(Instruction.id, _UPDATED_AT),
            SearchParameter("patient", "reference", "患者", patient, narrows=True),
            SearchParameter("focus", "reference", "就诊", encounter, narrows=True),
            SearchParameter("encounter", "reference", "就诊", encounter, narrows=True),
            SearchParameter("status", "token", "状态", _by_status),
            SearchParameter("business-status", "token", "本系统的指令状态", _by_state),
            SearchParameter(
                "owner", "reference", "执行医师", reference_reader(Instruction.assignee_id, "Practitioner")
            ),
            SearchParameter(
                "owner:identifier", "reference", f"执行医师的工号：{STAFF_SYSTEM}|value 或 value", _by_staff_number
            ),
        )  # fmt: skip
        super().__init__(Instruction.id, parameters)

    def rows(self, work: Work) -> sa.Select[Any]:
        """Instructions in scope, with who carries them out."""
        return (
            sa.select(
                *Instruction.__table__.columns, _UPDATED_AT.label("updated_at"),
                Practitioner.code.label("owner_code"), Practitioner.name.label("owner_name"),
            )
            .outerjoin(Practitioner, Practitioner.id == Instruction.assignee_id)
            .where(instructions_in_scope(work.actor))
        )  # fmt: skip

    def load(self, work: Work, rows: Sequence[sa.RowMapping]) -> list[Found]:
        """The instructions with what was answered to them."""
        answers: dict[str, list[str]] = defaultdict(list)
        for response in list_responses(
            work, subject_type="instruction", subject_ids=[row["id"] for row in rows]
        ):
            answers[response.subject_id].append(response.id)
        return [
            Found(task_resource(row, answers[row["id"]]), row["patient_id"], row["updated_at"])
            for row in rows
        ]


def task_resource(row: sa.RowMapping, response_ids: Sequence[str]) -> Json:
    """FHIR Task."""
    state = row["state"]
    window = {"start": row["opens_on"].isoformat(), "end": row["closes_on"].isoformat()}
    due = {"url": DUE, "valueDate": row["due_on"].isoformat()}
    step = coding(f"urn:hcrm:protocol:{row['protocol_code']}", row["step_code"], row["title"])
    encounter = reference("Encounter", row["encounter_id"])
    resource = compact(
        {
            "resourceType": "Task",
            "id": row["id"],
            "instantiatesCanonical": f"urn:hcrm:protocol:{row['protocol_code']}|{row['protocol_version']}",
            "groupIdentifier": {"system": DISCHARGE_SYSTEM, "value": row["trigger_id"]},
            "status": TASK_STATUS[state],
            "statusReason": concept(text=row["reason"]),
            "businessStatus": concept(coding(STATE_SYSTEM, state.value, state.label), text=state.label),
            "intent": "order",
            "code": concept(step, text=row["title"]),
            "description": f"{row['protocol_title']} · {row['title']}",
            "focus": encounter,
            "for": reference("Patient", row["patient_id"]),
            "encounter": encounter,
            "executionPeriod": compact({"end": moment(row["done_at"])}),
            "authoredOn": moment(row["issued_at"]),
            "lastModified": moment(row["updated_at"]),
            "owner": staff(row["assignee_id"], row["owner_code"], row["owner_name"]),
            "note": [{"text": row["note"]}] if row["note"] else None,
            "restriction": {"extension": [due], "period": window},
            "input": _inputs(row),
            "output": _outputs(row["outcome"], response_ids),
        }
    )
    return stamp(resource, row["updated_at"])


def _inputs(row: sa.RowMapping) -> list[Json]:
    return [
        {"type": {"text": "Questionnaire"}, "valueCanonical": form_canonical(row["form_code"], row["form_version"])},
        {"type": {"text": "channel"}, "valueCode": row["channel"]},
    ]  # fmt: skip


def _outputs(outcome: Outcome | None, response_ids: Sequence[str]) -> list[Json]:
    ended = coding(OUTCOME_SYSTEM, outcome.value, outcome.label) if outcome else None
    outputs: list[Json] = []
    if ended:
        outputs.append({"type": {"text": "outcome"}, "valueCodeableConcept": concept(ended)})
    outputs += [
        {"type": {"text": "QuestionnaireResponse"}, "valueReference": reference("QuestionnaireResponse", key)}
        for key in response_ids
    ]
    return outputs


def _by_status(_work: Work, text: str) -> Condition:
    code = read_code(text, system="http://hl7.org/fhir/task-status", codes=_STATUSES)
    return Instruction.state.in_([state for state, status in TASK_STATUS.items() if status == code])


def _by_state(_work: Work, text: str) -> Condition:
    code = read_code(text, system=STATE_SYSTEM, codes=[state.value for state in InstructionState])
    return Instruction.state.in_([state for state in InstructionState if state.value == code])


def _by_staff_number(_work: Work, text: str) -> Condition:
    token = read_token(text)
    if not token.fits(STAFF_SYSTEM):
        return sa.false()
    return Instruction.assignee_id.in_(sa.select(Practitioner.id).where(Practitioner.code == token.code))
