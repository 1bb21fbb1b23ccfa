"""Who is in care, and who of them has no next step: by the rules of `config/care.yaml`.

Asked of one patient on their page, and of everybody by a nightly sweep that keeps a flat list. What counts as a next
step stands in `NEXT_STEPS`: a part that plans something for patients adds its condition there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

import sqlalchemy as sa
from pydantic import Field, model_validator

from hcrm.archive.clinical.models import Appointment
from hcrm.archive.clinical.terms import AppointmentStatus
from hcrm.archive.models import DeceasedState, Patient
from hcrm.archive.reach_models import ContactStop
from hcrm.archive.terms import EncounterClass, EncounterStatus
from hcrm.archive.visit_models import Encounter
from hcrm.centre.care_models import CareGap
from hcrm.centre.models import Classification, Instruction, InstructionState
from hcrm.core import limits
from hcrm.core.actor import Actor
from hcrm.core.clock import Clock, day_bounds, local_date
from hcrm.core.db import Database
from hcrm.core.definition_file import (
    Definition,
    DefinitionPart,
    PartCode,
    Text,
    first_repeated,
    parse_definition,
)
from hcrm.core.definitions import latest_definitions
from hcrm.core.work import Work, open_work

KIND = "care"
CODE = "care"
_LOST = (InstructionState.WITHDRAWN, InstructionState.MISSED, InstructionState.EXPIRED)
"""States in which a step of a course fell away without having been done."""
_WAITS = (
    InstructionState.ISSUED, InstructionState.ACCEPTED, InstructionState.IN_PROGRESS, InstructionState.IN_REVIEW,
    InstructionState.RETURNED,
)  # fmt: skip
"""States in which somebody still has it on their desk."""


class CareRule(DefinitionPart):
    """One reason to be in care."""

    code: PartCode
    type: Literal["discharge", "disease_group", "course"]
    title: Text
    days: Annotated[int, Field(ge=1, le=3_650, strict=True)] | None = None
    classes: tuple[EncounterClass, ...] = ()
    groups: tuple[PartCode, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.type == "course") != (self.days is None):
            raise ValueError("discharge 和 disease_group 须写 days，course 不写")
        if (self.type == "disease_group") != bool(self.groups):
            raise ValueError("disease_group 须写 groups，其他类型不写")
        return self


class CareFile(Definition):
    """`config/care.yaml`."""

    rules: tuple[CareRule, ...]

    @model_validator(mode="after")
    def _codes(self) -> Self:
        repeated = first_repeated([rule.code for rule in self.rules])
        if repeated is not None:
            raise ValueError(f"规则 {repeated} 写了两次")
        return self


@dataclass(frozen=True, slots=True)
class Gap:
    """Why a patient should have a next step, and since when."""

    rule_code: str
    rule_title: str
    since_on: date


NextStep = Callable[[Any, datetime], sa.ColumnElement[bool]]
"""Whether something is planned for the patient of that column after that moment."""


def has_instruction(patient_id: Any, now: datetime) -> sa.ColumnElement[bool]:
    """An instruction that somebody still has on their desk."""
    del now
    return (
        sa.select(Instruction.id)
        .where(Instruction.patient_id == patient_id, Instruction.state.in_(_WAITS))
        .correlate_except(Instruction)
        .exists()
    )


def has_booking(patient_id: Any, now: datetime) -> sa.ColumnElement[bool]:
    """A booking to come."""
    return (
        sa.select(Appointment.id)
        .where(
            Appointment.patient_id == patient_id, Appointment.status == AppointmentStatus.BOOKED,
            Appointment.starts_at > now, Appointment.ended_at.is_(None),
        )
        .correlate_except(Appointment)
        .exists()
    )  # fmt: skip


NEXT_STEPS: list[NextStep] = [has_instruction, has_booking]
"""What counts as a next step."""


def published_care(work: Work) -> Sequence[CareRule]:
    """The rules in force; none where nothing was published yet."""
    row = latest_definitions(work, kind=KIND).get(CODE)
    return _parse(row.body) if row else ()


@lru_cache(maxsize=4)
def _parse(body: str) -> tuple[CareRule, ...]:
    return parse_definition(CareFile, body, CODE).rules


def lacks_next_step(now: datetime) -> sa.ColumnElement[bool]:
    """Whether the `Patient` of a statement is somebody to plan for, and nothing is planned."""
    in_hospital = (
        sa.select(Encounter.id)
        .where(
            Encounter.patient_id == Patient.id, Encounter.encounter_class == EncounterClass.INPATIENT,
            Encounter.status.in_((EncounterStatus.IN_PROGRESS, EncounterStatus.ON_LEAVE)),
        )
        .correlate_except(Encounter)
        .exists()
    )  # fmt: skip
    is_ended = (
        sa.select(ContactStop.id)
        .where(ContactStop.patient_id == Patient.id, ContactStop.ended_at.is_(None))
        .correlate_except(ContactStop)
        .exists()
    )
    return sa.and_(
        Patient.deceased == DeceasedState.ALIVE, Patient.merged_into_id.is_(None), ~Patient.is_nullified,
        ~Patient.is_test, ~in_hospital, ~is_ended,
        *(~step(Patient.id, now) for step in NEXT_STEPS),
    )  # fmt: skip


def find_gaps(work: Work, condition: Callable[[Any], sa.ColumnElement[bool]]) -> Mapping[str, Gap]:
    """Patients in care without a next step, by id; `condition` narrows the column of patients it is given.

    One query a rule: the first rule of the file that fits is told.
    """
    now = work.clock.now()
    found: dict[str, Gap] = {}
    for rule in published_care(work):
        since, patient_id, statement = _in_care(rule, local_date(now))
        rows = work.execute(
            statement.join(Patient, Patient.id == patient_id)
            .where(condition(patient_id), lacks_next_step(now))
            .add_columns(patient_id.label("patient_id"), sa.func.max(since).label("since"))
            .group_by(patient_id)
        )
        for row in rows:
            since_on = local_date(row.since) if isinstance(row.since, datetime) else row.since
            found.setdefault(row.patient_id, Gap(rule.code, rule.title, since_on))
    return found


def gap_of(work: Work, patient_id: str) -> Gap | None:
    """Why that patient should have a next step and has none; None where all is well."""
    return find_gaps(work, lambda column: column == patient_id).get(patient_id)


def _in_care(rule: CareRule, today: date) -> tuple[Any, Any, sa.Select[Any]]:
    """The column of since when, that of the patient, and the rows the rule speaks of."""
    if rule.type == "course":
        rows = sa.select().select_from(Instruction)
        where = (Instruction.closes_on >= today, Instruction.state.in_(_LOST))
        return Instruction.opens_on, Instruction.patient_id, rows.where(*where)
    assert rule.days is not None
    since, _ = day_bounds(today - timedelta(days=rule.days))
    rows = sa.select().select_from(Encounter)
    if rule.groups:
        # Not a join: without statistics SQLite would begin with every stay of those groups.
        in_group = sa.select(Classification.id).where(
            Classification.encounter_id == Encounter.id, Classification.axis == "disease_group",
            Classification.code.in_(rule.groups),
        )  # fmt: skip
        rows = rows.where(in_group.correlate_except(Classification).exists())
    if rule.classes:
        rows = rows.where(Encounter.encounter_class.in_(rule.classes))
    # Through a function no index fits: by its patients the stay is found, never by its state or date among all.
    discharged_at = sa.func.coalesce(Encounter.discharged_at, sa.null())
    status = sa.func.coalesce(Encounter.status, sa.null())
    rows = rows.where(
        discharged_at >= since, status == EncounterStatus.FINISHED, Encounter.discharge_id.is_not(None)
    )
    return Encounter.discharged_at, Encounter.patient_id, rows


# ── the nightly list ────────────────────────────────────────────────────────


def refresh_gaps(database: Database, actor: Actor, clock: Clock) -> int:
    """Go through all patients, some at a time, and make the flat list what stands now; how many rows changed."""
    changed, after = 0, ""
    while True:
        with open_work(database, actor=actor, clock=clock, write=False) as work:
            last = _end_of_batch(work, after)
            if last is None:
                return changed
            changes = _changes(work, after, last)
        if changes != ([], []):
            with open_work(database, actor=actor, clock=clock) as work:
                changed += _write(work, *changes)
        after = last


def _end_of_batch(work: Work, after: str) -> str | None:
    """The last patient of the next batch; None after the last one."""
    keys = (
        sa.select(Patient.id)
        .where(Patient.id > after)
        .order_by(Patient.id)
        .limit(limits.CARE_BATCH)
        .subquery()
    )
    found: str | None = work.scalar(sa.select(sa.func.max(keys.c.id)))
    return found


def _changes(work: Work, after: str, last: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Keys of rows that go, and rows that come, between two patients."""
    gaps = dict(find_gaps(work, lambda column: sa.and_(column > after, column <= last)))
    gone = []
    for row in work.all(CareGap, CareGap.patient_id > after, CareGap.patient_id <= last):
        gap = gaps.get(row.patient_id)
        if gap == Gap(row.rule_code, row.rule_title, row.since_on):
            del gaps[row.patient_id]
        else:
            gone.append(row.id)
    today = local_date(work.clock.now())
    come = [
        {"id": work.new_id(), "patient_id": patient_id, "rule_code": gap.rule_code, "rule_title": gap.rule_title,
         "since_on": gap.since_on, "found_on": today}
        for patient_id, gap in gaps.items()
    ]  # fmt: skip
    return gone, come


def _write(work: Work, gone: list[str], come: list[dict[str, Any]]) -> int:
    if gone:
        work.execute(sa.delete(CareGap).where(CareGap.id.in_(gone)))
    # A patient may have gone in between: they are left out, the next run finds them.
    work.insert(CareGap, come)
    return len(gone) + len(come)
