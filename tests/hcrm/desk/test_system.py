"""The system page: what moves, what failed, what may be tried again; no patient and no secret on it."""

from dataclasses import dataclass

import pytest

from hcrm.archive.models import Patient
from hcrm.audit.models import AuditEvent
from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.delivery import count_waiting, deliver_events, handler_name
from hcrm.core.errors import HcrmError
from hcrm.core.events import Fact
from hcrm.core.work import open_work
from hcrm.scheduler.run import tick
from hcrm.scheduler.table import JOBS, Job
from tests.support.builders import make_patient


@dataclass(frozen=True)
class BellRang(Fact):
    """A fact of these tests."""

    key: str


def break_down(work, facts):
    raise HcrmError("bell.broken", "坏了")


@pytest.fixture
def admin(make_person, browser_of):
    make_person("gu", ["sysadmin"], display_name="顾工")
    return browser_of("gu")


@pytest.fixture
def parked(database, clock):
    """A fact its handler failed on until it was parked."""
    with open_work(database, actor=system_actor("test"), clock=clock) as work:
        work.emit(BellRang(key="1"))
    for _ in range(limits.EVENT_ATTEMPTS):
        deliver_events(database, {BellRang: [break_down]}, clock, system_actor("worker"))
        clock.move(seconds=limits.EVENT_RETRY_SECONDS + 1)


def test_every_job_is_named_even_before_it_ever_ran(admin):
    page = admin.get("/system").text

    for job in JOBS:
        assert job.title in page
    assert page.count("尚未运行") == len(JOBS)


def test_a_job_shows_its_last_fire_and_how_it_went(admin, database, clock):
    def fail(work):
        raise ZeroDivisionError

    jobs = (*(Job(job.name, job.title, "*/5 * * * *", None, lambda *_: 7) for job in JOBS[1:]),
            Job(JOBS[0].name, JOBS[0].title, "*/5 * * * *", fail))  # fmt: skip
    tick(database, clock, jobs)
    clock.move(minutes=5)
    tick(database, clock, jobs)
    page = admin.get("/system").text

    assert "失败 ZeroDivisionError" in page
    assert page.count("尚未运行") == 0
    assert "11-22 10:05" in page
    assert "11-22 10:00" not in page  # only the last one


def test_a_parked_event_is_listed_and_may_be_tried_again(admin, parked, database, clock):
    page = admin.get("/system").text
    assert "BellRang" in page
    assert "bell.broken" in page
    address = page.split('action="/system/deliveries/')[1].split('"')[0]

    answer = admin.post(f"/system/deliveries/{address}", {"handler": handler_name(break_down)})
    assert answer.status_code == 303
    with open_work(database, actor=system_actor("test"), clock=clock, write=False) as work:
        assert count_waiting(work) == 1
        assert work.one(AuditEvent, AuditEvent.action == "event.retry").actor_name == "顾工"
    assert "没有失败的事件" in admin.get("/system").text
    assert admin.post(f"/system/deliveries/{address}", {"handler": "x"}).status_code == 404


def test_who_may_only_look_gets_no_button(parked, make_person, browser_of):
    make_person("an", ["secadmin"])
    browser = browser_of("an")
    page = browser.get("/system").text

    assert "BellRang" in page
    assert "/system/deliveries/" not in page
    assert "/interface/" not in page


def test_the_page_names_database_and_settings_and_no_secret(admin, database):
    page = admin.get("/system").text

    assert ("SQLite" if database.is_sqlite else "PostgreSQL") in page
    assert "Asia/Shanghai" in page
    assert database.url.render_as_string(hide_password=False) not in page
    assert str(database.url.database) not in page


def test_no_patient_is_on_the_page(admin, database, clock):
    with open_work(database, actor=system_actor("test"), clock=clock) as work:
        make_patient(work, name="张建国")
        assert work.one(Patient)

    assert "张建国" not in admin.get("/system").text


@pytest.mark.parametrize("role", ["service_centre", "physician", "department_head", "auditor"])
def test_the_page_is_for_administrators(make_person, browser_of, role):
    make_person("other", [role])

    assert browser_of("other").get("/system").status_code == 403
