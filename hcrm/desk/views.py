"""Pages over several parts: patient search and record, workbench and board, system state."""

from typing import Annotated, Any

from flask import current_app, g, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from jinja2_fragments.flask import render_block
from pydantic import Field

from hcrm.accounts.kept_search import keep_words, kept_words
from hcrm.archive.death_list.state import list_alarm
from hcrm.archive.terms import EncounterStatus
from hcrm.core.events import DeliveryState
from hcrm.core.inputs import Blank, Input, read_input
from hcrm.core.work import Work
from hcrm.desk.blueprint import bp
from hcrm.desk.board import PERIODS, load_board
from hcrm.desk.search import (
    STATES,
    Choices,
    FoundPatients,
    PatientSearch,
    Period,
    active_filters,
    find_patients,
    load_choices,
)
from hcrm.desk.system import load_system, retry_event
from hcrm.desk.today import count_centre, list_loads, list_recent
from hcrm.directory.queries import list_departments
from hcrm.inbox.models import ApplicationState
from hcrm.segments.models import Segment
from hcrm.segments.queries import default_segment
from hcrm.web.shell import console_work, current_shell, flash, form_values, require

DELIVERY_TONES = {DeliveryState.DONE: "done", DeliveryState.FAILED: "near", DeliveryState.PARKED: "late"}
"""How each state looks."""
QUICK_ROWS = 8
"""Patients shown under the box while one types."""


def is_fragment() -> bool:
    """Whether htmx asks, which wants a part of the page."""
    return request.headers.get("HX-Request") == "true"


# ── finding patients ────────────────────────────────────────────────────────


@bp.get("/patients")
@require("patient.read", audit="patient.search")
def search_patients() -> ResponseReturnValue:
    """Patients in scope; of words that were searched for the address holds a key of this session (ADR 0012).

    Where the role has a segment of its own, the bare address opens that.
    """
    asked = read_input(PatientSearch, _without_words(request.args.to_dict()))
    with console_work() as work:
        opening = _opening(work)
        words = kept_words(work, session_id=g.person.session_id, key=asked.kept) if asked.kept else ""
        if opening is not None and not request.args:
            return redirect(url_for("segments.show_segment", segment_id=opening.id), 302)
        is_gone = words is None
        # The key of a page was one of that search.
        gone = {"kept": None, "key": None}
        asked = asked.model_copy(
            update={"q": words} if words else {"q": "", **(gone if is_gone else {"kept": None})}
        )
        found, choices = find_patients(work, asked), load_choices(work)
    if is_gone:
        flash("刚才的搜索已失效，请重新输入", "warning")
    page = render_template("desk/search.html", **_page_words(asked, found, choices, opening))
    return page, 422 if found.refused else 200


@bp.post("/patients")
@require("patient.read", audit="patient.search")
def ask_patients() -> ResponseReturnValue:
    """What was typed comes by post: it must not stand in an address, a history or a log.

    A page answers with the address of the list, so that Back and a reload show it again; while one types, the list
    comes at once and the address beside it.
    """
    asked = read_input(PatientSearch, form_values())
    asked = asked.cleared() if asked.without else asked
    with console_work(write=False) as work:
        opening = _opening(work)
        found = find_patients(work, asked, is_typing=is_fragment()) if is_fragment() or asked.q else None
        choices = load_choices(work)
    if found and found.only and not is_fragment():
        return redirect(url_for("desk.show_patient", patient_id=found.only.id), 303)
    asked = _keep(asked) if found and "q" not in found.refused else asked
    if found is None or not (is_fragment() or "q" in found.refused):
        return redirect(_list_address(asked, opening is not None), 303)
    words = _page_words(asked, found, choices, opening)
    if not is_fragment():
        return render_template("desk/search.html", **words), 422
    answer = make_response(render_block("desk/search.html", "results", is_fragment=True, **words))
    answer.headers["HX-Replace-Url"] = words["address"]
    return answer


@bp.post("/patients/quick")
@require("patient.read", audit="patient.search")
def find_quickly() -> ResponseReturnValue:
    """The first few, under the box in the head of every page."""
    asked = read_input(PatientSearch, {"q": request.form.get("q", "")})
    if not asked.q:
        return ""
    with console_work(write=False) as work:
        found = find_patients(work, asked, size=QUICK_ROWS, is_typing=True)
    return render_template("desk/_quick.html", page=found.page, refused=found.refused)


def _opening(work: Work) -> Segment | None:
    return default_segment(work) if g.actor.may("segment.read") else None


def _keep(asked: PatientSearch) -> PatientSearch:
    """With the key of its words, where there are any."""
    if not asked.q:
        return asked.model_copy(update={"kept": None})
    with console_work() as work:
        key = keep_words(work, session_id=g.person.session_id, words=asked.q, known=asked.kept)
    return asked.model_copy(update={"kept": key})


def _page_words(
    asked: PatientSearch, found: FoundPatients, choices: Choices, opening: Segment | None
) -> dict[str, Any]:
    return {
        "asked": asked, "page": found.page, "emptiness": found.emptiness.value, "refused": found.refused,
        "choices": choices, "chips": active_filters(asked, choices), "periods": Period, "statuses": EncounterStatus,
        "states": STATES,
        "is_mine": g.actor.department_ids is not None, "address": _list_address(asked, opening is not None),
        "opening": opening, "all_url": _list_address(PatientSearch(), opening is not None),
        "search_url": "",  # this page has the box itself
    }  # fmt: skip


def _list_address(asked: PatientSearch, has_opening: bool) -> str:
    """Filters and the key of the words; without any, everybody, by name where the bare address opens a segment."""
    values = asked.address | ({"kept": asked.kept} if asked.kept else {})
    return url_for("desk.search_patients", **(values or ({"all": "1"} if has_opening else {})))


def _without_words(arguments: dict[str, str]) -> dict[str, str]:
    """An old link that carried the words is opened without them."""
    return {name: value for name, value in arguments.items() if name != "q"}


# ── workbench and board ─────────────────────────────────────────────────────


class BoardAddress(Input):
    """What stands in the address of the board."""

    days: Annotated[Annotated[int, Field(ge=1, le=366)] | None, Blank] = None


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
        alarm = list_alarm(work)
    return render_template(
        "desk/workbench.html", numbers=numbers, loads=loads, recent=recent, death_alarm=alarm
    )


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
