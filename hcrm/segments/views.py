"""Pages of segments: the list, the editor with its live count, and the patients of one."""

from typing import Any

from flask import Blueprint, current_app, g, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from jinja2_fragments.flask import render_block

from hcrm.accounts.permissions import roles
from hcrm.core import limits
from hcrm.core.errors import HcrmError
from hcrm.core.segment import OPERATORS, Operator, values_wanted
from hcrm.core.work import Work
from hcrm.directory.queries import list_departments
from hcrm.segments import queries, service
from hcrm.segments.catalogue import fields_for
from hcrm.segments.columns import COLUMNS, DEFAULT_SORT, SORTS
from hcrm.segments.editor import (
    Draft,
    DraftGroup,
    DraftLine,
    draft_of,
    filter_of_draft,
    read_draft,
    read_entered,
    settle,
)
from hcrm.segments.filters import MATCH_WORDS, SegmentFilter
from hcrm.segments.models import ShareScope
from hcrm.segments.words import filter_words
from hcrm.web.shell import console_work, flash, form_errors, require

bp = Blueprint("segments", __name__, url_prefix="/segments")
_FORM = "segments/edit.html"


@bp.get("")
@require("segment.read", audit="none:names of filters, nothing of patients")
def list_segments() -> ResponseReturnValue:
    """Saved segments."""
    with console_work() as work:
        page = queries.list_segments(work, key=request.args.get("key"))
        fields = fields_for(work)
        filters = {each.id: queries.filter_of(each) for each in page.items}
        words = {key: filter_words(work, wanted, fields) for key, wanted in filters.items()}
        # How many have a grade is the grade's own secret: a number only for who may use every condition.
        numbered = {key for key, wanted in filters.items() if wanted.fields <= fields.keys()}
    return render_template(
        "segments/list.html", page=page, words=words, numbered=numbered, scopes=ShareScope, role_words=_role_words(),
        mine=g.actor.id, classification_url=_url_of("classification.show_rules"),
        grades_url=_url_of("grades.overview"),
    )  # fmt: skip


@bp.get("/new")
@require("segment.read", audit="segment.sample")
def new_segment() -> ResponseReturnValue:
    """An empty form."""
    return _editor(Draft(groups=[DraftGroup(lines=[DraftLine()])]))


@bp.get("/<segment_id>/edit")
@require("segment.read", audit="segment.sample")
def edit_segment(segment_id: str) -> ResponseReturnValue:
    """The form of a saved one; who may not change it saves a copy."""
    with console_work(write=False) as work:
        segment = queries.get_segment(work, segment_id)
        draft, may_change = draft_of(segment), service.may_change(work, segment)
    return _editor(draft, segment_id=segment_id if may_change else None)


@bp.post("/draft")
@require("segment.read", audit="segment.sample")
def redraw_segment() -> ResponseReturnValue:
    """The form anew, after a line or group came or went, or a field was chosen; nothing is saved."""
    draft = read_draft(request.form)
    if request.headers.get("HX-Request") != "true":
        return _editor(draft, segment_id=request.form.get("segment_id") or None)
    with console_work(write=False) as work:
        words = _builder_words(work, draft)
    answer = make_response(render_block(_FORM, "builder", **words, is_fragment=True))
    answer.headers["HX-Trigger-After-Settle"] = "drafted"
    return answer


@bp.post("/preview")
@require("segment.read", audit="segment.sample")
def preview_segment() -> ResponseReturnValue:
    """How many the form as it stands would hold, and some of them."""
    draft = read_draft(request.form)
    calculate = request.form.get("act") == "calculate"
    with console_work(write=False) as work:
        words = _preview_words(work, draft, limits.SEGMENT_CALCULATE_SECONDS if calculate else None)
    return render_block(_FORM, "preview", **words, is_fragment=True)


@bp.post("")
@require("segment.read", audit="segment.create")
def create_segment() -> ResponseReturnValue:
    """Save a new segment."""
    draft = read_draft(request.form)
    try:
        with console_work() as work:
            fields = fields_for(work)
            settle(draft, fields)
            segment_id = service.create_segment(work, entered=read_entered(draft)).id
    except HcrmError as error:
        return _refused(draft, None, error)
    flash("已保存分群", "success")
    return redirect(url_for("segments.show_segment", segment_id=segment_id), 303)


@bp.post("/<segment_id>")
@require("segment.read", audit="segment.change")
def change_segment(segment_id: str) -> ResponseReturnValue:
    """Save another version."""
    draft = read_draft(request.form)
    try:
        with console_work() as work:
            fields = fields_for(work)
            settle(draft, fields)
            entered = read_entered(draft)
            service.change_segment(work, segment_id=segment_id, version=draft.version, entered=entered)
    except HcrmError as error:
        return _refused(draft, segment_id, error)
    flash("已保存分群", "success")
    return redirect(url_for("segments.show_segment", segment_id=segment_id), 303)


@bp.post("/<segment_id>/end")
@require("segment.read", audit="segment.end")
def end_segment(segment_id: str) -> ResponseReturnValue:
    """Take it off the list; for ten seconds that can be undone."""
    with console_work() as work:
        service.end_segment(work, segment_id=segment_id)
    flash("已删除分群", "success", undo=url_for("segments.restore_segment", segment_id=segment_id))
    return redirect(url_for("segments.list_segments"), 303)


@bp.post("/<segment_id>/restore")
@require("segment.read", audit="segment.restore")
def restore_segment(segment_id: str) -> ResponseReturnValue:
    """Undo that."""
    with console_work() as work:
        service.restore_segment(work, segment_id=segment_id)
    flash("已恢复分群", "success")
    return redirect(url_for("segments.list_segments"), 303)


@bp.get("/<segment_id>")
@require("segment.read", audit="segment.list")
def show_segment(segment_id: str) -> ResponseReturnValue:
    """The patients of a segment, page by page."""
    args = request.args
    with console_work() as work:
        segment = queries.get_segment(work, segment_id)
        sort = args.get("sort") if args.get("sort") in SORTS else segment.sort
        chosen = [code for code in args.getlist("column") if code in COLUMNS] or [
            code for code in segment.columns if code in COLUMNS
        ]
        page = queries.list_patients(
            work,
            segment,
            columns=chosen,
            sort=sort or DEFAULT_SORT,
            key=args.get("key"),
            size=limits.PAGE_SIZE,
        )
        fields = fields_for(work)
        words = filter_words(work, queries.filter_of(segment), fields)
        may_change = service.may_change(work, segment)
        only_page = page.next_key is None and page.previous_key is None
    return render_template(
        "segments/show.html", segment=segment, page=page, words=words, sorts=SORTS, sort=sort, chosen=chosen,
        columns=COLUMNS, may_change=may_change, count=len(page.items) if only_page else None,
        is_scoped=g.actor.department_ids is not None, has_no_scope=g.actor.department_ids == frozenset(),
    )  # fmt: skip


@bp.post("/<segment_id>/count")
@require("segment.read", audit="none:a number")
def count_segment(segment_id: str) -> ResponseReturnValue:
    """How many it holds: asked for by its page, which does not wait for it."""
    with console_work() as work:
        segment = queries.get_segment(work, segment_id)
        count = queries.count_patients(
            work, queries.filter_of(segment), seconds=limits.SEGMENT_CALCULATE_SECONDS
        )
        if count is not None:
            service.note_count(work, segment, count)
    return render_block(
        "segments/show.html", "count", count=count, asked=True, segment=segment, is_fragment=True
    )


# ── the common steps ────────────────────────────────────────────────────────


def _editor(
    draft: Draft, *, segment_id: str | None = None, errors: dict[str, str] | None = None, status: int = 200
) -> ResponseReturnValue:
    with console_work(write=False) as work:
        words = _builder_words(work, draft) | _preview_words(work, draft, None)
        words["department_options"] = [(each.id, each.name) for each in list_departments(work)]
    return render_template(
        _FORM, segment_id=segment_id, errors=errors or {}, columns=COLUMNS,
        sort_options=[(code, each.title) for code, each in SORTS.items()],
        scope_options=[(each.value, each.label) for each in ShareScope],
        role_words=_role_words(), may_share=g.actor.may("segment.share"), **words,
    ), status  # fmt: skip


def _refused(draft: Draft, segment_id: str | None, error: HcrmError) -> ResponseReturnValue:
    if error.status not in (409, 422):
        raise error
    return _editor(draft, segment_id=segment_id, errors=form_errors(error), status=error.status)


def _builder_words(work: Work, draft: Draft) -> dict[str, Any]:
    fields = fields_for(work)
    settle(draft, fields)
    used = {line.field for group in draft.groups for line in group.lines if line.field}
    choices = {code: named(work) for code in used if (named := fields[code].choices) is not None}
    by_subject: dict[str, list[Any]] = {}
    for each in fields.values():
        by_subject.setdefault(each.subject.title, []).append(each)
    return {
        "draft": draft, "fields": fields, "by_subject": by_subject, "choices": choices, "matches": MATCH_WORDS,
        "operators": OPERATORS, "wanted": {each.value: values_wanted(each) for each in Operator},
        "max_groups": limits.SEGMENT_GROUPS,
    }  # fmt: skip


def _preview_words(work: Work, draft: Draft, seconds: float | None) -> dict[str, Any]:
    """Count and sample; a line that cannot be read says so in their place."""
    fields = fields_for(work)
    settle(draft, fields)
    try:
        wanted: SegmentFilter = filter_of_draft(draft, complete_only=True)
        count = queries.count_patients(work, wanted, seconds=seconds or limits.SEGMENT_COUNT_SECONDS)
        columns = [code for code in draft.columns if code in COLUMNS][:6]
        sample = queries.sample_patients(work, wanted, columns)
    except HcrmError as error:
        return {"count": None, "sample": None, "sample_columns": [], "said": error.message}
    return {
        "count": count, "sample": sample, "sample_columns": [COLUMNS[code] for code in columns],
        "said": "",
    }  # fmt: skip


def _url_of(endpoint: str) -> str:
    """The address of another part's page, where it is built."""
    return url_for(endpoint) if endpoint in current_app.view_functions else ""


def _role_words() -> dict[str, str]:
    return {name: role.label for name, role in roles().items()}
