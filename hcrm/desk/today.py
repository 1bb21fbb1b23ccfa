"""The service centre's workbench: what needs a hand now, and who was discharged a moment ago."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from followup.alerts import count_open
from hcrm.archive.death import count_unconfirmed
from hcrm.archive.identity.models import PairState
from hcrm.archive.identity.queries import count_pairs
from hcrm.archive.models import Patient, Sex
from hcrm.archive.queries import record_list_read
from hcrm.archive.scope import scope_encounters
from hcrm.archive.visit_models import DischargeWay, Encounter, VisitEvent
from hcrm.centre.models import IS_OPEN, Classification, Instruction, InstructionState
from hcrm.centre.scope import instructions_in_scope
from hcrm.core.clock import local_date
from hcrm.core.work import Work
from hcrm.desk.care import count_gaps
from hcrm.directory.models import Department, Practitioner
from hcrm.inbox.models import ApplicationState
from hcrm.inbox.queries import count_states

RECENT = 12
"""Stays the workbench shows: what fits beside the numbers without scrolling."""
RECENT_HOURS = 24
"""How long a discharge counts as recent; a calendar day would leave the early morning empty."""
BUSIEST = 8
"""Departments shown at the side."""


@dataclass(frozen=True, slots=True)
class CentreNumbers:
    """Numbers, each of which opens the list of what it counts."""

    exceptions: int  # nobody carries it out: open without owner, or returned
    overdue: int
    due_today: int
    alerts: int
    parked: int | None  # None: the actor may not see messages
    gaps: int | None  # patients in care without a next step; None: the actor may not see patients
    deaths: int | None  # told by one source; None: not the actor's to confirm
    pairs: int | None  # archives that may be one person; None: not the actor's to decide


@dataclass(frozen=True, slots=True)
class DepartmentLoad:
    """What a department has open."""

    id: str | None
    name: str | None
    open: int
    overdue: int


@dataclass(frozen=True, slots=True)
class RecentStay:
    """A stay that ended a moment ago, and what was instructed for it."""

    encounter_id: str
    patient_id: str
    patient_name: str
    sex: Sex
    birth_date: date | None
    department: str | None
    discharged_at: datetime
    way: DischargeWay
    groups: Sequence[str]  # disease groups by the main diagnosis first; a sensitive one is not named
    is_classified: bool
    issued: int
    withdrawn: int
    first_due: date | None
    owner: str | None
    without_owner: int


@dataclass(frozen=True, slots=True)
class Recent:
    """The list, and a mark that changes when anything in it does."""

    stays: Sequence[RecentStay]
    mark: str


def count_centre(work: Work) -> CentreNumbers:
    """The numbers in the actor's scope: one pass over the open instructions."""
    today = local_date(work.clock.now())
    row = work.execute(
        sa.select(
            _sum(sa.and_(IS_OPEN, Instruction.assignee_id.is_(None))).label("unowned"),
            _sum(Instruction.state == InstructionState.RETURNED).label("returned"),
            _sum(sa.and_(IS_OPEN, Instruction.due_on < today)).label("overdue"),
            _sum(sa.and_(IS_OPEN, Instruction.due_on == today)).label("due_today"),
        ).where(
            instructions_in_scope(work.actor), sa.or_(IS_OPEN, Instruction.state == InstructionState.RETURNED)
        )
    ).one()
    may_see_messages = work.actor.may("message.read")
    return CentreNumbers(
        exceptions=row.unowned + row.returned,
        overdue=row.overdue,
        due_today=row.due_today,
        alerts=count_open(work),
        parked=count_states(work).get(ApplicationState.PARKED, 0) if may_see_messages else None,
        gaps=count_gaps(work) if work.actor.may("patient.read") else None,
        deaths=count_unconfirmed(work) if work.actor.may("death.record") else None,
        pairs=count_pairs(work, state=PairState.OPEN) if work.actor.may("identity.decide") else None,
    )


def list_loads(work: Work) -> Sequence[DepartmentLoad]:
    """The departments with the most overdue instructions."""
    overdue = _sum(Instruction.due_on < local_date(work.clock.now()))
    rows = work.execute(
        sa.select(
            Instruction.department_id,
            Department.name,
            sa.func.count().label("open"),
            overdue.label("overdue"),
        )
        .outerjoin(Department, Department.id == Instruction.department_id)
        .where(IS_OPEN, instructions_in_scope(work.actor))
        .group_by(Instruction.department_id, Department.name)
        .order_by(overdue.desc(), sa.func.count().desc(), Department.name)
        .limit(BUSIEST)
    )
    return [DepartmentLoad(row.department_id, row.name, row.open, row.overdue) for row in rows]


def list_recent(work: Work, *, seen: str | None = None) -> Recent | None:
    """Who was discharged within a day, the message that came last first; None where nothing changed since `seen`.

    The page asks every few seconds; a patient is shown, and the read noted, only when there is news.
    """
    since = work.clock.now() - timedelta(hours=RECENT_HOURS)
    statement = (
        sa.select(*_STAY_COLUMNS)
        .join(VisitEvent, VisitEvent.id == Encounter.discharge_id)
        .join(Patient, Patient.id == Encounter.patient_id)
        .outerjoin(Department, Department.id == Encounter.department_id)
        .where(Encounter.discharged_at >= since, ~Patient.is_test)
        .order_by(VisitEvent.seq.desc(), Encounter.id.desc())
        .limit(RECENT)
    )
    rows = work.execute(scope_encounters(statement, work.actor)).all()
    ids = [row.id for row in rows]
    issued = _issued(work, ids)
    classes = _classes(work, ids)
    stays = [_stay(row, issued.get(row.id), classes.get(row.id, ())) for row in rows]
    mark = _mark(stays)
    if mark == seen:
        return None
    record_list_read(work, "encounter.list", [stay.patient_id for stay in stays])
    return Recent(stays, mark)


_STAY_COLUMNS: tuple[Any, ...] = (
    Encounter.id, Encounter.patient_id, Encounter.discharged_at, Encounter.discharge_way,
    Patient.name.label("patient_name"), Patient.sex, Patient.birth_date, Department.name.label("department"),
)  # fmt: skip


def _stay(row: Any, issued: Any, classes: Sequence[Classification]) -> RecentStay:
    return RecentStay(
        encounter_id=row.id, patient_id=row.patient_id, patient_name=row.patient_name, sex=row.sex,
        birth_date=row.birth_date, department=row.department, discharged_at=row.discharged_at,
        way=row.discharge_way, groups=[one.label for one in classes if not one.is_sensitive],
        is_classified=bool(classes), issued=issued.number if issued else 0,
        withdrawn=issued.withdrawn if issued else 0,
        first_due=issued.first_due if issued else None, owner=issued.owner if issued else None,
        without_owner=issued.without_owner if issued else 0,
    )  # fmt: skip


def _issued(work: Work, encounter_ids: Sequence[str]) -> dict[str, Any]:
    """What stands instructed for each stay: how many, the first due date, one owner's name, how many have none.

    Beside them the number that was withdrawn: a stay whose instructions all were has had a protocol.
    """
    stands = Instruction.state != InstructionState.WITHDRAWN
    rows = work.execute(
        sa.select(
            Instruction.encounter_id,
            _sum(stands).label("number"),
            _sum(~stands).label("withdrawn"),
            sa.func.min(sa.case((stands, Instruction.due_on))).label("first_due"),
            sa.func.max(sa.case((stands, Practitioner.name))).label("owner"),
            _sum(sa.and_(stands, Instruction.assignee_id.is_(None))).label("without_owner"),
        )
        .outerjoin(Practitioner, Practitioner.id == Instruction.assignee_id)
        .where(Instruction.encounter_id.in_(encounter_ids))
        .group_by(Instruction.encounter_id)
    )
    return {row.encounter_id: row for row in rows}


def _classes(work: Work, encounter_ids: Sequence[str]) -> dict[str, list[Classification]]:
    found: dict[str, list[Classification]] = {}
    for row in work.scalars(
        sa.select(Classification)
        .where(Classification.encounter_id.in_(encounter_ids), Classification.axis == "disease_group")
        .order_by(Classification.rank, Classification.id)
    ):
        found.setdefault(row.encounter_id, []).append(row)
    return found


def _mark(stays: Sequence[RecentStay]) -> str:
    """Keys and counts only, hashed: it stands in an address."""
    told = repr(
        [
            (one.encounter_id, one.discharged_at, one.issued, one.withdrawn, one.owner, one.is_classified)
            for one in stays
        ]
    )
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _sum(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)
