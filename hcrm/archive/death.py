"""A death we learn of from people, not from a message, and its taking back."""

from hcrm.archive.events import DeathRevoked, PatientDied
from hcrm.archive.models import DeceasedState, Patient
from hcrm.archive.queries import patient_in_scope
from hcrm.archive.terms import TOLD_BY_PEOPLE
from hcrm.archive.timeline import add_entry
from hcrm.audit.service import record_audit
from hcrm.core.errors import ConflictError, HcrmError, NotFoundError
from hcrm.core.work import Work


def report_death(work: Work, *, patient_id: str) -> None:
    """Note that somebody told us the patient has died; nothing more is sent or asked from now on.

    The date stays unknown: what relatives say on the phone is no certificate. Known before, nothing changes.
    """
    patient = lock_patient(work, patient_id)
    if patient.deceased is DeceasedState.DECEASED:
        return
    _put(work, patient, DeceasedState.DECEASED)
    work.emit(PatientDied(patient_id=patient_id))
    record_audit(
        work,
        action="patient.report_death",
        patients=[patient_id],
        subject_type="patient",
        subject_id=patient_id,
    )


def revoke_death(work: Work, *, patient_id: str, reason: str) -> Patient:
    """Say that the patient lives after all, with the reason: a slip is taken back, a dispute (B26, B37) decided.

    A death that a message told stands until the sender takes it back. Of one who lives nothing changes.
    """
    reason = reason.strip()
    if not reason:
        raise HcrmError("patient.reason", "请填写原因", field="reason")
    patient = lock_patient(work, patient_in_scope(work, patient_id, "patient.revoke_death").id)
    if patient.deceased is DeceasedState.ALIVE:
        return patient
    if not is_revocable(patient):
        raise ConflictError("patient.death_told", "死亡由 HIS 消息通知，请先在 HIS 更正，不能在此撤销")
    noted_at = (patient.provenance.get("deceased") or [work.clock.now().isoformat()])[0]
    _put(work, patient, DeceasedState.ALIVE)
    add_entry(
        work, patient_id=patient.id, happened_at=work.clock.now(), kind="death",
        title=f"死亡登记已撤销：{reason}", subject_type="patient", subject_id=patient.id,
    )  # fmt: skip
    work.emit(DeathRevoked(patient_id=patient.id, noted_at=noted_at))
    record_audit(
        work,
        action="patient.revoke_death",
        patients=[patient.id],
        subject_type="patient",
        subject_id=patient.id,
    )
    return patient


def is_revocable(patient: Patient) -> bool:
    """Whether it is for people to say that the patient lives: people said they died, or what was told is disputed."""
    if patient.deceased is DeceasedState.DECEASED:
        _, source, _ = patient.provenance.get("deceased") or ("", "", 0)
        return bool(source == TOLD_BY_PEOPLE)
    return patient.deceased is DeceasedState.DISPUTED


def lock_patient(work: Work, patient_id: str) -> Patient:
    """The patient as the row stands, ours until the work ends."""
    patient = work.session.get(Patient, patient_id, with_for_update=True, populate_existing=True)
    if patient is None:
        raise NotFoundError
    return patient


def _put(work: Work, patient: Patient, state: DeceasedState) -> None:
    now = work.clock.now()
    patient.deceased = state
    if state is DeceasedState.ALIVE:
        patient.deceased_at = None
    patient.provenance = {**patient.provenance, "deceased": [now.isoformat(), TOLD_BY_PEOPLE, 0]}
    patient.updated_at = now
    work.session.flush()
