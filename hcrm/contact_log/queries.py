"""Reading the contact log. Callers came through the patient's or the instruction's door, which scopes and audits."""

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from hcrm.archive.scope import scope_by_stay
from hcrm.contact_log.models import ContactEntry
from hcrm.core import limits
from hcrm.core.work import Work
from hcrm.web.paging import Page, keyset_page


def list_contacts(
    work: Work, *, patient_id: str, key: str | None = None, size: int = limits.PAGE_SIZE
) -> Page[ContactEntry]:
    """Contacts with a patient, the latest first; one about a stay is shown to whom the stay is."""
    statement = sa.select(ContactEntry).where(ContactEntry.patient_id == patient_id)
    return keyset_page(
        work,
        scope_by_stay(statement, ContactEntry.encounter_id, work.actor),
        order=[ContactEntry.happened_at.desc(), ContactEntry.id.desc()],
        key=key,
        size=size,
    )


def list_attempts(work: Work, *, subject_type: str, subject_id: str) -> Sequence[ContactEntry]:
    """Contacts and attempts made for one thing (an instruction), the latest first."""
    return work.scalars(
        sa.select(ContactEntry)
        .where(ContactEntry.subject_type == subject_type, ContactEntry.subject_id == subject_id)
        .order_by(ContactEntry.happened_at.desc(), ContactEntry.id.desc())
    )


def count_attempts(work: Work, *, subject_type: str, subject_ids: Collection[str]) -> dict[str, int]:
    """How often each of these was tried; those never tried are absent."""
    rows = work.execute(
        sa.select(ContactEntry.subject_id, sa.func.count().label("attempts"))
        .where(ContactEntry.subject_type == subject_type, ContactEntry.subject_id.in_(sorted(subject_ids)))
        .group_by(ContactEntry.subject_id)
    )
    return {row.subject_id: row.attempts for row in rows}
