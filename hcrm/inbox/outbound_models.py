"""Tables of what we send to other systems, in the archive's store: a message is queued with what it tells of."""

from datetime import datetime

from sqlalchemy import ForeignKey, Identity, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.db import Base, LabelledEnum
from hcrm.inbox.models import Seq


class OutboundState(LabelledEnum):
    """How far a message is on its way to its receiver."""

    PENDING = "pending", "待发"
    SENDING = "sending", "发送中"
    DELIVERED = "delivered", "已送达"
    FAILED = "failed", "失败"
    STOPPED = "stopped", "已停"


UNSENT = (OutboundState.PENDING, OutboundState.SENDING)
"""States that keep later messages of the same patient waiting."""
_UNSENT = text("state IN ('pending', 'sending')")


class OutboundDestination(Base):
    """A destination's own state: who sends to it now, whether it is paused, whether it rests after a failure.

    The lease is fenced: each new holder has a higher `fence`, and what an earlier one has to say no longer counts.
    """

    __tablename__ = "outbound_destination"
    code: Mapped[str] = mapped_column(primary_key=True)
    fence: Mapped[int] = mapped_column(default=0)
    holder: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    is_paused: Mapped[bool] = mapped_column(default=False)
    paused_by: Mapped[str | None]
    changed_at: Mapped[datetime | None]  # when it was paused or resumed
    failures: Mapped[int] = mapped_column(default=0)  # in a row
    not_before: Mapped[datetime | None]  # rests until then
    error: Mapped[str | None]  # reason of the last failure
    delivered_at: Mapped[datetime | None]  # last time something arrived


class OutboundMessage(Base):
    """A message to a destination, sealed; sent again it has the same bytes and the same control id."""

    __tablename__ = "outbound_message"
    __table_args__ = (
        UniqueConstraint("destination", "control_id"),
        Index(
            "ix_outbound_message_unsent", "destination", "patient_id", "seq",
            sqlite_where=_UNSENT, postgresql_where=_UNSENT,
        ),
        Index("ix_outbound_message_state", "state", "seq"),
        Index("ix_outbound_message_subject", "subject_type", "subject_id"),
        {"sqlite_autoincrement": True},
    )  # fmt: skip
    seq: Mapped[int] = mapped_column(Seq, Identity(always=False), primary_key=True)
    destination: Mapped[str] = mapped_column(ForeignKey("outbound_destination.code"))
    kind: Mapped[str]  # MSH-9.1^9.2
    subject_type: Mapped[str]
    subject_id: Mapped[str]
    patient_id: Mapped[str] = mapped_column(index=True)  # as it was when queued: a log, merges leave it
    control_id: Mapped[str]
    payload: Mapped[bytes | None]  # sealed; None: it could not be built, `error` says why
    state: Mapped[OutboundState]
    attempts: Mapped[int] = mapped_column(default=0)
    refusals: Mapped[int] = mapped_column(default=0)  # AE and CE among them
    not_before: Mapped[datetime]
    fence: Mapped[int | None]  # of the lease it is being sent under
    error: Mapped[str | None]  # reason or acknowledgement code of the last try
    detail: Mapped[str | None]  # code and place; never a value
    ack: Mapped[bytes | None]  # sealed
    queued_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]  # last try
    decided_at: Mapped[datetime | None]  # delivered, failed or stopped
