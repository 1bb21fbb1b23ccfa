"""Tables of visits: the encounter, its event log, diagnoses and procedures."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.archive.models import InboxSeq
from hcrm.core.db import Base, Id, LabelledEnum


class EncounterClass(LabelledEnum):
    """Class of a visit, PV1-2 (HL7 table 0004). FHIR: Encounter.class."""

    INPATIENT = "inpatient", "住院"
    OUTPATIENT = "outpatient", "门诊"
    EMERGENCY = "emergency", "急诊"
    PREADMIT = "preadmit", "预住院"
    CHECKUP = "checkup", "体检"
    UNKNOWN = "unknown", "未知"


class EncounterStatus(LabelledEnum):
    """State of a visit, computed from its events. FHIR: Encounter.status."""

    PLANNED = "planned", "已预约"
    IN_PROGRESS = "in-progress", "在院"
    ON_LEAVE = "onleave", "请假"
    FINISHED = "finished", "已出院"
    CANCELLED = "cancelled", "已取消"


class DischargeWay(LabelledEnum):
    """How the patient left (离院方式), CV06.00.226."""

    BY_ORDER = "1", "医嘱离院"
    TRANSFER = "2", "医嘱转院"
    COMMUNITY = "3", "转社区"
    AGAINST_ADVICE = "4", "非医嘱离院"
    DIED = "5", "死亡"
    OTHER = "9", "其他"
    UNKNOWN = "unknown", "未知"


class Encounter(Base):
    """A visit or stay (就诊). FHIR: Encounter.

    Status, times, class and location are what `visit.fold` makes of the event log; the rest are fields with
    (as-of, source, seq) in `provenance`.
    """

    __tablename__ = "encounter"
    __table_args__ = (
        Index("uq_encounter_visit", "authority", "visit_no", unique=True),
        Index("ix_encounter_patient", "patient_id", "admitted_at"),
        Index("ix_encounter_discharged", "discharged_at", "department_id"),
        Index("ix_encounter_department_status", "department_id", "status"),
    )
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    authority: Mapped[str]
    visit_no: Mapped[str | None]  # PV1-19; None where the sender has none
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
    attending_id: Mapped[str | None] = mapped_column(ForeignKey("practitioner.id"), index=True)
    location: Mapped[str | None]  # point of care, room, bed: W1-101-1
    provenance: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime] = mapped_column(index=True)


class VisitEventKind(LabelledEnum):
    """What can happen to a visit. A cancel reverses, it never deletes."""

    PREADMIT = "preadmit", "预约入院"
    ADMIT = "admit", "入院"
    REGISTER = "register", "挂号"
    TRANSFER = "transfer", "转科"
    CLASS_CHANGE = "class_change", "类别变更"
    LEAVE = "leave", "请假离院"
    RETURN = "return", "请假返院"
    DISCHARGE = "discharge", "出院"
    CANCEL_PREADMIT = "cancel_preadmit", "取消预约入院"
    CANCEL_ADMIT = "cancel_admit", "取消入院"
    CANCEL_TRANSFER = "cancel_transfer", "取消转科"
    CANCEL_DISCHARGE = "cancel_discharge", "取消出院"
    DELETE = "delete", "删除就诊"


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
