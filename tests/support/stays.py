"""Stays that have their instructions by two protocols, one for every discharge and one for strokes."""

from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from hcrm.archive.visit_models import Encounter
from hcrm.centre.classification import classify_encounters
from hcrm.centre.instructions import (
    issue_instructions,
)
from hcrm.centre.models import Instruction
from hcrm.core.work import Work
from tests.support.builders import (
    classified,
    discharged,
    make_encounter,
    publish_protocol,
    step,
)


@pytest.fixture
def protocols(work: Work, definitions: None) -> None:
    publish_protocol(work)
    publish_protocol(
        work, code="stroke.call", title="脑卒中随访", applies_when=[{"fact": "disease_group.main", "is": "stroke"}],
        steps=[{}, step(code="day30", due_after_days=30)],
    )  # fmt: skip


def issued_stay(work: Work, **values: Any) -> Encounter:
    stay = make_encounter(work, **values)
    classify_encounters(work, [discharged(stay)])
    issue_instructions(work, [classified(stay)])
    return stay


def instructions(work: Work) -> Sequence[Instruction]:
    work.session.expire_all()
    return work.scalars(
        sa.select(Instruction).order_by(Instruction.issued_at, Instruction.due_on, Instruction.id)
    )
