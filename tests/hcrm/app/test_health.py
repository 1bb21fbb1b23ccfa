"""What the machine that watches us may ask, and what it may not learn."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from hcrm.accounts.service import create_token
from hcrm.app import health
from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.work import open_work
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage

ELSEWHERE = {"REMOTE_ADDR": "10.0.0.9"}


@pytest.fixture
def receive(database, clock):
    """Store a message as the listener does, received that long ago; taken up when a state is given."""

    def store(seconds: float, state: ApplicationState | None = None) -> None:
        row = {
            "sender": "HIS", "facility": "H1", "control_id": f"c{seconds}", "sha256": b"x", "kind": "ADT^A03",
            "format": "hl7v2", "raw": b"x", "ack": b"x", "peer": "p", "flags": "",
            "received_at": clock.now() - timedelta(seconds=seconds),
        }  # fmt: skip
        with database.inbox.begin() as connection:
            seq = connection.execute(
                sa.insert(InboxMessage).returning(InboxMessage.__table__.c.seq), row
            ).scalar_one()
        if state is None:
            return
        with database.writer.begin() as connection:
            connection.execute(
                sa.insert(InboxApplication),
                {"seq": seq, "lane": 1, "state": state, "kind": "ADT^A03", "source": "x", "taken_up_at": clock.now(),
                 "attempts": 0, "flags": ""},
            )  # fmt: skip

    return store


def test_livez_answers_without_the_database(app, browser_of, database):
    database.dispose()

    assert browser_of().get("/livez").text == "ok\n"


def test_readyz_is_green_on_an_idle_database(browser_of):
    answer = browser_of().get("/readyz")

    assert answer.status_code == 200
    assert answer.json == {"ready": True, "database": True, "disk": True, "lag": True, "room": True}


def test_readyz_tries_a_write_and_leaves_nothing(browser_of, database, monkeypatch):
    def refuse(_database):
        raise sa.exc.OperationalError("x", {}, Exception("read-only"))

    monkeypatch.setattr(health, "_is_writable", refuse)

    answer = browser_of().get("/readyz")

    assert (answer.status_code, answer.json["database"]) == (503, False)
    assert "read-only" not in answer.text


@pytest.mark.parametrize("state", [None, ApplicationState.WAITING])
def test_readyz_turns_red_when_a_message_waits_too_long(browser_of, receive, state):
    receive(limits.READY_LAG_SECONDS - 1, state)
    assert browser_of().get("/readyz").json["lag"]

    receive(limits.READY_LAG_SECONDS + 1, state)

    assert browser_of().get("/readyz").status_code == 503


def test_a_parked_message_does_not_wait(browser_of, receive):
    receive(10_000, ApplicationState.PARKED)
    receive(9_000, ApplicationState.APPLIED)

    assert browser_of().get("/readyz").json["lag"]


def test_readyz_turns_red_before_the_disk_is_full(browser_of, monkeypatch):
    monkeypatch.setattr(health, "_free_bytes", lambda _database: limits.READY_FREE_BYTES - 1)

    assert browser_of().get("/readyz").json["disk"] is False


def test_readyz_turns_red_once_the_listener_stops_reading_and_green_when_it_goes_on(
    browser_of, receive, monkeypatch
):
    monkeypatch.setattr(limits, "PENDING_LIMIT", 2)
    receive(3, ApplicationState.WAITING)
    receive(2, ApplicationState.WAITING)
    assert browser_of().get("/readyz").json["room"]

    receive(1, None)

    answer = browser_of().get("/readyz")
    assert (answer.status_code, answer.json["room"]) == (503, False)


def test_metrics_count_messages_by_state_and_requests_by_endpoint(browser_of, receive, make_person):
    make_person("wang")
    receive(60, ApplicationState.WAITING)
    receive(30, ApplicationState.PARKED)
    browser_of("wang").get("/account/password")

    text = browser_of().get("/metrics").text

    assert 'hcrm_inbox_messages{state="waiting"} 1.0' in text
    assert 'hcrm_inbox_messages{state="parked"} 1.0' in text
    assert "hcrm_inbox_oldest_waiting_seconds 60.0" in text
    assert 'hcrm_http_requests_total{endpoint="accounts.change_password",status="200"}' in text
    assert "hcrm_sessions 1.0" in text
    assert "wang" not in text


def test_metrics_from_elsewhere_need_a_token_for_metrics(browser_of, database, clock):
    with open_work(database, actor=system_actor("test"), clock=clock) as work:
        right = create_token(work, name="prometheus", scopes=["metrics.read"])
        wrong = create_token(work, name="engine", scopes=["fhir.read"])
    browser = browser_of()

    def ask(token=None, **options):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return browser.get("/metrics", headers=headers | options.pop("headers", {}), **options).status_code

    assert ask(environ_base=ELSEWHERE) == 401
    assert ask("made up", environ_base=ELSEWHERE) == 401
    assert ask(wrong, environ_base=ELSEWHERE) == 403
    assert ask(right, environ_base=ELSEWHERE) == 200
    assert ask(headers={"X-Forwarded-For": "10.0.0.9"}) == 401, "a proxy on this machine is not the caller"
