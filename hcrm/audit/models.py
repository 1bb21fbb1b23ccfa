"""The audit log."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.db import Base, Id, LabelledEnum


class AuditOutcome(LabelledEnum):
    """Whether the act was allowed."""

    DONE = "done", "完成"
    DENIED = "denied", "拒绝"


class AuditEvent(Base):
    """One act of one actor. Append-only. FHIR: AuditEvent."""

    __tablename__ = "audit_event"
    id: Mapped[Id]
    happened_at: Mapped[datetime] = mapped_column(index=True)
    actor_id: Mapped[str] = mapped_column(index=True)
    actor_name: Mapped[str]  # kept as it was then
    action: Mapped[str]  # noun.verb: patient.read, instruction.complete, session.login
    outcome: Mapped[AuditOutcome]
    subject_type: Mapped[str | None]
    subject_id: Mapped[str | None]
    address: Mapped[str | None]
    detail: Mapped[dict[str, Any] | None]  # keys, counts and words; never a value of a patient


class AuditSubject(Base):
    """A patient an act touched. Keeps the id as it was; merges are followed when reading."""

    __tablename__ = "audit_subject"
    __table_args__ = (Index("ix_audit_subject_patient", "subject_patient_id", "audit_id"),)
    audit_id: Mapped[str] = mapped_column(ForeignKey("audit_event.id"), primary_key=True)
    subject_patient_id: Mapped[str] = mapped_column(primary_key=True)
