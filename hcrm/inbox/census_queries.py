"""Reading comparisons: the days, the matrix of one, its findings, one of them with the messages of its stay."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from hcrm.archive.queries import record_list_read
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.text import half_width
from hcrm.core.work import Work
from hcrm.directory.models import Department
from hcrm.inbox.census_models import LEFT_OUT, CensusLine, CensusRun, Finding, LineState, Movement
from hcrm.inbox.models import InboxApplication
from hcrm.web.paging import Page, keyset_page

OF_DEPARTMENT = "department"
"""What differs of a stay that the list gives to another department: both values are codes."""
_MESSAGES = 20
_SHORT = 5  # characters: the end of such a number is nearly all of it


@dataclass(frozen=True, slots=True)
class LineFilters:
    """What the findings of a run are narrowed to."""

    movement: Movement | None = None
    finding: Finding | None = None
    state: LineState | None = None
    department: str | None = None


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """One line of the matrix."""

    movement: Movement
    campus: str
    department: str
    department_name: str
    his: int
    ours: int
    missing: int
    extra: int
    differing: int


def list_sources_with_runs(work: Work) -> Sequence[str]:
    """Every source that was ever compared."""
    return work.scalars(sa.select(CensusRun.source).distinct().order_by(CensusRun.source))


def list_days(work: Work, source: str, *, until: date | None = None) -> Sequence[CensusRun]:
    """The run that counts of each of a month's days, the newest day first."""
    statement = sa.select(CensusRun).where(CensusRun.source == source)
    if until is not None:
        statement = statement.where(CensusRun.day <= until)
    rows = work.scalars(
        statement.order_by(CensusRun.day.desc(), CensusRun.number.desc()).limit(limits.PAGE_SIZE)
    )
    days: dict[date, CensusRun] = {}
    for run in rows:
        days.setdefault(run.day, run)
    return list(days.values())


def find_runs(work: Work, source: str, day: date) -> Sequence[CensusRun]:
    """Every comparison of one day, the newest first."""
    return work.scalars(
        sa.select(CensusRun)
        .where(CensusRun.source == source, CensusRun.day == day)
        .order_by(CensusRun.number.desc())
    )


def matrix_of(run: CensusRun) -> list[MatrixRow]:
    """Its lines, by movement, campus and department."""
    order = list(Movement)
    rows = [MatrixRow(Movement(line[0]), *line[1:]) for line in run.counts if line[0] != LEFT_OUT]
    return sorted(rows, key=lambda row: (order.index(row.movement), row.campus, row.department_name))


def left_out_of(run: CensusRun) -> dict[str, int]:
    """Lines or stays of the list that are in none of them, by why."""
    return {line[1]: line[2] for line in run.counts if line[0] == LEFT_OUT}


def totals_of(rows: Sequence[MatrixRow]) -> dict[Movement, dict[str, int]]:
    """Sums by movement."""
    names = ("his", "ours", "missing", "extra", "differing")
    found: dict[Movement, dict[str, int]] = {}
    for row in rows:
        sums = found.setdefault(row.movement, dict.fromkeys(names, 0))
        for name in names:
            sums[name] += getattr(row, name)
    return found


def count_line_states(work: Work, run_id: str) -> Mapping[LineState, int]:
    """Findings of a run by what was made of them."""
    rows = work.execute(
        sa.select(CensusLine.state, sa.func.count().label("number"))
        .where(CensusLine.run_id == run_id)
        .group_by(CensusLine.state)
    )
    return {row.state: row.number for row in rows}


def list_lines(
    work: Work, run_id: str, filters: LineFilters, *, key: str | None = None, size: int = limits.PAGE_SIZE
) -> Page[CensusLine]:
    """Findings of a run; the list names patients, and is noted as read."""
    page = keyset_page(
        work, _narrow(sa.select(CensusLine), run_id, filters), order=(CensusLine.visit_no, CensusLine.id), key=key,
        size=size,
    )  # fmt: skip
    record_list_read(work, "census.list", [line.patient_id for line in page.items if line.patient_id])
    return page


def export_lines(work: Work, run_id: str, filters: LineFilters) -> Sequence[CensusLine]:
    """The same, all of them: for the HIS's office."""
    lines = work.scalars(
        _narrow(sa.select(CensusLine), run_id, filters).order_by(CensusLine.visit_no, CensusLine.id)
    )
    record_list_read(work, "census.export", [line.patient_id for line in lines if line.patient_id])
    return lines


def department_names(work: Work, lines: Sequence[CensusLine], *more: str) -> dict[str, str]:
    """Names of the departments the findings tell of, and of more codes; a code nobody knows stands for itself."""
    codes = {line.department_code for line in lines} | set(more)
    for line in lines:
        codes |= {line.theirs, line.ours} if line.field == OF_DEPARTMENT else set()
    codes -= {""}
    rows = work.execute(sa.select(Department.code, Department.name).where(Department.code.in_(sorted(codes))))
    return {**{code: code for code in codes}, **{row.code: row.name for row in rows}}


def _narrow(statement: sa.Select[Any], run_id: str, filters: LineFilters) -> sa.Select[Any]:
    conditions = [
        column == value
        for column, value in (
            (CensusLine.movement, filters.movement), (CensusLine.finding, filters.finding),
            (CensusLine.state, filters.state), (CensusLine.department_code, filters.department),
        )
        if value is not None
    ]  # fmt: skip
    return statement.where(CensusLine.run_id == run_id, *conditions)


@dataclass(frozen=True, slots=True)
class LineDetail:
    """One finding: its run, the list's rows, messages of the stay."""

    line: CensusLine
    run: CensusRun
    rows: Sequence[Mapping[str, str]]  # empty where there is none, or it is not the reader's to see
    messages: Sequence[InboxApplication]


def get_line(work: Work, line_id: str, *, with_content: bool) -> LineDetail:
    """One finding; with the list's row it is a read of a patient and noted as one."""
    line = work.get(CensusLine, line_id)
    record_audit(
        work, action="census.read", patients=[line.patient_id] if line.patient_id else [],
        subject_type="census_line", subject_id=line.id,
    )  # fmt: skip
    rows = json.loads(work.keys.open(line.row_sealed)) if with_content and line.row_sealed else []
    about = [InboxApplication.seq == line.message_seq] if line.message_seq is not None else []
    if line.patient_id and line.encounter_id:
        about.append(
            sa.and_(
                InboxApplication.became_patient_id == line.patient_id,
                InboxApplication.became_encounter_id == line.encounter_id,
            )
        )
    messages = (
        work.scalars(
            sa.select(InboxApplication)
            .where(sa.or_(*about))
            .order_by(InboxApplication.seq.desc())
            .limit(_MESSAGES)
        )
        if about
        else []
    )
    return LineDetail(line, work.get(CensusRun, line.run_id), rows, messages)


def get_run_of(work: Work, line_id: str) -> str:
    """The run a finding belongs to."""
    return work.get(CensusLine, line_id).run_id


def masked_number(value: str, *, is_clear: bool) -> str:
    """A number, or several, for those who may not read messages: only its end; type and authority after it stay."""
    if is_clear or not value:
        return value
    return "、".join(map(_masked, value.split("、")))


def _masked(value: str) -> str:
    number, mark, more = value.partition("（")
    plain = half_width(number)
    if not plain:
        return value
    return (f"***{plain[-3:]}" if len(plain) > _SHORT else "***") + mark + more
