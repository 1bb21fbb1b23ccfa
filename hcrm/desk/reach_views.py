"""Pages of how a patient is reached: what they know, how contact ends, a death and its second source."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Annotated, Any

from flask import Blueprint, current_app, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import Field, StringConstraints

from hcrm.archive import death
from hcrm.archive.death_list.service import count_near
from hcrm.archive.death_list.state import list_alarm
from hcrm.archive.models import DeceasedState, Patient, RelatedPerson
from hcrm.archive.queries import get_patient
from hcrm.archive.reach import contact_stop, disclosure
from hcrm.archive.reach.caution import caution_of
from hcrm.archive.reach_models import DisclosureState, StopKind
from hcrm.archive.terms import BY_PEOPLE
from hcrm.core.errors import ConflictError, HcrmError
from hcrm.core.inputs import Blank, Input, read_input
from hcrm.core.text import relation_word
from hcrm.core.work import Work
from hcrm.desk.masked import live_rows
from hcrm.web.shell import console_work, flash, form_errors, form_values, require

bp = Blueprint("reach", __name__)

_UNDONE = "登记后立即撤销"
_RESTORED = "已恢复联系，因此撤回的随访指令随即恢复"
_Short = Annotated[str, Field(max_length=50)]
_Note = Annotated[str, Field(max_length=500)]


class DisclosureInput(Input):
    """What the patient knows, and whom to speak with."""

    state: DisclosureState
    related_id: Annotated[str, Field(max_length=32)] = ""
    contact_name: _Short = ""
    contact_relation: _Short = ""
    note: _Note = ""


class StopInput(Input):
    """How contact ends, and why."""

    kind: StopKind
    reason: Annotated[str, Field(min_length=1, max_length=contact_stop.REASON_LENGTH)]


class RestoreInput(Input):
    """Why contact is taken up again."""

    reason: Annotated[str, Field(min_length=1, max_length=contact_stop.REASON_LENGTH)]


class DeathInput(Input):
    """Who told us of a death, and what they said."""

    told_by: Annotated[str, Field(min_length=1, max_length=100)]
    died_on: Annotated[date | None, Blank] = None
    note: _Note = ""
    state: Annotated[str, StringConstraints(pattern=r"^(waiting|confirmed)$")] = "waiting"
    confirmation: Annotated[str, Field(max_length=200)] = ""


class ConfirmInput(Input):
    """The second source of a death."""

    confirmation: Annotated[str, Field(min_length=1, max_length=200)]


# ── disclosure ──────────────────────────────────────────────────────────────


@bp.get("/patients/<patient_id>/disclosure")
@require("reach.write", audit="patient.read")
def show_disclosure(patient_id: str) -> ResponseReturnValue:
    """The mark, its history, and the form to change it."""
    return _disclosure_page(patient_id)


@bp.post("/patients/<patient_id>/disclosure")
@require("reach.write", audit="disclosure.set")
def set_disclosure(patient_id: str) -> ResponseReturnValue:
    """Change the mark."""
    try:
        entered = read_input(DisclosureInput, form_values())
        with console_work() as work:
            survivor = disclosure.set_disclosure(work, patient_id=patient_id, **entered.model_dump())
    except HcrmError as error:
        return _again(error, _disclosure_page, patient_id)
    flash("知情标记已更新", "success")
    return _to_patient(survivor)


def _disclosure_page(patient_id: str, **again: Any) -> ResponseReturnValue:
    with console_work(write=False) as work:
        patient = get_patient(work, patient_id)
        rows = disclosure.list_disclosures(work, patient.id)
        standing = next((row for row in rows if row.ended_at is None), None)
        relatives = [
            (row.id, f"{relation_word(row.relation)} {row.name}".strip())
            for row in live_rows(work, RelatedPerson, patient.id, RelatedPerson.rank)
            if row.name
        ]
    values = {
        "state": standing.state.value, "related_id": standing.related_id or "", "contact_name": standing.contact_name,
        "contact_relation": standing.contact_relation, "note": standing.note,
    } if standing else {"state": DisclosureState.UNKNOWN.value}  # fmt: skip
    if values.get("related_id"):
        values["contact_name"] = values["contact_relation"] = ""
    return _page(
        "reach/disclosure.html", patient, values, again, rows=rows, relatives=relatives,
        states=_pairs(DisclosureState),
    )  # fmt: skip


# ── the end of contact ──────────────────────────────────────────────────────


@bp.get("/patients/<patient_id>/contact-end")
@require("contact.end", audit="patient.read")
def ask_end(patient_id: str) -> ResponseReturnValue:
    """What ending contact would close, and how it was ended before; with `own`, beside what has ended it."""
    return _end_page(patient_id)


@bp.post("/patients/<patient_id>/contact-end")
@require("contact.end", audit="contact.end")
def end_contact(patient_id: str) -> ResponseReturnValue:
    """End it."""
    try:
        entered = read_input(StopInput, form_values())
        with console_work() as work:
            stop_id = contact_stop.end_contact(work, patient_id=patient_id, **entered.model_dump())
    except HcrmError as error:
        return _again(error, _end_page, patient_id)
    if stop_id is None:
        flash(f"此前已登记{entered.kind.label}，没有重复登记")
    else:
        undo = url_for("reach.undo_end", patient_id=patient_id, stop_id=stop_id)
        flash(f"已登记{entered.kind.label}，待办随访随即撤回", "success", undo=undo)
    return _to_patient(patient_id)


@bp.post("/patients/<patient_id>/contact-end/<stop_id>/undo")
@require("contact.end", audit="contact.restore")
def undo_end(patient_id: str, stop_id: str) -> ResponseReturnValue:
    """That end of contact was a slip; others stand."""
    try:
        with console_work() as work:
            survivor = contact_stop.undo_stop(work, patient_id=patient_id, stop_id=stop_id, reason=_UNDONE).id
            is_ended = bool(contact_stop.live_stops(work, survivor))
    except HcrmError as error:
        return _again(error, _end_page, patient_id)
    flash("已撤销这次登记，联系仍按其他登记终止" if is_ended else _RESTORED, "success")
    return _to_patient(survivor)


@bp.post("/patients/<patient_id>/contact-restore")
@require("contact.end", audit="contact.restore")
def restore_contact(patient_id: str) -> ResponseReturnValue:
    """Take contact up again, whatever ended it."""
    try:
        entered = read_input(RestoreInput, form_values())
        with console_work() as work:
            survivor = contact_stop.restore_contact(work, patient_id=patient_id, reason=entered.reason).id
    except HcrmError as error:
        return _again(error, _end_page, patient_id)
    flash(_RESTORED, "success")
    return _to_patient(survivor)


def _end_page(patient_id: str, **again: Any) -> ResponseReturnValue:
    with console_work(write=False) as work:
        patient = get_patient(work, patient_id)
        rows = contact_stop.list_stops(work, patient.id)
        waiting = _count_waiting(work, patient.id)
    standing = [row for row in rows if row.ended_at is None]
    is_asked = request.endpoint == "reach.end_contact" or "own" in request.args
    return _page(
        "reach/end.html", patient, {"kind": StopKind.TERMINATED.value, "reason": ""}, again, rows=rows, waiting=waiting,
        kinds=_pairs(StopKind), asks_end=is_asked or not standing,
        is_by_people=any(row.source == BY_PEOPLE for row in standing),
    )  # fmt: skip


# ── death ───────────────────────────────────────────────────────────────────


@bp.get("/patients/<patient_id>/death")
@require("death.record", audit="patient.read")
def ask_death(patient_id: str) -> ResponseReturnValue:
    """What noting a death would close, and what to say to the family."""
    return _death_page(patient_id)


@bp.post("/patients/<patient_id>/death")
@require("death.record", audit="patient.report_death")
def record_death(patient_id: str) -> ResponseReturnValue:
    """Note it."""
    try:
        entered = read_input(DeathInput, form_values())
        is_confirmed = entered.state == "confirmed"
        if is_confirmed and not entered.confirmation.strip():
            raise HcrmError("death.confirmation", "请填写由谁、以什么核实", field="confirmation")
        words = entered.confirmation if is_confirmed else ""
        with console_work() as work:
            patient, report_id = death.record_death(
                work, patient_id=patient_id, told_by=entered.told_by, died_on=entered.died_on, note=entered.note,
                confirmation=words,
            )  # fmt: skip
            survivor = patient.id
    except HcrmError as error:
        return _again(error, _death_page, patient_id)
    if report_id is None:
        flash("此前已登记患者已故，没有重复登记；核实情况见“登记已故”页")
        return _to_patient(survivor)
    is_revoker = g.actor.may("death.revoke")
    undo = url_for("reach.undo_death", patient_id=survivor, report_id=report_id) if is_revoker else None
    rest = "已由第二来源核实" if is_confirmed else "请尽快由第二来源核实"
    flash(f"已登记患者已故，待办随访随即撤回；{rest}", "success", undo=undo)
    return _to_patient(survivor)


@bp.post("/patients/<patient_id>/death/<report_id>/undo")
@require("death.revoke", audit="patient.revoke_death")
def undo_death(patient_id: str, report_id: str) -> ResponseReturnValue:
    """That report was a slip."""
    try:
        with console_work() as work:
            patient = death.undo_report(work, patient_id=patient_id, report_id=report_id, reason=_UNDONE)
            survivor, is_disputed = patient.id, patient.deceased is DeceasedState.DISPUTED
    except HcrmError as error:
        return _again(error, _death_page, patient_id)
    doubt = "；是否在世仍存疑，请核实" if is_disputed else ""
    flash(f"已撤销死亡登记，因此撤回的随访指令随即恢复{doubt}", "success")
    return _to_patient(survivor)


@bp.post("/patients/<patient_id>/death/confirm")
@require("death.record", audit="death.confirm")
def confirm_death(patient_id: str) -> ResponseReturnValue:
    """A second source says the same."""
    try:
        entered = read_input(ConfirmInput, form_values())
        with console_work() as work:
            survivor = death.confirm_death(work, patient_id=patient_id, confirmation=entered.confirmation).id
    except HcrmError as error:
        return _again(error, _death_page, patient_id)
    flash("死亡已核实", "success")
    return _to_patient(survivor)


@bp.get("/deaths")
@require("death.record", audit="death.list")
def list_deaths() -> ResponseReturnValue:
    """Deaths that one source told and no second has confirmed."""
    with console_work() as work:
        page = death.list_unconfirmed(work, key=request.args.get("key"))
        count = death.count_unconfirmed(work)
        near, alarm = count_near(work), list_alarm(work)
    return render_template("reach/deaths.html", page=page, count=count, near=near, alarm=alarm)


def _death_page(patient_id: str, **again: Any) -> ResponseReturnValue:
    with console_work(write=False) as work:
        patient = get_patient(work, patient_id)
        reports = death.standing_reports(work, [patient.id])
        caution = caution_of(work, patient)
        waiting = _count_waiting(work, patient.id)
    return _page(
        "reach/death.html", patient, {"state": "waiting"}, again, reports=reports, waiting=waiting, caution=caution,
        has_died=patient.deceased is DeceasedState.DECEASED, may_revoke=death.is_revocable(patient),
    )  # fmt: skip


# ── the common steps ────────────────────────────────────────────────────────


def _count_waiting(work: Work, patient_id: str) -> list[tuple[str, int]]:
    """What would be closed, by its word."""
    counts: contact_stop.WaitingCounts = current_app.extensions["hcrm.waiting"]
    return [(word, count(work, patient_id)) for word, count in counts.items()]


def _page(
    template: str, patient: Patient, values: Mapping[str, Any], again: Mapping[str, Any], **parts: Any
) -> ResponseReturnValue:
    """The page with what stands, or with what was typed and refused."""
    page = render_template(
        template,
        patient=patient,
        values=again.get("values") or values,
        errors=again.get("errors") or {},
        **parts,
    )
    return page, again.get("status", 200)


def _again(
    error: HcrmError, page: Callable[..., ResponseReturnValue], patient_id: str
) -> ResponseReturnValue:
    """The form once more with every mistake at its field; what is no mistake of a form goes on as it is."""
    if error.status != 422 and not isinstance(error, ConflictError):
        raise error
    return page(patient_id, values=form_values(), errors=form_errors(error), status=error.status)


def _to_patient(patient_id: str) -> ResponseReturnValue:
    return redirect(url_for("desk.show_patient", patient_id=patient_id), 303)


def _pairs(members: Any) -> list[tuple[str, str]]:
    return [(member.value, member.label) for member in members]
