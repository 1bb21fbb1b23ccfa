"""Tables of results, drug orders, charges, documents and bookings that other systems tell of.

One live row a thing (`ended_at` is None), whose id never changes; what it said before stays as rows that ended.
`as_of` and `seq` say since when and by which message; `confirmed_at` is the newest clock that said the same.
`provenance` has the clocks of values told at another time: field: [settled, as-of, inbox seq]; empty: told by nobody.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Numeric, text
from sqlalchemy.orm import Mapped, mapped_column

from hcrm.archive.clinical.terms import (
    AbnormalFlag,
    AppointmentStatus,
    ChargeKind,
    DocumentStatus,
    EndBasis,
    ObservationStatus,
    OrderStatus,
    ReportCategory,
    ReportStatus,
)
from hcrm.archive.models import InboxSeq
from hcrm.core.db import Base, Id

_CRITICAL = text("is_critical AND ended_at IS NULL")
_CRITICAL_SQLITE = text("is_critical = 1 AND ended_at IS NULL")
_ENDS = text("ends_on IS NOT NULL AND ended_at IS NULL")
_LIVE = text("ended_at IS NULL")


class DiagnosticReport(Base):
    """A report (检验检查报告). FHIR: DiagnosticReport; HL7: OBR. What it counts of its results is kept with it."""

    __tablename__ = "diagnostic_report"
    __table_args__ = (
        Index("ix_diagnostic_report_patient", "patient_id", "issued_at", "id"),
        Index("ix_diagnostic_report_number", "patient_id", "number"),
        Index(
            "ix_diagnostic_report_critical", "issued_at", "id",
            sqlite_where=_CRITICAL_SQLITE, postgresql_where=_CRITICAL,
        ),
    )  # fmt: skip
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    encounter_id: Mapped[str | None] = mapped_column(ForeignKey("encounter.id"), index=True)
    number: Mapped[str]  # OBR-3, else ORC-3, OBR-2, ORC-2
    code: Mapped[str]
    text: Mapped[str]
    category: Mapped[ReportCategory]
    status: Mapped[ReportStatus]
    observed_at: Mapped[datetime | None]
    issued_at: Mapped[datetime]  # OBR-22, else the message's clock
    note_sealed: Mapped[bytes | None]
    results: Mapped[int]  # that stand
    abnormal: Mapped[int]
    is_critical: Mapped[bool]
    source: Mapped[str]
    as_of: Mapped[datetime]
    seq: Mapped[int] = mapped_column(InboxSeq)
    confirmed_at: Mapped[datetime]
    provenance: Mapped[dict[str, Any]]
    ended_at: Mapped[datetime | None]


class Observation(Base):
    """One result of a report (结果). FHIR: Observation; HL7: OBX. Free text is sealed, values are in clear."""

    __tablename__ = "observation"
    __table_args__ = (
        Index("ix_observation_report", "report_id", "rank"),
        Index("ix_observation_course", "patient_id", "code", "observed_at"),
    )
    id: Mapped[Id]
    report_id: Mapped[str] = mapped_column(ForeignKey("diagnostic_report.id"))
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    key: Mapped[str]
    rank: Mapped[int]
    code: Mapped[str]
    text: Mapped[str]
    kind: Mapped[str]  # quantity, text, code, time, attachment
    value: Mapped[str | None]  # as sent: 4.60 stays 4.60
    value_sealed: Mapped[bytes | None]
    unit: Mapped[str]
    reference_range: Mapped[str]
    flag: Mapped[AbnormalFlag | None]
    flag_text: Mapped[str]  # OBX-8 as sent
    status: Mapped[ObservationStatus]
    observed_at: Mapped[datetime | None]
    note_sealed: Mapped[bytes | None]
    source: Mapped[str]
    as_of: Mapped[datetime]
    seq: Mapped[int] = mapped_column(InboxSeq)
    confirmed_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class MedicationRequest(Base):
    """A drug order or prescription (用药医嘱、处方). FHIR: MedicationRequest; HL7: ORC with RXE, RXC."""

    __tablename__ = "medication_request"
    __table_args__ = (
        Index("ix_medication_request_patient", "patient_id", "starts_on", "id"),
        Index("ix_medication_request_number", "patient_id", "number"),
        Index("ix_medication_request_ends", "ends_on", "id", sqlite_where=_ENDS, postgresql_where=_ENDS),
    )
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    encounter_id: Mapped[str | None] = mapped_column(ForeignKey("encounter.id"), index=True)
    number: Mapped[str]  # ORC-2, else ORC-3
    code: Mapped[str]
    text: Mapped[str]
    status: Mapped[OrderStatus]
    is_herbal: Mapped[bool]
    components: Mapped[list[Any]]  # code, text, amount, unit
    dose: Mapped[str]
    dose_unit: Mapped[str]
    route: Mapped[str]
    frequency: Mapped[str]
    quantity: Mapped[str]
    quantity_unit: Mapped[str]
    doses: Mapped[int | None]  # 剂数
    note_sealed: Mapped[bytes | None]
    starts_on: Mapped[date]
    ends_on: Mapped[date | None]  # last day of the course, as far as anybody said
    end_basis: Mapped[EndBasis | None]
    given_at: Mapped[datetime | None]  # last given, RAS
    source: Mapped[str]
    as_of: Mapped[datetime]
    seq: Mapped[int] = mapped_column(InboxSeq)
    confirmed_at: Mapped[datetime]
    provenance: Mapped[dict[str, Any]]
    ended_at: Mapped[datetime | None]


class ChargeItem(Base):
    """A line of the bill or the total of a cost class (费用). FHIR: ChargeItem; HL7: FT1. Money in 分."""

    __tablename__ = "charge_item"
    __table_args__ = (
        Index("ix_charge_item_patient", "patient_id", "charged_at", "id"),
        Index("ix_charge_item_number", "patient_id", "number"),
    )
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    encounter_id: Mapped[str | None] = mapped_column(ForeignKey("encounter.id"), index=True)
    number: Mapped[str]
    kind: Mapped[ChargeKind]
    code: Mapped[str]
    text: Mapped[str]
    cost_class: Mapped[str]
    is_total: Mapped[bool]  # of a class up to now, not a line
    quantity: Mapped[Decimal | None] = mapped_column(Numeric(18, 4))
    amount_fen: Mapped[int | None] = mapped_column(BigInteger)
    charged_at: Mapped[datetime]
    source: Mapped[str]
    as_of: Mapped[datetime]
    seq: Mapped[int] = mapped_column(InboxSeq)
    confirmed_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class DocumentReference(Base):
    """A document (病历文书). FHIR: DocumentReference; HL7: TXA with OBX. Text and content are sealed."""

    __tablename__ = "document_reference"
    __table_args__ = (
        Index("ix_document_reference_patient", "patient_id", "written_at", "id"),
        Index("ix_document_reference_number", "patient_id", "number"),
    )
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    encounter_id: Mapped[str | None] = mapped_column(ForeignKey("encounter.id"), index=True)
    number: Mapped[str]  # TXA-12
    kind: Mapped[str]  # TXA-2: DS discharge summary …
    title: Mapped[str]
    status: Mapped[DocumentStatus]
    author: Mapped[str]
    written_at: Mapped[datetime]
    replaces: Mapped[str | None]  # TXA-13 of a replacement
    media_type: Mapped[str]  # of the content; empty: text only
    size: Mapped[int]  # bytes of the content
    text_sealed: Mapped[bytes | None]
    content_sealed: Mapped[bytes | None]
    source: Mapped[str]
    as_of: Mapped[datetime]
    seq: Mapped[int] = mapped_column(InboxSeq)
    confirmed_at: Mapped[datetime]
    provenance: Mapped[dict[str, Any]]
    ended_at: Mapped[datetime | None]


class Appointment(Base):
    """A booking of another system (预约镜像). FHIR: Appointment; HL7: SCH with AIS, AIL, AIP."""

    __tablename__ = "appointment"
    __table_args__ = (
        Index("ix_appointment_patient", "patient_id", "starts_at", "id"),
        Index("ix_appointment_number", "patient_id", "number"),
        Index("ix_appointment_starts", "starts_at", "id", sqlite_where=_LIVE, postgresql_where=_LIVE),
    )
    id: Mapped[Id]
    patient_id: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    encounter_id: Mapped[str | None] = mapped_column(ForeignKey("encounter.id"), index=True)
    number: Mapped[str]  # SCH-1, else SCH-2
    status: Mapped[AppointmentStatus]
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    service: Mapped[str]
    department: Mapped[str]
    location: Mapped[str]
    practitioner: Mapped[str]  # staff number
    practitioner_name: Mapped[str]
    reason: Mapped[str]
    source: Mapped[str]
    as_of: Mapped[datetime]
    seq: Mapped[int] = mapped_column(InboxSeq)
    confirmed_at: Mapped[datetime]
    provenance: Mapped[dict[str, Any]]
    ended_at: Mapped[datetime | None]
