"""Follow-up protocols as data: which stays they take in and when their steps are due. FHIR: PlanDefinition."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self, TypedDict

from pydantic import Field, StrictBool, model_validator

from hcrm.centre.classification_rules import UNCLASSIFIED, Axis
from hcrm.centre.conditions import Condition, all_hold
from hcrm.centre.facts import DIED, StayFacts
from hcrm.centre.models import ReviewPolicy
from hcrm.core.db import LabelledEnum
from hcrm.core.definition_file import (
    Count,
    Definition,
    DefinitionCode,
    DefinitionPart,
    PartCode,
    Text,
    first_repeated,
    load_definitions,
)
from hcrm.core.errors import HcrmError


class ProtocolKind(LabelledEnum):
    """Why we follow up; the three kinds keep their own lists."""

    CLINICAL = "clinical", "临床随访"
    RESEARCH = "research", "科研随访"
    SATISFACTION = "satisfaction", "满意度随访"


class Assignment(LabelledEnum):
    """Who is asked first to carry out a step."""

    ATTENDING = "attending", "主管医师"
    DEPARTMENT_HEAD = "department_head", "科主任"
    CENTRE_POOL = "centre_pool", "服务中心"


class StepChannel(LabelledEnum):
    """How the patient is reached."""

    PHONE = "phone", "电话"
    OUTPATIENT = "outpatient", "门诊复诊"
    HOME_VISIT = "home_visit", "上门"


class Window(TypedDict):
    """The dates of one instruction, named as its columns."""

    opens_on: date
    due_on: date
    closes_on: date


class Step(DefinitionPart):
    """One contact of a protocol. FHIR: PlanDefinition.action."""

    code: PartCode
    title: Text
    due_after_days: Count
    opens_before_days: Count = 0
    closes_after_days: Count
    assign_to: Assignment
    channel: StepChannel
    form: DefinitionCode
    review: ReviewPolicy = ReviewPolicy.FLAGS
    sample_percent: Annotated[Count, Field(le=99)] = 0

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.opens_before_days > self.due_after_days:
            raise ValueError("时间窗不能在起算日之前打开（opens_before_days 大于 due_after_days）")
        if (self.review is ReviewPolicy.SAMPLE) != (self.sample_percent > 0):
            raise ValueError("review: sample 须写 sample_percent，其他审核方式不能写")
        return self

    def window(self, day: date) -> Window:
        """The dates of this step for a stay whose day 0 is `day`."""
        due = day + timedelta(days=self.due_after_days)
        return Window(
            opens_on=due - timedelta(days=self.opens_before_days),
            due_on=due,
            closes_on=due + timedelta(days=self.closes_after_days),
        )


class Protocol(Definition):
    """A follow-up protocol of one version; what was issued under it keeps that version."""

    patient_title: Text = Field(
        default="出院随访", description="what a patient is told it is: no illness in it"
    )
    kind: ProtocolKind
    fallback: StrictBool = Field(
        default=False, description="only where no specific protocol of its kind applies"
    )
    applies_when: tuple[Condition, ...] = Field(default=(), description="every line must hold")
    excluded_when: tuple[Condition, ...] = Field(default=(), description="one line that holds is enough")
    counts_from: Literal["discharged_at"]
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        if not self.fallback and not self.applies_when:
            raise ValueError("须写 applies_when；适用于其余所有患者的方案请写 fallback: true")
        if (repeated := first_repeated([step.code for step in self.steps])) is not None:
            raise ValueError(f"节点“{repeated}”重复")
        for earlier, later in zip(self.steps, self.steps[1:], strict=False):
            if (
                later.due_after_days - later.opens_before_days
                <= earlier.due_after_days + earlier.closes_after_days
            ):
                raise ValueError(f"节点“{earlier.code}”与“{later.code}”的时间窗重叠或顺序颠倒")
        return self

    def takes_in(self, facts: StayFacts) -> bool:
        """Whether the conditions let this stay in, whatever other protocols do."""
        return all_hold(self.applies_when, facts) and not any(
            line.holds(facts) for line in self.excluded_when
        )


class Protocols:
    """The protocols in force, one version of each."""

    def __init__(self, protocols: Iterable[Protocol]) -> None:
        self._protocols = tuple(protocols)
        if (repeated := first_repeated([protocol.code for protocol in self._protocols])) is not None:
            raise HcrmError("definition.invalid", f"随访方案 {repeated} 重复")

    def __iter__(self) -> Iterator[Protocol]:
        """In the order given."""
        return iter(self._protocols)

    def __len__(self) -> int:
        """How many are in force."""
        return len(self._protocols)

    def get(self, code: str) -> Protocol | None:
        """The version in force of one protocol."""
        return next((protocol for protocol in self._protocols if protocol.code == code), None)

    def applying_to(self, facts: StayFacts) -> list[Protocol]:
        """The protocols a discharged stay enters: the specific ones, or the fallback of a kind without any.

        Nobody is to be called about a patient who died in hospital. Leaving against advice excludes nobody.
        """
        if facts.discharge_way == DIED:
            return []
        entered = [protocol for protocol in self if protocol.takes_in(facts)]
        served = {protocol.kind for protocol in entered if not protocol.fallback}
        return [protocol for protocol in entered if not protocol.fallback or protocol.kind not in served]


def load_protocols(directory: Path) -> Protocols:
    """Every protocol of a folder; a wrong file is refused with its name and line."""
    return Protocols(load_definitions(Protocol, directory))


def require_known_codes(
    protocols: Protocols, *, forms: Collection[str], classes: Mapping[Axis, Collection[str]]
) -> None:
    """Refuse a protocol that names a form or a class nobody defines: it would fail, or never apply, in silence."""
    axes = {
        "specialty": Axis.SPECIALTY,
        "disease_group": Axis.DISEASE_GROUP,
        "disease_group.main": Axis.DISEASE_GROUP,
        "region": Axis.REGION,
    }
    for protocol in protocols:
        for step in protocol.steps:
            if step.form not in forms:
                raise _unknown(protocol, f"节点“{step.code}”的表单“{step.form}”")
        for condition in (*protocol.applies_when, *protocol.excluded_when):
            axis = axes.get(condition.fact)
            if axis is None:
                continue
            for code in sorted(condition.wanted - {*classes[axis], UNCLASSIFIED}):
                raise _unknown(protocol, f"{axis.label}“{code}”")


def _unknown(protocol: Protocol, what: str) -> HcrmError:
    return HcrmError("definition.invalid", f"随访方案 {protocol.code} 引用的{what}不存在")
