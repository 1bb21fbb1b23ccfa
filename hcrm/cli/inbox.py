"""`hcrm inbox`: wait until everything is applied, replay messages."""

import json
import sys
import time

import click
import sqlalchemy as sa

from hcrm.app.wiring import intake
from hcrm.cli.options import Bilingual, db_option, settings_for
from hcrm.core.actor import system_actor
from hcrm.core.clock import SystemClock
from hcrm.core.errors import HcrmError
from hcrm.core.paths import config_path
from hcrm.core.runtime import open_database
from hcrm.core.sources import load_sources
from hcrm.core.work import open_work
from hcrm.inbox.models import ApplicationState, InboxApplication
from hcrm.inbox.queries import count_messages, is_idle
from hcrm.inbox.service import replay_messages

_ACTOR = system_actor("cli")


@click.group(cls=Bilingual, help="接口消息 | received messages")
def inbox() -> None:
    """Received messages."""


@inbox.command(help="等到没有待处理的消息和事件；超时返回 1 | wait until nothing waits; 1 on time-out")
@db_option
@click.option("--timeout", type=float, default=60.0, show_default=True, help="秒 | seconds")
def wait(db: str, timeout: float) -> None:
    """Prints one JSON line."""
    database = open_database(settings_for(db))
    deadline = time.monotonic() + timeout
    pause = 0.02
    while True:
        with open_work(database, actor=_ACTOR, write=False) as work:
            idle = is_idle(work)
            if idle or time.monotonic() >= deadline:
                counts = count_messages(work)
                break
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)
    click.echo(json.dumps(counts.as_dict()))
    sys.exit(0 if idle else 1)


@inbox.command(help="重新应用消息 | apply messages again")
@db_option
@click.option("--seq", "seqs", multiple=True, type=int, help="消息序号，可多次 | sequence number, repeatable")
@click.option("--parked", is_flag=True, help="全部已搁置的消息 | every parked message")
@click.option("--reason", default="", help="只限此原因 | only with this reason")
def replay(db: str, seqs: tuple[int, ...], parked: bool, reason: str) -> None:
    """The worker applies them; what was applied before changes nothing."""
    if not seqs and not parked:
        raise HcrmError("inbox.replay", "请用 --seq 指定消息，或用 --parked 选择全部已搁置的消息")
    database = open_database(settings_for(db))
    sources = load_sources(config_path("sources"))
    with open_work(database, actor=_ACTOR) as work:
        wanted = list(seqs)
        if parked:
            where = [InboxApplication.state == ApplicationState.PARKED]
            where += [InboxApplication.reason == reason] if reason else []
            wanted += work.scalars(sa.select(InboxApplication.seq).where(*where))
        count = replay_messages(work, seqs=wanted, intake=intake(sources, SystemClock()))
    click.echo(json.dumps({"replayed": count}))
