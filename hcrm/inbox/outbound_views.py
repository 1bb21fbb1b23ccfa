"""Pages: what we send to other systems, what became of it, once more please."""

from functools import cache

from flask import Blueprint, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from hcrm.core.destinations import Destinations
from hcrm.core.runtime import open_destinations
from hcrm.inbox import outbound_queries as queries
from hcrm.inbox import words
from hcrm.inbox.outbound_acts import (
    count_resendable,
    pause_destination,
    remake_message,
    resend_failed,
    resend_message,
    stop_message,
)
from hcrm.inbox.outbound_models import OutboundState
from hcrm.inbox.views import console_parts
from hcrm.web.shell import console_work, flash, require

bp = Blueprint("outbound", __name__, url_prefix="/interface/outbound")
_SEQ = "<int(max=9223372036854775807):seq>"
TONES = {
    OutboundState.PENDING: "work", OutboundState.SENDING: "near", OutboundState.DELIVERED: "done",
    OutboundState.FAILED: "late", OutboundState.STOPPED: "off",
}  # fmt: skip
"""How each state looks in a list."""


@cache
def configured() -> Destinations:
    """The files, read once, as at every start."""
    return open_destinations()


@bp.get("")
@require("message.read", audit="none:states and codes only, no content")
def list_messages() -> ResponseReturnValue:
    """Messages by number, and above them where they go."""
    args = request.args
    filters = queries.OutboundFilters(
        state=_state(args.get("state", "")),
        destination=args.get("destination", ""),
        control_id=args.get("control_id", "").strip(),
    )
    with console_work() as work:
        page = queries.list_outbound(work, filters, key=args.get("key"))
        counts = queries.count_outbound(work, destination=filters.destination)
        destinations = queries.list_destinations(work, configured())
        now = work.clock.now()
    return render_template(
        "outbound/list.html", page=page, counts=counts, destinations=destinations, states=OutboundState, tones=TONES,
        words=words, titles={row.code: row.title for row in destinations}, now=now,
        is_filtered=any((filters.state, filters.destination, filters.control_id)),
    )  # fmt: skip


@bp.get(f"/{_SEQ}")
@require("message.read", audit="outbound.read")
def show_message(seq: int) -> ResponseReturnValue:
    """One message: its way, and its text for those who may read it."""
    with console_work() as work:
        found = queries.get_outbound(work, seq, configured(), with_content=g.actor.may("message.content"))
    to = configured().by_code.get(found.message.destination)
    return render_template("outbound/show.html", found=found, to=to, tones=TONES, words=words)


@bp.post(f"/{_SEQ}/resend")
@require("outbound.manage", audit="outbound.resend")
def resend(seq: int) -> ResponseReturnValue:
    """Send it again."""
    with console_work() as work:
        resend_message(work, seq=seq)
    flash("已放回待发队列，稍后刷新查看结果", "success")
    return redirect(url_for("outbound.show_message", seq=seq))


@bp.post(f"/{_SEQ}/remake")
@require("outbound.manage", audit="outbound.remake")
def remake(seq: int) -> ResponseReturnValue:
    """Write it anew: it failed before there was a text."""
    with console_work() as work:
        remake_message(work, seq=seq, remakers=console_parts().remakers)
    flash("已安排重新生成，片刻后见列表", "success")
    return redirect(url_for("outbound.list_messages"))


@bp.post(f"/{_SEQ}/stop")
@require("outbound.manage", audit="outbound.stop")
def stop(seq: int) -> ResponseReturnValue:
    """Take it out of the queue."""
    with console_work() as work:
        stop_message(work, seq=seq)
    flash("已停发", "success")
    return redirect(url_for("outbound.show_message", seq=seq))


@bp.get("/destinations/<code>/resend")
@require("outbound.manage", audit="none:a count only")
def ask_resend_failed(code: str) -> ResponseReturnValue:
    """How many would go again, before they do."""
    with console_work() as work:
        count = count_resendable(work, destination=code)
    to = configured().by_code.get(code)
    return render_template("outbound/resend.html", code=code, title=to.title if to else code, count=count)


@bp.post("/destinations/<code>/resend")
@require("outbound.manage", audit="outbound.resend_failed")
def resend_all_failed(code: str) -> ResponseReturnValue:
    """Send again what failed there."""
    with console_work() as work:
        count = resend_failed(work, destination=code)
    flash(f"已把 {count} 条失败的消息放回待发队列", "success")
    return redirect(url_for("outbound.list_messages", destination=code))


@bp.post("/destinations/<code>/pause")
@require("outbound.manage", audit="outbound.pause")
def pause(code: str) -> ResponseReturnValue:
    """Send nothing there until further notice."""
    with console_work() as work:
        pause_destination(work, code=code, is_paused=True)
    flash("已暂停，新消息会排队等候", "success")
    return redirect(url_for("outbound.list_messages"))


@bp.post("/destinations/<code>/resume")
@require("outbound.manage", audit="outbound.resume")
def resume(code: str) -> ResponseReturnValue:
    """Go on, at once."""
    with console_work() as work:
        pause_destination(work, code=code, is_paused=False)
    flash("已恢复发送", "success")
    return redirect(url_for("outbound.list_messages"))


def _state(value: str) -> OutboundState | None:
    return OutboundState(value) if value in {state.value for state in OutboundState} else None
