"""HL7 v2 messages to changes of the archive: one table of events, one line each. Pure: no database, no clock.

Clocks as the truth table has them: demographics by EVN-2 else MSH-7, the visit by EVN-6 else EVN-2 else MSH-7,
reversals by MSH-7. Where a sender's clock runs more than ten minutes ahead the receipt stands instead (B50), as it does
for admission and discharge; one that cannot be read is flagged and the next one counts (B49). An impossible date that
decides something parks the message: admission, discharge, birth, or every clock there is.
"""

from dataclasses import replace
from datetime import datetime, tzinfo

from adapters.his.map_patient import clamp, flag_zeros, map_patient, ranked, read_identifiers
from adapters.his.map_visit import map_encounter, visit_number
from adapters.hl7v2 import (
    BadTime,
    CharsetError,
    Header,
    ImpossibleDate,
    Message,
    Moment,
    decode,
    moment,
    read_header,
    read_message,
)
from hcrm.archive import records as r
from hcrm.archive.terms import DeceasedState, DischargeWay, IdentifierKind, VisitEventKind
from hcrm.core import limits
from hcrm.core.sources import Source, Sources

EVENTS: dict[str, VisitEventKind | None] = {
    "A01": VisitEventKind.ADMIT,
    "A03": VisitEventKind.DISCHARGE,
    "A04": VisitEventKind.REGISTER,
    "A08": None,  # update: never opens, closes or moves a visit
    "A11": VisitEventKind.CANCEL_ADMIT,
    "A13": VisitEventKind.CANCEL_DISCHARGE,
}
"""ADT events that speak of a visit, and what they do to it."""
PERSON_EVENTS = frozenset({"A28", "A31"})
MERGE_EVENTS = frozenset({"A40"})
_BATCH_SEGMENTS = ("BHS", "FHS", "BTS", "FTS")


def map_message(raw: bytes, sources: Sources, received_at: datetime) -> r.Mapped:
    """One received message; what it cannot become is said with segment and field."""
    header = read_header(raw)
    if header is None:
        return r.Mapped("", r.Unmapped("no_msh", "MSH"))
    source = sources.find(header.sender, header.facility) or sources.default
    try:
        text, flags = decode(raw, header, source)
    except CharsetError:
        return r.Mapped(source.code, r.Unmapped("charset", "MSH-18"))
    if header.type == "ACK":
        return r.Mapped(source.code, r.Unmapped("unexpected_ack", "MSH-9", ignored=True))
    try:
        change = _map(read_message(text), header, source, received_at, list(flags))
    except ImpossibleDate as error:
        return r.Mapped(source.code, r.Unmapped("impossible_date", error.place))
    return r.Mapped(source.code, change)


def _map(
    message: Message, header: Header, source: Source, received_at: datetime, flags: list[str]
) -> r.Change | r.Unmapped:
    event = header.event or message.at("EVN-1")
    if header.type != "ADT" or (
        event not in EVENTS and event not in PERSON_EVENTS and event not in MERGE_EVENTS
    ):
        return r.Unmapped("event_not_supported", _event_named(header, event))
    if any(message.count(name) for name in _BATCH_SEGMENTS):
        return r.Unmapped("batch_cut", "BHS")  # two messages in one: whose the segments are is anyone's guess
    if not message.segment("PID"):
        return r.Unmapped("no_pid", "PID")
    authority = source.default_authority or header.facility or "local"
    clocks = _Clocks(message, source, received_at, flags)
    patient = map_patient(message, source, authority, received_at, flags)
    if not any(item.value for item in patient.identifiers):
        return r.Unmapped("no_patient_number", "PID-3")
    encounter = happened = None
    merges: tuple[r.MergeRecord, ...] = ()
    if event in MERGE_EVENTS:
        merges = _merges(message, source, authority, flags)
        if not merges:
            return r.Unmapped("no_merge_number", "MRG-1")
    elif event in EVENTS and (message.segment("PV1") or (EVENTS[event] and visit_number(message, source)[1])):
        encounter = map_encounter(message, source, authority, received_at, flags)
        if encounter.discharge_way is DischargeWay.DIED and patient.deceased is DeceasedState.ALIVE:
            patient = replace(patient, deceased=None)  # PID-30 of senders that write N in every message
        kind = EVENTS[event]
        if kind is not None:
            happened = r.VisitEventRecord(kind, clocks.visit.at, clocks.visit.precision)
    elif event in EVENTS and EVENTS[event] is not None:
        return r.Unmapped("no_visit", "PV1")
    if too_long := _beyond_budget(patient, encounter):
        return r.Unmapped("budget", too_long)
    return r.Change(
        source=source.code,
        as_of=clocks.as_of,
        told_at=clocks.told_at,
        patient=patient,
        encounter=encounter,
        event=happened,
        merges=merges,
        flags=tuple(dict.fromkeys(flags)),
    )


def _beyond_budget(patient: r.PatientRecord, encounter: r.EncounterRecord | None) -> str:
    """Where a key is longer than any register gives out, or there are more than anyone has; empty where none is.

    Keys are indexed, and PostgreSQL refuses an index row of a third of a page: better parked with its place.
    """
    texts = [
        ("PID-3", text) for item in patient.identifiers for text in (item.value, item.authority, item.type)
    ]
    texts.append(("PID-5", patient.name or ""))
    if encounter is not None:
        texts += [("PV1-19", encounter.visit_no or ""), ("PV1-19", encounter.authority)]
        texts.append(("PV1-3", encounter.department.code if encounter.department else ""))
        texts.append(("PV1-7", encounter.attending.code if encounter.attending else ""))
        texts += [("DG1-3", item.code) for item in encounter.diagnoses or ()]
        texts += [("PR1-3", item.code) for item in encounter.procedures or ()]
    if len(texts) > limits.MAX_KEYS:
        return "PID-3 DG1 PR1"
    return next((place for place, text in texts if len(text) > limits.MAX_KEY_LENGTH), "")


def _event_named(header: Header, event: str) -> str:
    """The place, with type and event only where they are codes: nothing a sender wrote freely goes into a list."""
    known = all(part.isascii() and part.isalnum() and len(part) <= 3 for part in (header.type, event))
    return f"MSH-9 {header.type}^{event}" if known else "MSH-9"


def _merges(message: Message, source: Source, authority: str, flags: list[str]) -> tuple[r.MergeRecord, ...]:
    """PID and MRG groups; a group without MRG-1 makes the whole message unusable."""
    found = []
    for group in message.groups("PID"):
        retired = ranked(read_identifiers(group.segment("MRG").repeats(1), source, authority), source, flags)
        if not retired:
            return ()
        survivor = ranked(read_identifiers(group.segment("PID").repeats(3), source, authority), source, flags)
        found += [r.MergeRecord(survivor, (item,)) for item in retired if item.kind is IdentifierKind.RECORD]
    return tuple(found)


class _Clocks:
    """The three clocks of a message, clamped where they run ahead."""

    def __init__(self, message: Message, source: Source, received_at: datetime, flags: list[str]) -> None:
        self._received_at = received_at
        self._flags = flags
        self._impossible: set[str] = set()
        self._read_at: dict[str, Moment | None] = {}
        msh7 = self._read(message, "MSH-7", source.zoneinfo)
        zone: tzinfo = msh7.offset if msh7 and msh7.offset else source.zoneinfo
        for place in ("EVN-2", "EVN-6"):
            self._read(message, place, zone)
        self.told_at = self._first("MSH-7", "EVN-2").at
        self.as_of = self._first("EVN-2", "MSH-7").at
        self.visit = self._first("EVN-6", "EVN-2", "MSH-7")

    def _first(self, *places: str) -> Moment:
        """The first clock that can be read, else the receipt; not where something impossible was written instead."""
        for place in places:
            if found := self._read_at[place]:
                return found
        for place in places:
            if place in self._impossible:
                raise ImpossibleDate(place)
        return Moment(self._received_at, "second")

    def _read(self, message: Message, place: str, zone: tzinfo) -> Moment | None:
        self._read_at[place] = found = self._moment(message, place, zone)
        return found

    def _moment(self, message: Message, place: str, zone: tzinfo) -> Moment | None:
        text = message.at(place)
        flag_zeros(text, place, self._flags)
        try:
            found = moment(text, zone)
        except BadTime:
            self._flags.append(f"bad_time:{place}")
            self._impossible.add(place)
            return None
        return found and clamp(found, self._received_at, place, self._flags)
