"""Reading the contact log. Callers came through the patient's or the instruction's door, which scopes and audits."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hcrm.archive.models import Patient
from hcrm.archive.queries import record_list_read
from hcrm.archive.scope import patient_condition, scope_by_stay
from hcrm.contact_log.models import NO_COMPLAINT, Channel, ContactEntry, ContactRecording, ContactResult
from hcrm.core import limits
from hcrm.core.actor import Actor
from hcrm.core.work import Work
from hcrm.directory.models import Department
from hcrm.web.paging import Page, keyset_page


def list_contacts(
    work: Work, *, patient_id: str, key: str | None = None, size: int = limits.PAGE_SIZE
) -> Page[ContactEntry]:
    """Contacts with a patient, the latest first; one about a stay is shown to whom the stay is."""
    statement = sa.select(ContactEntry).where(ContactEntry.patient_id == patient_id)
    return keyset_page(
        work,
        scope_entries(statement, work.actor),
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


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What the log across patients is narrowed to; the period is always given."""

    since: datetime
    until: datetime
    actor_id: str | None = None
    channel: Channel | None = None
    result: ContactResult | None = None
    department_id: str | None = None


def list_log(
    work: Work, *, filters: LogFilter, key: str | None = None, size: int = limits.PAGE_SIZE
) -> Page[Any]:
    """Contacts across patients, the latest first: `ContactEntry`, `patient_name`, `department_name`."""
    statement = (
        sa.select(ContactEntry, Patient.name.label("patient_name"), Department.name.label("department_name"))
        .join(Patient, Patient.id == ContactEntry.patient_id)
        .outerjoin(Department, Department.id == ContactEntry.department_id)
        .where(*log_conditions(work, filters))
    )
    order = [ContactEntry.happened_at.desc(), ContactEntry.id.desc()]
    page = keyset_page(work, statement, order=order, key=key, size=size)
    record_list_read(work, "contact.list", [row.ContactEntry.patient_id for row in page.items])
    return page


def count_log(work: Work, *, filters: LogFilter) -> int:
    """How many there are in that period."""
    statement = (
        sa.select(sa.func.count())
        .select_from(ContactEntry)
        .join(Patient, Patient.id == ContactEntry.patient_id)
        .where(*log_conditions(work, filters))
    )
    return int(work.scalar(statement))


@dataclass(frozen=True, slots=True)
class Beside:
    """What stands beside entries of a list: their recordings, and what put them right."""

    recordings: Mapping[str, Sequence[ContactRecording]]
    corrected: Collection[str]


def load_beside(work: Work, entry_ids: Collection[str]) -> Beside:
    """Of these entries: two queries."""
    recordings: dict[str, list[ContactRecording]] = {}
    for row in work.scalars(
        sa.select(ContactRecording)
        .where(ContactRecording.entry_id.in_(sorted(entry_ids)), ContactRecording.removed_at.is_(None))
        .order_by(ContactRecording.id)
    ):
        recordings.setdefault(row.entry_id, []).append(row)
    corrected = work.scalars(
        sa.select(ContactEntry.corrects_id).where(ContactEntry.corrects_id.in_(sorted(entry_ids)))
    )
    return Beside(recordings, frozenset(corrected))


def scope_entries(statement: sa.Select[Any], actor: Actor) -> sa.Select[Any]:
    """Keep the entries of a patient that the actor may see: by their stay, and complaints for who may read them."""
    statement = scope_by_stay(statement, ContactEntry.encounter_id, actor)
    return statement if actor.may("complaint.read") else statement.where(NO_COMPLAINT)


def entry_statement(entry_id: str) -> sa.Select[Any]:
    """One entry, to be narrowed by the row scope."""
    return sa.select(ContactEntry).where(ContactEntry.id == entry_id)


def log_conditions(work: Work, filters: LogFilter) -> list[Any]:
    """What entries fit, within the actor's row scope; `Patient` is joined."""
    conditions: list[Any] = [
        ContactEntry.happened_at >= filters.since, ContactEntry.happened_at < filters.until, ~Patient.is_test,
    ]  # fmt: skip
    for column, value in (
        (ContactEntry.actor_id, filters.actor_id),
        (ContactEntry.channel, filters.channel),
        (ContactEntry.result, filters.result),
        (ContactEntry.department_id, filters.department_id),
    ):
        if value is not None:
            conditions.append(column == value)
    scope = patient_condition(work.actor, ContactEntry.patient_id)
    visible = scope_entries(sa.select(ContactEntry.id), work.actor).whereclause
    return [*conditions, *(each for each in (scope, visible) if each is not None)]
