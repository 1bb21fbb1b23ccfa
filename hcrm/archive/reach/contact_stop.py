"""Contact that was ended by a person's decision, and its taking up again. A death is in `death.py`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from hcrm.archive.death import lock_patient
from hcrm.archive.events import ContactRestored, ContactStopped
from hcrm.archive.models import Patient
from hcrm.archive.queries import patient_in_scope
from hcrm.archive.reach_models import ContactStop, StopKind
from hcrm.archive.terms import BY_PEOPLE
from hcrm.archive.timeline import add_entry
from hcrm.audit.service import record_audit
from hcrm.core.errors import ConflictError, HcrmError, NotFoundError
from hcrm.core.work import Work

REASON_LENGTH = 200
WaitingCounts = Mapping[str, Callable[[Work, str], int]]
"""What waits for a patient and would be closed: its word, and how many there are."""


def end_contact(
    work: Work, *, patient_id: str, kind: StopKind, reason: str, source: str = BY_PEOPLE,
    number_id: str | None = None,
) -> str | None:  # fmt: skip
    """End all contact with the patient; the row's id, None where the same source had ended it the same way before.

    Another source's word does not stand for this one: a list may be taken back with its import, and a person's own
    wish stays. `number_id`: the number nobody may call that is the cause. What waits for the patient is withdrawn by
    whoever hears `ContactStopped`.
    """
    reason = required_reason(reason)
    patient = lock_patient(work, patient_in_scope(work, patient_id, "contact.end").id)
    if any((row.kind, row.source) == (kind, source) for row in live_stops(work, patient.id)):
        return None
    stop = ContactStop(
        id=work.new_id(), patient_id=patient.id, kind=kind, reason=reason, source=source,
        created_at=work.clock.now(), actor_id=work.actor.id, actor_name=work.actor.name, ended_at=None,
        ended_reason=None, ended_by=None, number_id=number_id,
    )  # fmt: skip
    work.add(stop)
    _tell(work, patient, f"{kind.label}：{reason}", "contact.end", stop.id)
    work.emit(ContactStopped(patient_id=patient.id))
    return stop.id


def restore_contact(work: Work, *, patient_id: str, reason: str) -> Patient:
    """Take every end of contact back, with the reason; the patient. What was withdrawn because of it is restored."""
    reason = required_reason(reason)
    patient = lock_patient(work, patient_in_scope(work, patient_id, "contact.end").id)
    standing = live_stops(work, patient.id)
    if not standing:
        raise ConflictError("contact.not_ended", "该患者的联系没有终止，无需恢复")
    _lift(work, patient, standing, reason, "恢复联系")
    return patient


def undo_stop(work: Work, *, patient_id: str, stop_id: str, reason: str) -> Patient:
    """Take back one end of contact that the actor has just made, and nothing else that ends contact; the patient."""
    reason = required_reason(reason)
    patient = lock_patient(work, patient_in_scope(work, patient_id, "contact.end").id)
    stop = work.session.get(ContactStop, stop_id, populate_existing=True)
    is_own = stop is not None and (stop.source, stop.actor_id) == (BY_PEOPLE, work.actor.id)
    if stop is None or not is_own or stop.patient_id != patient.id:
        raise NotFoundError
    if stop.ended_at is not None:
        raise ConflictError("contact.undone", "这次登记已经撤销或恢复，没有再改动")
    _lift(work, patient, [stop], reason, f"撤销{stop.kind.label}")
    return patient


def live_stops(work: Work, patient_id: str) -> Sequence[ContactStop]:
    """What ends contact with the patient now; the latest first."""
    return list_stops(work, patient_id, only_live=True)


def list_stops(work: Work, patient_id: str, *, only_live: bool = False) -> Sequence[ContactStop]:
    """Every end of contact there was; the latest first."""
    statement = sa.select(ContactStop).where(ContactStop.patient_id == patient_id)
    if only_live:
        statement = statement.where(ContactStop.ended_at.is_(None))
    return work.scalars(statement.order_by(ContactStop.created_at.desc(), ContactStop.id.desc()))


def is_stopped(patient_id: Any) -> sa.ColumnElement[bool]:
    """Whether contact with the patient of that column has ended."""
    return sa.exists().where(ContactStop.patient_id == patient_id, ContactStop.ended_at.is_(None))


def required_reason(reason: str) -> str:
    """The reason without blanks around it; refused where there is none or it is no sentence any more."""
    reason = reason.strip()
    if not reason:
        raise HcrmError("patient.reason", "请填写原因", field="reason")
    if len(reason) > REASON_LENGTH:
        raise HcrmError("patient.reason", f"最多 {REASON_LENGTH} 个字", field="reason")
    return reason


def _lift(work: Work, patient: Patient, stops: Sequence[ContactStop], reason: str, words: str) -> None:
    """These no longer stand; contact is taken up again where no other does."""
    for stop in stops:
        stop.ended_at, stop.ended_reason, stop.ended_by = work.clock.now(), reason, work.actor.name
    work.session.flush()
    _tell(work, patient, f"{words}：{reason}", "contact.restore", stops[0].id)
    if not live_stops(work, patient.id):
        since = min(stop.created_at for stop in stops)
        work.emit(ContactRestored(patient_id=patient.id, noted_at=since.isoformat()))


def _tell(work: Work, patient: Patient, title: str, action: str, stop_id: str) -> None:
    add_entry(
        work, patient_id=patient.id, happened_at=work.clock.now(), kind="reach", title=title,
        subject_type="contact_stop", subject_id=stop_id,
    )  # fmt: skip
    record_audit(work, action=action, patients=[patient.id], subject_type="contact_stop", subject_id=stop_id)
