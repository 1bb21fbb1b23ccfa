"""The centre's indicators: follow-up of discharged patients (国家指标 21 and what leads to it)."""

from collections.abc import Callable
from datetime import date

import sqlalchemy as sa

from hcrm.archive.visit_models import DischargeWay, Encounter, EncounterClass, EncounterStatus
from hcrm.centre.models import OPEN_STATES, Instruction, InstructionState
from hcrm.contact_log.models import ContactEntry, ContactResult
from hcrm.core.measure import Condition, Measure

STAY_CLASSES = (EncounterClass.INPATIENT,)
"""What counts as a discharge: hospital stays. Emergency and outpatient visits end too, but are no 出院."""
_REACHED = (ContactResult.REACHED, ContactResult.RELATIVE)


def discharges(*classes: EncounterClass, with_died: bool = True) -> Callable[[date], Condition]:
    """Finished stays of these classes."""

    def population(_today: date) -> Condition:
        conditions = [Encounter.status == EncounterStatus.FINISHED, Encounter.encounter_class.in_(classes)]
        if not with_died:
            conditions.append(Encounter.discharge_way != DischargeWay.DIED)
        return sa.and_(*conditions)

    return population


def _contacted(_today: date) -> Condition:
    """At least one contact with the patient or the family; several of one stay count once."""
    return (
        sa.select(sa.literal(1))
        .select_from(ContactEntry)
        .where(ContactEntry.encounter_id == Encounter.id, ContactEntry.result.in_(_REACHED))
        .exists()
    )


def _not_withdrawn(_today: date) -> Condition:
    return Instruction.state != InstructionState.WITHDRAWN


def _done_in_window(_today: date) -> Condition:
    return sa.and_(
        Instruction.done_on.is_not(None),
        Instruction.done_on >= Instruction.opens_on,
        Instruction.done_on <= Instruction.closes_on,
    )


def _overdue(today: date) -> Condition:
    return sa.and_(Instruction.state.in_(OPEN_STATES), Instruction.due_on < today)


FOLLOWUP_RATIO = Measure(
    code="centre.followup_ratio",
    title="出院随访率",
    version=1,
    summary="当期出院的住院中，至少联系上一次患者或家属的；同一次住院只计一次",
    subject=Encounter,
    dated_by=Encounter.discharged_at,
    department=Encounter.department_id,
    population=discharges(*STAY_CLASSES),
    hits=_contacted,
)
FOLLOWUP_RATIO_ALIVE = Measure(
    code="centre.followup_ratio_alive",
    title="出院随访率（不含死亡）",
    version=1,
    summary="同上，分母不含离院方式为死亡的住院",
    subject=Encounter,
    dated_by=Encounter.discharged_at,
    department=Encounter.department_id,
    population=discharges(*STAY_CLASSES, with_died=False),
    hits=_contacted,
)
DONE_IN_WINDOW = Measure(
    code="centre.done_in_window",
    title="按期完成率",
    version=1,
    summary="当期到期、没有撤回的随访指令中，在时间窗内登记了结果的",
    subject=Instruction,
    dated_by=Instruction.due_on,
    department=Instruction.department_id,
    population=_not_withdrawn,
    hits=_done_in_window,
)
OVERDUE = Measure(
    code="centre.overdue",
    title="超期指令",
    version=1,
    summary="已过应随访日、仍未完成的随访指令，按应随访日归月",
    subject=Instruction,
    dated_by=Instruction.due_on,
    department=Instruction.department_id,
    population=_overdue,
)

MEASURES = (FOLLOWUP_RATIO, FOLLOWUP_RATIO_ALIVE, DONE_IN_WINDOW, OVERDUE)
