"""The machine's side of an import: reads the file, says what each row would do, does it, takes it back.

Small transactions with rests between, each of which notes how far it came: a process that dies is gone on from by
another once its lease is over. Before a row is written it is judged again; one that would now do something else than
was announced is skipped and listed.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import sqlalchemy as sa
import structlog

from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.actor import Actor
from hcrm.core.clock import Clock
from hcrm.core.db import Database, is_away, table_of
from hcrm.core.errors import HcrmError
from hcrm.core.importing import (
    WRITES,
    Finding,
    Given,
    Importer,
    Journal,
    Problem,
    Setting,
    Verdict,
    Writes,
    read_row,
)
from hcrm.core.work import Work, open_work
from hcrm.exchange.imports import Importers, form_of, importer_of
from hcrm.exchange.models import AT_WORK, ImportRow, ImportRun, ImportState, RowState
from hcrm.exchange.repeated import find_repeated, prints_of
from hcrm.exchange.revert import open_journals, revert_rows, touched_patients
from hcrm.exchange.table_file import FileForm, read_lines

MOVED = "试运行之后档案有变化，这一行现在会做别的事"
log = structlog.get_logger(__name__)


class _Lost(Exception):
    """Another process works on it, or somebody stopped it."""


@dataclass(frozen=True)
class _Turn:
    """One import this process works on."""

    database: Database
    clock: Clock
    actor: Actor
    run_id: str
    owner: str

    def locked(self, work: Work) -> ImportRun:
        """The run, ours for another while."""
        run = work.session.get(ImportRun, self.run_id, with_for_update=True, populate_existing=True)
        if run is None or run.lease != self.owner or run.state not in AT_WORK:
            raise _Lost
        run.leased_until = self.clock.now() + timedelta(seconds=limits.IMPORT_LEASE_SECONDS)
        return run


def advance_imports(
    database: Database, clock: Clock, importers: Importers, *, owner: str, rest: Callable[[], bool] = lambda: False,
    kind: str = "",
) -> bool:  # fmt: skip
    """Work on the oldest import that waits (of that `kind`) until it waits for a person; False where none does.

    `rest` is called between two transactions and says whether to leave off.
    """
    turn = _claim(database, clock, owner, kind)
    if turn is None:
        return False
    try:
        while _step(turn, importers):
            if rest():
                break
    except _Lost:
        pass
    except sa.exc.DBAPIError as error:
        if is_away(error):
            raise
        _fail(turn, error)
    except Exception as error:  # noqa: BLE001  one file's fault must not stop the others; its row tells
        _fail(turn, error)
    return True


def _claim(database: Database, clock: Clock, owner: str, kind: str) -> _Turn | None:
    now = clock.now()
    states = [sa.literal(state, ImportRun.state.type, literal_execute=True) for state in AT_WORK]
    free = sa.or_(ImportRun.lease.is_(None), ImportRun.lease == owner, ImportRun.leased_until < now)
    waiting = sa.select(ImportRun).where(ImportRun.state.in_(states), free).order_by(ImportRun.id).limit(1)
    if kind:
        waiting = waiting.where(ImportRun.kind == kind)
    nobody = Actor(id="system:exchange", name="exchange", kind="system")
    with open_work(database, actor=nobody, clock=clock, write=False) as work:
        if work.scalar(waiting.with_only_columns(ImportRun.id)) is None:
            return None
    with open_work(database, actor=nobody, clock=clock) as work:
        run = work.session.scalars(waiting.with_for_update(skip_locked=True)).first()
        if run is None:
            return None
        run.lease, run.leased_until = owner, now + timedelta(seconds=limits.IMPORT_LEASE_SECONDS)
        actor = Actor(id=run.created_by, name=run.created_by_name, department_ids=None)
        return _Turn(database, clock, actor, run.id, owner)


def _step(turn: _Turn, importers: Importers) -> bool:
    """One transaction's worth; whether there is more."""
    with open_work(turn.database, actor=turn.actor, clock=turn.clock) as work:
        run = turn.locked(work)
        importer = importer_of(work, importers, run.kind)
        if run.state is not ImportState.READING:
            act = {
                ImportState.CHECKING: _check, ImportState.RUNNING: _write, ImportState.REVERTING: _revert
            }[run.state]  # fmt: skip
            act(work, run, importer)
            run.attempts = 0
            return run.state in AT_WORK
        assert run.content_sealed is not None
        content, form, heading = work.keys.open(run.content_sealed), form_of(run), run.heading_line
    _read(turn, content, form, heading)
    return True


def _fail(turn: _Turn, error: Exception) -> None:
    """Try the batch again, a few times; then stop and say so. What was written stays and can be reverted."""
    log.warning("import.failed", run=turn.run_id, error=type(error).__name__)
    with open_work(turn.database, actor=turn.actor, clock=turn.clock) as work:
        run = work.session.get(ImportRun, turn.run_id, with_for_update=True)
        if run is None or run.lease != turn.owner or run.state not in AT_WORK:
            return
        run.attempts += 1
        if isinstance(error, HcrmError) or run.attempts >= limits.IMPORT_ATTEMPTS:
            is_early = run.state in (ImportState.READING, ImportState.CHECKING)
            run.state = ImportState.FAILED if is_early else ImportState.STOPPED
            run.error = (
                error.message
                if isinstance(error, HcrmError)
                else f"第 {run.position} 行之后处理失败（{type(error).__name__}），请联系管理员"
            )
            run.finished_at = turn.clock.now()


# ── reading ─────────────────────────────────────────────────────────────────


def _read(turn: _Turn, content: bytes, form: FileForm, heading_line: int) -> None:
    """All rows of the file, in batches. Read again from the start after a crash; those that stand stay."""
    lines = (line for line in read_lines(content, form) if line.number > heading_line)
    total = 0
    while batch := list(islice(lines, limits.IMPORT_BATCH)):
        total += len(batch)
        if total > limits.MAX_LIST_ROWS:
            raise HcrmError("import.rows", f"超过 {limits.MAX_LIST_ROWS} 行，请拆成几个文件")
        with open_work(turn.database, actor=turn.actor, clock=turn.clock) as work:
            run = turn.locked(work)
            seal = work.keys.seal_text
            work.insert_new(
                ImportRow,
                [
                    {"id": work.new_id(), "run_id": run.id, "number": line.number,
                     "cells_sealed": seal(json.dumps(line.cells, ensure_ascii=False)), "is_merged": line.is_merged,
                     "verdict": None, "problems": None, "key_index": None, "content_index": None,
                     "own_index": None, "finding_index": None, "patient_id": None, "state": RowState.WAITING,
                     "reason": None, "journal_sealed": None}
                    for line in batch
                ],
            )  # fmt: skip
            run.total = total
    with open_work(turn.database, actor=turn.actor, clock=turn.clock) as work:
        run = turn.locked(work)
        run.state, run.content_sealed = ImportState.CHECKING, None
        run.total, run.progress, run.position, run.counts = total, 0, 0, {}


# ── judging ─────────────────────────────────────────────────────────────────


_ROW = table_of(ImportRow)


def _rows(work: Work, run: ImportRun, *where: sa.ColumnElement[bool]) -> Sequence[Any]:
    """The next rows, as plain rows of the table: there are many, and each is written once."""
    return work.execute(
        sa.select(_ROW)
        .where(_ROW.c.run_id == run.id, _ROW.c.number > run.position, *where)
        .order_by(_ROW.c.number)
        .limit(limits.IMPORT_BATCH)
    ).all()


def read_given(work: Work, run: ImportRun, importer: Importer, row: Any) -> tuple[Given, list[Problem]]:
    """A row of a file by its columns, and what is wrong with its cells."""
    given, problems = read_row(
        importer, row.number, open_cells(work, row), run.places, run.heading, is_1904=run.is_1904
    )
    if row.is_merged:
        problems.append(Problem("", "这一行有合并的单元格，请取消合并"))
    return given, problems


def open_cells(work: Work, row: Any) -> list[str]:
    """The cells of a row as they came."""
    cells: list[str] = json.loads(work.keys.open_text(row.cells_sealed)) if row.cells_sealed else []
    return cells


def setting_of(run: ImportRun) -> Setting:
    """What holds for the whole file."""
    return Setting(run.id, run.created_at, run.options)


def _check(work: Work, run: ImportRun, importer: Importer) -> None:
    rows = _rows(work, run)
    if not rows:
        run.state, run.checked_at = ImportState.CHECKED, work.clock.now()
        return
    if run.position == 0:
        run.counts = {}
    read = {row.number: read_given(work, run, importer, row) for row in rows}
    found: dict[int, Finding] = {
        number: Finding(Verdict.WRONG, problems=tuple(problems))
        for number, (_, problems) in read.items()
        if problems
    }
    keys = prints_of(work, importer, [given for given, problems in read.values() if not problems])
    found |= find_repeated(work, run, importer, keys)
    givens = [given for given, _ in read.values() if given.number not in found]
    batch = importer.judge(work, givens, setting_of(run))
    found |= {given.number: finding for given, finding in zip(givens, batch.findings, strict=True)}
    work.update_rows(
        ImportRow,
        [
            {"id": row.id, "verdict": found[row.number].verdict, "patient_id": found[row.number].patient_id,
             "problems": [[one.column, one.sentence] for one in found[row.number].problems] or None,
             "key_index": keys[row.number].key if row.number in keys else None,
             "content_index": keys[row.number].content if row.number in keys else None,
             "own_index": keys[row.number].own if row.number in keys else None,
             "finding_index": finding_index(work, found[row.number])}
            for row in rows
        ],
    )  # fmt: skip
    _advance(run, rows, Counter(found[row.number].verdict.value for row in rows))
    _audit(work, "import.check", run, [finding.patient_id for finding in found.values()], len(rows))


def finding_index(work: Work, finding: Finding) -> str:
    """A fingerprint of what a row would do."""
    words = [
        finding.verdict.value,
        finding.patient_id,
        [[change.label, change.before, change.after] for change in finding.changes],
        list(finding.marks),
    ]
    return work.keys.blind("import_finding", json.dumps(words, ensure_ascii=False))


# ── writing and taking back ─────────────────────────────────────────────────


def _write(work: Work, run: ImportRun, importer: Importer) -> None:
    rows = _rows(work, run, _ROW.c.state == RowState.WAITING, _ROW.c.verdict.in_(WRITES))
    if not rows:
        run.state, run.finished_at = ImportState.DONE, work.clock.now()
        return
    givens = [read_given(work, run, importer, row)[0] for row in rows]
    batch = importer.judge(work, givens, setting_of(run))
    writes = Writes(work)
    written: dict[int, str | None] = {}
    for at, row in enumerate(rows):
        if finding_index(work, batch.findings[at]) == row.finding_index:
            writes.number = row.number
            written[row.number] = batch.write(at, writes)
    journal = writes.flush()
    seal = work.keys.seal_text
    work.update_rows(
        ImportRow,
        [
            {"id": row.id, "state": RowState.WRITTEN, "patient_id": written[row.number], "reason": None,
             "journal_sealed": seal(json.dumps(journal[row.number], ensure_ascii=False))}
            if row.number in written
            else {"id": row.id, "state": RowState.MOVED, "patient_id": row.patient_id, "reason": MOVED,
                  "journal_sealed": None}
            for row in rows
        ],
    )  # fmt: skip
    if importer.follow is not None:
        importer.follow(work, _named(journal, written), _begun(run))
    _advance(run, rows, Counter({"written": len(written), "moved": len(rows) - len(written)}))
    _audit(work, "import.write", run, list(written.values()), len(written))


def _named(journal: Journal, written: Mapping[int, str | None]) -> list[str]:
    """Everybody rows were written about."""
    also = {patient_id for entry in journal.values() for _, _, patient_id, _, _ in entry["new"] if patient_id}
    return sorted(also | {one for one in written.values() if one})


def _revert(work: Work, run: ImportRun, importer: Importer) -> None:
    """From the last row to the first, so that a value changed twice goes back the way it came."""
    if run.progress == 0:
        run.counts = {**run.counts, "reverted": 0, "ended": 0, "kept": 0}
        if importer.undone is not None:
            importer.undone(work, run.id)
    rows = work.execute(
        sa.select(_ROW)
        .where(
            _ROW.c.run_id == run.id,
            _ROW.c.number < run.position,
            _ROW.c.state.in_((RowState.WRITTEN, RowState.KEPT)),
        )
        .order_by(_ROW.c.number.desc())
        .limit(limits.IMPORT_BATCH)
    ).all()
    if not rows:
        run.state, run.reverted_at = ImportState.REVERTED, work.clock.now()
        return
    journals = open_journals(work, rows)
    touched = sorted(touched_patients(rows, journals))
    outcomes = revert_rows(work, importer, rows, journals)
    if importer.follow is not None:
        importer.follow(work, touched, _begun(run))
    _advance(run, rows, Counter(state.value for state, _ in outcomes.values()))
    _audit(work, "import.revert", run, touched, len(rows))


def _begun(run: ImportRun) -> datetime:
    return run.started_at or run.created_at


def _advance(run: ImportRun, rows: Sequence[Any], counted: Counter[str]) -> None:
    run.position = rows[-1].number
    run.progress += len(rows)
    counts: dict[str, int] = defaultdict(int, run.counts)
    for word, number in counted.items():
        counts[word] += number
    run.counts = dict(counts)


def _audit(work: Work, action: str, run: ImportRun, patients: Sequence[str | None], count: int) -> None:
    record_audit(
        work, action=action, patients=[one for one in patients if one], subject_type="import_run", subject_id=run.id,
        detail={"kind": run.kind, "count": count},
    )  # fmt: skip
