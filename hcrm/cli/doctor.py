"""`hcrm doctor` and `hcrm limits`."""

import os
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator

import click
import sqlalchemy as sa
from pydantic import BaseModel

from hcrm.accounts.permissions import roles
from hcrm.archive.test_patients.service import count_test_patients
from hcrm.cli.doctor_channels import check_certificates, check_channels
from hcrm.cli.doctor_sources import list_sources, source_warnings
from hcrm.cli.options import db_option, settings_for
from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.errors import HcrmError
from hcrm.core.migrate import require_current_schema
from hcrm.core.paths import config_path
from hcrm.core.runtime import key_path, open_database, open_destinations
from hcrm.core.settings import Settings
from hcrm.core.work import open_work

_AWAY = "连不上数据库，请检查地址、网络和账号"


@click.command("limits", help="列出所有上限与时限 | print every limit")
def show_limits() -> None:
    """One line each."""
    for name in sorted(name for name in vars(limits) if name.isupper()):
        click.echo(f"{name} = {getattr(limits, name)}")


@click.command(help="检查设置、配置、密钥和数据库 | check settings, config, keys and database")
@db_option
def doctor(db: str) -> None:
    """Exit code 0 only when all is well."""
    settings = settings_for(db)
    written = _written()
    for name, value in _flat(settings):
        origin = "--db" if db and name == "db.url" else _origin(name, value, written)
        shown = _key_file(settings) if name == "key_file" and value is None else _masked(name, value)
        click.echo(f"{name} = {shown}  ({origin})")
    faults: list[str] = []
    for title, check in _checks(settings):
        try:
            found = check()
            click.echo(f"✓ {title}")
            for line in found or ():
                click.echo(f"    {line}")
        except (HcrmError, sa.exc.OperationalError) as error:
            fault = error.message if isinstance(error, HcrmError) else _AWAY
            click.echo(f"✗ {title}：{'没有检查，原因同上' if fault in faults else fault}")
            faults.append(fault)
    for warning in source_warnings(config_path("sources"), settings):
        click.echo(f"! {warning}")
    sys.exit(1 if faults else 0)


def _checks(settings: Settings) -> Iterator[tuple[str, Callable[[], Iterable[str] | None]]]:
    """Each with its title; what one returns are lines that say what it found well."""
    yield "来源配置 sources", lambda: list(list_sources(config_path("sources")))
    yield "发送目标 destinations", lambda: _nothing(open_destinations())
    yield "角色与权限 roles", lambda: _nothing(roles())
    yield "数据库结构 schema", lambda: require_current_schema(settings.db.url)
    yield "密钥与数据库 keys and database", lambda: open_database(settings).dispose()
    yield "测试患者 test patients", lambda: _test_patients(settings)
    yield "TLS 证书 certificates", lambda: check_certificates(settings.mllp)
    yield "文件夹与视图 folders and views", lambda: check_channels(settings)


def _test_patients(settings: Settings) -> list[str]:
    """How many archives are in no list, and where messages for them may go."""
    database = open_database(settings)
    try:
        with open_work(database, actor=system_actor("doctor"), write=False) as work:
            count = count_test_patients(work)
    finally:
        database.dispose()
    return [f"{count} 份档案，可发送的号码 {len(settings.test_patients.send_to)} 个"]


def _nothing(_: object) -> None:
    """It could be read, and that is all."""


def _written() -> set[str]:
    """The settings `config/hcrm.toml` speaks of; it was read before, so it is there and sound or absent."""
    path = config_path("hcrm.toml")
    content = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {
        f"{part}.{name}" if isinstance(values, dict) else part
        for part, values in content.items()
        for name in (values if isinstance(values, dict) else [part])
    }


def _origin(name: str, value: object, written: set[str]) -> str:
    """Where a value comes from."""
    variable = "HCRM_" + name.upper().replace(".", "__")
    if variable in os.environ:
        return variable
    if name in written:
        return "config/hcrm.toml"
    return "未设置 not set" if value == "" else "默认 default"


def _key_file(settings: Settings) -> object:
    """The key file in use where none is named."""
    try:
        return key_path(settings)
    except HcrmError:  # no database, or PostgreSQL: the check below says so
        return ""


def _flat(part: BaseModel, prefix: str = "") -> Iterator[tuple[str, object]]:
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _masked(name: str, value: object) -> object:
    if name == "db.url" and "@" in str(value):
        scheme, _, rest = str(value).partition("://")
        return f"{scheme}://***@{rest.rpartition('@')[2]}"
    return value
