from datetime import datetime, timedelta

import pytest

from hcrm.archive.arrivals import Arrival
from hcrm.archive.death import (
    confirm_death,
    confirm_told_deaths,
    count_unconfirmed,
    list_unconfirmed,
    record_death,
    report_death,
    revoke_death,
    standing_reports,
    undo_report,
)
from hcrm.archive.events import DeathRevoked, PatientDied
from hcrm.archive.models import DeceasedState, Patient
from hcrm.archive.records import Change
from hcrm.archive.service import absorb_records
from hcrm.archive.timeline import list_timeline
from hcrm.audit.models import AuditEvent
from hcrm.core.clock import FixedClock, local_date
from hcrm.core.errors import ConflictError, DeniedError, HcrmError
from hcrm.core.work import Work
from tests.support.builders import actor_of, make_department, make_patient, make_practitioner
from tests.support.changes import change


def test_what_people_tell_us_is_noted_with_its_source_and_told(work: Work):
    patient = make_patient(work)

    report_death(work, patient_id=patient.id)

    assert (patient.deceased, patient.deceased_at) == (DeceasedState.DECEASED, None)
    assert patient.provenance["deceased"] == [work.clock.now().isoformat(), "followup", 0]
    assert work.events == [PatientDied(patient_id=patient.id)]


def test_what_was_known_is_not_told_again(work: Work):
    patient = make_patient(work, deceased=DeceasedState.DECEASED)

    report_death(work, patient_id=patient.id)

    assert work.events == []
    assert patient.provenance == {}


# ── taking it back ──────────────────────────────────────────────────────────


@pytest.fixture
def reported(work: Work) -> Patient:
    """Somebody whose death was reported by phone; facts of that are gone."""
    patient = make_patient(work)
    report_death(work, patient_id=patient.id)
    work.events.clear()
    return patient


def test_a_death_people_reported_is_taken_back_with_the_reason_in_the_story(work: Work, reported):
    revoke_death(work, patient_id=reported.id, reason=" 误点 ")

    assert reported.deceased is DeceasedState.ALIVE
    assert work.events == [DeathRevoked(patient_id=reported.id, noted_at=work.clock.now().isoformat())]
    work.flush()
    (line,) = list_timeline(work, patient_id=reported.id).items
    assert (line.kind, line.title) == ("death", "死亡登记已撤销：误点")
    event = work.one(AuditEvent, AuditEvent.action == "patient.revoke_death")
    assert (event.subject_id, event.detail) == (reported.id, None)


def test_without_a_reason_it_stands(work: Work, reported):
    with pytest.raises(HcrmError, match="请填写原因"):
        revoke_death(work, patient_id=reported.id, reason=" ")

    assert reported.deceased is DeceasedState.DECEASED


def test_taken_back_twice_is_taken_back_once(work: Work, reported):
    for _ in range(2):
        revoke_death(work, patient_id=reported.id, reason="误点")

    assert len(work.events) == 1


@pytest.mark.parametrize("told", ["10:30", "09:00"])
def test_a_death_that_the_his_told_too_is_not_for_people_to_take_back(work: Work, told):
    """Later or earlier than the call, arriving after it."""
    absorb(work, change("A01", c=1, m="08:00"), seq=1)
    patient = work.one(Patient)
    report_death(work, patient_id=patient.id)
    absorb(work, change("A08", c=2, m=told, PID_30="Y"), seq=2)
    work.session.expire_all()

    with pytest.raises(ConflictError, match="HIS"):
        revoke_death(work, patient_id=patient.id, reason="误点")

    assert patient.deceased is DeceasedState.DECEASED


def test_what_is_disputed_people_decide(work: Work, reported):
    reported.deceased = DeceasedState.DISPUTED
    reported.provenance = {"deceased": [work.clock.now().isoformat(), "his", 3]}
    work.session.flush()

    revoke_death(work, patient_id=reported.id, reason="家属来院说明")

    assert reported.deceased is DeceasedState.ALIVE


class Running(FixedClock):
    """A clock that never tells the same moment twice."""

    def now(self) -> datetime:
        self.move(microseconds=1)
        return super().now()


@pytest.fixture
def disputed(work: Work) -> Patient:
    """Somebody of whom the HIS told that they died, and then that they live."""
    absorb(work, change("A01", c=1, m="08:00"), seq=1)
    absorb(work, change("A08", c=2, m="08:10", PID_30="Y", PID_29="20261122080000"), seq=2)
    absorb(work, change("A08", c=3, m="08:20", PID_30="N"), seq=3)
    work.events.clear()
    work.session.expire_all()
    patient = work.one(Patient)
    assert patient.deceased is DeceasedState.DISPUTED
    return patient


@pytest.mark.parametrize("way", ["undone", "revoked"])
def test_a_death_noted_on_top_of_a_dispute_gives_way_to_that_dispute(work: Work, disputed, way):
    before = (disputed.deceased, disputed.deceased_at, disputed.provenance)
    work.clock = Running(work.clock.now())
    _, report_id = record_death(work, patient_id=disputed.id, told_by="女儿来电")
    assert disputed.deceased is DeceasedState.DECEASED

    if way == "undone":
        undo_report(work, patient_id=disputed.id, report_id=report_id, reason="误登")
    else:
        revoke_death(work, patient_id=disputed.id, reason="误登")

    assert (disputed.deceased, disputed.deceased_at, disputed.provenance) == before
    assert standing_reports(work, [disputed.id]) == []
    assert [type(fact) for fact in work.events] == [PatientDied, DeathRevoked]
    work.flush()
    assert "死亡登记已撤销，恢复为存疑：误登" in [
        line.title for line in list_timeline(work, patient_id=disputed.id).items
    ]

    revoke_death(work, patient_id=disputed.id, reason="家属来院说明")
    assert disputed.deceased is DeceasedState.ALIVE


def test_what_was_told_between_a_death_on_a_dispute_and_its_undoing_stays_told(work: Work, disputed):
    _, report_id = record_death(work, patient_id=disputed.id, told_by="女儿来电")
    work.flush()
    later = (work.clock.now() + timedelta(hours=1)).isoformat()
    disputed.deceased = DeceasedState.DISPUTED
    disputed.provenance = {**disputed.provenance, "deceased": [later, "his", 9]}
    work.session.flush()

    undo_report(work, patient_id=disputed.id, report_id=report_id, reason="误登")

    assert disputed.deceased is DeceasedState.DISPUTED
    assert disputed.provenance["deceased"] == [later, "his", 9]


def test_outside_the_scope_nobody_is_brought_back(work: Work, reported):
    home = make_department(work)
    work.actor = actor_of(make_practitioner(work, department=home), home)

    with pytest.raises(DeniedError):
        revoke_death(work, patient_id=reported.id, reason="误点")


def absorb(work: Work, told: Change, *, seq: int) -> None:
    absorb_records(work, arrivals=[Arrival(seq=seq, change=told)])
    work.flush()


# ── a second source ─────────────────────────────────────────────────────────


def test_a_death_noted_on_the_page_waits_for_a_second_source(work: Work):
    patient = make_patient(work)

    record_death(work, patient_id=patient.id, told_by="女儿来电", died_on=local_date(work.clock.now()))

    (row,) = list_unconfirmed(work).items
    assert (row.DeathReport.patient_id, row.DeathReport.told_by, count_unconfirmed(work)) == (
        patient.id, "女儿来电", 1,
    )  # fmt: skip
    confirm_death(work, patient_id=patient.id, confirmation="死亡证明")
    assert count_unconfirmed(work) == 0
    (report,) = standing_reports(work, [patient.id])
    assert (report.confirmed_by, report.confirmation) == (work.actor.name, "死亡证明")


def test_a_message_is_the_second_source(work: Work):
    absorb(work, change("A01", c=1, m="08:00"), seq=1)
    patient = work.one(Patient)
    record_death(work, patient_id=patient.id, told_by="女儿来电")
    work.flush()

    absorb_records(work, arrivals=[Arrival(seq=2, change=change("A08", c=2, m="10:30", PID_30="Y"))])

    assert PatientDied(patient_id=patient.id) in work.events
    work.session.expire_all()
    died = [fact for fact in work.events if isinstance(fact, PatientDied)]
    assert confirm_told_deaths(work, died) == 1
    assert count_unconfirmed(work) == 0


@pytest.mark.parametrize(("told_by", "days", "field"), [(" ", 0, "told_by"), ("女儿", 1, "died_on")])
def test_a_death_nobody_told_or_that_is_yet_to_come_is_refused(work: Work, told_by, days, field):
    patient = make_patient(work)
    day = local_date(work.clock.now()) + timedelta(days=days)

    with pytest.raises(HcrmError) as refusal:
        record_death(work, patient_id=patient.id, told_by=told_by, died_on=day)

    assert (refusal.value.field, patient.deceased) == (field, DeceasedState.ALIVE)


def test_a_death_that_was_taken_back_waits_for_nobody(work: Work):
    patient = make_patient(work)
    record_death(work, patient_id=patient.id, told_by="女儿来电")

    revoke_death(work, patient_id=patient.id, reason="误听")

    assert (count_unconfirmed(work), standing_reports(work, [patient.id])) == (0, [])
