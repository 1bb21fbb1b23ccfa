"""Typed settings: `config/hcrm.toml`, overridden by `HCRM_…` environment variables; a mistyped key stops the start."""

import tomllib
from datetime import time
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from hcrm.core import limits
from hcrm.core.channels import DeathView
from hcrm.core.clock import zone_named
from hcrm.core.config_file import WallTime, Zone, mistakes_of
from hcrm.core.errors import HcrmError
from hcrm.core.paths import config_path
from hcrm.core.sources import Network


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Hospital(_Part):
    """Who we are: shown on pages, counted in dates, compared with regions."""

    name: str = "示范中医院"
    zone: Zone = "Asia/Shanghai"
    region: str = Field(default="330106", description="six-digit code of the county the hospital lies in")


class Db(_Part):
    """Where the archive lies."""

    url: str = ""


class Http(_Part):
    """The console."""

    secure: bool = Field(default=False, description="behind TLS: secure cookies and HSTS")
    threads: int = 8


class Mllp(_Part):
    """The HL7 v2 socket."""

    connections_per_address: int = limits.CONNECTIONS_PER_ADDRESS
    connections_total: int = limits.CONNECTIONS_TOTAL
    known_senders_only: bool = False
    allow: tuple[str, ...] = Field(default=(), description="networks that may connect; empty: everybody")
    tls_cert: str = Field(default="", description="our certificate with its chain; empty: plain MLLP")
    tls_key: str = ""
    tls_ca: str = Field(default="", description="authority of the peers' certificates")
    client_certificates: Literal["none", "required"] = "none"
    tls_listen: str = Field(
        default="", description="HOST:PORT of TLS; empty: the address of --mllp speaks it"
    )

    @field_validator("allow")
    @classmethod
    def _known_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            try:
                ip_network(each)
            except ValueError:
                raise ValueError("应为地址或网段，如 10.1.0.0/16") from None
        return value

    @model_validator(mode="after")
    def _whole_tls(self) -> "Mllp":
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("tls_cert 与 tls_key 要么都写，要么都不写")
        if not self.tls_cert and (self.tls_ca or self.tls_listen or self.client_certificates != "none"):
            raise ValueError("没有 tls_cert 就没有 TLS：tls_ca、tls_listen、client_certificates 不起作用")
        if self.client_certificates == "required" and not self.tls_ca:
            raise ValueError("client_certificates = required 需要 tls_ca")
        return self

    @property
    def networks(self) -> tuple[Network, ...]:
        """`allow` as networks."""
        return tuple(ip_network(each) for each in self.allow)


class Inbox(_Part):
    """What was received."""

    keep_days: int = Field(
        default=30, ge=0, description="days the text of a message that is done is kept; 0: always"
    )


class TestPatients(_Part):
    """Archives that are no patient's."""

    __test__ = False  # no class of tests

    send_to: tuple[str, ...] = Field(
        default=(), description="phone numbers that messages for test patients may go to; empty: none"
    )


class Recordings(_Part):
    """Recordings of contacts."""

    folder: str = Field(
        default="", description="where they lie sealed; empty: beside the SQLite database, or the key file"
    )
    keep_days: int = Field(default=1095, ge=0, description="days a recording is kept; 0: always")


class DeathList(_Part):
    """The hospital's list of deaths, applied before each day's first sending."""

    required: bool = Field(default=False, description="nothing is sent on a day whose list was not applied")
    at: WallTime = Field(default=time(6), description="from when the day's list is looked for")
    folder: str = Field(default="", description="where its files are put; empty: none")
    evening: WallTime | None = Field(
        default=None, description="a list written after this counts for the day after too; empty: none does"
    )
    view: DeathView | None = Field(default=None, description="view of another system's database")

    @field_validator("folder")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if value and not Path(value).is_absolute():
            raise ValueError("应为绝对路径")
        return value

    @model_validator(mode="after")
    def _has_a_list(self) -> "DeathList":
        if self.required and not self.folder and self.view is None:
            raise ValueError("required = true 需要 folder 或 view")
        return self


class Settings(BaseSettings):
    """Every setting with its default; `hcrm doctor` prints the effective value and where it comes from."""

    model_config = SettingsConfigDict(env_prefix="HCRM_", env_nested_delimiter="__", extra="forbid")

    hospital: Hospital = Hospital()
    db: Db = Db()
    http: Http = Http()
    mllp: Mllp = Mllp()
    inbox: Inbox = Inbox()
    test_patients: TestPatients = TestPatients()
    recordings: Recordings = Recordings()
    death_list: DeathList = DeathList()
    key_file: Path | None = None

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:  # fmt: skip
        """Arguments, then environment, then the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, config_path("hcrm.toml"))

    @cached_property
    def zone(self) -> ZoneInfo:
        """The zone dates are counted in."""
        return zone_named(self.hospital.zone)


def load_settings(**overrides: object) -> Settings:
    """The effective settings; what is wrong is said in one line."""
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type]
    except tomllib.TOMLDecodeError as error:
        raise HcrmError("settings.invalid", f"config/hcrm.toml 无法读取：{error}") from error
    except ValidationError as error:
        raise HcrmError("settings.invalid", f"配置项有误：{mistakes_of(error)}") from error
    return settings
