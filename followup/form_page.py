"""What the work page of one instruction shows, read in one work. No request in here: the view says what was typed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError

from followup import alerts, review, worklist
from followup.models import Alert, Review, ReviewState
from followup.queries import CallFacts, find_last_response, get_response, get_review, load_facts
from followup.station import SUBJECT
from hcrm.archive.reach.caution import Caution, caution_of
from hcrm.centre.instructions import RECORDABLE_STATES
from hcrm.centre.models import Instruction, Outcome
from hcrm.centre.protocols import StepChannel
from hcrm.centre.queries import get_instruction
from hcrm.contact_log.models import Channel, ContactEntry, ContactResult
from hcrm.contact_log.queries import list_attempts
from hcrm.core.inputs import Input
from hcrm.core.work import Work
from hcrm.forms.answers import Answered, Raw, read_answers
from hcrm.forms.definition import Questionnaire
from hcrm.forms.models import Response
from hcrm.forms.queries import find_draft, list_responses, load_form
from hcrm.forms.render import (
    AnswerLine,
    FormField,
    answer_lines,
    flags_by_code,
    form_fields,
    sent_answers,
    typed_answers,
    typed_lines,
)
from hcrm.forms.scoring import RaisedFlag, raise_flags

QUEUE_SIZE = 12
_FORMS = ("followup.record_followup", "followup.save_draft")
_CHANNELS = {StepChannel.PHONE: Channel.PHONE}


class _Base(Input):
    answers: dict[str, str | list[str]]
    note: str


@dataclass(frozen=True, slots=True)
class Typed:
    """The form as it stands on the page: a draft, or what was just sent and could not be taken."""

    record_id: str
    version: int = 0
    answers: Mapping[str, Raw] = field(default_factory=dict)
    outcome: str = Outcome.REACHED.value
    heard: str = ContactResult.REACHED.value  # who answered
    missed: str = ContactResult.NO_ANSWER.value  # how the last attempt ended
    channel: str = ""
    number: str = ""  # that was called
    note: str = ""
    confirm_death: str = ""
    base: str = ""  # what the page was opened on (`base_of`); empty: not known
    saved_at: datetime | None = None  # when the draft was saved
    is_sent_back: bool = False  # filled with the answers of the record that was sent back


@dataclass(frozen=True, slots=True)
class Told:
    """One submitted form of the instruction, for reading."""

    response: Response
    lines: Sequence[AnswerLine]


@dataclass(frozen=True, slots=True)
class FormPage:
    """Everything on the page. `typed` is None where nothing can be recorded any more."""

    found: sa.Row[Any]
    form: Questionnaire
    facts: CallFacts
    queue: Sequence[Any]
    next_id: str | None
    attempts: Sequence[ContactEntry]
    attempt_id: str
    told: Sequence[Told]
    last: Told | None
    alerts: Sequence[Alert]
    reviews: Sequence[Review]
    typed: Typed | None
    fields: Sequence[FormField]
    flags: Mapping[str, Sequence[RaisedFlag]]
    standing_note: str  # what somebody else noted meanwhile
    original_note: str  # beside it: the note both began with
    base: str  # what the page stands on now
    caution: Caution

    @property
    def instruction(self) -> Instruction:
        """The instruction itself."""
        instruction: Instruction = self.found.Instruction
        return instruction


def load_form_page(
    work: Work,
    *,
    instruction_id: str,
    typed: Typed | None = None,
    errors: Mapping[str, str] | None = None,
    standing: Answered | None = None,
) -> FormPage:
    """Read the page. Without `typed` the draft fills the form, or what was sent back, or nothing."""
    found = get_instruction(work, instruction_id=instruction_id)
    instruction: Instruction = found.Instruction
    form = load_form(work, code=instruction.form_code, version=instruction.form_version)
    responses = list_responses(work, subject_type=SUBJECT, subject_ids=[instruction.id])
    last = find_last_response(work, instruction)
    if instruction.state in RECORDABLE_STATES:
        typed = typed or _from_draft(work, instruction, responses)
    else:
        typed = None
    answers: Mapping[str, Raw] = typed.answers if typed else {}
    base, base_note = _read_base(form, typed)
    mine = is_mine(work, instruction)
    caution = caution_of(work, found.Patient)
    standing_note = _standing_note(work, instruction, typed) if standing is not None else ""
    return FormPage(
        found=found,
        form=form,
        facts=load_facts(work, instruction),
        queue=worklist.list_due(work, mine=mine, size=QUEUE_SIZE).items,
        next_id=worklist.find_next(work, after=instruction.id, mine=mine),
        attempts=list_attempts(work, subject_type=SUBJECT, subject_id=instruction.id),
        attempt_id=work.new_id(),
        told=[_tell(work, response) for response in responses],
        last=_tell(work, last) if last else None,
        alerts=alerts.list_for_instruction(work, instruction_id=instruction.id),
        reviews=review.list_reviews(work, instruction_id=instruction.id),
        typed=typed,
        fields=form_fields(
            form, answers, errors or {}, standing, base, is_discreet=caution.disclosure.is_confidential
        )
        if typed
        else (),
        flags=flags_by_code(judge(form, answers)),
        standing_note=standing_note,
        original_note=base_note if standing_note else "",
        base=_standing_base(work, instruction) if standing is not None else typed.base if typed else "",
        caution=caution,
    )


def base_of(answers: Answered, note: str | None) -> str:
    """A draft as a page carries it, so that a conflict can show what both began with."""
    return json.dumps({"answers": typed_answers(answers), "note": note or ""}, ensure_ascii=False)


def list_typed(work: Work, *, instruction_id: str, typed: Typed) -> list[tuple[str, str]]:
    """What was typed, in words, to be copied where it could not be saved."""
    instruction = get_instruction(work, instruction_id=instruction_id).Instruction
    form = load_form(work, code=instruction.form_code, version=instruction.form_version)
    note = typed.note.strip()
    return [*typed_lines(form, typed.answers), *([("备注", note)] if note else [])]


def name_typed(
    work: Work, endpoint: str, values: Mapping[str, Any], fields: list[tuple[str, str]]
) -> list[tuple[str, str]] | None:
    """What a form of an instruction held, in words, for whoever may see the instruction (`hcrm.web.shell`)."""
    if endpoint not in _FORMS or not work.actor.may("followup.write"):
        return None
    sent: dict[str, list[str]] = {}
    for name, value in fields:
        sent.setdefault(name, []).append(value)
    typed = Typed("", answers=sent_answers(sent.items()), note=sent.get("note", [""])[0])
    return list_typed(work, instruction_id=values["instruction_id"], typed=typed)


def judge(form: Questionnaire, typed: Mapping[str, Raw]) -> Sequence[RaisedFlag]:
    """The red flags of what stands in the fields, as far as it can be read."""
    return raise_flags(form, read_answers(form, typed, draft=True).values)


def is_mine(work: Work, instruction: Instruction) -> bool:
    """Which list the instruction is worked off from: the actor's own, or everybody's."""
    owner = instruction.assignee_id
    return owner is not None and owner == work.actor.practitioner_id


def contact_channel(step_channel: str) -> Channel:
    """How the contact of a step is logged unless somebody says otherwise."""
    return _CHANNELS.get(StepChannel(step_channel), Channel.VISIT)


def contact_result(outcome: str, *, heard: str, missed: str) -> str:
    """What kind of contact it was: it follows from the outcome, or from the choice beside it."""
    results: dict[str, str] = {
        Outcome.REACHED: heard,
        Outcome.LOST: missed,
        Outcome.REFUSED: ContactResult.REFUSED,
        Outcome.DIED: ContactResult.DECEASED,
    }
    return results.get(outcome, "")


@dataclass(frozen=True, slots=True)
class ReviewPage:
    """One record before the department head. `told` is None where nothing was answered."""

    review: Review
    found: sa.Row[Any]
    told: Told | None
    attempts: Sequence[ContactEntry]
    alerts: Sequence[Alert]  # of this record, not of one that was sent back before
    earlier: Sequence[Review]  # what was sent back before


def load_review_page(work: Work, *, review_id: str) -> ReviewPage:
    """The record, why it was chosen, and what else was found."""
    asked, found = get_review(work, review_id=review_id)
    key = asked.instruction_id
    response = get_response(work, instruction_id=key, response_id=asked.response_id)
    return ReviewPage(
        review=asked,
        found=found,
        told=_tell(work, response) if response else None,
        attempts=list_attempts(work, subject_type=SUBJECT, subject_id=key),
        alerts=[
            alert
            for alert in alerts.list_for_instruction(work, instruction_id=key)
            if alert.response_id == asked.response_id
        ],
        earlier=[
            each
            for each in review.list_reviews(work, instruction_id=key)
            if each.state is ReviewState.SENT_BACK and (each.asked_at, each.id) < (asked.asked_at, asked.id)
        ],
    )


def _standing_note(work: Work, instruction: Instruction, typed: Typed | None) -> str:
    draft = find_draft(work, subject_type=SUBJECT, subject_id=instruction.id)
    note = (draft.note if draft else None) or ""
    return "" if typed is None or note == typed.note.strip() else note or "未填写"


def _standing_base(work: Work, instruction: Instruction) -> str:
    draft = find_draft(work, subject_type=SUBJECT, subject_id=instruction.id)
    return base_of(draft.answers, draft.note) if draft else ""


def _read_base(form: Questionnaire, typed: Typed | None) -> tuple[Answered | None, str]:
    """The answers and the note a page says it was opened on; it may say anything, so they are read as if typed."""
    try:
        carried = _Base.model_validate_json(typed.base if typed else "")
    except ValidationError:
        return None, ""
    return read_answers(form, carried.answers, draft=True).values, carried.note or "未填写"


def _from_draft(work: Work, instruction: Instruction, responses: Sequence[Response]) -> Typed:
    """The draft; without one what was submitted last, which was sent back; otherwise nothing."""
    channel = contact_channel(instruction.channel).value
    draft = find_draft(work, subject_type=SUBJECT, subject_id=instruction.id)
    if draft is None and responses:
        last = responses[0]
        return Typed(
            work.new_id(), answers=typed_answers(last.answers), channel=channel, note=last.note or "",
            base=base_of(last.answers, last.note), is_sent_back=True,
        )  # fmt: skip
    if draft is None:
        return Typed(work.new_id(), channel=channel, base=base_of({}, None))
    return Typed(
        draft.id, draft.version, typed_answers(draft.answers), channel=channel, note=draft.note or "",
        base=base_of(draft.answers, draft.note), saved_at=draft.saved_at,
    )  # fmt: skip


def _tell(work: Work, response: Response) -> Told:
    form = load_form(work, code=response.form_code, version=response.form_version)
    return Told(response, answer_lines(form, response.answers))
