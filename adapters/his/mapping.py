"""HL7 v2 messages to changes of the archive: one table of events, one line each. Pure: no database, no clock.

Clocks as the truth table has them: demographics by EVN-2 else MSH-7, the visit by EVN-6 else EVN-2 else MSH-7,
reversals by MSH-7. Where a sender's clock runs more than ten minutes ahead the receipt stands instead (B50), as it does
for admission and discharge; one that cannot be read is flagged and the next one counts (B49). An impossible date that
decides something parks the message: admission, discharge, birth, or every clock there is.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, tzinfo
from typing import Any

from adapters.his.flags import Flags
from adapters.his.local import as_sent, kind_of, localise
from adapters.his.map_acts import ACTS, PAIRS, map_acts
from adapters.his.map_clinical import is_clinical, map_clinical
from adapters.his.map_patient import clamp, flag_zeros, map_patient
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
from hcrm.archive.terms import (
    ActKind,
    DeceasedState,
    DischargeWay,
    EncounterClass,
    IdentifierKind,
    VisitEventKind,
)
from hcrm.core import limits
from hcrm.core.sources import Source, Sources

EVENTS: dict[str, VisitEventKind | None] = {
    "A01": VisitEventKind.ADMIT,
    "A02": VisitEventKind.TRANSFER,
    "A03": VisitEventKind.DISCHARGE,
    "A04": VisitEventKind.REGISTER,
    "A05": VisitEventKind.PREADMIT,
    "A06": VisitEventKind.CLASS_CHANGE,
    "A07": VisitEventKind.CLASS_CHANGE,
    "A08": None,  # update: never opens, closes or moves a visit
    "A11": VisitEventKind.CANCEL_ADMIT,
    "A12": VisitEventKind.CANCEL_TRANSFER,
    "A13": VisitEventKind.CANCEL_DISCHARGE,
    "A21": VisitEventKind.LEAVE,
    "A22": VisitEventKind.RETURN,
    "A23": VisitEventKind.DELETE,
    "A38": VisitEventKind.CANCEL_PREADMIT,
}
"""ADT events that speak of a visit, and what they do to it."""
_CLASS_AFTER = {"A06": EncounterClass.INPATIENT, "A07": EncounterClass.OUTPATIENT}
"""What a change of class makes of the visit where PV1-2 does not say it."""
PERSON_EVENTS = frozenset({"A28", "A31"})
SWAP = "A17"
"""Two patients change places: both are moved, or neither."""
_CODE_LENGTH = 8
_TYPE = re.compile(r"(?=\w*[A-Za-z])\w{1,16}|\d{1,2}", re.ASCII)
"""What is surely a type of PID-3.5 and no number of anybody's."""
_TYPES_NAMED = 5
_BATCH_SEGMENTS = ("BHS", "FHS", "BTS", "FTS")


def map_message(raw: bytes, sources: Sources, received_at: datetime) -> r.Mapped:
    """One received message; what it cannot become is said with segment and field."""
    header = read_header(raw)
    if header is None:
        return r.Mapped("", r.Unmapped("no_msh", "MSH"))
    source = sources.find(header.sender, header.facility) or sources.default
    try:
        text, flags = decode(raw, header, source)
    except CharsetError as error:
        return r.Mapped(source.code, r.Unmapped(error.code, "MSH-18"))
    if header.type == "ACK":
        return r.Mapped(source.code, r.Unmapped("unexpected_ack", "MSH-9", ignored=True))
    moved: Mapping[str, str] = {}
    try:
        message = read_message(text)
        kind = kind_of(message, header, source)
        if source.fields or source.events:
            if message.count("PID") > limits.MAX_KEYS:
                return r.Mapped(source.code, r.Unmapped("budget", "PID"))
            message, moved = localise(message, kind, header, source)
        mapper = _map_clinical if is_clinical(*kind) else _map
        change = mapper(message, kind, header, source, received_at, Flags(flags))
    except ImpossibleDate as error:
        change = r.Unmapped("impossible_date", error.place)
    return r.Mapped(source.code, as_sent(change, moved) if moved else change)


def _map_clinical(
    message: Message,
    kind: tuple[str, str],
    header: Header,
    source: Source,
    received_at: datetime,
    flags: Flags,
) -> r.Change | r.Unmapped:
    if any(message.count(name) for name in _BATCH_SEGMENTS):
        return r.Unmapped("batch_cut", "BHS")
    clocks = _Clocks(message, source, received_at, flags)
    authority = source.default_authority or header.facility or "local"
    told = (clocks.as_of, clocks.told_at)
    return map_clinical(message, kind, source, authority, received_at, told, flags)


def _map(
    message: Message,
    kind: tuple[str, str],
    header: Header,
    source: Source,
    received_at: datetime,
    flags: Flags,
) -> r.Change | r.Unmapped:
    type_, event = kind
    if type_ != "ADT" or not _is_known(event):
        return r.Unmapped("event_not_supported", _event_named(message, header, event, source))
    if any(message.count(name) for name in _BATCH_SEGMENTS):
        return r.Unmapped("batch_cut", "BHS")  # two messages in one: whose the segments are is anyone's guess
    if not message.segment("PID"):
        return r.Unmapped("no_pid", "PID")
    authority = source.default_authority or header.facility or "local"
    clocks = _Clocks(message, source, received_at, flags)
    reader = _Reader(event, source, authority, received_at, clocks, flags)
    if event == SWAP:
        return reader.pair(message, needs_visit=True)
    if event in ACTS:
        return reader.acts(message, ACTS[event])
    return reader.change(message)


def _is_known(event: str) -> bool:
    return event in EVENTS or event in PERSON_EVENTS or event in ACTS or event == SWAP


class _Reader:
    """What one ADT message, or one patient's part of it, says."""

    def __init__(
        self, event: str, source: Source, authority: str, received_at: datetime, clocks: "_Clocks", flags: Flags
    ) -> None:  # fmt: skip
        self.event = event
        self.source = source
        self.authority = authority
        self.received_at = received_at
        self.clocks = clocks
        self.flags = flags

    def change(self, message: Message) -> r.Change | r.Unmapped:
        """The first patient and the first visit."""
        patient = map_patient(message, self.source, self.authority, self.received_at, self.flags)
        if all(item.kind is not IdentifierKind.RECORD for item in patient.identifiers):
            return r.Unmapped("no_patient_number", _types_named(patient.identifiers))
        encounter = happened = None
        kind = VisitEventKind.TRANSFER if self.event == SWAP else EVENTS.get(self.event)
        tells_visit = self.event == SWAP or self.event in EVENTS
        if tells_visit and (message.segment("PV1") or (kind and visit_number(message, self.source)[1])):
            encounter = self._encounter(message)
            if encounter.discharge_way is DischargeWay.DIED and patient.deceased is DeceasedState.ALIVE:
                patient = replace(patient, deceased=None)  # PID-30 of senders that write N in every message
            if kind is not None:
                happened = r.VisitEventRecord(kind, self.clocks.visit.at, self.clocks.visit.precision)
        elif kind is not None:
            return r.Unmapped("no_visit", "PV1")
        if too_long := _beyond_budget(patient, encounter):
            return r.Unmapped("budget", too_long)
        return self._told(patient=patient, encounter=encounter, event=happened)

    def pair(self, message: Message, *, needs_visit: bool) -> r.Change | r.Unmapped:
        """Two patients, each with what follows their PID."""
        groups = message.groups("PID")
        if len(groups) != 2:
            return r.Unmapped("no_second_pid", "PID")
        if needs_visit and not all(group.segment("PV1") for group in groups):
            return r.Unmapped("no_visit", "PV1")
        first, second = (self.change(group) for group in groups)
        if isinstance(first, r.Unmapped) or isinstance(second, r.Unmapped):
            return first if isinstance(first, r.Unmapped) else second
        return replace(first, also=second)

    def acts(self, message: Message, kind: ActKind) -> r.Change | r.Unmapped:
        """What the message does to archives or visits, and what it says of the first patient (of both in a pair)."""
        acts = map_acts(message, kind, self.source, self.authority, self.flags)
        if isinstance(acts, r.Unmapped):
            return acts
        is_pair = kind in PAIRS and len(message.groups("PID")) == 2
        told = self.pair(message, needs_visit=False) if is_pair else self.change(message)
        if isinstance(told, r.Unmapped):
            return told
        too_long = _too_long([("MRG", text) for act in acts for text in _keys_of(act)])
        return r.Unmapped("budget", too_long) if too_long else replace(told, acts=acts)

    def _encounter(self, message: Message) -> r.EncounterRecord:
        encounter = map_encounter(message, self.source, self.authority, self.received_at, self.flags)
        if encounter.encounter_class is None and self.event in _CLASS_AFTER:
            return replace(encounter, encounter_class=_CLASS_AFTER[self.event])
        return encounter

    def _told(self, **values: Any) -> r.Change:
        return r.Change(
            source=self.source.code, as_of=self.clocks.as_of, told_at=self.clocks.told_at,
            flags=tuple(dict.fromkeys(self.flags)), unmapped=tuple(self.flags.codes), **values,
        )  # fmt: skip


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
        texts.append(("PID-18", encounter.account_no or ""))
    if len(texts) > limits.MAX_KEYS:
        return "PID-3 DG1 PR1"
    return _too_long(texts)


def _keys_of(act: r.ActRecord) -> list[str]:
    numbers = [number for number in (act.number, act.other_number) if number]
    texts = [text for item in (*act.subject, *act.other) for text in (item.value, item.authority, item.type)]
    return texts + [text for number in numbers for text in (number.authority, number.number)]


def _too_long(texts: list[tuple[str, str]]) -> str:
    return next((place for place, text in texts if len(text) > limits.MAX_KEY_LENGTH), "")


def _types_named(identifiers: Sequence[r.IdentifierRecord]) -> str:
    """The place, with the types that were found there instead of a record number's, as far as they are codes."""
    types = dict.fromkeys(item.type for item in identifiers if _TYPE.fullmatch(item.type))
    return " ".join(["PID-3", *list(types)[:_TYPES_NAMED]])


def _event_named(message: Message, header: Header, event: str, source: Source) -> str:
    """The place, with type and event only where they are codes: nothing a sender wrote freely goes into a list."""
    if source.event_from and (code := message.at(source.event_from)):
        is_code = code.isascii() and code.isalnum() and len(code) <= _CODE_LENGTH
        return f"{source.event_from} {code}" if is_code else source.event_from
    known = all(part.isascii() and part.isalnum() and len(part) <= 3 for part in (header.type, event))
    return f"MSH-9 {header.type}^{event}" if known else "MSH-9"


class _Clocks:
    """The three clocks of a message, clamped where they run ahead."""

    def __init__(self, message: Message, source: Source, received_at: datetime, flags: list[str]) -> None:
        self._received_at = received_at
        self._flags = flags
        self._impossible: set[str] = set()
        self._read_at: dict[str, Moment | None] = {}
        self._dates = source.dates
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
            found = moment(text, zone, self._dates)
        except BadTime:
            self._flags.append(f"bad_time:{place}")
            self._impossible.add(place)
            return None
        return found and clamp(found, self._received_at, place, self._flags)
