"""The page of a patient's consents: what for, by what way, since when, on whose word."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import Field

from hcrm.archive.queries import get_patient
from hcrm.archive.reach.consent import Barrier, judge_all
from hcrm.archive.reach.consent_records import list_consents, record_consents, standing_decisions
from hcrm.archive.reach_models import ConsentDecision, ContactMeans, ContactPurpose
from hcrm.core.errors import HcrmError
from hcrm.core.inputs import Blank, Input, read_input
from hcrm.web.shell import console_work, flash, form_errors, form_values, require

bp = Blueprint("consent", __name__)
_PREFIX = "c-"


class ConsentInput(Input):
    """The decisions that changed, and on whose word."""

    decisions: dict[str, ConsentDecision | None]
    evidence: Annotated[str, Field(max_length=200)] = ""
    given_on: Annotated[date | None, Blank] = None
    expires_on: Annotated[date | None, Blank] = None
    given_by: Annotated[str, Field(max_length=50)] = ""
    is_guardian: bool = False
    text_version: Annotated[str, Field(max_length=50)] = ""


@bp.get("/patients/<patient_id>/consents")
@require("reach.write", audit="patient.read")
def show_consents(patient_id: str) -> ResponseReturnValue:
    """The table as it stands, and the history."""
    return _consent_page(patient_id)


@bp.post("/patients/<patient_id>/consents")
@require("reach.write", audit="consent.record")
def save_consents(patient_id: str) -> ResponseReturnValue:
    """Write down what changed."""
    values = form_values()
    cells = {
        name.removeprefix(_PREFIX): word or None for name, word in values.items() if name.startswith(_PREFIX)
    }
    rest = {name: word for name, word in values.items() if not name.startswith(_PREFIX)}
    try:
        entered = read_input(ConsentInput, {"decisions": cells, **rest})
        with console_work() as work:
            patient = get_patient(work, patient_id, action="consent.record")
            standing = standing_decisions(list_consents(work, patient.id, only_live=True))
            told = {
                (purpose, means): entered.decisions[name]
                for purpose in ContactPurpose
                for means in ContactMeans
                if (name := f"{purpose.value}-{means.value}") in entered.decisions
            }
            changed = {
                cell: decision
                for cell, decision in told.items()
                if decision is not (standing[cell].decision if cell in standing else None)
            }
            count = record_consents(
                work, patient_id=patient.id, decisions=changed, **entered.model_dump(exclude={"decisions"})
            )
    except HcrmError as error:
        if error.status != 422:
            raise
        return _consent_page(patient_id, values=values, errors=form_errors(error), status=422)
    flash(f"已更新 {count} 项接收意愿", "success")
    return redirect(url_for("consent.show_consents", patient_id=patient_id), 303)


def _consent_page(
    patient_id: str, *, values: Mapping[str, Any] | None = None, errors: Mapping[str, str] | None = None,
    status: int = 200,
) -> ResponseReturnValue:  # fmt: skip
    with console_work(write=False) as work:
        patient = get_patient(work, patient_id)
        rows = list_consents(work, patient.id)
        answers = judge_all(work, patient.id)
    standing = standing_decisions(rows)
    shown = values or {
        f"{_PREFIX}{purpose.value}-{means.value}": row.decision.value
        for (purpose, means), row in standing.items()
    }
    return render_template(
        "reach/consents.html", patient=patient, rows=rows, standing=standing, values=shown, errors=errors or {},
        purposes=ContactPurpose, means=ContactMeans, decisions=ConsentDecision, answers=answers,
        quiet=(None, Barrier.NO_CONSENT), prefix=_PREFIX, asked=request.method == "POST",
    ), status  # fmt: skip
