"""Rows to changes of the archive: a row is written as the HL7 message that says the same, and read as one.

So there is one place where codes, clocks, identifiers and limits are judged, and a stay told by a view and by HL7 is
one stay. Faults name the row's field and column, since nobody ever saw the message.
"""

import json
import re
from dataclasses import replace
from datetime import datetime, tzinfo
from typing import Final, get_args

from adapters.his.mapping import map_message
from hcrm.archive.records import Change, Mapped, RowRecord, Unmapped
from hcrm.core.channels import EncounterClassWord, RowEvent, RowField, Rows
from hcrm.core.errors import HcrmError
from hcrm.core.sources import Source, Sources
from hcrm.inbox.rows import event_of, rows_of, values_of

_TRIGGERS: Final[dict[RowEvent, str]] = {
    "admit": "A01", "register": "A04", "discharge": "A03", "update": "A08", "person": "A31", "cancel_admit": "A11",
    "cancel_discharge": "A13",
}  # fmt: skip
_PLACES: Final[dict[str, RowField]] = {
    "PID-3": "patient_no", "PID-5": "name", "PID-7": "birth_date", "PID-8": "sex", "PID-11": "address",
    "PID-13": "phone", "PID-29": "died_at", "PV1": "visit_no", "PV1-2": "encounter_class", "PV1-3": "department",
    "PV1-3.4": "department", "PV1-7": "attending", "PV1-19": "visit_no", "PV1-36": "discharge_way",
    "PV1-44": "admitted_at", "PV1-45": "discharged_at", "DG1-3": "diagnosis", "EVN-2": "changed_at",
    "EVN-6": "changed_at", "MSH-7": "changed_at", "MSH-9": "event",
}  # fmt: skip
"""Where the message holds what a row calls so."""
_OPENING: Final = ("A01", "A03", "A04")
"""Events that may open a stay; what corrects one does not say anew of what class it is."""
_STAMP: Final = "%Y%m%d%H%M%S"
_ESCAPES: Final = str.maketrans(
    {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "~": "\\R\\", "&": "\\T\\", "\r": " ", "\n": " "}
)
_LOOSE: Final = re.compile(
    r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?:[T ]+(\d{1,2})[:时点](\d{1,2})(?:[:分](\d{1,2})(\.\d+)?秒?)?)?"
    r"\s*(Z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)


def map_row(raw: bytes, sources: Sources, received_at: datetime) -> Mapped:
    """One stored row; a row whose source or columns are gone from the files waits parked until they are back."""
    content = json.loads(raw)
    code, cells = content["source"], content["row"]
    source = sources.by_code.get(code)
    try:
        rows = rows_of(source, content["form"]) if source is not None else None
    except HcrmError:
        rows = None
    if source is None or rows is None:
        return Mapped(code, Unmapped("source_unknown", content["form"]))
    event = content.get("event") or event_of(rows, cells)
    if event not in _TRIGGERS:
        return Mapped(code, Unmapped("event_not_supported", _named("event", rows)))
    told = loose_moment(content.get("told", ""), source.zoneinfo) or received_at.astimezone(
        source.zoneinfo
    ).strftime(_STAMP)
    message = _message(values_of(rows, cells), _TRIGGERS[event], rows, source, told)
    classes = {word: word for word in get_args(EncounterClassWord)} | source.classes
    reading = source.model_copy(update=_AS_WRITTEN | {"sender": "ROW", "classes": classes})
    result = map_message(message, Sources([reading]), received_at).result
    return Mapped(code, _in_words_of_the_row(result, rows))


_AS_WRITTEN: Final = {
    "charset": "utf-8", "charset_forced": False, "charset_order": ("charset",), "fields": {}, "events": {},
    "event_from": None, "location_from": ("PV1-3.1",), "attending_from": ("PV1-7",),
    "visit_number_from": ("PV1-19",), "department_from": ("PV1-3.4",),
    "department_name_from": ("PV1-3.9",), "region_from": ("PID-11.9",),
}  # fmt: skip
"""Where the message below keeps what a source may keep elsewhere."""


def _message(values: dict[RowField, str], trigger: str, rows: Rows, source: Source, known_at: str) -> bytes:
    def text(field: RowField) -> str:
        return values.get(field, "").translate(_ESCAPES)

    def moment(field: RowField) -> str:
        return loose_moment(values.get(field, ""), source.zoneinfo).translate(_ESCAPES)

    # Everything on the source's wall clock: an offset in MSH-7 would count for EVN as well.
    told = moment("changed_at") or known_at
    happened = {"A03": moment("discharged_at"), "A01": moment("admitted_at"), "A04": moment("admitted_at")}
    kind = (rows.patient_no_type or source.record_type).translate(_ESCAPES)
    giver = rows.patient_no_authority.translate(_ESCAPES)
    numbers = f"{text('patient_no')}^^^{giver}^{kind}" if text("patient_no") else ""
    if text("id_number") and source.id_number_types:
        numbers += f"~{text('id_number')}^^^^{source.id_number_types[0]}"
    region = text("region_code")
    address = f"{text('address')}^^^^^^H^^{region}" if region else text("address")
    died = "Y" if text("died_at") else ""
    pid = {3: numbers, 5: text("name"), 7: moment("birth_date"), 8: text("sex"), 11: address, 13: text("phone"),
           29: moment("died_at"), 30: died}  # fmt: skip
    visit = text("visit_no")
    if visit and rows.visit_no_authority:
        visit = f"{visit}^^^{rows.visit_no_authority.translate(_ESCAPES)}"
    kind_of_stay = text("encounter_class")
    if visit and not kind_of_stay and trigger in _OPENING:
        kind_of_stay = rows.usual_class
    pv1 = {2: kind_of_stay, 3: _place(text("ward"), text("department"), text("department_name")),
           7: _person(text("attending"), text("attending_name")), 19: visit, 36: text("discharge_way"),
           44: moment("admitted_at"), 45: moment("discharged_at")}  # fmt: skip
    lines = [
        f"MSH|^~\\&|ROW|{source.facility.translate(_ESCAPES)}|||{told}||ADT^{trigger}|1|P|2.5.1||||||UNICODE UTF-8",
        f"EVN||{told}||||{happened.get(trigger, '')}",
        _segment("PID", pid),
    ]
    if any(pv1.values()):
        lines.append(_segment("PV1", pv1))
    if text("diagnosis") or text("diagnosis_name"):
        lines.append(_segment("DG1", {3: f"{text('diagnosis')}^{text('diagnosis_name')}", 6: "F", 15: "1"}))
    return ("\r".join(lines) + "\r").encode()


def loose_moment(text: str, zone: tzinfo) -> str:
    """A time as people, spreadsheets and drivers write it, as HL7 does; anything else as it stands, to be judged there.

    A time with an offset is put on the wall clock of `zone`.
    """
    match = _LOOSE.fullmatch(text.strip())
    if match is None:
        return text
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    found = f"{year}{int(month):02}{int(day):02}"
    if hour is None:
        return found
    found += f"{int(hour):02}{int(minute):02}{int(second or 0):02}"
    if offset is None:
        return found + (fraction or "")
    try:
        return (
            datetime.strptime(found + offset.replace("Z", "+0000"), f"{_STAMP}%z")
            .astimezone(zone)
            .strftime(_STAMP)
        )
    except ValueError:
        return text


def _segment(name: str, fields: dict[int, str]) -> str:
    return "|".join([name, *(fields.get(number, "") for number in range(1, max(fields) + 1))])


def _place(ward: str, department: str, name: str) -> str:
    return f"{ward}^^^{department}^^^^^{name}".rstrip("^")


def _person(code: str, name: str) -> str:
    return f"{code}^{name}" if name else code


def _named(field: RowField, rows: Rows) -> str:
    column = rows.columns.get(field)
    return f"{field}（{column}）" if column else field


def _in_words_of_the_row(result: Change | Unmapped, rows: Rows) -> Change | Unmapped:
    """Places of the message as fields of the row."""
    if isinstance(result, Unmapped):
        field = _PLACES.get(result.detail.partition(" ")[0])  # types found there are our own words
        return replace(result, detail=_named(field, rows)) if field else result
    record = RowRecord(
        {place: _named(field, rows) for place, field in _PLACES.items()},
        guesses_type=not rows.patient_no_type,
        guesses_authority=not rows.patient_no_authority,
    )
    return replace(result, flags=tuple(_flag_in_words(flag) for flag in result.flags), row=record)


def _flag_in_words(flag: str) -> str:
    name, colon, place = flag.partition(":")
    return f"{name}{colon}{_PLACES.get(place, place)}"
