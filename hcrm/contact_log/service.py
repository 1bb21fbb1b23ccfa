"""Writing the contact log."""

from datetime import datetime

from hcrm.archive.timeline import add_entry
from hcrm.audit.service import record_audit
from hcrm.contact_log.models import Channel, ContactEntry, ContactResult
from hcrm.core.work import Work


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
) -> str:
    """Log one contact or attempt and tell it in the timeline; the entry's id.

    `entry_id` is a key handed out with the page.
    """
    entry_id = entry_id or work.new_id()
    happened_at = happened_at or work.clock.now()
    work.insert(
        ContactEntry,
        [
            {"id": entry_id, "patient_id": patient_id, "encounter_id": encounter_id, "happened_at": happened_at,
             "channel": channel, "is_outgoing": is_outgoing, "result": result, "note": (note or "").strip() or None,
             "subject_type": subject_type, "subject_id": subject_id, "actor_id": work.actor.id,
             "actor_name": work.actor.name}
        ],
    )  # fmt: skip
    add_entry(
        work, patient_id=patient_id, happened_at=happened_at, kind="contact",
        title=f"{channel.label}{'联系' if is_outgoing else '来访'}：{result.label}", subject_type="contact_entry",
        subject_id=entry_id, encounter_id=encounter_id,
    )  # fmt: skip
    record_audit(
        work,
        action="contact.record",
        patients=[patient_id],
        subject_type="contact_entry",
        subject_id=entry_id,
    )
    return entry_id
