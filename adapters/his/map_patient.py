"""PID, NK1 and AL1 to a patient record. Pure: what cannot be read becomes a flag, an impossible birth date an error."""

import re
from datetime import date, datetime

from adapters.his.flags import Flags
from adapters.hl7v2 import (
    NULL,
    BadTime,
    Field,
    ImpossibleDate,
    Message,
    Moment,
    Segment,
    birth_date,
    is_zeros,
    latest_date,
    moment,
    not_ahead,
)
from hcrm.archive import records as r
from hcrm.archive.terms import DeceasedState, IdentifierKind, Sex
from hcrm.core.local_habits import MARITAL_CODES
from hcrm.core.sources import Source
from hcrm.core.text import clean_id_number, is_han, is_id_number, sent_name

_MOBILE = re.compile(r"(?:\+?86)?1\d{10}")
_ADDRESS_USE = {
    "H": "home",
    "RH": "registered",
    "O": "work",
    "B": "work",
    "C": "home",
    "BDL": "birth",
    "N": "birth",
}


def map_patient(
    message: Message, source: Source, authority: str, received_at: datetime, flags: Flags
) -> r.PatientRecord:
    """The patient of the message's first PID."""
    pid = message.segment("PID")
    birth = pid.value(7)
    died_at = read_moment(pid.text(29), source, "PID-29", flags)
    return r.PatientRecord(
        identifiers=map_identifiers(pid, source, authority, flags),
        name=person_name(pid.text(5, 1), pid.text(5, 2)) or None,
        sex=_sex(pid, source, flags),
        birth_date=r.NULL
        if birth is NULL
        else _birth_date(pid, source, latest_date(received_at, source.zoneinfo), flags),
        marital_status=_marital(pid, source, flags),
        deceased=_deceased(pid, died_at),
        deceased_at=died_at,
        contacts=_contacts(pid, 13),
        business_contacts=_contacts(pid, 14),
        addresses=_addresses(pid, message, source),
        related=_related(message),
        allergies=_allergies(message),
        mother=_mother(pid, source, authority),
        is_vip=_vip(message),
    )


def map_identifiers(
    pid: Segment, source: Source, authority: str, flags: list[str]
) -> tuple[r.IdentifierRecord, ...]:
    """PID-3 (and a citizen ID number in PID-19), best record number first."""
    found = read_identifiers(pid.repeats(3), source, authority)
    number = clean_id_number(pid.text(19))
    if is_id_number(number) and all(item.kind is not IdentifierKind.CITIZEN for item in found):
        found.append(r.IdentifierRecord(IdentifierKind.CITIZEN, "", "NI", number))
    return ranked(found, source, flags)


def read_identifiers(fields: list[Field], source: Source, authority: str) -> list[r.IdentifierRecord]:
    """CX repeats (HL7 2.9 section 2A.3.14); empty ones are skipped, types are the sender's own."""
    found = []
    meanings = source.identifier_meanings
    for cx in fields:
        value = cx.text(1)
        if not value or cx.is_null:
            continue
        kind_text = cx.text(5)
        meaning = meanings.get(kind_text)
        if kind_text and meaning == "record":
            kind = IdentifierKind.RECORD
        elif meaning == "citizen" or is_id_number(clean_id_number(value)):
            kind = IdentifierKind.CITIZEN  # sent without its type it must not lie in clear either
        elif meaning == "record":
            kind = IdentifierKind.RECORD
        else:
            kind = IdentifierKind.OTHER
        found.append(r.IdentifierRecord(kind, cx.text(4, 1) or cx.text(4, 2) or authority, kind_text, value))
    return found


def ranked(
    found: list[r.IdentifierRecord], source: Source, flags: list[str]
) -> tuple[r.IdentifierRecord, ...]:
    """Record numbers in the source's order; where no type is known as one, the first unknown serves and is flagged.

    A type the source's file knows as something else (a visit card) never does.
    """
    order = source.record_ranks
    if all(item.kind is not IdentifierKind.RECORD for item in found):
        for index, item in enumerate(found):
            if item.kind is IdentifierKind.OTHER and item.type not in source.identifier_meanings:
                found[index] = r.IdentifierRecord(
                    IdentifierKind.RECORD, item.authority, item.type, item.value
                )
                flags.append("number_type_unknown")
                break
    return tuple(
        sorted(found, key=lambda item: order.get(item.type, 98) if item.kind is IdentifierKind.RECORD else 99)
    )


def _mother(pid: Segment, source: Source, authority: str) -> tuple[r.IdentifierRecord, ...]:
    """PID-21, a newborn's mother; the flags of her number's type are not this patient's."""
    return ranked(read_identifiers(pid.repeats(21), source, authority), source, []) if pid.has(21) else ()


def _vip(message: Message) -> bool | None:
    """PV1-16 (HL7 table 0099): any word but one that says no."""
    sent = message.at("PV1-16")
    return sent.upper() not in ("N", "0", "NO", "否") if sent else None


def person_name(family: str, given: str) -> str:
    """Chinese names joined without a blank, a pinyin second part left out; others `family given`."""
    if is_han(family):
        return sent_name(family + given) if is_han(given) else sent_name(family)
    return sent_name(f"{family} {given}")


def read_moment(text: str, source: Source, place: str, flags: list[str]) -> datetime | None:
    """A moment in UTC, None where there is none; nonsense is flagged with its place."""
    flag_zeros(text, place, flags)
    try:
        found = moment(text, source.zoneinfo, source.dates)
    except BadTime:
        flags.append(f"bad_time:{place}")
        return None
    return found.at if found else None


def flag_zeros(text: str, place: str, flags: list[str]) -> None:
    """Note that a date of zeros stands there, which reads as empty."""
    if is_zeros(text):
        flags.append(f"empty_date:{place}")


def clamp(found: Moment, received_at: datetime, place: str, flags: list[str]) -> Moment:
    """The moment; where it runs ahead the receipt, flagged with its place."""
    kept = not_ahead(found, received_at)
    if kept is not found:
        flags.append(f"clock_ahead:{place}")
    return kept


def _birth_date(pid: Segment, source: Source, latest: date, flags: list[str]) -> date | None:
    flag_zeros(pid.text(7), "PID-7", flags)
    try:
        born = birth_date(pid.text(7), source.dates)
    except BadTime as error:
        raise ImpossibleDate("PID-7") from error
    if born and born > latest:
        raise ImpossibleDate("PID-7")
    return born


def _sex(pid: Segment, source: Source, flags: Flags) -> Sex | None:
    sent = pid.text(8)
    if not sent:
        return None
    word = source.sexes.get(sent) or source.sexes.get(sent[:1].upper())
    if word is None:
        flags.unmapped("PID-8", "sex", sent)
        return Sex.UNKNOWN
    return Sex(word)


def _marital(pid: Segment, source: Source, flags: Flags) -> str | r.Null | None:
    """PID-16 by the source's table, else as sent; a code that nobody understands waits to be mapped."""
    value = pid.value(16, 2) or pid.value(16, 1)
    if value is NULL:
        return r.NULL
    code = pid.text(16)
    mapped = source.marital_statuses.get(code)
    if mapped is None and value == code and code.isascii() and code not in ("", *MARITAL_CODES):
        flags.sight("marital_status", code)
    return mapped or value


def _deceased(pid: Segment, died_at: datetime | None) -> DeceasedState | None:
    """PID-30; where it says nothing, a time of death (PID-29) does."""
    if not pid.has(30):
        return DeceasedState.DECEASED if died_at else None
    return DeceasedState.DECEASED if pid.text(30).upper() in ("Y", "1", "YES", "是") else DeceasedState.ALIVE


def _contacts(pid: Segment, field: int) -> tuple[r.ContactRecord, ...] | None:
    """PID-13 home and PID-14 business: a list each, `""` empties it."""
    if not pid.has(field):
        return None
    return () if pid.is_null(field) else tuple(_contact(xtn, work=field == 14) for xtn in pid.repeats(field))


def _contact(xtn: Field, *, work: bool) -> r.ContactRecord:
    """XTN (section 2A.3.89): the number in .1, .7 or .12, the address of e-mail in .4."""
    kind, use = xtn.text(3).upper(), xtn.text(2).upper()
    mail = xtn.text(4)
    number = xtn.text(1) or xtn.text(12) or f"{xtn.text(6)}{xtn.text(7)}"
    if mail and "@" in mail and (kind in ("INTERNET", "X.400") or use == "NET" or not number):
        return r.ContactRecord("email", "work" if work else "home", mail)
    if work or use == "WPN":
        return r.ContactRecord("phone", "work", number)
    mobile = kind == "CP" or _MOBILE.fullmatch(number.replace(" ", "").replace("-", ""))
    return r.ContactRecord("phone", "mobile" if mobile else "home", number)


def _addresses(pid: Segment, message: Message, source: Source) -> tuple[r.AddressRecord, ...] | None:
    if not pid.has(11):
        return None
    if pid.is_null(11):
        return ()
    return tuple(_address(xad, message, source) for xad in pid.repeats(11) if xad)


def _address(xad: Field, message: Message, source: Source) -> r.AddressRecord:
    """XAD (section 2A.3.87): the whole text in .1 as Chinese senders do, or in its parts."""
    parts = [xad.text(4), xad.text(3), xad.text(1), xad.text(2)]
    han = any(is_han(part) for part in parts)
    text = (
        "".join(parts)
        if han
        else ", ".join(part for part in (parts[2], parts[3], parts[1], parts[0]) if part)
    )
    return r.AddressRecord(_ADDRESS_USE.get(xad.text(7).upper(), "home"), text, _region(xad, message, source))


def _region(xad: Field, message: Message, source: Source) -> str | None:
    for place in source.region_from:
        if place.startswith("PID-11."):
            code = xad.text(int(place.removeprefix("PID-11.")))
        else:
            code = message.at(place)
        if len(code) >= 6 and code[:6].isdigit():
            return code[:6]
    return None


def named_segments(segments: list[Segment], *fields: int) -> list[Segment] | None:
    """The segments of a list that name something in one of the fields; None where the message says nothing of it.

    Only an explicit null says that there are none (B24).
    """
    named = [one for one in segments if any(one.text(number) or one.text(number, 2) for number in fields)]
    return named if named or any(one.is_null(fields[0]) for one in segments) else None


def _related(message: Message) -> tuple[r.RelatedPersonRecord, ...] | None:
    segments = named_segments(message.segments("NK1"), 2)
    if segments is None:
        return None
    return tuple(
        r.RelatedPersonRecord(
            person_name(nk1.text(2, 1), nk1.text(2, 2)),
            nk1.text(3, 2) or nk1.text(3, 1),
            nk1.text(5) or nk1.text(5, 7),
        )
        for nk1 in segments
    )


def _allergies(message: Message) -> tuple[r.AllergyRecord, ...] | None:
    segments = named_segments(message.segments("AL1"), 3)
    if segments is None:
        return None
    return tuple(
        r.AllergyRecord(
            al1.text(2),
            al1.text(3),
            al1.text(3, 2) or al1.text(3),
            al1.text(4, 2) or al1.text(4),
            al1.text(5),
        )
        for al1 in segments
    )
