"""Pages: who is on duty, who holds which clinic, a week at a time; copying a week, taking it out as a file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any

from flask import Blueprint, Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from hcrm.core import limits
from hcrm.core.clock import local_date
from hcrm.core.errors import HcrmError
from hcrm.core.inputs import Blank, Day, Input, OptionalText, read_input
from hcrm.core.work import Work
from hcrm.core.workbook import XLSX_TYPE, write_xlsx
from hcrm.directory.entries import EntryKind
from hcrm.directory.queries import all_departments, count_unverified
from hcrm.directory.roster_kinds import DUTY, SCHEDULE
from hcrm.directory.roster_models import Session
from hcrm.directory.rosters import copy_week, is_over_midnight, list_duty, list_schedule, monday_of
from hcrm.web.shell import console_work, flash, form_values, require

bp = Blueprint("rosters", __name__, url_prefix="/directory")
_NOBODY = "none:nothing of patients"
_MOST_COLUMNS = 4  # shifts side by side


class WeekAddress(Input):
    """Which week of which department."""

    week: Annotated[Day | None, Blank] = None
    department: OptionalText = None


class CopyInput(Input):
    """Which week is copied to which."""

    week: Day
    department: OptionalText = None
    to: Day


@dataclass(frozen=True, slots=True)
class _Page:
    """One of the two lists."""

    kind: EntryKind
    endpoint: str
    template: str
    rows: Callable[..., Sequence[Any]]
    heads: tuple[str, ...]
    line: Callable[[Any], tuple[str, ...]]


def _duty_line(row: Any) -> tuple[str, ...]:
    one = row.DutyShift
    return (
        one.day.isoformat(), row.department or "", row.campus or "", one.shift, one.starts, one.ends, row.code,
        row.staff, one.phone or "", "" if one.is_active else "是",
    )  # fmt: skip


def _schedule_line(row: Any) -> tuple[str, ...]:
    one = row.ScheduleSlot
    return (
        one.day.isoformat(), row.department or "", row.campus or "", one.session.label, row.code, row.staff,
        one.clinic_type.label, str(one.capacity), "是" if one.is_stopped else "", one.note or "",
    )  # fmt: skip


_DUTY = _Page(
    DUTY, "rosters.show_rosters", "directory/rosters.html", list_duty,
    ("日期", "科室", "院区", "班次", "开始", "结束", "工号", "姓名", "值班电话", "取消"), _duty_line,
)  # fmt: skip
_SCHEDULE = _Page(
    SCHEDULE, "rosters.show_schedules", "directory/schedules.html", list_schedule,
    ("日期", "科室", "院区", "时段", "工号", "姓名", "号别", "号数", "停诊", "说明"), _schedule_line,
)  # fmt: skip


@bp.get("/rosters")
@require("directory.read", audit=_NOBODY)
def show_rosters() -> ResponseReturnValue:
    """Who is on duty in a week."""
    return _show(_DUTY)


@bp.get("/schedules")
@require("directory.read", audit=_NOBODY)
def show_schedules() -> ResponseReturnValue:
    """Who holds which clinic in a week."""
    return _show(_SCHEDULE)


@bp.get("/rosters.xlsx")
@require("directory.read", audit=_NOBODY)
def download_rosters() -> ResponseReturnValue:
    """The week as a file that can be taken in again."""
    return _download(_DUTY)


@bp.get("/schedules.xlsx")
@require("directory.read", audit=_NOBODY)
def download_schedules() -> ResponseReturnValue:
    """The week as a file that can be taken in again."""
    return _download(_SCHEDULE)


@bp.post("/rosters/copy")
@require("directory.manage", audit="directory.change")
def copy_rosters() -> ResponseReturnValue:
    """Copy a department's week."""
    return _copy(_DUTY)


@bp.post("/schedules/copy")
@require("directory.manage", audit="directory.change")
def copy_schedules() -> ResponseReturnValue:
    """Copy a department's week."""
    return _copy(_SCHEDULE)


def _show(page: _Page) -> ResponseReturnValue:
    asked = read_input(WeekAddress, request.args.to_dict())
    with console_work() as work:
        monday = _monday(work, asked)
        rows = page.rows(work, monday=monday, department_id=asked.department)
        departments = all_departments(work)
        unverified = count_unverified(work)
    model = page.kind.model.__name__
    days = [monday + timedelta(days=after) for after in range(7)]
    return render_template(
        page.template, rows=rows[: limits.ROSTER_SHOWN], is_cut=len(rows) > limits.ROSTER_SHOWN, days=days,
        columns=_shifts(rows) if page is _DUTY else _sessions(rows), grid=_grid(rows, model, page is _DUTY),
        monday=monday, asked=asked, departments=departments, unverified=unverified, kind=page.kind,
        before=monday - timedelta(days=7), after=monday + timedelta(days=7),
    )  # fmt: skip


def _monday(work: Work, asked: WeekAddress) -> date:
    return monday_of(asked.week or local_date(work.clock.now()))


def _shifts(rows: Sequence[Any]) -> list[tuple[str, str]]:
    """Names of shifts, the earliest first, by day before round the clock; one column where there are too many."""

    def time_of(row: Any) -> tuple[str, bool]:
        return row.DutyShift.starts, is_over_midnight(row.DutyShift.starts, row.DutyShift.ends)

    found = dict.fromkeys(row.DutyShift.shift for row in sorted(rows, key=time_of))
    return [(name, name) for name in found] if len(found) <= _MOST_COLUMNS else [("", "值班")]


def _sessions(rows: Sequence[Any]) -> list[tuple[str, str]]:
    """Morning and afternoon, the evening where there are clinics."""
    used = {row.ScheduleSlot.session for row in rows}
    return [(one.value, one.label) for one in Session if one is not Session.EVENING or one in used]


def _grid(rows: Sequence[Any], model: str, is_duty: bool) -> dict[tuple[date, str], list[Any]]:
    """What stands in which cell."""
    is_wide = is_duty and _shifts(rows) == [("", "值班")]
    grid: dict[tuple[date, str], list[Any]] = {}
    for row in rows[: limits.ROSTER_SHOWN]:
        one = getattr(row, model)
        column = "" if is_wide else one.shift if is_duty else one.session.value
        grid.setdefault((one.day, column), []).append(row)
    return grid


def _download(page: _Page) -> ResponseReturnValue:
    asked = read_input(WeekAddress, request.args.to_dict())
    with console_work() as work:
        monday = _monday(work, asked)
        rows = page.rows(work, monday=monday, department_id=asked.department)
    content = write_xlsx(page.kind.label, [page.heads, *map(page.line, rows[: limits.ROSTER_SHOWN])])
    name = f"{page.kind.code}-{monday.isoformat()}.xlsx"
    return Response(
        content, mimetype=XLSX_TYPE, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def _copy(page: _Page) -> ResponseReturnValue:
    week, department = (str(form_values().get(name, ""))[:64] for name in ("week", "department"))
    try:
        entered = read_input(CopyInput, form_values())
        with console_work() as work:
            count = copy_week(
                work, page.kind, department_id=entered.department or "", monday=entered.week, to=entered.to
            )
        week = monday_of(entered.to).isoformat()
    except HcrmError as error:
        if error.status != 422:
            raise
        flash(error.message, "danger")
    else:
        flash(f"已复制 {count} 条", "success")
    return redirect(url_for(page.endpoint, week=week, department=department), 303)
