"""SIU^S12 to S17 and S26 to bookings (HL7 2.9 chapter 10): SCH with TQ1, AIS, AIL, AIP. Pure."""

from datetime import datetime, timedelta

from adapters.his.clinical_reading import Reading, coded, first, staff_name
from adapters.hl7v2 import Segment
from hcrm.archive.clinical.records import AppointmentRecord, ClinicalRecord
from hcrm.archive.clinical.terms import AppointmentStatus
from hcrm.archive.records import Unmapped

EVENTS = {
    "S12": AppointmentStatus.BOOKED, "S13": AppointmentStatus.BOOKED, "S14": AppointmentStatus.BOOKED,
    "S15": AppointmentStatus.CANCELLED, "S16": AppointmentStatus.CANCELLED, "S17": AppointmentStatus.ENTERED_IN_ERROR,
    "S26": AppointmentStatus.NO_SHOW,
}  # fmt: skip
"""What each trigger event makes of the booking."""
_FILLER = {
    "NOSHOW": AppointmentStatus.NO_SHOW, "CANCELLED": AppointmentStatus.CANCELLED, "DC": AppointmentStatus.CANCELLED,
    "DELETED": AppointmentStatus.ENTERED_IN_ERROR, "COMPLETE": AppointmentStatus.FULFILLED,
    "STARTED": AppointmentStatus.ARRIVED, "ARRIVED": AppointmentStatus.ARRIVED, "CHECKED-IN": AppointmentStatus.ARRIVED,
}  # fmt: skip
"""SCH-25 (HL7 table 0278) of a message that changes the booking."""
_MINUTES = {"S": 1 / 60, "SEC": 1 / 60, "H": 60, "HR": 60, "HOUR": 60, "小时": 60, "D": 1440}


def map_bookings(reading: Reading) -> ClinicalRecord | Unmapped:
    """The booking of the message."""
    message = reading.message
    sch = message.segment("SCH")
    number = first(sch.text(1), sch.text(2))
    if not number:
        return Unmapped("no_appointment_number", "SCH-1")
    status = EVENTS[message.at("MSH-9.2") or message.at("EVN-1")]
    if status is AppointmentStatus.BOOKED:
        status = _FILLER.get(sch.text(25).upper(), status)
    ais, ail, aip = message.segment("AIS"), message.segment("AIL"), message.segment("AIP")
    tq1 = message.segment("TQ1")
    starts_at = (
        reading.at(tq1, 7)
        or reading.at(ais, 4)
        or reading.at(sch, 11, 4)
        or reading.at(ail, 6)
        or reading.at(aip, 6)
    )
    service = coded(ais, 3)[1] or sch.text(8, 2) or sch.text(8)
    place = "-".join(part for part in (ail.text(3, 1), ail.text(3, 2), ail.text(3, 3)) if part)
    return ClinicalRecord(
        appointments=(
            AppointmentRecord(
                number=number,
                status=status,
                starts_at=starts_at,
                ends_at=reading.at(tq1, 8) or reading.at(sch, 11, 5) or _end(starts_at, ais, reading),
                service=service or None,
                department=_department(reading) or None,
                location=place or None,
                practitioner=aip.text(3) or None,
                practitioner_name=staff_name(aip, 3) or None,
                reason=first(sch.text(7, 2), sch.text(7), sch.text(6, 2)) or None,
            ),
        )
    )


def _end(starts_at: datetime | None, ais: Segment, reading: Reading) -> datetime | None:
    """By how long the service lasts; minutes where no unit is told."""
    length = reading.number(ais.text(7), "AIS-7")
    if starts_at is None or not length or length < 0:
        return None
    minutes = float(length) * _MINUTES.get(ais.text(8).upper(), 1)
    return starts_at + timedelta(minutes=minutes) if minutes <= 60 * 24 * 31 else None


def _department(reading: Reading) -> str:
    """Where the visit is to be: AIL-3.4 names the facility, so the point of care or the source's own position."""
    message, source = reading.message, reading.source
    names = [text for place in source.department_name_from if (text := message.at(place))]
    return first(*names, message.at("PV1-3.9"), message.at("AIL-3.9"))
