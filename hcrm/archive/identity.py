"""What people decide about who is who: a number given to somebody else ends, a merge is undone."""

import sqlalchemy as sa

from hcrm.archive.death import lock_patient
from hcrm.archive.models import IdentifierKind, PatientIdentifier, PatientMerge
from hcrm.archive.queries import patient_in_scope
from hcrm.archive.timeline import add_entry
from hcrm.archive.unmerge import undo_merge
from hcrm.audit.service import record_audit
from hcrm.core.errors import ConflictError, HcrmError, NotFoundError
from hcrm.core.work import Work

BY_PEOPLE = "console"
"""Source of what is decided here and told by no message."""
_REFUSALS = {
    "merge_gone": "这次合并已撤销",
    "merged_further": "合并后的档案又被合并，请先撤销后来的合并",
}


def end_number(work: Work, *, patient_id: str, identifier_id: str, reason: str) -> str:
    """Say that a record number is no longer this patient's: it was given to somebody else (truth table B42).

    Messages under it name nobody from now on, so those that were parked for it make an archive of their own when they
    are applied again. Returns the patient's id.
    """
    reason = _filled(reason)
    patient = lock_patient(work, patient_in_scope(work, patient_id, "identity.decide").id)
    number = work.session.get(PatientIdentifier, identifier_id, with_for_update=True, populate_existing=True)
    if number is None or number.patient_id != patient.id or number.kind is not IdentifierKind.RECORD:
        raise NotFoundError
    if number.ended_at is not None:
        return str(patient.id)
    number.ended_at = patient.updated_at = work.clock.now()
    work.session.flush()
    add_entry(
        work, patient_id=patient.id, happened_at=work.clock.now(), kind="merge",
        title=f"病案号 {number.value} 停用：{reason}", subject_type="patient", subject_id=patient.id,
    )  # fmt: skip
    record_audit(
        work,
        action="identity.end_number",
        patients=[patient.id],
        subject_type="patient",
        subject_id=patient.id,
    )
    return str(patient.id)


def part_merged(work: Work, *, patient_id: str, merge_id: str, reason: str) -> str:
    """Undo a merge into this patient, with the reason; the id of the archive that is one of its own again."""
    reason = _filled(reason)
    patient = patient_in_scope(work, patient_id, "identity.decide")
    merge = work.scalar(
        sa.select(PatientMerge).where(PatientMerge.id == merge_id, PatientMerge.survivor_id == patient.id)
    )
    if merge is None:
        raise NotFoundError
    refusal = undo_merge(work, merge_id=merge.id, source=BY_PEOPLE)
    if refusal:
        raise ConflictError("identity.merge", _REFUSALS[refusal])
    add_entry(
        work, patient_id=patient.id, happened_at=work.clock.now(), kind="merge",
        title=f"撤销合并的原因：{reason}", subject_type="patient_merge", subject_id=merge.id,
    )  # fmt: skip
    return str(merge.merged_id)


def _filled(reason: str) -> str:
    reason = reason.strip()
    if not reason:
        raise HcrmError("patient.reason", "请填写原因", field="reason")
    return reason
