"""What people enter on a patient's page: values of fields, allergies, tags, notes."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Literal

from flask import Blueprint, g, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from pydantic import Field

from hcrm.archive.fields import allergies, notes, tags
from hcrm.archive.fields.definition import YES_NO, FieldType, PatientField
from hcrm.archive.fields.known_profile import field_history, load_line
from hcrm.archive.fields.service import FieldConflictError, published_fields, set_field, undo_edit
from hcrm.archive.models import Patient
from hcrm.archive.queries import get_patient
from hcrm.archive.terms import Informant
from hcrm.core import limits
from hcrm.core.errors import DeniedError, HcrmError, NotFoundError
from hcrm.core.inputs import Blank, Input, OptionalText, read_input
from hcrm.core.work import Work
from hcrm.web.shell import console_work, flash, form_errors, form_values, require

bp = Blueprint("profile", __name__)

INFORMANTS = tuple((one.value, one.label) for one in Informant)


class FieldInput(Input):
    """What the form of one field says. `value`: one, several ticked, or lines of text."""

    value: str | list[str] = ""
    note: Annotated[str, Field(max_length=limits.FIELD_TEXT)] = ""
    informant: Informant = Informant.STAFF
    asked_on: Annotated[date | None, Blank] = None
    seen: str = ""


class AllergyInput(Input):
    """What the form of an allergy says."""

    text: Annotated[str, Field(min_length=1, max_length=100)]
    kind: Literal[tuple(allergies.KINDS)] = "DA"  # type: ignore[valid-type]
    severity: Literal[tuple(allergies.SEVERITIES)] = "U"  # type: ignore[valid-type]
    reaction: Annotated[str, Field(max_length=200)] = ""
    informant: Informant = Informant.PATIENT


class TagInput(Input):
    """A word."""

    tag: OptionalText = None


class NoteInput(Input):
    """A note as it was typed."""

    text: str = ""


def _back(patient_id: str, tab: str | None = None) -> ResponseReturnValue:
    return redirect(url_for("desk.show_patient", patient_id=patient_id, tab=tab), 303)


# ── fields ──────────────────────────────────────────────────────────────────


@bp.get("/patients/<patient_id>/fields/<code>")
@require("patient.read", audit="patient.read")
def show_field(patient_id: str, code: str) -> ResponseReturnValue:
    """One field: its form for whoever may edit it, and every value it had."""
    return _field_page(patient_id, code)


@bp.post("/patients/<patient_id>/fields/<code>")
@require("field.write", audit="field.write")
def save_field(patient_id: str, code: str) -> ResponseReturnValue:
    """Make what the form says what stands."""
    values = form_values()
    try:
        entered = read_input(FieldInput, values)
        with console_work() as work:
            field = _field_of(work, code)
            edit = set_field(
                work, patient_id=patient_id, field_code=code, values=_split(field, entered.value), note=entered.note,
                informant=entered.informant, asked_on=entered.asked_on,
                seen=[key for key in entered.seen.split(",") if key],
            )  # fmt: skip
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        conflict = error if isinstance(error, FieldConflictError) else None
        return _field_page(
            patient_id, code, typed=values, errors=form_errors(error), conflict=conflict, status=error.status
        )
    if edit.act_id is None:
        flash("内容没有变化")
    else:
        undo = url_for("profile.undo_field", patient_id=edit.patient_id, act_id=edit.act_id)
        flash(f"已保存：{edit.field.title}", "success", undo=undo)
    return _back(edit.patient_id, "profile")


@bp.post("/patients/<patient_id>/field-edits/<act_id>/undo")
@require("field.write", audit="field.undo")
def undo_field(patient_id: str, act_id: str) -> ResponseReturnValue:
    """Take one edit back."""
    return _act(
        lambda work: undo_edit(work, patient_id=patient_id, act_id=act_id), "已恢复原来的内容",
        patient_id, "profile",
    )  # fmt: skip


def _field_page(
    patient_id: str, code: str, *, typed: Mapping[str, Any] | None = None, errors: Mapping[str, str] | None = None,
    conflict: FieldConflictError | None = None, status: int = 200,
) -> ResponseReturnValue:  # fmt: skip
    with console_work(write=False) as work:
        patient = get_patient(work, patient_id)
        field = _field_of(work, code)
        line = load_line(work, patient.id, field)
        history = field_history(work, patient.id, field)
    if patient.id != patient_id:
        return redirect(url_for("profile.show_field", patient_id=patient.id, code=code), 303)
    mine = _typed(field, typed) if typed is not None else [one.row.value for one in line.values]
    newest = line.values[-1].row if line.values else None
    return render_template(
        "desk/field.html", patient=patient, field=field, line=line, history=history, mine=mine, typed=typed or {},
        newest=newest, errors=errors or {}, conflict=conflict, informants=INFORMANTS, offered=_offered(field, mine),
        may_edit=line.may_edit and g.actor.may("field.write"), seen=",".join(one.row.id for one in line.values),
    ), status  # fmt: skip


def _field_of(work: Work, code: str) -> PatientField:
    field = published_fields(work).by_code.get(code)
    if field is None:
        raise NotFoundError
    return field


def _offered(field: PatientField, chosen: Sequence[str]) -> list[tuple[str, str]]:
    """What can be chosen, and what stands though it is no longer offered."""
    if field.type is FieldType.YES_NO:
        return list(YES_NO.items())
    return [
        (one.code, one.title if not one.is_retired else f"{one.title}（已停用）")
        for one in field.options
        if not one.is_retired or one.code in chosen
    ]


@bp.app_template_filter("field_words")
def field_words(value: str, field: PatientField) -> str:
    """A value in words."""
    return field.words(value)


def _typed(field: PatientField, typed: Mapping[str, Any]) -> list[str]:
    return _split(field, typed.get("value", ""))


def _split(field: PatientField, value: str | list[str]) -> list[str]:
    """Lines of a list of texts; what was ticked; else the one value."""
    if isinstance(value, list):
        return value
    if field.type is FieldType.TEXT and field.is_many:
        return value.splitlines()
    return [value] if value else []


# ── allergies ───────────────────────────────────────────────────────────────


@bp.get("/patients/<patient_id>/allergies/new")
@require("field.write", audit="patient.read")
def ask_allergy(patient_id: str) -> ResponseReturnValue:
    """The form of an allergy no message told."""
    return _allergy_page(patient_id, {}, {})


@bp.post("/patients/<patient_id>/allergies/new")
@require("field.write", audit="allergy.write")
def add_allergy(patient_id: str) -> ResponseReturnValue:
    """Enter it."""
    values = form_values()
    try:
        entered = read_input(AllergyInput, values)
        with console_work() as work:
            key = allergies.add_allergy(work, patient_id=patient_id, **entered.model_dump())
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        return _allergy_page(patient_id, values, form_errors(error), error.status)
    flash("已登记过敏", "success", undo=url_for("profile.end_allergy", patient_id=patient_id, allergy_id=key))
    return _back(patient_id, "allergies")


@bp.post("/patients/<patient_id>/allergies/<allergy_id>/end")
@require("field.write", audit="allergy.end")
def end_allergy(patient_id: str, allergy_id: str) -> ResponseReturnValue:
    """It was entered here, and is not so."""
    undo = url_for("profile.restore_allergy", patient_id=patient_id, allergy_id=allergy_id)
    return _act(
        lambda work: allergies.end_allergy(work, patient_id=patient_id, allergy_id=allergy_id), "已结束这条过敏登记",
        patient_id, "allergies", undo,
    )  # fmt: skip


@bp.post("/patients/<patient_id>/allergies/<allergy_id>/restore")
@require("field.write", audit="allergy.restore")
def restore_allergy(patient_id: str, allergy_id: str) -> ResponseReturnValue:
    """It is so after all."""
    return _act(
        lambda work: allergies.restore_allergy(work, patient_id=patient_id, allergy_id=allergy_id),
        "已恢复这条过敏登记", patient_id, "allergies",
    )  # fmt: skip


def _allergy_page(
    patient_id: str, typed: Mapping[str, Any], errors: Mapping[str, str], status: int = 200
) -> ResponseReturnValue:
    patient = _patient(patient_id)
    return render_template(
        "desk/allergy.html", patient=patient, typed=typed, errors=errors, informants=INFORMANTS,
        allergy_kinds=tuple(allergies.KINDS.items()), severities=tuple(allergies.SEVERITIES.items()),
    ), status  # fmt: skip


def _patient(patient_id: str) -> Patient:
    with console_work(write=False) as work:
        return get_patient(work, patient_id)


# ── tags ────────────────────────────────────────────────────────────────────


@bp.post("/patients/<patient_id>/tags")
@require("field.write", audit="tag.write")
def add_tag(patient_id: str) -> ResponseReturnValue:
    """Put a word on the patient."""
    tag = read_input(TagInput, form_values()).tag or ""
    return _act(lambda work: tags.add_tag(work, patient_id=patient_id, tag=tag), "已加标签", patient_id)


@bp.post("/patients/<patient_id>/tags/<tag_id>/remove")
@require("field.write", audit="tag.remove")
def remove_tag(patient_id: str, tag_id: str) -> ResponseReturnValue:
    """Take a word off."""
    undo = url_for("profile.restore_tag", patient_id=patient_id, tag_id=tag_id)
    return _act(
        lambda work: tags.remove_tag(work, patient_id=patient_id, tag_id=tag_id), "已去掉标签", patient_id,
        None, undo,
    )  # fmt: skip


@bp.post("/patients/<patient_id>/tags/<tag_id>/restore")
@require("field.write", audit="tag.write")
def restore_tag(patient_id: str, tag_id: str) -> ResponseReturnValue:
    """Put it on again."""
    return _act(
        lambda work: tags.restore_tag(work, patient_id=patient_id, tag_id=tag_id), "已恢复标签", patient_id
    )


# ── notes ───────────────────────────────────────────────────────────────────


@bp.post("/patients/<patient_id>/notes")
@require("field.write", audit="note.write")
def add_note(patient_id: str) -> ResponseReturnValue:
    """Write a note."""
    text = read_input(NoteInput, form_values()).text
    try:
        with console_work() as work:
            notes.add_note(work, patient_id=patient_id, text=text)
    except HcrmError as error:
        if error.status != 422:
            raise
        return _note_page(patient_id, None, text, form_errors(error), 422)
    flash("已写入备注", "success")
    return _back(patient_id, "notes")


@bp.get("/patients/<patient_id>/notes/<note_id>")
@require("field.write", audit="patient.read")
def ask_note(patient_id: str, note_id: str) -> ResponseReturnValue:
    """The form in which a note's author mends it."""
    return _note_page(patient_id, note_id, None, {})


@bp.post("/patients/<patient_id>/notes/<note_id>")
@require("field.write", audit="note.edit")
def edit_note(patient_id: str, note_id: str) -> ResponseReturnValue:
    """Mend a note."""
    text = read_input(NoteInput, form_values()).text
    try:
        with console_work() as work:
            notes.edit_note(work, patient_id=patient_id, note_id=note_id, text=text)
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        return _note_page(patient_id, note_id, text, form_errors(error), error.status)
    flash("已修改备注", "success")
    return _back(patient_id, "notes")


@bp.post("/patients/<patient_id>/notes/<note_id>/strike")
@require("field.write", audit="note.strike")
def strike_note(patient_id: str, note_id: str) -> ResponseReturnValue:
    """Strike a note out."""
    undo = url_for("profile.restore_note", patient_id=patient_id, note_id=note_id)
    return _act(
        lambda work: notes.strike_note(work, patient_id=patient_id, note_id=note_id), "已划去备注", patient_id,
        "notes", undo,
    )  # fmt: skip


@bp.post("/patients/<patient_id>/notes/<note_id>/restore")
@require("field.write", audit="note.restore")
def restore_note(patient_id: str, note_id: str) -> ResponseReturnValue:
    """Let a note stand again."""
    return _act(
        lambda work: notes.restore_note(work, patient_id=patient_id, note_id=note_id),
        "已恢复备注",
        patient_id,
        "notes",
    )


def _note_page(
    patient_id: str, note_id: str | None, text: str | None, errors: Mapping[str, str], status: int = 200
) -> ResponseReturnValue:
    with console_work(write=False) as work:
        patient = get_patient(work, patient_id)
        note = notes.note_of(work, patient_id=patient_id, note_id=note_id) if note_id else None
    return render_template(
        "desk/note.html", patient=patient, note=note, errors=errors,
        text=text if text is not None else note.text if note else "",
    ), status  # fmt: skip


def _act(
    act: Callable[[Work], object],
    words: str,
    patient_id: str,
    tab: str | None = None,
    undo: str | None = None,
) -> ResponseReturnValue:
    """Do it and say so, or say why not, on the patient's page."""
    try:
        with console_work() as work:
            act(work)
    except DeniedError:
        raise
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        flash(error.message, "danger")
    else:
        flash(words, "success", undo=undo)
    return _back(patient_id, tab)
