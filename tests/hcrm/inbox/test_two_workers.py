"""Two workers on one PostgreSQL: each patient's order kept, everything once, nobody left waiting for the other."""

import random
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from hcrm.archive.death import is_revocable, report_death
from hcrm.archive.models import ContactPoint, Patient
from hcrm.archive.visit_models import Encounter, EncounterStatus, VisitEvent
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.sources import Source
from hcrm.core.work import open_work
from hcrm.inbox import service
from hcrm.inbox.models import ApplicationState
from hcrm.inbox.service import process_messages
from tests.support.adt import adt
from tests.support.messages import (
    ACTOR,
    applications,
    make_intake,
    run_workers,
    side_by_side,
    store,
    work_off,
)

pytestmark = pytest.mark.postgresql
CHANCE = random.Random(20261122)
START = datetime(2026, 11, 22, 1, tzinfo=UTC)


@pytest.fixture
def evening(clock: FixedClock) -> FixedClock:
    clock.move(hours=13)
    return clock


def numbers(patient: int, *, by_second: bool = False) -> str:
    """Both record numbers of a patient; the first decides the lane."""
    pair = [f"{patient}^^^H1^MR", f"{patient + 5_000}^^^H1^MR"]
    return "~".join(reversed(pair) if by_second else pair)


def feed_of(patient: int) -> list[bytes]:
    """A visit discharged and reopened; another whose cancel comes before it, in the lane of the other number."""
    at = START + timedelta(minutes=patient)
    p, visit, early = numbers(patient), f"V{patient}", f"W{patient}"
    moments = [f"{at + timedelta(minutes=n):%Y%m%d%H%M%S}+0000" for n in range(8)]
    return [
        adt("A28", c=f"{patient}-0", p=p, m=moments[0]),
        adt("A01", c=f"{patient}-1", p=p, v=visit, m=moments[1]),
        adt("A11", c=f"{patient}-2", p=numbers(patient, by_second=True), v=early, m=moments[7]),
        adt("A03", c=f"{patient}-3", p=p, v=visit, m=moments[3]),
        adt("A01", c=f"{patient}-4", p=p, v=early, m=moments[2]),
        adt("A13", c=f"{patient}-5", p=p, v=visit, m=moments[4]),
        adt("A03", c=f"{patient}-6", p=p, v=visit, m=moments[5]),
    ]


def interleaved(feeds: list[list[bytes]]) -> list[bytes]:
    """One after the other at random, each feed in its own order."""
    waiting = [list(reversed(feed)) for feed in feeds]
    mixed = []
    while waiting:
        feed = CHANCE.choice(waiting)
        mixed.append(feed.pop())
        if not feed:
            waiting.remove(feed)
    return mixed


def test_whatever_the_interleaving_each_message_counts_once_and_in_its_patients_order(two_databases, evening):
    database, patients = two_databases[0], 60
    first, *rest = (
        [feed_of(n)[0] for n in range(1, patients + 1)],
        *[feed_of(n)[1:] for n in range(1, patients + 1)],
    )
    store(database, evening, *first)
    work_off(database, make_intake(evening))
    mixed = interleaved(rest)
    for start in range(0, len(mixed), 90):  # taken up bit by bit, as they come
        store(database, evening, *mixed[start : start + 90])
        run_workers(two_databases, evening)

    assert Counter(row.state for row in applications(database)) == {ApplicationState.APPLIED: 7 * patients}
    with open_work(database, actor=ACTOR, write=False) as work:
        visits = {visit.visit_no: visit for visit in work.all(Encounter)}
        log = work.all(VisitEvent)
        assert len(work.all(Patient)) == patients
    assert {visit.status for no, visit in visits.items() if no[0] == "V"} == {EncounterStatus.FINISHED}
    assert {visit.status for no, visit in visits.items() if no[0] == "W"} == {EncounterStatus.CANCELLED}
    assert len(visits) == 2 * patients
    by_visit: dict[str, list[int]] = {}
    for row in sorted(log, key=lambda row: row.id):
        by_visit.setdefault(row.encounter_id, []).append(row.seq)
    for no, visit in visits.items():
        seqs = by_visit[visit.id]
        assert len(seqs) == len(set(seqs)) == (4 if no[0] == "V" else 2)
        if no[0] == "V":
            assert seqs == sorted(seqs)


@pytest.mark.parametrize("early", [adt("A11", c="early", p=numbers(100, by_second=True), m="10:10"),
                                   adt("A08", c="early", p=numbers(100, by_second=True), m="10:10")],
                         ids=["cancel", "update"])  # fmt: skip
def test_what_came_early_is_found_though_the_visit_is_opened_in_another_lane_meanwhile(
    two_databases: list[Database], evening: FixedClock, monkeypatch: pytest.MonkeyPatch, early: bytes
) -> None:
    """Neither of the two sees what the other has not committed: one waits for the other."""
    one, other = two_databases
    store(one, evening, adt("A28", c="patient", p=numbers(100), m="09:00"))
    work_off(one, make_intake(evening))
    store(one, evening, early)
    applied, opened = threading.Event(), threading.Event()

    def wait_before_the_commit(point: str) -> None:
        if point == "before_apply_commit" and threading.current_thread().name == "early":
            applied.set()
            opened.wait(1)

    monkeypatch.setattr(service, "fault", wait_before_the_commit)

    def take_early() -> None:
        threading.current_thread().name = "early"
        process_messages(one, make_intake(evening))

    def open_visit() -> None:
        assert applied.wait(10)
        store(other, evening, adt("A01", c="visit", p=numbers(100), m="10:00"))
        process_messages(other, make_intake(evening))
        opened.set()

    side_by_side(take_early, open_visit)

    rows = applications(one)
    assert {row.state for row in rows} == {ApplicationState.APPLIED}
    assert rows[1].became_encounter_id is not None
    assert {row.visit_key for row in rows} == {None}


def test_a_patient_whose_numbers_lie_in_two_lanes_is_written_by_one_worker_at_a_time(
    two_databases, evening, monkeypatch
):
    one, other = two_databases
    store(one, evening, adt("A28", c=0, p=numbers(100), phone="13900000000", m="09:00"))
    work_off(one, make_intake(evening))
    store(one, evening, adt("A31", c=1, p=numbers(100), phone="13911111111", m="10:00"))
    read = threading.Event()

    def wait_before_the_commit(point: str) -> None:
        if point == "before_apply_commit" and threading.current_thread().name == "one":
            read.set()
            time.sleep(1)  # long enough for the other to have read, if it were let in

    monkeypatch.setattr(service, "fault", wait_before_the_commit)

    def first() -> None:
        threading.current_thread().name = "one"
        process_messages(one, make_intake(evening))

    def second() -> None:
        assert read.wait(10)
        store(other, evening, adt("A31", c=2, p=numbers(100, by_second=True), phone="13922222222", m="10:30"))
        process_messages(other, make_intake(evening))

    side_by_side(first, second)

    with open_work(one, actor=ACTOR, write=False) as work:
        (contact,) = work.all(ContactPoint, ContactPoint.ended_at.is_(None))
        assert work.keys.open_text(contact.value_sealed) == "+8613922222222"


def test_a_merge_and_all_behind_it_wait_while_another_works_on_one_of_its_patients(
    two_databases, evening, monkeypatch
):
    one, other = two_databases
    store(one, evening, adt("A28", c=0, p=100, m="09:00"), adt("A28", c=1, p=200, m="09:00"))
    work_off(one, make_intake(evening))
    store(one, evening, adt("A01", c=2, p=100, m="10:00"))
    read, looked = threading.Event(), threading.Event()

    def wait_before_the_commit(point: str) -> None:
        if point == "before_apply_commit" and threading.current_thread().name == "one":
            read.set()
            looked.wait(30)

    monkeypatch.setattr(service, "fault", wait_before_the_commit)
    states: list[ApplicationState] = []

    def admit() -> None:
        threading.current_thread().name = "one"
        process_messages(one, make_intake(evening))

    def merge() -> None:
        assert read.wait(30)
        store(other, evening, adt("A40", c=3, p=200, mrg=100, m="11:00"), adt("A31", c=4, p=200, m="12:00"))
        process_messages(other, make_intake(evening))
        states.extend(row.state for row in applications(other)[3:])
        looked.set()

    side_by_side(admit, merge)

    assert states == [ApplicationState.WAITING] * 2
    work_off(one, make_intake(evening))
    assert {row.state for row in applications(one)} == {ApplicationState.APPLIED}
    with open_work(one, actor=ACTOR, write=False) as work:
        survivor = work.one(Patient, Patient.merged_into_id.is_(None))
        assert work.one(Encounter).patient_id == survivor.id


def test_two_workers_do_not_use_up_the_same_rest_of_a_limit(two_databases, evening, monkeypatch):
    one, other = two_databases
    most = Source(code="default", title="HIS").merges_per_hour
    store(one, evening, *(adt("A40", c=n, p=1_000 + n, mrg=2_000 + n, m="10:00") for n in range(most - 1)))
    work_off(one, make_intake(evening))
    first, second = adt("A40", c="a", p=100, mrg=200, m="11:00"), adt("A40", c="b", p=300, mrg=400, m="11:00")
    store(one, evening, first)
    applied = threading.Event()

    def wait_before_the_commit(point: str) -> None:
        if point == "before_apply_commit" and threading.current_thread().name == "one":
            applied.set()
            time.sleep(1)  # long enough for the other to have counted, if it were let in

    monkeypatch.setattr(service, "fault", wait_before_the_commit)

    def merge() -> None:
        threading.current_thread().name = "one"
        process_messages(one, make_intake(evening))

    def merge_too() -> None:
        assert applied.wait(30)
        store(other, evening, second)
        process_messages(other, make_intake(evening))

    side_by_side(merge, merge_too)

    work_off(one, make_intake(evening))
    assert [row.reason for row in applications(one)[-2:]] == [None, "merge_flood"]


def test_what_a_physician_notes_while_a_message_is_absorbed_is_not_overwritten(
    two_databases, evening, monkeypatch
):
    one, other = two_databases
    store(one, evening, adt("A28", c=0, m="09:00"))
    work_off(one, make_intake(evening))
    store(one, evening, adt("A31", c=1, phone="13911111111", m="10:00"))
    with open_work(one, actor=ACTOR, write=False) as work:
        patient_id = work.one(Patient).id
    read = threading.Event()

    def wait_before_the_commit(point: str) -> None:
        if point == "before_apply_commit":
            read.set()
            time.sleep(1)

    monkeypatch.setattr(service, "fault", wait_before_the_commit)

    def report() -> None:
        assert read.wait(10)
        with open_work(other, actor=ACTOR, clock=evening) as work:
            report_death(work, patient_id=patient_id)

    side_by_side(lambda: process_messages(one, make_intake(evening)), report)

    with open_work(one, actor=ACTOR, write=False) as work:
        patient = work.one(Patient)
        assert is_revocable(patient)
        assert patient.provenance["contacts"][2] == 2
