"""Tables of received messages. `inbox_message` and `refused_message` lie in the store of their own."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Identity, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.db import INBOX_SCHEMA, Base, LabelledEnum

Seq = BigInteger().with_variant(Integer, "sqlite")
"""A rowid on SQLite, a bigint identity on PostgreSQL."""


_WAITING = text("state = 'waiting'")
_EARLY = text("visit_key IS NOT NULL")
_REASON = text("reason IS NOT NULL")


class InboxMessage(Base):
    """A message as received, sealed; append-only. FHIR: MessageHeader.

    Unique by sender, facility, control id and hash of the bytes: a resend finds its row and gets the same ACK,
    a re-used control id with other content is a message of its own.
    """

    __tablename__ = "inbox_message"
    __table_args__ = (
        UniqueConstraint("sender", "facility", "control_id", "sha256"),
        Index("ix_inbox_message_received_at", "received_at"),
        {"schema": INBOX_SCHEMA, "sqlite_autoincrement": True},
    )
    seq: Mapped[int] = mapped_column(Seq, Identity(always=False), primary_key=True)
    sender: Mapped[str]  # MSH-3.1
    facility: Mapped[str]  # MSH-4.1
    control_id: Mapped[str]  # MSH-10
    sha256: Mapped[bytes]  # of the message's bytes as received
    kind: Mapped[str]  # MSH-9.1^9.2, for lists and metrics
    format: Mapped[str]  # which mapper reads it: "hl7v2", "fhir"
    raw: Mapped[bytes]  # sealed (core.crypto)
    ack: Mapped[bytes]  # what was answered, so that a resend gets the same bytes
    peer: Mapped[str]  # address it came from
    flags: Mapped[str]  # words found at the door, blank separated: control_id_reused, batch_count
    received_at: Mapped[datetime]


class RefusedMessage(Base):
    """What could not be stored as a message: why, who it claimed to be, how long it was; of its content a head."""

    __tablename__ = "refused_message"
    __table_args__ = ({"schema": INBOX_SCHEMA, "sqlite_autoincrement": True},)
    seq: Mapped[int] = mapped_column(Seq, Identity(always=False), primary_key=True)
    received_at: Mapped[datetime] = mapped_column(index=True)
    peer: Mapped[str]
    reason: Mapped[
        str
    ]  # half_frame, no_msh, oversize, header, version, processing_id, sender_unknown, timeout
    size: Mapped[int]
    sha256: Mapped[bytes]
    head: Mapped[bytes]  # sealed: up to 64 bytes, for the interface engineer
    detail: Mapped[str | None]  # what exactly: no_certificate, expired, unknown_ca
    source: Mapped[str | None]  # code of the source it was taken for
    sender: Mapped[str | None]  # MSH-3.1 as claimed
    facility: Mapped[str | None]  # MSH-4.1 as claimed
    control_id: Mapped[str | None]  # MSH-10
    subject: Mapped[str | None]  # of the certificate shown: CN=his.example,O=H1
    peer_port: Mapped[int | None]
    door: Mapped[str | None]  # mllp 2575, mllps 2576, http, folder
    name: Mapped[bytes | None]  # sealed: of a file put aside


class ApplicationState(LabelledEnum):
    """How far a message is on its way into the archive."""

    WAITING = "waiting", "待处理"
    APPLIED = "applied", "已入档"
    IGNORED = "ignored", "已忽略"
    HELD = "held", "等待前序"
    PARKED = "parked", "已搁置"


class InboxApplication(Base):
    """One message's way into the archive, written in the archive's own transaction: applied exactly once."""

    __tablename__ = "inbox_application"
    __table_args__ = (
        Index(
            "ix_inbox_application_waiting", "lane", "seq", sqlite_where=_WAITING, postgresql_where=_WAITING
        ),
        Index("ix_inbox_application_state_seq", "state", "seq"),
        Index("ix_inbox_application_kind_seq", "kind", "seq"),
        Index("ix_inbox_application_source_seq", "source", "seq"),
        Index(
            "ix_inbox_application_reason_seq", "reason", "seq", sqlite_where=_REASON, postgresql_where=_REASON
        ),
        Index("ix_inbox_application_visit_key", "visit_key", sqlite_where=_EARLY, postgresql_where=_EARLY),
    )
    seq: Mapped[int] = mapped_column(Seq, primary_key=True, autoincrement=False)
    lane: Mapped[int]
    other_lanes: Mapped[list[Any] | None]  # the other patients of a merge
    state: Mapped[ApplicationState]
    attempts: Mapped[int] = mapped_column(default=0)
    reason: Mapped[str | None]  # code of why it is parked, held or ignored
    detail: Mapped[str | None]  # segment and field; never a value
    flags: Mapped[str] = mapped_column(default="")  # warnings: unmapped codes, clamped clock
    kind: Mapped[str]
    source: Mapped[str]  # code of the source it was read as
    visit_key: Mapped[str | None]  # blind key of a visit nobody knew yet
    became_patient_id: Mapped[str | None] = mapped_column(
        index=True
    )  # as it was when applied: a log, merges leave it
    became_encounter_id: Mapped[str | None]
    taken_up_at: Mapped[datetime] = mapped_column(index=True)
    applied_at: Mapped[datetime | None]


class InboxFloor(Base):
    """One row: up to this number all that was received is taken up (`hcrm.inbox.floor`)."""

    __tablename__ = "inbox_floor"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(Seq)
