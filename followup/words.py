"""How the station's pages say and colour things."""

from collections.abc import Iterable

from followup.models import AlertState, ReviewState
from followup.station import Recorded
from followup.worklist import Section
from hcrm.centre.models import InstructionState
from hcrm.core.labels import LabelledEnum
from hcrm.forms.definition import FlagLevel

STATE_TONES = {
    InstructionState.ISSUED: "open", InstructionState.ACCEPTED: "work", InstructionState.IN_PROGRESS: "work",
    InstructionState.IN_REVIEW: "near", InstructionState.COMPLETED: "done", InstructionState.RETURNED: "late",
    InstructionState.WITHDRAWN: "off", InstructionState.EXPIRED: "off",
    InstructionState.MISSED: "off",
}  # fmt: skip
ALERT_TONES = {AlertState.OPEN: "late", AlertState.ACKNOWLEDGED: "near", AlertState.CLOSED: "done"}
REVIEW_TONES = {ReviewState.WAITING: "near", ReviewState.APPROVED: "done", ReviewState.SENT_BACK: "late"}
LEVEL_TONES = {FlagLevel.R1: "late", FlagLevel.R2: "near", FlagLevel.R3: "info"}
SECTION_TONES = {Section.RED: "late", Section.OVERDUE: "late", Section.DUE: "near", Section.MISSED: ""}
SHARED = {
    "alert_tones": ALERT_TONES, "review_tones": REVIEW_TONES, "level_tones": LEVEL_TONES, "levels": FlagLevel,
}  # fmt: skip
"""What every template of the station may name; the forms' templates too."""
LABELS = {
    "outcome": "随访结果",
    "result": "联系情况",
    "channel": "联系方式",
    "note": "备注",
    "confirm_death": "确认已故",
}
"""Names of the form's own fields, for the summary of errors."""


def pairs(members: Iterable[LabelledEnum]) -> list[tuple[str, str]]:
    """What `ui.select` and `ui.choice` take."""
    return [(member.value, member.label) for member in members]


def recorded_words(recorded: Recorded) -> tuple[str, str]:
    """What to say after a record, and how loudly. The next page is about somebody else, and no name is said.

    What is said travels in the browser's cookie, where nothing about a patient may lie.
    """
    outcome = recorded.instruction.outcome
    words = ["上一位患者：随访已登记" + (f"（{outcome.label}）" if outcome else "")]
    if recorded.review is not None:
        words.append(f"已转科主任审核（{recorded.review.label}）")
    if recorded.waiting:
        urgent = f"，最高为{recorded.flags[0].flag.level.label}" if recorded.flags else ""
        words.append(f"红旗 {recorded.waiting} 条未处置{urgent}")
    return "；".join(words), "warning" if recorded.waiting else "success"
