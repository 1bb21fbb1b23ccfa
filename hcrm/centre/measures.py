"""The centre's indicators: follow-up of discharged patients."""

from datetime import date

import sqlalchemy as sa

from hcrm.archive.visit_models import DischargeWay, Encounter, EncounterClass, EncounterStatus
from hcrm.centre.models import DONE_IN_WINDOW as IS_DONE_IN_WINDOW
from hcrm.centre.models import IS_OPEN, Instruction, InstructionState
from hcrm.contact_log.models import ContactEntry, ContactResult
from hcrm.core.measure import Measure, Population, Unit

STAY_CLASSES = (EncounterClass.INPATIENT,)
"""What counts as a discharge: hospital stays. Emergency and outpatient visits end too, but are no 出院."""
_REACHED = (ContactResult.REACHED, ContactResult.RELATIVE)


def _discharges(*, with_died: bool) -> Population:
    """Finished stays by the day they ended; counted once however many contacts there were."""
    contacted = (
        sa.select(sa.literal(1))
        .select_from(ContactEntry)
        .where(ContactEntry.encounter_id == Encounter.id, ContactEntry.result.in_(_REACHED))
        .exists()
    )
    where = [Encounter.status == EncounterStatus.FINISHED, Encounter.encounter_class.in_(STAY_CLASSES)]
    if not with_died:
        where.append(Encounter.discharge_way != DischargeWay.DIED)
    return Population(
        source=Encounter.__table__, row_id=Encounter.id, patient_id=Encounter.patient_id,
        department_id=Encounter.department_id, day=Encounter.discharged_at, counts=contacted, where=tuple(where),
    )  # fmt: skip


def _instructions(counts: sa.ColumnElement[bool], *where: sa.ColumnElement[bool]) -> Population:
    return Population(
        source=Instruction.__table__, row_id=Instruction.id, patient_id=Instruction.patient_id,
        department_id=Instruction.department_id, day=Instruction.due_on, counts=counts, where=where,
    )  # fmt: skip


def _done_in_window(today: date) -> Population:
    """What is due later this month is not due yet: every month would otherwise begin at nought."""
    return _instructions(
        IS_DONE_IN_WINDOW, Instruction.state != InstructionState.WITHDRAWN, Instruction.due_on <= today
    )


def _overdue(today: date) -> Population:
    return _instructions(sa.true(), IS_OPEN, Instruction.due_on < today)


FOLLOWUP_RATIO = Measure(
    code="centre.followup_ratio", version=1, title="出院随访率", unit=Unit.RATIO, subject="encounter",
    numerator="至少联系上一次患者或家属的住院次数", denominator="当期出院的全部住院次数",
    rows=lambda _today: _discharges(with_died=True),
)  # fmt: skip
"""国家指标 21：同一次住院多次随访只计一次。"""
FOLLOWUP_RATIO_ALIVE = Measure(
    code="centre.followup_ratio_alive", version=1, title="出院随访率（不含死亡）", unit=Unit.RATIO, subject="encounter",
    numerator="至少联系上一次患者或家属的住院次数", denominator="当期出院、离院方式不是死亡的住院次数",
    rows=lambda _today: _discharges(with_died=False),
)  # fmt: skip
DONE_IN_WINDOW = Measure(
    code="centre.done_in_window", version=1, title="按期完成率", unit=Unit.RATIO, subject="instruction",
    numerator="在时间窗内登记的指令", denominator="当期到期（截至今日）的指令，不含已撤回", rows=_done_in_window,
)  # fmt: skip
OVERDUE = Measure(
    code="centre.overdue", version=1, title="超期指令", unit=Unit.COUNT, subject="instruction",
    numerator="已过应随访日仍未完成的指令", denominator="", rows=_overdue, good_is_high=False,
)  # fmt: skip

MEASURES = (FOLLOWUP_RATIO, FOLLOWUP_RATIO_ALIVE, DONE_IN_WINDOW, OVERDUE)
