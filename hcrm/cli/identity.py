"""`hcrm identity`: looking for archives that may be one person, through all of them."""

import click

from hcrm.archive.identity.full_scan import scan_all
from hcrm.cli.options import Bilingual, db_option, settings_for
from hcrm.core.actor import system_actor
from hcrm.core.clock import SystemClock
from hcrm.core.runtime import open_database


@click.group(cls=Bilingual, help="疑似重复的档案 | archives that may be one person")
def identity() -> None:
    """What changes is looked through every few minutes by itself; this is for everything."""


@identity.command(
    help="在全部档案中查找疑似重复，中断后接着查 | look for pairs among all archives; goes on after a break"
)
@db_option
@click.option("--afresh", is_flag=True, help="从头开始 | from the beginning")
def scan(db: str, afresh: bool) -> None:
    """After an installation, an import, or a new version of the rule."""
    database = open_database(settings_for(db))
    pairs = scan_all(
        database, system_actor("cli"), SystemClock(), afresh=afresh,
        progress=lambda done, total, found: click.echo(f"\r已比对 {done} / {total} 份档案，发现 {found} 对", nl=False),
    )  # fmt: skip
    click.echo(f"\n完成：新发现或需重新核对 {pairs} 对，请在“患者”页的“疑似重复”中核对")
