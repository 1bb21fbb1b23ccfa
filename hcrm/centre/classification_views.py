"""Pages of the classification rules: what is in force, and sorting all stays anew with a preview."""

from collections.abc import Callable

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from jinja2_fragments.flask import render_block

from hcrm.centre import rerun
from hcrm.centre.classification_rules import Axis
from hcrm.centre.published import published_rules
from hcrm.centre.rerun_models import ClassificationRun, RunState
from hcrm.centre.rerun_queries import (
    count_changes,
    get_run,
    is_undoable,
    list_changes,
    list_runs,
    why_nothing,
)
from hcrm.centre.rule_drafts import rule_text
from hcrm.core.errors import HcrmError
from hcrm.web.shell import console_work, flash, require

bp = Blueprint("classification", __name__, url_prefix="/classification")
TONES = {
    RunState.PREVIEWING: "work", RunState.READY: "near", RunState.APPLYING: "work", RunState.DONE: "done",
    RunState.UNDOING: "work", RunState.UNDONE: "off", RunState.STOPPED: "late",
}  # fmt: skip


@bp.get("")
@require("rules.manage", audit="none:rules and counts, nothing of patients")
def show_rules() -> ResponseReturnValue:
    """The rules in force, and the re-runs so far."""
    with console_work() as work:
        rules, runs = published_rules(work), list_runs(work)
        drafts = {axis.value for axis in Axis if rule_text(work, axis).is_draft}
    newest = {each.code.value: each.version for each in rules}
    done = next((run for run in runs if run.state is RunState.DONE), None)
    return render_template(
        "classification/rules.html", rules=rules, drafts=drafts, runs=runs, tones=TONES, axes=Axis,
        is_current=done is not None and done.rules == newest,
    )  # fmt: skip


@bp.post("/runs")
@require("rules.manage", audit="rerun.preview")
def start_preview() -> ResponseReturnValue:
    """Compare all stays with the rules in force; nothing is changed by it."""
    try:
        with console_work() as work:
            run_id = rerun.start_preview(work).id
    except HcrmError as error:
        if error.status != 409:
            raise
        flash(error.message, "danger")
        return redirect(url_for("classification.show_rules"), 303)
    return redirect(url_for("classification.show_run", run_id=run_id), 303)


@bp.get("/runs/<run_id>")
@require("rules.manage", audit="rerun.sample")
def show_run(run_id: str) -> ResponseReturnValue:
    """What a re-run changes, from what to what, and the stays behind each number."""
    args = request.args
    axis = args.get("axis", "") if args.get("axis") in {each.value for each in Axis} else ""
    with console_work() as work:
        run = get_run(work, run_id)
        lines = count_changes(work, run_id)
        page = list_changes(
            work,
            run_id=run_id,
            axis=axis,
            before=args.get("before"),
            after=args.get("after"),
            key=args.get("key"),
        )
        undoable = is_undoable(work, run)
        published = {each.code.value: each.version for each in published_rules(work)}
        nothing = why_nothing(work, run)
        waiting = [each for each in Axis if rule_text(work, each).is_draft]
    drafts = [each for each, version in run.rules.items() if version > published.get(each, 0)]
    return render_template(
        "classification/run.html", run=run, lines=lines, page=page, axes=Axis, states=RunState, tones=TONES,
        axis=axis, undoable=undoable, drafts=drafts, active=rerun.ACTIVE, nothing=nothing,
        left_out=[each for each in waiting if not drafts and run.state in (RunState.PREVIEWING, RunState.READY)],
    )  # fmt: skip


@bp.get("/runs/<run_id>/progress")
@require("rules.manage", audit="none:counts of a job")
def watch_run(run_id: str) -> ResponseReturnValue:
    """How far it is, asked again and again; when it ends the page is loaded anew."""
    with console_work() as work:
        run = get_run(work, run_id)
        nothing = why_nothing(work, run)
    if run.state not in rerun.ACTIVE:
        return "", 200, {"HX-Refresh": "true"}
    return render_block(
        "classification/run.html", "progress", run=run, states=RunState, active=rerun.ACTIVE, nothing=nothing,
        is_fragment=True,
    )  # fmt: skip


@bp.post("/runs/<run_id>/apply")
@require("rules.manage", audit="rerun.apply")
def apply_run(run_id: str) -> ResponseReturnValue:
    """Change what the preview showed."""
    return _decide(run_id, rerun.apply_run, "已开始重新分类，可离开本页")


@bp.post("/runs/<run_id>/stop")
@require("rules.manage", audit="rerun.stop")
def stop_run(run_id: str) -> ResponseReturnValue:
    """Do nothing more for now."""
    return _decide(run_id, rerun.stop_run, "已停止，可继续或撤销")


@bp.post("/runs/<run_id>/resume")
@require("rules.manage", audit="rerun.resume")
def resume_run(run_id: str) -> ResponseReturnValue:
    """Go on where it was stopped."""
    return _decide(run_id, rerun.resume_run, "已继续")


@bp.post("/runs/<run_id>/undo")
@require("rules.manage", audit="rerun.undo")
def undo_run(run_id: str) -> ResponseReturnValue:
    """Put back the classes from before."""
    return _decide(run_id, rerun.undo_run, "已开始恢复原来的分类")


def _decide(run_id: str, act: Callable[..., ClassificationRun], words: str) -> ResponseReturnValue:
    try:
        with console_work() as work:
            act(work, run_id=run_id)
    except HcrmError as error:
        if error.status != 409:
            raise
        flash(error.message, "danger")
    else:
        flash(words, "success")
    return redirect(url_for("classification.show_run", run_id=run_id), 303)
