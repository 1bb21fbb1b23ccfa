"""Reading instructions: one door to a record, one list. Both keep to the row scope and note the read."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from hcrm.accounts.models import Account
from hcrm.archive.models import Patient
from hcrm.archive.queries import record_list_read
from hcrm.archive.visit_models import Encounter
from hcrm.audit.service import record_audit
from hcrm.centre.models import (
    DONE_IN_WINDOW,
    IS_OPEN,
    WAITING_STATES,
    Classification,
    Instruction,
    InstructionHistory,
    InstructionState,
    Outcome,
)
from hcrm.centre.scope import instruction_opens, instructions_in_scope
from hcrm.core import limits
from hcrm.core.clock import local_date
from hcrm.core.errors import DeniedError, NotFoundError
from hcrm.core.work import Work
from hcrm.directory.models import Department, Practitioner
from hcrm.web.paging import Page, keyset_page


@dataclass(frozen=True, slots=True)
class InstructionFilter:
    """What a list is narrowed to; what is not given narrows nothing."""

    states: Collection[InstructionState] = ()
    department_id: str | None = None
    assignee_id: str | None = None
    patient_id: str | None = None
    encounter_id: str | None = None
    protocol_code: str | None = None
    outcome: Outcome | None = None
    due_from: date | None = None
    due_until: date | None = None  # that day included
    is_done_in_window: bool = False
    is_overdue: bool = False  # open, and today is after the due date
    is_exception: bool = False  # nobody carries it out: open without owner, or returned


def get_instruction(
    work: Work, *, instruction_id: str, action: str = "instruction.read"
) -> sa.Row[tuple[Instruction, Patient, Encounter, str | None, str | None]]:
    """The instruction with `Patient`, `Encounter`, `department_name` and `assignee_name`; the read is noted."""
    found = work.execute(
        sa.select(Instruction, Patient, Encounter, *_NAMES, instruction_opens(work.actor).label("in_scope"))
        .join(Patient, Patient.id == Instruction.patient_id)
        .join(Encounter, Encounter.id == Instruction.encounter_id)
        .outerjoin(Department, Department.id == Instruction.department_id)
        .outerjoin(Practitioner, Practitioner.id == Instruction.assignee_id)
        .where(Instruction.id == instruction_id)
    ).one_or_none()
    if found is None:
        raise NotFoundError
    if not found.in_scope:
        raise DeniedError(
            action, subject_type="instruction", subject_id=instruction_id, patients=(found.Patient.id,)
        )
    record_audit(
        work,
        action=action,
        patients=[found.Patient.id],
        subject_type="instruction",
        subject_id=instruction_id,
    )
    return found


def list_instructions(
    work: Work,
    *,
    wanted: InstructionFilter | None = None,
    key: str | None = None,
    size: int = limits.PAGE_SIZE,
) -> Page[Any]:
    """Instructions by due date: `Instruction`, `patient_name`, `sex`, `birth_date`, `discharged_at`, names."""
    statement = (
        sa.select(
            Instruction,
            Patient.name.label("patient_name"),
            Patient.sex,
            Patient.birth_date,
            Encounter.discharged_at,
            *_NAMES,
        )
        .join(Patient, Patient.id == Instruction.patient_id)
        .join(Encounter, Encounter.id == Instruction.encounter_id)
        .outerjoin(Department, Department.id == Instruction.department_id)
        .outerjoin(Practitioner, Practitioner.id == Instruction.assignee_id)
        .where(instructions_in_scope(work.actor), *_conditions(work, wanted or InstructionFilter()))
    )
    page = keyset_page(work, statement, order=[Instruction.due_on, Instruction.id], key=key, size=size)
    record_list_read(work, "instruction.list", [row.Instruction.patient_id for row in page.items])
    return page


def count_instructions(work: Work, *, wanted: InstructionFilter | None = None) -> int:
    """How many a list holds."""
    statement = sa.select(sa.func.count()).select_from(Instruction)
    conditions = _conditions(work, wanted or InstructionFilter())
    return int(work.scalar(statement.where(instructions_in_scope(work.actor), *conditions)))


def count_by_state(work: Work, *, wanted: InstructionFilter | None = None) -> Mapping[InstructionState, int]:
    """How many of each state a list holds."""
    rows = work.execute(
        sa.select(Instruction.state, sa.func.count().label("number"))
        .where(instructions_in_scope(work.actor), *_conditions(work, wanted or InstructionFilter()))
        .group_by(Instruction.state)
    )
    return {row.state: row.number for row in rows}


def count_by_assignee(work: Work) -> Sequence[sa.Row[Any]]:
    """The board of a department: per physician what is open, overdue, waiting for review and returned."""
    overdue = sa.and_(IS_OPEN, Instruction.due_on < local_date(work.clock.now()))
    watched = (InstructionState.IN_REVIEW, InstructionState.RETURNED)
    return work.execute(
        sa.select(
            Instruction.assignee_id,
            Practitioner.name.label("assignee_name"),
            _sum(IS_OPEN).label("open"),
            _sum(overdue).label("overdue"),
            *(_sum(Instruction.state == state).label(state.value) for state in watched),
        )
        .outerjoin(Practitioner, Practitioner.id == Instruction.assignee_id)
        .where(instructions_in_scope(work.actor), sa.or_(IS_OPEN, Instruction.state.in_(watched)))
        .group_by(Instruction.assignee_id, Practitioner.name)
        .order_by(_sum(overdue).desc(), Practitioner.name)
    ).all()


def list_history(work: Work, *, instruction_id: str) -> Sequence[InstructionHistory]:
    """What became of an instruction, oldest first; the caller came through `get_instruction`."""
    return work.scalars(
        sa.select(InstructionHistory)
        .where(InstructionHistory.instruction_id == instruction_id)
        .order_by(InstructionHistory.changed_at, InstructionHistory.id)
    )


def list_classifications(
    work: Work, *, encounter_ids: Collection[str]
) -> Mapping[str, Sequence[Classification]]:
    """What these stays belong to, the main class of each axis first."""
    found: dict[str, list[Classification]] = defaultdict(list)
    for row in work.scalars(
        sa.select(Classification)
        .where(Classification.encounter_id.in_(sorted(encounter_ids)))
        .order_by(Classification.axis, Classification.rank)
    ):
        found[row.encounter_id].append(row)
    return found


def list_assignable(work: Work, *, department_id: str | None = None) -> Sequence[Practitioner]:
    """Who can be given an instruction: practitioners with an active account, in the actor's departments."""
    statement = sa.select(Practitioner).where(
        sa.exists().where(Account.practitioner_id == Practitioner.id, Account.active.is_(True))
    )
    if department_id is not None:
        statement = statement.where(Practitioner.department_id == department_id)
    if work.actor.department_ids is not None:
        statement = statement.where(Practitioner.department_id.in_(sorted(work.actor.department_ids)))
    return work.scalars(statement.order_by(Practitioner.name, Practitioner.id))


_NAMES = (Department.name.label("department_name"), Practitioner.name.label("assignee_name"))


def _conditions(work: Work, wanted: InstructionFilter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [
        column == value
        for column, value in (
            (Instruction.department_id, wanted.department_id),
            (Instruction.assignee_id, wanted.assignee_id),
            (Instruction.patient_id, wanted.patient_id),
            (Instruction.encounter_id, wanted.encounter_id),
            (Instruction.protocol_code, wanted.protocol_code),
            (Instruction.outcome, wanted.outcome),
        )
        if value is not None
    ]
    if wanted.states:
        conditions.append(Instruction.state.in_(sorted(wanted.states)))
    if wanted.due_from:
        conditions.append(Instruction.due_on >= wanted.due_from)
    if wanted.due_until:
        conditions.append(Instruction.due_on <= wanted.due_until)
    if wanted.is_done_in_window:
        conditions.append(DONE_IN_WINDOW)
    if wanted.is_overdue:
        conditions += [IS_OPEN, Instruction.due_on < local_date(work.clock.now())]
    if wanted.is_exception:
        nobody = sa.and_(IS_OPEN, Instruction.assignee_id.is_(None))
        conditions.append(sa.or_(nobody, Instruction.state == InstructionState.RETURNED))
    return conditions


def _sum(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, 1), else_=0))


def count_waiting(work: Work, patient_id: str) -> int:
    """How many instructions of the patient wait for somebody, whoever may see them: what an end of contact closes."""
    return int(
        work.scalar(
            sa.select(sa.func.count())
            .select_from(Instruction)
            .where(Instruction.patient_id == patient_id, Instruction.state.in_(WAITING_STATES))
        )
    )
