"""Relatives and addresses entered by hand: the form, the end of one, and taking an act back."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from flask import Blueprint, g, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from pydantic import Field

from hcrm.archive.queries import get_patient, reveal_address, reveal_related
from hcrm.archive.reach import people as reach_people
from hcrm.archive.terms import Informant
from hcrm.core.errors import HcrmError, InvalidInput, NotFoundError
from hcrm.core.inputs import Blank, Input, read_input
from hcrm.core.work import Work
from hcrm.directory.queries import counties_near, region_by_name, region_names
from hcrm.web.shell import console_work, current_shell, flash, form_errors, form_values, require

bp = Blueprint("people", __name__)
_Short = Annotated[str, Field(max_length=50)]
_Key = Annotated[str | None, Blank]
LABELS = {
    "name": "姓名",
    "relation": "与患者关系",
    "phone": "电话",
    "use": "类别",
    "region": "地址区域",
    "text": "详细地址",
}
INFORMANTS = tuple((one.value, one.label) for one in Informant)


class RelatedInput(Input):
    """A relative or other contact."""

    name: Annotated[str, Field(min_length=1, max_length=50)]
    relation: _Short = ""
    phone: Annotated[str, Field(max_length=40)] = ""
    informant: Informant = Informant.PATIENT
    replaces_id: _Key = None


class AddressInput(Input):
    """An address."""

    use: Annotated[str, Field(max_length=10)] = "home"
    region: Annotated[str, Field(max_length=64)] = ""
    text: Annotated[str, Field(min_length=1, max_length=200)]
    informant: Informant = Informant.PATIENT
    replaces_id: _Key = None


@bp.get("/patients/<patient_id>/people/<kind>/new")
@require("reach.write", audit="patient.read")
def new_entry(patient_id: str, kind: str) -> ResponseReturnValue:
    """The form, empty."""
    return _form(patient_id, kind, {"informant": Informant.PATIENT.value})


@bp.post("/patients/<patient_id>/people/<kind>/new")
@require("reach.write", audit="reach.entry")
def put_entry(patient_id: str, kind: str) -> ResponseReturnValue:
    """Enter one, or put one right."""
    values = form_values()
    if kind not in reach_people.KINDS:
        raise NotFoundError
    try:
        with console_work() as work:
            key = _PUT[kind](work, patient_id, values)
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        return _form(patient_id, kind, values, form_errors(error), error.status)
    undo = url_for("people.undo_entry", patient_id=patient_id, kind=kind, key=key)
    flash(f"{reach_people.KINDS[kind][1]}已登记", "success", undo=undo)
    return _back(patient_id)


@bp.get("/patients/<patient_id>/people/<kind>/<key>")
@require("reach.write", audit="patient.reveal")
def edit_entry(patient_id: str, kind: str, key: str) -> ResponseReturnValue:
    """The form with what was entered; whoever may see numbers and addresses in full finds them in it."""
    with console_work() as work:
        patient = get_patient(work, patient_id)
        row = reach_people.own_entry(work, patient, kind, key)
        may_reveal = g.actor.may("patient.reveal")
        values = {"informant": row.informant.value, "replaces_id": key}
        if kind == "related":
            phone = (
                row.phone_sealed
                and may_reveal
                and reveal_related(work, patient_id=patient.id, related_id=key)
            )
            values |= {"name": row.name, "relation": row.relation, "phone": phone or ""}
        else:
            text = reveal_address(work, patient_id=patient.id, address_id=key) if may_reveal else ""
            names = region_names(work, {row.region_code}) if row.region_code else {}
            values |= {"use": row.use, "region": names.get(row.region_code, ""), "text": text}
    return _form(patient_id, kind, values)


@bp.post("/patients/<patient_id>/people/<kind>/<key>/end")
@require("reach.write", audit="reach.entry")
def end_entry(patient_id: str, kind: str, key: str) -> ResponseReturnValue:
    """It is not so, or no longer."""
    undo = url_for("people.undo_end", patient_id=patient_id, kind=kind, key=key)
    return _act(reach_people.end_entry, patient_id, kind, key, "已停用，仍可在变更历史中看到", undo)


@bp.post("/patients/<patient_id>/people/<kind>/<key>/undo")
@require("reach.write", audit="reach.entry")
def undo_entry(patient_id: str, kind: str, key: str) -> ResponseReturnValue:
    """As it was before it was entered."""
    return _act(reach_people.undo_entry, patient_id, kind, key, "已撤销")


@bp.post("/patients/<patient_id>/people/<kind>/<key>/end/undo")
@require("reach.write", audit="reach.entry")
def undo_end(patient_id: str, kind: str, key: str) -> ResponseReturnValue:
    """As it was before it was ended."""
    return _act(reach_people.undo_end, patient_id, kind, key, "已撤销")


def _put_related(work: Work, patient_id: str, values: Mapping[str, Any]) -> str:
    entered = read_input(RelatedInput, values)
    return reach_people.put_relative(work, patient_id=patient_id, **entered.model_dump())


def _put_address(work: Work, patient_id: str, values: Mapping[str, Any]) -> str:
    entered = read_input(AddressInput, values)
    region = region_by_name(work, entered.region) if entered.region else None
    if entered.region and region is None:
        raise InvalidInput({"region": "没有这个区域，请从列出的选择，或填六位代码"})
    return reach_people.put_address(
        work, patient_id=patient_id, region_code=region, **entered.model_dump(exclude={"region"})
    )


_PUT: dict[str, Callable[[Work, str, Mapping[str, Any]], str]] = {
    "related": _put_related, "address": _put_address,
}  # fmt: skip


def _form(
    patient_id: str,
    kind: str,
    values: Mapping[str, Any],
    errors: Mapping[str, str] | None = None,
    status: int = 200,
) -> ResponseReturnValue:
    if kind not in reach_people.KINDS:
        raise NotFoundError
    with console_work(write=False) as work:
        patient = get_patient(work, patient_id)
        regions = counties_near(work, current_shell().runtime.settings.hospital.region)
    return render_template(
        "reach/entry.html", patient=patient, kind=kind, word=reach_people.KINDS[kind][1], values=values,
        errors=errors or {}, labels=LABELS, informants=INFORMANTS, regions=regions,
        uses=list(reach_people.ADDRESS_USES.items()),
    ), status  # fmt: skip


def _act(
    act: Callable[..., None], patient_id: str, kind: str, key: str, words: str, undo: str | None = None
) -> ResponseReturnValue:
    try:
        with console_work() as work:
            act(work, patient_id=patient_id, kind=kind, key=key)
    except HcrmError as error:
        if error.status != 409:
            raise
        flash(error.message, "danger")
    else:
        flash(words, "success", undo=undo)
    return _back(patient_id)


def _back(patient_id: str) -> ResponseReturnValue:
    return redirect(url_for("desk.show_patient", patient_id=patient_id, tab="people"), 303)
