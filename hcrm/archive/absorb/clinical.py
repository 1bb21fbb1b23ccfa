"""The clinical side of absorbing: results, drug orders, charges, documents and bookings of one batch.

One rule for all: a message that is newer replaces what stands, whose old words stay as an ended row; one that is older
fills in what none after it has told and changes nothing else; one that says the same again changes nothing. The live
row keeps its id, so that a fact, a line of the timeline or a task that names it stays true.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from hcrm.archive.absorb.clinical_rows import CHANGED, NEW, LiveRows, Word, portions
from hcrm.archive.batch import Row, Rows
from hcrm.archive.clinical.lines import (
    appointment_line,
    document_line,
    medication_line,
    report_line,
)
from hcrm.archive.clinical.models import (
    Appointment,
    ChargeItem,
    DiagnosticReport,
    DocumentReference,
    MedicationRequest,
    Observation,
)
from hcrm.archive.clinical.records import (
    AppointmentRecord,
    ChargeRecord,
    ClinicalRecord,
    DocumentRecord,
    MedicationRecord,
    ObservationRecord,
    ReportRecord,
)
from hcrm.archive.clinical.terms import (
    ABNORMAL_FLAGS,
    CRITICAL_FLAGS,
    UNSETTLED,
    AppointmentStatus,
    DocumentStatus,
    ObservationStatus,
    OrderStatus,
    ReportCategory,
    ReportStatus,
)
from hcrm.archive.events import (
    AppointmentBooked,
    AppointmentCancelled,
    AppointmentChanged,
    AppointmentMissed,
    CourseEndNoted,
    CriticalResultReceived,
    CriticalResultWithdrawn,
)
from hcrm.archive.models import TimelineEntry
from hcrm.archive.records import Change
from hcrm.core.clock import local_date
from hcrm.core.work import Work

_TITLE = 200  # characters of a line of the timeline; names of things come from senders
_GONE = (ObservationStatus.ENTERED_IN_ERROR, ObservationStatus.CANCELLED)
_ENDED_BOOKINGS = (AppointmentStatus.CANCELLED, AppointmentStatus.ENTERED_IN_ERROR)


class ClinicalSide:
    """What hangs on patients beside their visits, for one batch."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.reports = LiveRows(work, DiagnosticReport)
        self.observations = LiveRows(work, Observation, owner="report_id", name="key")
        self.medications = LiveRows(work, MedicationRequest)
        self.charges = LiveRows(work, ChargeItem)
        self.documents = LiveRows(work, DocumentReference)
        self.appointments = LiveRows(work, Appointment)
        self.timeline = Rows(work, TimelineEntry, "patient_id")

    def gather(self, records: Sequence[ClinicalRecord], patient_ids: set[str]) -> None:
        """Load what these records may change, of the patients met; one query a table."""
        if not records or not patient_ids:
            return
        self.reports.gather(patient_ids, (one.number for record in records for one in record.reports))
        self.medications.gather(patient_ids, (one.number for record in records for one in record.medications))
        self.charges.gather(patient_ids, (one.number for record in records for one in record.charges))
        self.appointments.gather(
            patient_ids, (one.number for record in records for one in record.appointments)
        )
        documents = [one for record in records for one in record.documents]
        numbers = {number for one in documents for number in (one.number, one.replaces) if number}
        self.documents.gather(patient_ids, numbers)
        self.documents.gather(patient_ids, numbers, by="replaces")
        self.observations.gather_of([row["id"] for row in self.reports.rows.by_id.values()])
        told = [
            row["id"]
            for table in (self.reports, self.medications, self.documents, self.appointments)
            for row in table.live()
        ]
        for some in portions(told):
            self.timeline.load(TimelineEntry.id.in_(some))

    def apply(
        self, patient: Row, visit: Row | None, record: ClinicalRecord, change: Change, seq: int
    ) -> None:
        """Do what one message says."""
        word = Word(change, seq, patient["id"], visit)
        for report in record.reports:
            self._report(report, word)
        self._medications(record.medications, word)
        for charge in record.charges:
            self._charge(charge, word)
        for document in record.documents:
            self._document(document, word)
        for appointment in record.appointments:
            self._appointment(appointment, word)

    def write(self) -> None:
        """What others hang on goes first."""
        for table in (
            self.reports, self.observations, self.medications, self.charges, self.documents, self.appointments
        ):  # fmt: skip
            table.rows.write()
        self.timeline.write()

    # results
    def _report(self, record: ReportRecord, word: Word) -> None:
        values = {
            "text": record.text or None, "category": record.category, "status": record.status,
            "observed_at": record.observed_at, "issued_at": record.issued_at,
        }  # fmt: skip
        blank = {
            "text": record.code, "category": ReportCategory.OTHER, "observed_at": None, "issued_at": word.told_at,
            "note_sealed": None, "results": 0, "abnormal": 0, "is_critical": False,
        }  # fmt: skip
        live = self.reports.find(word.patient_id, record.number, record.code)
        row, _ = self.reports.put(
            live, word, values, blank, {"note_sealed": record.note},
            {"number": record.number, "code": record.code}, is_final=record.status not in UNSETTLED,
        )  # fmt: skip
        for observation in record.observations:
            self._observation(observation, row, word)
        self._count(row)
        self._tell(row, "result", report_line(row), row["issued_at"], "diagnostic_report")

    def _observation(self, record: ObservationRecord, report: Row, word: Word) -> None:
        live = self.observations.find(report["id"], record.key)
        was_critical = live is not None and _is_critical(live)
        told = "value_sealed" if record.is_narrative else "value"
        secrets: dict[str, str | None] = {"note_sealed": record.note}
        values: Row = {"status": record.status, "text": record.text or record.code, "code": record.code}
        if not (record.is_status_only and live is not None):
            values |= {
                "kind": record.kind, "value": None, "unit": record.unit, "reference_range": record.reference_range,
                "flag": record.flag, "flag_text": record.flag_text, "observed_at": record.observed_at,
            }  # fmt: skip
            secrets["value_sealed"] = ""
            if told == "value":
                values["value"] = record.value
            else:
                secrets["value_sealed"] = record.value
        blank = {
            "patient_id": word.patient_id, "rank": record.rank, "value_sealed": None, "note_sealed": None,
        }  # fmt: skip
        row, verdict = self.observations.put(
            live, word, values, blank, secrets, {"key": record.key},
            is_final=record.status not in UNSETTLED, owner=report["id"], is_whole=True,
        )  # fmt: skip
        if verdict not in (NEW, CHANGED):
            return
        if _is_critical(row):
            self.work.emit(CriticalResultReceived(report_id=report["id"], observation_id=row["id"]))
        elif was_critical:
            self.work.emit(CriticalResultWithdrawn(report_id=report["id"], observation_id=row["id"]))

    def _count(self, report: Row) -> None:
        """What the report's results come to; one that is void has none."""
        is_void = report["status"] == ReportStatus.CANCELLED
        standing = [
            row for row in self.observations.of(report["id"]) if not is_void and row["status"] not in _GONE
        ]
        if is_void:
            for row in self.observations.of(report["id"]):
                if _is_critical(row) and report["is_critical"]:
                    self.work.emit(CriticalResultWithdrawn(report_id=report["id"], observation_id=row["id"]))
        self.reports.rows.change(
            report,
            results=len(standing),
            abnormal=sum(row["flag"] in ABNORMAL_FLAGS for row in standing),
            is_critical=any(map(_is_critical, standing)),
        )

    # drug orders
    def _medications(self, records: Sequence[MedicationRecord], word: Word) -> None:
        """The orders of one message are one line of the timeline, under the first of them."""
        touched: list[Row] = []
        is_news = False
        for record in records:
            for live, code in self._orders_meant(record, word):
                row, verdict = self._medication(record, live, code, word)
                touched.append(row)
                is_news = is_news or verdict == NEW
        if touched and (is_news or touched[0]["id"] in self.timeline.by_id):
            first = touched[0]
            self._tell(
                first, "order", medication_line(touched), _first_told(first, word), "medication_request"
            )

    def _orders_meant(self, record: MedicationRecord, word: Word) -> list[tuple[Row | None, str]]:
        """The order of that number and drug; without a drug every order of that number."""
        if record.code:
            return [(self.medications.find(word.patient_id, record.number, record.code), record.code)]
        found = self.medications.numbered(word.patient_id, record.number)
        return [(row, row["code"]) for row in found] or [(None, "")]

    def _medication(
        self, record: MedicationRecord, live: Row | None, code: str, word: Word
    ) -> tuple[Row, str]:
        names = (
            "text", "status", "is_herbal", "dose", "dose_unit", "route", "frequency", "quantity", "quantity_unit",
            "doses", "starts_on", "ends_on", "end_basis",
        )  # fmt: skip
        values = {name: getattr(record, name) for name in names}
        values["components"] = None if record.components is None else [dict(one) for one in record.components]
        blank: Row = {
            **dict.fromkeys(("dose", "dose_unit", "route", "frequency", "quantity", "quantity_unit"), ""),
            "text": code, "status": OrderStatus.ACTIVE, "is_herbal": False, "components": [], "doses": None,
            "starts_on": local_date(word.told_at), "ends_on": None, "end_basis": None, "note_sealed": None,
            "given_at": None,
        }  # fmt: skip
        before = _course(live)
        row, verdict = self.medications.put(
            live, word, values, blank, {"note_sealed": record.note}, {"number": record.number, "code": code}
        )
        if record.given_at and (row["given_at"] is None or row["given_at"] < record.given_at):
            self.medications.rows.change(row, given_at=record.given_at)
        after = _course(row)
        if after != before and (before or after):
            self.work.emit(CourseEndNoted(medication_request_id=row["id"]))
        return row, verdict

    # charges, documents, bookings
    def _charge(self, record: ChargeRecord, word: Word) -> None:
        names = ("kind", "code", "text", "cost_class", "is_total", "quantity", "amount_fen", "charged_at")
        values = {name: getattr(record, name) for name in names}
        live = self.charges.find(word.patient_id, record.number)
        values["charged_at"] = record.charged_at or word.told_at
        self.charges.put(live, word, values, {}, {}, {"number": record.number}, is_whole=True)

    def _document(self, record: DocumentRecord, word: Word) -> None:
        live = self.documents.find(word.patient_id, record.number)
        status = record.status
        if status is not DocumentStatus.CANCELLED and self.documents.replacing(
            word.patient_id, record.number
        ):
            status = DocumentStatus.SUPERSEDED  # its replacement came first
        values = {
            "kind": record.kind or None, "title": record.title or None, "status": status, "author": record.author,
            "written_at": record.written_at, "replaces": record.replaces, "media_type": record.media_type,
            "size": None if record.content is None else len(record.content),
        }  # fmt: skip
        blank = {
            "kind": "", "title": "", "author": "", "written_at": word.told_at, "replaces": None, "media_type": "",
            "size": 0, "text_sealed": None, "content_sealed": None,
        }  # fmt: skip
        row, _ = self.documents.put(
            live, word, values, blank, {"text_sealed": record.text, "content_sealed": record.content},
            {"number": record.number},
        )  # fmt: skip
        if record.replaces:
            replaced = self.documents.find(word.patient_id, record.replaces)
            if replaced is not None and replaced["status"] != DocumentStatus.CANCELLED:
                self.documents.rows.change(replaced, status=DocumentStatus.SUPERSEDED)
                self._tell(
                    replaced,
                    "document",
                    document_line(replaced),
                    replaced["written_at"],
                    "document_reference",
                )
        self._tell(row, "document", document_line(row), row["written_at"], "document_reference")

    def _appointment(self, record: AppointmentRecord, word: Word) -> None:
        names = (
            "status", "starts_at", "ends_at", "service", "department", "location", "practitioner",
            "practitioner_name", "reason",
        )  # fmt: skip
        values = {name: getattr(record, name) for name in names}
        texts = ("service", "department", "location", "practitioner", "practitioner_name", "reason")
        blank = {**dict.fromkeys(texts, ""), "starts_at": None, "ends_at": None}
        live = self.appointments.find(word.patient_id, record.number)
        before = (live["status"], live["starts_at"]) if live else None
        row, verdict = self.appointments.put(live, word, values, blank, {}, {"number": record.number})
        if verdict in (NEW, CHANGED):
            self._announce(row, before)
        at = row["starts_at"] or word.told_at
        self._tell(row, "booking", appointment_line(row), at, "appointment")

    def _announce(self, row: Row, before: tuple[Any, Any] | None) -> None:
        status = row["status"]
        was = before[0] if before else None
        if status in _ENDED_BOOKINGS:
            if was not in _ENDED_BOOKINGS:
                self.work.emit(AppointmentCancelled(appointment_id=row["id"]))
        elif status == AppointmentStatus.NO_SHOW:
            if was != status:
                self.work.emit(AppointmentMissed(appointment_id=row["id"]))
        elif before is None:
            self.work.emit(AppointmentBooked(appointment_id=row["id"]))
        else:
            self.work.emit(AppointmentChanged(appointment_id=row["id"]))

    def _tell(self, row: Row, kind: str, title: str, at: datetime, subject: str) -> None:
        """The one line of the timeline about this, under its own key; later words change the line."""
        values = {"happened_at": at, "title": title[:_TITLE], "encounter_id": row["encounter_id"]}
        entry = self.timeline.by_id.get(row["id"])
        if entry is not None:
            self.timeline.change(entry, **values)
            return
        self.timeline.add(
            id=row["id"], patient_id=row["patient_id"], kind=kind, subject_type=subject, subject_id=row["id"],
            **values,
        )  # fmt: skip


def _is_critical(row: Row) -> bool:
    return row["flag"] in CRITICAL_FLAGS and row["status"] not in _GONE


def _course(row: Row | None) -> tuple[Any, Any] | None:
    """The course's end with the order's state, where it has one."""
    return (row["ends_on"], row["status"]) if row and row["ends_on"] else None


def _first_told(row: Row, word: Word) -> datetime:
    """When it was told; an order has no hour."""
    as_of: datetime = row["as_of"]
    return min(as_of, word.told_at)
