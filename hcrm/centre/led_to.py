"""What a stay led to, for the page of the message that told of it."""

from collections.abc import Sequence

import sqlalchemy as sa

from hcrm.centre.models import Instruction
from hcrm.centre.scope import instruction_opens
from hcrm.core.work import Work
from hcrm.inbox.reading import Link

_MOST = 50


def list_led_to(work: Work, encounter_id: str) -> Sequence[Link]:
    """Follow-up instructions of the stay within the actor's scope, in the order they fall due."""
    rows = work.execute(
        sa.select(Instruction.id, Instruction.title, Instruction.state)
        .where(Instruction.encounter_id == encounter_id, instruction_opens(work.actor))
        .order_by(Instruction.due_on, Instruction.id)
        .limit(_MOST)
    )
    return [
        Link(row.title, "centre.show_instruction", {"instruction_id": row.id}, row.state.label)
        for row in rows
    ]
