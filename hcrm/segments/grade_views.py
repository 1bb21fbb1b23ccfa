"""Pages of grades and the life cycle: the whole hospital in numbers, and one patient. For `grade.read` only."""

from collections.abc import Mapping

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from hcrm.archive.queries import get_patient
from hcrm.core.clock import local_date
from hcrm.core.errors import HcrmError, NotFoundError
from hcrm.core.inputs import Input, OptionalText, read_input
from hcrm.segments.catalogue import fields_for
from hcrm.segments.columns import COLUMNS
from hcrm.segments.grade_queries import count_grades, graded_filter
from hcrm.segments.grading import grades_of
from hcrm.segments.grading_rules import grading_rules
from hcrm.segments.loss import loss_of, set_loss_reason
from hcrm.segments.models import PatientProfile
from hcrm.segments.queries import list_matching
from hcrm.segments.words import filter_words
from hcrm.web.shell import console_work, flash, form_errors, require

bp = Blueprint("grades", __name__, url_prefix="/grades")
_LIST = ("sex", "age", "record_no", "seen", "visits", "phone")


@bp.get("")
@require("grade.read", audit="none:counts, nothing of patients")
def overview() -> ResponseReturnValue:
    """How many patients stand where."""
    with console_work() as work:
        counts = count_grades(work)
    return render_template("grades/overview.html", counts=counts, rules=grading_rules())


class _LineAddress(Input):
    field: str = ""
    value: str = ""
    key: OptionalText = None


@bp.get("/list")
@require("grade.read", audit="segment.list")
def list_graded() -> ResponseReturnValue:
    """The patients one number counts."""
    asked = read_input(_LineAddress, request.args.to_dict())
    with console_work() as work:
        wanted = graded_filter(work, field=asked.field, value=asked.value)
        page = list_matching(work, wanted, columns=_LIST, key=asked.key)
        words = filter_words(work, wanted, fields_for(work))
    return render_template(
        "grades/list.html", page=page, words=words, columns=[COLUMNS[code] for code in _LIST]
    )


@bp.get("/<patient_id>")
@require("grade.read", audit="patient.read_grades")
def show_patient_grades(patient_id: str) -> ResponseReturnValue:
    """The grades of one patient and what they come from."""
    return _page(patient_id)


@bp.post("/<patient_id>/loss")
@require("grade.read", audit="patient.set_loss")
def set_loss(patient_id: str) -> ResponseReturnValue:
    """Note why the patient no longer comes."""
    reason, note = request.form.get("reason", ""), request.form.get("note", "")
    try:
        with console_work() as work:
            set_loss_reason(work, patient_id=patient_id, reason=reason, note=note)
    except HcrmError as error:
        if error.status != 422:
            raise
        return _page(patient_id, errors=form_errors(error), status=422)
    flash("已登记流失原因" if reason else "已取消流失原因", "success")
    return redirect(url_for("grades.show_patient_grades", patient_id=patient_id), 303)


def _page(
    patient_id: str, *, errors: Mapping[str, str] | None = None, status: int = 200
) -> ResponseReturnValue:
    with console_work() as work:
        patient = get_patient(work, patient_id, action="patient.read_grades")
        if work.session.get(PatientProfile, patient.id) is None:
            raise NotFoundError("grade.pending", "这位患者的资料还在汇总，请稍后再看")
        profile = work.get(PatientProfile, patient.id)
        grades = grades_of(profile, local_date(work.clock.now()))
        loss = loss_of(work, patient.id)
    return render_template(
        "grades/patient.html", patient=patient, profile=profile, grades=grades, loss=loss, rules=grading_rules(),
        errors=errors or {}, sent=request.form,
        reasons=[(each.code, each.label) for each in grading_rules().loss_reasons],
    ), status  # fmt: skip
