"""Allergies people enter beside the lists of messages: added, ended, never mixed with what a sender tells."""

import sqlalchemy as sa

from hcrm.archive.death import lock_patient
from hcrm.archive.fields.models import PatientFieldValue
from hcrm.archive.models import Allergy, Patient
from hcrm.archive.queries import patient_in_scope
from hcrm.archive.terms import BY_PEOPLE, Informant
from hcrm.audit.service import record_audit
from hcrm.core.errors import ConflictError, NotFoundError
from hcrm.core.work import Work

KINDS = {
    "DA": "药物",
    "FA": "食物",
    "EA": "环境",
    "AA": "动物",
    "PA": "植物",
    "LA": "花粉",
    "MC": "禁忌",
    "MA": "其他",
}
"""AL1-2, HL7 table 0127."""
SEVERITIES = {"SV": "重", "MO": "中", "MI": "轻", "U": "不详"}
"""AL1-4, HL7 table 0128."""
STATE_FIELD = "allergy_state"
NONE_KNOWN = "none_known"


def add_allergy(
    work: Work, *, patient_id: str, text: str, kind: str, severity: str, reaction: str, informant: Informant
) -> str:
    """Enter an allergy that no message told; its key. A list of a message neither ends it nor is hidden by it.

    Who was asked and had none has one now: that answer ends.
    """
    patient = _locked(work, patient_id)
    rows = work.all(Allergy, Allergy.patient_id == patient.id, Allergy.ended_at.is_(None))
    if any(row.source == BY_PEOPLE and row.text == text for row in rows):
        raise ConflictError("allergy.known", "这一过敏已经登记过")
    key = work.new_id()
    work.insert(
        Allergy,
        [
            {"id": key, "patient_id": patient.id, "rank": len(rows) + 1, "kind": kind, "code": "", "text": text,
             "severity": severity, "reaction": reaction, "source": BY_PEOPLE, "as_of": work.clock.now(), "seq": 0,
             "ended_at": None, "informant": informant, "actor_name": work.actor.name, "ended_by_name": None}
        ],
    )  # fmt: skip
    work.execute(
        sa.update(PatientFieldValue)
        .where(
            PatientFieldValue.patient_id == patient.id,
            PatientFieldValue.field_code == STATE_FIELD,
            PatientFieldValue.value == NONE_KNOWN,
            PatientFieldValue.ended_at.is_(None),
        )
        .values(ended_at=work.clock.now(), ended_act_id=work.new_id(), ended_by_name=work.actor.name)
    )
    _audit(work, patient, "allergy.write", key)
    return key


def end_allergy(work: Work, *, patient_id: str, allergy_id: str) -> None:
    """It was entered here and is not so; it stays in the history. What a message told only its sender ends."""
    patient = _locked(work, patient_id)
    row = _own(work, patient, allergy_id)
    if row.ended_at is None:
        row.ended_at, row.ended_by_name = work.clock.now(), work.actor.name
        work.session.flush()
        _audit(work, patient, "allergy.end", row.id)


def restore_allergy(work: Work, *, patient_id: str, allergy_id: str) -> None:
    """Take an ending back: it stands again, as it was entered."""
    patient = _locked(work, patient_id)
    row = _own(work, patient, allergy_id)
    if row.ended_at is not None:
        row.ended_at = row.ended_by_name = None
        work.session.flush()
        _audit(work, patient, "allergy.restore", row.id)


def _own(work: Work, patient: Patient, allergy_id: str) -> Allergy:
    row = work.session.get(Allergy, allergy_id, populate_existing=True)
    if row is None or row.patient_id != patient.id or row.source != BY_PEOPLE:
        raise NotFoundError
    return row


def _locked(work: Work, patient_id: str) -> Patient:
    return lock_patient(work, patient_in_scope(work, patient_id, "allergy.write").id)


def _audit(work: Work, patient: Patient, action: str, key: str) -> None:
    record_audit(work, action=action, patients=[patient.id], subject_type="allergy", subject_id=key)
