"""`hcrm inbox replay`: a module of its own, since only this needs every reader of messages."""

import json
from collections.abc import Sequence
from difflib import get_close_matches

import click
import sqlalchemy as sa

from hcrm.cli.options import db_option, settings_for
from hcrm.core.actor import system_actor
from hcrm.core.errors import HcrmError
from hcrm.core.runtime import open_database
from hcrm.core.work import Work, open_work
from hcrm.inbox.models import ApplicationState, InboxApplication
from hcrm.inbox.service import replay_messages
from hcrm.inbox.words import REASONS


@click.command(help="重新应用消息 | apply messages again")
@db_option
@click.option(
    "--seq", "seqs", multiple=True, type=click.IntRange(1, 2**63 - 1),
    help="消息序号，可多次 | sequence number, repeatable",
)  # fmt: skip
@click.option("--parked", is_flag=True, help="全部已搁置的消息 | every parked message")
@click.option("--reason", default="", help="只限此原因 | only with this reason")
@click.option("--release", is_flag=True, help="放行被拦截的合并与删除 | let through what the guard stopped")
def replay(db: str, seqs: tuple[int, ...], parked: bool, reason: str, release: bool) -> None:
    """The worker applies them; what was applied before changes nothing."""
    if not seqs and not parked:
        raise HcrmError("inbox.replay", "请用 --seq 指定消息，或用 --parked 选择全部已搁置的消息")
    database = open_database(settings_for(db))
    with open_work(database, actor=system_actor("cli")) as work:
        _require_known(work, seqs)
        if reason:
            _require_reason(work, reason)
        wanted = list(seqs)
        if parked:
            where = [InboxApplication.state == ApplicationState.PARKED]
            where += [InboxApplication.reason == reason] if reason else []
            wanted += work.scalars(sa.select(InboxApplication.seq).where(*where))
        count = replay_messages(work, seqs=wanted, release=release)
    click.echo(json.dumps({"replayed": count}))


def _require_reason(work: Work, reason: str) -> None:
    """Refuse a reason that there is not, naming those of the messages that are parked."""
    parked = work.scalars(
        sa.select(InboxApplication.reason)
        .where(InboxApplication.state == ApplicationState.PARKED, InboxApplication.reason.is_not(None))
        .distinct()
        .order_by(InboxApplication.reason)
    )
    used = [str(each) for each in parked]
    if reason in REASONS or reason in used:
        return
    near = get_close_matches(reason, [*used, *REASONS], n=1)
    meant = f"，是否想写 {near[0]}？" if near else "。"
    listed = "、".join(f"{each}（{REASONS.get(each, (each,))[0]}）" for each in used) or "没有已搁置的消息"
    raise HcrmError("inbox.replay", f"没有原因 {reason}{meant}已搁置的消息现有：{listed}")


def _require_known(work: Work, seqs: Sequence[int]) -> None:
    """Refuse numbers that no message has: a slip of the pen should not look done."""
    known = set(work.scalars(sa.select(InboxApplication.seq).where(InboxApplication.seq.in_(seqs))))
    if absent := [str(seq) for seq in dict.fromkeys(seqs) if seq not in known]:
        raise HcrmError("inbox.replay", f"没有这条消息：{'、'.join(absent)}")
