"""Pages: the hospital's people and departments. What people change is in `entry_views.py`."""

from typing import Annotated

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from hcrm.core.inputs import Blank, Input, OptionalText, read_input
from hcrm.directory.queries import count_unverified, list_directory_departments, list_staff
from hcrm.directory.specialties import specialties
from hcrm.web.shell import console_work, require

bp = Blueprint("directory", __name__)


class _Filter(Input):
    """What stands in the address of the lists."""

    unverified: Annotated[bool | None, Blank] = None
    key: OptionalText = None


@bp.get("/staff")
@require("directory.read", audit="none:names of staff, nothing of patients")
def show_staff() -> ResponseReturnValue:
    """Physicians and nurses, those nobody has verified first."""
    asked = read_input(_Filter, request.args.to_dict())
    with console_work() as work:
        page = list_staff(work, only_unverified=bool(asked.unverified), key=asked.key)
        unverified = count_unverified(work)
    return render_template("directory/staff.html", page=page, asked=asked, unverified=unverified)


@bp.get("/departments")
@require("directory.read", audit="none:names of departments, nothing of patients")
def show_departments() -> ResponseReturnValue:
    """Departments, those nobody has verified first."""
    asked = read_input(_Filter, request.args.to_dict())
    with console_work() as work:
        page = list_directory_departments(work, only_unverified=bool(asked.unverified), key=asked.key)
        unverified = count_unverified(work)
    return render_template(
        "directory/departments.html", page=page, asked=asked, unverified=unverified, specialties=specialties()
    )
