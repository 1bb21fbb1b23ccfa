"""`hcrm doctor` and `hcrm limits`."""

import os
import sys
from collections.abc import Iterator

import click
import sqlalchemy as sa
from pydantic import BaseModel

from hcrm.accounts.permissions import roles
from hcrm.cli.options import db_option, settings_for
from hcrm.core import limits
from hcrm.core.errors import HcrmError
from hcrm.core.migrate import require_current_schema
from hcrm.core.paths import config_path
from hcrm.core.runtime import open_database
from hcrm.core.sources import load_sources


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
    for name, value in _flat(settings):
        variable = "HCRM_" + name.upper().replace(".", "__")
        origin = (
            "--db" if db and name == "db.url" else variable if variable in os.environ else "config/hcrm.toml"
        )
        click.echo(f"{name} = {_masked(name, value)}  ({origin})")
    faults = 0
    for title, check in (
        ("来源配置 sources", lambda: load_sources(config_path("sources"))),
        ("角色与权限 roles", roles),
        ("数据库结构 schema", lambda: require_current_schema(settings.db.url)),
        ("密钥与数据库 keys and database", lambda: open_database(settings).dispose()),
    ):
        try:
            check()
            click.echo(f"✓ {title}")
        except HcrmError as error:
            faults += 1
            click.echo(f"✗ {title}：{error.message}")
        except sa.exc.OperationalError:
            faults += 1
            click.echo(f"✗ {title}：连不上数据库，请检查地址、网络和账号")
    sys.exit(1 if faults else 0)


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
