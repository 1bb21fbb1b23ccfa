"""What other systems are told of the service centre: a finished follow-up, with its answers and red flags."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from hcrm.archive.models import IdentifierKind, Patient, PatientIdentifier
from hcrm.archive.visit_models import Encounter
from hcrm.centre.events import InstructionCompleted, ReportPostponed
from hcrm.centre.models import Instruction, InstructionState
from hcrm.contact_log.models import ContactEntry
from hcrm.core import limits
from hcrm.core.work import Work
from hcrm.directory.models import Department, Practitioner
from hcrm.forms.answers import AnswerValue, display_answer
from hcrm.forms.definition import FlagLevel, Item, ItemType, Questionnaire
from hcrm.forms.models import Response, ResponseState
from hcrm.forms.queries import load_forms
from hcrm.forms.scoring import raise_flags
from hcrm.inbox.outbound import Outbound, Post, post_outbound
from hcrm.inbox.outbound_records import (
    AnswerKind,
    AnswerOut,
    EncounterOut,
    FlagOut,
    FollowUpOut,
    NumberOut,
    PatientOut,
)

SUBJECT = "instruction"
"""`subject_type` of what is told, and of the answers it tells."""
_Record = tuple[ContactEntry | None, Response | None]
_NO_RECORD: _Record = (None, None)
_KINDS = {
    ItemType.NUMBER: AnswerKind.NUMBER, ItemType.SCALE: AnswerKind.NUMBER, ItemType.CHOICE: AnswerKind.CODED,
    ItemType.MULTI_CHOICE: AnswerKind.CODED, ItemType.YES_NO: AnswerKind.CODED, ItemType.DATE: AnswerKind.DATE,
    ItemType.TEXT: AnswerKind.TEXT,
}  # fmt: skip


def report_follow_ups(
    work: Work, facts: Sequence[InstructionCompleted | ReportPostponed], *, outbound: Outbound
) -> int:
    """Queue a message for every follow-up that is finished as things stand; how many messages.

    Writing one takes tens of milliseconds, and SQLite has one writer: what is more than a round may take goes on as
    a fact of its own, so that pages and messages get their turn between.
    """
    if not outbound.destinations.wanting("follow_up"):
        return 0
    ids = list(dict.fromkeys(fact.instruction_id for fact in facts))
    now, later = ids[: limits.OUTBOUND_BUILD_BATCH], ids[limits.OUTBOUND_BUILD_BATCH :]
    work.emit_all(ReportPostponed(instruction_id=each) for each in later)
    return post_outbound(work, outbound=outbound, posts=_gather(work, now))


def report_again(work: Work, instruction_id: str) -> None:
    """Queue the message of a finished follow-up once more, in the next round: the last could not be written."""
    work.emit(ReportPostponed(instruction_id=instruction_id))


def _gather(work: Work, instruction_ids: Sequence[str]) -> list[Post]:
    """Finished follow-ups as posts; one that was sent back meanwhile is left for its next completion."""
    rows = work.execute(
        sa.select(
            Instruction, Patient, Encounter, Department.code.label("department_code"),
            Department.name.label("department_name"), Practitioner.name.label("assignee_name"),
        )
        .join(Patient, Patient.id == Instruction.patient_id)
        .join(Encounter, Encounter.id == Instruction.encounter_id)
        .outerjoin(Department, Department.id == Encounter.department_id)
        .outerjoin(Practitioner, Practitioner.id == Instruction.assignee_id)
        .where(
            Instruction.id.in_(instruction_ids), Instruction.state == InstructionState.COMPLETED,
            Instruction.outcome.is_not(None), Instruction.done_at.is_not(None),
        )
        .order_by(Instruction.done_at, Instruction.id)
    ).all()  # fmt: skip
    numbers = _numbers(work, [row.Patient.id for row in rows])
    records = _last_records(work, [row.Instruction.id for row in rows])
    wanted = {(row.Instruction.form_code, row.Instruction.form_version) for row in rows}
    wanted |= {(each.form_code, each.form_version) for _, each in records.values() if each}
    forms = load_forms(work, wanted)
    return [
        _post(row, numbers[row.Patient.id], records.get(row.Instruction.id, _NO_RECORD), forms)
        for row in rows
    ]


def _last_records(work: Work, instruction_ids: Sequence[str]) -> Mapping[str, _Record]:
    """By instruction the contact that ended it, and what was answered in it: both have the key of that act.

    Answers of an earlier record that was sent back have the key of another act.
    """
    rows = work.execute(
        sa.select(ContactEntry, Response)
        .outerjoin(
            Response, sa.and_(Response.id == ContactEntry.id, Response.state == ResponseState.SUBMITTED)
        )
        .where(ContactEntry.subject_type == SUBJECT, ContactEntry.subject_id.in_(instruction_ids))
        .order_by(ContactEntry.happened_at, ContactEntry.id)
    )
    return {row.ContactEntry.subject_id: (row.ContactEntry, row.Response) for row in rows}


def _post(
    row: sa.Row[Any],
    numbers: Sequence[NumberOut],
    last: _Record,
    forms: Mapping[tuple[str, int], Questionnaire],
) -> Post:
    instruction, patient, encounter = row.Instruction, row.Patient, row.Encounter
    contact, response = last
    done_at = instruction.done_at
    form = forms.get((instruction.form_code, instruction.form_version))
    if response is not None:
        form = forms.get((response.form_code, response.form_version)) or form
    record = FollowUpOut(
        instruction_id=instruction.id,
        patient=PatientOut(tuple(numbers), patient.name, patient.sex, patient.birth_date),
        encounter=EncounterOut(
            encounter.authority, encounter.visit_no, encounter.encounter_class, row.department_code or "",
            row.department_name or "", encounter.admitted_at, encounter.discharged_at,
        ),
        form_code=form.code if form else instruction.form_code,
        form_title=form.title if form else instruction.form_code,
        step_title=instruction.title,
        outcome_code=instruction.outcome.value,
        outcome_label=instruction.outcome.label,
        answers=_answers(form, response) if form and response else (),
        done_at=done_at,
        author_name=(contact.actor_name if contact else row.assignee_name) or "",
    )  # fmt: skip
    return Post("follow_up", SUBJECT, instruction.id, done_at.isoformat(), patient.id, record)


def _numbers(work: Work, patient_ids: Sequence[str]) -> Mapping[str, list[NumberOut]]:
    """Record numbers in force, those that came first in a message first."""
    found: dict[str, list[NumberOut]] = defaultdict(list)
    rows = work.execute(
        sa.select(
            PatientIdentifier.patient_id, PatientIdentifier.authority, PatientIdentifier.type, PatientIdentifier.value
        )
        .where(
            PatientIdentifier.patient_id.in_(patient_ids), PatientIdentifier.kind == IdentifierKind.RECORD,
            PatientIdentifier.ended_at.is_(None), PatientIdentifier.retired_at.is_(None),
        )
        .order_by(PatientIdentifier.seq, PatientIdentifier.id)
    )  # fmt: skip
    for row in rows:
        found[row.patient_id].append(NumberOut(row.authority, row.type, row.value or ""))
    return found


def _answers(form: Questionnaire, response: Response) -> tuple[AnswerOut, ...]:
    flags: dict[str, list[FlagOut]] = defaultdict(list)
    for hit in raise_flags(form, response.answers):
        flag = hit.flag
        flags[hit.item_code].append(
            FlagOut(flag.code, flag.level.value, flag.says, is_urgent=flag.level is FlagLevel.R1)
        )
    return tuple(
        AnswerOut(
            item.code, item.name, _KINDS[item.type], _values(item, response.answers[item.code]), item.unit or "",
            tuple(flags[item.code]),
        )
        for item in form.questions
        if item.code in response.answers
    )  # fmt: skip


def _values(item: Item, value: AnswerValue) -> tuple[tuple[str, str], ...]:
    """Code and label of each value; a number, date or text is its own code."""
    if isinstance(value, bool):
        return (("Y" if value else "N", display_answer(item, value)),)
    if isinstance(value, list):
        return tuple((code, item.labels.get(code, code)) for code in value)
    if item.type is ItemType.CHOICE:
        return ((str(value), display_answer(item, value)),)
    return ((str(value), ""),)
