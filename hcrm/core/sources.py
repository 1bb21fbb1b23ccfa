"""A source system and its local habits: `config/sources/<source>.yaml`, read at start.

Pure data: adapters map with it, the inbox finds it by MSH-3 and MSH-4. Rules: assurance section 0, domain 3.
"""

from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from hcrm.core.clock import zone_named
from hcrm.core.errors import HcrmError

AckMode = Literal["auto", "original", "enhanced", "application"]


class Source(BaseModel):
    """One sending system: how its bytes are read and what its local codes mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: str
    title: str
    sender: str = Field(default="", description="MSH-3.1 it is known by; empty in default.yaml")
    facility: str = Field(default="", description="MSH-4.1; empty means any")
    charset: str = "utf-8"
    charset_forced: bool = False
    zone: str = "Asia/Shanghai"
    ack_mode: AckMode = "auto"
    processing_ids: tuple[str, ...] = Field(default=("P", "T", "D", ""), description="MSH-11 accepted")
    default_authority: str = Field(default="", description="assigning authority where PID-3.4 is empty")
    record_number_types: tuple[str, ...] = Field(
        default=("MR", "MRN", "PI", "PT", ""), description="PID-3.5 taken as record numbers, best first"
    )
    id_number_types: tuple[str, ...] = Field(default=("NI", "NNCHN", "IdentifyNO"), description="citizen ID")
    authority_uris: dict[str, str] = Field(default_factory=dict, description="FHIR system of an authority")
    visit_number_from: tuple[str, ...] = Field(
        default=("PV1-19", "PID-18"), description="visit number, else the account of the stay"
    )
    department_from: tuple[str, ...] = Field(
        default=("PV1-3.1",), description="first non-empty position wins"
    )
    department_name_from: tuple[str, ...] = ()
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
    region_from: tuple[str, ...] = Field(
        default=("PID-11.9",), description="six-digit region code of the address"
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

    def find(self, sender: str, facility: str) -> Source | None:
        """The source of MSH-3.1 and MSH-4.1; None where only known senders are accepted."""
        found = self._by_sender.get((sender, facility)) or self._by_sender.get((sender, ""))
        return found or (None if self.known_senders_only else self.default)


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


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))} {first['msg']}"
    return str(error).splitlines()[0]
