"""Tabs of the patient page for what other systems tell: results, drugs, charges, documents, bookings.

The view came through `archive.queries.get_patient`. What hangs on a stay is shown to whom the stay is, the rest to
everyone who sees the patient (`archive.scope.scope_by_stay`). Rows that were replaced are not shown.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import defer

from hcrm.archive.clinical.lines import DOCUMENT_KINDS
from hcrm.archive.clinical.models import (
    Appointment,
    ChargeItem,
    DiagnosticReport,
    DocumentReference,
    MedicationRequest,
    Observation,
)
from hcrm.archive.clinical.terms import (
    ABNORMAL_FLAGS,
    CRITICAL_FLAGS,
    AbnormalFlag,
    AppointmentStatus,
    ChargeKind,
    DocumentStatus,
    ObservationStatus,
    OrderStatus,
    ReportStatus,
)
from hcrm.archive.scope import scope_by_stay
from hcrm.archive.visit_models import Encounter
from hcrm.core.clock import local_date
from hcrm.core.errors import NotFoundError
from hcrm.core.work import Work
from hcrm.web.paging import Page, keyset_page

_REPORTS = 20  # on a page: each brings its results
_DOCUMENTS = 20
BILLS_SHOWN = 10
"""Visits whose sums stand above the lines; earlier ones are in the sums of the years."""
_SHOWN = 20_000  # characters of a text on the page; all of a document's is in its download

REPORT_TONES = {
    ReportStatus.REGISTERED: "open", ReportStatus.PARTIAL: "work", ReportStatus.PRELIMINARY: "work",
    ReportStatus.FINAL: "done", ReportStatus.CORRECTED: "near", ReportStatus.CANCELLED: "off",
}  # fmt: skip
ORDER_TONES = {
    OrderStatus.ACTIVE: "work", OrderStatus.ON_HOLD: "near", OrderStatus.COMPLETED: "done",
    OrderStatus.STOPPED: "off", OrderStatus.CANCELLED: "off",
}  # fmt: skip
DOCUMENT_TONES = {
    DocumentStatus.PRELIMINARY: "work", DocumentStatus.FINAL: "done", DocumentStatus.SUPERSEDED: "off",
    DocumentStatus.CANCELLED: "off",
}  # fmt: skip
APPOINTMENT_TONES = {
    AppointmentStatus.BOOKED: "open", AppointmentStatus.ARRIVED: "work", AppointmentStatus.FULFILLED: "done",
    AppointmentStatus.CANCELLED: "off", AppointmentStatus.NO_SHOW: "late", AppointmentStatus.ENTERED_IN_ERROR: "off",
}  # fmt: skip
"""How each state looks."""


@dataclass(frozen=True, slots=True)
class Result:
    """One result in words."""

    row: Observation
    value: str
    note: str

    @property
    def tone(self) -> str:
        """How its flag looks; empty: as any value."""
        if self.row.status is ObservationStatus.ENTERED_IN_ERROR or self.row.flag not in ABNORMAL_FLAGS:
            return ""
        return "late" if self.row.flag in CRITICAL_FLAGS else "near"

    @property
    def flag_words(self) -> str:
        """What the laboratory says of it; nothing for a normal value."""
        flag = self.row.flag
        if flag is AbnormalFlag.UNKNOWN:
            return self.row.flag_text
        return flag.label if flag in ABNORMAL_FLAGS else ""


@dataclass(frozen=True, slots=True)
class ReportWithResults:
    """A report and what stands in it."""

    row: DiagnosticReport
    note: str
    values: Sequence[Result]  # numbers and codes
    texts: Sequence[Result]  # narrative


@dataclass(frozen=True, slots=True)
class Order:
    """A drug order with its note opened."""

    row: MedicationRequest
    note: str
    is_over: bool  # its course has ended, though nobody has said so


@dataclass(frozen=True, slots=True)
class Booking:
    """A booking, and whether its time has passed without a word of what became of it."""

    row: Appointment
    is_past: bool


@dataclass(frozen=True, slots=True)
class Document:
    """A document with its text opened."""

    row: DocumentReference
    title: str
    text: str
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Bill:
    """What a stay has cost, by class; `encounter` None: charges that name no stay we know."""

    encounter: Encounter | None
    classes: Sequence[tuple[str, int]]  # 分

    @property
    def total_fen(self) -> int:
        """All classes."""
        return sum(amount for _, amount in self.classes)


@dataclass(frozen=True, slots=True)
class Charges(Page[ChargeItem]):
    """A page of lines, and on the first one what they come to."""

    bills: Sequence[Bill] = ()
    years: Sequence[tuple[int | None, int]] = ()  # year of the visit's begin, 分; None: no visit


def list_results(work: Work, *, patient_id: str, key: str | None = None) -> Page[ReportWithResults]:
    """Reports, the latest first, each with its results."""
    page = keyset_page(
        work, _of_patient(work, DiagnosticReport, patient_id),
        order=[DiagnosticReport.issued_at.desc(), DiagnosticReport.id.desc()], key=key, size=_REPORTS,
    )  # fmt: skip
    found: dict[str, list[Result]] = defaultdict(list)
    if page.items:
        rows = work.scalars(
            sa.select(Observation)
            .where(Observation.report_id.in_([row.id for row in page.items]), Observation.ended_at.is_(None))
            .order_by(Observation.report_id, Observation.rank, Observation.id)
        )
        for row in rows:
            value = row.value or "" if row.value_sealed is None else _opened(work, row.value_sealed)
            found[row.report_id].append(Result(row, value[:_SHOWN], _opened(work, row.note_sealed)))
    reports = [
        ReportWithResults(
            row, _opened(work, row.note_sealed),
            [one for one in found[row.id] if not _is_text(one)], [one for one in found[row.id] if _is_text(one)],
        )
        for row in page.items
    ]  # fmt: skip
    return Page(reports, page.next_key, page.previous_key)


def _is_text(result: Result) -> bool:
    return result.row.value_sealed is not None or len(result.value) > 60


def list_medications(work: Work, *, patient_id: str, key: str | None = None) -> Page[Order]:
    """Drug orders and prescriptions, the latest first."""
    page = keyset_page(
        work, _of_patient(work, MedicationRequest, patient_id),
        order=[MedicationRequest.starts_on.desc(), MedicationRequest.id.desc()], key=key,
    )  # fmt: skip
    today = local_date(work.clock.now())
    orders = [
        Order(
            row,
            _opened(work, row.note_sealed),
            row.status is OrderStatus.ACTIVE and row.ends_on is not None and row.ends_on < today,
        )
        for row in page.items
    ]
    return Page(orders, page.next_key, page.previous_key)


def list_charges(work: Work, *, patient_id: str, key: str | None = None) -> Charges:
    """Lines of the bills, the latest first; before them what each stay comes to."""
    page = keyset_page(
        work, _of_patient(work, ChargeItem, patient_id),
        order=[ChargeItem.charged_at.desc(), ChargeItem.id.desc()], key=key,
    )  # fmt: skip
    bills = () if page.previous_key else _bills(work, patient_id)
    return Charges(page.items, page.next_key, page.previous_key, bills, _by_year(bills))


def _by_year(bills: Sequence[Bill]) -> list[tuple[int | None, int]]:
    """What each year's visits come to, the latest first."""
    sums: dict[int | None, int] = defaultdict(int)
    for bill in bills:
        stay = bill.encounter
        year = local_date(stay.admitted_at or stay.created_at).year if stay else None
        sums[year] += bill.total_fen
    return sorted(sums.items(), key=lambda one: one[0] or 0, reverse=True)


def _bills(work: Work, patient_id: str) -> list[Bill]:
    """By stay and cost class; a stay whose sender tells totals is not summed with its lines."""
    amount = sa.func.sum(ChargeItem.amount_fen)
    columns: list[Any] = [
        ChargeItem.encounter_id,
        ChargeItem.cost_class,
        ChargeItem.is_total,
        amount.label("fen"),
    ]
    statement = (
        sa.select(*columns)
        .where(
            ChargeItem.patient_id == patient_id,
            ChargeItem.ended_at.is_(None),
            ChargeItem.kind != ChargeKind.PAYMENT,
        )
        .group_by(ChargeItem.encounter_id, ChargeItem.cost_class, ChargeItem.is_total)
    )
    rows = work.execute(scope_by_stay(statement, ChargeItem.encounter_id, work.actor)).all()
    totalled = {row.encounter_id for row in rows if row.is_total}
    by_stay: dict[str | None, list[tuple[str, int]]] = defaultdict(list)
    for row in rows:
        if row.is_total or row.encounter_id not in totalled:
            by_stay[row.encounter_id].append((row.cost_class or "未分类", int(row.fen or 0)))
    ids = [stay for stay in by_stay if stay]
    stays = (
        {row.id: row for row in work.scalars(sa.select(Encounter).where(Encounter.id.in_(ids)))}
        if ids
        else {}
    )
    bills = [
        Bill(stays.get(stay or ""), sorted(classes, key=lambda one: -one[1]))
        for stay, classes in by_stay.items()
    ]
    return sorted(bills, key=_begun, reverse=True)


def _begun(bill: Bill) -> str:
    stay = bill.encounter
    return (stay.admitted_at or stay.created_at).isoformat() if stay else ""


def list_documents(work: Work, *, patient_id: str, key: str | None = None) -> Page[Document]:
    """Documents, the latest first, with their text."""
    statement = _of_patient(work, DocumentReference, patient_id).options(
        defer(DocumentReference.content_sealed)
    )
    page = keyset_page(
        work, statement,
        order=[DocumentReference.written_at.desc(), DocumentReference.id.desc()], key=key, size=_DOCUMENTS,
    )  # fmt: skip
    documents = []
    for row in page.items:
        text = _opened(work, row.text_sealed)
        title = row.title or DOCUMENT_KINDS.get(row.kind, "") or row.kind or "未命名"
        documents.append(Document(row, title, text[:_SHOWN], len(text) > _SHOWN))
    return Page(documents, page.next_key, page.previous_key)


def document_content(work: Work, *, patient_id: str, document_id: str) -> tuple[bytes, str]:
    """The file of a document, or its text where it came as text; with its media type."""
    row = work.scalar(
        _of_patient(work, DocumentReference, patient_id).where(DocumentReference.id == document_id)
    )
    if row is None:
        raise NotFoundError
    if row.content_sealed is not None:
        return work.keys.open(row.content_sealed), row.media_type
    return _opened(work, row.text_sealed).encode(), "text/plain"


def list_appointments(work: Work, *, patient_id: str, key: str | None = None) -> Page[Booking]:
    """Bookings, the latest first, those to come before them."""
    at = sa.func.coalesce(Appointment.starts_at, Appointment.as_of)
    page = keyset_page(
        work, _of_patient(work, Appointment, patient_id), order=[at.desc(), Appointment.id.desc()], key=key
    )
    now = work.clock.now()
    items = [
        Booking(row, row.status is AppointmentStatus.BOOKED and (row.ends_at or row.starts_at or now) < now)
        for row in page.items
    ]
    return Page(items, page.next_key, page.previous_key)


def yuan(fen: int | None) -> str:
    """Money as people write it: 1,234.50; never through a float."""
    if fen is None:
        return "—"
    whole, part = divmod(abs(fen), 100)
    return f"{'-' if fen < 0 else ''}{whole:,}.{part:02d}"


def _of_patient(work: Work, model: Any, patient_id: str) -> sa.Select[Any]:
    statement = sa.select(model).where(model.patient_id == patient_id, model.ended_at.is_(None))
    return scope_by_stay(statement, model.encounter_id, work.actor)


def _opened(work: Work, sealed: bytes | None) -> str:
    return work.keys.open_text(sealed) if sealed else ""
