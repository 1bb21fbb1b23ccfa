"""What a segment may ask of the contact log."""

from collections.abc import Sequence

from hcrm.contact_log.models import NO_COMPLAINT, Channel, ContactEntry, ContactResult
from hcrm.core.segment import FieldKind, SegmentField, Subject, by_choice, by_moment, choices_of
from hcrm.core.work import Work

CONTACT = Subject("contact", "联系", ContactEntry.patient_id, NO_COMPLAINT, ContactEntry.encounter_id)
FIELDS = (
    SegmentField("contact.any", "联系过", CONTACT, FieldKind.YES_NO, hint="选“否”即从未联系"),
    SegmentField("contact.day", "联系日期", CONTACT, FieldKind.DAY, by_moment(ContactEntry.happened_at)),
    SegmentField(
        "contact.channel", "渠道", CONTACT, FieldKind.CHOICE, by_choice(ContactEntry.channel), choices_of(Channel)
    ),
    SegmentField(
        "contact.result", "联系结果", CONTACT, FieldKind.CHOICE, by_choice(ContactEntry.result),
        choices_of(ContactResult),
    ),
)  # fmt: skip


def contact_fields(_work: Work) -> Sequence[SegmentField]:
    """Fields of contacts and attempts."""
    return FIELDS
