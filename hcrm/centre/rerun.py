"""Sorting all stays anew when rules have changed: previewed, applied in batches, stopped, resumed, undone.

Compared are all visits that took place or go on. What is re-sorted lets its instructions follow by
`EncounterReclassified`, as a corrected record does; a stay that was never sorted gets its classes and nothing is
issued for it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hcrm.archive.events import PatientsTouched
from hcrm.archive.visit_models import Encounter
from hcrm.audit.service import record_audit
from hcrm.centre.classification import clear_classes, put_classes, ranked
from hcrm.centre.classification_rules import Axis, AxisRules, Hit, add_hits, classify
from hcrm.centre.events import EncounterReclassified
from hcrm.centre.instructions import NO_CUT_OVERS, CutOvers
from hcrm.centre.models import Classification
from hcrm.centre.published import published_rules, rules_of
from hcrm.centre.replan_preview import count_following
from hcrm.centre.rerun_models import ClassificationBefore, ClassificationChange, ClassificationRun, RunState
from hcrm.centre.stays import HAPPENED, Stay, load_visits
from hcrm.core import limits
from hcrm.core.db import table_of
from hcrm.core.definitions import lock_definition
from hcrm.core.errors import ConflictError, HcrmError
from hcrm.core.work import Row, Work

ACTIVE = (RunState.PREVIEWING, RunState.APPLYING, RunState.UNDOING)
"""States in which the job works on a run."""
UNFINISHED = (*ACTIVE, RunState.STOPPED)
Classes = dict[str, list[Mapping[str, Any]]]
"""Rows of `classification` by stay, main class first within each axis."""


# ── what people decide ──────────────────────────────────────────────────────


def start_preview(work: Work, *, draft: AxisRules | None = None) -> ClassificationRun:
    """Compare all stays with the rules in force, or with a draft of one axis in their place.

    One run at a time: of two who start one at once the second is told. A preview nobody confirmed is dropped.
    """
    for axis in Axis:
        lock_definition(work, kind="classification", code=axis.value)
    standing = work.session.scalars(
        sa.select(ClassificationRun)
        .where(ClassificationRun.state.in_((*UNFINISHED, RunState.READY)))
        .order_by(ClassificationRun.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    under_way = next((run for run in standing if run.state is RunState.PREVIEWING), None)
    if under_way is not None:
        raise ConflictError(
            "rerun.running",
            f"{under_way.started_by_name}刚开始了一次预览，请在下面的记录中打开它，不必再开始一次",
        )
    if any(run.state is not RunState.READY and run.stopped_in is not RunState.PREVIEWING for run in standing):
        raise ConflictError("rerun.running", "已有一次重新分类在进行，请等它完成或停止后撤销")
    for run in standing:
        _drop(work, run)
    published = published_rules(work)
    if not published and draft is None:
        raise ConflictError("rerun.no_rules", "还没有发布分类规则，没有可以比较的")
    rules = _versions(published) | ({draft.code.value: draft.version} if draft else {})
    run = ClassificationRun(
        id=work.new_id(), state=RunState.PREVIEWING, stopped_in=None, rules=rules,
        cursor="", looked=0, changed=0, applied=0, undone=0, kept=0, appearing=0, missed=0, moving=0, withdrawn=0,
        started_by=work.actor.id, started_by_name=work.actor.name, started_at=work.clock.now(),
        applied_by_name=None, applied_at=None, finished_at=None,
    )  # fmt: skip
    work.add(run)
    _note(work, "rerun.preview", run)
    return run


def apply_run(work: Work, *, run_id: str) -> ClassificationRun:
    """Let the job change what the preview showed. What an earlier run had kept for undoing goes now."""
    run = _locked(work, run_id)
    if run.state is not RunState.READY:
        raise ConflictError("rerun.state", f"这次预览{run.state.label}，不能执行")
    if run.rules != _versions(published_rules(work)):
        said = (
            "这是草稿的预览，请先发布草稿" if has_draft(work, run) else "预览之后规则又有新版本，请重新预览"
        )
        raise ConflictError("rerun.rules", said)
    others = sa.delete(ClassificationBefore).where(ClassificationBefore.run_id != run.id)
    work.execute(others.execution_options(synchronize_session=False))
    run.state, run.cursor = RunState.APPLYING, ""
    run.applied_by_name, run.applied_at = work.actor.name, work.clock.now()
    _note(work, "rerun.apply", run)
    return run


def has_draft(work: Work, run: ClassificationRun) -> bool:
    """Whether a preview is of rules that are not in force yet."""
    published = _versions(published_rules(work))
    is_ahead = any(version > published.get(axis, 0) for axis, version in run.rules.items())
    return is_ahead and rules_of(work, run.rules) is not None


def drop_draft_previews(work: Work, *, axis: str, version: int) -> None:
    """Forget what was previewed of a draft that is another one now."""
    previews = sa.or_(
        ClassificationRun.state.in_((RunState.PREVIEWING, RunState.READY)),
        ClassificationRun.stopped_in == RunState.PREVIEWING,
    )
    for run in work.session.scalars(sa.select(ClassificationRun).where(previews).with_for_update()).all():
        if run.rules.get(axis) == version:
            _drop(work, run)


def stop_run(work: Work, *, run_id: str) -> ClassificationRun:
    """Do nothing more for now; what was done stays."""
    run = _locked(work, run_id)
    if run.state not in ACTIVE:
        raise ConflictError("rerun.state", f"这次重新分类{run.state.label}，不能停止")
    run.stopped_in, run.state = run.state, RunState.STOPPED
    _note(work, "rerun.stop", run)
    return run


def resume_run(work: Work, *, run_id: str) -> ClassificationRun:
    """Go on where it was stopped."""
    run = _locked(work, run_id)
    if run.state is not RunState.STOPPED or run.stopped_in is None:
        raise ConflictError("rerun.state", f"这次重新分类{run.state.label}，不能继续")
    is_old = run.rules != _versions(published_rules(work)) and not has_draft(work, run)
    if run.stopped_in is not RunState.UNDOING and is_old:
        raise ConflictError("rerun.rules", "停止之后规则又有新版本，请撤销后重新预览")
    run.state, run.stopped_in = run.stopped_in, None
    _note(work, "rerun.resume", run)
    return run


def undo_run(work: Work, *, run_id: str) -> ClassificationRun:
    """Let the job put back the classes from before, also of a run that was stopped halfway."""
    run = _locked(work, run_id)
    halfway = run.state is RunState.STOPPED and run.stopped_in is RunState.APPLYING
    if not (run.state is RunState.DONE or halfway) or not _has_before(work, run):
        raise HcrmError("rerun.undo", "这次重新分类已不能撤销：后来又执行过一次", status=409)
    run.state, run.stopped_in, run.cursor = RunState.UNDOING, None, ""
    _note(work, "rerun.undo", run)
    return run


# ── what the job does ───────────────────────────────────────────────────────


def continue_runs(work: Work, *, home_region: str | None = None, cut_overs: CutOvers = NO_CUT_OVERS) -> int:
    """One batch of the run under way; how many stays it looked at. 0: nothing to do now."""
    run = work.session.scalars(
        sa.select(ClassificationRun)
        .where(ClassificationRun.state.in_(ACTIVE))
        .order_by(ClassificationRun.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()
    if run is None:
        return 0
    if run.state is RunState.APPLYING and run.rules != _versions(published_rules(work)):
        run.stopped_in, run.state = (
            run.state,
            RunState.STOPPED,
        )  # the rest would not be what the preview showed
        _note(work, "rerun.stop", run)
        return 0
    steps: dict[RunState, Callable[[], Sequence[str]]] = {
        RunState.PREVIEWING: lambda: _preview(work, run, home_region, cut_overs),
        RunState.APPLYING: lambda: _apply(work, run, home_region),
        RunState.UNDOING: lambda: _undo(work, run),
    }
    ids = steps[run.state]()
    if ids:
        run.cursor = ids[-1]
    else:
        _finish(work, run)
    work.session.flush()
    return len(ids)


def _rules_to_compare(work: Work, run: ClassificationRun) -> Sequence[AxisRules]:
    """Those of the run; those in force where others were published, or its draft was left, since."""
    published = published_rules(work)
    is_behind = any(each.version > run.rules.get(each.code.value, 0) for each in published)
    return published if is_behind else rules_of(work, run.rules) or published


def _preview(work: Work, run: ClassificationRun, region: str | None, cut_overs: CutOvers) -> Sequence[str]:
    ids = work.scalars(
        sa.select(Encounter.id)
        .where(Encounter.id > run.cursor, Encounter.status.in_(HAPPENED), Encounter.merged_into_id.is_(None))
        .order_by(Encounter.id)
        .limit(limits.CLASSIFY_BATCH)
    )
    rules = _rules_to_compare(work, run)
    if run.rules != _versions(rules):  # published meanwhile: what is shown must be one set of rules
        run.rules, run.looked, run.changed, run.cursor = _versions(rules), 0, 0, ""
        run.appearing = run.missed = run.moving = run.withdrawn = 0
        _forget(work, ClassificationChange, run)
        return ["" for _ in ids]
    standing = _classes(work, ids)
    changed: list[Stay] = []
    rows: list[Row] = []
    for stay in load_visits(work, ids, home_region=region):
        hits = classify(stay.facts, rules)
        found = _differences(run, stay, standing.get(stay.encounter_id, []), hits)
        if found:
            rows += [{"id": work.new_id(), **row} for row in found]
            changed.append(_sorted_anew(stay, hits))
    work.insert(ClassificationChange, rows)
    run.looked += len(ids)
    run.changed += len(changed)
    known = [stay for stay in changed if stay.trigger_id and _is_known(standing.get(stay.encounter_id, []))]
    following = count_following(work, known, cut_overs=cut_overs)
    run.appearing += following.appearing
    run.missed += following.missed
    run.moving += following.moving
    run.withdrawn += following.withdrawn
    return ids


def _apply(work: Work, run: ClassificationRun, region: str | None) -> Sequence[str]:
    ids = _next_stays(work, ClassificationChange, run)
    stays = load_visits(work, ids, home_region=region)
    standing = _classes(work, ids)
    now = work.clock.now()
    work.insert(
        ClassificationBefore,
        [
            {"id": work.new_id(), "run_id": run.id, "encounter_id": stay.encounter_id, "applied_at": now,
             "rows": [_plain(row) for row in standing.get(stay.encounter_id, [])]}
            for stay in stays
        ],
    )  # fmt: skip
    known = {stay.encounter_id for stay in stays if _is_known(standing.get(stay.encounter_id, []))}
    rules = published_rules(work)
    for is_known in (True, False):
        some = [stay for stay in stays if (stay.encounter_id in known) is is_known]
        put_classes(
            work,
            some,
            rules,
            replace={stay.encounter_id for stay in some},
            is_provisional=not is_known,
            at=dict.fromkeys((stay.encounter_id for stay in some), now),
        )
    run.applied += len(stays)
    _tell(work, run, stays, known)
    return ids


def _undo(work: Work, run: ClassificationRun) -> Sequence[str]:
    ids = _next_stays(work, ClassificationBefore, run)
    before = {
        row.encounter_id: row
        for row in work.execute(
            sa.select(ClassificationBefore.encounter_id, ClassificationBefore.rows, ClassificationBefore.applied_at)
            .where(ClassificationBefore.run_id == run.id, ClassificationBefore.encounter_id.in_(ids))
        )
    }  # fmt: skip
    standing = _classes(work, ids)
    stays = [
        stay
        for stay in load_visits(work, ids)
        if _is_as_applied(standing.get(stay.encounter_id, []), before[stay.encounter_id].applied_at)
    ]
    clear_classes(work, [stay.encounter_id for stay in stays])
    rows = [
        _row_of(kept) | {"department_id": stay.unit_id}  # where it is now, wherever it was then
        for stay in stays for kept in before[stay.encounter_id].rows
    ]  # fmt: skip
    work.insert(Classification, rows)
    run.undone += len(stays)
    run.kept += len(ids) - len(stays)
    known = {row["encounter_id"] for row in rows if not row["is_provisional"]}
    _tell(work, run, stays, known)
    return ids


def _finish(work: Work, run: ClassificationRun) -> None:
    if run.state is RunState.UNDOING:
        _forget(work, ClassificationBefore, run)
    run.state = {
        RunState.PREVIEWING: RunState.READY, RunState.APPLYING: RunState.DONE, RunState.UNDOING: RunState.UNDONE,
    }[run.state]  # fmt: skip
    run.finished_at = work.clock.now()


# ── the common steps ────────────────────────────────────────────────────────


def _next_stays(work: Work, model: Any, run: ClassificationRun) -> Sequence[str]:
    return work.scalars(
        sa.select(model.encounter_id)
        .where(model.run_id == run.id, model.encounter_id > run.cursor)
        .distinct()
        .order_by(model.encounter_id)
        .limit(limits.CLASSIFY_BATCH)
    )


def _classes(work: Work, encounter_ids: Sequence[str]) -> Classes:
    table = table_of(Classification)
    found: Classes = {}
    for row in work.execute(
        sa.select(table).where(table.c.encounter_id.in_(encounter_ids)).order_by(table.c.axis, table.c.rank)
    ).mappings():
        found.setdefault(row["encounter_id"], []).append(dict(row))
    return found


def _differences(
    run: ClassificationRun, stay: Stay, standing: Sequence[Mapping[str, Any]], hits: Sequence[Hit]
) -> Iterable[Row]:
    """One row for each axis whose classes differ, other classes beside the main one included."""
    before: dict[str, list[tuple[str, str]]] = {}
    after: dict[str, list[tuple[str, str]]] = {}
    for row in standing:
        before.setdefault(row["axis"], []).append((row["code"], row["label"]))
    for _, hit in ranked(hits):
        after.setdefault(hit.axis.value, []).append((hit.code, hit.label))
    return [
        {"run_id": run.id, "encounter_id": stay.encounter_id, "axis": axis, "before_code": was[0][0] if was else "",
         "before_label": "、".join(label for _, label in was), "after_code": now[0][0],
         "after_label": "、".join(label for _, label in now)}
        for axis, now in after.items()
        if (was := before.get(axis, [])) != now
    ]  # fmt: skip


def _sorted_anew(stay: Stay, hits: Sequence[Hit]) -> Stay:
    return stay.with_facts(add_hits(stay.facts, hits))


def _is_known(rows: Sequence[Mapping[str, Any]]) -> bool:
    return any(not row["is_provisional"] for row in rows)


def _is_as_applied(rows: Sequence[Mapping[str, Any]], applied_at: datetime) -> bool:
    """Whether nobody has sorted the stay since: a record corrected meanwhile is not put back."""
    return all(row["classified_at"] == applied_at for row in rows)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "classified_at": row["classified_at"].isoformat()}


def _row_of(kept: Mapping[str, Any]) -> Row:
    return {**kept, "classified_at": datetime.fromisoformat(kept["classified_at"])}


def _tell(work: Work, run: ClassificationRun, stays: Sequence[Stay], known: set[str]) -> None:
    if not stays:
        return
    for stay in stays:
        if stay.encounter_id in known and stay.trigger_id:
            work.emit(EncounterReclassified(encounter_id=stay.encounter_id, trigger_id=stay.trigger_id))
    patients = sorted({stay.patient_id for stay in stays})
    work.emit(PatientsTouched(patient_ids=patients))
    record_audit(
        work, action="encounter.reclassify", patients=patients, subject_type="classification_run", subject_id=run.id
    )  # fmt: skip


def _versions(rules: Sequence[AxisRules]) -> dict[str, int]:
    return {each.code.value: each.version for each in rules}


def _locked(work: Work, run_id: str) -> ClassificationRun:
    run = work.session.scalars(
        sa.select(ClassificationRun).where(ClassificationRun.id == run_id).with_for_update()
    ).one_or_none()
    if run is None:
        raise HcrmError("not_found", "没有这次重新分类", status=404)
    return run


def _has_before(work: Work, run: ClassificationRun) -> bool:
    return bool(work.scalar(sa.select(sa.exists().where(ClassificationBefore.run_id == run.id))))


def _forget(work: Work, model: Any, run: ClassificationRun) -> None:
    work.execute(sa.delete(model).where(model.run_id == run.id).execution_options(synchronize_session=False))


def _drop(work: Work, run: ClassificationRun) -> None:
    _forget(work, ClassificationChange, run)
    work.session.delete(run)
    work.session.flush()


def _note(work: Work, action: str, run: ClassificationRun) -> None:
    work.session.flush()
    record_audit(
        work, action=action, subject_type="classification_run", subject_id=run.id, detail={"rules": run.rules}
    )
