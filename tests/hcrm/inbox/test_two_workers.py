"""Two workers on one PostgreSQL: each patient's order kept, everything once, nobody left waiting for the other."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from hcrm.archive.death import is_revocable, report_death
from hcrm.archive.models import ContactPoint, Patient
from hcrm.archive.visit_models import Encounter, EncounterStatus, VisitEvent
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.sources import Source, Sources
from hcrm.core.work import open_work
from hcrm.inbox import service
from hcrm.inbox.models import ApplicationState
from hcrm.inbox.service import process_messages
from tests.support import messages
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


class Pause:
    """One worker stands before its commit until the other waits for it in the database, or is done."""

    def __init__(self, database: Database, clock: FixedClock) -> None:
        self._database, self._clock, self._worker = database, clock, 0
        self.begun, self._is_over = threading.Event(), threading.Event()
        self.locks_of_who_waits: set[int] = set()

    def process(self) -> None:
        """What waits in the inbox, standing still on the way."""
        self._worker = threading.get_ident()
        process_messages(self._database, make_intake(self._clock))

    def stand(self, point: str) -> None:
        if point != "before_apply_commit" or threading.get_ident() != self._worker:
            return
        self.begun.set()
        patience = time.monotonic() + 60
        while not self._is_over.wait(0.02) and not self._is_waited_for():
            assert time.monotonic() < patience, "the other neither waits nor comes to an end"

    def beside(self, act: Callable[[], object]) -> None:
        """Let the worker work and, once it stands, the other act."""

        def other() -> None:
            assert self.begun.wait(30)
            try:
                act()
            finally:
                self._is_over.set()

        side_by_side(self.process, other)

    def _is_waited_for(self) -> bool:
        """Also notes which advisory locks the other keeps while it waits, by their first number."""
        waiting = (
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        kept = f"SELECT classid::bigint FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid IN ({waiting})"
        with open_work(self._database, actor=ACTOR, write=False) as work:
            is_waited_for = bool(work.scalar(sa.text(f"SELECT count(*) FROM ({waiting}) AS waiting")))
            self.locks_of_who_waits |= set(work.execute(sa.text(kept)).scalars())
            return is_waited_for


@pytest.fixture
def pause(two_databases: list[Database], evening: FixedClock, monkeypatch: pytest.MonkeyPatch) -> Pause:
    """The first of two workers stands before its commit."""
    pause = Pause(two_databases[0], evening)
    monkeypatch.setattr(service, "fault", pause.stand)
    return pause


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
    two_databases: list[Database], evening: FixedClock, pause: Pause, early: bytes
) -> None:
    """Neither of the two sees what the other has not committed: one waits for the other."""
    one, other = two_databases
    store(one, evening, adt("A28", c="patient", p=numbers(100), m="09:00"))
    work_off(one, make_intake(evening))
    store(one, evening, early)

    def open_visit() -> None:
        store(other, evening, adt("A01", c="visit", p=numbers(100), m="10:00"))
        process_messages(other, make_intake(evening))

    pause.beside(open_visit)

    rows = applications(one)
    assert {row.state for row in rows} == {ApplicationState.APPLIED}
    assert rows[1].became_encounter_id is not None
    assert {row.visit_key for row in rows} == {None}


def test_a_patient_whose_numbers_lie_in_two_lanes_is_written_by_one_worker_at_a_time(
    two_databases, evening, pause
):
    one, other = two_databases
    store(one, evening, adt("A28", c=0, p=numbers(100), phone="13900000000", m="09:00"))
    work_off(one, make_intake(evening))
    store(one, evening, adt("A31", c=1, p=numbers(100), phone="13911111111", m="10:00"))

    def second() -> None:
        store(other, evening, adt("A31", c=2, p=numbers(100, by_second=True), phone="13922222222", m="10:30"))
        process_messages(other, make_intake(evening))

    pause.beside(second)

    with open_work(one, actor=ACTOR, write=False) as work:
        (contact,) = work.all(ContactPoint, ContactPoint.ended_at.is_(None))
        assert work.keys.open_text(contact.value_sealed) == "+8613922222222"


def test_a_merge_and_all_behind_it_wait_while_another_works_on_one_of_its_patients(
    two_databases, evening, pause
):
    one, other = two_databases
    store(one, evening, adt("A28", c=0, p=100, m="09:00"), adt("A28", c=1, p=200, m="09:00"))
    work_off(one, make_intake(evening))
    store(one, evening, adt("A01", c=2, p=100, m="10:00"))
    states: list[ApplicationState] = []

    def merge() -> None:
        store(other, evening, adt("A40", c=3, p=200, mrg=100, m="11:00"), adt("A31", c=4, p=200, m="12:00"))
        process_messages(other, make_intake(evening))
        states.extend(row.state for row in applications(other)[3:])

    pause.beside(merge)

    assert states == [ApplicationState.WAITING] * 2
    work_off(one, make_intake(evening))
    assert {row.state for row in applications(one)} == {ApplicationState.APPLIED}
    with open_work(one, actor=ACTOR, write=False) as work:
        survivor = work.one(Patient, Patient.merged_into_id.is_(None))
        assert work.one(Encounter).patient_id == survivor.id


def test_two_workers_do_not_use_up_the_same_rest_of_a_limit(two_databases, evening, pause):
    one, other = two_databases
    most = Source(code="default", title="HIS").merges_per_hour
    store(one, evening, *(adt("A40", c=n, p=1_000 + n, mrg=2_000 + n, m="10:00") for n in range(most - 1)))
    work_off(one, make_intake(evening))
    first, second = adt("A40", c="a", p=100, mrg=200, m="11:00"), adt("A40", c="b", p=300, mrg=400, m="11:00")
    store(one, evening, first)

    def merge_too() -> None:
        store(other, evening, second)
        process_messages(other, make_intake(evening))

    pause.beside(merge_too)

    work_off(one, make_intake(evening))
    assert [row.reason for row in applications(one)[-2:]] == [None, "merge_flood"]


def test_what_came_early_does_not_use_up_the_same_rest_of_a_limit_either(
    two_databases: list[Database], evening: FixedClock, pause: Pause, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits to count it keeps no visit from anybody meanwhile, or two would wait for each other."""
    one, other = two_databases
    strict = Source(code="default", title="HIS", deletions_per_minute=1)
    monkeypatch.setattr(messages, "SOURCES", Sources([strict]))
    known = adt("A01", c="known", p=500, v="V500", m="09:00")  # the ward is known, or both would write it
    for early in (known, *(adt("A23", c=f"d{p}", p=p, v=f"V{p}", m="11:00") for p in (100, 300))):
        store(one, evening, early)
        work_off(one, make_intake(evening))
    assert [row.state for row in applications(one)[1:]] == [ApplicationState.HELD] * 2
    store(one, evening, adt("A01", c="first", p=100, v="V100", m="10:00"))

    def admit_too() -> None:
        store(other, evening, adt("A01", c="second", p=300, v="V300", m="10:00"))
        process_messages(other, make_intake(evening))

    pause.beside(admit_too)

    assert pause.locks_of_who_waits == {service._LOCK_LANE}
    work_off(one, make_intake(evening))
    assert [row.reason for row in applications(one)[1:]] == [None, "delete_flood", None, None]


def test_what_a_physician_notes_while_a_message_is_absorbed_is_not_overwritten(two_databases, evening, pause):
    one, other = two_databases
    store(one, evening, adt("A28", c=0, m="09:00"))
    work_off(one, make_intake(evening))
    store(one, evening, adt("A31", c=1, phone="13911111111", m="10:00"))
    with open_work(one, actor=ACTOR, write=False) as work:
        patient_id = work.one(Patient).id

    def report() -> None:
        with open_work(other, actor=ACTOR, clock=evening) as work:
            report_death(work, patient_id=patient_id)

    pause.beside(report)

    with open_work(one, actor=ACTOR, write=False) as work:
        patient = work.one(Patient)
        assert is_revocable(patient)
        assert patient.provenance["contacts"][2] == 2
