"""Tables of visits: the encounter, its event log, diagnoses and procedures."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.archive.models import InboxSeq
from hcrm.archive.terms import DischargeWay as DischargeWay
from hcrm.archive.terms import EncounterClass as EncounterClass
from hcrm.archive.terms import EncounterStatus as EncounterStatus
from hcrm.archive.terms import VisitEventKind as VisitEventKind
from hcrm.core.db import Base, Id

_HAS_ACCOUNT = text("account_no IS NOT NULL")
_MERGED = text("merged_into_id IS NOT NULL")

_ASKED = ("status", "discharged_at", "encounter_class", "attending_id")


class Encounter(Base):
    """A visit or stay (就诊). FHIR: Encounter.

    Status, times, class and location are what `visit.fold` makes of the event log; the rest are fields with
    (as-of, source, seq) in `provenance`.
    """

    __tablename__ = "encounter"
    __table_args__ = (
        Index("uq_encounter_visit", "visit_no", "authority", unique=True),  # also found by number alone
        # Lists of patients by their stays are read from these alone: all that is asked of a stay stands in each.
        Index("ix_encounter_patient", "patient_id", "admitted_at", "id", "department_id", *_ASKED),
        Index("ix_encounter_stay", "id", "department_id", *_ASKED, "patient_id"),
        Index("ix_encounter_department", "department_id", "id", *_ASKED, "patient_id"),
        Index("ix_encounter_department_status", "department_id", *_ASKED, "id", "patient_id"),
        Index("ix_encounter_status", *_ASKED, "id", "department_id", "patient_id"),
        Index("ix_encounter_attending", "attending_id", "id", "patient_id"),
        Index("ix_encounter_discharged", "discharged_at", "department_id"),
        Index("ix_encounter_account", "account_no", sqlite_where=_HAS_ACCOUNT, postgresql_where=_HAS_ACCOUNT),
        Index("ix_encounter_merged_into", "merged_into_id", sqlite_where=_MERGED, postgresql_where=_MERGED),
    )
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    authority: Mapped[str]
    visit_no: Mapped[str | None]  # PV1-19; None where the sender has none
    account_no: Mapped[str | None]  # PID-18: several visits may lie on one account
    merged_into_id: Mapped[str | None] = mapped_column(
        ForeignKey("encounter.id")
    )  # its number finds that visit
    source: Mapped[str]
    encounter_class: Mapped[EncounterClass]
    class_text: Mapped[str | None]  # PV1-2 as sent where it is not mapped
    status: Mapped[EncounterStatus]
    admitted_at: Mapped[datetime | None]
    discharged_at: Mapped[datetime | None]
    discharge_id: Mapped[str | None]  # the event that closed it: what follow-up is triggered by
    discharge_way: Mapped[DischargeWay]
    discharge_way_text: Mapped[str | None]
    department_id: Mapped[str | None] = mapped_column(ForeignKey("department.id"))
    attending_id: Mapped[str | None] = mapped_column(ForeignKey("practitioner.id"))
    location: Mapped[str | None]  # point of care, room, bed: W1-101-1
    payment_type: Mapped[str | None]  # 医疗付费方式 as sent: archive.terms.PAYMENT_TYPES
    provenance: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime] = mapped_column(index=True)


class VisitEvent(Base):
    """One event of a visit as a sender told it, in a log that only grows.

    Two clocks: `happened_at` orders the visit's time line (EVN-6, else EVN-2, else MSH-7), `told_at` (MSH-7) says
    which events a later cancel reverses. `reversed_by_id` names that cancel.
    """

    __tablename__ = "visit_event"
    __table_args__ = (Index("ix_visit_event_encounter", "encounter_id", "seq"),)
    id: Mapped[Id]
    encounter_id: Mapped[str] = mapped_column(ForeignKey("encounter.id"))
    kind: Mapped[VisitEventKind]
    happened_at: Mapped[datetime]
    precision: Mapped[str]
    told_at: Mapped[datetime]
    data: Mapped[dict[str, Any]]  # location, class, department of that event
    source: Mapped[str]
    seq: Mapped[int] = mapped_column(InboxSeq)
    reversed_by_id: Mapped[str | None]  # no foreign key: a cancel may be written after what it reverses


class Diagnosis(Base):
    """A diagnosis of a visit (诊断). FHIR: Condition; HL7: DG1."""

    __tablename__ = "diagnosis"
    __table_args__ = (Index("ix_diagnosis_code", "code", "encounter_id"),)
    id: Mapped[Id]
    encounter_id: Mapped[str] = mapped_column(ForeignKey("encounter.id"), index=True)
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)
    rank: Mapped[int]
    is_main: Mapped[bool]
    code: Mapped[str]  # as sent, trimmed
    text: Mapped[str]
    system: Mapped[str]
    kind: Mapped[str]  # DG1-6: A admitting, W working, F final
    source: Mapped[str]
    as_of: Mapped[datetime]
    seq: Mapped[int] = mapped_column(InboxSeq)
    ended_at: Mapped[datetime | None]  # replaced by a newer list


class Procedure(Base):
    """An operation or procedure (手术操作). FHIR: Procedure; HL7: PR1."""

    __tablename__ = "procedure"
    __table_args__ = (Index("ix_procedure_code", "code", "encounter_id"),)
    id: Mapped[Id]
    encounter_id: Mapped[str] = mapped_column(ForeignKey("encounter.id"), index=True)
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)
    rank: Mapped[int]
    code: Mapped[str]
    text: Mapped[str]
    system: Mapped[str]
    performed_at: Mapped[datetime | None]
    performed_on: Mapped[date | None]
    source: Mapped[str]
    as_of: Mapped[datetime]
    seq: Mapped[int] = mapped_column(InboxSeq)
    ended_at: Mapped[datetime | None]  # replaced by a newer list
