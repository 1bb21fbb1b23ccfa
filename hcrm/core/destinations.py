"""A system we send to and its local habits: `config/destinations/<name>.yaml`, read at start.

Pure data, like a source: adapters build and send with it, the outbound queue names it by its code.
"""

import ssl
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hcrm.core import limits
from hcrm.core.clock import zone_named
from hcrm.core.config_file import Zone, read_config_file
from hcrm.core.errors import HcrmError

Subject = Literal["follow_up"]
"""What we are the source of and can tell: a finished follow-up. Others come with what triggers them."""


class Tls(BaseModel):
    """How the receiver is known, and we to it; files are PEM."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ca_file: Path = Field(description="certificates the receiver's is checked against")
    certificate_file: Path | None = Field(
        default=None, description="our own, where the receiver asks for one"
    )
    key_file: Path | None = Field(default=None, description="its private key")
    server_name: str = Field(default="", description="name in the receiver's certificate; empty: the host")

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file 与 key_file 须同时填写")
        return self

    def context(self) -> ssl.SSLContext:
        """Read from its files; what is wrong with them is an OSError (ssl.SSLError is one)."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate_file and self.key_file:
            context.load_cert_chain(self.certificate_file, self.key_file)
        return context


class Destination(BaseModel):
    """One receiving system: where it listens, what it wants to hear and how it wants it written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")
    title: str = Field(min_length=1)
    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65_535)
    tls: Tls | None = None
    wants: tuple[Subject, ...] = Field(default=("follow_up",), description="what it is told")
    paused: bool = Field(default=False, description="messages are queued and wait")
    version: Literal["2.4", "2.5", "2.5.1", "2.6"] = Field(default="2.5.1", description="MSH-12")
    charset: Literal["utf-8", "gb18030"] = Field(default="utf-8", description="also written into MSH-18")
    charset_word: str = Field(default="", description="MSH-18 where the receiver knows another word")
    zone: Zone = Field(default="Asia/Shanghai", description="its wall clock; times carry the offset")
    sending_application: str = Field(default="HCRM", min_length=1, description="MSH-3")
    sending_facility: str = Field(default="", description="MSH-4")
    receiving_application: str = Field(default="", description="MSH-5")
    receiving_facility: str = Field(default="", description="MSH-6")
    processing_id: Literal["P", "T", "D"] = Field(default="P", description="MSH-11")
    ack_mode: Literal["original", "enhanced"] = Field(
        default="original", description="enhanced: MSH-15 AL, MSH-16 NE; both answers are understood in both"
    )
    authorities: tuple[str, ...] = Field(
        default=(), description="record numbers of these authorities only, in this order; empty: all"
    )
    connect_seconds: float = Field(default=10.0, gt=0, le=limits.OUTBOUND_MAX_WAIT_SECONDS)
    answer_seconds: float = Field(default=30.0, gt=0, le=limits.OUTBOUND_MAX_WAIT_SECONDS)

    @field_validator(
        "charset_word",
        "sending_application",
        "sending_facility",
        "receiving_application",
        "receiving_facility",
    )
    @classmethod
    def _plain(cls, value: str) -> str:
        if not value.isascii() or not value.isprintable() or set(value) & set("|^~\\&"):
            raise ValueError("只能用 ASCII 字符，且不含 | ^ ~ \\ &")
        return value

    @cached_property
    def zoneinfo(self) -> ZoneInfo:
        """The receiver's wall clock."""
        return zone_named(self.zone)


class Destinations:
    """Every configured destination by its code."""

    def __init__(self, destinations: list[Destination] | None = None) -> None:
        self.by_code = {each.code: each for each in destinations or ()}

    def __iter__(self) -> Iterator[Destination]:
        return iter(self.by_code.values())

    def __bool__(self) -> bool:
        return bool(self.by_code)

    def wanting(self, subject: Subject) -> list[Destination]:
        """Those that are told of this, paused ones too: what they miss meanwhile waits for them."""
        return [each for each in self if subject in each.wants]


def load_destinations(directory: Path) -> Destinations:
    """Read every `*.yaml`; a mistake stops the start with file and field named. No folder: nobody is told anything."""
    found: dict[str, Destination] = {}
    files: dict[str, str] = {}
    for path in sorted(directory.glob("*.yaml")):
        refuse = partial(_refusal, path.name)
        destination = read_config_file(Destination, path, refuse)
        if before := files.get(destination.code):
            raise refuse(f"code {destination.code} 在 {before} 中已用过")
        try:
            if destination.tls:
                destination.tls.context()
        except OSError as error:
            raise refuse(f"tls 证书或密钥文件无法读取（{type(error).__name__}）") from error
        found[destination.code] = destination
        files[destination.code] = path.name
    return Destinations(list(found.values()))


def _refusal(file: str, sentence: str) -> HcrmError:
    return HcrmError("destination.invalid", f"发送目标 {file} 有误：{sentence}")
