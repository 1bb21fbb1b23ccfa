from hcrm.archive.death import report_death
from hcrm.archive.events import PatientDied
from hcrm.archive.models import DeceasedState
from hcrm.core.work import Work
from tests.support.builders import make_patient


def test_what_people_tell_us_is_noted_with_its_source_and_told(work: Work):
    patient = make_patient(work)

    report_death(work, patient_id=patient.id, source="followup")

    assert (patient.deceased, patient.deceased_at) == (DeceasedState.DECEASED, None)
    assert patient.provenance["deceased"] == [work.clock.now().isoformat(), "followup", 0]
    assert work.events == [PatientDied(patient_id=patient.id)]


def test_what_was_known_is_not_told_again(work: Work):
    patient = make_patient(work, deceased=DeceasedState.DECEASED)

    report_death(work, patient_id=patient.id, source="followup")

    assert work.events == []
    assert patient.provenance == {}
