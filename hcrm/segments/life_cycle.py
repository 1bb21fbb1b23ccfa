"""The life cycle of a patient (生命周期), by days since the last visit. Never stored: it ages."""

from datetime import date, timedelta

import sqlalchemy as sa

from hcrm.core.labels import LabelledEnum
from hcrm.core.segment import Asked, Operator
from hcrm.segments.grading_rules import grading_rules
from hcrm.segments.models import PatientProfile


class LifeStage(LabelledEnum):
    """Where a patient stands with us."""

    ACTIVE = "active", "活跃"
    DORMANT = "dormant", "沉睡"
    LOST = "lost", "流失"


LIFE_STAGES = tuple((stage.value, stage.label) for stage in LifeStage)


def stage_of(seen_on: date, today: date) -> LifeStage:
    """The stage of one patient."""
    limits = grading_rules().life_cycle
    days = (today - seen_on).days
    if days > limits.lost_after_days:
        return LifeStage.LOST
    return LifeStage.DORMANT if days > limits.dormant_after_days else LifeStage.ACTIVE


def stage_condition(stage: LifeStage, today: date) -> sa.ColumnElement[bool]:
    """The same as a range of dates."""
    limits = grading_rules().life_cycle
    dormant = today - timedelta(days=limits.dormant_after_days)
    lost = today - timedelta(days=limits.lost_after_days)
    seen = PatientProfile.seen_on
    if stage is LifeStage.LOST:
        return seen < lost
    return sa.and_(seen >= lost, seen < dormant) if stage is LifeStage.DORMANT else seen >= dormant


def by_life_stage(asked: Asked) -> sa.ColumnElement[bool]:
    """The condition of the segment field. Everybody has a stage."""
    if asked.operator is Operator.KNOWN:
        return sa.true()
    if asked.operator is Operator.UNKNOWN:
        return sa.false()
    wanted = [stage for stage in LifeStage if stage.value in asked.values]
    found = sa.or_(sa.false(), *(stage_condition(stage, asked.today) for stage in wanted))
    return found if asked.operator is Operator.IN else sa.not_(found)
