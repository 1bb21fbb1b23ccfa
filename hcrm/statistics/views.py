"""Pages: figures by department and month, and the rows behind each."""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from hcrm.centre.measures import MEASURES
from hcrm.core.errors import NotFoundError
from hcrm.core.measure import Measure, Part, Period, Unit, first_of_month, next_month
from hcrm.statistics import queries, service
from hcrm.web.shell import console_work, require, today

bp = Blueprint("statistics", __name__, url_prefix="/statistics")
BY_CODE = {measure.code: measure for measure in MEASURES}
SPANS = (3, 6, 12)
MAX_MONTHS = 24
MISSED = "missed"
PARTS = {Part.DENOMINATOR.value: "全部", Part.NUMERATOR.value: "计入分子", MISSED: "未计入分子"}
"""Which rows of a ratio a page shows."""


@bp.get("")
@require("statistics.read", audit="none:counts only, no patient is shown")
def overview() -> ResponseReturnValue:
    """Every measure over some months."""
    months = min(max(request.args.get("months", 6, type=int), 1), MAX_MONTHS)
    period = Period.last_months(today(), months)
    department = request.args.get("department") or None
    with console_work() as work:
        tables = [
            service.tabulate_measure(work, measure, period=period, department_id=department)
            for measure in MEASURES
        ]
        names = service.department_names(work)
    this_month = first_of_month(today())
    return render_template(
        "statistics/overview.html", tables=tables, period=period, months=months, spans=SPANS,
        department=department, department_name=names.get(department or "", service.NO_DEPARTMENT), Unit=Unit,
        this_month=this_month, last_month=Period.last_months(today(), 2).start,
    )  # fmt: skip


@bp.get("/<code>/rows")
@require("statistics.read", audit="statistics.open")
def list_rows(code: str) -> ResponseReturnValue:
    """What one figure counted."""
    measure = _measure(code)
    start = service.read_month(request.args.get("from") or request.args.get("month", ""))
    end = service.read_month(request.args.get("to") or request.args.get("month", ""))
    period = Period(start, next_month(end))
    shown = request.args.get("part", Part.DENOMINATOR.value)
    if shown not in PARTS:
        raise NotFoundError
    department = request.args.get("department") or None
    with console_work() as work:
        figure = service.run_measure(work, measure, period=period, department_id=department)
        page = queries.list_rows(
            work, measure, period=period, department_id=department, key=request.args.get("key"),
            part=Part.DENOMINATOR if shown == MISSED else Part(shown), missed=shown == MISSED,
        )  # fmt: skip
        names = service.department_names(work)
    return render_template(
        "statistics/rows.html", measure=measure, figure=figure, start=start, end=end, shown=shown, parts=PARTS,
        page=page, Unit=Unit, opens_instruction=measure.subject.__tablename__ == "instruction",
        department_name=names.get(department, service.NO_DEPARTMENT) if department else "",
    )  # fmt: skip


def _measure(code: str) -> Measure:
    if code not in BY_CODE:
        raise NotFoundError
    return BY_CODE[code]
