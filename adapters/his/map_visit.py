"""PV1, DG1 and PR1 to an encounter record. Pure: what cannot be read becomes a flag, an impossible stay an error."""

from datetime import datetime

from adapters.his.flags import Flags
from adapters.his.map_patient import clamp, flag_zeros, named_segments, person_name
from adapters.hl7v2 import BadTime, ImpossibleDate, Message, Segment, moment, parse_place
from hcrm.archive import records as r
from hcrm.archive.terms import DischargeWay, EncounterClass
from hcrm.core.code_systems import is_known_system
from hcrm.core.sources import Source

_FINAL_FIRST = ("F", "W", "A")
_HOUR = ("hour", "minute", "second")
_DAY = ("day", *_HOUR)


def map_encounter(
    message: Message, source: Source, authority: str, received_at: datetime, flags: Flags
) -> r.EncounterRecord:
    """The visit of the message's first PV1."""
    pv1 = message.segment("PV1")
    encounter_class, class_text = _class(pv1, source, flags)
    way, way_text = _discharge_way(pv1, source, flags)
    visit_authority, visit_no = visit_number(message, source)
    return r.EncounterRecord(
        authority=visit_authority or authority,
        visit_no=visit_no or None,
        account_no=_account(message, visit_no),
        encounter_class=encounter_class,
        class_text=class_text,
        department=_department(message, source, flags),
        attending=_attending(message, pv1, source),
        location=_location(message, pv1, source),
        admitted_at=_decisive_moment(pv1, 44, source, received_at, flags),
        discharged_at=_decisive_moment(pv1, 45, source, received_at, flags),
        discharge_way=way,
        discharge_way_text=way_text,
        payment_type=_payment(message, pv1),
        diagnoses=_diagnoses(message, source, flags),
        procedures=_procedures(message, source, flags),
    )


def visit_number(message: Message, source: Source) -> tuple[str, str]:
    """Authority and number of the first CX that is filled."""
    for place in source.visit_number_from:
        number = message.at(place)
        if number:
            return message.at(f"{place}.4"), number
    return "", ""


def _account(message: Message, visit_no: str) -> str | None:
    """PID-18, unless it is all the number the visit has."""
    account = message.at("PID-18")
    return account if account and account != visit_no else None


def _decisive_moment(
    pv1: Segment, field: int, source: Source, received_at: datetime, flags: list[str]
) -> datetime | None:
    place, text = f"PV1-{field}", pv1.text(field)
    flag_zeros(text, place, flags)
    try:
        found = moment(text, source.zoneinfo, source.dates)
    except BadTime as error:
        raise ImpossibleDate(place) from error
    return clamp(found, received_at, place, flags).at if found else None


def _class(pv1: Segment, source: Source, flags: Flags) -> tuple[EncounterClass | None, str | None]:
    sent = pv1.text(2)
    if not sent:
        return None, None
    word = source.classes.get(sent) or source.classes.get(sent.upper())
    if word is None:
        flags.unmapped("PV1-2", "class", sent)
        return EncounterClass.UNKNOWN, sent
    return EncounterClass(word), None


def _discharge_way(pv1: Segment, source: Source, flags: Flags) -> tuple[DischargeWay | None, str | None]:
    sent = pv1.text(36)
    if not sent:
        return None, None
    code = source.discharge_ways.get(sent)
    if code is None:
        flags.unmapped("PV1-36", "discharge_way", sent)
        return DischargeWay.UNKNOWN, sent
    return DischargeWay(code), pv1.text(36, 2) or None


def _payment(message: Message, pv1: Segment) -> str | None:
    """医疗付费方式 as sent: financial class of PV1-20, else plan type of IN1-15, else the plan of IN1-2."""
    in1 = message.segment("IN1")
    return pv1.text(20) or in1.text(15) or in1.text(2) or None


def _department(message: Message, source: Source, flags: Flags) -> r.DepartmentRecord | None:
    """The first place that is filled; a code that a table of the source's leaves out stands as it is, flagged."""
    found = ((place, text) for place in source.department_from if (text := message.at(place)))
    place, sent = next(found, ("", ""))
    if not sent:
        return None
    if source.departments and sent not in source.departments:
        flags.unmapped(place, "department", sent)
    name = next((text for place in source.department_name_from if (text := message.at(place))), "")
    facility = next((text for place in source.campus_from if (text := message.at(place))), "")
    return r.DepartmentRecord(
        source.departments.get(sent, sent), name, source.campuses.get(facility, facility)
    )


def _attending(message: Message, pv1: Segment, source: Source) -> r.PractitionerRecord | None:
    """XCN of PV1-7 or where the source has it: staff number, then the name in one or two parts."""
    for place in source.attending_from:
        name, field, part, _ = parse_place(place)
        segment = pv1 if name == "PV1" else message.segment(name)
        if code := segment.text(field, part):
            family, given = segment.text(field, part + 1), segment.text(field, part + 2)
            return r.PractitionerRecord(code, person_name(family, given))
    return None


def _location(message: Message, pv1: Segment, source: Source) -> str | None:
    """Ward, room and bed, as far as they are filled."""
    parts = []
    for place in source.location_from:
        name, field, part, sub = parse_place(place)
        segment = pv1 if name == "PV1" else message.segment(name)
        if text := segment.text(field, part, 1, sub):
            parts.append(text)
    return "-".join(parts) or None


def _diagnoses(message: Message, source: Source, flags: Flags) -> tuple[r.DiagnosisRecord, ...] | None:
    segments = named_segments(message.segments("DG1"), 3, 4)
    if segments is None:
        return None
    main = _main(segments)
    return tuple(
        r.DiagnosisRecord(
            code=dg1.text(3),
            text=dg1.text(3, 2) or dg1.text(4),
            system=_system(dg1, source, flags),
            kind=dg1.text(6),
            is_main=dg1 is main,
        )
        for dg1 in segments
    )


def _system(dg1: Segment, source: Source, flags: Flags) -> str:
    """DG1-3.3, else DG1-2, by the source's table, else as sent; a table nobody knows waits to be mapped."""
    sent = dg1.text(3, 3) or dg1.text(2)
    mapped = source.diagnosis_systems.get(sent)
    if mapped is None and sent and not is_known_system(sent):
        flags.sight("diagnosis_system", sent)
    return mapped or sent


def _main(segments: list[Segment]) -> Segment | None:
    """Priority 1 (DG1-15), else the first of the most final kind, else the first."""
    for dg1 in segments:
        if dg1.text(15) == "1":
            return dg1
    for kind in _FINAL_FIRST:
        for dg1 in segments:
            if dg1.text(6) == kind:
                return dg1
    return segments[0] if segments else None


def _procedures(message: Message, source: Source, flags: list[str]) -> tuple[r.ProcedureRecord, ...] | None:
    segments = named_segments(message.segments("PR1"), 3, 4)
    if segments is None:
        return None
    found = []
    for pr1 in segments:
        flag_zeros(pr1.text(5), "PR1-5", flags)
        try:
            when = moment(pr1.text(5), source.zoneinfo, source.dates)
        except BadTime:
            flags.append("bad_time:PR1-5")
            when = None
        day = when.at.astimezone(source.zoneinfo).date() if when and when.precision in _DAY else None
        exact = when.at if when and when.precision in _HOUR else None
        code, text = pr1.text(3), pr1.text(3, 2) or pr1.text(4)
        found.append(r.ProcedureRecord(code, text, pr1.text(3, 3), performed_at=exact, performed_on=day))
    return tuple(found)
