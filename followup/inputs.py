"""What the station's forms and routes may say."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field, StringConstraints, ValidationInfo, field_validator

from hcrm.centre.models import Outcome
from hcrm.contact_log.models import Channel, ContactResult
from hcrm.core.inputs import Blank, Input

Key = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""A key handed out with the page (`core.ids.new_id`): the same key twice is the same act."""
Note = Annotated[Annotated[str, StringConstraints(max_length=2000)] | None, Blank]
Number = Annotated[str, StringConstraints(pattern=r"^((contact|related):[0-9a-f]{32})?$")]
"""The number that was called, of the patient's own or of a relative."""
Sentence = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class DraftInput(Input):
    """A draft: answers as typed, under the key and version the page was given."""

    record_id: Key
    version: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0  # what the column takes
    answers: Mapping[str, str | Sequence[str]] = Field(default_factory=dict)
    note: Note = None


class FollowupInput(DraftInput):
    """A follow-up that took place, or was given up."""

    outcome: Outcome
    result: ContactResult
    channel: Channel
    number: Number = ""
    confirm_death: Annotated[str, Field(validate_default=True)] = ""

    @field_validator("confirm_death")
    @classmethod
    def _confirmed(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("outcome") is Outcome.DIED and not value:
            raise ValueError("请核实后勾选：登记已故会撤回该患者的其余随访指令")
        return value


class AttemptInput(Input):
    """A call that reached nobody."""

    record_id: Key
    result: ContactResult
    channel: Channel
    number: Number = ""
    note: Note = None


class ReasonInput(Input):
    """Why an instruction is returned or withdrawn."""

    reason: Sentence


class ReviewInput(Input):
    """What the department head says; sending back needs it."""

    comment: Annotated[Annotated[str, StringConstraints(max_length=500)] | None, Blank] = None


class HandlingInput(Input):
    """What was done about a red flag."""

    handling: Sentence
