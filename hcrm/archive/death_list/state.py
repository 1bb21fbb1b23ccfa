"""Whether today's death list has been applied: what every sender's gate asks before the day's first sending.

The rule stands in `hcrm.exchange.death_list`; here is what it comes to, and a person's word that there is no list.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache

import sqlalchemy as sa

from hcrm.archive.death_list.models import (
    COUNTS,
    SPOKEN,
    DeathListFile,
    DeathListRun,
    ListSource,
    RunState,
)
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.clock import day_bounds, local_date, local_time
from hcrm.core.errors import ConflictError, DeniedError, HcrmError
from hcrm.core.settings import DeathList, load_settings
from hcrm.core.work import Work

REASON_LENGTH = 200


@cache
def death_list_policy() -> DeathList:
    """The settings as they stood when the process started."""
    return load_settings().death_list


def configured_ways() -> tuple[ListSource, ...]:
    """How a list is to come each day; empty: none is."""
    policy = death_list_policy()
    ways = ((policy.folder, ListSource.FOLDER), (policy.view, ListSource.VIEW))
    return tuple(way for setting, way in ways if setting)


def death_list_current(work: Work, day: date) -> bool:
    """Whether the lists of that day were applied, or a person's word of that day stands for what was not."""
    runs = {run.source: run for run in work.scalars(sa.select(DeathListRun).where(DeathListRun.day == day))}
    words = [runs[way].since for way in SPOKEN if way in runs and runs[way].state is RunState.DONE]
    return all(_is_settled(runs.get(way), max(words, default=None)) for way in configured_ways())


def _is_settled(run: DeathListRun | None, word: datetime | None) -> bool:
    if run is not None and run.state is RunState.DONE:
        return True
    return word is not None and (run is None or run.state is RunState.ABSENT or run.since <= word)


def is_sending_held(work: Work) -> bool:
    """Whether nothing may be sent today: a list is required, and today's has not been applied."""
    if not death_list_policy().required or not configured_ways():
        return False
    return not death_list_current(work, local_date(work.clock.now()))


@dataclass(frozen=True, slots=True)
class ListAlarm:
    """What the workbench says of today's list."""

    is_missing: bool  # today's list is not applied
    is_held: bool  # and nothing is sent until it is
    reasons: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """All of it, for people."""
        if not self.is_missing:
            return "；".join(self.reasons)
        held = "，应用之前不向患者发送任何消息" if self.is_held else ""
        return f"今天的死亡名单还没有应用{held}。{'；'.join(self.reasons)}。"


def list_alarm(work: Work) -> ListAlarm | None:
    """Why today's list is not applied, or which of its lines were not; None where all is well or none is configured."""
    today = local_date(work.clock.now())
    ways = configured_ways()
    runs = {run.source: run for run in list_runs(work, day=today)}
    if not ways or death_list_current(work, today):
        wrong = sum(run.wrong for run in runs.values() if run.state is RunState.DONE)
        if not wrong or any(way in runs and runs[way].state is RunState.DONE for way in SPOKEN):
            return None
        words = f"今天的死亡名单有 {wrong} 行读不出，没有应用；请下载标记文件，改正后再导入"
        return ListAlarm(is_missing=False, is_held=False, reasons=(words,))
    reasons = []
    for way in ways:
        run = runs.get(way)
        if run is None:
            reasons.append(f"{way.label}：今天还没有处理")
        elif run.state is not RunState.DONE:
            reasons.append(f"{way.label}：{run.error or run.state.label}")
    return ListAlarm(is_missing=True, is_held=death_list_policy().required, reasons=tuple(reasons))


def list_runs(
    work: Work, *, day: date | None = None, size: int = limits.DEATH_LIST_RUNS
) -> Sequence[DeathListRun]:
    """What became of the latest lists, the newest day first."""
    statement = sa.select(DeathListRun).order_by(DeathListRun.day.desc(), DeathListRun.source)
    if day is not None:
        statement = statement.where(DeathListRun.day == day)
    return work.scalars(statement.limit(size))


def counts_since(now: datetime) -> datetime:
    """From when on a list that was written is today's."""
    midnight, _ = day_bounds(local_date(now))
    evening = death_list_policy().evening
    if evening is None:
        return midnight
    day_before = local_time(midnight) - timedelta(days=1)
    return day_before.replace(hour=evening.hour, minute=evening.minute)


def list_files(work: Work) -> Sequence[tuple[DeathListFile, str]]:
    """The latest files of the folder with what they are called, the newest first."""
    rows = work.scalars(
        sa.select(DeathListFile)
        .order_by(DeathListFile.noted_at.desc(), DeathListFile.id.desc())
        .limit(limits.DEATH_LIST_RUNS)
    )
    return [(row, work.keys.open_text(row.name_sealed)) for row in rows]


def run_of(work: Work, way: ListSource, *, lock: bool = False) -> DeathListRun | None:
    """Today's run of that way."""
    today = local_date(work.clock.now())
    statement = sa.select(DeathListRun).where(DeathListRun.day == today, DeathListRun.source == way)
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    found: DeathListRun | None = work.session.scalar(statement)
    return found


# ── what people say ─────────────────────────────────────────────────────────


def spoken_at(work: Work) -> datetime | None:
    """When a person last answered for the lists: took one in by hand, or said that there is none."""
    found: datetime | None = work.scalar(
        sa.select(sa.func.max(DeathListRun.since)).where(
            DeathListRun.source.in_(SPOKEN), DeathListRun.state == RunState.DONE
        )
    )
    return found


def confirm_no_list(work: Work, *, reason: str) -> None:
    """A person answers for it that today there is no new list; it stands for what was missing or failed before it."""
    _require_whole_hospital(work)
    reason = reason.strip()
    if not reason:
        raise HcrmError("death_list.reason", "请写明依据，例如与谁、怎样核实", field="reason")
    if len(reason) > REASON_LENGTH:
        raise HcrmError("death_list.reason", f"最多 {REASON_LENGTH} 个字", field="reason")
    now = work.clock.now()
    if not configured_ways() or death_list_current(work, local_date(now)):
        raise ConflictError("death_list.current", "今天的名单已经应用，不需要确认")
    row = {
        "id": work.new_id(), "day": local_date(now), "source": ListSource.WORD, "list_at": None, "import_id": None,
        "state": RunState.DONE, "error": None, "note": reason, "since": now, "ran_at": now,
        "ran_by": work.actor.name, **dict.fromkeys(COUNTS, 0),
    }  # fmt: skip
    if not work.insert_new(DeathListRun, [row]):
        run = run_of(work, ListSource.WORD, lock=True)
        assert run is not None
        run.state, run.note, run.since, run.ran_at, run.ran_by = (
            RunState.DONE,
            reason,
            now,
            now,
            work.actor.name,
        )
        work.session.flush()
    record_audit(
        work, action="death_list.no_list", subject_type="death_list_run", detail={"day": str(row["day"])}
    )


def take_back_word(work: Work) -> None:
    """There may be a list after all: the day waits for it again."""
    _require_whole_hospital(work)
    run = run_of(work, ListSource.WORD, lock=True)
    if run is None or run.state is not RunState.DONE:
        raise ConflictError("death_list.no_word", "今天没有“没有新名单”的确认")
    run.state, run.since = RunState.WITHDRAWN, work.clock.now()
    run.ran_at, run.ran_by = work.clock.now(), work.actor.name
    work.session.flush()
    record_audit(
        work, action="death_list.no_list_undo", subject_type="death_list_run", detail={"day": str(run.day)}
    )


def withdraw_list(work: Work, import_id: str) -> None:
    """Somebody takes the import of a list back: the list counts no longer, and the day, if it was today's, waits."""
    now = work.clock.now()
    files = work.scalars(
        sa.select(DeathListFile)
        .where(DeathListFile.import_id == import_id, DeathListFile.state == RunState.DONE)
        .with_for_update()
    )
    for file in files:
        file.state = RunState.WITHDRAWN
    is_todays = any(min(file.written_at, file.noted_at) >= counts_since(now) for file in files)
    ours = DeathListRun.import_id == import_id
    if is_todays:
        ours = sa.or_(ours, DeathListRun.source == ListSource.FOLDER)
    runs = work.scalars(
        sa.select(DeathListRun)
        .where(DeathListRun.day == local_date(now), DeathListRun.state == RunState.DONE, ours)
        .with_for_update()
    )
    for run in runs:
        run.state, run.error, run.since = RunState.WITHDRAWN, "今天的名单的导入已撤销", now
    work.session.flush()


def _require_whole_hospital(work: Work) -> None:
    """Sending is held for everybody, or for nobody."""
    if work.actor.department_ids is not None:
        raise DeniedError("death_list.no_list", subject_type="death_list_run")
