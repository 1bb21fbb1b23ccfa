"""What happened to a message, in order: received, taken up, what people did, what became of it.

A replay forgets when the message was taken up and decided before; of that only what the act noted is told, without a
time, and no later moment is put in its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hcrm.inbox.console_models import MessageAct, MessageActKind
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage
from hcrm.inbox.words import REASONS, state_words


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened; `act` is what a person did, `said` what the house did. `at` None: no longer known."""

    at: datetime | None
    said: str
    act: MessageAct | None = None


def list_steps(
    message: InboxMessage, application: InboxApplication | None, acts: Sequence[MessageAct]
) -> list[Step]:
    """In order; before each act what it found, after the last what became of the message."""
    acts = sorted(acts, key=lambda act: act.happened_at)
    steps = [Step(message.received_at, "收到并保存" + ("，已应答" if message.ack else ""))]
    if application is not None and not any(act.kind is MessageActKind.REPLAYED for act in acts):
        steps.append(Step(application.taken_up_at, "取出"))
    for act in acts:
        if act.state_before and act.state_before != ApplicationState.WAITING.value:
            steps.append(Step(None, _found(act)))
        steps.append(Step(act.happened_at, "", act))
    if application is not None and application.applied_at and application.state != ApplicationState.WAITING:
        tries = f"（第 {application.attempts} 次）" if application.attempts > 1 else ""
        steps.append(Step(application.applied_at, f"{application.state.label}{tries}"))
    return steps


def _found(act: MessageAct) -> str:
    reason = act.reason_before
    why = f"：{REASONS.get(reason, (reason,))[0]}" if reason else ""
    return f"{state_words(act.state_before or '')}{why}"
