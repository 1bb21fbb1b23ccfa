"""Row scope: which rows a person may see. One place for every list and every record (assurance, design rule 12).

A person of a department sees the patients that have or had a stay there; a physician also those they attended or
hold an instruction for. `department_ids` None means every department. Merges move stays and instructions to the
survivor, so a right is decided there and never widened by an old id (C50).
"""

from typing import Any, TypeVar

import sqlalchemy as sa

from hcrm.archive.models import Patient
from hcrm.archive.visit_models import Encounter
from hcrm.core.actor import Actor

Statement = TypeVar("Statement", bound=sa.Select[Any])

# Instructions belong to the centre, a layer above. The table is named, not imported: a scope that some other part
# had to complete at start would be too narrow or too wide wherever that was forgotten.
_INSTRUCTION = sa.table(
    "instruction", sa.column("patient_id"), sa.column("encounter_id"), sa.column("assignee_id")
)


def scope_patients(statement: Statement, actor: Actor) -> Statement:
    """Keep the patients the actor may see; the statement selects from `Patient`."""
    condition = patient_condition(actor, Patient.id)
    return statement if condition is None else statement.where(condition)


def scope_encounters(statement: Statement, actor: Actor) -> Statement:
    """Keep the stays the actor may see in lists; the statement selects from `Encounter`."""
    return statement if actor.department_ids is None else statement.where(_is_stay_of(actor))


def scope_by_stay(statement: Statement, encounter_id: Any, actor: Actor) -> Statement:
    """Keep the rows of a patient that hang on a stay the actor may see, and those that hang on none.

    The one rule for everything a patient's page lists: timeline, contacts. `encounter_id` is the rows' column.
    """
    if actor.department_ids is None:
        return statement
    visible = sa.select(Encounter.id).where(Encounter.id == encounter_id, _is_stay_of(actor)).exists()
    return statement.where(sa.or_(encounter_id.is_(None), visible))


def scope_by_department(statement: Statement, column: Any, actor: Actor) -> Statement:
    """Keep the rows whose department column is one of the actor's."""
    if actor.department_ids is None:
        return statement
    return statement.where(column.in_(sorted(actor.department_ids)))


def patient_condition(actor: Actor, patient_id: Any) -> sa.ColumnElement[bool] | None:
    """The condition under which the patient of that column or key is in scope; None: always."""
    if actor.department_ids is None:
        return None
    reasons: list[sa.ColumnElement[bool]] = []
    stays = _encounter_reasons(actor)
    if stays:
        reasons.append(
            sa.select(Encounter.id).where(Encounter.patient_id == patient_id, sa.or_(*stays)).exists()
        )
    if actor.practitioner_id:
        assigned = sa.select(sa.literal(1)).select_from(_INSTRUCTION).where(
            _INSTRUCTION.c.patient_id == patient_id, _INSTRUCTION.c.assignee_id == actor.practitioner_id
        )  # fmt: skip
        reasons.append(assigned.exists())
    return sa.or_(sa.false(), *reasons)


def _is_stay_of(actor: Actor) -> sa.ColumnElement[bool]:
    """Whether a stay is one of the actor's departments, or theirs: attended, or with an instruction for them."""
    reasons = _encounter_reasons(actor)
    if actor.practitioner_id:
        assigned = sa.select(sa.literal(1)).select_from(_INSTRUCTION).where(
            _INSTRUCTION.c.encounter_id == Encounter.id, _INSTRUCTION.c.assignee_id == actor.practitioner_id
        )  # fmt: skip
        reasons.append(assigned.exists())
    return sa.or_(sa.false(), *reasons)


def _encounter_reasons(actor: Actor) -> list[sa.ColumnElement[bool]]:
    reasons: list[sa.ColumnElement[bool]] = []
    if actor.department_ids:
        reasons.append(Encounter.department_id.in_(sorted(actor.department_ids)))
    if actor.practitioner_id:
        reasons.append(Encounter.attending_id == actor.practitioner_id)
    return reasons
