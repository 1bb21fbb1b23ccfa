"""Pages: files taken out. Ask with a purpose, approve, fetch."""

from typing import Annotated

from flask import Blueprint, Response, current_app, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from hcrm.core import limits
from hcrm.core.clock import local_time
from hcrm.core.errors import HcrmError
from hcrm.core.inputs import Blank, Input, OptionalText, read_input
from hcrm.exchange import exports as acts
from hcrm.exchange.export_models import ExportPurpose, ExportRequest, ExportState
from hcrm.exchange.exports import Exportables, Wish
from hcrm.web.shell import console_work, flash, form_errors, require

bp = Blueprint("exports", __name__, url_prefix="/export")
TONES = {
    ExportState.WAITING: "near", ExportState.QUEUED: "work", ExportState.READY: "done", ExportState.REJECTED: "late",
    ExportState.FAILED: "late", ExportState.EXPIRED: "off",
}  # fmt: skip
_OWN = ("list", "key")


class _ListAddress(Input):
    key: OptionalText = None


class _DecisionInput(Input):
    verdict: str
    note: str = ""


class _PurposeInput(Input):
    purpose: Annotated[ExportPurpose | None, Blank] = None


def exportables() -> Exportables:
    """The lists this installation gives out."""
    found: Exportables = current_app.extensions["hcrm.exportables"]
    return found


@bp.get("")
@require("data.export", audit="none:titles of lists and who asked; nothing of patients")
def list_exports() -> ResponseReturnValue:
    """One's own, and what waits for one's word."""
    asked = read_input(_ListAddress, request.args.to_dict())
    with console_work() as work:
        page = acts.list_exports(work, key=asked.key)
        waiting = acts.list_waiting(work) if g.actor.may("data.export_approve") else ()
    return render_template(
        "exchange/exports.html", page=page, waiting=waiting, tones=TONES, keep_hours=limits.EXPORT_KEEP_HOURS
    )


@bp.get("/approvals")
@require("data.export_approve", audit="none:titles of lists and who asked; nothing of patients")
def list_approvals() -> ResponseReturnValue:
    """What waits for a second person, for those who take nothing out themselves."""
    with console_work() as work:
        waiting = acts.list_waiting(work)
    return render_template("exchange/exports.html", page=None, waiting=waiting, tones=TONES, keep_hours=0)


@bp.get("/new")
@require("data.export", audit="none:a number of rows")
def new_export() -> ResponseReturnValue:
    """Which columns, what for."""
    asked = {name: value for name, value in request.args.items() if name not in _OWN and value}
    kind = request.args.get("list", "")
    return _new_page(kind, asked, {}, {}, chosen=None)


def _new_page(
    kind: str,
    asked: dict[str, str],
    values: dict[str, str],
    errors: dict[str, str],
    *,
    chosen: list[str] | None,
) -> ResponseReturnValue:
    with console_work(write=False) as work:
        exportable = acts.exportable_of(exportables(), kind, g.actor)
        title, rows = exportable.title(work, asked), exportable.count(work, exportable.fix(work, asked))
        free = acts.free_rows_left(work, g.actor.id)
    codes = [column.code for column in exportable.columns if not column.is_masked]
    page = render_template(
        "exchange/export_new.html", kind=kind, asked=asked, title=title, rows=rows, values=values, errors=errors,
        columns=[
            (column.code, f"{column.title}（隐去中间几位）" if column.is_masked else column.title)
            for column in exportable.columns
        ],
        chosen=codes if chosen is None else chosen, purposes=[(one.value, one.label) for one in ExportPurpose],
        most=acts.most_rows(g.actor), free=free, free_hours=limits.EXPORT_FREE_HOURS,
        keep_hours=limits.EXPORT_KEEP_HOURS,
    )  # fmt: skip
    return page, 422 if errors else 200


@bp.post("/new")
@require("data.export", audit="export.request")
def request_export() -> ResponseReturnValue:
    """Ask for it."""
    form = request.form
    asked = {name.removeprefix("asked-"): value for name, value in form.items() if name.startswith("asked-")}
    values = {
        name: form.get(name, "").strip() for name in ("purpose", "purpose_text", "file_form", "clear_reason")
    }
    values["is_clear"] = form.get("is_clear", "")
    try:
        purpose = read_input(_PurposeInput, {"purpose": values["purpose"]}).purpose
        wish = Wish(
            kind=form.get("list", ""), asked=asked, columns=form.getlist("columns"), file_form=values["file_form"],
            purpose=purpose, purpose_text=values["purpose_text"], is_clear=bool(values["is_clear"]),
            clear_reason=values["clear_reason"],
        )  # fmt: skip
        with console_work() as work:
            made = acts.request_export(work, exportables=exportables(), wish=wish)
    except HcrmError as error:
        if error.status != 422:
            raise
        return _new_page(
            form.get("list", ""), asked, values, form_errors(error), chosen=form.getlist("columns")
        )
    flash(
        "已申请，等待另一个人批准" if made.state is ExportState.WAITING else "正在生成，稍候可以下载",
        "success",
    )
    return redirect(url_for("exports.show_export", request_id=made.id), 303)


@bp.get("/<request_id>")
@require("account.self", audit="none:what was asked for and why; nothing of patients")
def show_export(request_id: str) -> ResponseReturnValue:
    """One file: what, why, whose word, and where it is. For who asked and who approves."""
    with console_work() as work:
        found = acts.get_export(work, request_id)
    titles = {
        column.code: column.title for column in exportables()[found.kind].columns
    } if found.kind in exportables() else {}  # fmt: skip
    return render_template(
        "exchange/export.html", found=found, tones=TONES, titles=titles, ExportState=ExportState,
        may_decide=_may_decide(found),
    )  # fmt: skip


def _may_decide(found: ExportRequest) -> bool:
    is_waiting = found.state is ExportState.WAITING
    return is_waiting and g.actor.may("data.export_approve") and found.requested_by != g.actor.id


@bp.post("/<request_id>/decide")
@require("data.export_approve", audit="export.approve")
def decide_export(request_id: str) -> ResponseReturnValue:
    """Yes or no."""
    entered = _read_decision()
    with console_work() as work:
        acts.decide_export(
            work, request_id=request_id, is_approved=entered.verdict == "yes", note=entered.note
        )
    flash("已批准，正在生成" if entered.verdict == "yes" else "已退回", "success")
    return redirect(url_for("exports.show_export", request_id=request_id), 303)


def _read_decision() -> _DecisionInput:
    form = request.form
    return read_input(_DecisionInput, {"verdict": form.get("verdict", ""), "note": form.get("note", "")})


@bp.get("/<request_id>/file")
@require("data.export", audit="export.download")
def download_export(request_id: str) -> ResponseReturnValue:
    """The file, for who asked."""
    with console_work(write=True) as work:
        found, content = acts.fetch_export(work, request_id=request_id)
    name = f"export-{local_time(found.requested_at):%Y%m%d%H%M}-{found.id[-6:]}.{found.file_form}"
    answer = Response(content)
    answer.headers["Content-Type"] = acts.media_type(found)
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer
