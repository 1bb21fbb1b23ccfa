"""The hospital's limits of life cycle and grades: `config/grading.yaml`, read once (chapter 46, 1.6)."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from hcrm.core.config_file import read_config_file
from hcrm.core.definition_file import Count, DefinitionPart, PartCode, Text, Version
from hcrm.core.errors import HcrmError
from hcrm.core.paths import config_path

Three = Annotated[tuple[Count, ...], Field(min_length=3, max_length=3)]
FEN = 100


class LifeCycleLimits(DefinitionPart):
    """Days since the last visit after which a patient is dormant, and lost."""

    dormant_after_days: Annotated[Count, Field(ge=1)]
    lost_after_days: Annotated[Count, Field(ge=1)]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.dormant_after_days >= self.lost_after_days:
            raise ValueError("dormant_after_days 应小于 lost_after_days")
        return self


class LossReason(DefinitionPart):
    """Why a patient does not come any more, as people say it."""

    code: PartCode
    label: Text


class SpendingBand(DefinitionPart):
    """A band of what a patient has spent, from so many 元."""

    code: PartCode
    label: Text
    from_yuan: Count


class LoyaltyGrade(DefinitionPart):
    """A grade from so many points."""

    code: PartCode
    label: Text
    from_points: Count


class LoyaltyRules(DefinitionPart):
    """Points for how lately, how often and how much, three at most for each; their sum is the grade."""

    recency_days: Three
    visits: Three
    spending_yuan: Three
    grades: Annotated[tuple[LoyaltyGrade, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if list(self.recency_days) != sorted(self.recency_days):
            raise ValueError("recency_days 应由小到大")
        for name in ("visits", "spending_yuan"):
            if list(getattr(self, name)) != sorted(getattr(self, name), reverse=True):
                raise ValueError(f"{name} 应由大到小")
        _check_ladder([grade.from_points for grade in self.grades], "grades")
        return self


class CostClasses(DefinitionPart):
    """Words by which a class of cost is drugs or treatment."""

    drug: tuple[Text, ...]
    treatment: tuple[Text, ...]


class MainlyTcm(DefinitionPart):
    """When TCM was the main treatment of a visit."""

    herbal_percent: Annotated[Count, Field(ge=1, le=100)]


class GradingRules(DefinitionPart):
    """The file."""

    version: Version
    life_cycle: LifeCycleLimits
    loss_reasons: Annotated[tuple[LossReason, ...], Field(min_length=1)]
    spending_bands: Annotated[tuple[SpendingBand, ...], Field(min_length=1)]
    loyalty: LoyaltyRules
    churn_risk_visits: Annotated[Count, Field(ge=1)]
    cost_classes: CostClasses
    mainly_tcm: MainlyTcm

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        _check_ladder([band.from_yuan for band in self.spending_bands], "spending_bands")
        for name in ("loss_reasons", "spending_bands"):
            codes = [each.code for each in getattr(self, name)]
            if len(set(codes)) < len(codes):
                raise ValueError(f"{name} 中有重复的 code")
        return self


def _check_ladder(bounds: Sequence[int], name: str) -> None:
    """From high to low, the last one taking all the rest."""
    if list(bounds) != sorted(set(bounds), reverse=True) or bounds[-1] != 0:
        raise ValueError(f"{name} 应由高到低，最后一级从 0 起")


@cache
def grading_rules(path: Path | None = None) -> GradingRules:
    """What the hospital decided; a mistake is refused with its line."""
    return read_config_file(
        GradingRules,
        path or config_path("grading.yaml"),
        lambda sentence: HcrmError("grading.invalid", f"config/grading.yaml 有误：{sentence}"),
    )
