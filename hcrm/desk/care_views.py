"""The list of patients in care who have no next step."""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from hcrm.core import limits
from hcrm.core.inputs import Input, OptionalText, read_input
from hcrm.desk.care import count_gaps, gap_rules, list_gaps
from hcrm.web.shell import console_work, require

bp = Blueprint("care", __name__)


class GapAddress(Input):
    """What stands in the address of the list."""

    rule: OptionalText = None
    key: OptionalText = None


@bp.get("/care/gaps")
@require("patient.read", audit="care.list")
def list_patients() -> ResponseReturnValue:
    """Who should be planned for."""
    asked = read_input(GapAddress, request.args.to_dict())
    with console_work() as work:
        page = list_gaps(work, rule=asked.rule, key=asked.key)
        count = count_gaps(work, rule=asked.rule)
        rules = gap_rules(work)
    return render_template(
        "desk/care_gaps.html", page=page, count=count, rules=rules, rule=asked.rule, most=limits.COUNTED
    )
