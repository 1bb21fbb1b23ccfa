"""Typed settings: `config/hcrm.toml`, overridden by `HCRM_…` environment variables; a mistyped key stops the start."""

import tomllib
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from hcrm.core import limits
from hcrm.core.clock import zone_named
from hcrm.core.errors import HcrmError
from hcrm.core.paths import config_path


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Hospital(_Part):
    """Who we are: shown on pages, counted in dates, compared with regions."""

    name: str = "示范中医院"
    zone: str = "Asia/Shanghai"
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


class Settings(BaseSettings):
    """Every setting with its default; `hcrm doctor` prints the effective value and where it comes from."""

    model_config = SettingsConfigDict(env_prefix="HCRM_", env_nested_delimiter="__", extra="forbid")

    hospital: Hospital = Hospital()
    db: Db = Db()
    http: Http = Http()
    mllp: Mllp = Mllp()
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
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise HcrmError("settings.invalid", f"配置项 {place} 有误：{first['msg']}") from error
    settings.zone  # noqa: B018  an empty zone refuses to start
    return settings
