"""A death recorded by mistake is taken back: the patient lives, and the follow-up it ended is to be done again."""

import sqlalchemy as sa

from followup.models import Review, ReviewState
from hcrm.archive import death
from hcrm.archive.models import Patient
from hcrm.archive.queries import patient_in_scope
from hcrm.centre.instructions import RECORDED_STATES, reopen_instruction
from hcrm.centre.models import Instruction, Outcome
from hcrm.core.work import Work


def revoke_death(work: Work, *, patient_id: str, reason: str) -> Patient:
    """Take it back, with the reason; a death told by a message is refused.

    The records that said so are opened again, whosever they are: they are wrong by the same decision. What was
    withdrawn because of it the centre restores (`DeathRevoked`).
    """
    patient_id = patient_in_scope(work, patient_id, "patient.revoke_death").id
    # Instructions before the patient, as whoever records a death does: the two never wait for each other.
    recorded = work.session.scalars(
        sa.select(Instruction)
        .where(
            Instruction.patient_id == patient_id,
            Instruction.outcome == Outcome.DIED,
            Instruction.state.in_(RECORDED_STATES),
        )
        .order_by(Instruction.id)
        .with_for_update()
    ).all()
    patient = death.revoke_death(work, patient_id=patient_id, reason=reason)
    reviews = sa.select(Review).where(
        Review.instruction_id.in_([one.id for one in recorded]), Review.state == ReviewState.WAITING
    )
    for review in work.scalars(reviews):
        review.decide(ReviewState.SENT_BACK, by=work.actor, at=work.clock.now(), comment=reason)
    for instruction in recorded:
        reopen_instruction(work, instruction=instruction, reason=reason.strip())
    return patient
