"""Pages of the service centre's instructions: the list with its exceptions, and one instruction with its story."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Annotated, Any

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import StringConstraints

from hcrm.archive.reach.caution import caution_of
from hcrm.centre import instructions, queries
from hcrm.centre.classification_rules import Axis
from hcrm.centre.models import OPEN_STATES, Instruction, InstructionState, Outcome
from hcrm.centre.protocols import StepChannel
from hcrm.centre.published import published_protocols, published_step
from hcrm.centre.queries import InstructionFilter
from hcrm.contact_log.queries import list_attempts
from hcrm.core.errors import HcrmError
from hcrm.core.inputs import Input, read_input
from hcrm.core.work import Work
from hcrm.directory.queries import list_departments
from hcrm.forms.queries import list_responses, load_form
from hcrm.forms.render import answer_lines
from hcrm.web.shell import console_work, flash, form_errors, require

bp = Blueprint("centre", __name__, url_prefix="/instructions")
TONES = {
    InstructionState.ISSUED: "open", InstructionState.ACCEPTED: "work", InstructionState.IN_PROGRESS: "work",
    InstructionState.IN_REVIEW: "near", InstructionState.COMPLETED: "done", InstructionState.RETURNED: "late",
    InstructionState.WITHDRAWN: "off", InstructionState.EXPIRED: "off",
    InstructionState.MISSED: "off",
}  # fmt: skip
"""How each state looks in a list."""
SUBJECT = "instruction"
KEPT_FILTERS = (
    "state", "assignee", "encounter", "outcome", "due_from", "due_until", "in_window", "overdue", "exception",
)  # fmt: skip
"""Filters without a field of their own in the form: other pages' figures open the list with them."""
FILTERS = (*KEPT_FILTERS, "department", "protocol")
"""What an address may narrow the list by."""


class ReasonInput(Input):
    """Why an instruction is returned or withdrawn."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)]


class ReassignInput(Input):
    """Who is to carry it out."""

    practitioner_id: Annotated[str, StringConstraints(min_length=1, max_length=32)]


@bp.get("")
@require("instruction.read", audit="instruction.list")
def list_instructions() -> ResponseReturnValue:
    """Instructions by due date; the address holds the filters."""
    args = request.args
    asked = any(args.get(name) for name in FILTERS)
    # Opened from the menu it shows what is still to be done; any filter in the address speaks for itself.
    state = args.get("state", "") if asked else "open"
    wanted = InstructionFilter(
        states=_states(state),
        department_id=args.get("department") or None,
        assignee_id=args.get("assignee") or None,
        encounter_id=args.get("encounter") or None,
        protocol_code=args.get("protocol") or None,
        outcome=_outcome(args.get("outcome", "")),
        due_from=_day(args.get("due_from", "")),
        due_until=_day(args.get("due_until", "")),
        is_done_in_window=args.get("in_window") == "1",
        is_overdue=args.get("overdue") == "1",
        is_exception=args.get("exception") == "1",
    )
    elsewhere = replace(wanted, states=(), is_overdue=False, is_exception=False)
    with console_work() as work:
        page = queries.list_instructions(work, wanted=wanted, key=args.get("key"))
        counts = queries.count_by_state(work, wanted=elsewhere)
        count = queries.count_instructions(work, wanted=wanted)
        exceptions = queries.count_instructions(work, wanted=replace(elsewhere, is_exception=True))
        overdue = queries.count_instructions(work, wanted=replace(elsewhere, is_overdue=True))
        departments = list_departments(work)
        protocols = [(protocol.code, protocol.title) for protocol in published_protocols(work)]
    return render_template(
        "centre/list.html", page=page, counts=counts, count=count, exceptions=exceptions, overdue=overdue,
        departments=departments, protocols=protocols, states=InstructionState, tones=TONES,
        channels=StepChannel, open_states=OPEN_STATES,
        filters=FILTERS, is_filtered=asked and state != "all", shown_state=state,
        open_count=sum(counts.get(each, 0) for each in OPEN_STATES),
    )  # fmt: skip


@bp.get("/<instruction_id>")
@require("instruction.read", audit="instruction.read")
def show_instruction(instruction_id: str) -> ResponseReturnValue:
    """One instruction: what, why, whose, and what became of it."""
    return _instruction_page(instruction_id)


@bp.post("/<instruction_id>/accept")
@require("followup.write", audit="instruction.accept")
def accept_instruction(instruction_id: str) -> ResponseReturnValue:
    """Say "I take it"."""
    with console_work() as work:
        instructions.accept_instruction(work, instruction_id=instruction_id)
    flash("已接收随访指令", "success")
    return _back(instruction_id)


@bp.post("/<instruction_id>/return")
@require("followup.write", audit="instruction.return")
def return_instruction(instruction_id: str) -> ResponseReturnValue:
    """Give it back to the centre, with the reason."""
    try:
        entered = read_input(ReasonInput, {"reason": request.form.get("reason", "")})
        with console_work() as work:
            instructions.return_instruction(work, instruction_id=instruction_id, reason=entered.reason)
    except HcrmError as error:
        return _refused(instruction_id, "return", error)
    flash("已退回服务中心", "success")
    return _back(instruction_id)


@bp.post("/<instruction_id>/withdraw")
@require("instruction.withdraw", audit="instruction.withdraw")
def withdraw_instruction(instruction_id: str) -> ResponseReturnValue:
    """Take it back by hand, with the reason."""
    try:
        entered = read_input(ReasonInput, {"reason": request.form.get("reason", "")})
        with console_work() as work:
            instructions.withdraw_instruction(work, instruction_id=instruction_id, reason=entered.reason)
    except HcrmError as error:
        return _refused(instruction_id, "withdraw", error)
    flash("已撤回随访指令", "success")
    return _back(instruction_id)


@bp.post("/<instruction_id>/reassign")
@require("instruction.reassign", audit="instruction.reassign")
def reassign_instruction(instruction_id: str) -> ResponseReturnValue:
    """Give it to another physician."""
    try:
        entered = read_input(ReassignInput, {"practitioner_id": request.form.get("practitioner_id", "")})
        with console_work() as work:
            instructions.reassign_instruction(
                work, instruction_id=instruction_id, practitioner_id=entered.practitioner_id
            )
    except HcrmError as error:
        return _refused(instruction_id, "reassign", error)
    flash("已改派", "success")
    return _back(instruction_id)


# ── the common steps ────────────────────────────────────────────────────────


def _back(instruction_id: str) -> ResponseReturnValue:
    return redirect(url_for("centre.show_instruction", instruction_id=instruction_id), 303)


def _refused(instruction_id: str, act: str, error: HcrmError) -> ResponseReturnValue:
    """The page again, the text kept beside what was wrong with it."""
    if error.status not in (409, 422):
        raise error
    return _instruction_page(instruction_id, act=act, errors=form_errors(error), status=error.status)


def _instruction_page(
    instruction_id: str, *, act: str = "", errors: Mapping[str, str] | None = None, status: int = 200
) -> ResponseReturnValue:
    with console_work(write=False) as work:
        found = queries.get_instruction(work, instruction_id=instruction_id)
        instruction: Instruction = found.Instruction
        words: dict[str, Any] = {
            "history": queries.list_history(work, instruction_id=instruction.id),
            "classes": queries.list_classifications(work, encounter_ids=[instruction.encounter_id]).get(
                instruction.encounter_id, ()
            ),
            "step": published_step(
                work, protocol_code=instruction.protocol_code, version=instruction.protocol_version,
                step_code=instruction.step_code,
            ),
            "attempts": list_attempts(work, subject_type=SUBJECT, subject_id=instruction.id),
            "told": _answers(work, instruction),
            "practitioners": queries.list_assignable(work),
            "caution": caution_of(work, found.Patient),
        }  # fmt: skip
    return render_template(
        "centre/show.html", found=found, instruction=instruction, patient=found.Patient, act=act,
        errors=errors or {}, sent=request.form, tones=TONES, channel=StepChannel(instruction.channel), axes=Axis,
        is_open=instruction.state in OPEN_STATES,
        is_recordable=instruction.state in instructions.RECORDABLE_STATES,
        is_returned=instruction.state is InstructionState.RETURNED,
        **words,
    ), status  # fmt: skip


def _answers(work: Work, instruction: Instruction) -> list[tuple[Any, Any]]:
    """Every submitted form with its answers in words, the latest first."""
    return [
        (
            response,
            answer_lines(
                load_form(work, code=response.form_code, version=response.form_version), response.answers
            ),
        )
        for response in list_responses(work, subject_type=SUBJECT, subject_ids=[instruction.id])
    ]


def _states(value: str) -> tuple[InstructionState, ...]:
    if value == "open":
        return OPEN_STATES
    if value == "standing":
        return tuple(state for state in InstructionState if state is not InstructionState.WITHDRAWN)
    return (InstructionState(value),) if value in {state.value for state in InstructionState} else ()


def _outcome(value: str) -> Outcome | None:
    return Outcome(value) if value in {outcome.value for outcome in Outcome} else None


def _day(value: str) -> date | None:
    """A date of the address; one that is none narrows nothing."""
    try:
        return date.fromisoformat(value) if value else None
    except ValueError:
        return None
