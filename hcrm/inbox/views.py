"""Pages: what other systems sent, what became of it, once more please."""

from typing import Any

from flask import Blueprint, current_app, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from hcrm.core import limits
from hcrm.core.clock import local_date
from hcrm.core.errors import HcrmError, InvalidInput, NotFoundError
from hcrm.core.inputs import AnyInput, read_input
from hcrm.core.work import Work
from hcrm.inbox import monitor, queries, refusal_words, refusals, words
from hcrm.inbox.advice import flag_advice, reason_advice
from hcrm.inbox.channels import list_places
from hcrm.inbox.console_models import ReplayRun
from hcrm.inbox.correction import check_copy, draft_copy, lock_original, record_correction
from hcrm.inbox.habits import list_habits
from hcrm.inbox.inputs import (
    CorrectionInput,
    IncidentAddress,
    MessageAddress,
    NoteInput,
    RefusedAddress,
    ReplayInput,
    SearchInput,
)
from hcrm.inbox.intake import store_now
from hcrm.inbox.models import ApplicationState
from hcrm.inbox.monitor import count_incidents
from hcrm.inbox.plots import SPANS, plot_tables
from hcrm.inbox.reading import ConsoleParts
from hcrm.inbox.replaying import count_outcomes, list_running, preview_replay, start_replay, stop_replay
from hcrm.inbox.row_words import ROW_FIELDS
from hcrm.inbox.search import MessageSearch, open_search, search_messages
from hcrm.inbox.service import replay_messages
from hcrm.inbox.traffic import counted_until, list_traffic
from hcrm.inbox.way import list_steps
from hcrm.web.shell import (
    NotAllowedError,
    console_work,
    current_shell,
    flash,
    form_errors,
    form_values,
    require,
)

bp = Blueprint("inbox", __name__, url_prefix="/interface")
_SEQ = "<int(max=9223372036854775807):seq>"
PARTS = "hcrm.inbox"
"""Where the application keeps what the console is handed (`hcrm.app.wiring.console_parts`)."""
TONES = {
    ApplicationState.WAITING: "work", ApplicationState.APPLIED: "done", ApplicationState.IGNORED: "off",
    ApplicationState.HELD: "near", ApplicationState.PARKED: "late",
}  # fmt: skip
"""How each state looks in a list."""
TABS = (
    ("inbox.overview", "概况"), ("inbox.list_messages", "消息"), ("inbox.list_incidents", "告警"),
    ("inbox.list_sources", "来源"), ("census.show_day", "对账"), ("outbound.list_messages", "发出"),
    ("inbox.list_refused", "拒收"),
)  # fmt: skip
"""Pages of the interface; one whose part is not there is left out."""

_TAB_OF = {
    **dict.fromkeys(
        ("inbox.show_message", "inbox.edit_copy", "inbox.send_copy", "inbox.preview_run", "inbox.show_run"),
        "inbox.list_messages",
    ),
    **dict.fromkeys(
        ("census.list_lines", "census.list_stays", "census.show_line", "census.ask_apply"), "census.show_day"
    ),
    **dict.fromkeys(("outbound.show_message", "outbound.ask_resend_failed"), "outbound.list_messages"),
    "inbox.show_refused": "inbox.list_refused",
}


@bp.app_context_processor
def interface_tabs() -> dict[str, Any]:
    """The tabs above every page of the interface; pages below one of them belong to it."""
    endpoint = _TAB_OF.get(request.endpoint or "", request.endpoint)
    return {
        "interface_tabs": [tab for tab in TABS if tab[0] in current_app.view_functions],
        "interface_tab": endpoint,
    }


def read_address(model: type[AnyInput]) -> AnyInput:
    """The address of a list; what is wrong in it is named."""
    try:
        return read_input(model, request.args.to_dict())
    except InvalidInput as error:
        said = "；".join(f"{words.FILTERS.get(name, name)}：{text}" for name, text in error.errors.items())
        raise HcrmError("filter.invalid", f"地址中的筛选条件有误。{said}", status=422) from None


def console_parts() -> ConsoleParts:
    """What the application was built with."""
    parts: ConsoleParts = current_app.extensions[PARTS]
    return parts


@bp.get("/messages")
@require("message.read", audit="message.search")
def list_messages() -> ResponseReturnValue:
    """Messages by arrival."""
    asked = read_address(MessageAddress)
    with console_work() as work:
        wanted = _wanted(work, asked)
        searched = search_messages(work, asked.filters, wanted, console_parts()) if wanted else None
        page = queries.list_messages(work, searched.filters if searched else asked.filters, key=asked.key)
        counts = queries.count_states(work)
        runs = list_running(work) if g.actor.may("message.replay") else ()
        choices = {
            "kinds": queries.list_kinds(work),
            "sources": queries.list_used_sources(work),
            "reasons": queries.list_used_reasons(work),
        }
    return render_template(
        "inbox/list.html", page=page, counts=counts, states=ApplicationState, tones=TONES, words=words, asked=asked,
        searched=searched, search_limit=limits.SEARCH_MESSAGES, kept=asked.kept(), runs=runs,
        is_filtered=bool(asked.kept() or asked.find), is_reversed=_is_reversed(asked), wanted=wanted,
        opened=_opened(asked), **choices,
    )  # fmt: skip


def _is_reversed(asked: MessageAddress) -> bool:
    since, until = asked.filters.since, asked.filters.until
    return since is not None and until is not None and since >= until


def _wanted(work: Work, asked: MessageAddress) -> MessageSearch | None:
    if not asked.find:
        return None
    _require_content()
    return open_search(work, asked.find)


@bp.post("/messages/find")
@require("message.content", audit="message.search")
def find_messages() -> ResponseReturnValue:
    """Search by a person or a text: the words are sealed before they come into an address."""
    values = form_values()
    wanted = read_input(SearchInput, {name: values.pop(name, "") for name in ("by", "words")})
    asked = read_input(MessageAddress, {**values, "key": "", "find": ""})
    with console_work(write=False) as work:
        sealed = MessageSearch(wanted.by, wanted.words).seal(work)
    kept: dict[str, Any] = {**asked.kept(), "find": sealed}
    return redirect(url_for("inbox.list_messages", **kept), 303)


@bp.get(f"/messages/{_SEQ}")
@require("message.read", audit="message.read")
def show_message(seq: int) -> ResponseReturnValue:
    """One message: its way, and its text for those who may read it."""
    asked = read_address(MessageAddress)
    with console_work() as work:
        found = queries.get_message(
            work, seq, with_content=g.actor.may("message.content"), parts=console_parts()
        )
        newer, older = (None, None) if asked.find else queries.neighbours(work, asked.filters, seq)
    kept = _opened(asked)
    sources, way = console_parts().sources, found.application
    source = sources.by_code.get(way.source) if way else None
    message = found.message
    return render_template(
        "inbox/show.html", found=found, tones=TONES, words=words, newer=newer, older=older, kept=kept,
        hint=reason_advice(way.reason, message.sender, message.facility, sources) if way and way.reason else "",
        flag_hints=flag_advice(way.flags) if way else [],
        read_as=words.read_as(found.message.kind, source.events if source else {}),
        steps=list_steps(found.message, found.application, found.acts), back=url_for("inbox.list_messages", **kept),
    )  # fmt: skip


def _opened(asked: MessageAddress) -> dict[str, Any]:
    """What the page of a message has in its address, so that it leads back to the list it was opened from."""
    return {**asked.kept(), **({"find": asked.find} if asked.find else {})}


@bp.get(f"/messages/{_SEQ}/state")
@require("message.read", audit="none:whether it was decided, nothing of it")
def watch_message(seq: int) -> ResponseReturnValue:
    """Asked by the page of a message that waits: nothing while it does, then that the page shall load anew."""
    with console_work() as work:
        state = work.scalar(queries.state_of(seq))
    is_waiting = state is None or state is ApplicationState.WAITING
    return "", 204, {} if is_waiting else {"HX-Refresh": "true"}


@bp.post(f"/messages/{_SEQ}/replay")
@require("message.replay", audit="message.replay")
def replay_message(seq: int) -> ResponseReturnValue:
    """Let the worker apply a message again."""
    with console_work() as work:
        if work.scalar(queries.is_taken_up(seq)) is None:
            raise NotFoundError
        if not replay_messages(work, seqs=[seq], release=True):
            raise HcrmError(
                "message.final", "此消息已更正为另一条，或原文已按期清除，不能重新处理", status=409
            )
    flash("已安排重新处理，有结果后本页自动刷新", "success")
    return redirect(url_for("inbox.show_message", seq=seq))


@bp.get("/refused")
@require("message.read", audit="refused.read")
def list_refused() -> ResponseReturnValue:
    """What never became a message; names of files for those who may read content."""
    asked = read_address(RefusedAddress)
    with console_work() as work:
        page = refusals.list_refused(work, asked.filters, key=asked.key)
        names = refusals.open_names(work, page.items) if g.actor.may("message.content") else {}
        reasons, peers = refusals.list_refusal_words(work)
    return render_template(
        "inbox/refused.html", page=page, reasons=reasons, peers=peers, asked=asked, words=words, told=refusal_words,
        names=names, is_filtered=asked.filters != refusals.RefusalFilters(),
    )  # fmt: skip


@bp.get(f"/refused/{_SEQ}")
@require("message.read", audit="refused.read")
def show_refused(seq: int) -> ResponseReturnValue:
    """One refusal, and the first bytes of it for those who may read them."""
    with console_work() as work:
        found = refusals.get_refused(work, seq, with_content=g.actor.may("message.content"))
    return render_template("inbox/refused_show.html", found=found, words=words, told=refusal_words)


# ── correcting a copy, replaying many ──────────────────────────────────────


@bp.get(f"/messages/{_SEQ}/correct")
@require("message.correct", audit="message.read")
def edit_copy(seq: int) -> ResponseReturnValue:
    """The text of a message, to be corrected in a copy."""
    _require_content()
    return _correct_page(seq)


def _correct_page(
    seq: int, text: str | None = None, reason: str = "", error: HcrmError | None = None
) -> ResponseReturnValue:
    """The form with what was typed; where the message has gone on meanwhile, its refusal is the page."""
    with console_work(write=False) as work:
        draft = draft_copy(work, seq, console_parts())
    shown = draft.text if text is None else text
    errors = form_errors(error) if error else {}
    return render_template(
        "inbox/correct.html", draft=draft, text=shown, reason=reason, errors=errors, words=words
    ), error.status if error else 200  # fmt: skip


@bp.post(f"/messages/{_SEQ}/correct")
@require("message.correct", audit="message.correct")
def send_copy(seq: int) -> ResponseReturnValue:
    """Show what differs; once confirmed, store the copy and let the original rest."""
    _require_content()
    values = form_values()
    step = values.pop("step", "")
    text, reason = str(values.get("text", "")), str(values.get("reason", ""))
    runtime = current_shell().runtime
    if step == "edit":
        return _correct_page(seq, text, reason)
    try:
        entered = read_input(CorrectionInput, values)
        with console_work(write=step == "send") as work:
            correction = check_copy(work, seq, text, console_parts())
            if step == "send":
                lock_original(work, correction)
                (stored,) = store_now(runtime.database, [correction.copy])
                record_correction(work, correction, stored, reason=entered.reason)
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        return _correct_page(seq, text, reason, error)
    if step != "send":
        return render_template(
            "inbox/correct_check.html", message=correction.original, correction=correction, text=text,
            reason=entered.reason, words=words,
        )  # fmt: skip
    flash(f"已存入更正副本 {stored.seq}，稍后处理；原消息不再处理", "success")
    return redirect(url_for("inbox.show_message", seq=stored.seq), 303)


def _require_content() -> None:
    if not g.actor.may("message.content"):
        raise NotAllowedError("message.content", request.endpoint or "")


@bp.get("/messages/replay")
@require("message.replay", audit="none:counts of states and reasons only")
def preview_run() -> ResponseReturnValue:
    """How many messages of which state and reason would go their way again."""
    asked = read_input(MessageAddress, {**request.args.to_dict(), "key": "", "find": ""})
    with console_work() as work:
        found = preview_replay(work, asked.filters)
    return render_template("inbox/replay.html", preview=found, asked=asked, tones=TONES, words=words)


@bp.post("/messages/replay")
@require("message.replay", audit="message.replay")
def start_run() -> ResponseReturnValue:
    """Begin the replay that was shown."""
    values = form_values()
    shown = read_input(ReplayInput, {"upto": values.pop("upto", "")})
    asked = read_input(MessageAddress, {**values, "key": "", "find": ""})
    with console_work() as work:
        run_id = start_replay(work, asked.filters, upto=shown.upto)
    return redirect(url_for("inbox.show_run", run_id=run_id), 303)


@bp.get("/replays/<run_id>")
@require("message.replay", audit="none:counts only")
def show_run(run_id: str) -> ResponseReturnValue:
    """How far a replay is."""
    with console_work() as work:
        run = work.get(ReplayRun, run_id)
        outcomes = count_outcomes(work, run)
    waiting = sum(line.number for line in outcomes if line.state is ApplicationState.WAITING)
    return render_template(
        "inbox/replay_run.html", run=run, outcomes=outcomes, waiting=waiting, tones=TONES, words=words
    )


@bp.post("/replays/<run_id>/stop")
@require("message.replay", audit="message.replay")
def stop_run(run_id: str) -> ResponseReturnValue:
    """Let a replay go no further."""
    with console_work() as work:
        stop_replay(work, run_id)
    flash("已停止；已安排的消息照常处理", "success")
    return redirect(url_for("inbox.show_run", run_id=run_id), 303)


# ── the watch over the interface ────────────────────────────────────────────


@bp.get("/overview")
@require("message.read", audit="none:counts by source and time, nothing of patients")
def overview() -> ResponseReturnValue:
    """Rates, lag and what is parked, as plots with their tables."""
    span = SPANS.get(request.args.get("span", ""), SPANS["24h"])
    with console_work() as work:
        sources, steps = list_traffic(work, hours=span.hours, step=span.step)
        stopped = counted_until(work)
        counts = queries.count_states(work)
        oldest = queries.oldest_waiting(work)
        incidents = count_incidents(work)
    return render_template(
        "inbox/overview.html", sources=sources, steps=steps, counts=counts, oldest=oldest, incidents=incidents,
        states=ApplicationState, words=words, spans=SPANS, span=span, stopped=stopped,
        tables=plot_tables(sources, steps, span),
    )  # fmt: skip


@bp.get("/incidents")
@require("message.read", audit="none:sources, events and counts, nothing of patients")
def list_incidents() -> ResponseReturnValue:
    """What is or was wrong with an interface."""
    asked = read_address(IncidentAddress)
    with console_work() as work:
        page = monitor.list_incidents(
            work, is_open={"open": True, "closed": False}.get(asked.state), key=asked.key
        )
        count = count_incidents(work)
    return render_template("inbox/incidents.html", page=page, count=count, words=words, asked=asked)


@bp.post("/incidents/<incident_id>/acknowledge")
@require("incident.handle", audit="incident.handle")
def acknowledge_incident(incident_id: str) -> ResponseReturnValue:
    """A person knows of an incident and says what is done."""
    entered = read_input(NoteInput, form_values())
    with console_work() as work:
        monitor.acknowledge_incident(work, incident_id, note=entered.note)
    flash("已确认；恢复后自动关闭", "success")
    return redirect(url_for("inbox.list_incidents"), 303)


@bp.get("/sources")
@require("message.read", audit="none:counts by source, nothing of patients")
def list_sources() -> ResponseReturnValue:
    """Every source: when it last sent, what is parked, whether its cut-over is set."""
    with console_work() as work:
        lines = monitor.list_sources(work, console_parts().sources)
        today = local_date(work.clock.now())
    sources = console_parts().sources
    channels = [channel for line in lines for channel in line.channels]
    known = {source.code: source for source in (sources.default, *sources.by_code.values())}.values()
    habits = [(source.title, found) for source in known if (found := list_habits(source))]
    return render_template(
        "inbox/sources.html", lines=lines, channels=channels, words=words, habits=habits, today=f"{today}T00:00",
        places=list_places(sources), fields=ROW_FIELDS,
    )  # fmt: skip
