"""The contact log."""

from datetime import datetime, timedelta

from sqlalchemy import ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core import limits
from hcrm.core.db import Base, Id, LabelledEnum

PAST_FOLLOW_UP = "past_follow_up"
PAST_COMPLAINT = "past_complaint"
"""`subject_type` of entries that were imported as what happened before us."""


class Channel(LabelledEnum):
    """How a contact was made (渠道). FHIR: Communication.medium."""

    PHONE = "phone", "电话"
    VISIT = "visit", "面访"
    SMS = "sms", "短信"
    WECHAT = "wechat", "微信"
    EMAIL = "email", "邮件"
    LETTER = "letter", "信函"
    OTHER = "other", "其他"

    @property
    def incoming(self) -> str:
        """How a contact on this way is called that the other side began."""
        return {"phone": "来电", "visit": "来访"}.get(self.value, "对方发来")


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
    SENT = "sent", "已发出"


_CORRECTS = text("corrects_id IS NOT NULL")
_KEPT = text("removed_at IS NULL")


class ContactEntry(Base):
    """One contact or attempt with a patient (联系记录). FHIR: Communication.

    Never changed: a correction is a new entry that names the old one.
    """

    __tablename__ = "contact_entry"
    __table_args__ = (
        Index("ix_contact_entry_patient", "patient_id", "happened_at", "id"),
        Index("ix_contact_entry_subject", "subject_type", "subject_id"),
        Index("ix_contact_entry_happened", "happened_at", "id"),
        Index("ix_contact_entry_actor", "actor_id", "happened_at", "id"),
        Index("ix_contact_entry_department", "department_id", "happened_at", "id"),
        Index("ix_contact_entry_corrects", "corrects_id", sqlite_where=_CORRECTS, postgresql_where=_CORRECTS),
    )
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    encounter_id: Mapped[str | None] = mapped_column(ForeignKey("encounter.id"), index=True)
    happened_at: Mapped[datetime]
    logged_at: Mapped[datetime | None]  # when it was written, by our clock; always set
    channel: Mapped[Channel]
    is_outgoing: Mapped[bool]
    result: Mapped[ContactResult]
    note: Mapped[str | None]
    subject_type: Mapped[str | None]
    subject_id: Mapped[str | None]
    actor_id: Mapped[str]
    actor_name: Mapped[str]
    whose: Mapped[str | None]  # with whom: 本人, or the relative whose number it was
    duration_seconds: Mapped[int | None]
    department_id: Mapped[str | None]  # of the stay, else of who wrote it
    corrects_id: Mapped[str | None]  # the entry that this one puts right

    @property
    def other_side(self) -> str | None:
        """With whom, where it is known: as somebody wrote, else what the result itself says."""
        if self.whose or self.subject_type in (
            PAST_FOLLOW_UP,
            PAST_COMPLAINT,
        ):  # a file of the past often names nobody
            return self.whose
        return {ContactResult.REACHED: "本人", ContactResult.RELATIVE: "家属"}.get(self.result)

    @property
    def logged_late_at(self) -> datetime | None:
        """When it was written, where that is notably later than the contact itself."""
        late = timedelta(minutes=limits.CONTACT_LATE_MINUTES)
        return self.logged_at if self.logged_at and self.logged_at - self.happened_at > late else None


NO_COMPLAINT = func.coalesce(ContactEntry.subject_type, "") != PAST_COMPLAINT
"""Entries that are no complaint of former times."""


class ContactRecording(Base):
    """The sound of a contact (录音): the file lies sealed outside the database. FHIR: Media."""

    __tablename__ = "contact_recording"
    __table_args__ = (
        Index("ix_contact_recording_kept", "recorded_at", "id", sqlite_where=_KEPT, postgresql_where=_KEPT),
    )
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)
    entry_id: Mapped[str] = mapped_column(ForeignKey("contact_entry.id"), index=True)
    file_name: Mapped[str]  # random; says nothing
    media_type: Mapped[str]
    size: Mapped[int]  # bytes of the sound, unsealed
    sha256: Mapped[str]
    recorded_at: Mapped[datetime]  # of the contact: what retention counts from
    created_at: Mapped[datetime]
    actor_id: Mapped[str]
    actor_name: Mapped[str]
    removed_at: Mapped[datetime | None]
