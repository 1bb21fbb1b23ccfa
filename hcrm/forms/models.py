"""Answers to questionnaires."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.db import Base, Id, LabelledEnum


class ResponseState(LabelledEnum):
    """FHIR: QuestionnaireResponse.status."""

    DRAFT = "in-progress", "草稿"
    SUBMITTED = "completed", "已提交"


_DRAFT = text("state = 'in-progress'")


class Response(Base):
    """One filled questionnaire (答卷), under the form version it was filled with. FHIR: QuestionnaireResponse."""

    __tablename__ = "response"
    __table_args__ = (
        Index("ix_response_subject", "subject_type", "subject_id"),
        Index(
            "uq_response_draft",
            "subject_type",
            "subject_id",
            unique=True,
            sqlite_where=_DRAFT,
            postgresql_where=_DRAFT,
        ),
    )
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)
    encounter_id: Mapped[str | None] = mapped_column(ForeignKey("encounter.id"))
    subject_type: Mapped[str]  # what it answers: instruction
    subject_id: Mapped[str]
    form_code: Mapped[str]
    form_version: Mapped[int]
    state: Mapped[ResponseState]
    answers: Mapped[dict[str, Any]]  # item code: value as `definition.read_answers` keeps it
    note: Mapped[str | None]
    author_id: Mapped[str]
    author_name: Mapped[str]
    saved_at: Mapped[datetime]
    submitted_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)

    __mapper_args__ = {"version_id_col": version}
