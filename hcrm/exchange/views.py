"""Pages: files taken in. Upload, choose columns, look at the dry run, let it run, take it back."""

from collections.abc import Sequence
from contextlib import closing
from typing import Annotated, Any

from flask import Blueprint, Response, current_app, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import RequestEntityTooLarge

from hcrm.core import limits
from hcrm.core.errors import HcrmError, InvalidInput
from hcrm.core.importing import Importer, Option, Verdict
from hcrm.core.inputs import Blank, Input, OptionalText, read_input
from hcrm.core.workbook import CSV_TYPE, XLSX_TYPE, write_csv, write_xlsx
from hcrm.exchange import imports as acts
from hcrm.exchange import queries
from hcrm.exchange.imports import Importers
from hcrm.exchange.models import AT_WORK, ImportRow, ImportRun, ImportState, RowState
from hcrm.exchange.table_file import check_size
from hcrm.web.errors import answer_error
from hcrm.web.paging import Page
from hcrm.web.shell import console_work, flash, form_errors, require

bp = Blueprint("exchange", __name__, url_prefix="/import")
_BESIDE_FILE = 1024  # bytes of a form with one file that are not the file's, about
_SHOWN = 3  # columns of a row beside what it does
TONES = {
    ImportState.UPLOADED: "open", ImportState.CHECKED: "near", ImportState.DONE: "done", ImportState.FAILED: "late",
    ImportState.STOPPED: "near", ImportState.REVERTED: "off", ImportState.CANCELLED: "off",
}  # fmt: skip
VERDICT_TONES = {
    Verdict.NEW: "done", Verdict.CHANGED: "work", Verdict.SAME: "off", Verdict.REPEATED: "near",
    Verdict.AMBIGUOUS: "late", Verdict.WRONG: "late",
}  # fmt: skip
ROW_TONES = {
    RowState.WRITTEN: "done", RowState.MOVED: "near", RowState.REVERTED: "off", RowState.ENDED: "off",
    RowState.KEPT: "late",
}  # fmt: skip


class _ListAddress(Input):
    key: OptionalText = None


class _NewAddress(Input):
    kind: OptionalText = None


class _RowsAddress(Input):
    verdict: Annotated[Verdict | None, Blank] = None
    state: Annotated[RowState | None, Blank] = None
    key: OptionalText = None

    @property
    def filter(self) -> queries.RowFilter:
        """The same for the query."""
        return queries.RowFilter(self.verdict, self.state)


def importers() -> Importers:
    """The kinds of file this installation takes in."""
    found: Importers = current_app.extensions["hcrm.importers"]
    return found


@bp.get("")
@require("data.import", audit="none:names of kinds, counts and who imported; nothing of patients")
def list_imports() -> ResponseReturnValue:
    """Every import, the latest first."""
    asked = read_input(_ListAddress, request.args.to_dict())
    with console_work() as work:
        page = queries.list_runs(work, key=asked.key)
        names = {run.id: queries.file_name(work, run) for run in page.items}
    return render_template(
        "exchange/list.html", page=page, names=names, importers=importers(), tones=TONES, AT_WORK=AT_WORK
    )


@bp.get("/new")
@require("data.import", audit="none:an empty form")
def new_import() -> ResponseReturnValue:
    """Which kind, which file."""
    asked = read_input(_NewAddress, request.args.to_dict())
    return _new_page({"kind": asked.kind or ""}, {})


def _new_page(values: dict[str, str], errors: dict[str, str], status: int = 200) -> ResponseReturnValue:
    page = render_template(
        "exchange/new.html", importers=importers(), values=values, errors=errors,
        most=limits.MAX_UPLOAD_BYTES // 1024**2, rows=limits.MAX_LIST_ROWS,
    )  # fmt: skip
    return page, status


@bp.post("/new")
@require("data.import", audit="import.upload", max_bytes=limits.MAX_UPLOAD_BYTES + 64 * 1024)
def upload() -> ResponseReturnValue:
    """Keep the file and go on to its columns."""
    kind = request.form.get("kind", "")
    file = request.files.get("file")
    errors = {}
    if kind not in importers():
        errors["kind"] = "请选择导入什么"
    if file is None or not file.filename:
        errors["file"] = "请选择文件"
    if errors or file is None:
        return _new_page({"kind": kind}, errors, 422)
    with closing(file):
        content = file.read()
    try:
        with console_work() as work:
            run_id = acts.upload_file(
                work, importers=importers(), kind=kind, name=file.filename or "", content=content
            )
    except HcrmError as error:
        return _new_page({"kind": kind}, form_errors(error), error.status)
    return redirect(url_for("exchange.edit_columns", run_id=run_id), 303)


@bp.errorhandler(RequestEntityTooLarge)
def refuse_large(error: RequestEntityTooLarge) -> ResponseReturnValue:
    """A file whose request was not even read: the form again, with its size at the field."""
    if request.endpoint != "exchange.upload" or g.actor is None or not g.actor.may("data.import"):
        return answer_error(error)
    try:
        check_size((request.content_length or 0) - _BESIDE_FILE)
    except HcrmError as refusal:
        return _new_page({}, form_errors(refusal), 413)
    return answer_error(error)


@bp.get("/kinds/<kind>.xlsx")
@require("data.import", audit="none:an empty list with its headings")
def download_template(kind: str) -> ResponseReturnValue:
    """An empty list: headings, and what goes below them."""
    with console_work(write=False) as work:
        importer = acts.importer_of(work, importers(), kind)
    heads = [f"{column.title}（必填）" if column.required else column.title for column in importer.columns]
    content = write_xlsx(importer.title, [heads])
    return _download(content, f"{importer.kind}.xlsx", XLSX_TYPE)


# ── columns ─────────────────────────────────────────────────────────────────


@bp.get("/<run_id>/columns")
@require("data.import", audit="import.read")
def edit_columns(run_id: str) -> ResponseReturnValue:
    """Which column is which."""
    with console_work() as work:
        run = work.get(ImportRun, run_id)
        if run.state not in (ImportState.UPLOADED, ImportState.CHECKED):
            return redirect(url_for("exchange.show_import", run_id=run_id), 303)
        return _columns_page(work, run, dict(run.places), dict(run.options), {})


def _columns_page(
    work: Any, run: ImportRun, places: dict[str, int], options: dict[str, str], errors: dict[str, str],
    status: int = 200,
) -> ResponseReturnValue:  # fmt: skip
    importer = acts.importer_of(work, importers(), run.kind)
    offered = importer.options(work)
    sample = queries.sample_of(work, run)
    page = render_template(
        "exchange/columns.html", run=run, importer=importer, name=queries.file_name(work, run), places=places,
        options=offered, chosen=_chosen(offered, options), errors=errors, earlier=queries.same_file(work, run),
        headings=[(str(at), f"{_letter(at)} 列：{name or '（没有列名）'}") for at, name in enumerate(run.heading)],
        examples={code: _examples(sample, at) for code, at in places.items()}, letter=_letter,
        labels=_labels(importer, offered),
    )  # fmt: skip
    return page, status


def _chosen(offered: Sequence[Option], options: dict[str, str]) -> dict[str, str]:
    """Choices of before as far as they are still offered, else the first."""
    return {
        option.code: options[option.code]
        if options.get(option.code) in dict(option.values)
        else option.values[0][0]
        for option in offered
    }


def _labels(importer: Importer, offered: Sequence[Option]) -> dict[str, str]:
    return {f"column-{column.code}": column.title for column in importer.columns} | {
        f"option-{option.code}": option.title for option in offered
    }


def _examples(sample: list[list[str]], at: int) -> str:
    values = [line[at] for line in sample if at < len(line) and line[at]]
    return "、".join(values[:3])


def _letter(at: int) -> str:
    """A column as a spreadsheet names it: 0 is A, 26 is AA."""
    name = ""
    at += 1
    while at:
        at, rest = divmod(at - 1, 26)
        name = chr(ord("A") + rest) + name
    return name


@bp.post("/<run_id>/columns")
@require("data.import", audit="import.check")
def choose_columns(run_id: str) -> ResponseReturnValue:
    """Read the file by these columns and say what it would do."""
    fields = request.form
    places = {
        name.removeprefix("column-"): int(value)
        for name, value in fields.items()
        if name.startswith("column-") and value.isdecimal() and len(value) < 6
    }
    options = {
        name.removeprefix("option-"): value for name, value in fields.items() if name.startswith("option-")
    }
    try:
        with console_work() as work:
            acts.choose_columns(work, importers=importers(), run_id=run_id, places=places, options=options)
    except InvalidInput as error:
        with console_work(write=False) as work:
            return _columns_page(work, work.get(ImportRun, run_id), places, options, dict(error.errors), 422)
    return redirect(url_for("exchange.show_import", run_id=run_id), 303)


# ── one import ──────────────────────────────────────────────────────────────


@bp.get("/<run_id>")
@require("data.import", audit="import.read")
def show_import(run_id: str) -> ResponseReturnValue:
    """How far it is, what it would do or did, and the rows. Asked again by itself, it is loaded anew at the end."""
    asked = read_input(_RowsAddress, request.args.to_dict())
    with console_work() as work:
        run = work.get(ImportRun, run_id)
        if run.state is ImportState.UPLOADED:
            return redirect(url_for("exchange.edit_columns", run_id=run_id), 303)
        importer = acts.importer_of(work, importers(), run.kind)
        if run.state not in AT_WORK and request.headers.get("HX-Request") == "true":
            return "", 200, {"HX-Refresh": "true"}
        has_rows = run.state not in AT_WORK and run.purged_at is None and run.state is not ImportState.FAILED
        page: Page[ImportRow] | None = None
        lines: list[queries.RowLine] = []
        if has_rows:
            page, lines = queries.list_rows(work, run, importer, asked.filter, key=asked.key)
        columns = {column.code: column for column in importer.columns}
        return render_template(
            "exchange/show.html", run=run, importer=importer, name=queries.file_name(work, run), page=page,
            lines=[
                (line, queries.is_announced(work, line), queries.row_reasons(line.row, columns, run)[1])
                for line in lines
            ],
            may_confirm=acts.may_confirm(run, importer),
            returned=queries.count_returned(work, run) if has_rows else 0, earlier=queries.same_file(work, run),
            asked=asked, Verdict=Verdict, RowState=RowState, ImportState=ImportState, AT_WORK=AT_WORK, tones=TONES,
            verdict_tones=VERDICT_TONES, row_tones=ROW_TONES, keep_days=limits.IMPORT_KEEP_DAYS,
            shown=[at for at in run.places.values() if at < len(run.heading)][:_SHOWN],
        )  # fmt: skip


@bp.post("/<run_id>/run")
@require("data.import", audit="import.run")
def confirm_import(run_id: str) -> ResponseReturnValue:
    """Do what was announced."""
    with console_work() as work:
        acts.confirm_import(work, run_id=run_id, importers=importers())
    return _back(run_id)


@bp.post("/<run_id>/stop")
@require("data.import", audit="import.stop")
def stop_import(run_id: str) -> ResponseReturnValue:
    """Go no further."""
    with console_work() as work:
        acts.stop_import(work, run_id=run_id)
    flash("已停止；已写入的行可以撤销", "success")
    return _back(run_id)


@bp.post("/<run_id>/resume")
@require("data.import", audit="import.run")
def resume_import(run_id: str) -> ResponseReturnValue:
    """Go on."""
    with console_work() as work:
        acts.resume_import(work, run_id=run_id)
    return _back(run_id)


@bp.post("/<run_id>/discard")
@require("data.import", audit="import.discard")
def discard_import(run_id: str) -> ResponseReturnValue:
    """Drop it."""
    with console_work() as work:
        acts.discard_import(work, run_id=run_id)
    flash("已放弃，上传的文件已删除", "success")
    return redirect(url_for("exchange.list_imports"), 303)


@bp.post("/<run_id>/revert")
@require("data.import", audit="import.revert")
def revert_import(run_id: str) -> ResponseReturnValue:
    """Take it back."""
    with console_work() as work:
        acts.revert_import(work, run_id=run_id)
    return _back(run_id)


@bp.get("/<run_id>/errors.<form>")
@require("data.import", audit="import.errors")
def download_errors(run_id: str, form: str) -> ResponseReturnValue:
    """The rows that were not taken in, with their reasons."""
    with console_work() as work:
        run = work.get(ImportRun, run_id)
        importer = acts.importer_of(work, importers(), run.kind)
        lines = queries.marked_lines(work, run, importer)
        if form == "csv":
            content, kind = write_csv(lines), CSV_TYPE
        else:
            content, kind = write_xlsx("未导入的行", lines), XLSX_TYPE
    return _download(
        content, f"import-errors-{run.created_at:%Y%m%d%H%M}.{'csv' if form == 'csv' else 'xlsx'}", kind
    )


def _download(content: bytes, name: str, kind: str) -> Response:
    answer = Response(content, mimetype=kind.partition(";")[0])
    answer.headers["Content-Type"] = kind
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _back(run_id: str) -> ResponseReturnValue:
    return redirect(url_for("exchange.show_import", run_id=run_id), 303)
