"""Every job, its time and its function, on one page."""

from collections.abc import Callable
from dataclasses import dataclass

from adapters.his.census import read_census_file
from adapters.his.map_row import map_row
from hcrm.centre.jobs import expire_instructions
from hcrm.core.actor import Actor
from hcrm.core.clock import Clock
from hcrm.core.db import Database
from hcrm.core.settings import load_settings
from hcrm.core.work import Work
from hcrm.inbox.census import reconcile_due
from hcrm.inbox.census_list import CensusParts
from hcrm.inbox.configured import configured_sources
from hcrm.inbox.monitor import watch_interface
from hcrm.inbox.outbound_acts import prune_outbound
from hcrm.inbox.pruning import prune_messages
from hcrm.inbox.replaying import continue_replays
from hcrm.inbox.service import park_expired_holds
from hcrm.inbox.traffic import count_traffic


@dataclass(frozen=True, slots=True)
class Job:
    """A function that is run at certain times, again and again until it says that it touched none.

    `cron` is (minute, hour, day, month, weekday by name) on the hospital's clock. Every job here goes by what stands
    in the database, not by when it runs, so after downtime only its latest due instant is caught up. `sweep` stands
    instead of a function for what takes many small transactions with rests between: it is called once a run.
    """

    name: str
    title: str
    cron: str
    function: Callable[[Work], int] | None
    sweep: Callable[[Database, Actor, Clock], int] | None = None


def prune_by_settings(database: Database, actor: Actor, clock: Clock) -> int:
    """Pruning for as many days as the settings say."""
    return prune_messages(database, actor=actor, clock=clock, keep_days=load_settings().inbox.keep_days)


CENSUS = CensusParts(map_row, read_census_file)
"""Who understands a row of a HIS's own list, and who opens its file."""


def reconcile_by_sources(database: Database, actor: Actor, clock: Clock) -> int:
    """Comparing with the lists that the source files name, at the hours they name: as they were read at start."""
    return reconcile_due(database, actor=actor, clock=clock, sources=configured_sources(), parts=CENSUS)


JOBS = (
    Job("instructions.expire", "随访指令到期关闭", "5 0 * * *", expire_instructions),
    Job("outbound.prune", "已送达的消息到期删除", "20 3 * * *", prune_outbound),
    Job("inbox.park_holds", "等待超时的接口消息转搁置", "*/10 * * * *", park_expired_holds),
    Job("inbox.count_traffic", "统计接口流量", "*/5 * * * *", count_traffic),
    Job("inbox.reconcile", "与 HIS 名单对账", "*/5 * * * *", None, reconcile_by_sources),
    Job("inbox.watch", "接口异常检查", "*/5 * * * *", watch_interface),
    Job("inbox.replay_batches", "批量重新处理", "* * * * *", continue_replays),
    Job("inbox.prune", "清除到期的消息原文", "20 * * * *", None, prune_by_settings),
)
