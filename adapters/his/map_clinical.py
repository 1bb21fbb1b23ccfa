"""Clinical, booking and staff messages to changes: one table of events, a reader each. Pure: no database, no clock.

They name a visit and never alter it: a laboratory's PV1 is a copy of a copy. So of PV1 only the number is taken; what
came before the visit waits for it by that number.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from adapters.his.clinical_reading import Reading
from adapters.his.flags import Flags
from adapters.his.map_bookings import EVENTS as BOOKING_EVENTS
from adapters.his.map_bookings import map_bookings
from adapters.his.map_charges import map_charges
from adapters.his.map_documents import map_documents
from adapters.his.map_orders import map_orders
from adapters.his.map_patient import map_patient
from adapters.his.map_results import map_results
from adapters.his.map_staff import map_staff
from adapters.his.map_visit import visit_number
from adapters.hl7v2 import Message
from hcrm.archive import records as r
from hcrm.archive.clinical.records import ClinicalRecord
from hcrm.core import limits
from hcrm.core.sources import Source

Reader = Callable[[Reading], ClinicalRecord | r.Unmapped]
CLINICAL_EVENTS: Mapping[tuple[str, str], Reader] = {
    ("ORU", "R01"): map_results,
    ("OUL", "R21"): map_results,
    ("OUL", "R22"): map_results,
    ("OUL", "R23"): map_results,
    ("OUL", "R24"): map_results,
    ("RDE", "O11"): map_orders,
    ("RDE", "O01"): map_orders,  # its name before 2.4
    ("OMP", "O09"): map_orders,
    ("RAS", "O17"): map_orders,
    ("RAS", "O01"): map_orders,
    ("DFT", "P03"): map_charges,
    ("MDM", "T02"): map_documents,
    ("MDM", "T08"): map_documents,
    ("MDM", "T10"): map_documents,
    ("MDM", "T11"): map_documents,
    **{("SIU", event): map_bookings for event in BOOKING_EVENTS},
}
"""Type and trigger event: its reader."""
STAFF_EVENTS = frozenset({("MFN", "M02")})
_COUNTED = ("OBX", "NTE", "FT1", "RXC", "RXE", "ORC", "OBR", "MFE")


def is_clinical(kind: str, event: str) -> bool:
    """Whether this table has a reader for it."""
    return (kind, event) in CLINICAL_EVENTS or (kind, event) in STAFF_EVENTS


def map_clinical(
    message: Message,
    kind: tuple[str, str],
    source: Source,
    authority: str,
    received_at: datetime,
    clocks: tuple[datetime, datetime],
    flags: Flags,
) -> r.Change | r.Unmapped:
    """A message of the table as a change; `clocks` are those of the demographics and of the message."""
    as_of, told_at = clocks
    if sum(map(message.count, _COUNTED)) > limits.MAX_CLINICAL_ROWS:
        return r.Unmapped("budget", next(name for name in _COUNTED if message.count(name)))
    reading = Reading(message, source, told_at, flags)
    if kind in STAFF_EVENTS:
        staff = map_staff(reading)
        if isinstance(staff, r.Unmapped):
            return staff
        if too_long := _too_long((("STF-1", one.code), ("STF-8", one.department_code)) for one in staff):
            return r.Unmapped("budget", too_long)
        return r.Change(
            source.code,
            as_of,
            told_at,
            staff=staff,
            flags=tuple(dict.fromkeys(flags)),
            unmapped=tuple(flags.codes),
        )
    if not message.segment("PID"):
        return r.Unmapped("no_pid", "PID")
    if message.count("PID") > 1:
        return r.Unmapped("several_patients", "PID")  # whose is which is told by position alone
    patient = map_patient(message, source, authority, received_at, flags)
    if not any(item.value for item in patient.identifiers):
        return r.Unmapped("no_patient_number", "PID-3")
    clinical = CLINICAL_EVENTS[kind](reading)
    if isinstance(clinical, r.Unmapped):
        return clinical
    visit_authority, visit_no = visit_number(message, source)
    keys: list[list[tuple[str, str | None]]] = [
        [("PID-3", one.value), ("PID-3", one.authority), ("PID-3", one.type)] for one in patient.identifiers
    ]
    keys.append([("PID-5", patient.name), ("PV1-19", visit_no), ("PV1-19", visit_authority)])
    if too_long := _too_long([*keys, *_keys(clinical)]):
        return r.Unmapped("budget", too_long)
    if len(keys) > limits.MAX_KEYS:
        return r.Unmapped("budget", "PID-3")
    encounter = None
    if visit_no or message.segment("PV1"):
        encounter = r.EncounterRecord(visit_authority or authority, visit_no or None)
    return r.Change(
        source.code, as_of, told_at, patient=patient, encounter=encounter, clinical=clinical,
        flags=tuple(dict.fromkeys(flags)), unmapped=tuple(flags.codes),
    )  # fmt: skip


def _keys(clinical: ClinicalRecord) -> Iterator[Sequence[tuple[str, str | None]]]:
    """What is indexed, with its place."""
    for report in clinical.reports:
        yield ("OBR-3", report.number), ("OBR-4", report.code)
        yield from ((("OBX-3", one.key),) for one in report.observations)
    for order in clinical.medications:
        yield ("ORC-2", order.number), ("RXE-2", order.code)
    for charge in clinical.charges:
        yield ("FT1-2", charge.number), ("FT1-7", charge.cost_class)
    for document in clinical.documents:
        yield ("TXA-12", document.number), ("TXA-13", document.replaces)
    for booking in clinical.appointments:
        yield (("SCH-1", booking.number),)


def _too_long(keys: Iterable[Iterable[tuple[str, str | None]]]) -> str:
    """The place of a key longer than any register gives out; PostgreSQL refuses to index a third of a page."""
    return next(
        (place for group in keys for place, text in group if len(text or "") > limits.MAX_KEY_LENGTH), ""
    )
