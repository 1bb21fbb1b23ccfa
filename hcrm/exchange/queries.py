"""Reading imports for people."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.importing import FAULTY, MARKS, Column, Finding, Importer, Verdict
from hcrm.core.work import Work
from hcrm.core.workbook import MarkedCell
from hcrm.exchange.models import ImportRow, ImportRun, ImportState, RowState
from hcrm.exchange.progress import finding_index, open_cells, read_given, setting_of
from hcrm.web.paging import Page, keyset_page

_RETURNED = (RowState.MOVED, RowState.KEPT)
"""What was not done as announced: given back with the faulty rows."""


def list_runs(work: Work, *, key: str | None = None) -> Page[ImportRun]:
    """Every import, the latest first."""
    order = [ImportRun.created_at.desc(), ImportRun.id.desc()]
    return keyset_page(work, sa.select(ImportRun), order=order, key=key)


def file_name(work: Work, run: ImportRun) -> str:
    """What the file was called; empty once it is removed."""
    return work.keys.open_text(run.name_sealed) if run.name_sealed else ""


def sample_of(work: Work, run: ImportRun) -> list[list[str]]:
    """The first rows, to choose columns by."""
    return json.loads(work.keys.open_text(run.sample_sealed)) if run.sample_sealed else []


def same_file(work: Work, run: ImportRun) -> ImportRun | None:
    """The newest earlier import of the same file that wrote something, or may."""
    found: ImportRun | None = work.session.scalars(
        sa.select(ImportRun)
        .where(
            ImportRun.file_index == run.file_index, ImportRun.kind == run.kind, ImportRun.id < run.id,
            ImportRun.state.not_in((ImportState.CANCELLED, ImportState.FAILED, ImportState.REVERTED)),
        )
        .order_by(ImportRun.id.desc())
        .limit(1)
    ).first()  # fmt: skip
    return found


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Which rows of a file."""

    verdict: Verdict | None = None
    state: RowState | None = None


@dataclass(frozen=True, slots=True)
class RowLine:
    """A row for people: as it came, and what it does or why it does not."""

    row: ImportRow
    cells: Sequence[str]
    finding: Finding | None  # by the archive as it stands; None once something was written


def list_rows(
    work: Work, run: ImportRun, importer: Importer, asked: RowFilter, *, key: str | None = None,
    size: int = limits.PAGE_SIZE,
) -> tuple[Page[ImportRow], list[RowLine]]:  # fmt: skip
    """A page of rows in the order of the file. The archive is looked at anew for what they would do."""
    statement = sa.select(ImportRow).where(ImportRow.run_id == run.id)
    if asked.verdict is not None:
        statement = statement.where(ImportRow.verdict == asked.verdict)
    if asked.state is not None:
        statement = statement.where(ImportRow.state == asked.state)
    page = keyset_page(work, statement, order=[ImportRow.number], key=key, size=size)
    findings: dict[int, Finding] = {}
    if run.state is ImportState.CHECKED:
        read = [read_given(work, run, importer, row)[0] for row in page.items if row.verdict not in FAULTY]
        batch = importer.judge(work, read, setting_of(run))
        findings = {given.number: finding for given, finding in zip(read, batch.findings, strict=True)}
    lines = [RowLine(row, open_cells(work, row), findings.get(row.number)) for row in page.items]
    record_audit(
        work, action="import.read", patients=[row.patient_id for row in page.items if row.patient_id],
        subject_type="import_run", subject_id=run.id, detail={"count": len(page.items)},
    )  # fmt: skip
    return page, lines


def is_announced(work: Work, line: RowLine) -> bool:
    """Whether the row still does what the dry run said."""
    return line.finding is None or finding_index(work, line.finding) == line.row.finding_index


def count_returned(work: Work, run: ImportRun) -> int:
    """How many rows the marked file holds."""
    return int(work.scalar(sa.select(sa.func.count()).select_from(ImportRow).where(*_returned(run))))


def _returned(run: ImportRun) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        ImportRow.run_id == run.id,
        sa.or_(ImportRow.verdict.in_(FAULTY), ImportRow.state.in_(_RETURNED)),
    )


def marked_lines(work: Work, run: ImportRun, importer: Importer) -> Iterator[list[str]]:
    """The rows that were not taken in, as they came, with their line, field and reason behind them.

    Taken in again, the file is read by the same columns.
    """
    width = len(run.heading)
    columns = {column.code: column for column in importer.columns}
    yield [*run.heading, *MARKS]
    at, count = 0, 0
    while rows := work.scalars(
        sa.select(ImportRow)
        .where(*_returned(run), ImportRow.number > at)
        .order_by(ImportRow.number)
        .limit(limits.IMPORT_BATCH)
    ):
        for row in rows:
            cells = open_cells(work, row)[:width]
            cells += [""] * (width - len(cells))
            for code, _ in row.problems or ():
                if (place := run.places.get(code)) is not None and place < width:
                    cells[place] = MarkedCell(cells[place])
            fields, reasons = row_reasons(row, columns, run)
            yield [*cells, str(row.number), fields, reasons]
        at, count = rows[-1].number, count + len(rows)
    record_audit(
        work, action="import.errors", subject_type="import_run", subject_id=run.id, detail={"count": count}
    )


def returned_reasons(work: Work, run: ImportRun, importer: Importer, *, most: int) -> list[tuple[int, str]]:
    """The first rows of the marked file: number and reasons, nothing of what they hold."""
    columns = {column.code: column for column in importer.columns}
    rows = work.scalars(sa.select(ImportRow).where(*_returned(run)).order_by(ImportRow.number).limit(most))
    return [(row.number, row_reasons(row, columns, run)[1]) for row in rows]


def row_reasons(row: ImportRow, columns: Mapping[str, Column], run: ImportRun) -> tuple[str, str]:
    """Fields and reasons of a row that was not taken in: headings of the file, sentences."""
    fields: list[str] = []
    sentences: list[str] = []
    for code, sentence in row.problems or ():
        column = columns.get(code)
        place = run.places.get(code)
        heading = run.heading[place] if place is not None and place < len(run.heading) else ""
        name = heading or (column.title if column else "")
        if name:
            fields.append(name)
        sentences.append(f"{name}：{sentence}" if name else sentence)
    if row.reason:
        sentences.append(row.reason)
    return "、".join(dict.fromkeys(fields)), "；".join(sentences)
