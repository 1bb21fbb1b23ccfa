"""A patient's page and what is decided on it."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from flask import g, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import Field

from followup import deaths
from hcrm.archive.death import is_revocable
from hcrm.archive.fields.notes import former_texts, list_notes
from hcrm.archive.identity import service as identity
from hcrm.archive.models import DeceasedState
from hcrm.archive.queries import get_patient, surviving_patient
from hcrm.archive.reach.caution import caution_of
from hcrm.archive.terms import EncounterClass
from hcrm.archive.timeline import KIND_NEEDS, KINDS, list_timeline
from hcrm.contact_log.queries import list_contacts, load_beside
from hcrm.core.actor import Actor
from hcrm.core.dialling import dial_link
from hcrm.core.errors import HcrmError
from hcrm.core.inputs import Blank, Day, Input, OptionalText, read_input
from hcrm.core.work import Work
from hcrm.desk import clinical_tabs
from hcrm.desk.blueprint import bp
from hcrm.desk.chain import load_chain
from hcrm.desk.history import LATE, list_history
from hcrm.desk.identity import load_identity
from hcrm.desk.patient import load_card
from hcrm.desk.reach import load_reach, reveal_value
from hcrm.desk.record_tabs import diagnoses_of, list_diagnoses, list_followups, list_procedures, list_visits
from hcrm.desk.sheet import load_sheet
from hcrm.web.shell import console_work, flash, form_errors, require

DECEASED_TONES = {DeceasedState.DECEASED: "late", DeceasedState.DISPUTED: "near"}
"""How each state looks."""


class ReasonInput(Input):
    """Why something that stands on record is taken back."""

    reason: Annotated[str, Field(min_length=1, max_length=200)]


class RecordAddress(Input):
    """What stands in the address of a patient's page."""

    tab: OptionalText = None
    kind: tuple[str, ...] = ()
    since: Annotated[Day | None, Blank] = None
    until: Annotated[Day | None, Blank] = None
    visits: OptionalText = None  # a class of visits
    key: OptionalText = None


TABS: Mapping[str, str] = {
    "timeline": "时间线", "profile": "档案信息", "visits": "就诊", "diagnoses": "诊断", "procedures": "手术",
    "results": "检验", "medications": "用药", "documents": "文书", "appointments": "预约", "charges": "费用",
    "allergies": "过敏", "followups": "随访", "contacts": "联系", "people": "联系人与地址", "notes": "备注",
    "history": "变更历史", "chain": "消息链",
}  # fmt: skip
VISIT_CLASSES = {
    one.value: one.label
    for one in (EncounterClass.INPATIENT, EncounterClass.EMERGENCY, EncounterClass.OUTPATIENT)
}
"""What the visits are filtered by."""
_NEEDS = {"followups": "instruction.read", "contacts": "instruction.read", "chain": "message.read"}
_PAGES: Mapping[str, Callable[..., Any]] = {
    "diagnoses": list_diagnoses,
    "procedures": list_procedures,
    "results": clinical_tabs.list_results,
    "medications": clinical_tabs.list_medications,
    "charges": clinical_tabs.list_charges,
    "documents": clinical_tabs.list_documents,
    "appointments": clinical_tabs.list_appointments,
    "followups": list_followups,
}


@bp.get("/patients/<patient_id>")
@require("patient.read", audit="patient.read")
def show_patient(patient_id: str) -> ResponseReturnValue:
    """A patient's record; a merged one leads to the survivor."""
    return _patient_page(patient_id)


@bp.post("/patients/<patient_id>/revoke-death")
@require("death.revoke", audit="patient.revoke_death")
def revoke_death(patient_id: str) -> ResponseReturnValue:
    """A death that was noted by mistake is taken back."""
    reason = request.form.get("reason", "")
    try:
        entered = read_input(ReasonInput, {"reason": reason})
        with console_work() as work:
            survivor = deaths.revoke_death(work, patient_id=patient_id, reason=entered.reason).id
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        return _patient_page(patient_id, reason=reason, errors=form_errors(error), status=error.status)
    flash("已撤销死亡登记，因此撤回的随访指令随即恢复", "success")
    return redirect(url_for("desk.show_patient", patient_id=survivor), 303)


@bp.post("/patients/<patient_id>/numbers/<identifier_id>/end")
@require("identity.decide", audit="identity.end_number")
def end_number(patient_id: str, identifier_id: str) -> ResponseReturnValue:
    """The record number was given to somebody else."""
    words = "已停用此病案号；因此搁置的消息请到接口消息页重新处理"
    return _decide(patient_id, identifier_id, identity.end_number, "identifier_id", words)


def _decide(patient_id: str, key: str, act: Callable[..., str], name: str, words: str) -> ResponseReturnValue:
    """Do what a person decided about who is who, and show whom it leads to."""
    shown = patient_id
    try:
        entered = read_input(ReasonInput, {"reason": request.form.get(f"reason-{key}", "")})
        with console_work() as work:
            shown = act(work, patient_id=patient_id, reason=entered.reason, **{name: key})
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        flash(next(iter(form_errors(error).values())), "danger")
    else:
        flash(words, "success")
    return redirect(url_for("desk.show_patient", patient_id=shown), 303)


def _patient_page(
    patient_id: str, *, reason: str = "", errors: Mapping[str, str] | None = None, status: int = 200
) -> ResponseReturnValue:
    asked = read_input(RecordAddress, {**request.args.to_dict(), "kind": request.args.getlist("kind")})
    tabs = _allowed(TABS, _NEEDS, g.actor)
    kinds = _allowed(KINDS, KIND_NEEDS, g.actor)
    tab = asked.tab if asked.tab in tabs else "timeline"
    with console_work() as work:
        patient = get_patient(work, patient_id)
        if patient.id == patient_id:
            card, reach = load_card(work, patient), load_reach(work, patient)
            who = load_identity(work, patient)
            content = _tab_content(work, tab, patient_id, asked, kinds)
    if patient.id != patient_id:
        flash("您打开的档案已合并，现在显示的是保留的档案")
        return redirect(url_for("desk.show_patient", patient_id=patient.id), 303)
    return render_template(
        "desk/patient.html", patient=patient, card=card, reach=reach, identity=who, tabs=tabs, tab=tab, kinds=kinds,
        kind=asked.kind, asked=asked, visit_classes=VISIT_CLASSES, deceased_tones=DECEASED_TONES,
        may_revoke_death=is_revocable(patient), reason=reason, errors=errors or {}, **content,
    ), status  # fmt: skip


def _kind_chips(
    patient_id: str, asked: RecordAddress, kinds: Mapping[str, str]
) -> list[tuple[str, bool, str]]:
    """Each kind with whether it is chosen, and the address where it is or is no longer."""
    chips = []
    for name, label in kinds.items():
        chosen = [kind for kind in asked.kind if kind != name]
        if len(chosen) == len(asked.kind):
            chosen.append(name)
        url = url_for(
            "desk.show_patient", patient_id=patient_id, kind=chosen, since=asked.since, until=asked.until
        )
        chips.append((label, name in asked.kind, url))
    return chips


def _allowed(words: Mapping[str, str], needs: Mapping[str, str], actor: Actor) -> dict[str, str]:
    """The tabs or kinds of lines the actor may see."""
    return {name: word for name, word in words.items() if name not in needs or actor.may(needs[name])}


def _tab_content(
    work: Work, tab: str, patient_id: str, asked: RecordAddress, kinds: Mapping[str, str]
) -> dict[str, Any]:
    if tab == "timeline":
        wanted = [kind for kind in asked.kind if kind in kinds] or list(kinds)
        page = list_timeline(
            work, patient_id=patient_id, kinds=wanted, since=asked.since, until=asked.until, key=asked.key
        )
        return {"page": page, "kind_chips": _kind_chips(patient_id, asked, kinds)}
    if tab == "visits":
        wanted_class = asked.visits if asked.visits in VISIT_CLASSES else None
        visits = list_visits(work, patient_id=patient_id, visit_class=wanted_class, key=asked.key)
        return {"page": visits, "diagnoses": diagnoses_of(work, [row.Encounter.id for row in visits.items])}
    if tab == "contacts":
        contacts = list_contacts(work, patient_id=patient_id, key=asked.key)
        return {"page": contacts, "beside": load_beside(work, [row.id for row in contacts.items])}
    if tab == "notes":
        notes = list_notes(work, patient_id=patient_id, key=asked.key)
        return {"page": notes, "former": former_texts(work, [row.id for row in notes.items])}
    if tab == "history":
        return {"former": list_history(work, surviving_patient(work, patient_id)), "late_words": LATE}
    if tab == "chain":
        return {"chain": load_chain(work, patient_id=patient_id, key=asked.key)}
    return {"page": _PAGES[tab](work, patient_id=patient_id, key=asked.key)} if tab in _PAGES else {}


@bp.get("/patients/<patient_id>/sheet")
@require("patient.read", audit="patient.print")
def print_sheet(patient_id: str) -> ResponseReturnValue:
    """The sheet of a patient, to be printed."""
    with console_work() as work:
        patient = get_patient(work, patient_id, action="patient.print")
        sheet, now = load_sheet(work, patient), work.clock.now()
    return render_template("desk/sheet.html", patient=patient, sheet=sheet, now=now)


@bp.get("/patients/<patient_id>/documents/<document_id>")
@require("patient.read", audit="document.read")
def download_document(patient_id: str, document_id: str) -> ResponseReturnValue:
    """The file of a document as its sender wrote it; never shown by the browser itself."""
    with console_work() as work:
        patient = get_patient(work, patient_id, action="document.read")
        content, media_type = clinical_tabs.document_content(
            work, patient_id=patient.id, document_id=document_id
        )
    ending = {"application/pdf": "pdf", "text/xml": "xml", "text/plain": "txt"}.get(media_type, "bin")
    answer = make_response(content)
    answer.headers["Content-Type"] = "application/octet-stream"  # whatever it is, it must not run here
    answer.headers["Content-Disposition"] = f'attachment; filename="document.{ending}"'
    return answer


@bp.post("/patients/<patient_id>/reveal/<kind>/<key>")
@require("patient.reveal", audit="patient.reveal")
def reveal(patient_id: str, kind: str, key: str) -> ResponseReturnValue:
    """One phone, ID number or address in full, in the place of the masked one."""
    with console_work() as work:
        value = reveal_value(work, patient_id=patient_id, kind=kind, key=key)
        caution = caution_of(work, surviving_patient(work, patient_id))  # the page may be older than a merge
    phone = dial_link(value) if kind in ("contact", "related") else ""
    return render_template(
        "desk/_revealed.html", value=value, phone=phone, mark=caution.disclosure if phone else None,
        silence=caution.words if phone else "",
    )  # fmt: skip
