"""A contact logged by hand: what was typed is checked, and a page that is sent again is known by its key.

Sent again as it was, it is the same entry; with something changed, it is refused, for entries are never changed and
nobody can tell whether a second contact or a correction was meant.
"""

import hashlib
from datetime import date, datetime, timedelta
from typing import IO

import sqlalchemy as sa

from hcrm.archive.models import Patient
from hcrm.archive.reach.numbers import known_numbers, number_index
from hcrm.contact_log.inputs import ContactInput
from hcrm.contact_log.models import PAST_COMPLAINT, ContactEntry, ContactRecording, ContactResult
from hcrm.contact_log.queries import entry_statement, scope_entries
from hcrm.contact_log.recordings import PIECE_BYTES
from hcrm.contact_log.service import DOUBTS, record_contact, who_was_called
from hcrm.contact_log.sound_form import sound_form
from hcrm.core import clock as clocks
from hcrm.core import limits
from hcrm.core.clock import local_date, local_time
from hcrm.core.errors import ConflictError, HcrmError, InvalidInput, NotFoundError
from hcrm.core.work import Work

_NOT_YET = "联系时间不能晚于现在"


class SentOtherwiseError(ConflictError):
    """The page was logged before with other content: it is shown again, under a key of its own."""

    def __init__(self, words: str) -> None:
        super().__init__("contact.sent_otherwise", words)


def log_by_hand(
    work: Work, *, patient: Patient, entered: ContactInput, sound: IO[bytes] | None = None
) -> str | None:
    """Log what was typed for that locked patient; the entry's id, None where this very page was logged before."""
    wrong: dict[str, str] = {}
    moment = None
    try:
        moment = _moment(work, entered.happened_at, patient.birth_date)
    except HcrmError as error:
        wrong["happened_at"] = error.message
    before = None if wrong else work.session.get(ContactEntry, entered.record_id)
    if before is not None:
        _require_same(work, before, patient, entered, moment, sound)
        return None
    _, whose = who_was_called(
        work, patient_id=patient.id, channel=entered.channel, number=entered.number, whose=entered.whose
    )
    if entered.result is ContactResult.RELATIVE and not whose:
        wrong["whose"] = "家属接听的，请写明是谁：关系和姓名"
    if sound is not None:
        try:
            sound_form(sound)
        except HcrmError as error:
            wrong["recording"] = error.message
    if wrong:
        raise InvalidInput(wrong)
    return record_contact(
        work, entry_id=entered.record_id, patient_id=patient.id, **_readers_of(work, entered.corrects_id),
        channel=entered.channel, result=entered.result, is_outgoing=entered.direction == "out",
        note=entered.note, happened_at=moment, whose=entered.whose, duration_seconds=_seconds(entered),
        corrects_id=entered.corrects_id, number=entered.number,
    )  # fmt: skip


def _require_same(
    work: Work, before: ContactEntry, patient: Patient, entered: ContactInput, moment: datetime | None,
    sound: IO[bytes] | None,
) -> None:  # fmt: skip
    """What is sent again under the key of an entry is what that entry says, or it is refused."""
    is_theirs = (before.patient_id, before.actor_id) == (patient.id, work.actor.id)
    if not is_theirs or before.subject_type not in (None, PAST_COMPLAINT):
        raise SentOtherwiseError("这一页已经用过，内容没有保存；请核对后再按“登记”")
    called, whose = who_was_called(
        work, patient_id=patient.id, channel=entered.channel, number=entered.number, whose=entered.whose
    )
    doubt = DOUBTS.get(entered.result) if called else None
    if called and doubt:
        index = number_index(work, patient_id=called.patient_id, kind=called.kind, key=called.key)
        known = known_numbers(work, called.patient_id).get(index)
        doubt = None if known and known.state is doubt else doubt
    said = (
        entered.channel, entered.result, entered.direction == "out", entered.note.strip() or None, whose or None,
        _seconds(entered), entered.corrects_id,
    )  # fmt: skip
    stands = (
        before.channel, before.result, before.is_outgoing, before.note, before.whose, before.duration_seconds,
        before.corrects_id,
    )  # fmt: skip
    is_then = before.happened_at == (moment or before.logged_at)
    if said != stands or doubt or not is_then or not _is_same_sound(work, before, sound):
        words = f"{before.channel.label}，{before.result.label}"
        raise SentOtherwiseError(
            f"这一页在 {local_time(before.logged_at or before.happened_at):%m-%d %H:%M} 已登记为“{words}”，"
            "这次改过的内容没有保存。确是另一次联系，再按“登记”；要改已登记的那一条，请取消后在联系记录里用“更正”"
        )


def _is_same_sound(work: Work, before: ContactEntry, sound: IO[bytes] | None) -> bool:
    """A page without the file says nothing of it: browsers drop it when one goes back."""
    if sound is None:
        return True
    digest = hashlib.sha256()
    while piece := sound.read(PIECE_BYTES):
        digest.update(piece)
    return bool(
        work.scalar(
            sa.select(
                sa.exists().where(
                    ContactRecording.entry_id == before.id, ContactRecording.sha256 == digest.hexdigest()
                )
            )
        )
    )


def _seconds(entered: ContactInput) -> int | None:
    return None if entered.minutes is None else entered.minutes * 60


def _moment(work: Work, typed: datetime | None, born: date | None) -> datetime | None:
    """What was typed, on the hospital's clock; not yet to come, not before anybody could have logged it.

    A clock that is a little ahead of ours means now.
    """
    if typed is None:
        return None
    since = max(filter(None, (date(limits.CONTACT_SINCE_YEAR, 1, 1), born)))
    if typed.date() < since:
        raise HcrmError("contact.past", f"联系时间不能早于 {since.isoformat()}", field="happened_at")
    now = work.clock.now()
    if typed.date() > local_date(now) + timedelta(days=1):
        raise HcrmError("contact.future", _NOT_YET, field="happened_at")
    moment = typed if typed.tzinfo else typed.replace(tzinfo=clocks.HOSPITAL_ZONE)
    if moment > now + timedelta(seconds=limits.CLOCK_TOLERANCE_SECONDS):
        raise HcrmError("contact.future", _NOT_YET, field="happened_at")
    return min(moment, now)


def _readers_of(work: Work, entry_id: str | None) -> dict[str, str | None]:
    """A correction is for whom the entry was, and only whoever sees that may write it."""
    if entry_id is None:
        return {}
    entry = work.scalar(scope_entries(entry_statement(entry_id), work.actor))
    if entry is None:
        raise NotFoundError
    is_complaint = entry.subject_type == PAST_COMPLAINT
    return {"encounter_id": entry.encounter_id, "subject_type": PAST_COMPLAINT if is_complaint else None}
