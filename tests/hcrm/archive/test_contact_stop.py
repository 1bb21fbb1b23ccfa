"""Contact that ends: nothing waits and nothing is issued until it is taken up again."""

import pytest

from hcrm.archive.events import ContactRestored, ContactStopped
from hcrm.archive.imports.marks import BY_FILE
from hcrm.archive.reach.contact_stop import end_contact, list_stops, live_stops, restore_contact, undo_stop
from hcrm.archive.reach_models import ContactStop, StopKind
from hcrm.archive.terms import BY_PEOPLE
from hcrm.archive.timeline import list_timeline
from hcrm.core.actor import system_actor
from hcrm.core.errors import ConflictError, DeniedError, HcrmError, NotFoundError
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

    first, second = (
        end_contact(work, patient_id=patient.id, kind=StopKind.TERMINATED, reason=reason)
        for reason in ("一", "二")
    )

    assert ([first], second) == ([row.id for row in work.all(ContactStop)], None)


def test_what_a_person_asks_stands_beside_what_a_list_says(work: Work):
    patient = make_patient(work)

    for source in (BY_FILE, BY_PEOPLE, BY_FILE):
        end_contact(
            work, patient_id=patient.id, kind=StopKind.DO_NOT_CONTACT, reason="不再联系", source=source
        )

    assert sorted(row.source for row in work.all(ContactStop)) == sorted([BY_FILE, BY_PEOPLE])


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


def test_an_end_taken_back_at_once_leaves_the_others_and_cannot_be_taken_back_again(work: Work):
    patient = make_patient(work)
    since = work.clock.now()
    listed = end_contact(work, patient_id=patient.id, kind=StopKind.TERMINATED, reason="名单", source=BY_FILE)
    work.clock.move(days=1)
    own = end_contact(work, patient_id=patient.id, kind=StopKind.DO_NOT_CONTACT, reason="误点")
    work.events.clear()

    undo_stop(work, patient_id=patient.id, stop_id=own, reason="登记后立即撤销")

    assert [row.id for row in live_stops(work, patient.id)] == [listed]
    assert work.events == []  # contact stays ended
    with pytest.raises(ConflictError):
        undo_stop(work, patient_id=patient.id, stop_id=own, reason="登记后立即撤销")
    restore_contact(work, patient_id=patient.id, reason="同意")
    assert work.events == [ContactRestored(patient_id=patient.id, noted_at=since.isoformat())]


def test_nobody_takes_back_at_once_what_they_did_not_do(work: Work):
    patient, other = make_patient(work), make_patient(work)
    listed = end_contact(work, patient_id=patient.id, kind=StopKind.TERMINATED, reason="名单", source=BY_FILE)
    own = end_contact(work, patient_id=patient.id, kind=StopKind.TERMINATED, reason="误点")

    for patient_id, stop_id in ((patient.id, listed), (other.id, own), (patient.id, "0" * 32)):
        with pytest.raises(NotFoundError):
            undo_stop(work, patient_id=patient_id, stop_id=stop_id, reason="撤销")
    work.actor = system_actor("somebody")
    with pytest.raises(NotFoundError):
        undo_stop(work, patient_id=patient.id, stop_id=own, reason="撤销")
    assert len(live_stops(work, patient.id)) == 2


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
