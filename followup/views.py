"""Pages of the station: today's list, the form of one patient, red flags, reviews."""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from jinja2_fragments.flask import render_block

from followup import alerts, queries, review, station, words, worklist
from followup.form_page import (
    Typed,
    base_of,
    contact_channel,
    is_mine,
    judge,
    list_typed,
    load_form_page,
    load_review_page,
)
from followup.inputs import AttemptInput, DraftInput, FollowupInput, HandlingInput, ReviewInput
from followup.sent import draft_values, outcome_values, typed_again
from followup.worklist import Section
from hcrm.archive.models import Patient
from hcrm.archive.reach.caution import caution_of
from hcrm.archive.reach.disclosure import disclosure_of
from hcrm.archive.reach.preference import preferences_of
from hcrm.centre.models import Instruction, Outcome
from hcrm.centre.protocols import StepChannel
from hcrm.centre.queries import get_instruction
from hcrm.contact_log.models import Channel
from hcrm.contact_log.queries import list_attempts
from hcrm.core.clock import local_time
from hcrm.core.errors import ConflictError, HcrmError
from hcrm.core.inputs import read_input
from hcrm.core.work import Work
from hcrm.directory.rosters import on_duty
from hcrm.forms.answers import Answered
from hcrm.forms.queries import load_form
from hcrm.forms.render import (
    PREFIX,
    field_labels,
    flagged_codes,
    flags_by_code,
    sent_answers,
)
from hcrm.forms.service import DraftConflictError
from hcrm.web.shell import console_work, flash, form_errors, require

bp = Blueprint("followup", __name__)


@bp.app_context_processor
def station_words() -> dict[str, Any]:
    """Tones and words the station's templates share."""
    return words.SHARED


# ── today ───────────────────────────────────────────────────────────────────


@bp.get("/today")
@require("followup.write", audit="worklist.read")
def today() -> ResponseReturnValue:
    """Who is to be followed up now."""
    mine = _mine(g.actor.practitioner_id is not None)
    section = _member(Section, "section")
    with console_work() as work:
        page = worklist.list_due(work, mine=mine, section=section, key=request.args.get("key"))
        counts = worklist.count_due(work, mine=mine)
        phones = queries.first_phones(work, [row.Instruction.patient_id for row in page.items])
        marks = disclosure_of(work, [row.Instruction.patient_id for row in page.items])
        wishes = preferences_of(work, [row.Instruction.patient_id for row in page.items])
        red = queries.count_waiting_alerts(work) if g.actor.may("alert.handle") else None
    return render_template(
        "followup/today.html", page=page, counts=counts, phones=phones, marks=marks, wishes=wishes, mine=mine,
        section=section, sections=Section, tones=words.SECTION_TONES, channels=StepChannel, red=red,
    )  # fmt: skip


# ── the form of one patient ─────────────────────────────────────────────────


@bp.get("/instructions/<instruction_id>/form")
@require("followup.write", audit="instruction.read")
def show_form(instruction_id: str) -> ResponseReturnValue:
    """The work page of one instruction."""
    return _form_page(instruction_id)


@bp.post("/instructions/<instruction_id>/form")
@require("followup.write", audit="followup.record")
def record_followup(instruction_id: str) -> ResponseReturnValue:
    """Record the follow-up and open the next patient."""
    try:
        entered = read_input(FollowupInput, {**draft_values(request.form), **outcome_values(request.form)})
        with console_work() as work:
            following = _next_of(work, instruction_id)
            values = entered.model_dump(exclude={"confirm_death"})
            recorded = station.record_followup(work, instruction_id=instruction_id, **values)
            said = words.recorded_words(recorded)
    except HcrmError as error:
        return _refused(instruction_id, error)
    flash(*said)
    if following is None:
        flash("今天的随访都做完了", "success")
        return redirect(url_for("followup.today"), 303)
    return redirect(url_for("followup.show_form", instruction_id=following), 303)


@bp.post("/instructions/<instruction_id>/draft")
@require("followup.write", audit="response.save")
def save_draft(instruction_id: str) -> ResponseReturnValue:
    """Keep what was filled in so far: quietly while somebody types, or by the button."""
    quiet = request.headers.get("HX-Request") == "true"
    try:
        entered = read_input(DraftInput, draft_values(request.form))
        with console_work() as work:
            saved = station.save_followup_draft(
                work, instruction_id=instruction_id, record_id=entered.record_id, version=entered.version,
                answers=entered.answers, note=entered.note,
            )  # fmt: skip
            at = local_time(work.clock.now())
        base = base_of(saved.answers.values, entered.note)
    except HcrmError as error:
        if quiet and error.status in (409, 422):
            return render_template("followup/_draft.html", refusal=error.message), error.status
        return _refused(instruction_id, error)
    if quiet:
        return render_template("followup/_draft.html", saved=saved, at=at, base=base)
    if saved.answers.errors:
        notice = "草稿已保存，标出的答案读不懂，没有保存"
        return _form_page(
            instruction_id, typed=typed_again(request.form, version=saved.version, base=base),
            errors=saved.answers.errors, notice=notice, status=422,
        )  # fmt: skip
    return redirect(url_for("followup.show_form", instruction_id=instruction_id), 303)


@bp.post("/instructions/<instruction_id>/attempts")
@require("followup.write", audit="followup.attempt")
def record_attempt(instruction_id: str) -> ResponseReturnValue:
    """A call that reached nobody."""
    entered = read_input(
        AttemptInput,
        {name: request.form.get(name, "") for name in ("record_id", "result", "channel", "number")},
    )
    quiet = request.headers.get("HX-Request") == "true"
    said, tone, status = f"已记录：{entered.result.label}", "success", 200
    try:
        with console_work() as work:
            station.record_attempt(
                work, instruction_id=instruction_id, record_id=entered.record_id, result=entered.result,
                channel=entered.channel, number=entered.number,
            )  # fmt: skip
    except HcrmError as error:
        if error.status != 422:
            raise
        said, tone, status = error.message, "warning", error.status
    if quiet:
        return _attempts(instruction_id, said=said, tone=tone), status
    if status == 422:
        return _form_page(instruction_id, notice=said, status=status)
    flash(said, tone)
    return redirect(url_for("followup.show_form", instruction_id=instruction_id), 303)


@bp.post("/forms/<code>/<int(max=2147483647):version>/flags")
@require("followup.write", audit="none:judges typed answers and knows of no patient")
def judge_answers(code: str, version: int) -> ResponseReturnValue:
    """The red flags of what stands in the fields, for the places beside them."""
    with console_work(write=False) as work:
        form = load_form(work, code=code, version=version)
    flags = flags_by_code(judge(form, sent_answers(request.form.lists())))
    return render_template("forms/flags.html", codes=sorted(flagged_codes(form)), flags=flags)


# ── red flags ───────────────────────────────────────────────────────────────


@bp.get("/alerts")
@require("alert.handle", audit="alert.list")
def list_alerts() -> ResponseReturnValue:
    """Red flags that wait."""
    mine = _mine(queries.has_own_list(g.actor))
    with console_work() as work:
        page = alerts.list_open(work, mine=mine, key=request.args.get("key"))
        count = alerts.count_open(work, mine=mine)
    return render_template("followup/alerts.html", page=page, count=count, mine=mine)


@bp.get("/alerts/<alert_id>")
@require("alert.handle", audit="alert.read")
def show_alert(alert_id: str) -> ResponseReturnValue:
    """One red flag: what raised it, whom to call, what was done."""
    return _alert_page(alert_id)


@bp.post("/alerts/<alert_id>/acknowledge")
@require("alert.handle", audit="alert.acknowledge")
def acknowledge_alert(alert_id: str) -> ResponseReturnValue:
    """Say "I know"."""
    with console_work() as work:
        alerts.acknowledge_alert(work, alert_id=alert_id)
    flash("已知悉，处置后请登记处置情况", "success")
    return redirect(url_for("followup.show_alert", alert_id=alert_id), 303)


@bp.post("/alerts/<alert_id>/handle")
@require("alert.handle", audit="alert.handle")
def handle_alert(alert_id: str) -> ResponseReturnValue:
    """Close it with what was done."""
    text = request.form.get("handling", "")
    try:
        entered = read_input(HandlingInput, {"handling": text})
        with console_work() as work:
            alerts.handle_alert(work, alert_id=alert_id, handling=entered.handling)
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        return _alert_page(alert_id, text=text, errors=form_errors(error), status=error.status)
    flash("预警已处置", "success")
    return redirect(url_for("followup.list_alerts"), 303)


# ── reviews ─────────────────────────────────────────────────────────────────


@bp.get("/reviews")
@require("review.write", audit="review.list")
def list_reviews() -> ResponseReturnValue:
    """Records that wait for the department head."""
    with console_work() as work:
        page = review.list_waiting(work, key=request.args.get("key"))
        count = review.count_waiting(work)
    return render_template("followup/reviews.html", page=page, count=count)


@bp.get("/reviews/<review_id>")
@require("review.write", audit="review.read")
def show_review(review_id: str) -> ResponseReturnValue:
    """One record, why it was chosen, and the decision."""
    return _review_page(review_id)


@bp.post("/reviews/<review_id>/approve")
@require("review.write", audit="review.approve")
def approve_followup(review_id: str) -> ResponseReturnValue:
    """The record stands."""
    return _decide(review_id, review.approve_followup, "审核通过")


@bp.post("/reviews/<review_id>/send-back")
@require("review.write", audit="review.send_back")
def send_back_followup(review_id: str) -> ResponseReturnValue:
    """The follow-up is to be done again."""
    return _decide(review_id, review.send_back_followup, "已退回重做")


@bp.get("/instructions/<instruction_id>/findings")
@require("instruction.read", audit="instruction.read")
def show_findings(instruction_id: str) -> ResponseReturnValue:
    """Red flags and reviews of an instruction: a part of its page, or a page of its own."""
    with console_work() as work:
        found = get_instruction(work, instruction_id=instruction_id)
        parts = {
            "instruction": found.Instruction,
            "alerts_of": alerts.list_for_instruction(work, instruction_id=instruction_id),
            "reviews": review.list_reviews(work, instruction_id=instruction_id),
        }
    if request.headers.get("HX-Request") == "true":
        return render_block("followup/findings.html", "content", **parts)
    return render_template("followup/findings.html", **parts)


# ── the common steps ────────────────────────────────────────────────────────


def _form_page(
    instruction_id: str,
    *,
    typed: Typed | None = None,
    errors: Mapping[str, str] | None = None,
    standing: Answered | None = None,
    notice: str = "",
    kept: list[tuple[str, str]] | None = None,
    status: int = 200,
) -> ResponseReturnValue:
    errors = errors or {}
    with console_work(write=False) as work:
        page = load_form_page(
            work, instruction_id=instruction_id, typed=typed, errors=errors, standing=standing
        )
    codes = page.form.by_code
    return render_template(
        "followup/form.html", page=page, found=page.found, instruction=page.instruction,
        patient=page.found.Patient, typed=page.typed, caution=page.caution,
        errors={PREFIX + name if name in codes else name: text for name, text in errors.items()},
        labels={**words.LABELS, **field_labels(page.form)}, notice=notice, kept=kept or [],
        is_conflict=standing is not None, channels=words.pairs(Channel), outcomes=Outcome, results=station.UNREACHED,
        heard=words.pairs(station.RESULTS[Outcome.REACHED]), missed=words.pairs(station.UNREACHED),
        channel=contact_channel(page.instruction.channel), tones=words.STATE_TONES,
    ), status  # fmt: skip


def _refused(instruction_id: str, error: HcrmError) -> ResponseReturnValue:
    """The page again with everything that was typed.

    Another draft: both texts side by side, mine in the fields, so that the next save is a knowing one. Finished by
    somebody else: what stands, and mine to be copied. Otherwise every mistake at its field.
    """
    if isinstance(error, DraftConflictError):
        typed = typed_again(request.form, record_id=error.response_id, version=error.version)
        return _form_page(
            instruction_id, typed=typed, standing=error.answers, notice=error.message, status=409
        )
    if isinstance(error, ConflictError):
        with console_work(write=False) as work:
            kept = list_typed(work, instruction_id=instruction_id, typed=typed_again(request.form))
        return _form_page(instruction_id, notice=error.message, kept=kept, status=409)
    if error.status != 422:
        raise error
    return _form_page(instruction_id, typed=typed_again(request.form), errors=form_errors(error), status=422)


def _attempts(instruction_id: str, **said: str) -> str:
    """The attempts so far, and what is to be said of the last."""
    with console_work(write=False) as work:
        instruction = work.get(Instruction, instruction_id)
        attempts = list_attempts(work, subject_type=station.SUBJECT, subject_id=instruction_id)
        return render_template(
            "followup/_attempts.html", instruction=instruction, attempts=attempts, attempt_id=work.new_id(),
            results=station.UNREACHED, channel=contact_channel(instruction.channel),
            phones=queries.list_phones(work, patient_id=instruction.patient_id),
            caution=caution_of(work, work.get(Patient, instruction.patient_id)), **said,
        )  # fmt: skip


def _next_of(work: Work, instruction_id: str) -> str | None:
    mine = is_mine(work, work.get(Instruction, instruction_id))
    return worklist.find_next(work, after=instruction_id, mine=mine)


def _alert_page(
    alert_id: str, *, text: str = "", errors: Mapping[str, str] | None = None, status: int = 200
) -> ResponseReturnValue:
    with console_work(write=False) as work:
        alert, found = queries.get_alert(work, alert_id=alert_id)
        phones = queries.list_phones(work, patient_id=alert.patient_id)
        caution = caution_of(work, found.Patient)
        attempts = list_attempts(work, subject_type=station.SUBJECT, subject_id=alert.instruction_id)
        duty = on_duty(work, alert.department_id, work.clock.now())
    return render_template(
        "followup/alert.html", alert=alert, found=found, instruction=found.Instruction, patient=found.Patient,
        phones=phones, caution=caution, attempts=attempts, duty=duty, text=text,
        errors=errors or {},
    ), status  # fmt: skip


def _review_page(
    review_id: str, *, text: str = "", errors: Mapping[str, str] | None = None, status: int = 200
) -> ResponseReturnValue:
    with console_work(write=False) as work:
        page = load_review_page(work, review_id=review_id)
        caution = caution_of(work, page.found.Patient)
    return render_template(
        "followup/review.html", review=page.review, found=page.found, instruction=page.found.Instruction,
        patient=page.found.Patient, caution=caution, told=page.told, attempts=page.attempts, alerts_of=page.alerts,
        earlier=page.earlier, text=text, errors=errors or {},
    ), status  # fmt: skip


def _decide(review_id: str, decision: Any, words: str) -> ResponseReturnValue:
    text = request.form.get("comment", "")
    try:
        entered = read_input(ReviewInput, {"comment": text})
        with console_work() as work:
            decision(work, review_id=review_id, comment=entered.comment)
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        return _review_page(review_id, text=text, errors=form_errors(error), status=error.status)
    flash(words, "success")
    return redirect(url_for("followup.list_reviews"), 303)


def _mine(default: bool) -> bool:
    """Own rows or everybody's: the address says, else the person's usual way."""
    return {"mine": True, "all": False}.get(request.args.get("whose", ""), default)


def _member(kind: Any, name: str) -> Any:
    """The member of a closed list an address names, or None."""
    value = request.args.get(name, "")
    return kind(value) if value in {member.value for member in kind} else None
