"""What happened to a message, in order of time: received, taken up, what people did, what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hcrm.inbox.console_models import MessageAct
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened; `act` is what a person did, `said` what the house did."""

    at: datetime
    said: str
    act: MessageAct | None = None


def list_steps(
    message: InboxMessage, application: InboxApplication | None, acts: Sequence[MessageAct]
) -> list[Step]:
    """In order of time; of one moment what a person did stands before what followed from it."""
    steps = [Step(message.received_at, "收到并保存" + ("，已应答" if message.ack else ""))]
    if application is not None:
        steps.append(Step(application.taken_up_at, "取出"))
    steps += [Step(act.happened_at, "", act) for act in acts]
    if application is not None and application.applied_at and application.state != ApplicationState.WAITING:
        tries = f"（第 {application.attempts} 次）" if application.attempts > 1 else ""
        steps.append(Step(application.applied_at, f"{application.state.label}{tries}"))
    return sorted(steps, key=lambda step: step.at)
