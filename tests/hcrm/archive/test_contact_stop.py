"""Contact that ends: nothing waits and nothing is issued until it is taken up again."""

import pytest

from hcrm.archive.contact_stop import end_contact, list_stops, restore_contact
from hcrm.archive.events import ContactRestored, ContactStopped
from hcrm.archive.reach_models import ContactStop, StopKind
from hcrm.archive.timeline import list_timeline
from hcrm.core.errors import ConflictError, DeniedError, HcrmError
from hcrm.core.work import Work
from tests.support.builders import actor_of, make_department, make_patient, make_practitioner


def test_it_is_ended_with_its_reason_and_told(work: Work):
    patient = make_patient(work)

    end_contact(work, patient_id=patient.id, kind=StopKind.TERMINATED, reason=" 转外院治疗 ")
    events = list(work.events)
    work.flush()

    assert [stop.reason for stop in list_stops(work, patient.id)] == ["转外院治疗"]
    assert events == [ContactStopped(patient_id=patient.id)]
    assert [line.title for line in list_timeline(work, patient_id=patient.id).items] == [
        "终止联系：转外院治疗"
    ]


def test_ended_twice_the_same_way_it_is_one_end(work: Work):
    patient = make_patient(work)

    keys = {
        end_contact(work, patient_id=patient.id, kind=StopKind.TERMINATED, reason=reason)
        for reason in ("一", "二")
    }

    assert keys == {row.id for row in work.all(ContactStop)}


def test_taking_it_up_again_ends_every_kind_of_end_and_keeps_the_history(work: Work):
    patient = make_patient(work)
    since = work.clock.now()
    for kind in StopKind:
        end_contact(work, patient_id=patient.id, kind=kind, reason="家属要求")
    work.events.clear()
    work.clock.move(days=3)

    restore_contact(work, patient_id=patient.id, reason="家属同意")

    assert work.events == [ContactRestored(patient_id=patient.id, noted_at=since.isoformat())]
    assert {(row.ended_reason, row.ended_by) for row in list_stops(work, patient.id)} == {
        ("家属同意", work.actor.name)
    }
    with pytest.raises(ConflictError):
        restore_contact(work, patient_id=patient.id, reason="再来一次")


@pytest.mark.parametrize("reason", ["", " ", "长" * 201])
def test_without_a_reason_nothing_ends(work: Work, reason):
    patient = make_patient(work)

    with pytest.raises(HcrmError):
        end_contact(work, patient_id=patient.id, kind=StopKind.TERMINATED, reason=reason)

    assert work.all(ContactStop) == []


def test_another_department_s_patient_cannot_be_ended(work: Work):
    patient, ward = make_patient(work), make_department(work)
    work.actor = actor_of(make_practitioner(work, department=ward), ward)

    with pytest.raises(DeniedError):
        end_contact(work, patient_id=patient.id, kind=StopKind.DO_NOT_CONTACT, reason="误点")
