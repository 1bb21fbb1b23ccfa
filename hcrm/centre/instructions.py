"""Instructions: issued by protocol, then accepted, carried out, returned, withdrawn, reassigned by people."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from types import MappingProxyType

import sqlalchemy as sa

from hcrm.accounts.models import Account
from hcrm.archive.models import DeceasedState
from hcrm.archive.timeline import add_entry
from hcrm.archive.visit_models import DischargeWay
from hcrm.audit.service import record_audit
from hcrm.centre.events import EncounterClassified, InstructionCompleted, InstructionIssued
from hcrm.centre.models import (
    OPEN_STATES,
    Instruction,
    InstructionHistory,
    InstructionState,
    Outcome,
    Withdrawal,
)
from hcrm.centre.owners import find_owners
from hcrm.centre.published import form_version, published_form_versions, published_protocols
from hcrm.centre.scope import instruction_opens
from hcrm.centre.stays import Stay, hold_callable, load_stays
from hcrm.core.clock import local_date
from hcrm.core.errors import ConflictError, DeniedError, HcrmError, NotFoundError
from hcrm.core.work import Row, Work
from hcrm.directory.models import Practitioner

CutOvers = Mapping[str, datetime]
"""Source to the moment it went live: stays that ended before it are history and issue nothing."""
NO_CUT_OVERS: CutOvers = MappingProxyType({})

UNKNOWN_WAY = "离院方式未知，先核实"
DISPUTED_DEATH = "是否在世存疑，先核实"
TOLD_TOO_LATE = "消息到达时时间窗已过"
"""Why a step counts as not done that nobody could have done: the reason of what is 已错过."""
RECORDABLE_STATES = (*OPEN_STATES, InstructionState.EXPIRED)
"""States in which a contact may be recorded; after the window closed it counts as done late."""
RECORDED_STATES = (InstructionState.IN_REVIEW, InstructionState.COMPLETED)
"""States in which a contact was recorded."""


# ── issued by the centre ────────────────────────────────────────────────────


def issue_instructions(
    work: Work,
    facts: Sequence[EncounterClassified],
    *,
    home_region: str | None = None,
    cut_overs: CutOvers = NO_CUT_OVERS,
) -> int:
    """Issue every step that applies to a batch of classified discharges; what was issued before is left alone.

    A step whose window had closed before we heard of the discharge is recorded as missed, and not counted here.
    """
    stays = load_stays(work, facts, home_region=home_region, classes=True)
    rows = still_wanted(work, plan_instructions(work, stays=stays, cut_overs=cut_overs))
    written = set(work.insert_new(Instruction, rows))  # one statement, ON CONFLICT DO NOTHING
    return tell_planned(work, rows=[row for row in rows if row["id"] in written])


def plan_instructions(work: Work, *, stays: Iterable[Stay], cut_overs: CutOvers = NO_CUT_OVERS) -> list[Row]:
    """The instructions these stays are to have by the protocols in force: none about the dead, none for a test."""
    wanted = [stay for stay in stays if stay.is_followed and not is_history(stay, cut_overs)]
    if not wanted:
        return []
    protocols, versions = published_protocols(work), published_form_versions(work)
    owners = find_owners(work, wanted)
    now = work.clock.now()
    today = local_date(now)
    return [
        {"id": work.new_id(), "patient_id": stay.patient_id, "encounter_id": stay.encounter_id,
         "trigger_id": stay.trigger_id, "protocol_code": protocol.code, "protocol_version": protocol.version,
         "protocol_title": protocol.title, "step_code": step.code, "title": step.title,
         "channel": step.channel.value, "form_code": step.form, "form_version": form_version(versions, step.form),
         "review_policy": step.review, "sample_percent": step.sample_percent,
         "department_id": stay.department_id, "assignee_id": owners.of(stay, step.assign_to),
         "note": note_for(stay), "issued_at": now, "version": 1, **step.window(stay.discharged_on),
         **state_by_window(step.window(stay.discharged_on)["closes_on"], today)}
        for stay in wanted
        for protocol in protocols.applying_to(stay.facts)
        for step in protocol.steps
    ]  # fmt: skip


def still_wanted(work: Work, rows: Sequence[Row]) -> list[Row]:
    """What was planned, without those whom nobody is to call since it was; to be asked just before it is written."""
    callable_now = hold_callable(work, (row["patient_id"] for row in rows))
    return [row for row in rows if row["patient_id"] in callable_now]


def tell_planned(work: Work, *, rows: Sequence[Row]) -> int:
    """What was written by `plan_instructions`: facts and audit of what is to be done, a line for either kind."""
    issued, missed = _apart(rows)
    work.emit_all(InstructionIssued(instruction_id=row["id"]) for row in issued)
    _tell_by_stay(work, issued, "已下达随访指令 {} 条（{}）")
    _tell_by_stay(work, missed, f"{{}} 条随访已错过：{TOLD_TOO_LATE}（{{}}）")
    for action, told in (("instruction.issue", issued), ("instruction.miss", missed)):
        if told:
            record_audit(work, action=action, patients=[row["patient_id"] for row in told])
    return len(issued)


def _apart(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """What is to be done, and what was missed."""
    missed = [row for row in rows if row["state"] is InstructionState.MISSED]
    return [row for row in rows if row["state"] is not InstructionState.MISSED], missed


def _tell_by_stay(work: Work, rows: Sequence[Row], words: str) -> None:
    by_stay: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by_stay[row["encounter_id"], row["trigger_id"]].append(row)
    for (encounter_id, _), told in by_stay.items():
        protocols = "、".join(dict.fromkeys(row["protocol_title"] for row in told))
        add_entry(
            work, patient_id=told[0]["patient_id"], happened_at=work.clock.now(), kind="instruction",
            title=words.format(len(told), protocols), subject_type="encounter", subject_id=encounter_id,
            encounter_id=encounter_id,
        )  # fmt: skip


def state_by_window(closes_on: date, today: date) -> Row:
    """State and reason of a step planned today: nobody is asked to do what could only have been done before."""
    is_missed = closes_on < today
    return {
        "state": InstructionState.MISSED if is_missed else InstructionState.ISSUED,
        "reason": TOLD_TOO_LATE if is_missed else None,
    }


def is_history(stay: Stay, cut_overs: CutOvers) -> bool:
    """Whether the stay ended before its source went live, whenever we heard of it."""
    moment = cut_overs.get(stay.source)
    return moment is not None and stay.discharged_at < moment


def note_for(stay: Stay) -> str | None:
    """What the physician must clear up before calling."""
    notes = [
        note
        for note, holds in (
            (UNKNOWN_WAY, stay.way is DischargeWay.UNKNOWN),
            (DISPUTED_DEATH, stay.deceased is DeceasedState.DISPUTED),
        )
        if holds
    ]
    return "；".join(notes) or None


# ── the physician ───────────────────────────────────────────────────────────


def accept_instruction(work: Work, *, instruction_id: str) -> Instruction:
    """Say "I take it". Where nobody owned it, whoever accepts does."""
    instruction = take_instruction(work, instruction_id=instruction_id)
    if instruction.state is InstructionState.ACCEPTED:
        return instruction  # clicked twice
    _require_state(instruction, (InstructionState.ISSUED,), "接收")
    if instruction.assignee_id is None:
        instruction.assignee_id = work.actor.practitioner_id
    _change_state(work, instruction, InstructionState.ACCEPTED)
    _audit(work, instruction, "instruction.accept")
    return instruction


def return_instruction(work: Work, *, instruction_id: str, reason: str) -> Instruction:
    """Give it back to the centre, which reassigns or withdraws it."""
    instruction = take_instruction(work, instruction_id=instruction_id)
    _require_state(instruction, OPEN_STATES, "退回")
    instruction.reason = _require_reason(reason)
    _change_state(work, instruction, InstructionState.RETURNED, instruction.reason)
    add_entry(
        work, patient_id=instruction.patient_id, happened_at=work.clock.now(), kind="instruction",
        title=f"随访指令已退回：{instruction.title}", subject_type="instruction", subject_id=instruction.id,
        encounter_id=instruction.encounter_id,
    )  # fmt: skip
    _audit(work, instruction, "instruction.return")
    return instruction


def require_recordable(instruction: Instruction) -> None:
    """Refuse where nothing can be recorded any more, or not yet again."""
    _require_state(instruction, RECORDABLE_STATES, "登记随访结果")


def start_instruction(work: Work, *, instruction: Instruction) -> None:
    """The first attempt or draft makes it 执行中; one that has expired stays expired until it is recorded."""
    if instruction.state in (InstructionState.ISSUED, InstructionState.ACCEPTED):
        _change_state(work, instruction, InstructionState.IN_PROGRESS)


def finish_instruction(
    work: Work, *, instruction: Instruction, outcome: Outcome, done_at: datetime, in_review: bool
) -> None:
    """The contact was recorded; `in_review` keeps it 待审核 until the department head has looked."""
    require_recordable(instruction)
    instruction.outcome = outcome
    instruction.done_at = done_at
    instruction.done_on = local_date(done_at)
    instruction.reason = None
    if in_review:
        _change_state(work, instruction, InstructionState.IN_REVIEW)
    else:
        _complete(work, instruction)


# ── the department head ─────────────────────────────────────────────────────


def complete_instruction(work: Work, *, instruction: Instruction) -> None:
    """The review approved it."""
    _require_state(instruction, (InstructionState.IN_REVIEW,), "审核通过")
    _complete(work, instruction)


def reopen_instruction(work: Work, *, instruction: Instruction, reason: str) -> None:
    """What was recorded does not stand: it is to be done again, and does not count as done until then."""
    _require_state(instruction, RECORDED_STATES, "退回重做")
    instruction.outcome = instruction.done_at = instruction.done_on = None
    instruction.reason = reason
    _change_state(work, instruction, InstructionState.IN_PROGRESS, reason)


# ── the service centre ──────────────────────────────────────────────────────


def withdraw_instruction(work: Work, *, instruction_id: str, reason: str) -> Instruction:
    """Take it back by hand; no message restores it."""
    instruction = take_instruction(work, instruction_id=instruction_id)
    _require_state(instruction, (*OPEN_STATES, InstructionState.RETURNED), "撤回")
    instruction.reason = _require_reason(reason)
    instruction.withdrawal = Withdrawal.BY_HAND
    _change_state(work, instruction, InstructionState.WITHDRAWN, instruction.reason)
    add_entry(
        work, patient_id=instruction.patient_id, happened_at=work.clock.now(), kind="instruction",
        title=f"随访指令已撤回：{instruction.title}", subject_type="instruction", subject_id=instruction.id,
        encounter_id=instruction.encounter_id,
    )  # fmt: skip
    _audit(work, instruction, "instruction.withdraw")
    return instruction


def reassign_instruction(work: Work, *, instruction_id: str, practitioner_id: str) -> Instruction:
    """Give it to another physician, who must be able to see it: an active account, within the actor's departments."""
    instruction = take_instruction(work, instruction_id=instruction_id)
    _require_state(instruction, (*OPEN_STATES, InstructionState.RETURNED), "改派")
    name = _require_assignable(work, practitioner_id)
    instruction.assignee_id = practitioner_id
    instruction.reason = None
    _change_state(work, instruction, InstructionState.ISSUED, f"改派给 {name}")
    _audit(work, instruction, "instruction.reassign", practitioner_id=practitioner_id)
    return instruction


# ── the common steps ────────────────────────────────────────────────────────


def take_instruction(work: Work, *, instruction_id: str) -> Instruction:
    """The instruction, locked for a change; outside the actor's scope it is not there."""
    found = work.session.execute(
        sa.select(Instruction, instruction_opens(work.actor))
        .where(Instruction.id == instruction_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if found is None:
        raise NotFoundError
    instruction, in_scope = found
    if not in_scope:
        raise DeniedError(
            "instruction.change", subject_type="instruction", subject_id=instruction_id,
            patients=(instruction.patient_id,),
        )  # fmt: skip
    return instruction


def note_change(
    work: Work, *, instruction_id: str, before: InstructionState, after: InstructionState, reason: str | None
) -> None:
    """A line of the instruction's history."""
    work.defer(
        InstructionHistory,
        {"id": work.new_id(), "instruction_id": instruction_id, "before": before, "after": after,
         "changed_at": work.clock.now(), "actor_id": work.actor.id, "actor_name": work.actor.name, "reason": reason},
    )  # fmt: skip


def _complete(work: Work, instruction: Instruction) -> None:
    _change_state(work, instruction, InstructionState.COMPLETED)
    work.emit(InstructionCompleted(instruction_id=instruction.id))


def _change_state(
    work: Work, instruction: Instruction, after: InstructionState, reason: str | None = None
) -> None:
    note_change(work, instruction_id=instruction.id, before=instruction.state, after=after, reason=reason)
    instruction.state = after
    work.session.flush()


def _audit(work: Work, instruction: Instruction, action: str, **detail: str) -> None:
    record_audit(
        work, action=action, patients=[instruction.patient_id], subject_type="instruction",
        subject_id=instruction.id, detail=detail or None,
    )  # fmt: skip


def _require_state(instruction: Instruction, allowed: Sequence[InstructionState], act: str) -> None:
    if instruction.state not in allowed:
        raise ConflictError("instruction.state", f"该指令{instruction.state.label}，不能{act}")


def _require_reason(reason: str) -> str:
    if not reason.strip():
        raise HcrmError("instruction.reason", "请填写原因", field="reason")
    return reason.strip()


def _require_assignable(work: Work, practitioner_id: str) -> str:
    """The practitioner's name."""
    statement = sa.select(Practitioner.name).where(
        Practitioner.id == practitioner_id,
        sa.exists().where(Account.practitioner_id == Practitioner.id, Account.active.is_(True)),
    )
    if work.actor.department_ids is not None:
        statement = statement.where(Practitioner.department_id.in_(sorted(work.actor.department_ids)))
    name: str | None = work.scalar(statement)
    if name is None:
        raise HcrmError("instruction.assignee", "该医师没有可用账号，不能接收指令", field="practitioner_id")
    return name
