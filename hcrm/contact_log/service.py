"""Writing the contact log."""

from datetime import datetime

import sqlalchemy as sa

from hcrm.archive.reach.numbers import CalledNumber, called_number, doubt_number
from hcrm.archive.reach_models import NumberState
from hcrm.archive.timeline import add_entry
from hcrm.archive.visit_models import Encounter
from hcrm.audit.service import record_audit
from hcrm.contact_log.models import Channel, ContactEntry, ContactResult
from hcrm.core.errors import ConflictError, NotFoundError
from hcrm.core.work import Work

DOUBTS = {
    ContactResult.INVALID_NUMBER: NumberState.INVALID, ContactResult.WRONG_NUMBER: NumberState.WRONG,
}  # fmt: skip
"""What a call says of the number it went to."""
_DIALLED = (Channel.PHONE, Channel.SMS)
"""Ways that go to a number; at a visit the one the page offered says nothing."""


def record_contact(
    work: Work,
    *,
    patient_id: str,
    channel: Channel,
    result: ContactResult,
    entry_id: str | None = None,
    encounter_id: str | None = None,
    is_outgoing: bool = True,
    note: str | None = None,
    subject_type: str | None = None,
    subject_id: str | None = None,
    happened_at: datetime | None = None,
    whose: str | None = None,
    duration_seconds: int | None = None,
    corrects_id: str | None = None,
    number: str = "",
) -> str:
    """Log one contact or attempt and tell it in the timeline; the entry's id.

    `entry_id` is a key handed out with the page; `whose` the person reached or called, where it was not the patient;
    `corrects_id` an entry of the same patient that this one puts right: entries themselves are never changed.
    `number` is the one that was called (`contact:` or `related:` and its key): it says whose it was, and found empty
    or wrong, it is unverified from now on (C33).
    """
    entry_id = entry_id or work.new_id()
    now = work.clock.now()
    happened_at = happened_at or now
    if corrects_id is not None:
        _require_correctable(work, corrects_id, patient_id)
    called, whose = who_was_called(
        work, patient_id=patient_id, channel=channel, number=number, whose=whose or ""
    )
    work.insert(
        ContactEntry,
        [
            {"id": entry_id, "patient_id": patient_id, "encounter_id": encounter_id, "happened_at": happened_at,
             "logged_at": now, "channel": channel, "is_outgoing": is_outgoing, "result": result,
             "note": (note or "").strip() or None, "subject_type": subject_type, "subject_id": subject_id,
             "actor_id": work.actor.id, "actor_name": work.actor.name, "whose": whose or None,
             "duration_seconds": duration_seconds,
             "department_id": _department(work, encounter_id), "corrects_id": corrects_id}
        ],
    )  # fmt: skip
    add_entry(
        work, patient_id=patient_id, happened_at=happened_at, kind="contact",
        title=_title(channel, result, is_outgoing=is_outgoing, is_correction=corrects_id is not None),
        subject_type="contact_entry", subject_id=entry_id, encounter_id=encounter_id,
    )  # fmt: skip
    if called is not None and result in DOUBTS:
        doubt_number(
            work, patient_id=called.patient_id, kind=called.kind, key=called.key, state=DOUBTS[result]
        )
    record_audit(
        work,
        action="contact.record",
        patients=[patient_id],
        subject_type="contact_entry",
        subject_id=entry_id,
    )
    return entry_id


def who_was_called(
    work: Work, *, patient_id: str, channel: Channel, number: str, whose: str
) -> tuple[CalledNumber | None, str]:
    """The number, where the way went to one, and with whom: as somebody says, else whose the number is."""
    called = (
        called_number(work, patient_id=patient_id, number=number) if number and channel in _DIALLED else None
    )
    return called, whose.strip() or (called.whose if called else "")


def _title(channel: Channel, result: ContactResult, *, is_outgoing: bool, is_correction: bool) -> str:
    words = f"{channel.label}{'联系' if is_outgoing else f'（{channel.incoming}）'}：{result.label}"
    return f"更正联系记录，{words}" if is_correction else words


def _department(work: Work, encounter_id: str | None) -> str | None:
    """Whose log it stands in: the department of the stay, else the only one of whoever writes it."""
    if encounter_id is not None:
        found: str | None = work.scalar(
            sa.select(Encounter.department_id).where(Encounter.id == encounter_id)
        )
        return found
    own = work.actor.department_ids
    return next(iter(own)) if own is not None and len(own) == 1 else None


def _require_correctable(work: Work, entry_id: str, patient_id: str) -> None:
    """An entry is put right once; a further correction names the correction."""
    entry = work.session.get(ContactEntry, entry_id)
    if entry is None or entry.patient_id != patient_id:
        raise NotFoundError
    if work.scalar(sa.select(sa.exists().where(ContactEntry.corrects_id == entry_id))):
        raise ConflictError("contact.corrected", "这条联系记录已被更正，请更正最新的一条")
