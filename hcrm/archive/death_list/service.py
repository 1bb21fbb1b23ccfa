"""The hospital's death list: what a line came to, what a person decides of one, and its taking back.

A death it tells goes the one way of every death people tell (`report_death`): all that waits for the patient is closed,
and it can be taken back.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa

from hcrm.archive.batch import values_in
from hcrm.archive.death import LIST_WORD, is_revocable, report_death, revoke_death, standing_reports
from hcrm.archive.death_list.match import WITHDRAWN, Claim, Judged, judge_claims
from hcrm.archive.death_list.models import SAYS_DEAD, DeathListEntry, EntryState, stands_as
from hcrm.archive.models import DeceasedState, IdentifierKind, Patient, PatientIdentifier
from hcrm.archive.queries import record_list_read
from hcrm.archive.terms import DEATH_LIST
from hcrm.archive.timeline import add_entry
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.errors import ConflictError, DeniedError, HcrmError
from hcrm.core.work import Work
from hcrm.web.paging import Page, keyset_page

NOTE_LENGTH = 200


def fingerprint(work: Work, claim: Claim) -> str:
    """One person of a list, however often it comes; blind. The day of death is no part of it: lists put it right."""
    born = claim.birth_date.isoformat() if claim.birth_date else ""
    words = [claim.name, claim.id_index or "", claim.record_no or "", born]
    return work.keys.blind("death_list", json.dumps(words, ensure_ascii=False))


def claim_of(entry: DeathListEntry) -> Claim:
    """What a kept line says."""
    return Claim(entry.name, entry.id_index, entry.record_no, entry.birth_date, entry.died_on)


def state_of(judged: Judged) -> EntryState:
    """What a line comes to by the archive as it stands."""
    if judged.patient is not None:
        has_died = judged.patient.deceased is DeceasedState.DECEASED
        return EntryState.ALREADY if has_died else EntryState.MATCHED
    return EntryState.NEAR if judged.reason is not None else EntryState.UNKNOWN


# ── telling and taking back ─────────────────────────────────────────────────


def follow_list(work: Work, patient_ids: Sequence[str]) -> None:
    """Bring these patients into line with the lines that stand for them: after an import, and after its revert."""
    ids = sorted(set(patient_ids))
    standing: dict[str, date | None] = {
        row.patient_id: row.died_on
        for row in work.execute(
            sa.select(DeathListEntry.patient_id, DeathListEntry.died_on)
            .where(values_in(DeathListEntry.patient_id, ids), DeathListEntry.state.in_(SAYS_DEAD))
            .order_by(DeathListEntry.died_on.is_not(None), DeathListEntry.created_at, DeathListEntry.id)
        )
    }
    for patient_id in ids:
        if patient_id in standing:
            if work.get(Patient, patient_id).deceased is not DeceasedState.DISPUTED:  # for a person to answer
                _tell(work, patient_id, standing[patient_id])
            _correct(work, patient_id, standing[patient_id])
        else:
            _withdraw(work, patient_id)


def _tell(work: Work, patient_id: str, died_on: date | None) -> None:
    has_died = work.get(Patient, patient_id).deceased is DeceasedState.DECEASED
    report_death(work, patient_id=patient_id, source=DEATH_LIST, told_by=LIST_WORD, died_on=died_on)
    if not has_died:
        day = f"，{died_on.isoformat()}" if died_on else ""
        add_entry(
            work, patient_id=patient_id, happened_at=work.clock.now(), kind="death",
            title=f"{LIST_WORD}：登记已故{day}", subject_type="patient", subject_id=patient_id,
        )  # fmt: skip


def _correct(work: Work, patient_id: str, died_on: date | None) -> None:
    """The day of death as the lists tell it now, where lists told the death; people's own word stays theirs."""
    for report in standing_reports(work, [patient_id]):
        if report.source != DEATH_LIST or report.died_on == died_on:
            continue
        report.died_on = died_on
        work.session.flush()
        day = died_on.isoformat() if died_on else "没有填写"
        add_entry(
            work, patient_id=patient_id, happened_at=work.clock.now(), kind="death",
            title=f"{LIST_WORD}：死亡日期更正为 {day}", subject_type="patient", subject_id=patient_id,
        )  # fmt: skip
        record_audit(
            work,
            action="death_list.correct",
            patients=[patient_id],
            subject_type="patient",
            subject_id=patient_id,
        )


def _withdraw(work: Work, patient_id: str) -> None:
    """What only the list said no longer counts; what another source has said since stands."""
    reports = standing_reports(work, [patient_id])
    for report in reports:
        if report.confirmation == LIST_WORD:
            report.confirmed_at = report.confirmed_by = report.confirmation = None
    work.session.flush()
    is_alone = bool(reports) and all(row.source == DEATH_LIST and row.confirmed_at is None for row in reports)
    patient = work.get(Patient, patient_id)
    if is_alone and patient.deceased is DeceasedState.DECEASED and is_revocable(patient):
        revoke_death(work, patient_id=patient_id, reason=WITHDRAWN)


# ── what waits for a person ─────────────────────────────────────────────────


def list_near(work: Work, *, key: str | None = None, size: int = limits.PAGE_SIZE) -> Page[DeathListEntry]:
    """Lines a person must judge, the oldest first."""
    _require_whole_hospital(work)
    page = keyset_page(
        work, sa.select(DeathListEntry).where(stands_as(EntryState.NEAR)),
        order=[DeathListEntry.created_at, DeathListEntry.id], key=key, size=size,
    )  # fmt: skip
    record_audit(work, action="death_list.list", detail={"count": len(page.items)})
    return page


def count_near(work: Work) -> int:
    """How many lines wait for a person."""
    near = sa.select(sa.func.count()).select_from(DeathListEntry)
    return int(work.scalar(near.where(stands_as(EntryState.NEAR))))


def count_unknown(work: Work) -> int:
    """How many are kept for an archive that may come."""
    unknown = sa.select(sa.func.count()).select_from(DeathListEntry)
    return int(work.scalar(unknown.where(stands_as(EntryState.UNKNOWN))))


def judge_entry(work: Work, entry_id: str) -> tuple[DeathListEntry, Judged]:
    """A line with those it may mean by the archive as it stands; their reading is noted."""
    _require_whole_hospital(work)
    entry = work.get(DeathListEntry, entry_id)
    (judged,) = judge_claims(work, [claim_of(entry)])
    people = (judged.patient,) if judged.patient else judged.candidates
    record_list_read(work, "death_list.read", [one.id for one in people])
    return entry, judged


def confirm_entry(work: Work, *, entry_id: str, patient_ids: Iterable[str], note: str) -> DeathListEntry:
    """A person says that it is they: several archives may be one person's. All of them are noted as dead."""
    entry = _locked(work, entry_id)
    _, judged = judge_entry(work, entry_id)
    people = {one.id for one in ((judged.patient,) if judged.patient else judged.candidates)}
    chosen = sorted(set(patient_ids))
    if not chosen:
        raise HcrmError("death_list.patient", "请选择是哪一份档案", field="patient")
    if not set(chosen) <= people:
        raise ConflictError("death_list.moved", "档案刚刚有变化，请重新核对")
    entry.state, entry.patient_id = EntryState.CONFIRMED, chosen[0]
    _decide(work, entry, note, "death_list.confirm", chosen)
    for patient_id in chosen:
        _tell(work, patient_id, entry.died_on)
    return entry


def reject_entry(work: Work, *, entry_id: str, note: str) -> DeathListEntry:
    """A person says that it is none of them; the same line of a later list asks nobody again."""
    if not note.strip():
        raise HcrmError("death_list.note", "请填写核对依据", field="note")
    entry = _locked(work, entry_id)
    entry.state = EntryState.REJECTED
    _decide(work, entry, note, "death_list.reject", [])
    return entry


def reopen_entry(work: Work, *, entry_id: str) -> DeathListEntry:
    """Take a no back: the line waits for a person again."""
    _require_whole_hospital(work)
    entry = work.session.get(DeathListEntry, entry_id, with_for_update=True, populate_existing=True)
    if entry is None or entry.state is not EntryState.REJECTED:
        raise ConflictError("death_list.decided", "这一条不是“核对不是”，不能重新核对")
    entry.state = EntryState.NEAR
    _decide(work, entry, "", "death_list.reopen", [])
    entry.decided_at = entry.decided_by = None
    return entry


def _locked(work: Work, entry_id: str) -> DeathListEntry:
    _require_whole_hospital(work)
    entry = work.get(DeathListEntry, entry_id)
    work.session.refresh(entry, with_for_update=True)
    if entry.state is not EntryState.NEAR:
        raise ConflictError("death_list.decided", f"这一条已处理：{entry.state.label}")
    return entry


def _decide(work: Work, entry: DeathListEntry, note: str, action: str, patients: Sequence[str]) -> None:
    if len(note) > NOTE_LENGTH:
        raise HcrmError("death_list.note", f"最多 {NOTE_LENGTH} 个字", field="note")
    entry.decided_at, entry.decided_by = work.clock.now(), work.actor.name
    entry.note = note.strip() or None
    work.session.flush()
    record_audit(
        work, action=action, patients=list(patients), subject_type="death_list_entry", subject_id=entry.id
    )


def _require_whole_hospital(work: Work) -> None:
    """A list names people of every department, and people who are nobody's patients."""
    if work.actor.department_ids is not None:
        raise DeniedError("death_list.read", subject_type="death_list_entry")


# ── archives that came later ────────────────────────────────────────────────


def match_waiting(work: Work, *, after: str = "") -> tuple[str, int]:
    """Look again at lines nobody had an archive for and that somebody may have now: the last key, and how many.

    For a job; a line that fits by now is applied, one that nearly fits is put before a person.
    """
    entries: Sequence[DeathListEntry] = work.scalars(
        sa.select(DeathListEntry)
        .where(stands_as(EntryState.UNKNOWN), DeathListEntry.id > after, _may_be_known())
        .order_by(DeathListEntry.id)
        .limit(limits.DEATH_LIST_BATCH)
    )
    found: list[str] = []
    for entry, judged in zip(entries, judge_claims(work, [claim_of(one) for one in entries]), strict=True):
        entry.state, entry.reason = state_of(judged), judged.reason
        if judged.patient is not None:
            entry.patient_id = judged.patient.id
            found.append(judged.patient.id)
    work.session.flush()
    follow_list(work, found)
    if found:
        record_audit(work, action="death_list.match", patients=found, detail={"count": len(found)})
    return (entries[-1].id if entries else "", len(entries))


def _may_be_known() -> sa.ColumnElement[bool]:
    """Somebody bears one of its numbers, or its name and birth date; each way has its index."""
    numbers = PatientIdentifier
    return sa.or_(
        sa.exists().where(
            numbers.value_index == DeathListEntry.id_index, numbers.kind == IdentifierKind.CITIZEN,
            numbers.ended_at.is_(None),
        ),
        sa.exists().where(
            numbers.value == DeathListEntry.record_no, numbers.kind == IdentifierKind.RECORD,
            numbers.ended_at.is_(None),
        ),
        sa.exists().where(
            Patient.birth_date == DeathListEntry.birth_date, (Patient.name + "") == DeathListEntry.name
        ),
    )  # fmt: skip


def prune_list(work: Work) -> int:
    """Forget people of lists who have had no archive for so long that none will come. For a job."""
    oldest = work.clock.now() - timedelta(days=limits.DEATH_LIST_KEEP_DAYS)
    old: Any = work.execute(
        sa.delete(DeathListEntry).where(stands_as(EntryState.UNKNOWN), DeathListEntry.created_at < oldest)
    )
    return int(old.rowcount)
