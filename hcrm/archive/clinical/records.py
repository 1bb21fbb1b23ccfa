"""What adapters hand over of results, drug orders, charges, documents, bookings and staff. Pure: no HL7 in them.

`None` means that the sender said nothing: what stands is kept. `number` is the sender's own number of the thing; with
the code, where there is one, it says whether a message tells of something new or of something known.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

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


@dataclass(frozen=True, slots=True)
class ObservationRecord:
    """One result of a report. `key` names it within the report: code, part, and which of several that are alike."""

    key: str
    rank: int
    code: str
    text: str
    kind: str  # quantity, text, code, time, attachment
    value: str
    unit: str = ""
    reference_range: str = ""
    flag: AbnormalFlag | None = None
    flag_text: str = ""
    status: ObservationStatus = ObservationStatus.FINAL
    observed_at: datetime | None = None
    note: str = ""
    is_narrative: bool = False  # free text that may name a person: sealed
    is_status_only: bool = False  # the value was told before and is not told again


@dataclass(frozen=True, slots=True)
class ReportRecord:
    """A report with the results it holds in this message."""

    number: str
    code: str
    text: str
    status: ReportStatus
    category: ReportCategory | None = None
    observed_at: datetime | None = None
    issued_at: datetime | None = None
    note: str | None = None
    observations: tuple[ObservationRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class MedicationRecord:
    """A drug order or a prescription of several; `code` empty: every order of that number (a cancellation)."""

    number: str
    code: str
    text: str | None = None
    status: OrderStatus | None = None
    is_herbal: bool | None = None
    components: tuple[Mapping[str, Any], ...] | None = None  # code, text, amount, unit
    dose: str | None = None
    dose_unit: str | None = None
    route: str | None = None
    frequency: str | None = None
    quantity: str | None = None
    quantity_unit: str | None = None
    doses: int | None = None  # 剂数
    note: str | None = None
    starts_on: date | None = None
    ends_on: date | None = None
    end_basis: EndBasis | None = None
    given_at: datetime | None = None  # last given, RAS


@dataclass(frozen=True, slots=True)
class ChargeRecord:
    """A line of the bill, or the total of a cost class. Money in 分."""

    number: str
    kind: ChargeKind
    code: str
    text: str
    cost_class: str
    is_total: bool
    quantity: Decimal | None = None
    amount_fen: int | None = None
    charged_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    """A document: its text for people, its content where it came as a file."""

    number: str
    kind: str
    title: str
    status: DocumentStatus
    text: str | None = None
    content: bytes | None = None
    media_type: str | None = None
    author: str | None = None
    written_at: datetime | None = None
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class AppointmentRecord:
    """A booking kept elsewhere (预约镜像)."""

    number: str
    status: AppointmentStatus
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    service: str | None = None
    department: str | None = None
    location: str | None = None
    practitioner: str | None = None
    practitioner_name: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class StaffRecord:
    """A practitioner of the sender's staff list; `is_active` None: not told."""

    code: str
    name: str | None = None
    title: str | None = None
    department_code: str | None = None
    department_name: str | None = None
    is_active: bool | None = None


@dataclass(frozen=True, slots=True)
class ClinicalRecord:
    """What one message tells beside the patient and the visit."""

    reports: tuple[ReportRecord, ...] = ()
    medications: tuple[MedicationRecord, ...] = ()
    charges: tuple[ChargeRecord, ...] = ()
    documents: tuple[DocumentRecord, ...] = ()
    appointments: tuple[AppointmentRecord, ...] = ()
