"""`hcrm simulate`: the seeded hospital's messages to a file, to a listener, or in bulk into an archive."""

import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path

import click
import sqlalchemy as sa

from adapters.his.client import MllpClient, is_positive
from adapters.his.mapping import map_message
from adapters.his.simulator import Simulator, bench_messages
from hcrm.app.address import split_address
from hcrm.archive.arrivals import Arrival
from hcrm.archive.models import Patient
from hcrm.archive.records import Change
from hcrm.archive.service import absorb_records
from hcrm.cli.options import db_option, settings_for
from hcrm.core.actor import system_actor
from hcrm.core.db import Database
from hcrm.core.errors import HcrmError
from hcrm.core.events import Event
from hcrm.core.paths import config_path
from hcrm.core.runtime import open_database
from hcrm.core.sources import load_sources
from hcrm.core.work import open_work

_BATCH = 1_000


@click.command(help="模拟 HIS 报文：写文件、发往监听端口或批量建档 | simulated HIS messages")
@click.option(
    "--seed", type=int, default=1, show_default=True, help="同一种子，同样的字节 | same seed, same bytes"
)
@click.option("--days", type=int, default=30, show_default=True, help="模拟天数 | days")
@click.option("--patients", type=int, default=300, show_default=True, help="患者数 | patients")
@click.option("--start", type=click.DateTime(["%Y-%m-%d"]), default=None, help="第一天 | first day")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="写入 MLLP 帧文件 | write frames to a file"
)
@click.option("--to", "to", default="", metavar="HOST:PORT", help="发往 MLLP 监听端口 | send to a listener")
@click.option("--load", type=int, default=0, help="直接建 N 份档案（压测用）| load N archives in bulk")
@db_option
def simulate(
    seed: int, days: int, patients: int, start: datetime | None, out: Path | None, to: str, load: int, db: str
) -> None:
    """Prints one JSON line with what was done."""
    began = time.monotonic()
    if load:
        done = load_archive(open_database(settings_for(db)), count=load, seed=seed)
    elif out or to:
        first = start.date() if start else date.today() - timedelta(days=days)  # noqa: DTZ011  only a default
        messages = (message.raw for message in Simulator(seed, first, days, patients).messages())
        done = _write(messages, out) if out else _send(messages, to)
    else:
        raise HcrmError("simulate.target", "请用 --out、--to 或 --load 说明要做什么")
    click.echo(json.dumps({"messages": done, "seconds": round(time.monotonic() - began, 1)}))


def load_archive(database: Database, *, count: int, seed: int) -> int:
    """Absorb `count` patients with a finished stay each, past the socket and the inbox; their events go nowhere.

    For measuring on a full archive: nobody is instructed to call these patients.
    """
    sources = load_sources(config_path("sources"))
    actor = system_actor("simulate")
    received = datetime.now(UTC)
    with open_work(database, actor=actor, write=False) as work:
        known = int(work.scalar(sa.select(sa.func.count()).select_from(Patient)))
    messages = bench_messages(seed, count, already=known)
    done = 0
    while batch := list(islice(messages, _BATCH)):
        arrivals = []
        for number, message in enumerate(batch, start=done + 1):
            result = map_message(message.raw, sources, received).result
            if isinstance(result, Change):
                arrivals.append(Arrival(number, result))
        with open_work(database, actor=actor) as work:
            absorb_records(work, arrivals=arrivals)
            work.flush()
            work.execute(sa.update(Event).where(~Event.is_delivered).values(is_delivered=True))
        done += len(batch)
        if sys.stderr.isatty():
            click.echo(f"\r{done}/{count}", nl=False, err=True)
    return done


def _write(messages: Iterator[bytes], out: Path) -> int:
    count = 0
    with out.open("wb") as file:
        for raw in messages:
            file.write(b"\x0b" + raw + b"\x1c\r")
            count += 1
    return count


def _send(messages: Iterator[bytes], to: str) -> int:
    count = 0
    host, port = split_address(to)
    try:
        client = MllpClient(host, port)
    except OSError as error:
        raise HcrmError("simulate.unreachable", f"连不上 {to}：没有程序在监听，或网络不通") from error
    with client:
        for raw in messages:
            try:
                answer = client.send(raw)
            except OSError as error:  # closed, or silent for too long
                raise HcrmError("simulate.no_answer", f"{to} 没有应答就断开了，已收下 {count} 条") from error
            if not is_positive(answer):
                raise HcrmError("simulate.refused", f"监听端口拒绝了一条消息，已收下 {count} 条")
            count += 1
    return count
