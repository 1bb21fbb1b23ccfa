"""A source system and its local habits: `config/sources/<source>.yaml`, read at start.

Pure data: adapters map with it, the inbox finds it by MSH-3 and MSH-4. Rules: assurance section 0, domain 3.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache, partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from hcrm.core.channels import Census, Folder, ListFile, Rows, Soap, View
from hcrm.core.clock import zone_named
from hcrm.core.config_file import Charset, Day, Instant, Zone, checked_charset, read_config_file
from hcrm.core.date_forms import DateForms, check_form, day_of
from hcrm.core.errors import HcrmError
from hcrm.core.local_habits import (
    DECLARED,
    DELETING,
    OWN,
    AbnormalWord,
    ClassWord,
    IdentifierMeaning,
    KnownEvent,
    LocalEvent,
    LocalField,
    MaritalCode,
    Place,
    SexWord,
    SystemWord,
    WayCode,
    check_charset_order,
    fold_fields,
)
from hcrm.core.row_numbers import check_row_numbers

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
    charset: Charset = "utf-8"
    charset_forced: bool = Field(default=False, description="MSH-18 is not looked at")
    charset_order: tuple[str, ...] = Field(
        default=(DECLARED, OWN), min_length=1, description="what is tried in turn, each on the whole message"
    )
    zone: Zone = "Asia/Shanghai"
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
    empty_dates: tuple[Day | str, ...] = Field(
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
    campus_from: tuple[Place, ...] = Field(
        default=(), description="campus of the department, PV1-3.4; empty: the directory says it"
    )
    campuses: dict[str, str] = Field(default_factory=dict, description="local facility to campus code")
    location_from: tuple[Place, ...] = Field(
        default=("PV1-3.1", "PV1-3.2", "PV1-3.3"), description="ward, room, bed; what is filled is joined"
    )
    attending_from: tuple[Place, ...] = Field(
        default=("PV1-7",), description="staff number of the attending physician, the first that is filled"
    )
    departments: dict[str, str] = Field(default_factory=dict, description="local code to directory code")
    classes: dict[str, ClassWord] = Field(
        default={
            "I": "inpatient", "住院": "inpatient", "O": "outpatient", "门诊": "outpatient",
            "E": "emergency", "急诊": "emergency", "P": "preadmit", "T": "checkup", "体检": "checkup",
            "R": "outpatient", "D": "inpatient",
            "INPATIENT": "inpatient", "OUTPATIENT": "outpatient", "EMERGENCY": "emergency", "PREADMIT": "preadmit",
        },
        description="PV1-2 to our encounter class",
    )  # fmt: skip
    discharge_ways: dict[str, WayCode] = Field(
        default={"1": "1", "2": "2", "3": "3", "4": "4", "5": "5", "9": "9"},
        description="PV1-36 to CV06.00.226",
    )
    sexes: dict[str, SexWord] = Field(
        default={
            "M": "male", "1": "male", "男": "male", "F": "female", "2": "female", "女": "female",
            "O": "other", "9": "other", "U": "unknown", "0": "unknown", "A": "other", "N": "unknown",
        },
        description="PID-8, first letter where it is a word",
    )  # fmt: skip
    marital_statuses: dict[str, MaritalCode] = Field(
        default_factory=dict, description="PID-16.1 to GB/T 2261.2; what is not listed stays as sent"
    )
    diagnosis_systems: dict[str, SystemWord] = Field(
        default_factory=dict, description="DG1-3.3, else DG1-2, to the table it is: ICD-10 or GB/T 15657"
    )
    abnormal_flags: dict[str, AbnormalWord] = Field(
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
    follow_up_from: Instant | None = Field(
        default=None, description="cut-over: stays before this instant issue nothing"
    )

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
                checked_charset(word)
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

    @model_validator(mode="after")
    def _row_numbers_are_decided(self) -> "Source":
        check_row_numbers(
            self.row_forms, named=self.own_record_types, listed=self.listed_record_types,
            authority=self.default_authority or self.facility,
            is_told_by_hl7=bool(self.sender) or self.code == "default",
        )  # fmt: skip
        return self

    @property
    def row_forms(self) -> dict[str, Rows]:
        """Blocks of its file that say what columns mean, by name."""
        soap = self.soap.rows if self.soap else None
        found = {"view": self.view, "list_file": self.list_file, "soap": soap, "census": self.census}
        return {name: rows for name, rows in found.items() if rows is not None}

    @property
    def own_record_types(self) -> list[str]:
        """Types of PID-3.5 its file itself calls record numbers."""
        return [kind for kind, meaning in self.identifier_types.items() if meaning == "record"]

    @property
    def listed_record_types(self) -> list[str]:
        """Those of `record_number_types` that it does not call something else."""
        return [
            kind for kind in self.record_number_types if self.identifier_types.get(kind, "record") == "record"
        ]

    @property
    def record_type(self) -> str:
        """What a record number is that comes without its type: its file's own word, else the best of the list."""
        return next(iter((*self.own_record_types, *self.listed_record_types)), "")

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
    """Read every `*.yaml`; a mistake stops the start with file and field named, and so do two that say the same."""
    found: dict[str, Source] = {}
    for path in sorted(directory.glob("*.yaml")):
        found[path.name] = read_config_file(Source, path, partial(_refusal, path.name))
    _require_apart(found)
    return Sources(list(found.values()), known_senders_only=known_senders_only)


def _refusal(file: str, sentence: str) -> HcrmError:
    return HcrmError("source.invalid", f"来源配置 {file} 有误：{sentence}")


def _require_apart(found: Mapping[str, Source]) -> None:
    """Each file is known by a code and, where it speaks HL7, by a sender that no other one has."""
    codes: dict[str, str] = {}
    senders: dict[tuple[str, str], str] = {}
    for file, source in found.items():
        if before := codes.get(source.code):
            raise _refusal(file, f"code {source.code} 在 {before} 中已用过")
        codes[source.code] = file
        if not source.sender:
            # rows, and envelopes sent to an address of its own, are its without MSH-3
            if source.code != "default" and not source.row_forms and source.soap is None:
                raise _refusal(
                    file, "缺少 sender（MSH-3）：没有它，发来的消息认不出这个来源；只有 default 可以不写"
                )
            continue
        name = (source.sender, source.facility)
        if before := senders.get(name):
            said = f"sender {source.sender}" + (f"、facility {source.facility}" if source.facility else "")
            raise _refusal(file, f"{said} 与 {before} 相同，消息属于哪一个无法分清")
        senders[name] = file


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
