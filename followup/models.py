"""Tables of the follow-up station: red flags and reviews."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.actor import Actor
from hcrm.core.db import Base, Id, LabelledEnum


class AlertState(LabelledEnum):
    """How far a red flag is handled. FHIR: DetectedIssue.status."""

    OPEN = "open", "待处理"
    ACKNOWLEDGED = "acknowledged", "已知悉"
    CLOSED = "closed", "已处置"


class Alert(Base):
    """A red flag raised by answers (异常预警). FHIR: DetectedIssue. Survives later edits of the form."""

    __tablename__ = "alert"
    __table_args__ = (
        UniqueConstraint("response_id", "flag_code"),
        Index("ix_alert_department", "department_id", "state", "raised_at"),
    )
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)
    encounter_id: Mapped[str] = mapped_column(ForeignKey("encounter.id"))
    instruction_id: Mapped[str] = mapped_column(ForeignKey("instruction.id"), index=True)
    response_id: Mapped[str] = mapped_column(ForeignKey("response.id"))
    department_id: Mapped[str | None] = mapped_column(ForeignKey("department.id"))
    level: Mapped[str]  # R1, R2, R3
    flag_code: Mapped[str]
    evidence: Mapped[str]  # the answer that raised it, in words
    says: Mapped[str]  # what is to be done
    state: Mapped[AlertState]
    raised_at: Mapped[datetime]
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None]  # name, as it was then
    handled_at: Mapped[datetime | None]
    handled_by: Mapped[str | None]
    handling: Mapped[str | None]  # what was done


class ReviewState(LabelledEnum):
    """What the department head said (审核)."""

    WAITING = "waiting", "待审核"
    APPROVED = "approved", "审核通过"
    SENT_BACK = "sent_back", "退回重做"


class ReviewCause(LabelledEnum):
    """Why a record was chosen for review."""

    RED_FLAG = "red_flag", "红旗"
    LOST = "lost", "失访"
    REFUSED = "refused", "拒访"
    DIED = "died", "已故"
    SAMPLE = "sample", "抽审"
    ALL = "all", "全部审核"


class Review(Base):
    """A department head's look at one record, and why it was chosen. FHIR: Task.businessStatus."""

    __tablename__ = "review"
    __table_args__ = (Index("ix_review_department", "department_id", "state", "asked_at"),)
    id: Mapped[Id]
    instruction_id: Mapped[str] = mapped_column(ForeignKey("instruction.id"), index=True)
    response_id: Mapped[str | None] = mapped_column(
        ForeignKey("response.id")
    )  # none where nothing was answered
    department_id: Mapped[str | None] = mapped_column(ForeignKey("department.id"))
    cause: Mapped[ReviewCause]
    state: Mapped[ReviewState]
    asked_at: Mapped[datetime]
    reviewed_at: Mapped[datetime | None]
    reviewer_id: Mapped[str | None]
    reviewer_name: Mapped[str | None]
    comment: Mapped[str | None]

    def decide(self, state: ReviewState, *, by: Actor, at: datetime, comment: str | None) -> None:
        """Note the decision and whose it is."""
        self.state, self.reviewed_at, self.comment = state, at, (comment or "").strip() or None
        self.reviewer_id, self.reviewer_name = by.id, by.name
