"""Review (审核): the department head looks at what the step's policy chose, and approves or sends back."""

import hashlib
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from followup.deaths import revoke_death
from followup.models import Review, ReviewCause, ReviewState
from hcrm.archive.models import Patient
from hcrm.archive.queries import record_list_read
from hcrm.archive.timeline import add_entry
from hcrm.audit.service import record_audit
from hcrm.centre.instructions import complete_instruction, reopen_instruction, take_instruction
from hcrm.centre.models import Instruction, Outcome, ReviewPolicy
from hcrm.centre.scope import instructions_in_scope
from hcrm.core import limits
from hcrm.core.errors import ConflictError, HcrmError, NotFoundError
from hcrm.core.work import Work
from hcrm.directory.models import Department, Practitioner
from hcrm.web.paging import Page, keyset_page

_CAUSES = {
    Outcome.LOST: ReviewCause.LOST,
    Outcome.REFUSED: ReviewCause.REFUSED,
    Outcome.DIED: ReviewCause.DIED,
}
"""Outcomes the head looks at by default. A death reported by phone stops everything else: two pairs of eyes."""


def choose_review(instruction: Instruction, *, outcome: Outcome, has_flags: bool) -> ReviewCause | None:
    """Why the department head is to see this record; None where the step's policy lets it pass.

    The sample is drawn by the instruction's key: nobody can redraw it by saving again, and a test can repeat it.
    """
    policy = instruction.review_policy
    if policy is ReviewPolicy.ALL:
        return ReviewCause.ALL
    if policy is ReviewPolicy.SAMPLE:
        return ReviewCause.SAMPLE if _draw(instruction.id) < instruction.sample_percent else None
    if policy is ReviewPolicy.FLAGS:
        if has_flags:
            return ReviewCause.RED_FLAG
        return _CAUSES.get(outcome)
    return None


def ask_review(
    work: Work, *, instruction: Instruction, response_id: str | None, cause: ReviewCause
) -> Review:
    """Put the record before the department head."""
    review = Review(
        id=work.new_id(), instruction_id=instruction.id, response_id=response_id,
        department_id=instruction.department_id, cause=cause, state=ReviewState.WAITING,
        asked_at=work.clock.now(),
    )  # fmt: skip
    work.add(review)
    return review


def list_waiting(work: Work, *, key: str | None = None, size: int = limits.PAGE_SIZE) -> Page[Any]:
    """Records that wait for review, the oldest first: `Review`, `Instruction`, names."""
    statement = (
        sa.select(
            Review,
            Instruction,
            Patient.name.label("patient_name"),
            Patient.sex,
            Patient.birth_date,
            Department.name.label("department_name"),
            Practitioner.name.label("assignee_name"),
        )
        .join(Instruction, Instruction.id == Review.instruction_id)
        .join(Patient, Patient.id == Instruction.patient_id)
        .outerjoin(Department, Department.id == Instruction.department_id)
        .outerjoin(Practitioner, Practitioner.id == Instruction.assignee_id)
        .where(Review.state == ReviewState.WAITING, instructions_in_scope(work.actor))
    )
    page = keyset_page(work, statement, order=[Review.asked_at, Review.id], key=key, size=size)
    record_list_read(work, "review.list", [row.Instruction.patient_id for row in page.items])
    return page


def count_waiting(work: Work) -> int:
    """How many records wait for review."""
    return int(
        work.scalar(
            sa.select(sa.func.count())
            .select_from(Review)
            .join(Instruction, Instruction.id == Review.instruction_id)
            .where(Review.state == ReviewState.WAITING, instructions_in_scope(work.actor))
        )
    )


def list_reviews(work: Work, *, instruction_id: str) -> Sequence[Review]:
    """What was said of an instruction's records, the latest first; the caller came through the instruction's door."""
    return work.scalars(
        sa.select(Review)
        .where(Review.instruction_id == instruction_id)
        .order_by(Review.asked_at.desc(), Review.id.desc())
    )


def approve_followup(work: Work, *, review_id: str, comment: str | None = None) -> Review:
    """The record stands; the instruction is completed."""
    review, instruction = _take(work, review_id)
    review.decide(ReviewState.APPROVED, by=work.actor, at=work.clock.now(), comment=comment)
    complete_instruction(work, instruction=instruction)
    _tell(work, review, instruction, "随访记录审核通过", "review.approve")
    return review


def send_back_followup(work: Work, *, review_id: str, comment: str | None) -> Review:
    """The follow-up is to be done again; the comment says why. A death that was recorded is taken back with it."""
    if not (comment or "").strip():
        raise HcrmError("review.comment", "退回时请写明原因", field="comment")
    review, instruction = _take(work, review_id)
    review.decide(ReviewState.SENT_BACK, by=work.actor, at=work.clock.now(), comment=comment)
    if instruction.outcome is Outcome.DIED:
        revoke_death(work, patient_id=instruction.patient_id, reason=review.comment or "")
    else:
        reopen_instruction(work, instruction=instruction, reason=review.comment or "")
    _tell(work, review, instruction, "随访记录退回重做", "review.send_back")
    return review


def _draw(key: str) -> int:
    """0 to 99, the same for the same key."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 100


def _take(work: Work, review_id: str) -> tuple[Review, Instruction]:
    """The review and its instruction, both locked, the instruction first as everywhere."""
    instruction_id = work.scalar(sa.select(Review.instruction_id).where(Review.id == review_id))
    if instruction_id is None:
        raise NotFoundError
    instruction = take_instruction(work, instruction_id=instruction_id)
    review = work.session.get(Review, review_id, with_for_update=True, populate_existing=True)
    if review is None:
        raise NotFoundError
    if review.state is not ReviewState.WAITING:
        raise ConflictError("review.state", f"{review.reviewer_name or '有人'}已审核：{review.state.label}")
    return review, instruction


def _tell(work: Work, review: Review, instruction: Instruction, title: str, action: str) -> None:
    work.session.flush()
    add_entry(
        work, patient_id=instruction.patient_id, happened_at=work.clock.now(), kind="instruction",
        title=f"{title}：{instruction.title}", subject_type="instruction", subject_id=instruction.id,
        encounter_id=instruction.encounter_id,
    )  # fmt: skip
    record_audit(
        work, action=action, patients=[instruction.patient_id], subject_type="review", subject_id=review.id
    )
