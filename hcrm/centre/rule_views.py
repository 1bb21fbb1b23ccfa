"""Pages: the rules of one axis as text, the draft beside what is in force, publishing it, and taking back."""

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from hcrm.centre import rerun
from hcrm.centre.classification_rules import Axis, AxisRules
from hcrm.centre.condition_words import fact_help
from hcrm.centre.published import published_rules
from hcrm.centre.rule_drafts import (
    KIND,
    compare_rules,
    discard_rules_draft,
    publish_rules_draft,
    rule_text,
    rule_versions,
    rules_draft,
    save_rules_draft,
    take_back_rules,
)
from hcrm.core import limits
from hcrm.core.definition_file import parse_definition
from hcrm.core.definitions import definition_body
from hcrm.core.errors import HcrmError, NotFoundError
from hcrm.core.work import Work
from hcrm.web.shell import console_work, flash, form_errors, require

bp = Blueprint("rules", __name__, url_prefix="/classification/rules")
_BYTES = limits.RULES_TEXT * 4 * 2  # the text field and a file, in UTF-8
EXAMPLE = {
    Axis.SPECIALTY: "  - {code: cardiology, gives: cardiology, label: 心血管内科,\n"
    "     when: [{fact: department.name, contains: [心内, 心血管]}]}",
    Axis.DISEASE_GROUP: "  - {code: diabetes, gives: diabetes, label: 糖尿病,\n"
    "     when: [{fact: diagnosis.code, starts_with: [E10-E14]}]}",
    Axis.REGION: "  - {code: west_lake, gives: west_lake, label: 西湖区,\n"
    '     when: [{fact: region.code, starts_with: "330106"}]}',
}
"""A rule to copy, by axis."""


@bp.get("/<axis>")
@require("rules.manage", audit="none:rules, nothing of patients")
def edit_rules(axis: str) -> ResponseReturnValue:
    """The text in force, or the draft, to be changed."""
    return _editor(_axis(axis))


@bp.post("/<axis>")
@require("rules.manage", audit="rules.draft", max_bytes=_BYTES)
def save_draft(axis: str) -> ResponseReturnValue:
    """Check a text, or a file in its place, and keep it as the draft; nothing is in force by it."""
    which, seen = _axis(axis), request.form.get("seen", "")
    text = request.form.get("text", "")
    try:
        file = request.files.get("file")
        if file is not None and file.filename:
            text = _read(file.read(_BYTES))
        with console_work() as work:
            is_new = save_rules_draft(work, axis=which, seen=seen, text=text)
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        return _editor(which, text=text, errors=form_errors(error), status=error.status)
    if not is_new:
        flash("与现行规则相同，没有草稿", "success")
        return redirect(url_for("rules.edit_rules", axis=axis), 303)
    return redirect(url_for("rules.show_draft", axis=axis), 303)


@bp.get("/<axis>/draft")
@require("rules.manage", audit="none:rules, nothing of patients")
def show_draft(axis: str) -> ResponseReturnValue:
    """What the draft changes, rule by rule."""
    which = _axis(axis)
    with console_work() as work:
        draft = rules_draft(work, which)
        changes = compare_rules(_in_force(work, which), draft)
        text = rule_text(work, which)
    return render_template("classification/draft.html", axis=which, draft=draft, changes=changes, text=text)


@bp.post("/<axis>/preview")
@require("rules.manage", audit="rerun.preview")
def preview_draft(axis: str) -> ResponseReturnValue:
    """Let the job compare all stays with the draft; nothing is changed by it."""
    try:
        with console_work() as work:
            run_id = rerun.start_preview(work, draft=rules_draft(work, _axis(axis))).id
    except HcrmError as error:
        return _refused(error, "rules.show_draft", axis)
    return redirect(url_for("classification.show_run", run_id=run_id), 303)


@bp.post("/<axis>/publish")
@require("rules.manage", audit="rules.publish")
def publish_draft(axis: str) -> ResponseReturnValue:
    """Put the draft in force; for ten seconds that can be undone."""
    which = _axis(axis)
    try:
        with console_work() as work:
            version = publish_rules_draft(work, axis=which, seen=request.form.get("seen", ""))
            seen = rule_text(work, which).seen
    except HcrmError as error:
        return _refused(error, "rules.show_draft", axis)
    undo = url_for("rules.take_back", axis=axis, version=version - 1, seen=seen) if version > 1 else None
    flash(f"已发布{which.label}规则第 {version} 版，新的就诊按它分类", "success", undo=undo)
    return redirect(url_for("classification.show_rules"), 303)


@bp.post("/<axis>/discard")
@require("rules.manage", audit="rules.discard")
def discard_draft(axis: str) -> ResponseReturnValue:
    """Leave the draft."""
    try:
        with console_work() as work:
            discard_rules_draft(work, axis=_axis(axis), seen=request.form.get("seen", ""))
    except HcrmError as error:
        return _refused(error, "rules.show_draft", axis)
    flash("已放弃草稿", "success")
    return redirect(url_for("rules.edit_rules", axis=axis), 303)


@bp.get("/<axis>/versions/<int:version>")
@require("rules.manage", audit="none:rules, nothing of patients")
def show_version(axis: str, version: int) -> ResponseReturnValue:
    """One version as it was published, and what differs from today's."""
    which = _axis(axis)
    with console_work() as work:
        body = definition_body(work, kind=KIND, code=axis, version=version)
        then, now = parse_definition(AxisRules, body, which.label), _in_force(work, which)
        changes = compare_rules(now, then) if now and now.version != version else []
        text = rule_text(work, which)
    return render_template(
        "classification/version.html", axis=which, version=version, body=body, changes=changes, text=text,
        is_current=now is not None and now.version == version,
    )  # fmt: skip


@bp.post("/<axis>/versions/<int:version>/restore")
@require("rules.manage", audit="rules.take_back")
def take_back(axis: str, version: int) -> ResponseReturnValue:
    """Put an earlier version in force again, under a new number."""
    which, seen = _axis(axis), request.values.get("seen", "")
    try:
        with console_work() as work:
            newest = take_back_rules(work, axis=which, version=version, seen=seen)
    except HcrmError as error:
        return _refused(error, "rules.edit_rules", axis)
    flash(f"已恢复{which.label}规则第 {version} 版的内容，作为第 {newest} 版", "success")
    return redirect(url_for("rules.edit_rules", axis=axis), 303)


def _editor(
    axis: Axis, *, text: str | None = None, errors: dict[str, str] | None = None, status: int = 200
) -> ResponseReturnValue:
    with console_work() as work:
        standing, versions = rule_text(work, axis), rule_versions(work, axis)
    return render_template(
        "classification/edit.html", axis=axis, axes=Axis, standing=standing, versions=versions,
        text=standing.text if text is None else text, facts=fact_help(), example=EXAMPLE[axis],
        errors=errors or {}, seen=request.form.get("seen", standing.seen),
    ), status  # fmt: skip


def _refused(error: HcrmError, endpoint: str, axis: str) -> ResponseReturnValue:
    if error.status not in (409, 422):
        raise error
    flash(error.message, "danger")
    return redirect(url_for(endpoint, axis=axis), 303)


def _axis(word: str) -> Axis:
    try:
        return Axis(word)
    except ValueError:
        raise NotFoundError from None


def _in_force(work: Work, axis: Axis) -> AxisRules | None:
    return next((each for each in published_rules(work) if each.code is axis), None)


def _read(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise HcrmError("rules.file", "文件须以 UTF-8 编码保存", field="file") from None
