"""What a sender may not do without a person: merge or delete in masses, merge a VIP (assurance C23, C24)."""

import pytest

from hcrm.archive.models import Patient, PatientMerge
from hcrm.core.sources import Source, Sources
from hcrm.core.work import open_work
from hcrm.inbox.models import ApplicationState
from hcrm.inbox.monitor import watch_interface
from hcrm.inbox.monitor_models import Incident, IncidentKind
from hcrm.inbox.service import replay_messages
from tests.support.adt import adt
from tests.support.hospital import ACTOR, Hospital
from tests.support.truth_table import evening

__all__ = ["evening"]


@pytest.fixture
def hospital(database, evening):
    source = Source(code="default", title="HIS", merges_per_hour=3, deletions_per_minute=2)
    with Hospital(database, evening, sources=Sources([source])) as hospital:
        yield hospital


def admit(p: int, **fields: str) -> bytes:
    return adt("A01", c=p, p=p, v=f"V{p}", m="10:00", **fields)


def merge(p: int) -> bytes:
    return adt("A40", c=f"m{p}", p=p, mrg=p + 100, m="16:00")


def release(hospital: Hospital, *numbers: int) -> None:
    rows = hospital.messages()
    with open_work(hospital.database, actor=ACTOR, clock=hospital.clock) as work:
        replay_messages(work, seqs=[rows[number - 1].seq for number in numbers], release=True)
    hospital.settle()


def test_more_merges_than_an_hour_may_have_wait_for_a_person(hospital):
    hospital.receive(*(merge(p) for p in range(100, 105)))
    parked = [reason for _, reason in hospital.outcomes()]
    assert parked == [None, None, None, None, None]  # nobody knew the merged: numbers only, nothing was moved

    hospital.receive(*(admit(p) for p in (300, 400, 301, 401, 302, 402, 303, 403, 304, 404)))
    hospital.receive(*(merge(p) for p in range(300, 305)))
    assert hospital.count(PatientMerge) == 3
    assert [reason for _, reason in hospital.outcomes()][-5:] == [
        None,
        None,
        None,
        "merge_flood",
        "merge_flood",
    ]

    hospital.replay()
    assert hospital.count(PatientMerge) == 3

    release(hospital, 19)
    assert hospital.count(PatientMerge) == 4
    assert hospital.application(19).flags == "released"
    assert hospital.application(20).reason == "merge_flood"


def test_what_waits_for_a_person_is_an_incident_until_it_is_let_through(hospital):
    hospital.receive(admit(300), admit(400, PV1_16="VIP"), merge(300))
    assert open_incidents(hospital) == [(IncidentKind.GUARDED, "vip_merge")]

    release(hospital, 3)
    assert open_incidents(hospital) == []


def open_incidents(hospital: Hospital) -> list[tuple[IncidentKind, str]]:
    with open_work(hospital.database, actor=ACTOR, clock=hospital.clock) as work:
        watch_interface(work)
    return [(row.kind, row.subject) for row in hospital.all(Incident, Incident.closed_at.is_(None))]


def test_a_merge_of_a_vip_waits_for_a_person(hospital):
    hospital.receive(admit(300), admit(400, PV1_16="VIP"), merge(300))

    assert (hospital.application().state, hospital.application().reason) == (
        ApplicationState.PARKED, "vip_merge")  # fmt: skip
    assert hospital.count(PatientMerge) == 0

    release(hospital, 3)
    assert hospital.patient(400).id == hospital.patient(300).id


@pytest.mark.parametrize("event", ["A29", "A23"])
def test_a_flood_of_deletions_is_stopped_and_what_was_deleted_can_come_back(hospital, event):
    hospital.receive(*(admit(p) for p in (300, 301, 302, 303)))
    hospital.receive(*(adt(event, c=f"d{p}", p=p, v=f"V{p}", m="16:00") for p in (300, 301, 302, 303)))

    assert [reason for _, reason in hospital.outcomes()][-4:] == [None, None, "delete_flood", "delete_flood"]
    hidden = hospital.count(Patient, Patient.is_nullified)
    assert hidden == (2 if event == "A29" else 0)

    hospital.receive(adt("A01", c="again", p=300, v="V300", m="17:00"))
    assert not hospital.patient(300).is_nullified
    assert hospital.visit("V300").status == "in-progress"


def test_a_flood_of_one_sender_does_not_stop_the_others_of_the_same_batch(hospital):
    hospital.receive(*(admit(p) for p in (300, 400, 301, 401, 302, 402, 303, 403)))
    for p in range(300, 304):
        hospital.send(merge(p))
    hospital.send(adt("A08", c="x", p=500, m="16:30"))
    hospital.settle()

    assert [reason for _, reason in hospital.outcomes()][-5:] == [None, None, None, "merge_flood", None]
