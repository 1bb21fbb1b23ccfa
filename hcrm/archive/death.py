"""A death we learn of from people, not from a message."""

from hcrm.archive.events import PatientDied
from hcrm.archive.models import DeceasedState, Patient
from hcrm.audit.service import record_audit
from hcrm.core.work import Work


def report_death(work: Work, *, patient_id: str, source: str) -> None:
    """Note that somebody told us the patient has died; nothing more is sent or asked from now on.

    The date stays unknown: what relatives say on the phone is no certificate. Known before, nothing changes.
    """
    patient = work.session.get(Patient, patient_id, with_for_update=True, populate_existing=True)
    if patient is None or patient.deceased is DeceasedState.DECEASED:
        return
    now = work.clock.now()
    patient.deceased = DeceasedState.DECEASED
    patient.provenance = {**patient.provenance, "deceased": [now.isoformat(), source, 0]}
    patient.updated_at = now
    work.session.flush()
    work.emit(PatientDied(patient_id=patient_id))
    record_audit(work, action="patient.report_death", patients=[patient_id], detail={"source": source})
