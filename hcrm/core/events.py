"""Facts: what happened, stored as rows in the transaction that made it true, delivered later to handlers.

A package names its facts in its `events.py` as frozen dataclasses derived from `Fact`; they hold keys, words and
dates only, so that no patient data lies in the event log.
"""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, ClassVar, Self

import sqlalchemy as sa
from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.db import Base, Id, LabelledEnum


@dataclass(frozen=True)
class Fact:
    """Base of every fact; the class name is the stored kind."""

    kinds: ClassVar[dict[str, type["Fact"]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        Fact.kinds[cls.__name__] = cls

    def payload(self) -> dict[str, Any]:
        """What the row keeps."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def of(cls, event: "Event") -> Self:
        """The fact a row holds."""
        return cls(**event.payload)


class Event(Base):
    """A fact that happened. Append-only but for the mark that every handler has had it."""

    __tablename__ = "event"
    __table_args__ = (
        # Written as SQLAlchemy renders `~is_delivered` on SQLite, which uses a partial index only where words match.
        Index(
            "ix_event_waiting", "kind", "id",
            sqlite_where=sa.text("is_delivered = 0"), postgresql_where=sa.text("NOT is_delivered"),
        ),
    )  # fmt: skip
    id: Mapped[Id]
    kind: Mapped[str]
    payload: Mapped[dict[str, Any]]
    recorded_at: Mapped[datetime]
    is_delivered: Mapped[bool] = mapped_column(default=False)


class DeliveryState(LabelledEnum):
    """How far one handler is with one event."""

    DONE = "done", "已处理"
    FAILED = "failed", "重试中"
    PARKED = "parked", "已搁置"


_TROUBLED = sa.text("state != 'done'")


class EventDelivery(Base):
    """One handler's receipt for one event, written in the handler's own work."""

    __tablename__ = "event_delivery"
    __table_args__ = (
        Index("ix_event_delivery_troubled", "handled_at", sqlite_where=_TROUBLED, postgresql_where=_TROUBLED),
    )
    event_id: Mapped[str] = mapped_column(ForeignKey("event.id"), primary_key=True)
    handler: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[DeliveryState]
    attempts: Mapped[int] = mapped_column(default=1)
    reason: Mapped[str | None]
    handled_at: Mapped[datetime]
