"""`hcrm inbox reconcile`: compare a day with the HIS's own list, now."""

import sys
from datetime import date, datetime, timedelta

import click

from hcrm.cli.options import db_option, settings_for
from hcrm.core.actor import system_actor
from hcrm.core.clock import SystemClock, local_date
from hcrm.core.errors import HcrmError
from hcrm.core.runtime import open_database, open_sources
from hcrm.inbox.census import reconcile_day
from hcrm.inbox.census_models import RunState
from hcrm.scheduler.table import CENSUS


@click.command(help="与 HIS 名单对账；有差异或没有名单返回 1 | compare a day with the HIS's own list")
@db_option
@click.option(
    "--day", type=click.DateTime(["%Y-%m-%d"]), default=None, help="默认昨天 | yesterday by default"
)
@click.option("--source", "code", default="", metavar="CODE", help="只对此来源 | this source only")
def reconcile(db: str, day: datetime | None, code: str) -> None:
    """A line per source; nothing of patients."""
    settings = settings_for(db)
    clock = SystemClock()
    database = open_database(settings)
    chosen: date = day.date() if day else local_date(clock.now()) - timedelta(days=1)
    sources = [
        source
        for source in open_sources(settings).by_code.values()
        if source.census is not None and code in ("", source.code)
    ]
    if not sources:
        raise HcrmError("census.none", "没有来源配置了 census")
    is_clean = True
    for source in sources:
        run = reconcile_day(
            database, actor=system_actor("cli"), clock=clock, source=source, day=chosen, parts=CENSUS
        )
        if run is None:
            click.echo(f"{source.code} {chosen} 名单未到，或与上次相同")
            is_clean = False
            continue
        click.echo(
            f"{source.code} {chosen} {run.state.label}：名单 {run.rows} 人次，不一致 {run.findings} 人次"
        )
        is_clean = is_clean and run.state is RunState.COMPLETE and not run.findings
    sys.exit(0 if is_clean else 1)
