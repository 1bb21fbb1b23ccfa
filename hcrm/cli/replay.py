"""`hcrm inbox replay`: a module of its own, since only this needs every reader of messages."""

import json

import click
import sqlalchemy as sa

from hcrm.cli.options import db_option, settings_for
from hcrm.core.actor import system_actor
from hcrm.core.errors import HcrmError
from hcrm.core.runtime import open_database
from hcrm.core.work import open_work
from hcrm.inbox.models import ApplicationState, InboxApplication
from hcrm.inbox.service import replay_messages


@click.command(help="重新应用消息 | apply messages again")
@db_option
@click.option("--seq", "seqs", multiple=True, type=int, help="消息序号，可多次 | sequence number, repeatable")
@click.option("--parked", is_flag=True, help="全部已搁置的消息 | every parked message")
@click.option("--reason", default="", help="只限此原因 | only with this reason")
@click.option("--release", is_flag=True, help="放行被拦截的合并与删除 | let through what the guard stopped")
def replay(db: str, seqs: tuple[int, ...], parked: bool, reason: str, release: bool) -> None:
    """The worker applies them; what was applied before changes nothing."""
    if not seqs and not parked:
        raise HcrmError("inbox.replay", "请用 --seq 指定消息，或用 --parked 选择全部已搁置的消息")
    database = open_database(settings_for(db))
    with open_work(database, actor=system_actor("cli")) as work:
        wanted = list(seqs)
        if parked:
            where = [InboxApplication.state == ApplicationState.PARKED]
            where += [InboxApplication.reason == reason] if reason else []
            wanted += work.scalars(sa.select(InboxApplication.seq).where(*where))
        count = replay_messages(work, seqs=wanted, release=release)
    click.echo(json.dumps({"replayed": count}))
