"""Carrying an instruction out: attempts, drafts, and the record that ends it.

A page is given a key (`record_id`) before anything is saved. What is recorded under it is recorded once: a doubled
click, a resend after a lost answer and the back button come to the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from followup.alerts import count_of_instruction, raise_alerts, supersede_alerts
from followup.models import ReviewCause
from followup.review import ask_review, choose_review
from hcrm.archive.death import report_death
from hcrm.audit.service import record_audit
from hcrm.centre.instructions import (
    finish_instruction,
    require_recordable,
    start_instruction,
    take_instruction,
)
from hcrm.centre.models import Instruction, Outcome
from hcrm.contact_log.models import Channel, ContactEntry, ContactResult
from hcrm.contact_log.service import record_contact
from hcrm.core.errors import ConflictError, HcrmError, NotFoundError
from hcrm.core.work import Work
from hcrm.forms.answers import Raw
from hcrm.forms.models import Response
from hcrm.forms.scoring import RaisedFlag
from hcrm.forms.service import SavedDraft, Subject, Submitted, close_draft, save_draft, submit_response

SUBJECT = "instruction"
"""`subject_type` of everything done for an instruction."""

UNREACHED = (
    ContactResult.NO_ANSWER,
    ContactResult.BUSY,
    ContactResult.WRONG_NUMBER,
    ContactResult.INVALID_NUMBER,
)
"""Results of an attempt that reached nobody; the instruction stays open."""

RESULTS: Mapping[Outcome, Sequence[ContactResult]] = {
    Outcome.REACHED: (ContactResult.REACHED, ContactResult.RELATIVE),
    Outcome.REFUSED: (ContactResult.REFUSED,),
    Outcome.LOST: UNREACHED,
    Outcome.DIED: (ContactResult.DECEASED,),
}
"""Which contact can have come to which outcome."""

REPEAT_SECONDS = 60
"""The same attempt of the same person within this time is a slip, not a second call."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a record came to. `is_new` False: it was recorded before, and this was its echo.

    `waiting` is how many red flags of the instruction wait now, those of an earlier record included.
    """

    instruction: Instruction
    response_id: str | None
    flags: Sequence[RaisedFlag]
    review: ReviewCause | None
    waiting: int
    is_new: bool = True


def record_followup(
    work: Work,
    *,
    instruction_id: str,
    record_id: str,
    outcome: Outcome,
    result: ContactResult,
    channel: Channel,
    answers: Mapping[str, Raw],
    version: int = 0,
    note: str | None = None,
    number: str = "",
) -> Recorded:
    """Record the follow-up and end the instruction, or put it before the department head.

    Reached, every required item must be answered; refused, lost or died, what was answered so far is kept.
    `version` is that of the draft the page was opened with, 0 for none; `number` the one that was called.
    """
    instruction = take_instruction(work, instruction_id=instruction_id)
    is_echo = _was_recorded(work, instruction, record_id)
    if is_echo:
        _require_same_record(work, instruction, record_id, outcome, answers)
    else:
        require_recordable(instruction)
        _require_consistent(outcome, result)
    submitted: Submitted | None
    if outcome is Outcome.REACHED or _has_answers(answers):
        submitted = submit_response(
            work, subject=subject_of(instruction), response_id=record_id, version=version, raw=answers, note=note,
            partial=outcome is not Outcome.REACHED,
        )  # fmt: skip
    else:
        submitted = close_draft(work, subject=subject_of(instruction))
    response_id = submitted.response.id if submitted else None
    flags = submitted.flags if submitted else ()
    review = choose_review(instruction, outcome=outcome, has_flags=bool(flags))
    if is_echo:
        waiting = count_of_instruction(work, instruction_id=instruction.id)
        return Recorded(instruction, response_id, flags, review, waiting, is_new=False)
    _log_contact(work, instruction, record_id, result, channel, note, number)
    if response_id is not None:
        raise_alerts(work, instruction=instruction, response_id=response_id, flags=flags)
    if outcome is Outcome.REACHED:  # a talk that was broken off, or never held, takes nothing back
        supersede_alerts(work, instruction=instruction, flags=flags)
    if review is not None:
        ask_review(work, instruction=instruction, response_id=response_id, cause=review)
    finish_instruction(
        work, instruction=instruction, outcome=outcome, done_at=work.clock.now(), in_review=review is not None
    )
    if outcome is Outcome.DIED:
        report_death(work, patient_id=instruction.patient_id)
    _audit(work, instruction, "followup.record", outcome=outcome.value)
    waiting = count_of_instruction(work, instruction_id=instruction.id)
    return Recorded(instruction, response_id, flags, review, waiting)


def record_attempt(
    work: Work,
    *,
    instruction_id: str,
    record_id: str,
    result: ContactResult,
    channel: Channel,
    note: str | None = None,
    number: str = "",
) -> Instruction:
    """Log a call that reached nobody; the instruction stays open, 执行中. The same again at once is refused.

    `number` is the one that was dialled (`contact:` or `related:` and its key): found empty or wrong, it is
    unverified from now on (C33).
    """
    instruction = take_instruction(work, instruction_id=instruction_id)
    if result not in UNREACHED:
        raise HcrmError("followup.result", "已联系上的请登记随访结果", field="result")
    if _was_recorded(work, instruction, record_id):
        return instruction
    require_recordable(instruction)
    _require_no_repeat(work, instruction, result, channel)
    start_instruction(work, instruction=instruction)
    _log_contact(work, instruction, record_id, result, channel, note, number)
    _audit(work, instruction, "followup.attempt", result=result.value)
    return instruction


def save_followup_draft(
    work: Work,
    *,
    instruction_id: str,
    record_id: str,
    answers: Mapping[str, Raw],
    version: int = 0,
    note: str | None = None,
) -> SavedDraft:
    """Keep what was filled in so far; the instruction is 执行中 from now on."""
    instruction = take_instruction(work, instruction_id=instruction_id)
    require_recordable(instruction)
    start_instruction(work, instruction=instruction)
    return save_draft(
        work, subject=subject_of(instruction), response_id=record_id, version=version, raw=answers, note=note
    )


def subject_of(instruction: Instruction) -> Subject:
    """The instruction as what a form is answered for."""
    return Subject(
        type=SUBJECT, id=instruction.id, patient_id=instruction.patient_id,
        encounter_id=instruction.encounter_id, form_code=instruction.form_code,
        form_version=instruction.form_version,
    )  # fmt: skip


def _has_answers(answers: Mapping[str, Raw]) -> bool:
    return any(map(_is_filled, answers.values()))


def _is_filled(raw: Raw) -> bool:
    return bool(raw.strip()) if isinstance(raw, str) else any(one.strip() for one in raw)


def _was_recorded(work: Work, instruction: Instruction, record_id: str) -> bool:
    """Whether this very act was recorded before; the key of another subject's act is nobody's."""
    before = work.session.get(ContactEntry, record_id)
    if before is None:
        return False
    if (before.subject_type, before.subject_id) != (SUBJECT, instruction.id):
        raise NotFoundError
    return True


def _require_same_record(
    work: Work, instruction: Instruction, record_id: str, outcome: Outcome, answers: Mapping[str, Raw]
) -> None:
    """What is sent again must be what was recorded; whether the answers are equal is the form's question."""
    had_form = work.session.get(Response, record_id) is not None
    if instruction.outcome is not outcome or (_has_answers(answers) and not had_form):
        raise ConflictError("followup.recorded", "这次随访已登记，之后的修改没有保存")


def _require_no_repeat(work: Work, instruction: Instruction, result: ContactResult, channel: Channel) -> None:
    since = work.clock.now() - timedelta(seconds=REPEAT_SECONDS)
    is_repeat = work.scalar(
        sa.select(
            sa.exists().where(
                ContactEntry.subject_type == SUBJECT,
                ContactEntry.subject_id == instruction.id,
                ContactEntry.actor_id == work.actor.id,
                ContactEntry.result == result,
                ContactEntry.channel == channel,
                ContactEntry.happened_at > since,
            )
        )
    )
    if is_repeat:
        raise HcrmError(
            "followup.repeated",
            f"一分钟内已记录过“{result.label}”，没有重复登记；确实又联系了一次，请稍后再记",
            field="result",
        )


def _require_consistent(outcome: Outcome, result: ContactResult) -> None:
    if result not in RESULTS[outcome]:
        raise HcrmError("followup.result", f"“{result.label}”与随访结果“{outcome.label}”不符", field="result")


def _log_contact(
    work: Work, instruction: Instruction, record_id: str, result: ContactResult, channel: Channel,
    note: str | None, number: str,
) -> None:  # fmt: skip
    record_contact(
        work, entry_id=record_id, patient_id=instruction.patient_id, encounter_id=instruction.encounter_id,
        channel=channel, result=result, note=note, subject_type=SUBJECT, subject_id=instruction.id,
        number=number,
    )  # fmt: skip


def _audit(work: Work, instruction: Instruction, action: str, **detail: str) -> None:
    record_audit(
        work, action=action, patients=[instruction.patient_id], subject_type=SUBJECT,
        subject_id=instruction.id, detail=detail,
    )  # fmt: skip
