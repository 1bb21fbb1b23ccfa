"""Red flags: raised by answers, acknowledged, closed with what was done. An alert survives later edits of the form."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from followup.events import AlertRaised
from followup.models import Alert, AlertState
from hcrm.archive.models import Patient
from hcrm.archive.queries import record_list_read
from hcrm.archive.timeline import add_entry
from hcrm.audit.service import record_audit
from hcrm.centre.models import Instruction
from hcrm.centre.scope import instruction_opens, instructions_in_scope
from hcrm.core import limits
from hcrm.core.errors import ConflictError, DeniedError, HcrmError, NotFoundError
from hcrm.core.work import Row, Work
from hcrm.directory.models import Department, Practitioner
from hcrm.forms.scoring import RaisedFlag
from hcrm.web.paging import Page, keyset_page

IS_UNHANDLED = Alert.state != AlertState.CLOSED
SUPERSEDED = "已由重新提交的记录取代"


def raise_alerts(
    work: Work, *, instruction: Instruction, response_id: str, flags: Sequence[RaisedFlag]
) -> list[Row]:
    """One alert per flag. One of this instruction that still waits is not raised twice, but is now this record's."""
    waiting = {alert.flag_code: alert for alert in _list_waiting(work, instruction)}
    new = [raised for raised in flags if raised.flag.code not in waiting]
    for raised in flags:
        seen = waiting.get(raised.flag.code)
        if seen is not None and seen.response_id != response_id:
            seen.response_id, seen.evidence = response_id, raised.evidence
            _audit(work, seen, "alert.seen_again")
    now = work.clock.now()
    rows: list[Row] = [
        {"id": work.new_id(), "patient_id": instruction.patient_id, "encounter_id": instruction.encounter_id,
         "instruction_id": instruction.id, "response_id": response_id, "department_id": instruction.department_id,
         "level": raised.flag.level.value, "flag_code": raised.flag.code, "evidence": raised.evidence,
         "says": raised.flag.says, "state": AlertState.OPEN, "raised_at": now}
        for raised in new
    ]  # fmt: skip
    work.insert(Alert, rows)
    for row, raised in zip(rows, new, strict=True):
        work.emit(AlertRaised(alert_id=row["id"], level=row["level"]))
        add_entry(
            work, patient_id=row["patient_id"], happened_at=now, kind="alert",
            title=f"红旗预警（{raised.flag.level.label}）：{raised.flag.says}", subject_type="alert",
            subject_id=row["id"], encounter_id=instruction.encounter_id,
        )  # fmt: skip
    return rows


def supersede_alerts(work: Work, *, instruction: Instruction, flags: Sequence[RaisedFlag]) -> None:
    """Close what an earlier record of the instruction raised and the complete new one does not."""
    raised = {one.flag.code for one in flags}
    now = work.clock.now()
    for alert in _list_waiting(work, instruction):
        if alert.flag_code in raised:
            continue
        alert.state, alert.handled_at = AlertState.CLOSED, now
        alert.handled_by, alert.handling = work.actor.name, SUPERSEDED
        add_entry(
            work, patient_id=alert.patient_id, happened_at=now, kind="alert",
            title=f"预警{SUPERSEDED}：{alert.says}", subject_type="alert", subject_id=alert.id,
            encounter_id=alert.encounter_id,
        )  # fmt: skip
        _audit(work, alert, "alert.supersede")


def count_of_instruction(work: Work, *, instruction_id: str) -> int:
    """How many red flags of an instruction wait; the caller came through the instruction's door."""
    statement = sa.select(sa.func.count()).select_from(Alert)
    return int(work.scalar(statement.where(Alert.instruction_id == instruction_id, IS_UNHANDLED)))


def list_open(
    work: Work, *, mine: bool = False, key: str | None = None, size: int = limits.PAGE_SIZE
) -> Page[Any]:
    """Red flags that wait, the most urgent first and of those the oldest: `Alert`, names, `assignee_id`.

    `mine`: only those of instructions assigned to the actor.
    """
    statement = (
        sa.select(
            Alert,
            Instruction.assignee_id,
            Patient.name.label("patient_name"),
            Patient.sex,
            Patient.birth_date,
            Department.name.label("department_name"),
            Practitioner.name.label("assignee_name"),
        )
        .join(Instruction, Instruction.id == Alert.instruction_id)
        .join(Patient, Patient.id == Alert.patient_id)
        .outerjoin(Department, Department.id == Alert.department_id)
        .outerjoin(Practitioner, Practitioner.id == Instruction.assignee_id)
        .where(*_waiting(work, mine))
    )
    page = keyset_page(work, statement, order=[Alert.level, Alert.raised_at, Alert.id], key=key, size=size)
    record_list_read(work, "alert.list", [row.Alert.patient_id for row in page.items])
    return page


def count_open(work: Work, *, mine: bool = False) -> int:
    """How many red flags wait."""
    statement = sa.select(sa.func.count()).select_from(Alert)
    return int(
        work.scalar(
            statement.join(Instruction, Instruction.id == Alert.instruction_id).where(*_waiting(work, mine))
        )
    )


def list_for_instruction(work: Work, *, instruction_id: str) -> Sequence[Alert]:
    """Every alert an instruction's answers raised; the caller came through the instruction's door."""
    return work.scalars(
        sa.select(Alert)
        .where(Alert.instruction_id == instruction_id)
        .order_by(Alert.raised_at.desc(), Alert.level, Alert.id)
    )


def acknowledge_alert(work: Work, *, alert_id: str) -> Alert:
    """Say "I know": the clock of the first reaction stops, the alert stays open."""
    alert = _take(work, alert_id)
    if alert.state is AlertState.OPEN:
        alert.state = AlertState.ACKNOWLEDGED
        alert.acknowledged_at = work.clock.now()
        alert.acknowledged_by = work.actor.name
        _audit(work, alert, "alert.acknowledge")
    return alert


def handle_alert(work: Work, *, alert_id: str, handling: str) -> Alert:
    """Close it with what was done: called, referred, judged harmless and why."""
    alert = _take(work, alert_id)
    if alert.state is AlertState.CLOSED:
        raise ConflictError("alert.state", f"{alert.handled_by or '有人'}已处置这条预警")
    if not handling.strip():
        raise HcrmError("alert.handling", "请填写处置情况", field="handling")
    now = work.clock.now()
    if alert.acknowledged_at is None:
        alert.acknowledged_at, alert.acknowledged_by = now, work.actor.name
    alert.state = AlertState.CLOSED
    alert.handled_at = now
    alert.handled_by = work.actor.name
    alert.handling = handling.strip()
    add_entry(
        work, patient_id=alert.patient_id, happened_at=now, kind="alert", title=f"预警已处置：{alert.says}",
        subject_type="alert", subject_id=alert.id, encounter_id=alert.encounter_id,
    )  # fmt: skip
    _audit(work, alert, "alert.handle")
    return alert


def _waiting(work: Work, mine: bool) -> list[sa.ColumnElement[bool]]:
    conditions = [IS_UNHANDLED, instructions_in_scope(work.actor)]
    if mine:
        conditions.append(Instruction.assignee_id == work.actor.practitioner_id)
    return conditions


def _list_waiting(work: Work, instruction: Instruction) -> Sequence[Alert]:
    """What waits of an instruction that is locked, locked too: nobody handles it meanwhile."""
    return work.session.scalars(
        sa.select(Alert)
        .where(Alert.instruction_id == instruction.id, IS_UNHANDLED)
        .order_by(Alert.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()


def _take(work: Work, alert_id: str) -> Alert:
    """The alert, locked for a change; outside the actor's scope it is not there."""
    found = work.session.execute(
        sa.select(Alert, instruction_opens(work.actor).label("in_scope"))
        .join(Instruction, Instruction.id == Alert.instruction_id)
        .where(Alert.id == alert_id)
        .with_for_update(of=Alert)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if found is None:
        raise NotFoundError
    alert: Alert = found.Alert
    if not found.in_scope:
        raise DeniedError(
            "alert.change", subject_type="alert", subject_id=alert_id, patients=(alert.patient_id,)
        )
    return alert


def _audit(work: Work, alert: Alert, action: str) -> None:
    work.session.flush()
    record_audit(work, action=action, patients=[alert.patient_id], subject_type="alert", subject_id=alert.id)
