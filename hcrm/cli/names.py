"""`hcrm names`: what patients are found by."""

import click

from hcrm.archive.names.tokens import rebuild_names
from hcrm.cli.options import Bilingual, db_option, settings_for
from hcrm.core.actor import system_actor
from hcrm.core.runtime import open_database
from hcrm.core.work import open_work


@click.group(cls=Bilingual, help="姓名检索 | finding patients by name")
def names() -> None:
    """Tokens of names."""


@names.command(
    help="按 config/names.yaml 重建全部姓名检索词；可在运行中执行，随时可重跑 | makes the tokens of all names anew"
)
@db_option
def rebuild(db: str) -> None:
    """Batch by batch, each in its own work: pages and messages go on meanwhile."""
    database = open_database(settings_for(db))
    after: str | None = ""
    batches = 0
    try:
        while after is not None:
            with open_work(database, actor=system_actor("cli")) as work:
                after = rebuild_names(work, after=after)
            batches += after is not None
    finally:
        database.dispose()
    click.echo(f"已重建姓名检索词（{batches} 批）")
