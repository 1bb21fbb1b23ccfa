"""Pages: figures by department and month, and the rows behind each."""

from flask import Blueprint, g, render_template, request
from flask.typing import ResponseReturnValue

from hcrm.centre.measures import MEASURES
from hcrm.core.errors import DeniedError, HcrmError, NotFoundError
from hcrm.core.measure import Measure
from hcrm.statistics import queries, service
from hcrm.statistics.period import MAX_MONTHS, Month, Period
from hcrm.web.shell import console_work, require, today

bp = Blueprint("statistics", __name__, url_prefix="/statistics")
BY_CODE = {measure.code: measure for measure in MEASURES}
SPANS = (3, 6, 12)


@bp.get("")
@require("statistics.read", audit="none:counts only, no patient is shown")
def overview() -> ResponseReturnValue:
    """Every measure over some months."""
    months = request.args.get("months", type=int) or 6
    period = Period.last(min(max(months, 1), MAX_MONTHS), today())
    department = request.args.get("department") or None
    with console_work() as work:
        results = [
            service.run_measure(work, measure, period=period, department_id=department)
            for measure in MEASURES
        ]
        names = service.department_names(work)
    return render_template(
        "statistics/overview.html", results=results, period=period, months=months, spans=SPANS, queries=queries,
        department=department, department_name=names.get(department or "", ""), this=period.end,
        before=period.end.back(1), is_ratio=service.is_ratio,
    )  # fmt: skip


@bp.get("/<code>/rows")
@require("statistics.read", audit="statistics.open")
def list_rows(code: str) -> ResponseReturnValue:
    """What one figure counted, for those who may also see the patients."""
    measure = _measure(code)
    if not g.actor.may("patient.read"):
        raise DeniedError("statistics.open", subject_type="measure", subject_id=code)
    part = request.args.get("part", queries.DENOMINATOR)
    if part not in queries.PARTS:
        raise HcrmError("statistics.part", "没有这样的部分", status=400)
    start = Month.parse(request.args.get("from") or request.args.get("month", ""))
    period = Period(start, Month.parse(request.args.get("to") or request.args.get("month", "")))
    department = request.args.get("department") or None
    with console_work() as work:
        result = service.run_measure(work, measure, period=period, department_id=department)
        page = queries.list_rows(
            work, measure, period=period, part=part, department_id=department, key=request.args.get("key")
        )
        names = service.department_names(work)
    return render_template(
        "statistics/rows.html", measure=measure, figure=result.total, period=period, part=part, page=page,
        queries=queries, is_ratio=service.is_ratio,
        department_name=names.get(department or "", "未登记科室" if department else ""),
    )  # fmt: skip


def _measure(code: str) -> Measure:
    if code not in BY_CODE:
        raise NotFoundError
    return BY_CODE[code]
