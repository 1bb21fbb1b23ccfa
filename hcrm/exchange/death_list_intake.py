"""One death list taken in: which of its lines are news, its import, and what that came to."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hcrm.archive.death_list.models import DeathListEntry, DeathListFile, DeathListRun, EntryState, RunState
from hcrm.archive.death_list.service import fingerprint
from hcrm.archive.imports.death_list import KIND, claim_in, days_told, is_news, problems_in
from hcrm.core import limits
from hcrm.core.actor import Actor
from hcrm.core.clock import Clock, local_date
from hcrm.core.db import Database
from hcrm.core.errors import ConflictError, HcrmError
from hcrm.core.importing import Importer, Verdict, read_row
from hcrm.core.work import Work, open_work
from hcrm.core.workbook import write_csv
from hcrm.exchange.imports import (
    choose_columns,
    confirm_import,
    guess_places,
    known_headings,
    resume_import,
    upload_file,
)
from hcrm.exchange.models import AT_WORK, ImportRow, ImportRun, ImportState
from hcrm.exchange.progress import advance_imports
from hcrm.exchange.table_file import find_heading, read_lines, recognise

Values = dict[str, Any]
AGAIN = "这份名单的导入已撤销或放弃，不会自动再导入"
_REFUSED = (ImportState.CANCELLED, ImportState.REVERTING, ImportState.REVERTED)


@dataclass(frozen=True)
class ListTurn:
    """One turn of applying lists: who acts, with what; `by_hand`: a person asked for it."""

    database: Database
    actor: Actor
    clock: Clock
    importer: Importer
    by_hand: bool = False

    def work(self, *, write: bool = True) -> Any:
        """A work of this turn."""
        return open_work(self.database, actor=self.actor, clock=self.clock, write=write)

    @property
    def importers(self) -> Mapping[str, Importer]:
        """Ours by its kind."""
        return {KIND: self.importer}


@dataclass(frozen=True)
class Slot:
    """Where it is kept what became of a list: a file of the folder, the view's day."""

    model: type[DeathListFile | DeathListRun]
    key: str

    def locked(self, work: Work) -> Any:
        """The row, ours until the work ends."""
        return work.session.get(self.model, self.key, with_for_update=True, populate_existing=True)

    def note(self, turn: ListTurn, *, state: RunState, error: str | None = None, **values: Any) -> None:
        """Keep what it came to; `since`, where there is one, is when its state began."""
        with turn.work() as work:
            self.put(work, state=state, error=error, **values)

    def put(self, work: Work, *, state: RunState, error: str | None = None, **values: Any) -> None:
        """The same within a work."""
        row = self.locked(work)
        if isinstance(row, DeathListRun):
            row.ran_at, row.ran_by = work.clock.now(), work.actor.name
            if row.state is not state:
                row.since = work.clock.now()
        row.state, row.error = state, error
        for name, value in values.items():
            setattr(row, name, value)
        work.session.flush()


@dataclass(frozen=True)
class Given:
    """A list as it came: its columns and its lines. `file`: name and content of one that is a file."""

    heading: list[str]
    lines: list[list[str]]
    written_at: datetime
    is_1904: bool = False
    file: tuple[str, bytes] | None = None


@dataclass(frozen=True)
class _Sifted:
    """What of a list is news, what nobody can read, and how many lines were told before."""

    news: list[list[str]]
    wrong: list[list[str]]
    known: int

    @property
    def counts(self) -> Values:
        """For the run."""
        read = len(self.news) + len(self.wrong) + self.known
        return {"read": read, "known": self.known, "wrong": len(self.wrong)}


def parse_file(turn: ListTurn, name: str, content: bytes, written_at: datetime) -> Given:
    """The lines of a file; HcrmError where it is no list."""
    form = recognise(content, name)
    heading = find_heading(content, form, known_headings(turn.importer), may_be_empty=True)
    lines = [line.cells for line in read_lines(content, form) if line.number > heading.number]
    return Given(heading.names, lines, written_at, form.is_1904, (name, content))


def _sift(turn: ListTurn, given: Given) -> _Sifted:
    places = guess_places(turn.importer, given.heading)
    missing = [one.title for one in turn.importer.columns if one.required and one.code not in places]
    if missing:
        raise HcrmError("death_list.columns", f"名单缺少列：{'、'.join(missing)}")
    news: list[list[str]] = []
    wrong: list[list[str]] = []
    known = 0
    for lines in _batches(given.lines):
        with turn.work(write=False) as work:
            readable = []
            for number, cells in enumerate(lines):
                said, problems = read_row(
                    turn.importer, number, cells, places, given.heading, is_1904=given.is_1904
                )
                if problems or problems_in(work, said):
                    wrong.append(cells)
                    continue
                claim = claim_in(work, said)
                readable.append((fingerprint(work, claim), claim.died_on, cells))
            told = days_told(work, [mark for mark, _, _ in readable])
        fresh = [cells for mark, died_on, cells in readable if is_news(told, mark, died_on)]
        news += fresh
        known += len(readable) - len(fresh)
    return _Sifted(news, wrong, known)


def _batches(lines: Sequence[list[str]]) -> Iterator[Sequence[list[str]]]:
    return (lines[at : at + limits.DEATH_LIST_BATCH] for at in range(0, len(lines), limits.DEATH_LIST_BATCH))


# ── taking in ───────────────────────────────────────────────────────────────


def take_in(turn: ListTurn, slot: Slot, given: Given, *, seen: str | None) -> None:
    """Upload it as a person would, with the columns as guessed, and work on it.

    A file goes as it is, so that its marked file has its lines. A list without news and without faults needs no import.
    `seen`: the import it had when this turn looked at it; with another one now, another process was there first.
    """
    sifted = _sift(turn, given)
    name = f"{KIND}-{local_date(turn.clock.now()).isoformat()}.csv"
    name, content = given.file or (name, write_csv([given.heading, *sifted.news, *sifted.wrong]))
    with turn.work() as work:
        row = slot.locked(work)
        if row.import_id != seen:
            return
        if not sifted.news and not sifted.wrong:
            slot.put(work, state=RunState.DONE, import_id=None, **_nobody(), **sifted.counts)
            return
        standing = _import_of_content(work, content)
        if standing is not None and standing.state in _REFUSED and not turn.by_hand:
            slot.put(work, state=RunState.WITHDRAWN, error=AGAIN, import_id=standing.id, **sifted.counts)
            return
        if standing is not None and standing.state is ImportState.DONE and not sifted.news:
            slot.put(
                work, state=RunState.DONE, import_id=standing.id, **_nobody(), **sifted.counts
            )  # its marked file is there
            return
        if standing is None or standing.state in (*_REFUSED, ImportState.DONE, ImportState.FAILED):
            import_id = upload_file(work, importers=turn.importers, kind=KIND, name=name, content=content)
            places = guess_places(turn.importer, work.get(ImportRun, import_id).heading)
            choose_columns(work, importers=turn.importers, run_id=import_id, places=places, options={})
        else:
            import_id = standing.id
        if row.import_id != import_id:  # else it failed as it does now, since then
            values = {**_nobody(), **sifted.counts, **_day_of(slot, given)}
            slot.put(work, state=RunState.WORKING, import_id=import_id, **values)
    settle(turn, slot)


def _day_of(slot: Slot, given: Given) -> Values:
    return {"list_at": given.written_at} if slot.model is DeathListRun else {}


def _nobody() -> Values:
    return {"matched": 0, "already": 0, "near": 0, "unknown": 0}


def _import_of_content(work: Work, content: bytes) -> ImportRun | None:
    """The newest import of the same file."""
    index = work.keys.blind("import_file", content.hex())
    return work.session.scalars(
        sa.select(ImportRun)
        .where(ImportRun.file_index == index, ImportRun.kind == KIND, ImportRun.state != ImportState.UPLOADED)
        .order_by(ImportRun.id.desc())
        .limit(1)
    ).first()


def settle(turn: ListTurn, slot: Slot) -> None:
    """Work on a list's import until it is done, or waits for a person. One that broke off is gone on with."""
    with turn.work() as work:
        row = slot.locked(work)
        standing = work.get(ImportRun, row.import_id)
        import_id, before = standing.id, (row.state, row.error)
        if standing.state is ImportState.STOPPED and (standing.error or turn.by_hand):
            resume_import(work, run_id=import_id)  # without a word: a person stopped it
    state = _advance(turn, import_id)
    if state is ImportState.CHECKED:
        with turn.work() as work:
            refusal = _refusal(work, slot.locked(work), import_id)
            if refusal is None:
                refusal = _confirm(work, import_id)
        if refusal is not None:
            if refusal != before:
                slot.note(turn, state=refusal[0], error=refusal[1])
            return
        state = _advance(turn, import_id)
    if state in AT_WORK and state is not ImportState.REVERTING:
        slot.note(turn, state=RunState.WORKING)
        return
    with turn.work() as work:
        run = work.get(ImportRun, import_id)
        if state is ImportState.DONE:
            slot.put(work, state=RunState.DONE, **count_import(work, run))
        elif state in _REFUSED:
            slot.put(work, state=RunState.WITHDRAWN, error=AGAIN)
        else:
            slot.put(work, state=RunState.FAILED, error=run.error or f"导入{state.label}")


def _confirm(work: Work, import_id: str) -> tuple[RunState, str | None] | None:
    try:
        confirm_import(work, run_id=import_id, is_news=True)
    except ConflictError:  # somebody did it meanwhile
        return RunState.WORKING, None
    return None


def _refusal(
    work: Work, row: DeathListFile | DeathListRun, import_id: str
) -> tuple[RunState, str | None] | None:
    """Why a list that was looked through is not applied unseen."""
    good = row.read - row.wrong
    if not good:
        return RunState.FAILED, f"{row.wrong} 行没有一行读得出，没有应用；原因见标记文件"
    if row.wrong > good:
        return (
            RunState.WAITING,
            f"{row.read} 行中有 {row.wrong} 行读不出，没有应用；请放入改正的名单，或核对后确认导入",
        )
    many = _count_changed(work, import_id)
    if many > limits.DEATH_LIST_AT_ONCE:
        most = limits.DEATH_LIST_AT_ONCE
        return (
            RunState.WAITING,
            f"这份名单一次将改动 {many} 份档案（登记已故、更正死亡日期），超过 {most} 份，请核对试运行后确认导入",
        )
    return None


def _advance(turn: ListTurn, import_id: str) -> ImportState:
    """Go on with imports until this one needs nobody of ours; another process may be at it."""
    owner = f"{KIND}:{import_id}"
    while True:
        with turn.work(write=False) as work:
            state = work.get(ImportRun, import_id).state
        if state not in AT_WORK:
            return state
        if not advance_imports(turn.database, turn.clock, turn.importers, owner=owner, kind=KIND):
            return state


def _count_changed(work: Work, import_id: str) -> int:
    """How many archives the dry run would write to."""
    changed = sa.select(sa.func.count()).select_from(ImportRow)
    return int(
        work.scalar(
            changed.where(
                ImportRow.run_id == import_id,
                ImportRow.verdict == "changed",
                ImportRow.patient_id.is_not(None),
            )
        )
    )


def count_import(work: Work, run: ImportRun) -> Values:
    """What the lines of an import came to."""
    rows = work.execute(
        sa.select(DeathListEntry.state, sa.func.count().label("number"))
        .where(DeathListEntry.import_id == run.id)
        .group_by(DeathListEntry.state)
    )
    states = Counter({row.state: row.number for row in rows})
    return {
        "matched": states[EntryState.MATCHED], "already": states[EntryState.ALREADY],
        "near": states[EntryState.NEAR], "unknown": states[EntryState.UNKNOWN],
        "wrong": sum(run.counts.get(verdict.value, 0) for verdict in (Verdict.WRONG, Verdict.AMBIGUOUS)),
    }  # fmt: skip
