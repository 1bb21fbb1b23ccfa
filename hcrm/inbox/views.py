"""Pages: what other systems sent, what became of it, once more please."""

from flask import Blueprint, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from hcrm.core.errors import NotFoundError
from hcrm.inbox import queries, words
from hcrm.inbox.models import ApplicationState
from hcrm.inbox.service import replay_messages
from hcrm.web.shell import console_work, flash, require

bp = Blueprint("inbox", __name__, url_prefix="/interface")
TONES = {
    ApplicationState.WAITING: "work", ApplicationState.APPLIED: "done", ApplicationState.IGNORED: "off",
    ApplicationState.HELD: "near", ApplicationState.PARKED: "late",
}  # fmt: skip
"""How each state looks in a list."""


@bp.get("/messages")
@require("message.read", audit="none:states and codes only, no content")
def list_messages() -> ResponseReturnValue:
    """Messages by arrival."""
    args = request.args
    filters = queries.MessageFilters(
        state=_state(args.get("state", "")),
        kind=args.get("kind", ""),
        source=args.get("source", ""),
        control_id=args.get("control_id", "").strip(),
        reason=args.get("reason", ""),
    )
    with console_work() as work:
        page = queries.list_messages(work, filters, key=args.get("key"))
        counts = queries.count_states(work)
    return render_template(
        "inbox/list.html", page=page, counts=counts, states=ApplicationState, tones=TONES, words=words,
        is_filtered=any((filters.state, filters.kind, filters.source, filters.control_id, filters.reason)),
    )  # fmt: skip


@bp.get("/messages/<int(max=9223372036854775807):seq>")
@require("message.read", audit="message.read")
def show_message(seq: int) -> ResponseReturnValue:
    """One message: its way, and its text for those who may read it."""
    with console_work() as work:
        found = queries.get_message(work, seq, with_content=g.actor.may("message.content"))
    return render_template("inbox/show.html", found=found, tones=TONES, words=words)


@bp.post("/messages/<int(max=9223372036854775807):seq>/replay")
@require("message.replay", audit="message.replay")
def replay_message(seq: int) -> ResponseReturnValue:
    """Let the worker apply a message again."""
    with console_work() as work:
        if not replay_messages(work, seqs=[seq]):
            raise NotFoundError
    flash("已安排重新处理，稍后刷新查看结果", "success")
    return redirect(url_for("inbox.show_message", seq=seq))


@bp.get("/refused")
@require("message.read", audit="none:no content is kept of what was refused")
def list_refused() -> ResponseReturnValue:
    """What never became a message."""
    with console_work() as work:
        rows = queries.list_refused(work)
    return render_template("inbox/refused.html", rows=rows, words=words)


def _state(value: str) -> ApplicationState | None:
    return ApplicationState(value) if value in {state.value for state in ApplicationState} else None
