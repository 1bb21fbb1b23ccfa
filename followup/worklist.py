"""Today's list (今日随访): what a physician has to do now, red flags first, then overdue, then due."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from followup.alerts import IS_UNHANDLED
from followup.models import Alert
from hcrm.archive.models import Patient
from hcrm.archive.queries import record_list_read
from hcrm.archive.visit_models import Diagnosis, Encounter
from hcrm.centre.models import IS_OPEN, Instruction, InstructionState
from hcrm.centre.scope import instructions_in_scope
from hcrm.contact_log.models import ContactEntry
from hcrm.core import limits
from hcrm.core.clock import local_date
from hcrm.core.db import LabelledEnum
from hcrm.core.work import Work
from hcrm.directory.models import Department, Practitioner
from hcrm.forms.models import Response, ResponseState
from hcrm.web.paging import Page, keyset_page

MISSED_DAYS = 60
"""An instruction that expired longer ago is no longer offered for a late record, but stands in the full list."""


class Section(LabelledEnum):
    """The parts of the list, in the order they are worked off."""

    RED = "red", "有未处置红旗"
    OVERDUE = "overdue", "超期"
    DUE = "due", "窗口已开"
    MISSED = "missed", "已过期，可补录"


_TODAY = (Section.RED, Section.OVERDUE, Section.DUE)
_RANKS = {section: rank for rank, section in enumerate(Section)}


def list_due(
    work: Work,
    *,
    mine: bool = True,
    section: Section | None = None,
    key: str | None = None,
    size: int = limits.PAGE_SIZE,
) -> Page[Any]:
    """What is to be done today: open, and its window has begun. Rows: `Instruction`, `rank`, names, what is known.

    `mine`: the actor's own; otherwise all of their departments. `rank` is the place of its `Section`; those that
    expired are only shown where asked for.
    """
    today = local_date(work.clock.now())
    rank = _rank(work, today)
    statement = (
        sa.select(
            Instruction,
            rank.label("rank"),
            Patient.name.label("patient_name"),
            Patient.sex,
            Patient.birth_date,
            Encounter.discharged_at,
            Department.name.label("department_name"),
            Practitioner.name.label("assignee_name"),
            _MAIN_DIAGNOSIS.label("main_diagnosis"),
            _ATTEMPTS.label("attempts"),
            _HAS_DRAFT.label("has_draft"),
            _IS_SENT_BACK.label("is_sent_back"),
        )
        .join(Patient, Patient.id == Instruction.patient_id)
        .join(Encounter, Encounter.id == Instruction.encounter_id)
        .outerjoin(Department, Department.id == Instruction.department_id)
        .outerjoin(Practitioner, Practitioner.id == Instruction.assignee_id)
        .where(_whose(work, mine))
    )
    if section is Section.MISSED:
        statement = statement.where(_is_missed(today))
    else:
        statement = statement.where(IS_OPEN, Instruction.opens_on <= today)
        if section is not None:
            statement = statement.where(rank == _RANKS[section])
    page = keyset_page(work, statement, order=[rank, Instruction.due_on, Instruction.id], key=key, size=size)
    record_list_read(work, "worklist.read", [row.Instruction.patient_id for row in page.items])
    return page


def count_due(work: Work, *, mine: bool = True) -> Mapping[Section, int]:
    """How many each part of the list holds; RED counts instructions, `alerts.count_open` the red flags themselves."""
    today = local_date(work.clock.now())
    rank = _rank(work, today)
    rows = work.execute(
        sa.select(rank.label("rank"), sa.func.count().label("number"))
        .select_from(Instruction)
        .where(_whose(work, mine), IS_OPEN, Instruction.opens_on <= today)
        .group_by(rank)
    )
    counts = {row.rank: row.number for row in rows}
    missed = sa.select(sa.func.count()).select_from(Instruction).where(_whose(work, mine), _is_missed(today))
    return {
        **{section: counts.get(_RANKS[section], 0) for section in _TODAY},
        Section.MISSED: work.scalar(missed),
    }


def find_next(work: Work, *, after: str, mine: bool = True) -> str | None:
    """The instruction that stands below this one in the list, at the end the first again; only its key is read.

    Asked before the act: what was recorded no longer has a place in the list.
    """
    today = local_date(work.clock.now())
    place = [_rank(work, today), Instruction.due_on, Instruction.id]
    here = work.execute(
        sa.select(place[0].label("rank"), Instruction.due_on, Instruction.id).where(Instruction.id == after)
    ).one_or_none()
    order: list[sa.ColumnElement[Any]] = [column.asc() for column in place]
    if here is not None:
        rank, due_on, key = here.rank, here.due_on, here.id
        below = sa.or_(
            place[0] > rank,
            sa.and_(place[0] == rank, sa.tuple_(Instruction.due_on, Instruction.id) > sa.tuple_(due_on, key)),
        )
        order.insert(0, sa.case((below, 0), else_=1))
    found: str | None = work.scalar(
        sa.select(Instruction.id)
        .where(_whose(work, mine), IS_OPEN, Instruction.opens_on <= today, Instruction.id != after)
        .order_by(*order)
        .limit(1)
    )
    return found


def _whose(work: Work, mine: bool) -> sa.ColumnElement[bool]:
    scope = instructions_in_scope(work.actor)
    if not mine:
        return scope
    if work.actor.practitioner_id is None:
        return sa.false()  # compared with NULL it would be everything without an owner
    return sa.and_(scope, Instruction.assignee_id == work.actor.practitioner_id)


def _is_missed(today: date) -> sa.ColumnElement[bool]:
    return sa.and_(
        Instruction.state == InstructionState.EXPIRED,
        Instruction.closes_on >= today - timedelta(days=MISSED_DAYS),
    )


def _rank(work: Work, today: date) -> sa.ColumnElement[int]:
    return sa.case(
        (_has_alert(work), _RANKS[Section.RED]),
        (Instruction.due_on < today, _RANKS[Section.OVERDUE]),
        else_=_RANKS[Section.DUE],
    )


def _has_alert(work: Work) -> sa.ColumnElement[bool]:
    """Whether the patient has a red flag that waits, as far as the actor may see it."""
    raised = aliased(Instruction)
    return (
        sa.select(sa.literal(1))
        .select_from(Alert)
        .join(raised, raised.id == Alert.instruction_id)
        .where(
            Alert.patient_id == Instruction.patient_id,
            IS_UNHANDLED,
            instructions_in_scope(work.actor, raised),
        )
        .correlate(Instruction)
        .exists()
    )


_MAIN_DIAGNOSIS = (
    sa.select(Diagnosis.text)
    .where(Diagnosis.encounter_id == Instruction.encounter_id, Diagnosis.ended_at.is_(None))
    .order_by(Diagnosis.is_main.desc(), Diagnosis.rank)
    .limit(1)
    .scalar_subquery()
)
_HAS_DRAFT = (
    sa.select(sa.literal(1))
    .where(
        Response.subject_type == "instruction",
        Response.subject_id == Instruction.id,
        Response.state == ResponseState.DRAFT,
    )
    .correlate(Instruction)
    .exists()
)
_IS_SENT_BACK = sa.and_(
    Instruction.reason.is_not(None),
    Instruction.state.in_((InstructionState.IN_PROGRESS, InstructionState.EXPIRED)),
)
"""What was recorded did not stand: the reason is kept until it is recorded anew."""
_ATTEMPTS = (
    sa.select(sa.func.count())
    .where(ContactEntry.subject_type == "instruction", ContactEntry.subject_id == Instruction.id)
    .scalar_subquery()
)
