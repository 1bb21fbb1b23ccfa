"""Tables of who is on duty (值班) and when doctors hold clinics (出诊)."""

from datetime import date, datetime

from sqlalchemy import ForeignKey, Index, false, true
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.db import Base, Id, LabelledEnum


class Session(LabelledEnum):
    """Part of a day a clinic is held in."""

    MORNING = "morning", "上午"
    AFTERNOON = "afternoon", "下午"
    EVENING = "evening", "晚上"


class ClinicType(LabelledEnum):
    """Kind of a clinic (号别)."""

    GENERAL = "general", "普通"
    EXPERT = "expert", "专家"
    DISEASE = "disease", "专病"
    SPECIAL = "special", "特需"
    OTHER = "other", "其他"


class DutyShift(Base):
    """Somebody on duty for a department, or for a whole campus. FHIR: PractitionerRole.availableTime.

    Times are the hospital's wall clock, HH:MM; one that ends no later than it begins ends the day after.
    """

    __tablename__ = "duty_shift"
    __table_args__ = (
        Index("ix_duty_shift_department", "department_id", "day"),
        Index("ix_duty_shift_day", "day", "id"),
    )
    id: Mapped[Id]
    department_id: Mapped[str | None] = mapped_column(ForeignKey("department.id"))  # None: the campus's own
    campus_id: Mapped[str | None] = mapped_column(ForeignKey("campus.id"))
    day: Mapped[date]
    shift: Mapped[str]  # 白班, 夜班 …
    starts: Mapped[str]
    ends: Mapped[str]
    practitioner_id: Mapped[str] = mapped_column(ForeignKey("practitioner.id"), index=True)
    phone: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(default=True, server_default=true())
    created_at: Mapped[datetime]


class ScheduleSlot(Base):
    """A clinic a doctor holds: a half day of one department. FHIR: Slot. What is booked into it comes with bookings."""

    __tablename__ = "schedule_slot"
    __table_args__ = (
        Index("ix_schedule_slot_department", "department_id", "day"),
        Index("ix_schedule_slot_day", "day", "id"),
        Index("ix_schedule_slot_practitioner", "practitioner_id", "day"),
    )
    id: Mapped[Id]
    practitioner_id: Mapped[str] = mapped_column(ForeignKey("practitioner.id"))
    department_id: Mapped[str] = mapped_column(ForeignKey("department.id"))
    campus_id: Mapped[str | None] = mapped_column(ForeignKey("campus.id"))
    day: Mapped[date]
    session: Mapped[Session]
    clinic_type: Mapped[ClinicType]
    capacity: Mapped[int]
    is_stopped: Mapped[bool] = mapped_column(default=False, server_default=false())  # 停诊
    note: Mapped[str | None]
    created_at: Mapped[datetime]
