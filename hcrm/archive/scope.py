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
from hcrm.core.db import table_of

Statement = TypeVar("Statement", bound=sa.Select[Any])

# Instructions belong to the centre, a layer above. The table is named, not imported: a scope that some other part
# had to complete at start would be too narrow or too wide wherever that was forgotten.
_INSTRUCTION = sa.table(
    "instruction", sa.column("patient_id"), sa.column("encounter_id"), sa.column("assignee_id")
)


_TESTS = table_of(Patient).alias("test_patient")


def not_test(patient_id: Any) -> sa.ColumnElement[bool]:
    """Whether the rows of that column, which is never NULL, are no test patient's.

    Every list, figure, segment and export asks this. The few test patients are read once, by their own index.
    """
    tests: sa.ColumnElement[bool] = patient_id.in_(sa.select(_TESTS.c.id).where(_TESTS.c.is_test))
    return sa.not_(tests)


def scope_patients(statement: Statement, actor: Actor) -> Statement:
    """Keep the patients the actor may see in lists, test patients left out; the statement selects from `Patient`."""
    statement = statement.where(~Patient.is_test)
    condition = patient_condition(actor, Patient.id)
    return statement if condition is None else statement.where(condition)


def scope_encounters(statement: Statement, actor: Actor) -> Statement:
    """Keep the stays the actor may see in lists; the statement selects from `Encounter`."""
    condition = stay_condition(actor)
    return statement if condition is None else statement.where(condition)


def scope_by_stay(statement: Statement, encounter_id: Any, actor: Actor) -> Statement:
    """Keep the rows of a patient that hang on a stay the actor may see, and those that hang on none.

    The one rule for everything a patient's page lists: timeline, contacts. `encounter_id` is the rows' column.
    """
    condition = stay_condition(actor)
    if condition is None:
        return statement
    visible = sa.select(Encounter.id).where(Encounter.id == encounter_id, condition).exists()
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
    stays = _encounter_reasons(actor, Encounter)
    if stays:
        reasons.append(
            sa.select(Encounter.id)
            .where(Encounter.patient_id == patient_id, sa.or_(*stays))
            .offset(0)  # or PostgreSQL gathers every patient of the department first, to page through fifty
            .exists()
        )
    if actor.practitioner_id:
        assigned = sa.select(sa.literal(1)).select_from(_INSTRUCTION).where(
            _INSTRUCTION.c.patient_id == patient_id, _INSTRUCTION.c.assignee_id == actor.practitioner_id
        )  # fmt: skip
        reasons.append(assigned.offset(0).exists())
    return sa.or_(sa.false(), *reasons)


def as_value(column: Any) -> Any:
    """The column as a value: no index of it leads to its rows.

    For what is asked of rows that another column has led to. SQLite has no statistics: it would rather read a whole
    department from an index that holds all it needs than the three stays of a patient from the table.
    """
    return sa.func.coalesce(column, None, type_=column.type)


def stay_condition(actor: Actor, stay: Any = Encounter) -> sa.ColumnElement[bool] | None:
    """Whether a stay is one of the actor's departments, or theirs: attended, or with an instruction for them.

    `stay` is the table or a selection with its columns; None: always.
    """
    if actor.department_ids is None:
        return None
    reasons = _encounter_reasons(actor, stay)
    if actor.practitioner_id:
        assigned = sa.select(sa.literal(1)).select_from(_INSTRUCTION).where(
            _INSTRUCTION.c.encounter_id == stay.id, _INSTRUCTION.c.assignee_id == actor.practitioner_id
        )  # fmt: skip
        reasons.append(assigned.exists())
    return sa.or_(sa.false(), *reasons)


def own_stays(actor: Actor, department_id: str | None = None) -> sa.CompoundSelect[Any] | None:
    """The keys of the stays a physician sees as their own only, from indexes; None: where others are seen too.

    With a department asked for, that is so of each that is none of theirs; else of who has no department.
    """
    if actor.department_ids is None or not actor.practitioner_id:
        return None
    if department_id in actor.department_ids or (actor.department_ids and department_id is None):
        return None
    assigned = sa.select(_INSTRUCTION.c.encounter_id).where(
        _INSTRUCTION.c.assignee_id == actor.practitioner_id
    )
    return sa.union_all(
        sa.select(Encounter.id).where(Encounter.attending_id == actor.practitioner_id), assigned
    )


def patient_sets(actor: Actor) -> list[sa.Select[Any]] | None:
    """The keys of the patients in scope, one statement for each reason, each from an index; None: everybody."""
    if actor.department_ids is None:
        return None
    sets: list[sa.Select[Any]] = []
    if actor.department_ids:
        departments = sorted(actor.department_ids)
        sets.append(sa.select(Encounter.patient_id).where(Encounter.department_id.in_(departments)))
    if actor.practitioner_id:
        sets.append(sa.select(Encounter.patient_id).where(Encounter.attending_id == actor.practitioner_id))
        sets.append(
            sa.select(_INSTRUCTION.c.patient_id).where(_INSTRUCTION.c.assignee_id == actor.practitioner_id)
        )
    return sets


def _encounter_reasons(actor: Actor, stay: Any) -> list[sa.ColumnElement[bool]]:
    reasons: list[sa.ColumnElement[bool]] = []
    if actor.department_ids:
        reasons.append(as_value(stay.department_id).in_(sorted(actor.department_ids)))
    if actor.practitioner_id:
        reasons.append(as_value(stay.attending_id) == actor.practitioner_id)
    return reasons
