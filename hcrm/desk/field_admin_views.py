"""The fields of the archive as the system administrator defines them."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from flask import Blueprint, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from pydantic import Field

from hcrm.archive.fields import admin as field_admin
from hcrm.archive.fields.definition import OWN_PREFIX, FieldType
from hcrm.archive.fields.service import published_fields
from hcrm.core import limits
from hcrm.core.errors import HcrmError, NotFoundError
from hcrm.core.inputs import Blank, Input, read_input
from hcrm.core.work import Work
from hcrm.web.shell import console_work, flash, form_errors, form_values, require

bp = Blueprint("fields", __name__)

Title = Annotated[str, Field(min_length=1, max_length=30)]
NOTHING_OF_PATIENTS = "none:definitions of fields, nothing of patients"
LABELS = {
    "title": "名称", "group": "分组", "type": "类型", "options": "选项", "hint": "提示", "unit": "单位",
    "goes_stale_after_days": "重新询问", "more_options": "新选项",
}  # fmt: skip


class NewFieldInput(Input):
    """What the form of a new field says."""

    seen: int
    title: Title
    group: Annotated[str, Field(min_length=1, max_length=20)]
    type: FieldType
    options: Annotated[str, Field(max_length=2_000)] = ""
    hint: Annotated[str, Field(max_length=100)] = ""
    unit: Annotated[str, Field(max_length=10)] = ""
    is_many: bool = False
    asks_date: bool = False
    goes_stale_after_days: Annotated[Annotated[int, Field(ge=1, le=3_650)] | None, Blank] = None
    in_header: bool = False


class ChangeInput(Input):
    """Another title, further options."""

    seen: int
    title: Title
    more_options: Annotated[str, Field(max_length=limits.FIELD_TEXT)] = ""


class SeenInput(Input):
    """Which version the person looked at."""

    seen: int


@bp.get("/fields")
@require("field.manage", audit=NOTHING_OF_PATIENTS)
def list_fields() -> ResponseReturnValue:
    """Every field, and who changed the definitions when."""
    with console_work() as work:
        fields = published_fields(work)
        versions = field_admin.list_versions(work)
    return render_template(
        "desk/fields.html", fields=fields, versions=versions, types=FieldType, own_prefix=OWN_PREFIX
    )


@bp.get("/fields/new")
@require("field.manage", audit=NOTHING_OF_PATIENTS)
def ask_field() -> ResponseReturnValue:
    """The form of a new field."""
    return _new_page({}, {})


@bp.post("/fields/new")
@require("field.manage", audit="field.manage")
def add_field() -> ResponseReturnValue:
    """Add it."""
    values = form_values()
    try:
        entered = read_input(NewFieldInput, values).model_dump()
        entered["options"] = entered["options"].splitlines()
        entered["kind"] = entered.pop("type")
        with console_work() as work:
            field_admin.add_field(work, **entered)
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        return _new_page(values, form_errors(error), error.status)
    flash(f"已新增字段：{entered['title']}", "success")
    return redirect(url_for("fields.list_fields"), 303)


@bp.get("/fields/<code>")
@require("field.manage", audit=NOTHING_OF_PATIENTS)
def show_field(code: str) -> ResponseReturnValue:
    """One field, to be renamed or given options."""
    return _field_page(code, {}, {})


@bp.post("/fields/<code>")
@require("field.manage", audit="field.manage")
def change_field(code: str) -> ResponseReturnValue:
    """Rename it, add options."""
    values = form_values()
    try:
        entered = read_input(ChangeInput, values)
        with console_work() as work:
            field_admin.change_field(
                work, seen=entered.seen, code=code, title=entered.title,
                more_options=entered.more_options.splitlines(),
            )  # fmt: skip
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        return _field_page(code, values, form_errors(error), error.status)
    flash("已保存", "success")
    return redirect(url_for("fields.list_fields"), 303)


@bp.post("/fields/<code>/retire")
@require("field.manage", audit="field.manage")
def retire_field(code: str) -> ResponseReturnValue:
    """Offer it no longer."""
    return _retire(code, is_retired=True, words="已停用；已填写的内容仍在，仍可查看")


@bp.post("/fields/<code>/restore")
@require("field.manage", audit="field.manage")
def restore_field(code: str) -> ResponseReturnValue:
    """Offer it again."""
    return _retire(code, is_retired=False, words="已恢复使用")


def _retire(code: str, *, is_retired: bool, words: str) -> ResponseReturnValue:
    seen = read_input(SeenInput, form_values()).seen
    act: Callable[[Work], None] = lambda work: field_admin.retire_field(  # noqa: E731
        work, seen=seen, code=code, is_retired=is_retired
    )
    try:
        with console_work() as work:
            act(work)
    except HcrmError as error:
        if error.status != 409:
            raise
        flash(error.message, "danger")
    else:
        flash(words, "success")
    return redirect(url_for("fields.list_fields"), 303)


def _new_page(typed: Mapping[str, Any], errors: Mapping[str, str], status: int = 200) -> ResponseReturnValue:
    with console_work(write=False) as work:
        fields = published_fields(work)
    return render_template(
        "desk/field_new.html", fields=fields, typed=typed, errors=errors, labels=LABELS,
        types=[(one.value, one.label) for one in FieldType],
    ), status  # fmt: skip


def _field_page(
    code: str, typed: Mapping[str, Any], errors: Mapping[str, str], status: int = 200
) -> ResponseReturnValue:
    with console_work(write=False) as work:
        fields = published_fields(work)
    if code not in fields.by_code:
        raise NotFoundError
    return render_template(
        "desk/field_define.html", fields=fields, field=fields.by_code[code], typed=typed, errors=errors, labels=LABELS,
        is_own=code.startswith(OWN_PREFIX),
    ), status  # fmt: skip
