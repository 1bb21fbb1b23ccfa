"""The watch over the interface: traffic is counted, silence and errors open one incident, recovery closes it."""

from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa

from hcrm.audit.models import AuditEvent
from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.errors import HcrmError
from hcrm.core.work import open_work
from hcrm.inbox import holidays, monitor
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage
from hcrm.inbox.monitor import count_incidents, watch_interface
from hcrm.inbox.monitor_models import Incident, IncidentKind, MessageTraffic
from hcrm.inbox.pruning import prune_messages
from hcrm.inbox.traffic import count_traffic, counted_until, expected_messages, list_traffic
from tests.support.adt import adt
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings
from tests.support.hospital import Hospital

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings"]
ACTOR = system_actor("inbox.watch")
NOON = datetime(2026, 11, 25, 4, tzinfo=UTC)  # a Wednesday, 12:00 in Shanghai
DAYTIME = range(8, 18)  # hours of a clinic's day


def look(database: Database, clock: FixedClock) -> int:
    """What the two jobs do, each as often as it finds something."""
    for function in (count_traffic, watch_interface):
        for _ in range(200):
            with open_work(database, actor=ACTOR, clock=clock) as work:
                changed = function(work)
            if not changed:
                break
    return changed


def incidents(database: Database, *where) -> list[Incident]:
    with open_work(database, actor=ACTOR, write=False) as work:
        return sorted(work.all(Incident, *where), key=lambda row: row.opened_at)


def learn(database: Database, until: datetime, *, weeks: int, per_hour: int = 24, weekend: int = 0) -> None:
    """Traffic of a source that sends by day, as the job would have counted it."""
    rows = []
    slot = until - timedelta(weeks=weeks)
    while slot < until:
        local = slot + timedelta(hours=8)
        number = (weekend if local.weekday() >= 5 else per_hour) // 12
        if local.hour in DAYTIME and number:
            rows.append(
                {"source": "default", "slot_at": slot, "received": number, "parked": 0, "lag_seconds": 0.1}
            )
        slot += timedelta(minutes=5)
    with open_work(database, actor=ACTOR) as work:
        work.insert(MessageTraffic, rows)
        work.insert(InboxApplication, [application(1, ApplicationState.APPLIED, until)])


def application(seq: int, state: ApplicationState, at: datetime, **values) -> dict:
    return {
        "seq": seq, "lane": 1, "state": state, "reason": None, "flags": "", "kind": "ADT^A01", "source": "default",
        "attempts": 1, "taken_up_at": at, "applied_at": at, **values,
    }  # fmt: skip


def watch(database: Database, at: datetime) -> int:
    with open_work(database, actor=ACTOR, clock=FixedClock(at)) as work:
        return watch_interface(work)


# ── traffic ─────────────────────────────────────────────────────────────────


def test_traffic_is_counted_by_slot_and_again_once_the_worker_caught_up(database, clock):
    with Hospital(database, clock) as hospital:
        hospital.receive(adt("A01", c=1), adt("A03", c=2, PV1_45="20260230120000"))
        clock.move(minutes=10)
        hospital.send(adt("A08", c=3))
        clock.move(minutes=2)
        look(database, clock)
        with hospital.look() as work:
            rows = work.all(MessageTraffic)
            assert {(row.source, row.received, row.parked) for row in rows} == {("default", 2, 1), ("", 1, 0)}
            assert max(row.lag_seconds for row in rows) == pytest.approx(120, abs=1)
        hospital.settle()
        clock.move(minutes=50)
        look(database, clock)
        with hospital.look() as work:
            assert sorted((row.source, row.received) for row in work.all(MessageTraffic) if row.received) == [
                ("default", 1), ("default", 2),
            ]  # fmt: skip


def test_what_just_came_is_on_the_plot_before_the_job_has_counted_it(database, clock):
    with Hospital(database, clock) as hospital:
        for counted in (0, 1):  # before the first count, and after one
            hospital.receive(adt("A28", c=counted, p=counted + 1))
            with hospital.look() as work:
                _, steps = list_traffic(work, hours=24, step=timedelta(minutes=15))
                assert counted_until(work) is None
            assert sum(step.received.get("default", 0) for step in steps) == counted + 1
            look(database, clock)
        clock.move(minutes=20)
        hospital.receive(adt("A28", c="missed", p=3))
        clock.move(minutes=40)
        with hospital.look() as work:
            assert counted_until(work) is not None


def test_a_message_a_person_sends_its_way_again_is_no_lag_of_ours(database, clock):
    with Hospital(database, clock) as hospital:
        hospital.receive(adt("A03", c=1, PV1_45="20260230120000"))
        clock.move(minutes=14)
        hospital.replay()
        look(database, clock)
        with hospital.look() as work:
            assert max(row.lag_seconds for row in work.all(MessageTraffic)) < 60


def test_counting_goes_on_after_a_pause_of_days_and_ends(database, clock):
    with Hospital(database, clock) as hospital:
        hospital.receive(adt("A28", c=1, p=1))
        look(database, clock)
        clock.move(days=9)
        hospital.receive(adt("A28", c=2, p=2))
        look(database, clock)
        with hospital.look() as work:
            assert work.scalar(sa.select(sa.func.sum(MessageTraffic.received))) == 2


def test_pruning_takes_nothing_from_what_was_counted(database, clock):
    with Hospital(database, clock) as hospital:
        hospital.receive(adt("A28", c=1, p=1))
        look(database, clock)
        clock.move(days=40)
        prune_messages(database, actor=ACTOR, clock=clock, keep_days=30)
        look(database, clock)
        with hospital.look() as work:
            assert work.scalar(sa.select(sa.func.sum(MessageTraffic.received))) == 1


def test_a_plot_has_every_step_also_those_without_a_message(database):
    learn(database, NOON, weeks=1)
    with open_work(database, actor=ACTOR, clock=FixedClock(NOON), write=False) as work:
        sources, steps = list_traffic(work, hours=24, step=timedelta(minutes=15))
    assert list(sources) == ["default"]
    assert 95 <= len(steps) <= 97
    # The last slot is counted anew, and no message lies there.
    assert sum(step.received.get("default", 0) for step in steps) == pytest.approx(240, abs=9)


# ── silence ─────────────────────────────────────────────────────────────────


def test_silence_opens_one_incident_and_a_message_closes_it(database):
    learn(database, NOON, weeks=3)
    assert watch(database, NOON + timedelta(minutes=20)) == 0
    assert watch(database, NOON + timedelta(minutes=31)) == 1
    for minutes in (36, 60, 600, 6000):
        assert watch(database, NOON + timedelta(minutes=minutes)) == 0
    (incident,) = incidents(database)
    assert (incident.kind, incident.source, incident.closed_at) == (IncidentKind.SILENCE, "default", None)
    assert incident.detail["expected"] >= limits.SILENCE_MESSAGES

    later = NOON + timedelta(days=5)
    with open_work(database, actor=ACTOR) as work:
        work.insert(
            MessageTraffic,
            [{"source": "default", "slot_at": later, "received": 1, "parked": 0, "lag_seconds": 0.0}],
        )
    assert watch(database, later + timedelta(minutes=6)) == 1
    assert incidents(database)[0].closed_at == later + timedelta(minutes=6)


def test_the_night_is_not_silence(database):
    evening = NOON.replace(hour=10)  # 18:00 in Shanghai
    learn(database, evening, weeks=3)
    for hour in range(1, 14):
        assert watch(database, evening + timedelta(hours=hour)) == 0


def test_the_weekend_of_a_clinic_is_not_silence(database):
    friday = datetime(2026, 11, 27, 10, tzinfo=UTC)
    learn(database, friday, weeks=4)
    for hour in range(0, 62, 3):
        assert watch(database, friday + timedelta(hours=hour)) == 0
    assert watch(database, friday + timedelta(hours=64)) == 1  # Monday, 10:00


@pytest.mark.parametrize("weeks", [0, 1])
def test_nothing_is_judged_before_two_weeks_are_known(database, weeks):
    learn(database, NOON, weeks=weeks)
    for hours in (1, 4, 40):
        assert watch(database, NOON + timedelta(hours=hours)) == 0


def test_a_day_off_expects_no_more_than_a_sunday(database, monkeypatch):
    learn(database, NOON, weeks=4, weekend=12)
    until = NOON + timedelta(hours=2)
    with open_work(database, actor=ACTOR, write=False) as work:
        usual = expected_messages(work, "default", NOON, until, frozenset())
        on_holiday = expected_messages(work, "default", NOON, until, {date(2026, 11, 25)})
        after_one = expected_messages(work, "default", NOON, until, {date(2026, 11, 18)})
    assert usual == pytest.approx(48)
    assert on_holiday == pytest.approx(12)
    assert after_one == pytest.approx(48)

    monkeypatch.setattr(monitor, "load_holidays", lambda: frozenset({date(2026, 11, 25)}))
    assert watch(database, NOON + timedelta(hours=1)) == 0


def test_the_shipped_days_off_can_be_read_and_a_slip_is_said(tmp_path):
    assert date(2026, 10, 1) in holidays.load_holidays()
    file = tmp_path / "holidays.yaml"
    file.write_text("- 2026-13-01\n", encoding="utf-8")
    with pytest.raises(HcrmError, match=r"holidays\.yaml"):
        holidays.load_holidays(file)
    assert holidays.load_holidays(tmp_path / "none.yaml") == frozenset()


# ── errors and unknown events ───────────────────────────────────────────────


def fill(
    database: Database, at: datetime, *, applied: int, parked: int, reason: str = "no_pid", first: int = 1
) -> None:
    numbers = range(first, first + applied + parked)
    messages = [
        {"seq": n, "sender": "HIS", "facility": "H1", "control_id": str(n), "sha256": n.to_bytes(32), "kind": "ADT^A01",
         "format": "hl7v2", "raw": b"x", "ack": b"", "peer": "", "flags": "", "received_at": at}
        for n in numbers
    ]  # fmt: skip
    with database.inbox.execution_options(hcrm_write=True).begin() as connection:
        connection.execute(sa.insert(InboxMessage), messages)
    with open_work(database, actor=ACTOR) as work:
        work.insert(
            InboxApplication,
            [
                application(n, ApplicationState.PARKED, at, reason=reason) if n - first < parked
                else application(n, ApplicationState.APPLIED, at)
                for n in numbers
            ],
        )  # fmt: skip


def test_a_share_of_parked_messages_opens_one_incident_and_closes_when_it_falls(database):
    clock = FixedClock(NOON)
    fill(database, NOON - timedelta(minutes=10), applied=30, parked=10)
    look(database, clock)
    clock.move(minutes=5)
    look(database, clock)
    (incident,) = incidents(database)
    assert (incident.kind, incident.detail) == (IncidentKind.ERRORS, {"parked": 10, "received": 40})
    fill(database, NOON - timedelta(minutes=10), applied=0, parked=3, first=60)
    look(database, clock)
    (incident,) = incidents(database)
    assert incident.detail == {"parked": 13, "received": 43}  # as it stands now, not as it began

    clock.move(minutes=50)
    fill(database, clock.now() - timedelta(minutes=2), applied=60, parked=2, first=100)
    look(database, clock)
    assert incidents(database)[0].closed_at == clock.now()


def test_few_messages_are_no_rate(database):
    fill(database, NOON - timedelta(minutes=10), applied=2, parked=5)
    look(database, FixedClock(NOON))
    assert incidents(database) == []


def unknown(event: str, c: int) -> bytes:
    return adt("A28", c=c).replace(b"ADT^A28^ADT_A05", f"ADT^{event}".encode())


def test_an_unknown_event_is_alarmed_once_per_source_and_event_until_none_is_parked(database, clock):
    with Hospital(database, clock) as hospital:
        hospital.receive(unknown("A60", 1), unknown("A60", 2), unknown("A61", 3))
        look(database, clock)
        look(database, clock)
        assert sorted(row.subject for row in incidents(database)) == ["ADT^A60", "ADT^A61"]
        with open_work(database, actor=ACTOR) as work:
            work.execute(
                sa.update(InboxApplication)
                .where(InboxApplication.kind == "ADT^A60")
                .values(state=ApplicationState.IGNORED)
            )
        look(database, clock)
        assert [row.subject for row in incidents(database, Incident.closed_at.is_(None))] == ["ADT^A61"]


def test_a_sender_that_invents_events_fills_no_list(database, monkeypatch):
    monkeypatch.setattr(limits, "UNKNOWN_EVENTS", 2)
    with open_work(database, actor=ACTOR) as work:
        work.insert(
            InboxApplication,
            [
                application(
                    n, ApplicationState.PARKED, NOON, reason="event_not_supported", kind=f"ADT^Z{n:02}"
                )
                for n in range(1, 9)
            ],
        )
    watch(database, NOON)
    found = incidents(database)
    assert sorted(row.subject for row in found) == ["ADT^Z01", "ADT^Z02", "其他"]
    assert sum(row.detail["parked"] for row in found) == 8


# ── pages ───────────────────────────────────────────────────────────────────


def test_an_incident_is_counted_in_the_menu_until_somebody_acknowledges_it(database, browser_of, make_person):
    make_person("wang")
    make_person("dong", roles=["director"])
    learn(database, NOON, weeks=3)
    watch(database, NOON + timedelta(hours=2))
    browser = browser_of("wang")
    shown = browser.get("/interface/incidents").text
    assert "长时间没有消息" in shown
    assert "按往常应有约" in shown
    assert "1<span" in shown
    assert "个未确认的告警" not in browser_of("dong").get("/patients").text

    (incident,) = incidents(database)
    address = f"/interface/incidents/{incident.id}/acknowledge"
    assert browser.post(address, {"note": ""}).status_code == 422
    assert browser.post(address, {"note": "接口平台在升级"}).status_code == 303
    shown = browser.get("/interface/incidents?state=open").text
    assert "接口平台在升级" in shown
    assert "个未确认的告警" not in shown
    with open_work(database, actor=ACTOR, write=False) as work:
        assert count_incidents(work) == 0
        assert len(work.all(AuditEvent, AuditEvent.action == "incident.handle")) == 1


def test_sources_show_how_they_stand_and_warn_without_a_cut_over(database, clock, browser_of, make_person):
    make_person("wang")
    with Hospital(database, clock) as hospital:
        hospital.receive(adt("A01", c=1), adt("A03", c=2, PV1_45="20260230120000"))
    look(database, clock)
    shown = browser_of("wang").get("/interface/sources").text
    assert "未登记来源" in shown
    assert "没有设切换时间" in shown
    overview = browser_of("wang").get("/interface/overview").text
    assert "收到的消息" in overview
    assert "处理延迟" in overview
