"""`hcrm inbox`: wait until everything is applied, replay messages."""

import json
import sys
import time

import click

from hcrm.cli.options import Bilingual, db_option, settings_for
from hcrm.core.actor import system_actor
from hcrm.core.runtime import open_database
from hcrm.core.work import open_work
from hcrm.inbox.queries import count_messages, is_idle

_ACTOR = system_actor("cli")


_LAZY = {"reconcile": "hcrm.cli.reconcile:reconcile", "replay": "hcrm.cli.replay:replay"}


@click.group(cls=Bilingual, lazy=_LAZY, help="接口消息 | received messages")
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
