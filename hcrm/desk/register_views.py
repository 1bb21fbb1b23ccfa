"""Pages: a new archive by hand, with who is similar while one types; who a patient is, corrected by people."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal

from flask import Blueprint, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from pydantic import BeforeValidator, Field, StringConstraints

from hcrm.archive.base_data import (
    FIELDS,
    BaseConflictError,
    BaseData,
    edit_base,
    own_fields,
    take_back_correction,
)
from hcrm.archive.corrections import mark_of
from hcrm.archive.fields.definition import FieldType
from hcrm.archive.fields.service import published_fields
from hcrm.archive.identity.matching_rule import published_rule
from hcrm.archive.models import Patient, Sex
from hcrm.archive.queries import get_patient
from hcrm.archive.register import Entry, Similar, checked_entry, find_similar, register_patient
from hcrm.archive.terms import Evidence
from hcrm.core.cells import CellError, day_in
from hcrm.core.errors import HcrmError, InvalidInput
from hcrm.core.inputs import Blank, Input, OptionalText, read_input
from hcrm.core.work import Work
from hcrm.desk.masked import Origin, field_words
from hcrm.directory.queries import counties_near, region_by_name
from hcrm.web.shell import console_work, current_shell, flash, form_errors, form_values, require

bp = Blueprint("register", __name__, url_prefix="/patients")
Short = Annotated[str, StringConstraints(max_length=64)]
LABELS = {
    "name": "姓名", "sex": "性别", "birth_date": "出生日期", "id_type": "证件类型", "id_number": "证件号",
    "phone": "电话", "region": "地址区域", "address": "详细地址", "visit_source": "就诊来源",
    "reason": "仍要新建的原因",
}  # fmt: skip
ID_TYPES = (("citizen", "身份证、永久居留身份证、居住证"), ("other", "护照或其他证件"))
SEXES = tuple((sex.value, sex.label) for sex in (Sex.MALE, Sex.FEMALE, Sex.UNKNOWN))


def _as_written(value: Any) -> Any:
    """A day as people write it, as in a file: 1966/3/7, 19660307, 1966年3月7日. Anything else is left to be refused."""
    if not isinstance(value, str) or (value.isdigit() and len(value) != len("19660307")):
        return value
    try:
        return day_in(value)
    except CellError:
        return value


_WrittenDay = Annotated[date | None, Blank, BeforeValidator(_as_written)]


class EntryInput(Input):
    """The form of a new archive."""

    name: Short = ""
    sex: Annotated[Sex | None, Blank] = None
    birth_date: _WrittenDay = None
    id_type: Literal["citizen", "other"] = "citizen"
    id_number: Short = ""
    phone: Short = ""
    region: Short = ""
    address: Annotated[str, StringConstraints(max_length=200)] = ""
    visit_source: OptionalText = None
    reason: Annotated[str, Field(max_length=200)] = ""


class BaseInput(Input):
    """Who a patient is: what was looked at, and what is wanted."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    sex: Sex
    birth_date: _WrittenDay = None
    was_name: Short = ""
    was_sex: Sex
    was_birth_date: Annotated[date | None, Blank] = None
    by: Annotated[Evidence | None, Blank] = None


@bp.get("/new")
@require("patient.register", audit="none:an empty form")
def new_patient() -> ResponseReturnValue:
    """The form."""
    return _form({})


@bp.post("/new")
@require("patient.register", audit="patient.register")
def register() -> ResponseReturnValue:
    """Make the archive, or say what is wrong, or who is known already."""
    typed = form_values()
    try:
        with console_work() as work:
            entry, reason = _entry(work, typed)
            patient_id = register_patient(work, entry=entry, reason=reason)
    except HcrmError as error:
        if error.status != 422:
            raise
        return _form(typed, form_errors(error), 422)
    flash("已新建档案", "success")
    return redirect(url_for("desk.show_patient", patient_id=patient_id), 303)


@bp.post("/new/similar")
@require("patient.register", audit="patient.similar")
def show_similar() -> ResponseReturnValue:
    """Who is similar to what is typed so far; half-typed fields count for nothing."""
    typed = form_values()
    with console_work(write=False) as work:
        similar, likely = _similar(work, typed)
    return render_template("identity/_similar.html", similar=similar, likely=likely, typed=typed, errors={})


@bp.get("/<patient_id>/base")
@require("patient.register", audit="patient.read")
def ask_base(patient_id: str) -> ResponseReturnValue:
    """Who the patient is, to be corrected."""
    return _base_form(patient_id, {}, {}, {}, 200)


@bp.post("/<patient_id>/base")
@require("patient.register", audit="patient.edit_base")
def save_base(patient_id: str) -> ResponseReturnValue:
    """Keep the correction, unless somebody was faster."""
    typed = form_values()
    try:
        said = read_input(BaseInput, typed)
        with console_work() as work:
            shown = edit_base(
                work, patient_id=patient_id,
                seen=BaseData(said.was_name, said.was_sex, said.was_birth_date),
                wanted=BaseData(said.name, said.sex, said.birth_date), by=said.by,
            )  # fmt: skip
    except BaseConflictError as error:
        return _base_form(patient_id, typed, {"form": error.message}, error.now, 409)
    except HcrmError as error:
        if error.status != 422:
            raise
        return _base_form(patient_id, typed, form_errors(error), {}, 422)
    flash("已保存，原来的内容留在历史中", "success")
    return redirect(url_for("desk.show_patient", patient_id=shown), 303)


@bp.post("/<patient_id>/base/<field>/undo")
@require("patient.register", audit="patient.edit_base")
def undo_base(patient_id: str, field: str) -> ResponseReturnValue:
    """Let what the HIS told stand again."""
    try:
        with console_work() as work:
            take_back_correction(work, patient_id=patient_id, field=field)
    except HcrmError as error:
        if error.status != 409:
            raise
        flash(error.message, "danger")
    else:
        flash("已恢复 HIS 的内容，更正留在历史中", "success")
    return redirect(url_for("register.ask_base", patient_id=patient_id), 303)


def _entry(work: Work, typed: Mapping[str, Any]) -> tuple[Entry, str]:
    """What the form says, and why it is another person; every mistake at its field at once."""
    said, errors = _readable(typed)
    region = region_by_name(work, said.region) if said.region else None
    if said.region and region is None:
        errors["region"] = "没有这个区域，请从列出的选择，或填六位代码"
    entry = Entry(
        said.name, said.sex, said.birth_date, said.id_number, said.id_type == "other", said.phone, region, said.address,
        said.visit_source,
    )  # fmt: skip
    try:
        checked_entry(work, entry)
    except InvalidInput as error:
        errors = {**error.errors, **errors}
    if errors:
        raise InvalidInput({name: errors[name] for name in sorted(errors, key=[*LABELS, *errors].index)})
    return entry, said.reason


def _readable(typed: Mapping[str, Any]) -> tuple[EntryInput, dict[str, str]]:
    """The fields that can be read, and what is wrong with the others."""
    try:
        return read_input(EntryInput, typed), {}
    except InvalidInput as error:
        wrong = dict(error.errors)
    known = {
        name: value for name, value in typed.items() if name in EntryInput.model_fields and name not in wrong
    }
    return read_input(EntryInput, known), wrong


def _similar(work: Work, typed: Mapping[str, Any]) -> tuple[Similar, int]:
    """By the fields that can be read; the others are left out, and said when the form is sent."""
    said, _ = _readable(typed)
    region = region_by_name(work, said.region) if said.region else None
    entry = Entry(
        said.name, said.sex, said.birth_date, said.id_number, said.id_type == "other", said.phone, region
    )
    return find_similar(work, entry), published_rule(work).likely


def _form(
    typed: Mapping[str, Any], errors: Mapping[str, str] | None = None, status: int = 200
) -> ResponseReturnValue:
    with console_work(write=False) as work:
        similar, likely = _similar(work, typed) if typed else (Similar(), 0)
        field = published_fields(work).by_code.get("visit_source")
        regions = counties_near(work, current_shell().runtime.settings.hospital.region)
    sources = (
        [(option.code, option.title) for option in field.options]
        if field and field.type is FieldType.CHOICE
        else []
    )
    return render_template(
        "identity/new.html", typed=typed, errors=errors or {}, labels=LABELS, id_types=ID_TYPES, sexes=SEXES,
        similar=similar, likely=likely, sources=sources, regions=regions,
    ), status  # fmt: skip


def _base_form(
    patient_id: str, typed: Mapping[str, Any], errors: Mapping[str, str], now: Mapping[str, Any], status: int
) -> ResponseReturnValue:
    with console_work(write=False) as work:
        patient = get_patient(work, patient_id)
    standing = {name: getattr(patient, name) for name in FIELDS}
    return render_template(
        "identity/base.html", patient=patient, typed=typed, errors=errors, now=now, standing=standing, labels=LABELS,
        own=own_fields(patient), sexes=[(sex.value, sex.label) for sex in Sex],
        told={name: _told(patient, name) for name in FIELDS},
        marks={name: _mark(patient, name) for name in FIELDS}, evidence=[(one.value, one.label) for one in Evidence],
    ), status  # fmt: skip


def _told(patient: Patient, name: str) -> Origin | None:
    """Whose word a field is, where a message told it."""
    standing = patient.provenance.get(name)
    if name in own_fields(patient) or not standing:
        return None
    return Origin(datetime.fromisoformat(standing[0]), standing[1], standing[2])


def _mark(patient: Patient, name: str) -> Mapping[str, str] | None:
    """Who put a field right, by what, and what the HIS says."""
    mark = mark_of(patient.provenance.get(name))
    if mark is None:
        return None
    return {"by": Evidence(mark["by"]).label, "actor": mark["actor"], "was": field_words(name, mark["was"])}
