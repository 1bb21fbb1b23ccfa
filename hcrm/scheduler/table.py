"""Every job, its time and its function, on one page."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from adapters.his.census import read_census_file
from adapters.his.map_row import map_row
from hcrm.archive.death_list.models import RunState
from hcrm.archive.identity.full_scan import continue_full_scan
from hcrm.archive.identity.scan import scan_changed
from hcrm.archive.imports.death_list import death_importer
from hcrm.archive.test_patients.service import follow_test_rules
from hcrm.centre.care import refresh_gaps
from hcrm.centre.classification import sort_visits
from hcrm.centre.instructions import CutOvers
from hcrm.centre.jobs import expire_instructions
from hcrm.centre.rerun import continue_runs
from hcrm.contact_log.recordings import prune_recordings, recording_folder
from hcrm.core.actor import Actor
from hcrm.core.clock import Clock
from hcrm.core.db import Database
from hcrm.core.settings import load_settings
from hcrm.core.sources import Sources
from hcrm.core.work import Work, open_work
from hcrm.exchange.death_list import apply_lists
from hcrm.exchange.exports import prune_exports
from hcrm.exchange.imports import prune_imports
from hcrm.inbox.census import reconcile_due
from hcrm.inbox.census_list import CensusParts
from hcrm.inbox.configured import configured_sources
from hcrm.inbox.monitor import watch_interface
from hcrm.inbox.outbound_acts import prune_outbound
from hcrm.inbox.pruning import prune_messages
from hcrm.inbox.replaying import continue_replays
from hcrm.inbox.service import park_expired_holds
from hcrm.inbox.traffic import count_traffic
from hcrm.segments.jobs import count_segments


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


def continue_reruns(database: Database, actor: Actor, clock: Clock) -> int:
    """Sorting anew what people asked for, batch by batch, with the region and cut-overs of this installation."""
    settings = load_settings()
    return _exhaust(
        database, actor, clock,
        partial(
            continue_runs, home_region=settings.hospital.region, cut_overs=_cut_overs(configured_sources())
        ),
    )  # fmt: skip


def sort_by_settings(database: Database, actor: Actor, clock: Clock) -> int:
    """Sorting visits that no discharge has brought to the centre."""
    return _exhaust(database, actor, clock, partial(sort_visits, home_region=load_settings().hospital.region))


def _exhaust(database: Database, actor: Actor, clock: Clock, step: Callable[[Work], int]) -> int:
    """Batch after batch, each in a work of its own, until there is nothing more to do."""
    total = 0
    while True:
        with open_work(database, actor=actor, clock=clock) as work:
            count = step(work)
        total += count
        if not count:
            return total


def _cut_overs(sources: Sources) -> CutOvers:
    return {each.code: each.follow_up_from for each in sources.by_code.values() if each.follow_up_from}


def prune_recordings_by_settings(work: Work) -> int:
    """Recordings whose time is over, as the settings say."""
    settings = load_settings()
    keep_days = settings.recordings.keep_days
    return prune_recordings(work, folder=recording_folder(settings), keep_days=keep_days) if keep_days else 0


def apply_death_lists(database: Database, actor: Actor, clock: Clock) -> int:
    """Today's death lists, from the hour the settings name until each is applied; how many stand applied."""
    runs = apply_lists(database, actor=actor, clock=clock, importer=death_importer())
    return sum(run.state is RunState.DONE for run in runs)


JOBS = (
    Job("classification.rerun", "按新规则重新分类", "* * * * *", None, continue_reruns),
    Job("classification.sort", "在院和未结束的就诊分类", "*/10 * * * *", None, sort_by_settings),
    Job("segments.count", "计算分群人数", "*/10 * * * *", None, count_segments),
    Job("death_list.apply", "应用当天的死亡名单", "*/5 * * * *", None, apply_death_lists),
    Job("recordings.prune", "录音到期删除", "40 3 * * *", prune_recordings_by_settings),
    Job("instructions.expire", "随访指令到期关闭", "5 0 * * *", expire_instructions),
    Job("care.find_gaps", "查找无下一步的在管患者", "40 1 * * *", None, refresh_gaps),
    Job("test_patients.follow", "测试患者按规则补判", "10 2 * * *", follow_test_rules),
    Job("outbound.prune", "已送达的消息到期删除", "20 3 * * *", prune_outbound),
    Job("exchange.prune", "清除到期的导入文件", "35 3 * * *", prune_imports),
    Job("exchange.prune_exports", "清除到期的导出文件", "10 * * * *", prune_exports),
    Job("inbox.park_holds", "等待超时的接口消息转搁置", "*/10 * * * *", park_expired_holds),
    Job("inbox.count_traffic", "统计接口流量", "*/5 * * * *", count_traffic),
    Job("inbox.reconcile", "与 HIS 名单对账", "*/5 * * * *", None, reconcile_by_sources),
    Job("inbox.watch", "接口异常检查", "*/5 * * * *", watch_interface),
    Job("inbox.replay_batches", "批量重新处理", "* * * * *", continue_replays),
    Job("identity.scan_all", "全部档案比对疑似重复", "* * * * *", None, continue_full_scan),
    Job("identity.scan", "查找疑似重复的档案", "3/5 * * * *", None, scan_changed),
    Job("inbox.prune", "清除到期的消息原文", "20 * * * *", None, prune_by_settings),
)
