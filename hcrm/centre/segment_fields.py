"""What a segment may ask of follow-up instructions."""

from collections.abc import Sequence

from hcrm.centre.models import Instruction, InstructionState, Outcome
from hcrm.centre.published import published_protocols
from hcrm.core.segment import FieldKind, SegmentField, Subject, by_choice, by_day, choices_of
from hcrm.core.work import Work

INSTRUCTION = Subject("instruction", "随访指令", Instruction.patient_id, None, Instruction.encounter_id)


def _protocols(work: Work) -> Sequence[tuple[str, str]]:
    return [(protocol.code, protocol.title) for protocol in published_protocols(work)]


I, K = Instruction, FieldKind  # noqa: E741
FIELDS = (
    SegmentField("instruction.any", "有随访指令", INSTRUCTION, K.YES_NO),
    SegmentField("instruction.state", "指令状态", INSTRUCTION, K.CHOICE, by_choice(I.state),
                 choices_of(InstructionState)),
    SegmentField("instruction.outcome", "随访结果", INSTRUCTION, K.CHOICE, by_choice(I.outcome), choices_of(Outcome)),
    SegmentField("instruction.protocol", "随访方案", INSTRUCTION, K.CHOICE, by_choice(I.protocol_code), _protocols),
    SegmentField("instruction.due", "应随访日期", INSTRUCTION, K.DAY, by_day(I.due_on)),
    SegmentField("instruction.done", "完成随访日期", INSTRUCTION, K.DAY, by_day(I.done_on)),
)  # fmt: skip


def instruction_fields(_work: Work) -> Sequence[SegmentField]:
    """Fields of instructions and what became of them."""
    return FIELDS
