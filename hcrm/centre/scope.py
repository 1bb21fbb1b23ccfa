"""Which instructions an actor may see: the one place that says so."""

import sqlalchemy as sa
from sqlalchemy import ColumnElement

from hcrm.archive.scope import not_test
from hcrm.centre.models import Instruction
from hcrm.core.actor import Actor


def instructions_in_scope(actor: Actor, of: type[Instruction] = Instruction) -> ColumnElement[bool]:
    """What lists and counts show: what opens for the actor, without test patients; `of` may be an alias."""
    return sa.and_(instruction_opens(actor, of), not_test(of.patient_id))


def instruction_opens(actor: Actor, of: type[Instruction] = Instruction) -> ColumnElement[bool]:
    """Whether one instruction opens, and what a patient's own page shows.

    Those of the actor's departments, and those assigned to them wherever the patient lay.
    """
    if actor.department_ids is None:
        return sa.true()
    mine = of.department_id.in_(sorted(actor.department_ids))
    return mine if actor.practitioner_id is None else sa.or_(mine, of.assignee_id == actor.practitioner_id)
