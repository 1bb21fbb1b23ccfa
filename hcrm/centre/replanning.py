"""What was issued follows what became of the stay: its record corrected, its discharge cancelled, the patient died.

Only what nobody has taken up yet (已下达) is moved, or withdrawn because its protocol no longer applies; what a
physician works on goes on. Done work is never taken back (truth table B6, B7; mechanisms 2.13).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from hcrm.archive.events import (
    ContactStopped,
    DischargeCancelled,
    PatientDied,
    PatientMarkedTest,
    PatientNullified,
    PatientsMerged,
)
from hcrm.archive.models import DeceasedState, Patient
from hcrm.archive.reach.contact_stop import is_stopped
from hcrm.archive.timeline import add_entry
from hcrm.archive.visit_models import Encounter, EncounterStatus
from hcrm.audit.service import record_audit
from hcrm.centre.events import EncounterReclassified, InstructionIssued
from hcrm.centre.instructions import (
    NO_CUT_OVERS,
    TOLD_TOO_LATE,
    CutOvers,
    note_change,
    note_for,
    plan_instructions,
    state_by_window,
    still_wanted,
    tell_planned,
)
from hcrm.centre.models import WAITING_STATES, Instruction, InstructionHistory, InstructionState, Withdrawal
from hcrm.centre.owners import Owners, find_owners
from hcrm.centre.published import published_step
from hcrm.centre.stays import Stay, hold_callable, load_stays
from hcrm.core.clock import local_date
from hcrm.core.work import Row, Work

Standing = sa.RowMapping
"""An instruction as it stands, locked: plain values, since they are changed in bulk."""

_NOT_DONE = (*WAITING_STATES, InstructionState.EXPIRED, InstructionState.MISSED)
UNTOUCHED = (InstructionState.ISSUED, InstructionState.MISSED)
FOR_GOOD = (Withdrawal.BY_HAND, Withdrawal.MERGED)
"""What no record told anew restores: a person's word, and what a merge took."""
FOLLOWING = ("opens_on", "due_on", "closes_on", "department_id", "assignee_id", "note")


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
    standing = lock_standing(work, Instruction.trigger_id.in_(sorted(stays)))
    known = {instruction_key(row) for row in standing}
    new = still_wanted(work, [row for key, rows in planned.items() if key not in known for row in rows])
    work.insert(Instruction, new)  # the stays are locked: nobody else issues for them meanwhile
    issued = tell_planned(work, rows=new)
    gone = [row for row in standing if instruction_key(row) not in planned and row["state"] in UNTOUCHED]
    by_cause: dict[Withdrawal, list[Standing]] = defaultdict(list)
    for one in gone:
        by_cause[_why_gone(stays[one["trigger_id"]])].append(one)
    for why, rows in by_cause.items():
        withdraw_all(work, rows, why)
    changed = follow_stays(work, [row for row in standing if instruction_key(row) in planned], stays)
    return issued + len(gone) + changed


def _why_gone(stay: Stay) -> Withdrawal:
    """Why a protocol no longer takes the stay in."""
    if stay.has_died:
        return Withdrawal.DIED
    if stay.is_test:
        return Withdrawal.TEST_PATIENT
    return Withdrawal.CONTACT_ENDED if stay.contact_ended else Withdrawal.NOT_APPLICABLE


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
    rows = lock_standing(work, Instruction.trigger_id.in_(sorted(triggers)), Instruction.state.in_(_NOT_DONE))
    return withdraw_all(work, rows, Withdrawal.DISCHARGE_CANCELLED)


def withdraw_for_deceased(work: Work, facts: Sequence[PatientDied]) -> int:
    """Withdraw everything that waits for patients who have died; how many."""
    dead = work.scalars(
        sa.select(Patient.id).where(
            Patient.id.in_(sorted({fact.patient_id for fact in facts})),
            Patient.deceased == DeceasedState.DECEASED,
        )
    )
    rows = lock_standing(
        work, Instruction.patient_id.in_(sorted(dead)), Instruction.state.in_(WAITING_STATES)
    )
    return withdraw_all(work, rows, Withdrawal.DIED)


def withdraw_for_nullified(work: Work, facts: Sequence[PatientNullified]) -> int:
    """Withdraw everything that waits for patients their sender has deleted; how many."""
    hidden = work.scalars(
        sa.select(Patient.id).where(
            Patient.id.in_(sorted({fact.patient_id for fact in facts})), Patient.is_nullified
        )
    )
    rows = lock_standing(
        work, Instruction.patient_id.in_(sorted(hidden)), Instruction.state.in_(WAITING_STATES)
    )
    return withdraw_all(work, rows, Withdrawal.NULLIFIED)


def withdraw_for_test(work: Work, facts: Sequence[PatientMarkedTest]) -> int:
    """Withdraw everything that waits for test patients; how many."""
    tests = work.scalars(
        sa.select(Patient.id).where(
            Patient.id.in_(sorted({fact.patient_id for fact in facts})), Patient.is_test
        )
    )
    rows = lock_standing(
        work, Instruction.patient_id.in_(sorted(tests)), Instruction.state.in_(WAITING_STATES)
    )
    return withdraw_all(work, rows, Withdrawal.TEST_PATIENT)


def withdraw_for_stopped(work: Work, facts: Sequence[ContactStopped]) -> int:
    """Withdraw everything that waits for patients with whom contact has ended; how many."""
    return _withdraw_stopped(work, {fact.patient_id for fact in facts})


def withdraw_for_merged(work: Work, facts: Sequence[PatientsMerged]) -> int:
    """The end of contact with one archive is that of both; how many were withdrawn."""
    return _withdraw_stopped(work, {fact.survivor_id for fact in facts})


def _withdraw_stopped(work: Work, patient_ids: set[str]) -> int:
    stopped = work.scalars(
        sa.select(Patient.id).where(Patient.id.in_(sorted(patient_ids)), is_stopped(Patient.id))
    )
    rows = lock_standing(
        work, Instruction.patient_id.in_(sorted(stopped)), Instruction.state.in_(WAITING_STATES)
    )
    return withdraw_all(work, rows, Withdrawal.CONTACT_ENDED)


def instruction_key(row: Standing) -> tuple[str, str]:
    """By which discharge and protocol an instruction came to be."""
    return row["trigger_id"], row["protocol_code"]


def lock_standing(work: Work, *where: sa.ColumnElement[bool]) -> Sequence[Standing]:
    """The instructions that fit, locked in one order."""
    statement = sa.select(Instruction.__table__).where(*where).order_by(Instruction.id).with_for_update()
    return work.execute(statement).mappings().all()


def withdraw_all(work: Work, rows: Sequence[Standing], why: Withdrawal) -> int:
    """Take these back, with why; how many."""
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


def follow_stays(
    work: Work, standing: Sequence[Standing], stays: Mapping[str, Stay], *, why: str = "出院记录更正",
    for_good: tuple[Withdrawal, ...] = FOR_GOOD,
) -> int:  # fmt: skip
    """Restore what a message had withdrawn; move what is untouched; how many were changed.

    What comes back after its window has closed is missed; what was missed is issued where its window is open again.
    """
    today = local_date(work.clock.now())
    rows = [row for row in standing if row["state"] in UNTOUCHED or is_restorable(row, for_good)]
    owners = find_owners(work, stays.values())
    by_hand = changed_by_people(work, rows)
    opening = [row for row in rows if row["state"] is not InstructionState.ISSUED]
    callable_now = hold_callable(work, (row["patient_id"] for row in opening))
    kept = {row["id"] for row in opening if row["patient_id"] not in callable_now}
    changed: list[Row] = []
    restored: list[Standing] = []
    for row in rows:
        if row["id"] in kept:
            continue  # nobody is to call them since their stay was read
        values = values_now(work, row, stays[row["trigger_id"]], owners)
        if row["id"] in by_hand:
            values["assignee_id"] = row["assignee_id"]
        if row["state"] is InstructionState.ISSUED:
            state: Row = {"state": InstructionState.ISSUED, "reason": None}  # somebody was asked in time
        else:
            state = state_by_window(values["closes_on"], today)
        after = state["state"]
        is_open = after is InstructionState.ISSUED
        if is_restorable(row, for_good):
            if is_open:
                restored.append(row)
            _note(work, row, after, f"{why}，重新下达" if is_open else f"{why}，{TOLD_TOO_LATE}")
        elif after is not row["state"] or any(row[name] != values[name] for name in FOLLOWING):
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


def values_now(work: Work, row: Standing, stay: Stay, owners: Owners) -> Row:
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


def is_restorable(row: Standing, for_good: tuple[Withdrawal, ...]) -> bool:
    """Withdrawn by a message and by nobody's decision; a merge's is for its undoing to restore."""
    return row["state"] is InstructionState.WITHDRAWN and row["withdrawal"] not in for_good


def changed_by_people(work: Work, rows: Sequence[Standing]) -> set[str]:
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
