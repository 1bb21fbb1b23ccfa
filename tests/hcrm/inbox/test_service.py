"""The worker: order kept, poison parked alone, nothing applied twice, whoever else works beside it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from adapters.his.mapping import map_message
from hcrm.archive.models import Patient, PatientIdentifier
from hcrm.archive.records import AddressRecord, Change, Mapped
from hcrm.archive.visit_models import Encounter, EncounterStatus, VisitEvent, VisitEventKind
from hcrm.core import limits
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.sources import Sources
from hcrm.core.work import open_work
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage
from hcrm.inbox.queries import count_messages, is_idle
from hcrm.inbox.service import park_expired_holds, process_messages, replay_messages
from hcrm.inbox.take_up import Intake, Mapper, take_up
from tests.support.adt import adt
from tests.support.messages import ACTOR, SOURCES, applications, make_intake, run_workers, store, work_off


@pytest.fixture
def evening(clock: FixedClock) -> FixedClock:
    clock.move(hours=13)
    return clock


@pytest.fixture
def intake(evening: FixedClock) -> Intake:
    return make_intake(evening)


def count(database: Database, model: type) -> int:
    with open_work(database, actor=ACTOR, write=False) as work:
        return int(work.scalar(sa.select(sa.func.count()).select_from(model)))


# ── poison ──────────────────────────────────────────────────────────────────


def spoiled(control_id: str) -> Mapper:
    """Reads every message well but for one, whose record nobody can write."""

    def read(raw: bytes, sources: Sources, received_at: datetime) -> Mapped:
        mapped = map_message(raw, sources, received_at)
        if f"|{control_id}|P|".encode() in raw:
            assert isinstance(mapped.result, Change)
            assert mapped.result.patient is not None
            unwritable = replace(mapped.result.patient, addresses=(AddressRecord("home", "\ud800"),))
            return replace(mapped, result=replace(mapped.result, patient=unwritable))
        return mapped

    return read


def test_one_poisoned_message_of_a_thousand_is_parked_alone_after_its_last_attempt(database, evening):
    store(database, evening, *(adt("A28", c=n, p=n) for n in range(1, 1_001)))
    work_off(database, make_intake(evening, spoiled("500")))

    rows = applications(database)
    parked = [row for row in rows if row.state is ApplicationState.PARKED]
    assert [(row.seq, row.reason, row.detail, row.attempts) for row in parked] == [
        (500, "error", "UnicodeEncodeError", limits.APPLY_ATTEMPTS)
    ]
    assert sum(row.state is ApplicationState.APPLIED for row in rows) == 999
    assert count(database, Patient) == 999


def test_messages_behind_a_poisoned_one_wait_for_it_only_in_its_own_lane(database, evening):
    store(
        database, evening, adt("A28", c="bad", p=100), adt("A28", c="behind", p=100, m="10:05"),
        adt("A28", c="beside", p=200),
    )  # fmt: skip
    intake = make_intake(evening, spoiled("bad"))
    assert lane_of(database, intake, "bad") != lane_of(database, intake, "beside")

    process_messages(database, intake)
    assert [row.state for row in applications(database)] == [
        ApplicationState.WAITING, ApplicationState.WAITING, ApplicationState.APPLIED]  # fmt: skip

    work_off(database, intake)
    assert [row.state for row in applications(database)] == [
        ApplicationState.PARKED, ApplicationState.APPLIED, ApplicationState.APPLIED]  # fmt: skip


def lane_of(database: Database, intake: Intake, control_id: str) -> int:
    with open_work(database, actor=ACTOR, clock=intake.clock) as work:
        take_up(work, intake)
        return work.one(
            InboxApplication,
            InboxApplication.seq.in_(
                sa.select(InboxMessage.seq).where(InboxMessage.control_id == control_id)
            ),
        ).lane


def test_a_parked_message_replayed_thrice_has_one_effect(database, evening):
    store(database, evening, adt("A01", c="bad", o="10:00"), adt("A03", c=2, o="12:00"))
    work_off(database, make_intake(evening, spoiled("bad")))
    mended = make_intake(evening)

    for _ in range(3):
        with open_work(database, actor=ACTOR, clock=evening) as work:
            assert replay_messages(work, seqs=[1]) == 1
        work_off(database, mended)

    assert [row.state for row in applications(database)] == [ApplicationState.APPLIED] * 2
    assert (count(database, Patient), count(database, Encounter), count(database, VisitEvent)) == (1, 1, 2)


def test_a_message_that_breaks_the_reader_is_parked_at_once_without_its_words(database, evening):
    def broken(raw: bytes, sources: Sources, received_at: datetime) -> Mapped:
        if b"|2|P|" in raw:
            raise ValueError("张三 13800000001")
        return map_message(raw, sources, received_at)

    store(database, evening, *(adt("A28", c=n, p=n) for n in (1, 2, 3)))
    work_off(database, make_intake(evening, broken))

    rows = applications(database)
    assert [row.state for row in rows] == [
        ApplicationState.APPLIED, ApplicationState.PARKED, ApplicationState.APPLIED]  # fmt: skip
    assert (rows[1].reason, rows[1].detail) == ("unreadable", "ValueError")


def test_a_format_nobody_reads_is_parked(database, evening):
    store(database, evening, adt("A28"))
    work_off(database, Intake({}, SOURCES, ACTOR, evening))

    assert [(row.state, row.reason) for row in applications(database)] == [
        (ApplicationState.PARKED, "format_not_supported")]  # fmt: skip


# ── the database at fault ───────────────────────────────────────────────────


class FailingClock(FixedClock):
    """Does something while the worker is about to apply what it has claimed."""

    def __init__(self, moment: datetime, do: Callable[[], None]) -> None:
        super().__init__(moment)
        self.do: Callable[[], None] | None = do
        self.asked = 0

    def now(self) -> datetime:
        self.asked += 1
        if self.asked == 2 and self.do:  # taken up; now claimed
            self.do()
        return super().now()


@contextmanager
def database_that_fails(database: Database) -> Iterator[Callable[[], None]]:
    """What makes the next statement fail: the disk is full, or the server ends our session."""
    if database.is_sqlite:
        with database.writer.connect() as connection:
            raw = connection.connection.driver_connection
            pages = raw.execute("PRAGMA page_count").fetchone()[0]
        yield lambda: raw.execute(f"PRAGMA max_page_count = {pages}")
        raw.execute("PRAGMA max_page_count = 1073741823")
    else:

        def end_sessions() -> None:
            with database.main.connect() as connection:
                connection.execute(
                    sa.text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                )

        yield end_sessions


def test_a_failure_of_the_database_is_nobodys_attempt(database, evening):
    store(database, evening, *(adt("A01", c=n, p=n, v=f"V{n}") for n in range(1, 101)))
    with database_that_fails(database) as fail:
        intake = make_intake(FailingClock(evening.now(), fail))
        with pytest.raises(sa.exc.OperationalError):
            process_messages(database, intake)
    assert {(row.state, row.attempts) for row in applications(database)} == {(ApplicationState.WAITING, 0)}

    work_off(database, make_intake(evening))
    assert {(row.state, row.attempts) for row in applications(database)} == {(ApplicationState.APPLIED, 1)}
    assert count(database, Patient) == 100


# ── held cancels ────────────────────────────────────────────────────────────


def test_a_held_cancel_is_let_loose_by_its_visit_and_by_nothing_else(database, evening, intake):
    store(database, evening, adt("A11", c=1, m="10:10"), adt("A08", c=2, m="10:05"), adt("A01", c=3, v="V2"))
    work_off(database, intake)
    first = applications(database)[0]
    assert (first.state, first.reason, first.attempts) == (ApplicationState.HELD, "event_not_known_yet", 1)

    store(database, evening, adt("A01", c=4, v="V1", m="10:00"))
    work_off(database, intake)

    assert {row.state for row in applications(database)} == {ApplicationState.APPLIED}
    with open_work(database, actor=ACTOR, write=False) as work:
        visit = work.one(Encounter, Encounter.visit_no == "V1")
        assert visit.status is EncounterStatus.CANCELLED
        assert applications(database)[0].became_encounter_id == visit.id


def test_an_update_of_an_unknown_visit_is_applied_and_read_again_only_when_the_visit_opens(
    database, evening, intake
):
    store(database, evening, adt("A08", c=1, m="10:05"), adt("A08", c=2, m="10:06"))
    work_off(database, intake)
    assert [(row.state, row.attempts, row.visit_key is None) for row in applications(database)] == [
        (ApplicationState.APPLIED, 1, False)] * 2  # fmt: skip

    store(
        database, evening, adt("A08", c=3, m="10:07"), adt("A01", c=4, m="10:00"), adt("A08", c=5, m="10:08")
    )
    work_off(database, intake)
    assert {row.visit_key for row in applications(database)} == {None}
    assert [row.attempts for row in applications(database)] == [2, 2, 1, 1, 1]


def test_a_hold_ends_after_a_day_and_not_before(database, evening, intake):
    store(database, evening, adt("A13", c=1, v="V9"))
    work_off(database, intake)

    evening.move(seconds=limits.HOLD_SECONDS - 1)
    assert expire(database, evening) == 0
    evening.move(seconds=2)
    assert expire(database, evening) == 1
    (row,) = applications(database)
    assert (row.state, row.reason) == (ApplicationState.PARKED, "event_never_came")
    assert expire(database, evening) == 0


def test_a_hold_that_is_replayed_has_its_day_again(database, evening, intake):
    store(database, evening, adt("A13", c=1, v="V9"))
    work_off(database, intake)
    evening.move(seconds=limits.HOLD_SECONDS + 1)
    assert expire(database, evening) == 1

    with open_work(database, actor=ACTOR, clock=evening) as work:
        replay_messages(work, seqs=[1])
    work_off(database, intake)
    evening.move(seconds=limits.HOLD_SECONDS - 1)
    assert expire(database, evening) == 0
    assert applications(database)[0].state is ApplicationState.HELD
    evening.move(seconds=2)
    assert expire(database, evening) == 1


def expire(database: Database, clock: FixedClock) -> int:
    with open_work(database, actor=ACTOR, clock=clock) as work:
        return park_expired_holds(work)


def test_held_and_parked_messages_do_not_count_as_waiting(database, evening, intake):
    store(database, evening, adt("A13", c=1, v="V9"), adt("A40", c=2))
    work_off(database, intake)

    with open_work(database, actor=ACTOR, write=False) as work:
        assert is_idle(work)
        counts = count_messages(work)
    assert (counts.received, counts.held, counts.parked) == (2, 1, 1)


# ── the same again ──────────────────────────────────────────────────────────


def test_a_sender_that_never_counts_loses_nobody(database, evening, intake):
    """A4: five hundred patients under one MSH-10."""
    messages = [adt("A28", c="0", p=n) for n in range(1, 501)]
    store(database, evening, *messages)
    store(database, evening, *messages)
    work_off(database, intake)

    assert count(database, InboxMessage) == count(database, Patient) == 500
    assert [row.flags for row in applications(database)] == ["", *["control_id_reused"] * 499]


def test_ten_thousand_messages_sent_again_are_no_new_effects(database, evening, intake):
    """A4, with a tenth of the messages ten times."""
    messages = [adt("A28", c=n, p=n % 50 + 1) for n in range(200)]
    for _ in range(10):
        store(database, evening, *messages)
    work_off(database, intake)

    assert count(database, InboxMessage) == 200
    assert {(row.state, row.attempts) for row in applications(database)} == {(ApplicationState.APPLIED, 1)}


# ── order, and others at work ───────────────────────────────────────────────


def comings_and_goings(patient: int, messages: int) -> list[bytes]:
    """One patient's stay, discharged and reopened again and again."""
    start = datetime(2026, 11, 22, 1)  # noqa: DTZ001  written with its zone below
    events = ["A01", *(["A03", "A13"] * messages)][:messages]
    return [
        adt(event, c=f"{patient}-{n}", p=patient, v=f"V{patient}",
            m=f"{start + timedelta(minutes=n):%Y%m%d%H%M%S}+0000")
        for n, event in enumerate(events)
    ]  # fmt: skip


def interleaved(feeds: Sequence[Sequence[bytes]]) -> list[bytes]:
    return [raw for messages in zip(*feeds, strict=True) for raw in messages]


@pytest.mark.postgresql
def test_two_workers_keep_each_patients_order(two_databases, evening):
    database, patients, messages = two_databases[0], 12, 13
    store(database, evening, *interleaved([comings_and_goings(p, messages) for p in range(1, patients + 1)]))
    with open_work(database, actor=ACTOR, clock=evening) as work:
        take_up(work, make_intake(evening))
    run_workers(two_databases, evening)

    assert {(row.state, row.attempts) for row in applications(database)} == {(ApplicationState.APPLIED, 1)}
    with open_work(database, actor=ACTOR, write=False) as work:
        visits = work.all(Encounter)
        assert {visit.status for visit in visits} == {EncounterStatus.IN_PROGRESS}
        for visit in visits:
            log = sorted(work.all(VisitEvent, VisitEvent.encounter_id == visit.id), key=lambda row: row.id)
            assert [row.seq for row in log] == sorted(row.seq for row in log)
            assert len(log) == messages


def test_a_merge_is_not_overtaken_by_what_came_after_it(database, evening):
    """A5 and B30: whoever works in one of its lanes waits for it."""
    rounds = 12
    feed = []
    for n in range(rounds):
        old, new = 1_000 + n, 2_000 + n
        feed += [
            adt("A28", c=f"{n}-1", p=old, m="09:00"), adt("A28", c=f"{n}-2", p=new, m="09:01"),
            adt("A40", c=f"{n}-3", p=new, mrg=old, m="10:00"),
            adt("A01", c=f"{n}-4", p=old, v=f"V{n}", m="11:00"), adt("A01", c=f"{n}-5", p=new, v=f"W{n}", m="11:30"),
        ]  # fmt: skip
    store(database, evening, *feed)
    run_workers([database] if database.is_sqlite else [database] * 2, evening)

    rows = applications(database)
    assert {row.state for row in rows} == {ApplicationState.APPLIED}
    late = [row for row in rows if "late_under_merged_id" in row.flags]
    assert len(late) == rounds
    with open_work(database, actor=ACTOR, write=False) as work:
        living = {row.id for row in work.all(Patient, Patient.merged_into_id.is_(None))}
        assert len(living) == rounds
        assert {row.patient_id for row in work.all(Encounter)} == living
        assert {row.patient_id for row in work.all(PatientIdentifier)} == living


@pytest.mark.postgresql
def test_a_lane_in_other_hands_bars_the_merge_and_all_behind_it(postgresql, evening, intake):
    database = postgresql
    store(
        database, evening, adt("A28", c=1, p=200, m="09:00"), adt("A40", c=2, p=200, mrg=100, m="10:00"),
        adt("A28", c=3, p=200, m="11:00"), adt("A28", c=4, p=300, m="11:00"),
    )  # fmt: skip
    with open_work(database, actor=ACTOR, clock=evening) as work:
        take_up(work, intake)
    merge = applications(database)[1]
    assert merge.other_lanes is not None
    with database.main.connect() as other:
        other.execute(sa.text("SELECT pg_advisory_xact_lock(4802, :lane)"), {"lane": merge.other_lanes[0]})
        process_messages(database, intake)
        assert [row.state for row in applications(database)] == [
            ApplicationState.APPLIED, ApplicationState.WAITING, ApplicationState.WAITING,
            ApplicationState.APPLIED,
        ]  # fmt: skip
    work_off(database, intake)
    assert {row.state for row in applications(database)} == {ApplicationState.APPLIED}


def test_one_message_has_one_event_however_often_the_worker_looks(database, evening, intake):
    store(database, evening, adt("A01", c=1))
    for _ in range(3):
        process_messages(database, intake)

    with open_work(database, actor=ACTOR, write=False) as work:
        (event,) = work.all(VisitEvent)
    assert event.kind is VisitEventKind.ADMIT
