"""`hcrm segments`: make the flat rows anew, and compare."""

import click

from hcrm.cli.options import Bilingual, db_option, settings_for
from hcrm.core.actor import system_actor
from hcrm.core.runtime import open_database
from hcrm.core.work import open_work
from hcrm.segments.profile import rebuild_profiles

_ACTOR = system_actor("cli")


@click.group(cls=Bilingual, help="患者分群 | patient segments")
def segments() -> None:
    """Segments are counted over flat rows that the worker keeps."""


@segments.command(help="重新生成分群所用的患者概要 | make the flat rows of all patients anew")
@db_option
def rebuild(db: str) -> None:
    """In batches, beside everything else that runs; may be broken off and begun again."""
    database = open_database(settings_for(db))
    after, total, count = "", 0, 1
    while count:
        with open_work(database, actor=_ACTOR) as work:
            after, count = rebuild_profiles(work, after=after)
        total += count
        click.echo(f"\r已完成 {total} 位患者", nl=False)
    click.echo(f"\n已重新生成 {total} 位患者的概要")
