"""`hcrm deaths`: apply the day's death list now, and say what became of the lists."""

import sys

import click

from hcrm.app.wiring import importers
from hcrm.archive.death_list.models import DeathListRun, RunState
from hcrm.archive.death_list.service import count_near, count_unknown
from hcrm.archive.death_list.state import configured_ways, death_list_policy, list_alarm, list_runs
from hcrm.archive.imports.death_list import KIND
from hcrm.cli.options import Bilingual, db_option, settings_for
from hcrm.core.actor import system_actor
from hcrm.core.clock import SystemClock
from hcrm.core.errors import HcrmError
from hcrm.core.runtime import open_database
from hcrm.core.work import open_work
from hcrm.exchange.death_list import apply_lists

_ACTOR = system_actor("cli")


@click.group(cls=Bilingual, help="死亡名单 | the hospital's list of deaths")
def deaths() -> None:
    """The list that is applied before each day's first sending."""


@deaths.command(help="立即应用最新的死亡名单；没有全部应用时返回 1 | apply the newest lists now")
@db_option
def apply(db: str) -> None:
    """A line for each way a list comes; nothing of patients."""
    database = open_database(settings_for(db))
    if not configured_ways():
        raise HcrmError("death_list.none", "没有配置死亡名单：hcrm.toml 的 [death_list] 中写 folder 或 view")
    runs = apply_lists(database, actor=_ACTOR, clock=SystemClock(), importer=importers()[KIND], by_hand=True)
    for run in runs:
        click.echo(_line(run))
    sys.exit(0 if all(run.state is RunState.DONE for run in runs) else 1)


@deaths.command(help="近期的死亡名单；今天的没有应用时返回 1 | lists of late")
@db_option
def status(db: str) -> None:
    """What became of each list, what waits, whether sending is held."""
    database = open_database(settings_for(db))
    with open_work(database, actor=_ACTOR, clock=SystemClock(), write=False) as work:
        runs, alarm = list_runs(work), list_alarm(work)
        near, unknown = count_near(work), count_unknown(work)
    for run in runs:
        click.echo(_line(run))
    click.echo(f"待核对 {near} 条，无档案 {unknown} 条")
    if not configured_ways():
        click.echo("没有配置每天的名单")
    elif alarm is None:
        click.echo("今天的名单已应用")
    else:
        held = "，在应用之前不发送" if death_list_policy().required else ""
        click.echo(f"今天的名单还没有应用{held}：{'；'.join(alarm.reasons)}")
    sys.exit(1 if alarm else 0)


def _line(run: DeathListRun) -> str:
    counts = (
        f"{run.read} 行，登记已故 {run.matched}，已登记过 {run.already}，待核对 {run.near}，无档案 {run.unknown}，"
        f"早先见过 {run.known}，有错误 {run.wrong}"
    )
    error = f"（{run.error}）" if run.error else ""
    return f"{run.day} {run.source.label} {run.state.label}{error}：{counts}"
