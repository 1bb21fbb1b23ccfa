"""What people do with a file: upload it, say what its columns are, let it run, stop it, take it back."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.errors import ConflictError, HcrmError, InvalidInput, NotFoundError
from hcrm.core.importing import Importer
from hcrm.core.work import Work
from hcrm.exchange.models import ImportMapping, ImportRow, ImportRun, ImportState
from hcrm.exchange.table_file import FileForm, Heading, find_heading, plain_heading, recognise

Importers = Mapping[str, Importer]
"""By kind, in the order people are offered them (`hcrm.app.wiring.IMPORTERS`)."""
_NO_IMPORTERS: Importers = {}


def upload_file(work: Work, *, importers: Importers, kind: str, name: str, content: bytes) -> str:
    """Keep a file, sealed, with a guess at its columns; the key of its run. Nothing of it reaches the archive yet."""
    importer = importer_of(work, importers, kind)
    if work.actor.department_ids is not None:
        raise HcrmError("import.scope", "导入会涉及全院患者，您的角色只能查看本科室，不能导入")
    form = recognise(content, name)
    heading = find_heading(content, form, known_headings(importer), may_be_empty=importer.may_be_empty)
    remembered = _remembered(work, importer, heading.names)
    run = ImportRun(
        id=work.new_id(), kind=kind, state=ImportState.UPLOADED, name_sealed=work.keys.seal_text(name[:200]),
        content_sealed=work.keys.seal(content), file_index=work.keys.blind("import_file", content.hex()),
        file_form=form.form, charset=form.charset, delimiter=form.delimiter, is_1904=form.is_1904,
        heading_line=heading.number, heading=heading.names, sample_sealed=_sealed_sample(work, heading),
        places=remembered.places if remembered else guess_places(importer, heading.names),
        options=remembered.options if remembered else {}, counts={}, error=None, lease=None, leased_until=None,
        created_at=work.clock.now(), created_by=work.actor.id, created_by_name=work.actor.name, checked_at=None,
        started_at=None, finished_at=None, reverted_at=None, purged_at=None,
    )  # fmt: skip
    work.add(run)
    _note(work, "import.upload", run)
    return run.id


def choose_columns(
    work: Work, *, importers: Importers, run_id: str, places: Mapping[str, int], options: Mapping[str, str]
) -> None:
    """Say which column is which; the machine then reads the file and tells what it would do."""
    run = _locked(work, run_id, (ImportState.UPLOADED, ImportState.CHECKED), "这次导入已经开始，不能再改列")
    importer = importer_of(work, importers, run.kind)
    errors = _place_errors(work, importer, places, len(run.heading))
    offered = {option.code: option for option in importer.options(work)}
    for code, option in offered.items():
        if options.get(code) not in dict(option.values):
            errors[f"option-{code}"] = "请从列出的选项中选择"
    if errors:
        raise InvalidInput(errors)
    run.places, run.options = dict(places), {code: options[code] for code in offered}
    run.state = ImportState.READING if run.content_sealed is not None else ImportState.CHECKING
    _begin(run)
    _remember(work, run)
    _note(work, "import.check", run)


def may_confirm(run: ImportRun, importer: Importer | None) -> bool:
    """Whether a dry run announced anything; of some kinds that all is known, or nothing came, is news too."""
    if any(run.counts.get(word) for word in ("new", "changed")):
        return True
    is_news = importer is not None and importer.may_be_empty
    return is_news and (not run.total or bool(run.counts.get("same")))


def confirm_import(
    work: Work, *, run_id: str, importers: Importers = _NO_IMPORTERS, is_news: bool = False
) -> None:
    """Do what the dry run announced. `is_news`: that there is nothing to do was looked at and is meant."""
    run = _locked(work, run_id, (ImportState.CHECKED,), "这次导入不在待确认的状态")
    if not is_news and not may_confirm(run, importers.get(run.kind)):
        raise HcrmError("import.nothing", "没有可以导入的行")
    run.state, run.started_at = ImportState.RUNNING, work.clock.now()
    _begin(run)
    _note(work, "import.run", run)


def stop_import(work: Work, *, run_id: str) -> None:
    """Go no further. What was written stays, and can be reverted; what was only looked at is discarded."""
    states = (ImportState.READING, ImportState.CHECKING, ImportState.RUNNING)
    run = _locked(work, run_id, states, "这次导入已经结束")
    if run.state is ImportState.RUNNING:
        run.state, run.finished_at = ImportState.STOPPED, work.clock.now()
    else:
        _discard(work, run)
    _note(work, "import.stop", run)


def resume_import(work: Work, *, run_id: str) -> None:
    """Go on with one that was stopped."""
    run = _locked(work, run_id, (ImportState.STOPPED,), "这次导入没有停止")
    run.state, run.error, run.attempts, run.finished_at = ImportState.RUNNING, None, 0, None
    run.lease = run.leased_until = None
    _note(work, "import.run", run)


def discard_import(work: Work, *, run_id: str) -> None:
    """Drop a file that has written nothing."""
    states = (ImportState.UPLOADED, ImportState.CHECKED, ImportState.FAILED)
    run = _locked(work, run_id, states, "这次导入已经写入档案，只能撤销")
    _discard(work, run)
    _note(work, "import.discard", run)


def revert_import(work: Work, *, run_id: str) -> None:
    """Take back everything it wrote, as far as nobody changed it since."""
    states = (ImportState.DONE, ImportState.STOPPED, ImportState.REVERTED)
    run = _locked(work, run_id, states, "这次导入还没有写入，或正在处理")
    if run.purged_at is not None:
        raise ConflictError("import.purged", f"导入已超过 {limits.IMPORT_KEEP_DAYS} 天，撤销所需的记录已清除")
    run.state = ImportState.REVERTING
    _begin(run)
    run.position = int(
        work.scalar(sa.select(sa.func.coalesce(sa.func.max(ImportRow.number), 0) + 1).where(ImportRow.run_id == run.id))
    )  # fmt: skip
    _note(work, "import.revert", run)


def prune_imports(work: Work) -> int:
    """Remove what uploads held of patients once their time is over; how many runs. For a job."""
    now = work.clock.now()
    old = sa.or_(
        sa.and_(
            ImportRun.finished_at < now - timedelta(days=limits.IMPORT_KEEP_DAYS),
            ImportRun.state.in_(_FINISHED),
        ),
        sa.and_(
            ImportRun.created_at < now - timedelta(days=limits.IMPORT_UNFINISHED_DAYS),
            ImportRun.state.in_(_UNFINISHED),
        ),
    )
    runs = work.scalars(
        sa.select(ImportRun).where(ImportRun.purged_at.is_(None), old).order_by(ImportRun.id).limit(1)
    )
    for run in runs:
        if run.state in _UNFINISHED:
            run.state = ImportState.CANCELLED
        purge(work, run)
    return len(runs)


_FINISHED = (ImportState.DONE, ImportState.STOPPED, ImportState.REVERTED)
_UNFINISHED = (ImportState.UPLOADED, ImportState.CHECKED, ImportState.FAILED)


def purge(work: Work, run: ImportRun) -> None:
    """Remove file, rows and journal of a run; its counts stay."""
    run.content_sealed = run.sample_sealed = run.name_sealed = None
    run.heading, run.purged_at = [], work.clock.now()
    work.execute(sa.delete(ImportRow).where(ImportRow.run_id == run.id))
    work.session.flush()


# ── columns ─────────────────────────────────────────────────────────────────


def importer_of(work: Work, importers: Importers, kind: str) -> Importer:
    """The importer of a kind, with the columns this installation adds."""
    if kind not in importers:
        raise NotFoundError
    return importers[kind].with_more(work)


def known_headings(importer: Importer) -> frozenset[str]:
    """Every heading it knows, plain."""
    return frozenset(
        plain_heading(name) for column in importer.columns for name in (column.title, *column.names)
    )


def guess_places(importer: Importer, names: Sequence[str]) -> dict[str, int]:
    """Which column is which by its heading; a column serves once, the first heading of a name wins."""
    at = {plain_heading(name): place for place, name in reversed(list(enumerate(names))) if name}
    places: dict[str, int] = {}
    for column in importer.columns:
        for name in (column.title, *column.names):
            place = at.get(plain_heading(name))
            if place is not None and place not in places.values():
                places[column.code] = place
                break
    return places


def _place_errors(work: Work, importer: Importer, places: Mapping[str, int], width: int) -> dict[str, str]:
    errors: dict[str, str] = {}
    used: dict[int, str] = {}
    for column in importer.columns:
        place = places.get(column.code)
        if place is None:
            if column.required:
                errors[f"column-{column.code}"] = "请选择文件中的列"
        elif column.needs and not work.actor.may(column.needs):
            errors[f"column-{column.code}"] = "您没有填写这一项的权限"
        elif not 0 <= place < width:
            errors[f"column-{column.code}"] = "文件中没有这一列"
        elif place in used:
            errors[f"column-{column.code}"] = f"这一列已用作“{used[place]}”"
        else:
            used[place] = column.title
    return errors


def _heading_index(work: Work, names: Sequence[str]) -> str:
    return work.keys.blind("import_heading", json.dumps(list(names), ensure_ascii=False))


def _remembered(work: Work, importer: Importer, names: Sequence[str]) -> ImportMapping | None:
    """What was chosen before for these headings, unless the kind has lost a column since."""
    found: ImportMapping | None = work.scalar(
        sa.select(ImportMapping).where(
            ImportMapping.kind == importer.kind, ImportMapping.heading_index == _heading_index(work, names)
        )
    )
    if found is None or any(importer.column(code) is None for code in found.places):
        return None
    return found


def _remember(work: Work, run: ImportRun) -> None:
    index = _heading_index(work, run.heading)
    found = work.scalar(
        sa.select(ImportMapping).where(ImportMapping.kind == run.kind, ImportMapping.heading_index == index)
    )
    values: dict[str, Any] = {
        "places": run.places, "options": run.options, "updated_at": work.clock.now(), "updated_by": work.actor.name
    }  # fmt: skip
    if found is not None:
        for name, value in values.items():
            setattr(found, name, value)
    else:
        work.insert_new(
            ImportMapping, [{"id": work.new_id(), "kind": run.kind, "heading_index": index, **values}]
        )


# ── helpers ─────────────────────────────────────────────────────────────────


def form_of(run: ImportRun) -> FileForm:
    """How the run's file is read."""
    return FileForm(run.file_form, run.charset, run.delimiter, run.is_1904)


def _locked(work: Work, run_id: str, states: Sequence[ImportState], otherwise: str) -> ImportRun:
    run = work.session.get(ImportRun, run_id, with_for_update=True, populate_existing=True)
    if run is None:
        raise NotFoundError
    if run.state not in states:
        raise ConflictError("import.state", otherwise)
    return run


def _begin(run: ImportRun) -> None:
    """From its first line, by whoever comes first."""
    run.progress = run.position = run.attempts = 0
    run.error = run.lease = run.leased_until = None


def _discard(work: Work, run: ImportRun) -> None:
    run.state, run.finished_at = ImportState.CANCELLED, work.clock.now()
    purge(work, run)


def _sealed_sample(work: Work, heading: Heading) -> bytes:
    return work.keys.seal_text(json.dumps([line.cells for line in heading.sample], ensure_ascii=False))


def _note(work: Work, action: str, run: ImportRun) -> None:
    record_audit(
        work, action=action, subject_type="import_run", subject_id=run.id,
        detail={"kind": run.kind, **({"counts": run.counts} if run.counts else {})},
    )  # fmt: skip
