"""What the service centre does by the clock."""

import sqlalchemy as sa

from hcrm.audit.service import record_audit
from hcrm.centre.instructions import note_change
from hcrm.centre.models import IS_OPEN, Instruction, InstructionState
from hcrm.core.clock import local_date
from hcrm.core.work import Work

EXPIRY_BATCH = 2_000
"""Instructions one work lets expire: the writer is not held for long."""


def expire_instructions(work: Work) -> int:
    """Let the oldest open instructions whose window has closed expire; how many. Called again until it answers 0.

    Nothing is lost by it: a contact may still be recorded, and counts as done late (assurance section 0).
    """
    today = local_date(work.clock.now())
    rows = work.execute(
        sa.select(Instruction.id, Instruction.state, Instruction.patient_id)
        .where(IS_OPEN, Instruction.closes_on < today)
        .order_by(Instruction.closes_on, Instruction.id)
        .limit(EXPIRY_BATCH)
        .with_for_update(
            skip_locked=True
        )  # one that somebody is working on right now can wait for the next run
    ).all()
    if not rows:
        return 0
    work.execute(
        sa.update(Instruction)
        .where(Instruction.id.in_([row.id for row in rows]))
        .values(state=InstructionState.EXPIRED, version=Instruction.version + 1)
        .execution_options(synchronize_session=False)
    )
    for row in rows:
        note_change(
            work, instruction_id=row.id, before=row.state, after=InstructionState.EXPIRED, reason="时间窗已过"
        )
    record_audit(work, action="instruction.expire", patients=[row.patient_id for row in rows])
    return len(rows)
