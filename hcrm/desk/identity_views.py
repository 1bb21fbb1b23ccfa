"""Pages: archives that may be one person, side by side, and what a person decides about them."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from jinja2_fragments.flask import render_block
from pydantic import Field

from hcrm.archive.identity import pairs
from hcrm.archive.identity.full_scan import start_full_scan
from hcrm.archive.identity.matching_rule import MatchField, Outcome, published_rule
from hcrm.archive.identity.models import UNDECIDED, IdentityScan, PairState
from hcrm.archive.identity.queries import (
    PairAsShown,
    count_pairs,
    last_scans,
    list_pairs,
    pair_decisions,
    read_pair,
)
from hcrm.archive.identity.scan import FULL, count_archives
from hcrm.archive.identity.service import part_merged, sort_left
from hcrm.archive.parting.death import tell_parted_death
from hcrm.archive.parting.since_merge import came_meanwhile, get_merge
from hcrm.archive.queries import get_patient
from hcrm.archive.search.lines import PatientLine
from hcrm.archive.search.patients import search_patients
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.errors import HcrmError
from hcrm.core.inputs import Input, OptionalText, read_input
from hcrm.core.work import Work
from hcrm.desk.identity_pair import MARKS, MOVING, compare_lines, count_moving, load_sides, usual_survivor
from hcrm.web.shell import console_work, flash, form_errors, form_values, require

bp = Blueprint("identity", __name__, url_prefix="/identity")
TONES = {
    PairState.OPEN: "open", PairState.NEEDS_DATA: "near", PairState.NOT_SAME: "off", PairState.MERGED: "done",
}  # fmt: skip
"""How each state looks."""


class PairAddress(Input):
    """What stands in the address of the list."""

    state: PairState = PairState.OPEN
    likely: OptionalText = None
    key: OptionalText = None


class Decision(Input):
    """What a person says of a pair as it was shown."""

    version: int
    reason: Annotated[str, Field(min_length=1, max_length=200)]


class Comparison(Input):
    """The other archive."""

    other: Annotated[str, Field(min_length=1, max_length=64)]


class MergeDecision(Decision):
    """That it is one person, and whose archive stays."""

    keep: Literal["low", "high"]
    vip: OptionalText = None


@bp.get("")
@require("identity.decide", audit="identity.list")
def list_pairs_page() -> ResponseReturnValue:
    """The pairs of one state, the surest first."""
    asked = read_input(PairAddress, request.args.to_dict())
    with console_work() as work:
        rule = published_rule(work)
        least = rule.likely if asked.likely else 0
        page = list_pairs(work, state=asked.state, at_least=least, key=asked.key)
        counts = {state: count_pairs(work, state=state) for state in PairState}
        likely = count_pairs(work, state=asked.state, at_least=rule.likely)
        scans, total = _scans(work)
    return render_template(
        "identity/list.html", page=page, counts=counts, likely=likely, scans=scans, asked=asked, rule=rule,
        states=PairState, tones=TONES, block=limits.PAIR_BLOCK, total=total,
    )  # fmt: skip


def _scans(work: Work) -> tuple[dict[str, IdentityScan], int]:
    """How far the searches are; how many archives there are, while all are gone through."""
    scans = last_scans(work)
    is_running = FULL in scans and scans[FULL].finished_at is None
    return scans, count_archives(work) if is_running else 0


@bp.post("/scan")
@require("identity.decide", audit="identity.scan")
def start_scan() -> ResponseReturnValue:
    """Let all archives be compared; the page may be left."""
    try:
        with console_work() as work:
            start_full_scan(work)
    except HcrmError as error:
        if error.status != 409:
            raise
        flash(error.message, "warning")
    else:
        flash("已开始比对全部档案，一分钟内开始，可离开本页", "success")
    return redirect(url_for("identity.list_pairs_page"), 303)


@bp.get("/scan")
@require("identity.decide", audit="none:counts of a job")
def watch_scan() -> ResponseReturnValue:
    """How far it is, asked again and again; when it ends the page is loaded anew."""
    with console_work(write=False) as work:
        rule = published_rule(work)
        scans, total = _scans(work)
    if not total:
        return "", 200, {"HX-Refresh": "true"}
    return render_block(
        "identity/list.html", "scans", scans=scans, total=total, rule=rule, block=limits.PAIR_BLOCK
    )


@bp.get("/compare/<patient_id>")
@require("identity.decide", audit="identity.read")
def ask_compare(patient_id: str) -> ResponseReturnValue:
    """Look for the archive that a person holds for the same patient's."""
    return _compare_page(patient_id)


@bp.post("/compare/<patient_id>")
@require("identity.decide", audit="identity.propose")
def compare(patient_id: str) -> ResponseReturnValue:
    """Put the two side by side, whatever the rule says of them."""
    try:
        said = read_input(Comparison, form_values())
        with console_work() as work:
            pair_id = pairs.propose_pair(work, patient_id=patient_id, other_id=said.other)
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        return _compare_page(patient_id, errors=form_errors(error), status=error.status)
    return redirect(url_for("identity.show_pair", pair_id=pair_id), 303)


@bp.get("/pairs/<pair_id>")
@require("identity.decide", audit="identity.read")
def show_pair(pair_id: str) -> ResponseReturnValue:
    """Two archives side by side."""
    return _pair_page(pair_id)


@bp.post("/pairs/<pair_id>/apart")
@require("identity.decide", audit="identity.keep_apart")
def keep_apart(pair_id: str) -> ResponseReturnValue:
    """They are two people."""
    return _decide(pair_id, "apart", pairs.keep_apart, "已记为不是同一人；依据不变时不再提示，接口也照此处理")


@bp.post("/pairs/<pair_id>/data")
@require("identity.decide", audit="identity.ask_for_data")
def ask_for_data(pair_id: str) -> ResponseReturnValue:
    """It cannot be told yet."""
    return _decide(pair_id, "data", pairs.ask_for_data, "已记为待补资料；资料有变时会重新提示")


@bp.get("/pairs/<pair_id>/merge")
@require("identity.decide", audit="identity.read")
def ask_merge(pair_id: str) -> ResponseReturnValue:
    """What would move, before it does."""
    keep = request.args.get("keep", "")
    return _merge_page(pair_id, keep if keep in ("low", "high") else "low")


@bp.post("/pairs/<pair_id>/merge")
@require("identity.decide", audit="patient.merge")
def merge(pair_id: str) -> ResponseReturnValue:
    """They are one person."""
    typed = form_values()
    try:
        said = read_input(MergeDecision, typed)
        with console_work() as work:
            shown = read_pair(work, pair_id)
            survivor_id = shown.pair.low_id if said.keep == "low" else shown.pair.high_id
            pairs.merge_pair(
                work, pair_id=pair_id, version=said.version, survivor_id=survivor_id, reason=said.reason,
                is_vip_checked=bool(said.vip),
            )  # fmt: skip
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        keep = "high" if typed.get("keep") == "high" else "low"
        return _merge_page(pair_id, keep, typed=typed, errors=form_errors(error), status=error.status)
    flash("已合并。如有错误，可在本页“身份”栏撤销合并", "success")
    return redirect(url_for("desk.show_patient", patient_id=survivor_id), 303)


def _decide(pair_id: str, act: str, decide: Callable[..., None], words: str) -> ResponseReturnValue:
    typed = form_values()
    try:
        said = read_input(Decision, typed)
        with console_work() as work:
            decide(work, pair_id=pair_id, version=said.version, reason=said.reason)
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        return _pair_page(pair_id, act=act, typed=typed, errors=form_errors(error), status=error.status)
    flash(words, "success")
    return redirect(url_for("identity.list_pairs_page"), 303)


def _compare_page(
    patient_id: str, *, errors: Mapping[str, str] | None = None, status: int = 200
) -> ResponseReturnValue:
    words = request.args.get("q", "").strip()
    found: list[PatientLine] = []
    errors = dict(errors or {})
    with console_work() as work:
        patient = get_patient(work, patient_id, action="identity.read")
        if words:
            try:
                page = search_patients(work, words, size=limits.SIMILAR_SHOWN)
            except HcrmError as error:
                errors, status = form_errors(error), error.status
            else:
                found = [line for line in page.items if line.id != patient.id]
    return render_template(
        "identity/compare.html", patient=patient, words=words, found=found, errors=errors
    ), status


def _pair_page(
    pair_id: str, *, act: str = "", typed: Mapping[str, Any] | None = None, errors: Mapping[str, str] | None = None,
    status: int = 200,
) -> ResponseReturnValue:  # fmt: skip
    with console_work(write=False) as work:
        shown = read_pair(work, pair_id)
        rule = published_rule(work)
        left, right = load_sides(work, shown)
        lines = compare_lines(left, right, shown.evidence)
        survivor, why = usual_survivor(left, right)
        decisions = pair_decisions(work, pair_id)
    return render_template(
        "identity/pair.html", shown=shown, left=left, right=right, lines=lines, marks=MARKS, rule=rule, tones=TONES,
        keep="low" if survivor == shown.low.id else "high", why=why, decisions=decisions,
        may_decide=_may_decide(shown), act=act, typed=typed or {}, errors=errors or {},
    ), status  # fmt: skip


def _merge_page(
    pair_id: str, keep: str, *, typed: Mapping[str, Any] | None = None, errors: Mapping[str, str] | None = None,
    status: int = 200,
) -> ResponseReturnValue:  # fmt: skip
    with console_work(write=False) as work:
        shown = read_pair(work, pair_id)
        if not _may_decide(shown):
            return redirect(url_for("identity.show_pair", pair_id=pair_id), 303)
        left, right = load_sides(work, shown)
        stays, goes = (left, right) if keep == "low" else (right, left)
        moving = count_moving(work, goes.patient.id)
        warnings = _warnings(shown)
    return render_template(
        "identity/merge.html", shown=shown, keep=keep, stays=stays, goes=goes, moving=moving, warnings=warnings,
        is_vip=shown.low.is_vip or shown.high.is_vip, typed=typed or {}, errors=errors or {},
    ), status  # fmt: skip


def _may_decide(shown: PairAsShown) -> bool:
    stand = not (shown.merged_into or shown.is_hidden or shown.is_test)
    return stand and shown.pair.state in (*UNDECIDED, PairState.NOT_SAME)


def _warnings(shown: PairAsShown) -> list[str]:
    """What to look at once more before two archives become one."""
    low, high = shown.low, shown.high
    found = []
    if low.deceased is not high.deceased:
        found.append("一份记为已故或存疑，另一份不是：合并后为“存疑”，停止发送，直到有人核实。")
    if any(
        line.field is MatchField.ID_NUMBER and line.outcome is Outcome.DIFFERENT for line in shown.evidence
    ):
        found.append("证件号不同。")
    if low.birth_date and high.birth_date and low.birth_date != high.birth_date:
        found.append("出生日期不同。")
    if "unknown" not in (low.sex, high.sex) and low.sex is not high.sex:
        found.append("性别不同。")
    if shown.pair.state is PairState.NOT_SAME:
        found.append(f"此前已核对为不是同一人：{shown.pair.note or ''}")
    return found


# ── undoing ─────────────────────────────────────────────────────────────────


@bp.get("/merges/<merge_id>")
@require("identity.decide", audit="identity.read")
def show_merge(merge_id: str) -> ResponseReturnValue:
    """What came while two were one and where each part will go; once undone, what is still to be sorted."""
    return _undo_page(merge_id)


@bp.post("/merges/<merge_id>/undo")
@require("identity.decide", audit="patient.unmerge")
def undo(merge_id: str) -> ResponseReturnValue:
    """Two archives again."""
    typed = form_values()
    try:
        said = read_input(UndoDecision, {"reason": typed.get("reason", "")})
        with console_work() as work:
            parted = part_merged(
                work, merge_id=merge_id, reason=said.reason, chosen=_chosen(typed),
                seen=[name for name in typed if "." in name],
            )  # fmt: skip
    except HcrmError as error:
        if error.status not in (409, 422):
            raise
        return _undo_page(merge_id, typed=typed, errors=form_errors(error), status=error.status)
    flash("已撤销合并，现在显示的是分出的档案", "success")
    return redirect(url_for("desk.show_patient", patient_id=parted), 303)


@bp.post("/merges/<merge_id>/sort")
@require("identity.decide", audit="patient.unmerge")
def sort_out(merge_id: str) -> ResponseReturnValue:
    """What was left with the survivor goes to whom it belongs."""
    with console_work() as work:
        parted = sort_left(work, merge_id=merge_id, chosen=_chosen(form_values()))
    flash("已核对，现在显示的是分出的档案", "success")
    return redirect(url_for("desk.show_patient", patient_id=parted), 303)


class UndoDecision(Input):
    """Why two are two after all."""

    reason: Annotated[str, Field(min_length=1, max_length=200)]


def _chosen(typed: Mapping[str, Any]) -> dict[str, list[str]]:
    """The rows for which 分出的一份 was chosen, by table."""
    chosen: dict[str, list[str]] = {}
    for name, value in typed.items():
        table, _, key = name.partition(".")
        if key and value == "merged":
            chosen.setdefault(table, []).append(key)
    return chosen


def _undo_page(
    merge_id: str,
    *,
    typed: Mapping[str, Any] | None = None,
    errors: Mapping[str, str] | None = None,
    status: int = 200,
) -> ResponseReturnValue:
    with console_work(write=False) as work:
        merge = get_merge(work, merge_id)
        rows = came_meanwhile(work, merge)
        death = "" if merge.undone_at else tell_parted_death(work, merge)
        names = [merge.before[key]["name"] or "姓名未填" for key in (merge.survivor_id, merge.merged_id)]
        record_audit(
            work, action="identity.read", patients=[merge.survivor_id, merge.merged_id], subject_type="patient_merge",
            subject_id=merge_id,
        )  # fmt: skip
    return render_template(
        "identity/undo.html", merge=merge, rows=rows, names=names, moved=_moved_words(merge.moved), typed=typed or {},
        errors=errors or {}, death=death,
    ), status  # fmt: skip


def _moved_words(moved: Mapping[str, Any]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for column, keys in moved.items():
        word = MOVING.get(column.partition(".")[0], "其他记录")
        counts[word] = counts.get(word, 0) + len(keys)
    return sorted(counts.items(), key=lambda item: [*MOVING.values(), "其他记录"].index(item[0]))
