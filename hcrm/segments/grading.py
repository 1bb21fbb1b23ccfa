"""Grades of a patient (chapter 46, 1.6): spending band, loyalty, churn. Worked out when asked, never stored.

They are for the service office and the director (`grade.read`). No list, no queue and no booking is ordered by them.
Loyalty: up to three points each for how lately, how often and how much; the sum is the grade (`config/grading.yaml`).
Churn (流失): lost, at risk (dormant, though seen often enough before), or stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa

from hcrm.core.labels import LabelledEnum
from hcrm.core.segment import (
    Asked,
    Condition,
    FieldKind,
    Operator,
    SegmentField,
    Subject,
    by_choice,
    by_number,
)
from hcrm.core.work import Work
from hcrm.segments.fields import PATIENT, STAY
from hcrm.segments.grading_rules import FEN, LoyaltyRules, grading_rules
from hcrm.segments.life_cycle import LifeStage, stage_condition, stage_of
from hcrm.segments.models import PatientLoss, PatientProfile, StayProfile

P = PatientProfile
LOSS = Subject("loss", "患者", PatientLoss.patient_id, PatientLoss.ended_at.is_(None))
PERMISSION = "grade.read"
POINTS = (3, 2, 1)


class Churn(LabelledEnum):
    """Whether a patient leaves us."""

    STAYS = "stays", "稳定"
    AT_RISK = "at_risk", "有流失风险"
    LOST = "lost", "流失"


@dataclass(frozen=True, slots=True)
class Grades:
    """The grades of one patient in words, and what they come from."""

    stage: LifeStage
    spending_fen: int
    drug_fen: int
    treatment_fen: int
    spending_band: str
    points: tuple[int, int, int]  # how lately, how often, how much
    loyalty: str
    churn: Churn


def grades_of(row: PatientProfile, today: date) -> Grades:
    """The grades of one patient."""
    rules = grading_rules()
    loyalty, stage = rules.loyalty, stage_of(row.seen_on, today)
    points = (
        _points([(today - row.seen_on).days <= bound for bound in loyalty.recency_days]),
        _points([row.visits >= bound for bound in loyalty.visits]),
        _points([row.spending_fen >= bound * FEN for bound in loyalty.spending_yuan]),
    )
    band = next(band for band in rules.spending_bands if max(row.spending_fen, 0) >= band.from_yuan * FEN)
    grade = next(grade for grade in loyalty.grades if sum(points) >= grade.from_points)
    at_risk = stage is LifeStage.DORMANT and row.visits >= rules.churn_risk_visits
    churn = Churn.LOST if stage is LifeStage.LOST else Churn.AT_RISK if at_risk else Churn.STAYS
    return Grades(
        stage, row.spending_fen, row.drug_fen, row.treatment_fen, band.label, points, grade.label, churn
    )


# ── the same as conditions ──────────────────────────────────────────────────


def spending_condition(code: str) -> sa.ColumnElement[bool]:
    """A band as a range of 分."""
    bounds = [(band.code, band.from_yuan * FEN) for band in grading_rules().spending_bands]
    return _rung(P.spending_fen, bounds, code)


def loyalty_condition(code: str, today: date) -> sa.ColumnElement[bool]:
    """A grade as a range of points."""
    rules = grading_rules().loyalty
    bounds = [(grade.code, grade.from_points) for grade in rules.grades]
    return _rung(_points_in_sql(rules, today), bounds, code)


def churn_condition(churn: Churn, today: date) -> sa.ColumnElement[bool]:
    """Lost, at risk, or neither."""
    lost = stage_condition(LifeStage.LOST, today)
    dormant = stage_condition(LifeStage.DORMANT, today)
    at_risk = sa.and_(dormant, P.visits >= grading_rules().churn_risk_visits)
    if churn is Churn.STAYS:
        return sa.not_(sa.or_(lost, at_risk))
    return lost if churn is Churn.LOST else at_risk


def grade_fields(_work: Work) -> Sequence[SegmentField]:
    """Fields of grades, costs and why somebody no longer comes, for those who may read them."""
    rules = grading_rules()
    bands = [(band.code, band.label) for band in rules.spending_bands]
    loyalty = [(grade.code, grade.label) for grade in rules.loyalty.grades]
    churn = [(each.value, each.label) for each in Churn]
    reasons = [(each.code, each.label) for each in rules.loss_reasons]
    costs = (("spending", "费用"), ("drug", "药费"), ("treatment", "治疗费"))
    fields = [
        SegmentField("grade.spending_band", "消费分级", PATIENT, FieldKind.CHOICE,
                     _by_grade(lambda code, _today: spending_condition(code)), lambda _work: bands),
        SegmentField("grade.loyalty", "忠诚度", PATIENT, FieldKind.CHOICE, _by_grade(loyalty_condition),
                     lambda _work: loyalty, hint="最近、次数、费用三项计分：config/grading.yaml"),
        SegmentField("grade.churn", "流失", PATIENT, FieldKind.CHOICE,
                     _by_grade(_churn), lambda _work: churn),
        SegmentField("loss.reason", "流失原因", LOSS, FieldKind.CHOICE, by_choice(PatientLoss.reason),
                     lambda _work: reasons),
        *(_money(f"grade.{name}", f"累计{title}", PATIENT, getattr(P, f"{name}_fen")) for name, title in costs),
        *(_money(f"stay.{name}", f"该次{title}", STAY, getattr(StayProfile, f"{name}_fen")) for name, title in costs),
    ]  # fmt: skip
    return [_for_few(field) for field in fields]


def _money(code: str, title: str, subject: Any, column: Any) -> SegmentField:
    return SegmentField(code, title, subject, FieldKind.MONEY, by_number(column, scale=FEN), unit="元")


def _for_few(field: SegmentField) -> SegmentField:
    return SegmentField(
        field.code, field.title, field.subject, field.kind, field.condition, field.choices, field.hint, field.unit,
        PERMISSION,
    )  # fmt: skip


def _by_grade(condition: Any) -> Condition:
    def found(asked: Asked) -> sa.ColumnElement[bool]:
        if asked.operator in (Operator.KNOWN, Operator.UNKNOWN):
            return sa.true() if asked.operator is Operator.KNOWN else sa.false()
        one_of = sa.or_(sa.false(), *(condition(code, asked.today) for code in asked.values))
        return one_of if asked.operator is Operator.IN else sa.not_(one_of)

    return found


def _churn(code: str, today: date) -> sa.ColumnElement[bool]:
    return churn_condition(Churn(code), today) if code in {each.value for each in Churn} else sa.false()


def _points(reached: Sequence[bool]) -> int:
    return next((points for points, is_reached in zip(POINTS, reached, strict=True) if is_reached), 0)


def _points_in_sql(rules: LoyaltyRules, today: date) -> Any:
    lately = [P.seen_on >= today - timedelta(days=bound) for bound in rules.recency_days]
    often = [P.visits >= bound for bound in rules.visits]
    much = [P.spending_fen >= bound * FEN for bound in rules.spending_yuan]
    parts = [sa.case(*zip(reached, POINTS, strict=True), else_=0) for reached in (lately, often, much)]
    return parts[0] + parts[1] + parts[2]


def _rung(value: Any, bounds: Sequence[tuple[str, int]], code: str) -> sa.ColumnElement[bool]:
    """Between a rung of a ladder and the one above it; the lowest takes all the rest."""
    codes = [each for each, _ in bounds]
    if code not in codes:
        return sa.false()
    place = codes.index(code)
    above = [value < bounds[place - 1][1]] if place else []
    below = [value >= bounds[place][1]] if place + 1 < len(bounds) else []
    return sa.and_(sa.true(), *above, *below)
