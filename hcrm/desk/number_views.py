"""The page of a patient's numbers: whose each is, whether it reaches them, who shares it; more by hand."""

from collections.abc import Mapping
from typing import Annotated, Any

from flask import Blueprint, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from pydantic import Field

from hcrm.archive.queries import get_patient
from hcrm.archive.reach import numbers
from hcrm.archive.reach.caution import caution_of
from hcrm.archive.reach_models import NumberState
from hcrm.core.errors import HcrmError
from hcrm.core.inputs import Input, read_input
from hcrm.desk.reach import load_reach
from hcrm.web.shell import console_work, flash, form_errors, form_values, require

bp = Blueprint("numbers", __name__)
_Short = Annotated[str, Field(max_length=50)]
STATES = [NumberState.UNVERIFIED, NumberState.VERIFIED, NumberState.INVALID, NumberState.WRONG]
"""What a person says of a number; ended has a button of its own."""


class NumberInput(Input):
    """A number added by hand."""

    number: Annotated[str, Field(min_length=1, max_length=40)]
    use: Annotated[str, Field(max_length=10)] = "mobile"
    relation: _Short = ""
    owner_name: _Short = ""
    note: Annotated[str, Field(max_length=200)] = ""


class KnownInput(Input):
    """What is said of a number."""

    state: NumberState
    relation: _Short = ""
    owner_name: _Short = ""
    note: Annotated[str, Field(max_length=200)] = ""
    rank: Annotated[int, Field(ge=0, le=99)] = 0


class EndInput(Input):
    """Why a number is no longer used."""

    note: Annotated[str, Field(min_length=1, max_length=200)]


@bp.get("/patients/<patient_id>/numbers")
@require("reach.write", audit="patient.read")
def show_numbers(patient_id: str) -> ResponseReturnValue:
    """Every number with what is known of it."""
    return _numbers_page(patient_id)


@bp.post("/patients/<patient_id>/numbers")
@require("reach.write", audit="number.describe")
def add_number(patient_id: str) -> ResponseReturnValue:
    """One more, by hand."""
    try:
        entered = read_input(NumberInput, form_values())
        with console_work() as work:
            numbers.add_number(work, patient_id=patient_id, **entered.model_dump())
    except HcrmError as error:
        if error.status != 422:
            raise
        return _numbers_page(patient_id, values=form_values(), errors=form_errors(error), status=422)
    return _done(patient_id, "号码已登记")


@bp.post("/patients/<patient_id>/known-numbers/<kind>/<key>")
@require("reach.write", audit="number.describe")
def describe_number(patient_id: str, kind: str, key: str) -> ResponseReturnValue:
    """Whose it is, and whether it reaches them."""
    try:
        entered = read_input(KnownInput, form_values())
        with console_work() as work:
            numbers.describe_number(work, patient_id=patient_id, kind=kind, key=key, **entered.model_dump())
    except HcrmError as error:
        return _refused(patient_id, error)
    return _done(patient_id, "号码情况已更新")


@bp.post("/patients/<patient_id>/known-numbers/<kind>/<key>/end")
@require("reach.write", audit="number.describe")
def end_number(patient_id: str, kind: str, key: str) -> ResponseReturnValue:
    """No longer used for this patient."""
    try:
        entered = read_input(EndInput, {"note": form_values().get("note", "")})
        with console_work() as work:
            numbers.end_number(work, patient_id=patient_id, kind=kind, key=key, reason=entered.note)
    except HcrmError as error:
        return _refused(patient_id, error)
    return _done(patient_id, "号码已停用")


@bp.post("/patients/<patient_id>/known-numbers/<kind>/<key>/free")
@require("contact.end", audit="number.free")
def free_number(patient_id: str, kind: str, key: str) -> ResponseReturnValue:
    """Off the list of numbers nobody may call."""
    try:
        entered = read_input(EndInput, {"note": form_values().get("note", "")})
        with console_work() as work:
            numbers.free_number(work, patient_id=patient_id, kind=kind, key=key, reason=entered.note)
    except HcrmError as error:
        return _refused(patient_id, error)
    return _done(patient_id, "号码已移出请勿联系名单。已终止的联系不会自动恢复，请在“恢复联系”中逐人处理")


@bp.get("/patients/<patient_id>/known-numbers/<kind>/<key>/sharing")
@require("reach.write", audit="number.sharing")
def list_sharing(patient_id: str, kind: str, key: str) -> ResponseReturnValue:
    """Who else has this number; a number in common says nothing about who is who."""
    with console_work() as work:
        patient = get_patient(work, patient_id)
        index = numbers.number_index(work, patient_id=patient.id, kind=kind, key=key)
        rows = numbers.list_sharing(work, patient.id, index)
        count = numbers.count_sharing(work, patient.id, [index]).get(index, 0)
    return render_template("reach/sharing.html", patient=patient, rows=rows, count=count)


def _numbers_page(
    patient_id: str, *, values: Mapping[str, Any] | None = None, errors: Mapping[str, str] | None = None,
    status: int = 200,
) -> ResponseReturnValue:  # fmt: skip
    with console_work(write=False) as work:
        patient = get_patient(work, patient_id)
        reach, caution = load_reach(work, patient), caution_of(work, patient)
        former = numbers.former_numbers(work, patient.id)
    return render_template(
        "reach/numbers.html", patient=patient, reach=reach, caution=caution, former=former,
        values=values or {}, errors=errors or {},
        states=[(state.value, state.label) for state in STATES], uses=list(numbers.USES.items()),
    ), status  # fmt: skip


def _refused(patient_id: str, error: HcrmError) -> ResponseReturnValue:
    if error.status != 422:
        raise error
    flash(next(iter(form_errors(error).values())), "danger")
    return redirect(url_for("numbers.show_numbers", patient_id=patient_id), 303)


def _done(patient_id: str, words: str) -> ResponseReturnValue:
    flash(words, "success")
    return redirect(url_for("numbers.show_numbers", patient_id=patient_id), 303)
