"""Up to which number all that was received is taken up: what is new is found above it, whatever lies below.

Numbers are given before they are committed. On SQLite the inbox has one writer, so they become visible in order; on
PostgreSQL one may appear long after higher ones. Whoever is giving one holds a lock on the table from before it is
given until it is visible, so nothing can appear any more below a number that was visible while others wrote, once
all who wrote then have ended. Only by this proof the floor rises, never by the clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from hcrm.core.db import table_of
from hcrm.inbox.models import InboxApplication, InboxFloor, InboxMessage

_WRITERS = sa.text(
    "SELECT DISTINCT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND mode <> 'AccessShareLock' "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND relation = 'inbox.inbox_message'::regclass"
)


def read_floor(session: Session | sa.Connection) -> int:
    """The floor as it stands; asked before the rows above it, since it may rise meanwhile."""
    return int(session.scalar(sa.select(sa.func.coalesce(sa.func.max(InboxFloor.seq), 0))) or 0)


def untaken(floor: int) -> Sequence[sa.ColumnElement[bool]]:
    """Conditions on `inbox_message`: received, and not taken up. An anti-join of what is new, not of ten million."""
    message, application = table_of(InboxMessage), table_of(InboxApplication)
    taken = sa.exists().where(application.c.seq == message.c.seq, application.c.seq > floor)
    return message.c.seq > floor, ~taken


def raise_floor(session: Session, seq: int) -> None:
    """Note that all up to this number is taken up; for whoever alone may take up now, and above the floor it read."""
    table = table_of(InboxFloor)
    if session.execute(sa.update(table).values(seq=seq).returning(table.c.id)).first() is None:
        session.execute(sa.insert(table).values(id=1, seq=seq))


@dataclass
class FloorWatch:
    """What one process saw: a number, and who was writing after it had become visible."""

    seq: int = 0
    writers: frozenset[str] = frozenset()

    def settle(self, session: Session) -> int:
        """A number up to which nothing more can appear; the rows up to it are seen by the next statement."""
        newest = session.scalar(sa.select(sa.func.max(InboxMessage.seq))) or 0
        if session.get_bind().dialect.name == "sqlite":
            return int(newest)
        writers = frozenset(session.scalars(_WRITERS))  # after `newest`, and live: no snapshot
        if not self.writers.isdisjoint(writers):
            return 0
        settled = self.seq if writers else newest
        self.seq, self.writers = newest, writers
        return int(settled)
