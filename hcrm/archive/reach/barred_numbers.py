"""Numbers nobody may call (请勿联系名单): kept whoever has them, for whoever comes with one of them later.

Of a patient's own number contact ends with the patient, once: who takes contact up again has decided, and no later
message ends it anew. A relative's number ends nothing; it is not dialled. The number itself is free again when people
say so, or the import that brought it is reverted.
"""

from collections.abc import Collection, Iterable, Sequence

import sqlalchemy as sa

from hcrm.archive.events import ContactRestored, PatientsTouched
from hcrm.archive.models import ContactPoint, Patient
from hcrm.archive.reach.contact_stop import end_contact, live_stops, required_reason
from hcrm.archive.reach_models import BarredNumber, ContactStop, StopKind
from hcrm.archive.timeline import add_entry
from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.errors import ConflictError
from hcrm.core.work import Work

ON_LIST = "在请勿联系名单上"
"""Why such a number is not dialled."""
_TAKEN_BACK = "名单的导入已撤销"


def barred_among(work: Work, indexes: Iterable[str | None]) -> dict[str, BarredNumber]:
    """Which of these numbers nobody may call, by their blind index; the latest word where two lists name one."""
    wanted = sorted({index for index in indexes if index})
    if not wanted:
        return {}
    rows = work.scalars(
        sa.select(BarredNumber)
        .where(work.among(BarredNumber.value_index, wanted), BarredNumber.ended_at.is_(None))
        .order_by(BarredNumber.created_at, BarredNumber.id)
    )
    return {row.value_index: row for row in rows}


def stop_touched(work: Work, facts: Sequence[PatientsTouched]) -> int:
    """End contact with patients who came, or got a number, that nobody may call; with how many."""
    patients = sorted({each for fact in facts for each in fact.patient_ids})
    return sum(
        stop_barred(work, patients[start : start + limits.PROFILE_BATCH])
        for start in range(0, len(patients), limits.PROFILE_BATCH)
    )


def stop_barred(work: Work, patient_ids: Collection[str]) -> int:
    """The same for these patients. With whom people took contact up again since, it is not ended a second time."""
    if not patient_ids or not work.scalar(sa.select(sa.exists().where(BarredNumber.ended_at.is_(None)))):
        return 0
    decided = sa.exists().where(
        ContactStop.patient_id == ContactPoint.patient_id,
        ContactStop.kind == StopKind.DO_NOT_CONTACT,
        sa.or_(ContactStop.ended_at.is_(None), ContactStop.ended_at >= BarredNumber.created_at),
    )
    rows = work.execute(
        sa.select(ContactPoint.patient_id, BarredNumber)
        .join(BarredNumber, BarredNumber.value_index == ContactPoint.value_index)
        .join(Patient, Patient.id == ContactPoint.patient_id)
        .where(
            work.among(ContactPoint.patient_id, patient_ids), ContactPoint.system == "phone",
            ContactPoint.ended_at.is_(None), BarredNumber.ended_at.is_(None),
            Patient.merged_into_id.is_(None), ~Patient.is_nullified, ~decided,
        )
        .order_by(ContactPoint.patient_id, BarredNumber.created_at)
    ).all()  # fmt: skip
    found = {row.patient_id: row.BarredNumber for row in rows}
    for patient_id, barred in found.items():
        end_contact(
            work, patient_id=patient_id, kind=StopKind.DO_NOT_CONTACT, reason=barred.reason, source=barred.source,
            number_id=barred.id,
        )  # fmt: skip
    return len(found)


def release_gone(work: Work) -> None:
    """Take up contact again that a number ended which is gone: its import was reverted."""
    for stop in work.scalars(
        sa.select(ContactStop).where(
            ContactStop.number_id.is_not(None), ContactStop.ended_at.is_(None),
            ~sa.exists().where(BarredNumber.id == ContactStop.number_id),
        )
        .order_by(ContactStop.patient_id).with_for_update()
    ):  # fmt: skip
        stop.ended_at, stop.ended_reason = work.clock.now(), _TAKEN_BACK
        stop.ended_by = work.actor.name
        work.session.flush()
        add_entry(
            work, patient_id=stop.patient_id, happened_at=stop.ended_at, kind="reach",
            title=f"恢复联系：{_TAKEN_BACK}", subject_type="contact_stop", subject_id=stop.id,
        )  # fmt: skip
        record_audit(
            work, action="contact.restore", patients=[stop.patient_id], subject_type="contact_stop", subject_id=stop.id
        )  # fmt: skip
        if not live_stops(work, stop.patient_id):
            work.emit(ContactRestored(patient_id=stop.patient_id, noted_at=stop.created_at.isoformat()))


def take_off_list(work: Work, *, patient_id: str, index: str, reason: str) -> None:
    """Take a number off the list for everybody who has it, with the reason; the caller found that patient in scope.

    Contact that it ended stays ended until people take it up again, each for themselves.
    """
    reason = required_reason(reason)
    rows = work.all(BarredNumber, BarredNumber.value_index == index, BarredNumber.ended_at.is_(None))
    if not rows:
        raise ConflictError("number.not_barred", "这个号码不在请勿联系名单上")
    now = work.clock.now()
    for row in rows:
        row.ended_at, row.ended_reason, row.ended_by = now, reason, work.actor.name
        record_audit(
            work, action="number.free", patients=[patient_id], subject_type="barred_number", subject_id=row.id
        )  # fmt: skip
    work.session.flush()
    add_entry(
        work, patient_id=patient_id, happened_at=now, kind="reach", title=f"号码移出请勿联系名单：{reason}",
        subject_type="barred_number", subject_id=rows[0].id,
    )  # fmt: skip
