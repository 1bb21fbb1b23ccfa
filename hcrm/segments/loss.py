"""Why a patient no longer comes (流失原因): entered by people, one reason standing at a time."""

from typing import Any

import sqlalchemy as sa

from hcrm.archive.death import lock_patient
from hcrm.archive.queries import patient_in_scope
from hcrm.audit.service import record_audit
from hcrm.core.errors import HcrmError
from hcrm.core.work import Work
from hcrm.segments.grading_rules import grading_rules
from hcrm.segments.models import PatientLoss

_NOTE = 200


def set_loss_reason(work: Work, *, patient_id: str, reason: str, note: str = "") -> None:
    """Note why; an empty reason takes the standing one back. What stood before is kept as ended."""
    if reason and reason not in {each.code for each in grading_rules().loss_reasons}:
        raise HcrmError("loss.reason", "请从列出的原因中选择", field="reason")
    if len(note) > _NOTE:
        raise HcrmError("loss.note", f"最多 {_NOTE} 个字", field="note")
    patient = lock_patient(work, patient_in_scope(work, patient_id, "patient.set_loss").id)
    work.execute(
        sa.update(PatientLoss)
        .where(PatientLoss.patient_id == patient.id, PatientLoss.ended_at.is_(None))
        .values(ended_at=work.clock.now())
        .execution_options(synchronize_session=False)
    )
    if reason:
        row: dict[str, Any] = {
            "id": work.new_id(), "patient_id": patient.id, "reason": reason, "note": note.strip(),
            "actor_id": work.actor.id, "actor_name": work.actor.name, "created_at": work.clock.now(),
            "ended_at": None,
        }  # fmt: skip
        work.insert(PatientLoss, [row])
    record_audit(
        work, action="patient.set_loss", patients=[patient.id], subject_type="patient", subject_id=patient.id
    )


def loss_of(work: Work, patient_id: str) -> PatientLoss | None:
    """The reason that stands; after a merge the latest of both."""
    return work.session.scalars(
        sa.select(PatientLoss)
        .where(PatientLoss.patient_id == patient_id, PatientLoss.ended_at.is_(None))
        .order_by(PatientLoss.created_at.desc(), PatientLoss.id.desc())
        .limit(1)
    ).first()
