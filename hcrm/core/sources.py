"""A source system and its local habits: `config/sources/<source>.yaml`, read at start.

Pure data: adapters map with it, the inbox finds it by MSH-3 and MSH-4. Rules: assurance section 0, domain 3.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo

import yaml
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from hcrm.core.channels import Census, Folder, ListFile, Soap, View
from hcrm.core.clock import zone_named
from hcrm.core.date_forms import DateForms, check_form, day_of
from hcrm.core.errors import HcrmError
from hcrm.core.local_habits import (
    DECLARED,
    DELETING,
    OWN,
    IdentifierMeaning,
    KnownEvent,
    LocalEvent,
    LocalField,
    Place,
    check_charset_order,
    fold_fields,
)

AckMode = Literal["auto", "original", "enhanced", "application"]
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Caller:
    """Who hands a message over: an address, and what the caller proved to be by certificate or token."""

    address: str
    subject: frozenset[str] = frozenset()  # RDNs of a client certificate: CN=his.example
    token: str = ""  # name of the bearer token


class Source(BaseModel):
    """One sending system: how its bytes are read and what its local codes mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: str
    title: str
    sender: str = Field(default="", description="MSH-3.1 it is known by; empty in default.yaml")
    facility: str = Field(default="", description="MSH-4.1; empty means any")
    charset: str = "utf-8"
    charset_forced: bool = Field(default=False, description="MSH-18 is not looked at")
    charset_order: tuple[str, ...] = Field(
        default=(DECLARED, OWN), min_length=1, description="what is tried in turn, each on the whole message"
    )
    zone: str = "Asia/Shanghai"
    ack_mode: AckMode = "auto"
    processing_ids: tuple[str, ...] = Field(default=("P", "T", "D", ""), description="MSH-11 accepted")
    default_authority: str = Field(default="", description="assigning authority where PID-3.4 is empty")
    record_number_types: tuple[str, ...] = Field(
        default=("MR", "MRN", "PI", "PT", ""), description="PID-3.5 taken as record numbers, best first"
    )
    id_number_types: tuple[str, ...] = Field(default=("NI", "NNCHN", "IdentifyNO"), description="citizen ID")
    identifier_types: dict[str, IdentifierMeaning] = Field(
        default_factory=dict, description="what local types of PID-3.5 mean, beside the two lists above"
    )
    authority_uris: dict[str, str] = Field(default_factory=dict, description="FHIR system of an authority")
    date_forms: tuple[Annotated[str, AfterValidator(check_form)], ...] = Field(
        default=(), description="times beyond the standard's: yyyy/M/d H:mm, yyyy年M月d日"
    )
    empty_dates: tuple[date | str, ...] = Field(
        default=(), description="days and words that mean none: 1900-01-01, 9999-12-31, 无"
    )
    events: dict[LocalEvent, KnownEvent] = Field(
        default_factory=dict, description="local event or service code to one we map"
    )
    event_from: Place | None = Field(
        default=None, description="where a service code names the event; it must then be listed in `events`"
    )
    fields: dict[LocalField, tuple[Place, ...]] = Field(
        default_factory=dict, description="where a field stands instead of its standard position"
    )
    visit_number_from: tuple[Place, ...] = Field(
        default=("PV1-19", "PID-18"), description="visit number, else the account of the stay"
    )
    department_from: tuple[Place, ...] = Field(
        default=("PV1-3.1",), description="first non-empty position wins"
    )
    department_name_from: tuple[Place, ...] = ()
    location_from: tuple[Place, ...] = Field(
        default=("PV1-3.1", "PV1-3.2", "PV1-3.3"), description="ward, room, bed; what is filled is joined"
    )
    attending_from: tuple[Place, ...] = Field(
        default=("PV1-7",), description="staff number of the attending physician, the first that is filled"
    )
    departments: dict[str, str] = Field(default_factory=dict, description="local code to directory code")
    classes: dict[str, str] = Field(
        default={
            "I": "inpatient", "住院": "inpatient", "O": "outpatient", "门诊": "outpatient",
            "E": "emergency", "急诊": "emergency", "P": "preadmit", "T": "checkup", "体检": "checkup",
            "R": "outpatient", "D": "inpatient",
            "INPATIENT": "inpatient", "OUTPATIENT": "outpatient", "EMERGENCY": "emergency", "PREADMIT": "preadmit",
        },
        description="PV1-2 to our encounter class",
    )  # fmt: skip
    discharge_ways: dict[str, str] = Field(
        default={"1": "1", "2": "2", "3": "3", "4": "4", "5": "5", "9": "9"},
        description="PV1-36 to CV06.00.226",
    )
    sexes: dict[str, str] = Field(
        default={
            "M": "male", "1": "male", "男": "male", "F": "female", "2": "female", "女": "female",
            "O": "other", "9": "other", "U": "unknown", "0": "unknown", "A": "other", "N": "unknown",
        },
        description="PID-8, first letter where it is a word",
    )  # fmt: skip
    abnormal_flags: dict[str, str] = Field(
        default={
            "N": "normal", "M": "normal", "NEG": "normal", "正常": "normal", "阴性": "normal",
            "L": "low", "LU": "low", "<": "low", "↓": "low", "低": "low", "偏低": "low",
            "H": "high", "HU": "high", ">": "high", "↑": "high", "高": "high", "偏高": "high",
            "A": "abnormal", "POS": "abnormal", "R": "abnormal", "*": "abnormal", "异常": "abnormal",
            "阳性": "abnormal",
            "LL": "critical-low", "↓↓": "critical-low", "HH": "critical-high", "↑↑": "critical-high",
            "AA": "critical", "危急": "critical", "危急值": "critical",
        },
        description="OBX-8 to normal, low, high, abnormal, critical-low, critical-high, critical",
    )  # fmt: skip
    herbal_doses_from: tuple[Place, ...] = Field(
        default=("RXE-10",),
        description="doses (剂, 付) of a herbal prescription; RXE-10 where RXE-11 says so",
    )
    charge_totals: bool = Field(default=False, description="FT1 holds totals by cost class, not lines")
    cost_class_from: str = Field(
        default="", description="position of the cost class in FT1; empty: FT1-7 of totals"
    )
    cost_classes: dict[str, str] = Field(default_factory=dict, description="local cost class to its name")
    region_from: tuple[Place, ...] = Field(
        default=("PID-11.9",), description="six-digit region code of the address"
    )
    certificate_subjects: tuple[str, ...] = Field(
        default=(), description="client certificates that may speak as this source: CN=his.example,O=H1"
    )
    addresses: tuple[Network, ...] = Field(default=(), description="networks it may send from; empty: any")
    tokens: tuple[str, ...] = Field(default=(), description="names of tokens that may speak as it over HTTP")
    folder: Folder | None = Field(default=None, description="drop folder")
    list_file: ListFile | None = Field(default=None, description="CSV or XLSX in that folder")
    view: View | None = Field(default=None, description="database view that is polled")
    soap: Soap | None = Field(default=None, description="how its SOAP envelopes are read")
    census: Census | None = Field(default=None, description="its own list of the day, compared each morning")
    merges_per_hour: int = Field(
        default=20, ge=0, description="merges beyond it wait for a person; 0: no limit"
    )
    deletions_per_minute: int = Field(
        default=10, ge=0, description="A29 and A23 beyond it wait for a person; 0: no limit"
    )
    follow_up_from: AwareDatetime | None = Field(
        default=None, description="cut-over: stays before this instant issue nothing"
    )

    @field_validator("charset")
    @classmethod
    def _known_charset(cls, value: str) -> str:
        "".encode(value)  # LookupError becomes a validation error below
        return value

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        zone_named(value)
        return value

    @field_validator("certificate_subjects")
    @classmethod
    def _subjects(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not each or "=" not in part for each in value for part in each.split(",")):
            raise ValueError("证书主体应写作 CN=his.example,O=H1")
        return value

    @field_validator("charset_order")
    @classmethod
    def _known_charsets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for word in value:
            if word not in (DECLARED, OWN):
                "".encode(word)
        return value

    @field_validator("empty_dates")
    @classmethod
    def _days(cls, value: tuple[date | str, ...]) -> tuple[date | str, ...]:
        return tuple(day_of(each) if isinstance(each, str) else each for each in value)

    @model_validator(mode="before")
    @classmethod
    def _folded(cls, data: Any) -> Any:
        return fold_fields(data) if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _order_is_reached(self) -> "Source":
        check_charset_order([self.charset if word == OWN else word for word in self.charset_order])
        return self

    @model_validator(mode="after")
    def _events_are_guarded(self) -> "Source":
        if self.event_from and not DELETING.isdisjoint(self.events.values()):
            raise ValueError("有 event_from 时，events 不能对应删除类事件 A23、A29：它们按消息类型限数")
        if self.event_from and not self.events:
            raise ValueError("event_from 需要对照表 events")
        return self

    @model_validator(mode="after")
    def _lists_have_a_folder(self) -> "Source":
        if self.list_file is not None and self.folder is None:
            raise ValueError("list_file 需要 folder")
        return self

    @cached_property
    def subjects(self) -> tuple[frozenset[str], ...]:
        """`certificate_subjects`, each as the set of what the certificate must name."""
        return tuple(subject_of(each) for each in self.certificate_subjects)

    @cached_property
    def dates(self) -> DateForms | None:
        """Its own ways to write a time; None where it keeps to the standard's."""
        return DateForms(self.date_forms, self.empty_dates) if self.date_forms or self.empty_dates else None

    @cached_property
    def identifier_meanings(self) -> dict[str, str]:
        """What each known type of PID-3.5 is good for."""
        lists = dict.fromkeys(self.id_number_types, "citizen") | dict.fromkeys(
            self.record_number_types, "record"
        )
        return lists | self.identifier_types

    @cached_property
    def record_ranks(self) -> dict[str, int]:
        """Types of record numbers, the best first."""
        return {
            kind: rank
            for rank, kind in enumerate(dict.fromkeys([*self.record_number_types, *self.identifier_types]))
        }

    @cached_property
    def zoneinfo(self) -> ZoneInfo:
        """The sender's wall clock, for times without an offset."""
        return zone_named(self.zone)


class Sources:
    """Every configured source, found by sender and facility; unknown senders get the default."""

    def __init__(self, sources: list[Source], *, known_senders_only: bool = False) -> None:
        self.known_senders_only = known_senders_only
        self.by_code = {source.code: source for source in sources}
        self.default = self.by_code.get("default") or Source(code="default", title="未登记来源")
        self._by_sender = {(source.sender, source.facility): source for source in sources if source.sender}
        self._bound_subjects = [subject for source in sources for subject in source.subjects]
        self.has_bindings = any(
            source.certificate_subjects or source.addresses or source.tokens for source in sources
        )

    def find(self, sender: str, facility: str) -> Source | None:
        """The source of MSH-3.1 and MSH-4.1; None where only known senders are accepted."""
        found = self._by_sender.get((sender, facility)) or self._by_sender.get((sender, ""))
        return found or (None if self.known_senders_only else self.default)

    def admits(self, source: Source, caller: Caller) -> str:
        """Empty where the caller may speak as that source, else the reason of the refusal.

        A certificate or token that is bound to a source speaks for no other, and a source that names certificates or
        tokens is spoken for by nobody else, on whatever way the message comes.
        """
        if source.addresses and not is_within(caller.address, source.addresses):
            return "sender_address"
        if caller.token:
            return "" if self._token_speaks(source, caller.token) else "sender_token"
        if source.subjects or (caller.subject and self._is_bound(caller.subject)):
            return "" if any(named <= caller.subject for named in source.subjects) else "sender_certificate"
        return "sender_token" if source.tokens else ""

    def _is_bound(self, subject: AbstractSet[str]) -> bool:
        return any(named <= subject for named in self._bound_subjects)

    def _token_speaks(self, source: Source, token: str) -> bool:
        if source.tokens:
            return token in source.tokens
        return not source.subjects and not any(token in each.tokens for each in self.by_code.values())


def load_sources(directory: Path, *, known_senders_only: bool = False) -> Sources:
    """Read every `*.yaml`; a mistake stops the start with file and field named."""
    sources = []
    for path in sorted(directory.glob("*.yaml")):
        try:
            sources.append(Source.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))))
        except (ValidationError, yaml.YAMLError, LookupError, HcrmError) as error:
            raise HcrmError("source.invalid", f"来源配置 {path.name} 有误：{_first_line(error)}") from error
    return Sources(sources, known_senders_only=known_senders_only)


def identifier_system(authority: str, source: Source | None = None) -> str:
    """The FHIR system of a record number's authority (contracts, ports and paths)."""
    uri = source.authority_uris.get(authority) if source else None
    return uri or f"urn:hcrm:id:{quote(authority, safe='')}"


def visit_system(authority: str) -> str:
    """The FHIR system of a visit number's authority."""
    return f"urn:hcrm:visit:{quote(authority, safe='')}"


def subject_of(text: str) -> frozenset[str]:
    """`CN=his.example, O=H1` as a set."""
    parts = (part.partition("=") for part in text.split(","))
    return frozenset(f"{name.strip().upper()}={value.strip()}" for name, _, value in parts)


@lru_cache(maxsize=1024)
def is_within(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether an address lies in one of the networks; what is no address lies in none."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found  # ::ffff:10.1.0.5 on a socket of both families
    return any(found in network for network in networks)


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))} {first['msg']}"
    return str(error).splitlines()[0]
