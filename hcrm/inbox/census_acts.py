"""What people do with findings: apply the list's rows, ask the HIS for them, say why they are none.

A row that is applied becomes a message like those of a polled view, and goes the one way everything goes.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from hcrm.archive.queries import record_list_read
from hcrm.audit.service import record_audit
from hcrm.core.channels import RowEvent
from hcrm.core.errors import ConflictError, HcrmError
from hcrm.core.sources import Source, Sources
from hcrm.core.work import Work
from hcrm.inbox.census_models import (
    OF_OTHER_PATIENT,
    CensusLine,
    CensusRun,
    Finding,
    LineState,
    Movement,
    RunState,
)
from hcrm.inbox.records import Incoming, Stored
from hcrm.inbox.rows import row_message
from hcrm.web.paging import Page, keyset_page

Store = Callable[[Sequence[Incoming]], Sequence[Stored]]
"""Stores durably, then returns (`hcrm.inbox.intake.store_now`)."""
_OPEN: Final = (LineState.OPEN, LineState.REQUESTED)
_STAYS: Final = (Movement.ADMISSION, Movement.DISCHARGE)


def count_applicable(work: Work, run_id: str) -> int:
    """Stays of a run whose rows can be applied."""
    statement = sa.select(sa.func.count(sa.distinct(CensusLine.visit_no)))
    return int(work.scalar(statement.where(*_applicable(run_id))))


def list_applicable(work: Work, run_id: str, *, key: str | None = None) -> Page[CensusLine]:
    """Findings of those stays: what would change; the list names patients, and is noted as read."""
    page = keyset_page(
        work, sa.select(CensusLine).where(*_applicable(run_id)), order=(CensusLine.visit_no, CensusLine.id), key=key
    )  # fmt: skip
    record_list_read(work, "census.list", [line.patient_id for line in page.items if line.patient_id])
    return page


def count_requestable(work: Work, run_id: str) -> int:
    """Open findings of a run the HIS can mend by sending again."""
    statement = sa.select(sa.func.count()).select_from(CensusLine)
    return int(work.scalar(statement.where(*_requestable(run_id))))


def is_applicable(work: Work, line: CensusLine) -> bool:
    """Whether the row of this finding can be applied."""
    found = sa.select(CensusLine.id).where(CensusLine.id == line.id, *_applicable(line.run_id))
    return work.session.scalar(found) is not None


def apply_lines(
    work: Work, *, run_id: str, sources: Sources, store: Store, line_id: str | None = None
) -> int:
    """Let the list's rows of one finding, or of all of a run, become messages; how many stays.

    Stored before it is noted here: after a crash between the two the same rows are the same messages.
    """
    run = work.get(CensusRun, run_id)
    _require_latest(work, run)
    source = sources.by_code.get(run.source)
    if source is None or source.census is None:
        raise HcrmError("census.source", "来源配置中已没有 census，不能补录", status=409)
    where = _applicable(run_id)
    if line_id is not None:
        line = work.get(CensusLine, line_id)
        where = [*where, CensusLine.visit_no == line.visit_no, CensusLine.authority == line.authority]
    lines = work.scalars(sa.select(CensusLine).where(*where).order_by(CensusLine.id).with_for_update())
    by_stay: dict[tuple[str, str], list[CensusLine]] = {}
    for line in lines:
        by_stay.setdefault((line.authority, line.visit_no), []).append(line)
    if not by_stay:
        raise ConflictError(
            "census.nothing", "没有可补录的差异：已处理过，或就诊属于另一位患者，补录不能改变"
        )
    made_at = run.list_at or run.ran_at
    messages = [
        (stay, message)
        for stay, found in by_stay.items()
        for message in _messages(work, source, found, made_at)
    ]
    stored = store([message for _, message in messages])
    seqs: Mapping[tuple[str, str], int] = {
        stay: done.seq for (stay, _), done in zip(messages, stored, strict=True)
    }
    for stay, found in by_stay.items():
        for line in found:
            line.message_seq = seqs[stay]
            _mark(work, line, LineState.APPLIED, line.note)
    _audit(work, "census.apply", run, lines)
    return len(by_stay)


def _applicable(run_id: str) -> list[sa.ColumnElement[bool]]:
    """Not stays that are another patient's here: a row does not say whose a stay is, its message would be parked."""
    other = sa.orm.aliased(CensusLine)
    is_other_s = sa.exists().where(
        other.run_id == run_id, other.field == OF_OTHER_PATIENT, other.visit_no == CensusLine.visit_no,
        other.authority == CensusLine.authority,
    )  # fmt: skip
    return [
        CensusLine.run_id == run_id, CensusLine.state.in_(_OPEN), CensusLine.row_sealed.is_not(None), ~is_other_s,
    ]  # fmt: skip


def _messages(work: Work, source: Source, lines: Sequence[CensusLine], made_at: datetime) -> list[Incoming]:
    """The rows of one stay: as what they tell, or as a correction where we have the stay and only details differ."""
    is_unknown = any(line.finding is Finding.MISSING and line.movement in _STAYS for line in lines)
    event: RowEvent | None = None if is_unknown else "update"
    sealed = lines[0].row_sealed
    assert sealed is not None
    rows = json.loads(work.keys.open(sealed))
    peer = f"census {source.code}"
    return [
        row_message(source, "census", row, peer=peer, at=work.clock.now(), told=made_at, event=event)
        for row in rows
    ]


def request_lines(work: Work, *, run_id: str, line_id: str | None = None) -> int:
    """Note that the HIS was asked to send what is open; how many findings. Not what it does not have itself."""
    run = work.get(CensusRun, run_id)
    _require_latest(work, run)
    where = _requestable(run_id)
    if line_id is not None:
        where.append(CensusLine.id == line_id)
    lines = work.scalars(sa.select(CensusLine).where(*where).order_by(CensusLine.id).with_for_update())
    if not lines:
        raise ConflictError("census.nothing", "没有可请求补发的差异：已处理过，或名单中没有此人次，请刷新")
    for line in lines:
        _mark(work, line, LineState.REQUESTED, line.note)
    _audit(work, "census.request", run, lines)
    return len(lines)


def _requestable(run_id: str) -> list[sa.ColumnElement[bool]]:
    return [
        CensusLine.run_id == run_id, CensusLine.state == LineState.OPEN, CensusLine.finding != Finding.EXTRA,
    ]  # fmt: skip


def explain_line(work: Work, *, line_id: str, note: str) -> CensusLine:
    """Say why a finding is none; it raises no alarm any more."""
    line = work.get(CensusLine, line_id)
    run = work.get(CensusRun, line.run_id)
    _require_latest(work, run)
    _mark(work, line, LineState.EXPLAINED, note)
    _audit(work, "census.explain", run, [line])
    return line


def repeat_run(work: Work, *, run_id: str, is_believed: bool = False) -> None:
    """Have the day compared again by the job; `is_believed`: with a list that seemed wrong."""
    run = work.get(CensusRun, run_id)
    _require_latest(work, run)
    if is_believed:
        if run.state is not RunState.SUSPECT:
            raise ConflictError("census.believed", "这份名单没有被怀疑，请刷新")
        run.believed_by, run.believed_by_name = work.actor.id, work.actor.name
    run.again_at = work.clock.now()
    record_audit(
        work, action="census.repeat", subject_type="census_run", subject_id=run.id,
        detail={"is_believed": is_believed},
    )  # fmt: skip


def _require_latest(work: Work, run: CensusRun) -> None:
    newest = work.scalar(
        sa.select(sa.func.max(CensusRun.number)).where(
            CensusRun.source == run.source, CensusRun.day == run.day
        )
    )
    if newest != run.number:
        raise ConflictError("census.older", "此后又对过账，请看最新一次的结果")


def _mark(work: Work, line: CensusLine, state: LineState, note: str | None) -> None:
    line.state, line.note, line.acted_at = state, note, work.clock.now()
    line.acted_by, line.acted_by_name = work.actor.id, work.actor.name


def _audit(work: Work, action: str, run: CensusRun, lines: Sequence[CensusLine]) -> None:
    work.session.flush()
    record_audit(
        work, action=action, patients=sorted({line.patient_id for line in lines if line.patient_id}),
        subject_type="census_run", subject_id=run.id, detail={"count": len(lines)},
    )  # fmt: skip
