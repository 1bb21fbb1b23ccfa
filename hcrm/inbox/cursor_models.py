"""How far each folder and view is read, whose turn it is, and how the last turn went."""

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped

from hcrm.core.db import Base, Id


class SourceCursor(Base):
    """One way on which we fetch from a source; its turn is a lease, so that one process at a time fetches."""

    __tablename__ = "source_cursor"
    __table_args__ = (UniqueConstraint("source", "channel"),)
    id: Mapped[Id]
    source: Mapped[str]
    channel: Mapped[str]  # view, folder
    watermark: Mapped[str | None]  # how far a view is read: t:…, n:…, s:… by its kind
    last_run_at: Mapped[datetime | None]
    last_ok_at: Mapped[datetime | None]
    last_error: Mapped[str | None]  # code or class of what went wrong; never its text
    rows_last: Mapped[int]  # messages of the last turn, repeats included
    rows_total: Mapped[int]  # new messages ever
    put_aside: Mapped[int | None]  # files that lie in a folder's _error
    leased_by: Mapped[str | None]
    leased_until: Mapped[datetime | None]
