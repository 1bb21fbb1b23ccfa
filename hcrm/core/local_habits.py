"""What a source's file may say of places, events and identifier types: closed lists, checked when it is read. Pure."""

import codecs
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator

LocalField = Literal[
    "patient.record_number", "patient.citizen_id", "patient.name", "patient.sex", "patient.birth_date",
    "patient.marital_status", "patient.phone", "patient.work_phone", "patient.address", "patient.region",
    "patient.deceased", "patient.deceased_at", "patient.is_vip", "encounter.visit_no", "encounter.account_no",
    "encounter.class", "encounter.department", "encounter.department_name", "encounter.location",
    "encounter.attending", "encounter.admitted_at", "encounter.discharged_at", "encounter.discharge_way",
    "event.happened_at",
]  # fmt: skip
"""Our fields that a source's file may look for elsewhere, Z segments included."""

SETTING_OF: Final[Mapping[str, str]] = {
    "patient.region": "region_from", "encounter.visit_no": "visit_number_from",
    "encounter.department": "department_from", "encounter.department_name": "department_name_from",
    "encounter.location": "location_from", "encounter.attending": "attending_from",
}  # fmt: skip
"""Fields for which a setting of their own holds the places: written either way, never both."""

DECLARED: Final = "MSH-18"
OWN: Final = "charset"
"""Entries of `charset_order`: what the message declares, and what the source's file says; others are charsets."""

IdentifierMeaning = Literal["record", "citizen", "visit_card", "other"]
"""What a type of PID-3.5 is good for. A visit card is given out anew and never names a patient."""

SexWord = Literal["male", "female", "other", "unknown"]
ClassWord = Literal["inpatient", "outpatient", "emergency", "preadmit", "checkup", "unknown"]
WayCode = Literal["1", "2", "3", "4", "5", "9"]
"""CV06.00.226, how a stay ended; what has no code there is left out of the table and flagged."""
MaritalCode = Literal["10", "20", "21", "22", "23", "30", "40", "90"]
"""GB/T 2261.2, marital status."""
MARITAL_CODES: Final = frozenset({*get_args(MaritalCode), "S", "M", "W", "D"})
"""What is understood as it is sent: those, and HL7 table 0002."""
SystemWord = Literal["ICD-10", "GB/T 15657"]
"""Tables of diagnoses that are told apart: Western medicine's, and TCM's."""
AbnormalWord = Literal[
    "normal", "low", "high", "abnormal", "critical-low", "critical-high", "critical",
]  # fmt: skip

EVENTS: Final = frozenset({
    "ADT^A01", "ADT^A02", "ADT^A03", "ADT^A04", "ADT^A05", "ADT^A06", "ADT^A07", "ADT^A08", "ADT^A11", "ADT^A12",
    "ADT^A13", "ADT^A17", "ADT^A18", "ADT^A21", "ADT^A22", "ADT^A23", "ADT^A24", "ADT^A28", "ADT^A29", "ADT^A30",
    "ADT^A31", "ADT^A34", "ADT^A35", "ADT^A37", "ADT^A38", "ADT^A40", "ADT^A42", "ADT^A44", "ADT^A45", "ADT^A47",
    "ORU^R01", "OUL^R21", "OUL^R22", "OUL^R23", "OUL^R24", "RDE^O11", "RDE^O01", "OMP^O09", "RAS^O17", "RAS^O01",
    "DFT^P03", "MDM^T02", "MDM^T08", "MDM^T10", "MDM^T11", "SIU^S12", "SIU^S13", "SIU^S14", "SIU^S15", "SIU^S16",
    "SIU^S17", "SIU^S26", "MFN^M02",
})  # fmt: skip
"""What a local event may stand for: every kind of message the adapters map."""
DELETING: Final = frozenset({"ADT^A23", "ADT^A29"})
"""Those that delete; guarded by their number."""

_PLACE: Final = re.compile(r"[A-Z][A-Z0-9]{2}-[1-9]\d{0,2}(?:\.[1-9]\d?){0,2}", re.ASCII)
_LOCAL_EVENT: Final = re.compile(r"(?:[A-Za-z0-9_]{2,20}\^)?[A-Za-z0-9_.-]{1,32}", re.ASCII)
_ANYTHING: Final = re.compile(r"iso8859-\d+|cp\d{3,4}|koi8.*|mac.*", re.ASCII)
"""Charsets of one byte a character, by Python's names."""
_NEARLY_ANYTHING: Final = frozenset(
    {"gb18030", "gbk", "gb2312", "big5", "big5hkscs", "cp950", "euc_kr", "cp949"}
)


def _checked_place(value: str) -> str:
    if not _PLACE.fullmatch(value):
        raise ValueError("位置应写作 PV1-3、PV1-3.4 或 ZPV-7")
    return value


def _checked_event(value: str) -> str:
    named = value if "^" in value else f"ADT^{value}"
    if named not in EVENTS:
        known = "、".join(sorted(event.removeprefix("ADT^") for event in EVENTS))
        raise ValueError(f"不支持的事件，可写：{known}")
    return named


def _checked_local(value: str) -> str:
    if not _LOCAL_EVENT.fullmatch(value):
        raise ValueError("本地事件应是代码，如 ZP1、BS037 或 ADT^ZP1")
    return value


Place = Annotated[str, AfterValidator(_checked_place)]
"""A position in the first segment of a name: `PV1-3`, `PV1-3.4`, `ZPV-7`."""
KnownEvent = Annotated[str, AfterValidator(_checked_event)]
"""`A28` or `ORU^R01`; kept with its type."""
LocalEvent = Annotated[str, AfterValidator(_checked_local)]
"""An event or service code as the sender writes it."""


def fold_fields(data: dict[str, Any]) -> dict[str, Any]:
    """A source's file with every field as a list of places, and those that have a setting of their own put there."""
    fields = data.get("fields")
    if not isinstance(fields, dict):
        return data
    data = dict(data)
    kept: dict[str, Any] = {}
    for name, places in fields.items():
        listed = [places] if isinstance(places, str) else places
        setting = SETTING_OF.get(name)
        if setting is None:
            kept[name] = listed
        elif setting in data:
            raise ValueError(f"{setting} 与 fields 中的 {name} 只写一处")
        else:
            data[setting] = listed
    return data | {"fields": kept}


def check_charset_order(order: Sequence[str]) -> None:
    """ValueError where an entry could hardly be reached, since one before it takes nearly any bytes."""
    for index, before in enumerate(order):
        codec = before if before == DECLARED else codecs.lookup(before).name
        for later, after in enumerate(order[index + 1 :], index + 2):
            is_utf8 = after == DECLARED or codecs.lookup(after).name == "utf-8"
            if (_ANYTHING.fullmatch(codec) and codec != "cp950") or (codec in _NEARLY_ANYTHING and is_utf8):
                raise ValueError(f"charset_order 第 {index + 1} 项几乎接受任何字节，第 {later} 项轮不到")
