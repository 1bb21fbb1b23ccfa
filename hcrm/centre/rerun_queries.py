"""Reading re-runs: how far, what changes from what to what, and the stays behind each number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from hcrm.archive.models import Patient
from hcrm.archive.queries import record_list_read
from hcrm.archive.scope import scope_patients
from hcrm.archive.visit_models import Encounter
from hcrm.centre.rerun_models import ClassificationBefore, ClassificationChange, ClassificationRun, RunState
from hcrm.core.errors import NotFoundError
from hcrm.core.work import Work
from hcrm.directory.models import Department
from hcrm.web.paging import Page, keyset_page

SAMPLE = 20
_RUNS = 10
_LATE_MINUTES = 3
"""From when on a preview that has not begun is no longer waiting its turn: the job begins every minute."""
C = ClassificationChange


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """How many stays go from one main class to another on an axis; equal ones change in a further class."""

    axis: str
    before_code: str
    before: str
    after_code: str
    after: str
    number: int


def list_runs(work: Work) -> Sequence[ClassificationRun]:
    """The latest re-runs."""
    return work.scalars(sa.select(ClassificationRun).order_by(ClassificationRun.id.desc()).limit(_RUNS))


def get_run(work: Work, run_id: str) -> ClassificationRun:
    """One of them."""
    return work.get(ClassificationRun, run_id)


def count_changes(work: Work, run_id: str) -> Sequence[ChangeLine]:
    """From what to what, the most first within each axis."""
    number = sa.func.count()
    rows: Sequence[Any] = work.execute(
        sa.select(
            C.axis,
            C.before_code,
            sa.func.min(C.before_label),
            C.after_code,
            sa.func.min(C.after_label),
            number,
        )
        .where(C.run_id == run_id)
        .group_by(C.axis, C.before_code, C.after_code)
        .order_by(C.axis, number.desc(), C.before_code, C.after_code)
    ).all()
    return [ChangeLine(*row) for row in rows]


def why_nothing(work: Work, run: ClassificationRun) -> str:
    """Why a run shows no number, in a sentence for its page; empty where it shows some."""
    if run.state is RunState.PREVIEWING and not run.looked:
        waited = int((work.clock.now() - run.started_at).total_seconds() // 60)
        if waited >= _LATE_MINUTES:
            return f"已等待 {waited} 分钟还没有开始：后台任务可能没有运行，请信息科查看“任务”页的“按新规则重新分类”。"
        return "排队等待后台任务，一分钟内开始，可离开本页。"
    if run.state is RunState.READY and not run.looked:
        return "档案中还没有已发生的就诊，没有可比较的。"
    if run.state is RunState.READY and not run.changed:
        return "每次就诊按这些规则得到的类别都与现在的相同，不必执行。"
    return ""


def is_undoable(work: Work, run: ClassificationRun) -> bool:
    """Whether the classes from before are still kept."""
    halfway = run.state is RunState.STOPPED and run.stopped_in is RunState.APPLYING
    kept = sa.exists().where(ClassificationBefore.run_id == run.id)
    return (run.state is RunState.DONE or halfway) and bool(work.scalar(sa.select(kept)))


def list_changes(
    work: Work, *, run_id: str, axis: str = "", before: str | None = None, after: str | None = None,
    key: str | None = None,
) -> Page[Any]:  # fmt: skip
    """The stays behind a number, each with its patient; the read is noted."""
    if work.session.get(ClassificationRun, run_id) is None:
        raise NotFoundError
    where = [C.run_id == run_id]
    if axis:
        where.append(C.axis == axis)
    if before is not None:
        where.append(C.before_code == before)
    if after is not None:
        where.append(C.after_code == after)
    statement = (
        sa.select(
            C, Patient.id.label("patient_id"), Patient.name.label("patient_name"), Encounter.discharged_at,
            Encounter.admitted_at, Encounter.encounter_class, Department.name.label("department_name"),
        )
        .join(Encounter, Encounter.id == C.encounter_id)
        .join(Patient, Patient.id == Encounter.patient_id)
        .outerjoin(Department, Department.id == Encounter.department_id)
        .where(*where)
    )  # fmt: skip
    page = keyset_page(work, scope_patients(statement, work.actor), order=(C.id,), key=key, size=SAMPLE)
    record_list_read(work, "rerun.sample", [row.patient_id for row in page.items], detail={"run": run_id})
    return page
