"""The contact log."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.db import Base, Id, LabelledEnum


class Channel(LabelledEnum):
    """How a contact was made (渠道). FHIR: Communication.medium."""

    PHONE = "phone", "电话"
    VISIT = "visit", "面访"
    SMS = "sms", "短信"
    LETTER = "letter", "信函"
    OTHER = "other", "其他"


class ContactResult(LabelledEnum):
    """What came of an attempt."""

    REACHED = "reached", "接通，本人"
    RELATIVE = "relative", "接通，家属"
    NO_ANSWER = "no_answer", "无人接听"
    BUSY = "busy", "占线"
    WRONG_NUMBER = "wrong_number", "错号"
    INVALID_NUMBER = "invalid_number", "空号"
    REFUSED = "refused", "拒绝"
    DECEASED = "deceased", "得知已故"


class ContactEntry(Base):
    """One contact or attempt with a patient (联系记录). FHIR: Communication."""

    __tablename__ = "contact_entry"
    __table_args__ = (
        Index("ix_contact_entry_patient", "patient_id", "happened_at", "id"),
        Index("ix_contact_entry_subject", "subject_type", "subject_id"),
    )
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    encounter_id: Mapped[str | None] = mapped_column(ForeignKey("encounter.id"), index=True)
    happened_at: Mapped[datetime]
    channel: Mapped[Channel]
    is_outgoing: Mapped[bool]
    result: Mapped[ContactResult]
    note: Mapped[str | None]
    subject_type: Mapped[str | None]
    subject_id: Mapped[str | None]
    actor_id: Mapped[str]
    actor_name: Mapped[str]
