"""Pages: entries of the directory, each with its form and history; regions; code maps."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from hcrm.core.errors import HcrmError, NotFoundError
from hcrm.core.inputs import Input, OptionalText, read_input
from hcrm.core.sources import Sources
from hcrm.core.work import Work
from hcrm.directory.code_maps import CODE_KINDS, list_mapped, list_unmapped, sighting_of
from hcrm.directory.entries import (
    EntryConflict,
    EntryKind,
    change_entry,
    create_entry,
    get_entry,
    list_changes,
    undo_change,
    values_of,
)
from hcrm.directory.kinds import KINDS
from hcrm.directory.queries import (
    choices_of,
    count_unverified,
    find_regions,
    list_campuses,
    name_references,
)
from hcrm.directory.staff_merge import merge_staff, part_staff, preview_merge
from hcrm.web.shell import console_work, flash, form_errors, form_values, require

bp = Blueprint("entries", __name__, url_prefix="/directory")
SOURCES = "hcrm.inbox.sources"
_NOBODY = "none:nothing of patients"
_BASE = "base"
_LISTS = {
    "campus": "entries.show_campuses",
    "department": "directory.show_departments",
    "practitioner": "directory.show_staff",
    "region": "entries.show_regions",
    "code_map": "entries.show_codes",
    "duty": "rosters.show_rosters",
    "schedule": "rosters.show_schedules",
}


class _RegionAddress(Input):
    q: OptionalText = None
    ended: OptionalText = None


class _CodeAddress(Input):
    source: OptionalText = None
    kind: OptionalText = None


# ── lists ───────────────────────────────────────────────────────────────────


@bp.get("/campuses")
@require("directory.read", audit=_NOBODY)
def show_campuses() -> ResponseReturnValue:
    """Campuses and how many departments each has."""
    with console_work() as work:
        rows = list_campuses(work)
        unverified = count_unverified(work)
    return render_template("directory/campuses.html", rows=rows, unverified=unverified)


@bp.get("/regions")
@require("directory.read", audit=_NOBODY)
def show_regions() -> ResponseReturnValue:
    """Regions by name or code; old codes too."""
    asked = read_input(_RegionAddress, request.args.to_dict())
    with console_work() as work:
        rows = find_regions(work, words=(asked.q or "")[:64], only_ended=bool(asked.ended))
        unverified = count_unverified(work)
    return render_template("directory/regions.html", rows=rows, asked=asked, unverified=unverified)


@bp.get("/codes")
@require("directory.read", audit=_NOBODY)
def show_codes() -> ResponseReturnValue:
    """Codes that nothing maps, and one table of one source."""
    asked = read_input(_CodeAddress, request.args.to_dict())
    sources = _sources()
    source = (
        asked.source
        if asked.source and asked.source in sources.by_code
        else next(iter(sources.by_code), "default")
    )
    kind = asked.kind if asked.kind and asked.kind in CODE_KINDS else "department"
    with console_work() as work:
        unmapped = list_unmapped(work, sources)
        mapped = list_mapped(work, sources, source_code=source, kind=kind)
        unverified = count_unverified(work)
    return render_template(
        "directory/codes.html", unmapped=unmapped, mapped=mapped, sources=sources.by_code, source=source, kind=kind,
        kinds=CODE_KINDS, unverified=unverified,
    )  # fmt: skip


# ── one entry ───────────────────────────────────────────────────────────────


@bp.get("/<kind>/new")
@require("directory.manage", audit=_NOBODY)
def new_entry(kind: str) -> ResponseReturnValue:
    """An empty form; what stands in the address fills it."""
    found = _kind(kind)
    values = {name: request.args[name][:200] for name in found.fields if name in request.args}
    return _page(found, None, values={"is_active": True, **values})


@bp.post("/<kind>/new")
@require("directory.manage", audit="directory.change")
def add_entry(kind: str) -> ResponseReturnValue:
    """Enter it."""
    found = _kind(kind)
    typed = form_values()
    try:
        entered = read_input(found.inputs, typed)
        with console_work() as work:
            key = create_entry(work, found, entered)
    except HcrmError as error:
        return _page(found, None, values=typed, errors=form_errors(error), status=error.status)
    flash(f"已新增{found.label}", "success")
    return redirect(url_for("entries.show_entry", kind=kind, key=key), 303)


@bp.get("/<kind>/<key>")
@require("directory.read", audit=_NOBODY)
def show_entry(kind: str, key: str) -> ResponseReturnValue:
    """The entry, its form for whoever may change it, and what became of it."""
    return _page(_kind(kind), key)


@bp.post("/<kind>/<key>")
@require("directory.manage", audit="directory.change")
def save_entry(kind: str, key: str) -> ResponseReturnValue:
    """Change it; a field that somebody changed meanwhile is shown with both words."""
    found = _kind(kind)
    typed = form_values()
    base = _base_of(typed.pop(_BASE, ""))
    try:
        entered = read_input(found.inputs, typed)
        with console_work() as work:
            changed = change_entry(work, found, key, base=base, entered=entered)
    except EntryConflict as conflict:
        return _page(found, key, values=typed, base=conflict.current, clashes=conflict.clashes, status=409)
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        return _page(found, key, values=typed, base=base, errors=form_errors(error), status=error.status)
    flash("已保存" if changed else "没有改动", "success" if changed else "info")
    return redirect(url_for("entries.show_entry", kind=kind, key=key), 303)


@bp.post("/<kind>/<key>/undo/<change_id>")
@require("directory.manage", audit="directory.undo")
def undo(kind: str, key: str, change_id: str) -> ResponseReturnValue:
    """Take the latest change back."""
    found = _kind(kind)
    try:
        with console_work() as work:
            undo_change(work, found, key, change_id)
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        flash(error.message, "danger")
    else:
        flash("已撤销最近一次修改", "success")
    return redirect(url_for("entries.show_entry", kind=kind, key=key), 303)


@bp.post("/practitioner/<key>/merge")
@require("directory.manage", audit="directory.merge")
def merge(key: str) -> ResponseReturnValue:
    """What would move where this is the same person as another entry; moved once that was seen and confirmed."""
    into = str(form_values().get("into", ""))[:64]
    is_sure = form_values().get("confirmed") == "1"
    try:
        with console_work(write=is_sure) as work:
            if not is_sure:
                preview = preview_merge(work, duplicate_id=key, into_code=into)
                return render_template("directory/merge.html", preview=preview)
            merge_staff(work, duplicate_id=key, into_code=into)
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        return _page(KINDS["practitioner"], key, errors=form_errors(error), into=into, status=error.status)
    flash("已合并，可在本页撤销", "success")
    return redirect(url_for("entries.show_entry", kind="practitioner", key=key), 303)


@bp.post("/practitioner/<key>/part")
@require("directory.manage", audit="directory.merge")
def part(key: str) -> ResponseReturnValue:
    """Two entries again."""
    try:
        with console_work() as work:
            part_staff(work, duplicate_id=key)
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        flash(error.message, "danger")
    else:
        flash("已拆开，合并时转走的工作回到本条", "success")
    return redirect(url_for("entries.show_entry", kind="practitioner", key=key), 303)


# ── helpers ─────────────────────────────────────────────────────────────────


def _kind(code: str) -> EntryKind:
    if code not in KINDS:
        raise NotFoundError
    return KINDS[code]


def _sources() -> Sources:
    sources: Sources = current_app.extensions[SOURCES]
    return sources


def _base_of(text: str) -> dict[str, Any]:
    """What the form had shown; a form without it, or with anything else in its place, has shown nothing."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _page(
    kind: EntryKind,
    key: str | None,
    *,
    values: Mapping[str, Any] | None = None,
    base: Mapping[str, Any] | None = None,
    errors: Mapping[str, str] | None = None,
    clashes: Sequence[Any] = (),
    into: str = "",
    status: int = 200,
) -> ResponseReturnValue:
    with console_work(write=False) as work:
        standing = values_of(kind, get_entry(work, kind, key)) if key else {}
        changes = list_changes(work, kind, key) if key else ()
        names = {**_names(work, changes, clashes, standing), **(kind.words or {})}
        sighted = (
            sighting_of(
                work, source=standing["source"], kind=standing["kind"], local_code=standing["local_code"]
            )
            if key and kind.code == "code_map"
            else None
        )
        choices = choices_of(work, kind.code, code_kind=str((values or standing).get("kind") or ""))
    if kind.code == "code_map":
        choices["source"] = [(one.code, one.title) for one in _sources().by_code.values()]
        choices["kind"] = [(code, one.label) for code, one in CODE_KINDS.items()]
    shown = dict(values) if values is not None else standing
    return render_template(
        "directory/entry.html", kind=kind, key=key, values=shown, standing=standing, errors=errors or {},
        base=json.dumps(dict(base) if base is not None else standing, ensure_ascii=False), changes=changes, names=names,
        choices=choices, clashes=clashes, into=into, sighted=sighted, list_url=_list_url(kind, shown),
    ), status  # fmt: skip


def _list_url(kind: EntryKind, shown: Mapping[str, Any]) -> str:
    """The list it stands in; of a week its own week and department."""
    if "day" not in kind.fields:
        return url_for(_LISTS[kind.code])
    week, department = str(shown.get("day") or "")[:10], str(shown.get("department_id") or "")[:32]
    return url_for(_LISTS[kind.code], week=week, department=department)


def _names(
    work: Work, changes: Sequence[Any], clashes: Sequence[Any], standing: Mapping[str, Any]
) -> dict[str, str]:
    """What keys of other entries are called, wherever this page shows one."""
    found: set[str] = set()
    for values in [
        standing,
        *(part for change in changes for part in (change.before or {}, change.after or {})),
    ]:
        found.update(str(value) for name, value in values.items() if name.endswith("_id") and value)
    for clash in clashes:
        found.update(str(value) for value in (clash.mine, clash.current, clash.original) if value)
    return name_references(work, found)
