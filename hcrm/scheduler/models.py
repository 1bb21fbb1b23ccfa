"""Fires of jobs."""

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped

from hcrm.core.db import Base, Id


class Fire(Base):
    """One due instant of one job; the unique row decides which node acts (assurance S1)."""

    __tablename__ = "fire"
    __table_args__ = (UniqueConstraint("job", "due_at"),)
    id: Mapped[Id]
    job: Mapped[str]
    due_at: Mapped[datetime]
    state: Mapped[str]  # pending, done, failed
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    result: Mapped[int | None]
    error: Mapped[str | None]  # class of what went wrong
