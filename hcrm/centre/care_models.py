"""The flat list of patients in care who have no next step; a nightly job writes it."""

from datetime import date

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.core.db import Base, Id


class CareGap(Base):
    """A patient in care without a next step (无下一步), as the last run found them. FHIR: CarePlan without activity.

    A merge may bring a patient two rows; the list shows the first, and the next run leaves one.
    """

    __tablename__ = "care_gap"
    __table_args__ = (Index("ix_care_gap_since", "since_on", "id"),)
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)
    rule_code: Mapped[str]
    rule_title: Mapped[str]
    since_on: Mapped[date]  # in care since: the discharge, or the start of the course
    found_on: Mapped[date]
