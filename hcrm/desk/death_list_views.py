"""Pages of the death list: what became of each day's list, and the lines a person must judge."""

from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from hcrm.archive.death_list import service as death_list
from hcrm.archive.death_list.match import Judged, Known
from hcrm.archive.death_list.models import DeathListEntry, EntryState, ListSource, RunState
from hcrm.archive.death_list.state import (
    configured_ways,
    confirm_no_list,
    list_alarm,
    list_files,
    list_runs,
    run_of,
    take_back_word,
)
from hcrm.core.errors import ConflictError, HcrmError
from hcrm.core.inputs import Input, OptionalText, read_input
from hcrm.core.text import mask_id_number
from hcrm.core.work import Work
from hcrm.web.shell import console_work, flash, form_errors, require

bp = Blueprint("death_list", __name__, url_prefix="/deaths/list")
RUN_TONES = {
    RunState.DONE: "done", RunState.WORKING: "work", RunState.WAITING: "near", RunState.ABSENT: "late",
    RunState.FAILED: "late", RunState.WITHDRAWN: "off",
}  # fmt: skip
ENTRY_TONES = {
    EntryState.MATCHED: "done", EntryState.ALREADY: "done", EntryState.NEAR: "near", EntryState.UNKNOWN: "off",
    EntryState.CONFIRMED: "done", EntryState.REJECTED: "off",
}  # fmt: skip


class _ListAddress(Input):
    key: OptionalText = None


@bp.get("")
@require("death.list", audit="death_list.list")
def show_list() -> ResponseReturnValue:
    """Lists of late, and the lines that wait for a person."""
    return _list_page()


def _list_page(*, status: int = 200, **again: Any) -> ResponseReturnValue:
    asked = read_input(_ListAddress, request.args.to_dict())
    with console_work(write=False) as work:
        word = run_of(work, ListSource.WORD)
        page = death_list.list_near(work, key=asked.key)
        numbers = {one.id: _masked_number(work, one) for one in page.items}
        parts = {
            "near": death_list.count_near(work), "unknown": death_list.count_unknown(work),
            "runs": list_runs(work), "alarm": list_alarm(work), "files": list_files(work),
            "word": word if word is not None and word.state is RunState.DONE else None,
        }  # fmt: skip
    page_text = render_template(
        "death_list/list.html", page=page, numbers=numbers, tones=RUN_TONES, is_configured=bool(configured_ways()),
        typed=again.get("typed", ""), errors=again.get("errors") or {}, **parts,
    )  # fmt: skip
    return page_text, status


@bp.post("/none")
@require("death.list", audit="death_list.no_list")
def confirm_none() -> ResponseReturnValue:
    """Today there is no new list."""
    reason = request.form.get("reason", "")
    try:
        with console_work() as work:
            confirm_no_list(work, reason=reason)
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        return _list_page(status=error.status, typed=reason, errors=form_errors(error))
    undo = url_for("death_list.undo_none")
    flash("已确认今天没有新名单，不再为此停发；名单来了照样处理", "success", undo=undo)
    return redirect(url_for("death_list.show_list"), 303)


@bp.post("/none/undo")
@require("death.list", audit="death_list.no_list_undo")
def undo_none() -> ResponseReturnValue:
    """There may be one after all."""
    try:
        with console_work() as work:
            take_back_word(work)
    except ConflictError as error:
        flash(error.message, "danger")
    else:
        flash("已撤回确认，今天的名单重新等待", "success")
    return redirect(url_for("death_list.show_list"), 303)


@bp.get("/<entry_id>")
@require("death.list", audit="death_list.read")
def show_entry(entry_id: str) -> ResponseReturnValue:
    """One line beside the archives it may mean."""
    return _entry_page(entry_id)


@bp.post("/<entry_id>/confirm")
@require("death.list", audit="death_list.confirm")
def confirm(entry_id: str) -> ResponseReturnValue:
    """It is they."""
    chosen, note = request.form.getlist("patient"), request.form.get("note", "")
    try:
        with console_work() as work:
            death_list.confirm_entry(work, entry_id=entry_id, patient_ids=chosen, note=note)
    except HcrmError as error:
        return _again(error, entry_id, act="confirm")
    flash("已登记患者已故，待办随访随即撤回；误登可在患者页撤销", "success")
    return redirect(url_for("death_list.show_list"), 303)


@bp.post("/<entry_id>/reject")
@require("death.list", audit="death_list.reject")
def reject(entry_id: str) -> ResponseReturnValue:
    """It is none of them."""
    try:
        with console_work() as work:
            death_list.reject_entry(work, entry_id=entry_id, note=request.form.get("note", ""))
    except HcrmError as error:
        return _again(error, entry_id, act="reject")
    flash("已记为不是，以后的名单不再提示", "success", undo=url_for("death_list.reopen", entry_id=entry_id))
    return redirect(url_for("death_list.show_list"), 303)


@bp.post("/<entry_id>/reopen")
@require("death.list", audit="death_list.reopen")
def reopen(entry_id: str) -> ResponseReturnValue:
    """The no was a slip."""
    try:
        with console_work() as work:
            death_list.reopen_entry(work, entry_id=entry_id)
    except ConflictError as error:
        flash(error.message, "danger")
    else:
        flash("已放回待核对", "success")
    return redirect(url_for("death_list.show_entry", entry_id=entry_id), 303)


def _again(error: HcrmError, entry_id: str, *, act: str) -> ResponseReturnValue:
    if error.status != 422 and not isinstance(error, ConflictError):
        raise error
    typed = {"note": request.form.get("note", ""), "patient": request.form.getlist("patient")}
    return _entry_page(entry_id, act=act, typed=typed, errors=form_errors(error), status=error.status)


def _entry_page(entry_id: str, *, status: int = 200, **again: Any) -> ResponseReturnValue:
    with console_work() as work:
        entry, judged = death_list.judge_entry(work, entry_id)
        number = _masked_number(work, entry)
    people = (judged.patient,) if judged.patient else judged.candidates
    page = render_template(
        "death_list/entry.html", entry=entry, number=number, judged=judged, tones=ENTRY_TONES,
        people=[_compared(entry, one) for one in people], why=_why(entry, judged), act=again.get("act", ""),
        typed=again.get("typed") or {"note": "", "patient": []}, errors=again.get("errors") or {},
        is_open=entry.state is EntryState.NEAR,
    )  # fmt: skip
    return page, status


def _why(entry: DeathListEntry, judged: Judged) -> str:
    """Why a person must say: by the archive as it stands, else as it stood."""
    reason = judged.reason or entry.reason
    return reason.label if reason else ""


def _compared(entry: DeathListEntry, one: Known) -> dict[str, Any]:
    """An archive beside the line: what agrees, what does not."""
    return {
        "known": one,
        "id": _word(entry.id_index, one.id_indexes),
        "record": _word(entry.record_no, one.record_nos),
        "has_name": one.name == entry.name,
        "has_birth": one.birth_date == entry.birth_date if one.birth_date and entry.birth_date else None,
    }


def _word(value: str | None, known: frozenset[str]) -> bool | None:
    """Whether a number is one of theirs; None where one side has none."""
    return value in known if value and known else None


def _masked_number(work: Work, entry: DeathListEntry) -> str:
    return mask_id_number(work.keys.open_text(entry.id_number_sealed)) if entry.id_number_sealed else ""
