"""Pages: test patients, the rules that make them, and a person's mark. Not in any other list of the house."""

from collections.abc import Mapping
from typing import Annotated, Any

from flask import Blueprint, g, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import Field

from hcrm.archive.models import PatientMark
from hcrm.archive.queries import record_list_read
from hcrm.archive.test_patients.rule_edit import (
    TEMPLATES,
    TestRuleInput,
    publish_test_rules,
    rule_texts,
    with_template,
)
from hcrm.archive.test_patients.rules import published_test_rules
from hcrm.archive.test_patients.service import (
    count_test_patients,
    list_test_patients,
    mark_test_patient,
    preview_test_rules,
    unmark_test_patient,
)
from hcrm.core import limits
from hcrm.core.errors import HcrmError
from hcrm.core.inputs import Input, OptionalText, read_input
from hcrm.web.shell import console_work, flash, form_errors, form_values, require

bp = Blueprint("test_patients", __name__)
SAMPLES = 20
"""Archives a preview names of each kind."""
LABELS = {
    "contains": "姓名含有",
    "starts": "姓名开头",
    "is": "姓名完全是",
    "word": "单独的西文词",
    "record_numbers": "病案号",
}


class _Address(Input):
    key: OptionalText = None


class _MarkInput(Input):
    mark: PatientMark | None = None
    test_reason: Annotated[str, Field(max_length=200)] = ""


@bp.get("/test-patients")
@require("test_patient.manage", audit="test_patients.list")
def list_all() -> ResponseReturnValue:
    """Every test patient and why; who may open no archive sees names masked."""
    asked = read_input(_Address, request.args.to_dict())
    with console_work() as work:
        page = list_test_patients(work, key=asked.key)
        total = count_test_patients(work)
        rules = published_test_rules(work)
    return render_template("desk/test_patients.html", page=page, total=total, rules=rules)


@bp.get("/test-patients/rules")
@require("test_patient.manage", audit="none:rules, nothing of patients")
def edit_rules() -> ResponseReturnValue:
    """The rules in force, to be changed."""
    with console_work() as work:
        values = rule_texts(published_test_rules(work))
    return _form(values, {})


@bp.post("/test-patients/rules")
@require("test_patient.manage", audit="test_patients.preview")
def preview_rules() -> ResponseReturnValue:
    """What the rules as entered would do; nothing is changed. Who sees no patient learns of many only, and no name."""
    values = form_values()
    try:
        entered = read_input(TestRuleInput, values)
        rules = entered.rules()
        with console_work(write=False) as work:
            preview = preview_test_rules(work, rules)
            shown = [*preview.become[:SAMPLES], *preview.cease[:SAMPLES]] if _sees_patients() else []
            record_list_read(work, "test_patients.preview", [one.id for one in shown])
    except HcrmError as error:
        return _form(values, _rule_errors(error), status=error.status)
    return render_template(
        "desk/test_rules_preview.html", preview=preview, values=rule_texts(rules) | {"base": entered.base}, rules=rules,
        samples=SAMPLES, sees=_sees_patients(), told_from=limits.TEST_RULE_TOLD_FROM,
        fits=[(says, preview.fits[says]) for says in rules.says],
    )  # fmt: skip


@bp.post("/test-patients/rules/template")
@require("test_patient.manage", audit="none:lines put into a form, nothing is kept")
def insert_template() -> ResponseReturnValue:
    """The form again with a ready rule in it, to be edited."""
    values = form_values()
    code = str(values.pop("template", ""))
    return _form(with_template(values, code), {}, inserted=TEMPLATES[code][0])


@bp.post("/test-patients/rules/apply")
@require("test_patient.manage", audit="test_patients.apply")
def apply_rules() -> ResponseReturnValue:
    """Put the rules in force, in one act."""
    values = form_values()
    try:
        entered = read_input(TestRuleInput, values)
        with console_work() as work:
            done = publish_test_rules(work, entered)
    except HcrmError as error:
        return _form(values, _rule_errors(error), status=error.status)
    flash(f"新规则已生效：{len(done.become)} 份档案成为测试患者，{len(done.cease)} 份不再是", "success")
    return redirect(url_for("test_patients.list_all"), 303)


@bp.post("/patients/<patient_id>/test-mark")
@require("test_patient.manage", audit="patient.mark_test")
def mark(patient_id: str) -> ResponseReturnValue:
    """A person's word on one archive, or its taking back; undone by the same form."""
    shown = patient_id
    try:
        entered = read_input(_MarkInput, form_values())
        with console_work() as work:
            if entered.mark is None:
                shown = unmark_test_patient(work, patient_id=patient_id)
            else:
                shown = mark_test_patient(
                    work, patient_id=patient_id, mark=entered.mark, reason=entered.test_reason
                )
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        flash(next(iter(form_errors(error).values())), "danger")
    else:
        words = f"已标为{entered.mark.label}" if entered.mark else "已取消人工标记，按规则判断"
        flash(words, "success")
    if not g.actor.may("patient.read"):
        return redirect(url_for("test_patients.list_all"), 303)
    return redirect(url_for("desk.show_patient", patient_id=shown), 303)


def _sees_patients() -> bool:
    """Others learn of no archive, by no rule they may think of."""
    may: bool = g.actor.may("patient.read")
    return may


def _form(
    values: Mapping[str, Any], errors: Mapping[str, str], status: int = 200, *, inserted: str = ""
) -> ResponseReturnValue:
    page = render_template(
        "desk/test_rules.html",
        values=values,
        errors=errors,
        labels=LABELS,
        templates=TEMPLATES,
        inserted=inserted,
    )
    return page, status


def _rule_errors(error: HcrmError) -> dict[str, str]:
    if error.code == "definition.invalid":
        return {"form": error.message.partition("有误：")[2] or error.message}
    return form_errors(error)
