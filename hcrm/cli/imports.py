"""`hcrm import`: a file taken in without the console, by the same code as its pages.

The command works on it itself, batch by batch, beside a scheduler that may run: a lease says whose it is.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from hcrm.app.wiring import importers
from hcrm.cli.options import Bilingual, db_option, settings_for
from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.clock import SystemClock
from hcrm.core.db import Database
from hcrm.core.errors import HcrmError, InvalidInput, NotFoundError
from hcrm.core.ids import new_id
from hcrm.core.importing import FAULTY, Importer, Verdict
from hcrm.core.runtime import open_database
from hcrm.core.work import Work, open_work
from hcrm.core.workbook import write_csv, write_xlsx
from hcrm.exchange import imports as acts
from hcrm.exchange import queries
from hcrm.exchange.models import AT_WORK, ImportRun, ImportState, RowState
from hcrm.exchange.progress import advance_imports
from hcrm.exchange.table_file import check_size

_ACTOR = system_actor("cli")
_SHOWN_ROWS = 20
_WAIT_SECONDS = 0.5
_WORDS = {**{one.value: one.label for one in Verdict}, **{one.value: one.label for one in RowState}}


@click.group(
    "import", cls=Bilingual, help="导入表格：试运行、写入、撤销 | take files in: dry run, writing, revert"
)
def import_files() -> None:
    """What the pages 患者 › 导入 do."""


@import_files.command(
    help="上传并试运行，不写入；有问题的行返回 1 | dry run, writes nothing; 1 where rows have faults"
)
@db_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--kind", required=True, help="导入什么，例如 patients | what it holds")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="CODE=HEADING",
    help="这一项取文件中的哪一列，可写多次 | which column of the file; may be repeated",
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="CODE=VALUE",
    help="整个文件的选项 | choices for the whole file",
)
def check(db: str, file: Path, kind: str, columns: Sequence[str], options: Sequence[str]) -> None:
    """Prints the run's number, what its rows would do, and the first that are wrong."""
    database = open_database(settings_for(db))
    with _open(database) as work:
        run_id = acts.upload_file(
            work, importers=importers(), kind=_known_kind(kind), name=file.name, content=_content(file)
        )
        _choose(work, run_id, _pairs(columns), _pairs(options))
    run = _work_until_done(database, run_id, ImportState.CHECKED)
    click.echo(f"编号 {run.id}")
    _say(database, run)
    faulty = sum(run.counts.get(verdict.value, 0) for verdict in FAULTY)
    sys.exit(0 if run.state is ImportState.CHECKED and not faulty else 1)


@import_files.command(help="写入试运行过的文件，或接着写入 | write what was checked, or go on with it")
@db_option
@click.argument("number")
def run(db: str, number: str) -> None:
    """0 only when every announced row was written."""
    database = open_database(settings_for(db))
    with _open(database) as work:
        found = _run(work, number)
        if found.state is ImportState.STOPPED:
            acts.resume_import(work, run_id=number)
        elif found.state is not ImportState.RUNNING:
            acts.confirm_import(work, run_id=number, importers=importers())
    done = _work_until_done(database, number, ImportState.DONE)
    _say(database, done)
    sys.exit(0 if done.state is ImportState.DONE and not done.counts.get("moved") else 1)


@import_files.command(help="各次导入，或一次的结果 | every import, or how one stands")
@db_option
@click.argument("number", required=False)
def status(db: str, number: str | None) -> None:
    """The latest first."""
    database = open_database(settings_for(db))
    if number is not None:
        with _open(database, write=False) as work:
            found = _run(work, number)
        _say(database, found)
        return
    with _open(database, write=False) as work:
        for one in queries.list_runs(work).items:
            click.echo(
                f"{one.id}  {one.kind}  {one.state.label}  {one.progress}/{one.total}  {_counted(one)}"
            )


@import_files.command(help="未导入的行连同原因写到文件 | the rows not taken in, with their reasons")
@db_option
@click.argument("number")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def errors(db: str, number: str, file: Path) -> None:
    """XLSX, or CSV where the file's name says so."""
    database = open_database(settings_for(db))
    with _open(database) as work:
        found = _run(work, number)
        lines = queries.marked_lines(work, found, acts.importer_of(work, importers(), found.kind))
        is_text = file.suffix.lower() == ".csv"
        content = write_csv(lines) if is_text else write_xlsx("未导入的行", lines)
    file.write_bytes(content)
    click.echo(f"{file}")


@import_files.command(help="撤销一次导入；有保留的行返回 1 | take one back; 1 where rows were kept")
@db_option
@click.argument("number")
def revert(db: str, number: str) -> None:
    """What others have changed since stays, and is counted."""
    database = open_database(settings_for(db))
    with _open(database) as work:
        if _run(work, number).state is not ImportState.REVERTING:
            acts.revert_import(work, run_id=number)
    done = _work_until_done(database, number, ImportState.REVERTED)
    _say(database, done)
    is_whole = done.state is ImportState.REVERTED and not any(
        done.counts.get(word) for word in ("kept", "ended")
    )
    sys.exit(0 if is_whole else 1)


# ── the work ────────────────────────────────────────────────────────────────


def _open(database: Database, *, write: bool = True) -> Any:
    return open_work(database, actor=_ACTOR, write=write)


def _run(work: Work, number: str) -> ImportRun:
    try:
        return work.get(ImportRun, number)
    except NotFoundError:
        raise HcrmError("import.unknown", "没有这次导入；用 hcrm import status 查看编号") from None


def _known_kind(kind: str) -> str:
    if kind not in importers():
        raise HcrmError("import.kind", "没有这种导入；可用：" + "、".join(importers()))
    return kind


def _content(file: Path) -> bytes:
    check_size(file.stat().st_size)  # before it is read: it may be anything
    with file.open("rb") as opened:
        return opened.read(limits.MAX_UPLOAD_BYTES + 1)


def _pairs(words: Sequence[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    if any(not mark for _, mark, _ in pairs):
        raise HcrmError("import.option", "请写成 名称=内容")
    return {name: value for name, _, value in pairs}


def _choose(work: Work, run_id: str, columns: Mapping[str, str], options: Mapping[str, str]) -> None:
    """Columns as they were guessed unless named; options as they were chosen last, else the first."""
    found = work.get(ImportRun, run_id)
    importer = acts.importer_of(work, importers(), found.kind)
    places = dict(found.places)
    for code, heading in columns.items():
        if importer.column(code) is None:
            known = "、".join(f"{column.code}（{column.title}）" for column in importer.columns)
            raise HcrmError("import.column", f"没有这一项：{code}；可用：{known}")
        if heading not in found.heading:
            raise HcrmError("import.heading", f"文件中没有“{heading}”这一列")
        places = {one: place for one, place in places.items() if place != found.heading.index(heading)}
        places[code] = found.heading.index(heading)
    chosen = {
        option.code: options.get(option.code) or found.options.get(option.code) or option.values[0][0]
        for option in importer.options(work)
    }
    try:
        acts.choose_columns(work, importers=importers(), run_id=run_id, places=places, options=chosen)
    except InvalidInput as error:
        words = "；".join(f"{_titled(importer, code)}：{words}" for code, words in error.errors.items())
        raise HcrmError("import.columns", words) from None


def _titled(importer: Importer, name: str) -> str:
    column = importer.column(name.removeprefix("column-"))
    return f"{column.title}（{column.code}）" if column else name


def _work_until_done(database: Database, run_id: str, aim: ImportState) -> ImportRun:
    """Work on what waits until this one waits for a person; another process may do it meanwhile."""
    owner, clock = new_id(), SystemClock()
    progress = _progress(database, run_id)
    while True:
        is_busy = advance_imports(database, clock, importers(), owner=owner, rest=progress)
        with _open(database, write=False) as work:
            found = work.get(ImportRun, run_id)
        if found.state not in AT_WORK:
            click.echo("", err=True)
            if found.state is not aim:
                click.echo(f"hcrm: {found.state.label}{f'：{found.error}' if found.error else ''}", err=True)
            return found
        if not is_busy:
            progress()
            time.sleep(_WAIT_SECONDS)


def _progress(database: Database, run_id: str) -> Callable[[], bool]:
    """Says how far it is on the error output, so that the output holds results only."""

    def say() -> bool:
        with _open(database, write=False) as work:
            found = work.get(ImportRun, run_id)
        click.echo(f"\r{found.state.label} {found.progress} / {found.total} 行", nl=False, err=True)
        time.sleep(limits.IMPORT_PAUSE_SECONDS)
        return False

    return say


# ── words ───────────────────────────────────────────────────────────────────


def _counted(found: ImportRun) -> str:
    return "，".join(f"{_WORDS.get(word, word)} {number}" for word, number in found.counts.items() if number)


def _say(database: Database, found: ImportRun) -> None:
    """State and counts, then the first rows that were given back: row, column, reason; nothing they hold."""
    click.echo(f"{found.state.label}：共 {found.total} 行；{_counted(found) or '没有结果'}")
    if found.purged_at is not None:
        return
    with _open(database, write=False) as work:
        importer = acts.importer_of(work, importers(), found.kind)
        rows = queries.returned_reasons(work, found, importer, most=_SHOWN_ROWS)
    for number, reasons in rows:
        click.echo(f"第 {number} 行  {reasons}")
