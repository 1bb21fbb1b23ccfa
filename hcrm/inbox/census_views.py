"""Pages: whether yesterday's stays of a HIS's own list are the archive's, and what to do about those that are not."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from flask import Blueprint, Response, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from hcrm.core.errors import NotFoundError
from hcrm.core.inputs import Blank, Day, Input, OptionalText, read_input
from hcrm.core.sources import Sources
from hcrm.inbox import census_acts as acts
from hcrm.inbox import census_queries as queries
from hcrm.inbox import census_stays as stays
from hcrm.inbox import words
from hcrm.inbox.census_compare import CLASSLESS
from hcrm.inbox.census_export import line_values, write_sheet
from hcrm.inbox.census_list import SETTLING
from hcrm.inbox.census_models import (
    OF_OTHER_PATIENT,
    CensusLine,
    CensusRun,
    Finding,
    LineState,
    Movement,
    RunState,
)
from hcrm.inbox.inputs import NoteInput
from hcrm.inbox.intake import store_now
from hcrm.inbox.row_words import column_words, left_out_words
from hcrm.inbox.views import TONES as MESSAGE_TONES
from hcrm.inbox.views import console_parts
from hcrm.web.shell import console_work, current_shell, flash, form_values, require

bp = Blueprint("census", __name__, url_prefix="/interface/census")
RUN_TONES = {
    RunState.COMPLETE: "done", RunState.SUSPECT: "late", RunState.ABSENT: "late", RunState.UNREADABLE: "late",
}  # fmt: skip
LINE_TONES = {
    LineState.OPEN: "late", LineState.REQUESTED: "near", LineState.APPLIED: "work", LineState.EXPLAINED: "off",
}  # fmt: skip
FINDING_TONES = {Finding.MISSING: "late", Finding.EXTRA: "near", Finding.DIFFERING: "near"}
_SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class DayAddress(Input):
    """Which day of which source; the newest of the first without."""

    source: OptionalText = None
    day: Annotated[Day | None, Blank] = None
    number: Annotated[int | None, Blank] = None


class LinesAddress(Input):
    """What the findings are narrowed to."""

    movement: Annotated[Movement | None, Blank] = None
    finding: Annotated[Finding | None, Blank] = None
    state: Annotated[LineState | None, Blank] = None
    department: str | None = None  # empty: of no department
    key: OptionalText = None

    @property
    def filters(self) -> queries.LineFilters:
        """The same for the query."""
        return queries.LineFilters(self.movement, self.finding, self.state, self.department)


class StaysAddress(Input):
    """Which number the stays are of."""

    side: stays.Side = stays.Side.OURS
    movement: Annotated[Movement | None, Blank] = None
    department: str | None = None  # empty: of no department
    key: OptionalText = None


class ApplyAddress(Input):
    """Which page of what would change."""

    key: OptionalText = None


@bp.get("")
@require("message.read", audit="none:counts by department, nothing of patients")
def show_day() -> ResponseReturnValue:
    """One day: what the list has, what we have, and where they disagree."""
    asked = read_input(DayAddress, request.args.to_dict())
    sources = _sources()
    configured = [source.code for source in sources.by_code.values() if source.census is not None]
    with console_work() as work:
        codes = list(dict.fromkeys([*configured, *queries.list_sources_with_runs(work)]))
        source = asked.source if asked.source in codes else (codes[0] if codes else "")
        days = queries.list_days(work, source) if source else ()
        day = asked.day or (days[0].day if days else None)
        runs = queries.find_runs(work, source, day) if day else ()
        run = _chosen(runs, asked.number)
        states = queries.count_line_states(work, run.id) if run else {}
        can_apply = run is not None and run.state is RunState.COMPLETE
        applicable = acts.count_applicable(work, run.id) if run and can_apply else 0
        requestable = acts.count_requestable(work, run.id) if run and can_apply else 0
    rows = queries.matrix_of(run) if run else []
    left_out = queries.left_out_of(run) if run else {}
    return render_template(
        "census/day.html", codes=codes, source=source, day=day, days=days, runs=runs, run=run, rows=rows,
        is_latest=bool(run) and run is runs[0], totals=queries.totals_of(rows), states=states, applicable=applicable,
        requestable=requestable, left_out=left_out_words(left_out), classless=left_out.get(CLASSLESS, 0),
        has_stays=source in configured, Side=stays.Side, SETTLING=SETTLING,
        RunState=RunState, LineState=LineState, run_tones=RUN_TONES, line_tones=LINE_TONES, words=words,
    )  # fmt: skip


def _chosen(runs: Sequence[CensusRun], number: int | None) -> CensusRun | None:
    return next((run for run in runs if number in (None, run.number)), None)


@bp.get("/<run_id>/lines")
@require("message.read", audit="census.list")
def list_lines(run_id: str) -> ResponseReturnValue:
    """What disagrees."""
    asked = read_input(LinesAddress, request.args.to_dict())
    with console_work() as work:
        run = work.get(CensusRun, run_id)
        page = queries.list_lines(work, run_id, asked.filters, key=asked.key)
        departments = queries.department_names(work, page.items, asked.department or "")
    return render_template(
        "census/lines.html", run=run, page=page, asked=asked, departments=departments, values=_values(departments),
        Movement=Movement, Finding=Finding, LineState=LineState,
        line_tones=LINE_TONES, finding_tones=FINDING_TONES, words=words, number=_number, day=run.day,
        kept={name: value for name, value in request.args.items() if name != "key"},
    )  # fmt: skip


@bp.get("/<run_id>/stays")
@require("message.read", audit="census.list")
def list_stays(run_id: str) -> ResponseReturnValue:
    """The stays a number of the matrix counts, those that agree among them."""
    asked = read_input(StaysAddress, request.args.to_dict())
    which = stays.Asked(asked.side, asked.movement, asked.department)
    with console_work() as work:
        run = work.get(CensusRun, run_id)
        source = _sources().by_code.get(run.source)
        if source is None or source.census is None or run.state is not RunState.COMPLETE:
            raise NotFoundError
        page = stays.list_stays(work, run, source, which, key=asked.key)
        number = stays.count_stays(work, run, source, which)
        departments = queries.department_names(work, (), asked.department or "")
    return render_template(
        "census/stays.html", run=run, page=page, asked=asked, departments=departments, count=number,
        counted=stays.count_then(run, which), Side=stays.Side, words=words,
        finding_tones=FINDING_TONES, number=_number, day=run.day,
    )  # fmt: skip


@bp.get("/<run_id>/lines.xlsx")
@require("message.read", audit="census.export")
def export_lines(run_id: str) -> ResponseReturnValue:
    """The same as a sheet."""
    asked = read_input(LinesAddress, request.args.to_dict())
    with console_work() as work:
        run = work.get(CensusRun, run_id)
        lines = queries.export_lines(work, run_id, asked.filters)
        departments = queries.department_names(work, lines)
    sheet = write_sheet(run, lines, is_clear=g.actor.may("message.content"), departments=departments)
    name = f"census-{run.source}-{run.day:%Y%m%d}-{run.number}.xlsx"
    return Response(
        sheet, mimetype=_SHEET, headers={"Content-Disposition": f"attachment; filename={name}"}
    )  # fmt: skip


@bp.get("/lines/<line_id>")
@require("message.read", audit="census.read")
def show_line(line_id: str) -> ResponseReturnValue:
    """One finding: both values, the list's row, messages of the stay."""
    with console_work() as work:
        found = queries.get_line(work, line_id, with_content=g.actor.may("message.content"))
        can_apply = acts.is_applicable(work, found.line)
        departments = queries.department_names(work, [found.line])
    source = _sources().by_code.get(found.run.source)
    heads = column_words(source.census) if source is not None and source.census is not None else {}
    return render_template(
        "census/line.html", found=found, line=found.line, run=found.run, words=words, number=_number,
        line_tones=LINE_TONES, message_tones=MESSAGE_TONES, LineState=LineState, can_apply=can_apply,
        OF_OTHER_PATIENT=OF_OTHER_PATIENT, Finding=Finding, heads=heads, departments=departments,
        values=_values(departments),
    )  # fmt: skip


@bp.get("/<run_id>/apply")
@require("message.replay", audit="census.list")
def ask_apply(run_id: str) -> ResponseReturnValue:
    """Which stays would be applied, and what of them would change."""
    asked = read_input(ApplyAddress, request.args.to_dict())
    with console_work() as work:
        run = work.get(CensusRun, run_id)
        count = acts.count_applicable(work, run_id)
        page = acts.list_applicable(work, run_id, key=asked.key)
        departments = queries.department_names(work, page.items)
    return render_template(
        "census/apply.html", run=run, count=count, page=page, departments=departments, number=_number,
        values=_values(departments), finding_tones=FINDING_TONES, words=words,
    )  # fmt: skip


@bp.post("/<run_id>/apply")
@require("message.replay", audit="census.apply")
def apply_run(run_id: str) -> ResponseReturnValue:
    """Let every row of the list that is missing or differs become a message."""
    return _apply(run_id)


@bp.post("/lines/<line_id>/apply")
@require("message.replay", audit="census.apply")
def apply_line(line_id: str) -> ResponseReturnValue:
    """The same for one stay."""
    with console_work(write=False) as work:
        run_id = queries.get_run_of(work, line_id)
    return _apply(run_id, line_id)


def _apply(run_id: str, line_id: str | None = None) -> ResponseReturnValue:
    database = current_shell().runtime.database
    with console_work() as work:
        count = acts.apply_lines(
            work, run_id=run_id, sources=_sources(), store=lambda found: store_now(database, found),
            line_id=line_id,
        )  # fmt: skip
        run = work.get(CensusRun, run_id)
    flash(f"已按名单补录 {count} 人次，稍后处理；几分钟后自动再对一次", "success")
    return _back(run, line_id)


@bp.post("/<run_id>/request")
@require("incident.handle", audit="census.request")
def request_run(run_id: str) -> ResponseReturnValue:
    """Note that the HIS's office was asked for all that is open."""
    with console_work() as work:
        count = acts.request_lines(work, run_id=run_id)
        run = work.get(CensusRun, run_id)
    flash(f"{count} 条差异已标为已请求；请导出清单交 HIS 处理", "success")
    return _back(run)


@bp.post("/lines/<line_id>/request")
@require("incident.handle", audit="census.request")
def request_line(line_id: str) -> ResponseReturnValue:
    """The same for one finding."""
    with console_work() as work:
        run_id = queries.get_run_of(work, line_id)
        acts.request_lines(work, run_id=run_id, line_id=line_id)
        run = work.get(CensusRun, run_id)
    flash("已标为已请求", "success")
    return _back(run, line_id)


@bp.post("/lines/<line_id>/explain")
@require("incident.handle", audit="census.explain")
def explain_line(line_id: str) -> ResponseReturnValue:
    """Say why a finding is none."""
    entered = read_input(NoteInput, form_values())
    with console_work() as work:
        line = acts.explain_line(work, line_id=line_id, note=entered.note)
        run = work.get(CensusRun, line.run_id)
    flash("已说明；此条不再告警", "success")
    return _back(run, line_id)


@bp.post("/<run_id>/repeat")
@require("incident.handle", audit="census.repeat")
def repeat_run(run_id: str) -> ResponseReturnValue:
    """Have the day compared again."""
    with console_work() as work:
        acts.repeat_run(work, run_id=run_id)
        run = work.get(CensusRun, run_id)
    flash("已安排再对一次，约五分钟内完成", "success")
    return _back(run)


@bp.post("/<run_id>/believe")
@require("incident.handle", audit="census.repeat")
def believe_run(run_id: str) -> ResponseReturnValue:
    """A list that seemed wrong is right: compare with it."""
    with console_work() as work:
        acts.repeat_run(work, run_id=run_id, is_believed=True)
        run = work.get(CensusRun, run_id)
    flash("已采信这份名单，约五分钟内对账", "success")
    return _back(run)


def _back(run: CensusRun, line_id: str | None = None) -> ResponseReturnValue:
    if line_id is not None:
        return redirect(url_for("census.show_line", line_id=line_id), 303)
    return redirect(url_for("census.show_day", source=run.source, day=run.day.isoformat()), 303)


def _number(value: str) -> str:
    return queries.masked_number(value, is_clear=g.actor.may("message.content"))


def _values(departments: Mapping[str, str]) -> Callable[[CensusLine], tuple[str, str]]:
    """What the list and the archive say of a finding, for this reader."""
    is_clear = g.actor.may("message.content")
    return lambda line: line_values(line, is_clear=is_clear, departments=departments)


def _sources() -> Sources:
    return console_parts().sources
