"""What was issued follows what became of the stay: its record corrected, its discharge cancelled, the patient died.

Only what nobody has taken up yet (已下达) is moved, or withdrawn because its protocol no longer applies; what a
physician works on goes on. Done work is never taken back (truth table B6, B7; mechanisms 2.13).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from hcrm.archive.events import (
    DeathRevoked,
    DischargeCancelled,
    PatientDied,
    PatientNullified,
    PatientRestored,
)
from hcrm.archive.models import DeceasedState, Patient
from hcrm.archive.timeline import add_entry
from hcrm.archive.visit_models import Encounter, EncounterStatus, VisitEvent
from hcrm.audit.service import record_audit
from hcrm.centre.events import EncounterReclassified, InstructionIssued
from hcrm.centre.instructions import (
    NO_CUT_OVERS,
    TOLD_TOO_LATE,
    CutOvers,
    is_history,
    note_change,
    note_for,
    plan_instructions,
    state_by_window,
    tell_planned,
)
from hcrm.centre.models import OPEN_STATES, Instruction, InstructionHistory, InstructionState, Withdrawal
from hcrm.centre.owners import Owners, find_owners
from hcrm.centre.published import published_step
from hcrm.centre.stays import Stay, load_stays
from hcrm.core.clock import local_date
from hcrm.core.work import Row, Work

Standing = sa.RowMapping
"""An instruction as it stands, locked: plain values, since they are changed in bulk."""

_MARGIN = timedelta(days=1)  # a discharge told before the death was noted may have been planned after it
_WAITING = (*OPEN_STATES, InstructionState.RETURNED)
_NOT_DONE = (*_WAITING, InstructionState.EXPIRED, InstructionState.MISSED)
_UNTOUCHED = (InstructionState.ISSUED, InstructionState.MISSED)
_FOLLOWING = ("opens_on", "due_on", "closes_on", "department_id", "assignee_id", "note")


def replan_instructions(
    work: Work,
    facts: Sequence[EncounterReclassified],
    *,
    home_region: str | None = None,
    cut_overs: CutOvers = NO_CUT_OVERS,
) -> int:
    """Let the instructions of stays that were classified anew follow; how many were issued, changed or withdrawn.

    A protocol that applies now is issued, or restored where a message had taken it back; one that no longer applies
    is withdrawn as far as nobody has taken it up; what stays untouched gets the dates and the owner of today.
    """
    stays = {stay.trigger_id: stay for stay in load_stays(work, facts, home_region=home_region, classes=True)}
    planned: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in plan_instructions(work, stays=stays.values(), cut_overs=cut_overs):
        planned[row["trigger_id"], row["protocol_code"]].append(row)
    standing = _lock(work, Instruction.trigger_id.in_(sorted(stays)))
    known = {_key(row) for row in standing}
    new = [row for key, rows in planned.items() if key not in known for row in rows]
    work.insert(Instruction, new)  # the stays are locked: nobody else issues for them meanwhile
    issued = tell_planned(work, rows=new)
    gone = [row for row in standing if _key(row) not in planned and row["state"] in _UNTOUCHED]
    for why, died in ((Withdrawal.DIED, True), (Withdrawal.NOT_APPLICABLE, False)):
        _withdraw(work, [row for row in gone if stays[row["trigger_id"]].has_died is died], why)
    changed = _follow(work, [row for row in standing if _key(row) in planned], stays)
    return issued + len(gone) + changed


def withdraw_for_cancelled(work: Work, facts: Sequence[DischargeCancelled]) -> int:
    """Withdraw what the cancelled discharges had triggered and is not done; how many."""
    triggers = {fact.trigger_id for fact in facts}
    standing = work.scalars(
        sa.select(Encounter.discharge_id).where(
            Encounter.id.in_(sorted({fact.encounter_id for fact in facts})),
            Encounter.status == EncounterStatus.FINISHED,
        )
    )
    triggers.difference_update(standing)
    rows = _lock(work, Instruction.trigger_id.in_(sorted(triggers)), Instruction.state.in_(_NOT_DONE))
    return _withdraw(work, rows, Withdrawal.DISCHARGE_CANCELLED)


def withdraw_for_deceased(work: Work, facts: Sequence[PatientDied]) -> int:
    """Withdraw everything that waits for patients who have died; how many."""
    dead = work.scalars(
        sa.select(Patient.id).where(
            Patient.id.in_(sorted({fact.patient_id for fact in facts})),
            Patient.deceased == DeceasedState.DECEASED,
        )
    )
    rows = _lock(work, Instruction.patient_id.in_(sorted(dead)), Instruction.state.in_(_WAITING))
    return _withdraw(work, rows, Withdrawal.DIED)


def withdraw_for_nullified(work: Work, facts: Sequence[PatientNullified]) -> int:
    """Withdraw everything that waits for patients their sender has deleted; how many."""
    hidden = work.scalars(
        sa.select(Patient.id).where(
            Patient.id.in_(sorted({fact.patient_id for fact in facts})), Patient.is_nullified
        )
    )
    rows = _lock(work, Instruction.patient_id.in_(sorted(hidden)), Instruction.state.in_(_WAITING))
    return _withdraw(work, rows, Withdrawal.NULLIFIED)


def restore_for_living(
    work: Work,
    facts: Sequence[DeathRevoked],
    *,
    home_region: str | None = None,
    cut_overs: CutOvers = NO_CUT_OVERS,
) -> int:
    """Restore what was withdrawn because these patients were thought dead, and issue what they missed; how many."""
    return _restore(work, facts, Withdrawal.DIED, "死亡登记已撤销", home_region, cut_overs)


def restore_for_restored(
    work: Work,
    facts: Sequence[PatientRestored],
    *,
    home_region: str | None = None,
    cut_overs: CutOvers = NO_CUT_OVERS,
) -> int:
    """The same for patients whose sender speaks of them again after it had deleted them; how many."""
    return _restore(work, facts, Withdrawal.NULLIFIED, "档案恢复使用", home_region, cut_overs)


def _restore(
    work: Work, facts: Sequence[DeathRevoked | PatientRestored], why: Withdrawal, words: str,
    home_region: str | None, cut_overs: CutOvers,
) -> int:  # fmt: skip
    patients = sorted({fact.patient_id for fact in facts})
    restored = _restore_withdrawn(work, patients, why, words, cut_overs)
    missed = [
        EncounterReclassified(row.id, row.discharge_id)
        for fact in facts
        for row in work.execute(
            sa.select(Encounter.id, Encounter.discharge_id)
            .join(VisitEvent, VisitEvent.id == Encounter.discharge_id)
            .where(
                Encounter.patient_id == fact.patient_id,
                Encounter.status == EncounterStatus.FINISHED,
                VisitEvent.told_at >= datetime.fromisoformat(fact.noted_at) - _MARGIN,
            )
        )
    ]
    return restored + replan_instructions(work, missed, home_region=home_region, cut_overs=cut_overs)


def _restore_withdrawn(
    work: Work, patients: Sequence[str], why: Withdrawal, words: str, cut_overs: CutOvers
) -> int:
    withdrawn = (
        Instruction.patient_id.in_(patients),
        Instruction.state == InstructionState.WITHDRAWN,
        Instruction.withdrawal == why,
    )
    discharges = work.execute(sa.select(Instruction.encounter_id, Instruction.trigger_id).where(*withdrawn))
    triggers = [EncounterReclassified(row.encounter_id, row.trigger_id) for row in discharges]
    stays = {
        stay.trigger_id: stay
        for stay in load_stays(work, triggers)
        if not stay.has_died and not is_history(stay, cut_overs)
    }
    standing = _lock(work, *withdrawn, Instruction.trigger_id.in_(sorted(stays)))
    return _follow(work, standing, stays, why=words)


def _key(row: Standing) -> tuple[str, str]:
    return row["trigger_id"], row["protocol_code"]


def _lock(work: Work, *where: sa.ColumnElement[bool]) -> Sequence[Standing]:
    """The instructions that fit, locked in one order."""
    statement = sa.select(Instruction.__table__).where(*where).order_by(Instruction.id).with_for_update()
    return work.execute(statement).mappings().all()


def _withdraw(work: Work, rows: Sequence[Standing], why: Withdrawal) -> int:
    if not rows:
        return 0
    work.execute(
        sa.update(Instruction)
        .where(Instruction.id.in_([row["id"] for row in rows]))
        .values(
            state=InstructionState.WITHDRAWN,
            withdrawal=why,
            reason=why.label,
            version=Instruction.version + 1,
        )
        .execution_options(synchronize_session=False)
    )
    for row in rows:
        _note(work, row, InstructionState.WITHDRAWN, why.label)
    _tell(work, rows, "已撤回随访指令", why.label)
    record_audit(
        work, action="instruction.withdraw", patients=[row["patient_id"] for row in rows],
        detail={"cause": why.value, "count": len(rows)},
    )  # fmt: skip
    return len(rows)


def _follow(
    work: Work, standing: Sequence[Standing], stays: Mapping[str, Stay], *, why: str = "出院记录更正"
) -> int:
    """Restore what a message had withdrawn; move what is untouched; how many were changed.

    What comes back after its window has closed is missed; what was missed is issued where its window is open again.
    """
    today = local_date(work.clock.now())
    rows = [row for row in standing if row["state"] in _UNTOUCHED or _is_restorable(row)]
    owners = find_owners(work, stays.values())
    by_hand = _changed_by_people(work, rows)
    changed: list[Row] = []
    restored: list[Standing] = []
    for row in rows:
        values = _values_now(work, row, stays[row["trigger_id"]], owners)
        if row["id"] in by_hand:
            values["assignee_id"] = row["assignee_id"]
        if row["state"] is InstructionState.ISSUED:
            state: Row = {"state": InstructionState.ISSUED, "reason": None}  # somebody was asked in time
        else:
            state = state_by_window(values["closes_on"], today)
        after = state["state"]
        is_open = after is InstructionState.ISSUED
        if _is_restorable(row):
            if is_open:
                restored.append(row)
            _note(work, row, after, f"{why}，重新下达" if is_open else f"{why}，{TOLD_TOO_LATE}")
        elif after is not row["state"] or any(row[name] != values[name] for name in _FOLLOWING):
            _note(work, row, after, "随出院记录更正调整")
        else:
            continue
        changed.append(
            {"id": row["id"], **values, **state, "withdrawal": None, "version": row["version"] + 1}
        )  # fmt: skip
        if row["state"] is InstructionState.MISSED and is_open:
            work.emit(InstructionIssued(instruction_id=row["id"]))
    work.update_rows(Instruction, changed)
    _tell(work, restored, "已恢复随访指令", why)
    if changed:
        patients = {row["id"]: row["patient_id"] for row in rows}
        record_audit(work, action="instruction.replan", patients=[patients[row["id"]] for row in changed])
    return len(changed)


def _values_now(work: Work, row: Standing, stay: Stay, owners: Owners) -> Row:
    """Dates, owner and note by today's record, under the protocol version it was issued by."""
    step = published_step(
        work, protocol_code=row["protocol_code"], version=row["protocol_version"], step_code=row["step_code"]
    )
    return {
        **step.window(stay.discharged_on),
        "department_id": stay.department_id,
        "assignee_id": owners.of(stay, step.assign_to),
        "note": note_for(stay),
    }


def _is_restorable(row: Standing) -> bool:
    """Withdrawn by a message and by nobody's decision."""
    return row["state"] is InstructionState.WITHDRAWN and row["withdrawal"] is not Withdrawal.BY_HAND


def _changed_by_people(work: Work, rows: Sequence[Standing]) -> set[str]:
    """Those whose history names a person: a hand-picked owner is kept."""
    return set(
        work.scalars(
            sa.select(InstructionHistory.instruction_id).where(
                InstructionHistory.instruction_id.in_([row["id"] for row in rows]),
                InstructionHistory.actor_id.not_like("system:%"),
            )
        )
    )


def _note(work: Work, row: Standing, after: InstructionState, reason: str) -> None:
    note_change(work, instruction_id=row["id"], before=row["state"], after=after, reason=reason)


def _tell(work: Work, rows: Sequence[Standing], words: str, reason: str) -> None:
    """One line of the timeline per stay."""
    by_stay: dict[str, list[Standing]] = defaultdict(list)
    for row in rows:
        by_stay[row["encounter_id"]].append(row)
    for encounter_id, told in by_stay.items():
        add_entry(
            work, patient_id=told[0]["patient_id"], happened_at=work.clock.now(), kind="instruction",
            title=f"{words} {len(told)} 条（{reason}）", subject_type="encounter", subject_id=encounter_id,
            encounter_id=encounter_id,
        )  # fmt: skip
