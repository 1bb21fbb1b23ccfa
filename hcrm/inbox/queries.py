"""Reading the inbox: what waits, what became of it."""

from dataclasses import asdict, dataclass

import sqlalchemy as sa

from hcrm.core.events import Event
from hcrm.core.work import Work
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage


@dataclass(frozen=True, slots=True)
class InboxCounts:
    """The line `hcrm inbox wait` prints."""

    received: int
    applied: int
    ignored: int
    held: int
    parked: int
    events_waiting: int

    def as_dict(self) -> dict[str, int]:
        """For JSON."""
        return asdict(self)


def is_idle(work: Work) -> bool:
    """Whether no message waits and every event is delivered."""
    newest = work.scalar(sa.select(sa.func.coalesce(sa.func.max(InboxMessage.seq), 0)))
    taken = work.scalar(sa.select(sa.func.coalesce(sa.func.max(InboxApplication.seq), 0)))
    waiting = sa.select(sa.exists().where(InboxApplication.state == ApplicationState.WAITING))
    undelivered = sa.select(sa.exists().where(~Event.is_delivered))
    return newest == taken and not work.scalar(waiting) and not work.scalar(undelivered)


def count_messages(work: Work) -> InboxCounts:
    """How many messages there are in each state."""
    states = dict(
        work.execute(sa.select(InboxApplication.state, sa.func.count()).group_by(InboxApplication.state)).all()
    )
    return InboxCounts(
        received=work.scalar(sa.select(sa.func.count()).select_from(InboxMessage)),
        applied=states.get(ApplicationState.APPLIED, 0),
        ignored=states.get(ApplicationState.IGNORED, 0),
        held=states.get(ApplicationState.HELD, 0),
        parked=states.get(ApplicationState.PARKED, 0),
        events_waiting=work.scalar(sa.select(sa.func.count()).select_from(Event).where(~Event.is_delivered)),
    )
