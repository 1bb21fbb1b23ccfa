"""How many patients stand in each stage and grade: counts, and the filter that finds the patients behind each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from hcrm.archive.scope import patient_condition
from hcrm.core.clock import local_date
from hcrm.core.errors import NotFoundError
from hcrm.core.segment import Operator
from hcrm.core.work import Work
from hcrm.segments.filters import Group, Line, SegmentFilter
from hcrm.segments.grading import Churn, churn_condition, loyalty_condition, spending_condition
from hcrm.segments.grading_rules import grading_rules
from hcrm.segments.life_cycle import LifeStage, stage_condition
from hcrm.segments.models import PatientLoss, PatientProfile


@dataclass(frozen=True, slots=True)
class GradeCount:
    """One line: what it is, its word, how many; the field and the value a segment asks for them by."""

    axis: str
    word: str
    number: int
    field: str
    value: str


@dataclass(frozen=True, slots=True)
class _Axis:
    title: str
    field: str
    lines: Sequence[tuple[str, str, sa.ColumnElement[bool]]]  # value, word, who


_LOSS = "loss.reason"
_DEAD = Line(field="patient.deceased", operator=Operator.NOT_IN, values=("deceased",))


def count_grades(work: Work) -> list[GradeCount]:
    """Every stage, band and grade of the living patients, in one reading of the flat rows, then the reasons of loss."""
    wanted = [(axis, *line) for axis in _axes(local_date(work.clock.now())) for line in axis.lines]
    numbers = [sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0) for *_, condition in wanted]
    statement = sa.select(*numbers).where(PatientProfile.is_listed, PatientProfile.deceased != "deceased")
    scope = patient_condition(work.actor, PatientProfile.id)
    row = work.execute(statement if scope is None else statement.where(scope)).one()
    found = [
        GradeCount(axis.title, word, int(number), axis.field, value)
        for (axis, value, word, _), number in zip(wanted, row, strict=True)
    ]
    return found + _reasons(work)


def graded_filter(work: Work, *, field: str, value: str) -> SegmentFilter:
    """The filter of those one line counts; NotFoundError where no line does."""
    axes = {axis.field: [line[0] for line in axis.lines] for axis in _axes(local_date(work.clock.now()))}
    axes[_LOSS] = [each.code for each in grading_rules().loss_reasons]
    if value not in axes.get(field, ()):
        raise NotFoundError
    line = Line(field=field, operator=Operator.IN, values=(value,))
    return SegmentFilter(groups=(Group(lines=(line,) if field == _LOSS else (line, _DEAD)),))


def _axes(today: date) -> Sequence[_Axis]:
    rules = grading_rules()
    return (
        _Axis("生命周期", "patient.life_stage",
              [(each.value, each.label, stage_condition(each, today)) for each in LifeStage]),
        _Axis("消费分级", "grade.spending_band",
              [(each.code, each.label, spending_condition(each.code)) for each in rules.spending_bands]),
        _Axis("忠诚度", "grade.loyalty",
              [(each.code, each.label, loyalty_condition(each.code, today)) for each in rules.loyalty.grades]),
        _Axis("流失", "grade.churn",
              [(each.value, each.label, churn_condition(each, today)) for each in Churn]),
    )  # fmt: skip


def _reasons(work: Work) -> list[GradeCount]:
    rows = work.execute(
        sa.select(PatientLoss.reason, sa.func.count(sa.distinct(PatientLoss.patient_id)).label("number"))
        .join(PatientProfile, PatientProfile.id == PatientLoss.patient_id)
        .where(PatientLoss.ended_at.is_(None), PatientProfile.is_listed)
        .group_by(PatientLoss.reason)
    )
    numbers = {row.reason: row.number for row in rows}
    return [
        GradeCount("流失原因", each.label, numbers.get(each.code, 0), _LOSS, each.code)
        for each in grading_rules().loss_reasons
    ]
