"""`hcrm config`: definitions out to files and in from files."""

from pathlib import Path

import click
import sqlalchemy as sa

from hcrm.app.install import KINDS, publish_folder
from hcrm.centre.published import published_rules
from hcrm.cli.options import Bilingual, db_option, settings_for
from hcrm.core.actor import system_actor
from hcrm.core.definitions import Definition, latest_definitions
from hcrm.core.runtime import open_database
from hcrm.core.work import open_work

_ACTOR = system_actor("cli")


@click.group(cls=Bilingual, help="方案、表单与规则 | protocols, forms and rules")
def config() -> None:
    """Definitions are versioned rows; files are their exchange form."""


@config.command(help="把已发布的最新版本写成文件 | write the newest published versions as files")
@db_option
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def export(db: str, folder: Path) -> None:
    """One file each, named as in config/."""
    database = open_database(settings_for(db))
    with open_work(database, actor=_ACTOR, write=False) as work:
        for kind, name in KINDS.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            for row in latest_definitions(work, kind=kind).values():
                (folder / name / f"{row.code.replace('.', '_')}.yaml").write_text(row.body, encoding="utf-8")
        click.echo(f"已导出 {work.scalar(sa.select(sa.func.count(sa.distinct(Definition.code))))} 个定义")


@config.command(help="发布文件夹中的新版本 | publish new versions from a folder")
@db_option
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def load(db: str, folder: Path) -> None:
    """All of them or none; a published version is never changed."""
    database = open_database(settings_for(db))
    with open_work(database, actor=_ACTOR) as work:
        before = published_rules(work)
        count = publish_folder(work, folder)
        has_new_rules = before != published_rules(work)
    click.echo(f"已发布 {count} 个新版本")
    if has_new_rules:
        click.echo("分类规则有新版本：已有的就诊请在“分群 · 分类规则”页预览后重新分类")
