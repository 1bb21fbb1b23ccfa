"""The day's death list: from a folder, from a view of another database, by hand. The rule in one place.

**What is read.** Of the folder every list that was not taken in yet, the oldest first; a list is known by its name,
size and time of change, and by its content, never by its time alone. Of the view all its rows, once a day. A file is
read once it has been still for `DEATH_LIST_STILL_SECONDS`: its time of change lies that far back, or we saw it so long
ago as it is now. One that cannot be opened, or changes while it is read, waits. Files stay where they are.

**What becomes of it.** Lines no list told before, and those whose day of death is another now, go the way of every
import: dry run, marked file, revert. A list with its headings only says that nobody died. A list most of whose lines
cannot be read is not applied (a person may confirm the readable ones), nor one that would write to more than
`DEATH_LIST_AT_ONCE` archives at once before a person confirms it; of other lists the good lines are applied and the
wrong ones told. A list whose import a person took back or dropped is not taken in again by itself.

**When the day is done.** Every way has a list of today that was applied. The folder's is one that was written today,
or since `death_list.evening` of the day before; where its time lies in the future, one first seen today. A list
written anew with the same content is a new word; one that lies there untouched since yesterday is none.

**When sending is held** (`death_list.required`): until the day is done, and while a list failed or waits for a person.
A person's word of today, a list taken in by hand or "no new list today" with its reason, stands for what was missing,
failed or waited before it; what fails after it holds again.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
import structlog

from hcrm.archive.death_list.models import (
    COUNTS,
    DeathListFile,
    DeathListRun,
    ListSource,
    RunState,
)
from hcrm.archive.death_list.service import match_waiting, prune_list
from hcrm.archive.death_list.state import configured_ways, counts_since, death_list_policy, run_of, spoken_at
from hcrm.archive.imports.death_list import KIND
from hcrm.core import limits
from hcrm.core.actor import Actor
from hcrm.core.clock import Clock, day_bounds, local_date, local_time
from hcrm.core.db import Database
from hcrm.core.errors import HcrmError
from hcrm.core.importing import Importer
from hcrm.core.settings import DeathList
from hcrm.exchange.death_list_intake import (
    AGAIN,
    Given,
    ListTurn,
    Slot,
    count_import,
    parse_file,
    settle,
    take_in,
)
from hcrm.exchange.death_list_places import ListFile, is_still, look_into, read_view, read_whole
from hcrm.exchange.models import ImportRun, ImportState
from hcrm.inbox.view_faults import view_fault
from hcrm.inbox.words import channel_error

log = structlog.get_logger(__name__)


def apply_lists(
    database: Database, *, actor: Actor, clock: Clock, importer: Importer, by_hand: bool = False
) -> list[DeathListRun]:
    """Apply what is due (`by_hand`: also what failed before, before the hour too); what stands of each way."""
    turn = ListTurn(database, actor, clock, importer, by_hand)
    policy = death_list_policy()
    _note_uploads(turn)
    is_due = by_hand or local_time(clock.now()).time() >= policy.at
    runs = [_apply(turn, policy, way) for way in configured_ways()] if is_due else []
    _match_waiting(turn)
    return runs


def _apply(turn: ListTurn, policy: DeathList, way: ListSource) -> DeathListRun:
    if way is ListSource.FOLDER:
        return _apply_folder(turn, policy)
    try:
        return _apply_view(turn, policy)
    except HcrmError as error:
        words = channel_error(error.code) if error.code.startswith("view.") else error.message
    except sa.exc.SQLAlchemyError as error:
        words = channel_error(view_fault(error))
    except OSError as error:
        words = f"视图无法读取（{type(error).__name__}）"
    return _note(turn, way, RunState.FAILED, error=words)


# ── a view ──────────────────────────────────────────────────────────────────


def _apply_view(turn: ListTurn, policy: DeathList) -> DeathListRun:
    with turn.work(write=False) as work:
        run = run_of(work, ListSource.VIEW)
    if run is not None and run.state is RunState.DONE and not turn.by_hand:
        return run
    if run is None or run.import_id is None or run.state not in (RunState.WORKING, RunState.WAITING):
        assert policy.view is not None
        heading, lines = read_view(policy.view, turn.importer, local_date(turn.clock.now()))
        if run is None:
            run = _note(turn, ListSource.VIEW, RunState.WORKING)
        given = Given(heading, lines, turn.clock.now())
        take_in(turn, Slot(DeathListRun, run.id), given, seen=run.import_id)
    else:
        settle(turn, Slot(DeathListRun, run.id))
    with turn.work(write=False) as work:
        run = work.get(DeathListRun, run.id)
    log.info("death_list.run", source=ListSource.VIEW.value, state=run.state.value)
    return run


# ── a folder ────────────────────────────────────────────────────────────────


@dataclass
class _Looked:
    """What lies in the folder besides what was taken in."""

    versions: set[str]
    arriving: int = 0
    unread: str = ""
    left: int = 0


def _apply_folder(turn: ListTurn, policy: DeathList) -> DeathListRun:
    try:
        files = look_into(policy.folder)
    except OSError as error:
        words = f"文件夹无法读取（{type(error).__name__}）"
        return _note(turn, ListSource.FOLDER, RunState.FAILED, error=words)
    with turn.work(write=False) as work:
        versions = {work.keys.blind("death_list_file", one.version): one for one in files}
        known = {
            row.version_index: row
            for row in work.scalars(
                sa.select(DeathListFile).where(work.among(DeathListFile.version_index, versions))
            )
        }
        unsettled = work.scalars(
            sa.select(DeathListFile.id)
            .where(
                DeathListFile.state.in_((RunState.WORKING, RunState.WAITING, RunState.FAILED)),
                DeathListFile.import_id.is_not(None),
            )
            .order_by(DeathListFile.noted_at, DeathListFile.id)
        )
    for file_id in unsettled:
        settle(turn, Slot(DeathListFile, file_id))
    looked = _Looked(set(versions))
    todo = [(version, one) for version, one in versions.items() if _is_to_read(turn, known.get(version))]
    looked.left = max(0, len(todo) - limits.DEATH_LIST_FILES)
    for version, one in todo[: limits.DEATH_LIST_FILES]:
        _read_one(turn, one, version, known.get(version), looked)
    return _sum_up(turn, looked)


def _is_to_read(turn: ListTurn, row: DeathListFile | None) -> bool:
    """Not taken in yet; or seen, or broken off, or (by hand) failed before anything could be made of it."""
    if row is None or row.state is RunState.ABSENT:
        return True
    is_untouched = row.import_id is None
    return is_untouched and (row.state is RunState.WORKING or (turn.by_hand and row.state is RunState.FAILED))


def _read_one(
    turn: ListTurn, one: ListFile, version: str, row: DeathListFile | None, looked: _Looked
) -> None:
    now = turn.clock.now()
    if not is_still(one, now, row.noted_at if row is not None else None):
        looked.arriving += 1
        if row is None and one.written_at > now:
            _keep_file(turn, one, version, RunState.ABSENT)
        return
    slot: Slot | None = None
    try:
        content = read_whole(one)
        if content is None:
            looked.arriving += 1
            return
        slot = Slot(DeathListFile, _keep_file(turn, one, version, RunState.WORKING))
        given = parse_file(turn, one.name, content, one.written_at)
        take_in(turn, slot, given, seen=row.import_id if row is not None else None)
    except OSError as error:
        looked.unread = type(error).__name__
    except HcrmError as error:
        slot = slot or Slot(DeathListFile, _keep_file(turn, one, version, RunState.WORKING))
        slot.note(turn, state=RunState.FAILED, error=error.message)


def _keep_file(turn: ListTurn, one: ListFile, version: str, state: RunState) -> str:
    """The row of a version of a file, made where there is none; its key."""
    with turn.work() as work:
        row = {
            "id": work.new_id(), "version_index": version, "name_sealed": work.keys.seal_text(one.name[:200]),
            "written_at": one.written_at, "noted_at": work.clock.now(), "state": state, "error": None,
            "import_id": None, **dict.fromkeys(COUNTS, 0),
        }  # fmt: skip
        work.insert_new(DeathListFile, [row])
        return str(work.scalar(sa.select(DeathListFile.id).where(DeathListFile.version_index == version)))


def _sum_up(turn: ListTurn, looked: _Looked) -> DeathListRun:
    """What the folder's day comes to, by what stands of its files."""
    now = turn.clock.now()
    midnight, since = day_bounds(local_date(now))[0], counts_since(now)
    with turn.work(write=False) as work:
        spoken = spoken_at(work)
        rows = work.scalars(
            sa.select(DeathListFile)
            .where(
                sa.or_(
                    DeathListFile.noted_at >= since,
                    DeathListFile.state.in_((RunState.WORKING, RunState.WAITING, RunState.FAILED)),
                )
            )
            .order_by(DeathListFile.written_at, DeathListFile.id)
        )
        latest = work.scalar(
            sa.select(sa.func.max(DeathListFile.written_at)).where(DeathListFile.written_at <= now)
        )
    in_the_way = _in_the_way(rows, looked.versions, spoken)
    todays = [row for row in rows if min(row.written_at, row.noted_at) >= since]
    done = [row for row in todays if row.state is RunState.DONE]
    taken = [row for row in rows if row.noted_at >= midnight and row.state is not RunState.ABSENT]
    values: dict[str, Any] = {name: sum(getattr(row, name) for row in taken) for name in COUNTS}
    named = [row for row in in_the_way or taken if row.import_id]
    values["import_id"] = named[-1].import_id if named else None
    values["list_at"] = max((row.written_at for row in done), default=None)
    if in_the_way:
        values["since"] = max(row.noted_at for row in in_the_way)
    state, error = _state_of(looked, in_the_way, todays, latest)
    return _note(turn, ListSource.FOLDER, state, error=error, **values)


def _in_the_way(
    rows: Sequence[DeathListFile], versions: Collection[str], spoken: datetime | None
) -> list[DeathListFile]:
    """Files that hold sending: those being taken in, those that wait, those that failed and still lie there."""

    def counts(row: DeathListFile) -> bool:
        if row.state is RunState.WORKING:
            return row.import_id is not None or row.version_index in versions
        is_open = row.state is RunState.WAITING or (
            row.state is RunState.FAILED and row.version_index in versions
        )
        return is_open and (spoken is None or row.noted_at > spoken)

    return [row for row in rows if counts(row)]


def _state_of(
    looked: _Looked, in_the_way: Sequence[DeathListFile], todays: Sequence[DeathListFile], latest: datetime | None
) -> tuple[RunState, str | None]:  # fmt: skip
    stuck = [row for row in in_the_way if row.state is not RunState.WORKING]
    if stuck:
        state = RunState.FAILED if any(row.state is RunState.FAILED for row in stuck) else RunState.WAITING
        if len(stuck) > 1:
            return state, f"{len(stuck)} 个文件没有应用，原因见“文件夹里的文件”"
        return state, f"写于 {_written(stuck[0].written_at)} 的文件：{stuck[0].error or state.label}"
    if looked.unread:
        return RunState.FAILED, f"有文件打不开（{looked.unread}），稍后再读"
    if in_the_way or looked.left:
        return RunState.WORKING, f"还有 {looked.left} 个文件待读" if looked.left else None
    if any(row.state is RunState.DONE for row in todays):
        return RunState.DONE, None
    if looked.arriving:
        return RunState.ABSENT, "名单还在写入，稍后再读"
    if any(row.state is RunState.WITHDRAWN for row in todays):
        return RunState.WITHDRAWN, AGAIN
    if not looked.versions or latest is None:
        return RunState.ABSENT, "文件夹里没有名单"
    return RunState.ABSENT, f"今天还没有新的名单，最近一份写于 {_written(latest)}"


def _written(moment: datetime) -> str:
    return f"{local_time(moment):%m-%d %H:%M}"


# ── what became of it ───────────────────────────────────────────────────────


def _note(
    turn: ListTurn, way: ListSource, state: RunState, *, error: str | None = None, **values: Any
) -> DeathListRun:
    """Today's line of that way, made or brought up to date. `since`: from when on it stands as it does."""
    with turn.work() as work:
        now = work.clock.now()
        row = {
            "id": work.new_id(), "day": local_date(now), "source": way, "list_at": None, "import_id": None,
            "state": state, "error": None, "note": None, "since": now, "ran_at": now, "ran_by": work.actor.name,
            **dict.fromkeys(COUNTS, 0),
        }  # fmt: skip
        work.insert_new(DeathListRun, [row])
        run = run_of(work, way, lock=True)
        assert run is not None
        if run.state is not state:
            run.since = now
        run.state, run.error, run.ran_at, run.ran_by = state, error, now, work.actor.name
        for name, value in values.items():
            setattr(run, name, value)
        work.session.flush()
    log.info("death_list.run", source=way.value, state=state.value)
    return run


def _note_uploads(turn: ListTurn) -> None:
    """A list that somebody took in today by hand is a list of today too."""
    midnight, _ = day_bounds(local_date(turn.clock.now()))
    ours = [
        sa.select(model.import_id).where(model.import_id.is_not(None)) for model in (DeathListFile, DeathListRun)
    ]  # fmt: skip
    with turn.work(write=False) as work:
        before = run_of(work, ListSource.UPLOAD)
        latest = work.session.scalars(
            sa.select(ImportRun)
            .where(
                ImportRun.kind == KIND, ImportRun.state == ImportState.DONE,
                ImportRun.finished_at > (before.since if before is not None else midnight),
                *(ImportRun.id.not_in(one) for one in ours),
            )
            .order_by(ImportRun.finished_at.desc(), ImportRun.id.desc())
        ).first()  # fmt: skip
        counts = count_import(work, latest) if latest is not None else {}
    if latest is not None:
        _note(
            turn, ListSource.UPLOAD, RunState.DONE, list_at=latest.created_at, import_id=latest.id,
            since=latest.finished_at, read=latest.total, known=latest.counts.get("same", 0), **counts,
        )  # fmt: skip


def _match_waiting(turn: ListTurn) -> None:
    """Look again at lines nobody had an archive for, and forget those nobody will."""
    after, count = "", 1
    while count:
        with turn.work() as work:
            after, count = match_waiting(work, after=after)
    with turn.work() as work:
        prune_list(work)
