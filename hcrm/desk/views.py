"""Pages over several parts: patient search and record, workbench and board, system state."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from flask import Blueprint, current_app, g, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from jinja2_fragments.flask import render_block
from pydantic import Field

from followup import deaths
from hcrm.archive import identity
from hcrm.archive.death import is_revocable
from hcrm.archive.models import DeceasedState, TimelineEntry
from hcrm.archive.queries import get_patient
from hcrm.archive.terms import WITHOUT_BED, EncounterClass, EncounterStatus, status_words
from hcrm.archive.timeline import KINDS, list_timeline
from hcrm.centre.protocols import StepChannel
from hcrm.centre.views import TONES as INSTRUCTION_TONES
from hcrm.contact_log.queries import list_contacts
from hcrm.core.actor import Actor
from hcrm.core.dialling import dial_link
from hcrm.core.errors import HcrmError
from hcrm.core.events import DeliveryState
from hcrm.core.inputs import Blank, Input, OptionalText, read_input
from hcrm.core.work import Work
from hcrm.desk import clinical_tabs
from hcrm.desk.board import PERIODS, load_board
from hcrm.desk.chain import load_chain
from hcrm.desk.identity import load_identity
from hcrm.desk.patient import load_card, reveal_value
from hcrm.desk.record_tabs import list_diagnoses, list_followups, list_procedures, list_visits
from hcrm.desk.search import PatientSearch, find_patients
from hcrm.desk.system import load_system, retry_event
from hcrm.desk.today import count_centre, list_loads, list_recent
from hcrm.directory.queries import list_departments
from hcrm.inbox.models import ApplicationState
from hcrm.inbox.views import TONES as MESSAGE_TONES
from hcrm.web.shell import SAFE_METHODS, console_work, current_shell, flash, form_errors, form_values, require

bp = Blueprint("desk", __name__)

VISIT_TONES = {
    EncounterStatus.PLANNED: "open", EncounterStatus.IN_PROGRESS: "work", EncounterStatus.ON_LEAVE: "near",
    EncounterStatus.FINISHED: "done", EncounterStatus.CANCELLED: "off",
}  # fmt: skip
DELIVERY_TONES = {DeliveryState.DONE: "done", DeliveryState.FAILED: "near", DeliveryState.PARKED: "late"}
DECEASED_TONES = {DeceasedState.DECEASED: "late", DeceasedState.DISPUTED: "near"}
"""How each state looks."""


@bp.context_processor
def desk_words() -> dict[str, Any]:
    """What the desk's templates share."""
    return {
        "instruction_tones": INSTRUCTION_TONES, "message_tones": MESSAGE_TONES, "entry_url": entry_url,
        "visit_tone": visit_tone, "status_words": status_words, "channels": StepChannel, "yuan": clinical_tabs.yuan,
        "report_tones": clinical_tabs.REPORT_TONES, "order_tones": clinical_tabs.ORDER_TONES,
        "document_tones": clinical_tabs.DOCUMENT_TONES, "appointment_tones": clinical_tabs.APPOINTMENT_TONES,
    }  # fmt: skip


def visit_tone(status: EncounterStatus, encounter_class: EncounterClass | None) -> str:
    """How a visit's state looks; an outpatient's never ends and asks for nothing."""
    is_over = status is EncounterStatus.IN_PROGRESS and encounter_class in WITHOUT_BED
    return "off" if is_over else VISIT_TONES[status]


_ENTRY_TABS = {
    "encounter": "visits", "contact_entry": "contacts", "response": "followups", "diagnostic_report": "results",
    "medication_request": "medications", "document_reference": "documents", "appointment": "appointments",
}  # fmt: skip
"""The tab on which what a line is about stands."""


def entry_url(entry: TimelineEntry) -> str | None:
    """The page a line of the timeline opens."""
    if entry.subject_type == "instruction":
        return url_for("centre.show_instruction", instruction_id=entry.subject_id)
    if entry.subject_type == "alert" and g.actor.may("alert.handle"):
        return url_for("followup.show_alert", alert_id=entry.subject_id)
    tab = _ENTRY_TABS.get(entry.subject_type)
    return url_for("desk.show_patient", patient_id=entry.patient_id, tab=tab) if tab else None


def is_fragment() -> bool:
    """Whether htmx asks, which wants a part of the page."""
    return request.headers.get("HX-Request") == "true"


# ── finding patients ────────────────────────────────────────────────────────


@bp.route("/patients", methods=["GET", "POST"])
@require("patient.read", audit="patient.search")
def search_patients() -> ResponseReturnValue:
    """Patients in scope. Words come by post: they must not stand in an address, a history or a log."""
    is_post = request.method not in SAFE_METHODS
    asked = read_input(PatientSearch, form_values() if is_post else _without_words(request.args.to_dict()))
    if is_post and not asked.q and not is_fragment():
        return redirect(_list_address(asked), 303)
    with console_work(write=False) as work:
        found = find_patients(work, asked)
        departments = list_departments(work)
    if is_post and found.only and not is_fragment():
        return redirect(url_for("desk.show_patient", patient_id=found.only.id), 303)
    words = {
        "asked": asked, "page": found.page, "emptiness": found.emptiness.value, "departments": departments,
        "statuses": EncounterStatus, "is_mine": g.actor.department_ids is not None,
        "search_url": "",  # this page has the box itself
    }  # fmt: skip
    if not is_fragment():
        return render_template("desk/search.html", **words)
    answer = make_response(render_block("desk/search.html", "results", is_fragment=True, **words))
    answer.headers["HX-Replace-Url"] = _list_address(asked)
    return answer


def _list_address(asked: PatientSearch) -> str:
    return url_for("desk.search_patients", department=asked.department, status=asked.status)


def _without_words(arguments: dict[str, str]) -> dict[str, str]:
    """An old link that carried the words is opened without them."""
    return {name: value for name, value in arguments.items() if name != "q"}


# ── a patient ───────────────────────────────────────────────────────────────


class ReasonInput(Input):
    """Why something that stands on record is taken back."""

    reason: Annotated[str, Field(min_length=1, max_length=200)]


class RecordAddress(Input):
    """What stands in the address of a patient's page."""

    tab: OptionalText = None
    kind: OptionalText = None
    key: OptionalText = None


TABS: Mapping[str, str] = {
    "timeline": "时间线", "visits": "就诊", "diagnoses": "诊断", "procedures": "手术", "results": "检验",
    "medications": "用药", "documents": "文书", "appointments": "预约", "charges": "费用", "allergies": "过敏",
    "followups": "随访", "contacts": "联系", "people": "联系人与地址", "chain": "消息链",
}  # fmt: skip
_NEEDS = {"followups": "instruction.read", "contacts": "instruction.read", "chain": "message.read"}
_KIND_NEEDS = dict.fromkeys(("instruction", "contact", "form", "alert"), "instruction.read")
_PAGES: Mapping[str, Callable[..., Any]] = {
    "visits": list_visits,
    "diagnoses": list_diagnoses,
    "procedures": list_procedures,
    "results": clinical_tabs.list_results,
    "medications": clinical_tabs.list_medications,
    "charges": clinical_tabs.list_charges,
    "documents": clinical_tabs.list_documents,
    "appointments": clinical_tabs.list_appointments,
    "followups": list_followups,
    "contacts": list_contacts,
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


@bp.post("/patients/<patient_id>/merges/<merge_id>/undo")
@require("identity.decide", audit="patient.unmerge")
def part_merged(patient_id: str, merge_id: str) -> ResponseReturnValue:
    """Two archives again."""
    return _decide(
        patient_id, merge_id, identity.part_merged, "merge_id", "已撤销合并，现在显示的是分出的档案"
    )


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
    asked = read_input(RecordAddress, request.args.to_dict())
    tabs = _allowed(TABS, _NEEDS, g.actor)
    kinds = _allowed(KINDS, _KIND_NEEDS, g.actor)
    tab = asked.tab if asked.tab in tabs else "timeline"
    with console_work() as work:
        patient = get_patient(work, patient_id)
        if patient.id == patient_id:
            card, who = load_card(work, patient), load_identity(work, patient)
            content = _tab_content(work, tab, patient_id, asked, kinds)
    if patient.id != patient_id:
        flash("您打开的档案已合并，现在显示的是保留的档案")
        return redirect(url_for("desk.show_patient", patient_id=patient.id), 303)
    return render_template(
        "desk/patient.html", patient=patient, card=card, identity=who, tabs=tabs, tab=tab, kinds=kinds, kind=asked.kind,
        deceased_tones=DECEASED_TONES, may_revoke_death=is_revocable(patient), reason=reason, errors=errors or {},
        **content,
    ), status  # fmt: skip


def _allowed(words: Mapping[str, str], needs: Mapping[str, str], actor: Actor) -> dict[str, str]:
    """The tabs or kinds of lines the actor may see."""
    return {name: word for name, word in words.items() if name not in needs or actor.may(needs[name])}


def _tab_content(
    work: Work, tab: str, patient_id: str, asked: RecordAddress, kinds: Mapping[str, str]
) -> dict[str, Any]:
    if tab == "timeline":
        wanted = [asked.kind] if asked.kind and asked.kind in kinds else list(kinds)
        return {"page": list_timeline(work, patient_id=patient_id, kinds=wanted, key=asked.key)}
    if tab == "chain":
        return {"chain": load_chain(work, patient_id=patient_id, key=asked.key)}
    return {"page": _PAGES[tab](work, patient_id=patient_id, key=asked.key)} if tab in _PAGES else {}


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
    phone = dial_link(value) if kind in ("contact", "related") else ""
    return render_template("desk/_revealed.html", value=value, phone=phone)


# ── workbench and board ─────────────────────────────────────────────────────


class BoardAddress(Input):
    """What stands in the address of the board."""

    days: Annotated[int | None, Blank, Field(ge=1, le=366)] = None


@bp.get("/workbench")
@require("instruction.read", audit="encounter.list")
def workbench() -> ResponseReturnValue:
    """The first page of the service centre, and of a department's head."""
    if g.actor.department_ids is not None:
        return _show_board()
    with console_work() as work:
        numbers = count_centre(work)
        loads = list_loads(work)
        recent = list_recent(work) if g.actor.may("patient.read") else None
    return render_template("desk/workbench.html", numbers=numbers, loads=loads, recent=recent)


def _show_board() -> ResponseReturnValue:
    asked = read_input(BoardAddress, request.args.to_dict())
    with console_work() as work:
        board = load_board(work, days=asked.days or PERIODS[1])
        departments = list_departments(work)
    return render_template(
        "desk/board.html",
        board=board,
        departments=departments,
        periods=PERIODS,
        days=asked.days or PERIODS[1],
    )


@bp.get("/workbench/recent")
@require("patient.read", audit="encounter.list")
def list_recent_stays() -> ResponseReturnValue:
    """The list of recent discharges, asked for again and again; 204 while nothing in it has changed."""
    with console_work() as work:
        recent = list_recent(work, seen=request.args.get("seen"))
    return render_block("desk/workbench.html", "recent_list", recent=recent) if recent else ("", 204)


# ── the system ──────────────────────────────────────────────────────────────


@bp.get("/system")
@require("system.read", audit="none:states, counts and times of processes, nothing of patients")
def system() -> ResponseReturnValue:
    """Whether every part of the house still moves."""
    with console_work() as work:
        state = load_system(work, current_shell().runtime, current_app.extensions["hcrm.jobs"])
    return render_template(
        "desk/system.html", state=state, states=ApplicationState, delivery_tones=DELIVERY_TONES
    )


@bp.post("/system/deliveries/<event_id>/retry")
@require("message.replay", audit="event.retry")
def retry_delivery(event_id: str) -> ResponseReturnValue:
    """Let a parked event be tried anew."""
    with console_work() as work:
        retry_event(work, event_id=event_id, handler=request.form.get("handler", ""))
    flash("已安排重试", "success")
    return redirect(url_for("desk.system"), 303)
