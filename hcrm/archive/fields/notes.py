"""Notes on a patient, the newest first: their author may mend one for a while, then it is struck out, not gone."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from hcrm.archive.death import lock_patient
from hcrm.archive.fields.models import PatientNote, PatientNoteFormer
from hcrm.archive.queries import patient_in_scope
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.errors import ConflictError, HcrmError, NotFoundError
from hcrm.core.work import Work
from hcrm.web.paging import Page, keyset_page


def list_notes(
    work: Work, *, patient_id: str, key: str | None = None, size: int = limits.PAGE_SIZE
) -> Page[PatientNote]:
    """Notes, the newest first. The caller came through `queries.get_patient`."""
    statement = sa.select(PatientNote).where(PatientNote.patient_id == patient_id)
    order = [PatientNote.created_at.desc(), PatientNote.id.desc()]
    return keyset_page(work, statement, order=order, key=key, size=size)


def former_texts(work: Work, note_ids: Collection[str]) -> Mapping[str, Sequence[PatientNoteFormer]]:
    """What these notes said before they were mended, the oldest first; one query."""
    found: dict[str, list[PatientNoteFormer]] = defaultdict(list)
    for row in work.scalars(
        sa.select(PatientNoteFormer)
        .where(PatientNoteFormer.note_id.in_(sorted(note_ids)))
        .order_by(PatientNoteFormer.replaced_at, PatientNoteFormer.id)
    ):
        found[row.note_id].append(row)
    return found


def may_edit(note: PatientNote, actor_id: str, now: datetime) -> bool:
    """Whether it is still the author's to mend."""
    is_fresh = now - note.created_at <= timedelta(seconds=limits.NOTE_EDIT_SECONDS)
    return note.actor_id == actor_id and note.struck_at is None and is_fresh


def add_note(work: Work, *, patient_id: str, text: str) -> str:
    """Write a note; its key. Sent twice it stands once."""
    text = _checked(text)
    patient = lock_patient(work, patient_in_scope(work, patient_id, "note.write").id)
    newest = list_notes(work, patient_id=patient.id, size=1).items
    if newest and newest[0].text == text and may_edit(newest[0], work.actor.id, work.clock.now()):
        return str(newest[0].id)
    note = PatientNote(
        id=work.new_id(), patient_id=patient.id, text=text, actor_id=work.actor.id, actor_name=work.actor.name,
        created_at=work.clock.now(), edited_at=None, struck_at=None, struck_by_name=None, version=1,
    )  # fmt: skip
    work.add(note)
    _audit(work, note, "note.write")
    return str(note.id)


def edit_note(work: Work, *, patient_id: str, note_id: str, text: str) -> None:
    """Mend one's own note within `limits.NOTE_EDIT_SECONDS`; what it said before is kept."""
    text = _checked(text)
    note = note_of(work, patient_id=patient_id, note_id=note_id)
    if not may_edit(note, work.actor.id, work.clock.now()):
        minutes = limits.NOTE_EDIT_SECONDS // 60
        raise ConflictError("note.fixed", f"只有作者在 {minutes} 分钟内可以修改备注，之后可以划去并另写一条")
    if note.text != text:
        now = work.clock.now()
        work.add(
            PatientNoteFormer(
                id=work.new_id(), patient_id=note.patient_id, note_id=note.id, text=note.text,
                written_at=note.edited_at or note.created_at, replaced_at=now,
            )
        )  # fmt: skip
        note.text, note.edited_at = text, now
        work.session.flush()
        _audit(work, note, "note.edit")


def strike_note(work: Work, *, patient_id: str, note_id: str) -> None:
    """Strike a note out: it stays legible, with who struck it."""
    note = note_of(work, patient_id=patient_id, note_id=note_id)
    if note.struck_at is None:
        note.struck_at, note.struck_by_name = work.clock.now(), work.actor.name
        work.session.flush()
        _audit(work, note, "note.strike")


def restore_note(work: Work, *, patient_id: str, note_id: str) -> None:
    """Take the striking back."""
    note = note_of(work, patient_id=patient_id, note_id=note_id)
    if note.struck_at is not None:
        note.struck_at = note.struck_by_name = None
        work.session.flush()
        _audit(work, note, "note.restore")


def note_of(work: Work, *, patient_id: str, note_id: str) -> PatientNote:
    """That note of that patient, ours until the work ends."""
    patient = patient_in_scope(work, patient_id, "note.write")
    note = work.session.get(PatientNote, note_id, with_for_update=True, populate_existing=True)
    if note is None or note.patient_id != patient.id:
        raise NotFoundError
    return note


def _checked(text: str) -> str:
    text = text.replace("\r\n", "\n").strip()
    if not text:
        raise HcrmError("note.empty", "请填写备注", field="text")
    if len(text) > limits.NOTE_LENGTH:
        raise HcrmError("note.long", f"备注最多 {limits.NOTE_LENGTH} 个字", field="text")
    return text


def _audit(work: Work, note: PatientNote, action: str) -> None:
    record_audit(
        work, action=action, patients=[note.patient_id], subject_type="patient_note", subject_id=note.id
    )
