"""The tabs of the patient page: stays, diagnoses, operations and follow-ups, a page at a time.

The view came through `archive.queries.get_patient`. Of a patient whom several departments share, a person of one of
them sees the stays that `archive.scope` shows them, and what hangs on those stays.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from followup.models import Alert
from hcrm.archive.codes import is_tcm
from hcrm.archive.scope import scope_encounters
from hcrm.archive.terms import EncounterClass
from hcrm.archive.visit_models import Diagnosis, Encounter, Procedure
from hcrm.centre.models import Instruction
from hcrm.centre.scope import instruction_opens
from hcrm.core import limits
from hcrm.core.clock import local_date
from hcrm.core.work import Work
from hcrm.directory.models import Department, Practitioner
from hcrm.forms.models import Response
from hcrm.forms.queries import list_responses, load_form
from hcrm.forms.render import AnswerLine, answer_lines
from hcrm.web.paging import Page, keyset_page

VISIT_TIME = sa.func.coalesce(Encounter.admitted_at, Encounter.created_at)
"""When a stay began, as far as we know."""


@dataclass(frozen=True, slots=True)
class FilledForm:
    """A submitted response in words, with the alerts it raised."""

    response: Response
    title: str
    lines: Sequence[AnswerLine]
    alerts: Sequence[Alert]


@dataclass(frozen=True, slots=True)
class FollowUp:
    """An instruction and what was answered to it, the latest first."""

    instruction: Instruction
    assignee: str | None
    forms: Sequence[FilledForm]


def list_visits(
    work: Work, *, patient_id: str, visit_class: str | None = None, key: str | None = None,
    size: int = limits.PAGE_SIZE,
) -> Page[Any]:  # fmt: skip
    """Stays, the latest first, of one class if asked.

    Of each `Encounter`, `department_name`, `attending_name`, `main_diagnosis`.
    """
    main = (
        sa.select(Diagnosis.text)
        .where(Diagnosis.encounter_id == Encounter.id, Diagnosis.ended_at.is_(None))
        .order_by(Diagnosis.is_main.desc(), Diagnosis.rank)
        .limit(1)
        .scalar_subquery()
    )
    statement = (
        sa.select(
            Encounter,
            Department.name.label("department_name"),
            Practitioner.name.label("attending_name"),
            main.label("main_diagnosis"),
        )
        .outerjoin(Department, Department.id == Encounter.department_id)
        .outerjoin(Practitioner, Practitioner.id == Encounter.attending_id)
        .where(Encounter.patient_id == patient_id)
    )
    if visit_class is not None:
        statement = statement.where(Encounter.encounter_class == EncounterClass(visit_class))
    return keyset_page(
        work,
        scope_encounters(statement, work.actor),
        order=[VISIT_TIME.desc(), Encounter.id.desc()],
        key=key,
        size=size,
    )


@dataclass(frozen=True, slots=True)
class VisitDiagnoses:
    """What stands diagnosed of one visit, Western and Chinese apart, the main one first."""

    western: Sequence[Diagnosis]
    tcm: Sequence[Diagnosis]


def diagnoses_of(work: Work, encounter_ids: Sequence[str]) -> Mapping[str, VisitDiagnoses]:
    """Diagnoses of several visits, in one query."""
    found: dict[str, list[Diagnosis]] = defaultdict(list)
    rows = sa.select(Diagnosis).where(Diagnosis.encounter_id.in_(encounter_ids), Diagnosis.ended_at.is_(None))
    if encounter_ids:
        for one in work.scalars(rows.order_by(Diagnosis.is_main.desc(), Diagnosis.rank, Diagnosis.id)):
            found[one.encounter_id].append(one)
    return {
        key: VisitDiagnoses(
            [one for one in those if not is_tcm(one.system)], [one for one in those if is_tcm(one.system)]
        )
        for key, those in found.items()
    }


def list_diagnoses(work: Work, *, patient_id: str, key: str | None = None) -> Page[Any]:
    """Diagnoses that stand, those of the latest stay first: `Diagnosis`, the stay's times, `department_name`."""
    return _of_visits(work, Diagnosis, patient_id, key)


def list_procedures(work: Work, *, patient_id: str, key: str | None = None) -> Page[Any]:
    """Operations and procedures that stand: `Procedure`, the stay's times, `department_name`."""
    return _of_visits(work, Procedure, patient_id, key)


def _of_visits(work: Work, model: Any, patient_id: str, key: str | None) -> Page[Any]:
    statement = (
        sa.select(
            model, Encounter.admitted_at, Encounter.discharged_at, Department.name.label("department_name")
        )
        .join(Encounter, Encounter.id == model.encounter_id)
        .outerjoin(Department, Department.id == Encounter.department_id)
        .where(model.patient_id == patient_id, model.ended_at.is_(None))
    )
    return keyset_page(
        work,
        scope_encounters(statement, work.actor),
        order=[VISIT_TIME.desc(), Encounter.id.desc(), model.rank, model.id],
        key=key,
    )


def list_followups(work: Work, *, patient_id: str, key: str | None = None) -> Page[FollowUp]:
    """Instructions of the patient with their answers: the latest first, those whose window has not begun after them."""
    lies_ahead = sa.case((Instruction.opens_on > local_date(work.clock.now()), 1), else_=0)
    statement = instructions_to_show(work).where(Instruction.patient_id == patient_id)
    page = keyset_page(
        work, statement, order=[lies_ahead, Instruction.due_on.desc(), Instruction.id.desc()], key=key
    )
    return Page(with_answers(work, page.items), page.next_key, page.previous_key)


def instructions_to_show(work: Work) -> sa.Select[Instruction, str]:
    """Instructions the actor may see: `Instruction`, `assignee_name`."""
    return (
        sa.select(Instruction, Practitioner.name.label("assignee_name"))
        .outerjoin(Practitioner, Practitioner.id == Instruction.assignee_id)
        .where(instruction_opens(work.actor))
    )


def with_answers(work: Work, rows: Sequence[Any]) -> list[FollowUp]:
    """Such rows with what was answered to each."""
    forms = filled_forms(work, [row.Instruction.id for row in rows])
    return [FollowUp(row.Instruction, row.assignee_name, forms.get(row.Instruction.id, ())) for row in rows]


def filled_forms(work: Work, instruction_ids: Sequence[str]) -> Mapping[str, Sequence[FilledForm]]:
    """What was submitted for each instruction, in words, the latest first."""
    responses = list_responses(work, subject_type="instruction", subject_ids=instruction_ids)
    alerts: dict[str, list[Alert]] = defaultdict(list)
    if responses:
        raised = sa.select(Alert).where(Alert.response_id.in_([one.id for one in responses]))
        for alert in work.scalars(raised.order_by(Alert.level, Alert.id)):
            alerts[alert.response_id].append(alert)
    versions = {(one.form_code, one.form_version) for one in responses}
    forms = {one: load_form(work, code=one[0], version=one[1]) for one in versions}
    found: dict[str, list[FilledForm]] = defaultdict(list)
    for response in responses:
        form = forms[response.form_code, response.form_version]
        lines = answer_lines(form, response.answers)
        found[response.subject_id].append(FilledForm(response, form.title, lines, alerts[response.id]))
    return found


def group_by_visit(rows: Collection[Any]) -> Mapping[str, Sequence[Any]]:
    """Rows under the key of the stay they belong to, in the order they came."""
    grouped: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        grouped[row.encounter_id].append(row)
    return grouped
