"""The interface console in Chromium: its pages at two widths, a correction made by hand, plots under the policy."""

from datetime import timedelta

import pytest
from playwright.sync_api import expect

from hcrm.core.actor import system_actor
from hcrm.core.work import open_work
from hcrm.inbox.monitor_models import Incident, IncidentKind, MessageTraffic
from hcrm.inbox.traffic import slot_of
from tests.support.adt import adt
from tests.support.hospital import Hospital

DESK = {"width": 1280, "height": 720}
PHONE = {"width": 390, "height": 844}
LONG = "买买提·阿不都热依木·艾尼瓦尔·吐尔逊江·玉素甫艾山"
BAD, GOOD = "20260230120000", "20261122093000"


@pytest.fixture
def hospital(database, clock, app):
    """One admission, one discharge nobody can read, an hour of traffic and two incidents."""
    with Hospital(database, clock) as hospital:
        hospital.receive(
            adt("A01", c=1, name=f"{LONG}^"), adt("A03", c="c" * 60, name=f"{LONG}^", PV1_45=BAD)
        )
        hospital.send(adt("A01", c="refused").replace(b"|P|2.5.1", b"|X|2.5.1"))
        now = clock.now()
        with open_work(database, actor=system_actor("test"), clock=clock) as work:
            work.insert(
                MessageTraffic,
                [
                    {"source": source, "slot_at": slot_of(now - timedelta(minutes=5 * n)), "received": n + 1,
                     "parked": n % 3, "lag_seconds": n / 10}
                    for n in range(12) for source in ("default", "lis")
                ],
            )  # fmt: skip
            work.insert(
                Incident,
                [
                    {"id": work.new_id(), "kind": kind, "source": "lis", "subject": subject, "opened_at": now,
                     "closed_at": None, "detail": detail, "acknowledged_at": None, "acknowledged_by": None,
                     "acknowledged_by_name": None, "note": None}
                    for kind, subject, detail in (
                        (IncidentKind.SILENCE, "", {"expected": 40, "last_at": now.isoformat()}),
                        (IncidentKind.UNSUPPORTED, "ADT^A60", {"parked": 3}),
                    )
                ],
            )  # fmt: skip
        yield hospital


PAGES = (
    "/interface/messages", "/interface/messages?state=held", "/interface/overview", "/interface/overview?span=7d",
    "/interface/incidents", "/interface/sources", "/interface/refused", "/interface/refused/1",
    "/interface/messages/2", "/interface/messages/2/correct", "/interface/messages/replay?state=parked",
)  # fmt: skip


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)  # a page looks alike on both
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_pages_fit_their_screen_and_axe_finds_no_fault(page_of, make_person, hospital, size):
    from axe_playwright_python.sync_playwright import Axe  # only here

    axe = Axe()
    make_person("wang")
    page = page_of("wang")
    page.set_viewport_size(size)
    for path in PAGES:
        page.goto(path)
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), path
        found = axe.run(page).response["violations"]
        assert [(fault["id"], fault["nodes"][0]["html"]) for fault in found] == [], path


def test_a_segment_is_opened_and_a_copy_corrected_with_the_keyboard(page_of, make_person, hospital):
    make_person("wang")
    page = page_of("wang")
    page.goto("/interface/messages/2")
    expect(page.locator("details[open] tr.wrong")).to_contain_text("出院时间")
    segment = page.locator("details", has_text="患者标识")
    expect(segment.get_by_text("PID-5")).to_be_hidden()
    segment.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(segment.get_by_text("PID-5")).to_be_visible()

    page.get_by_text("更正副本").click()
    text = page.locator("#f-text")
    text.fill(text.input_value().replace(BAD, GOOD))
    page.fill("#f-reason", "日期写错")
    page.keyboard.press("Control+Enter")
    expect(page.locator("ins")).to_have_text(GOOD)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#flashes")).to_contain_text("已存入更正副本 3")
    hospital.settle()
    assert hospital.visit("V1").discharged_at is not None


def test_plots_are_drawn_and_their_tables_say_the_same(page_of, make_person, hospital):
    make_person("wang")
    page = page_of("wang")
    page.goto("/interface/overview")
    expect(page.locator(".plot canvas")).to_have_count(3)
    page.locator("summary").first.click()
    expect(page.locator("table").first).to_contain_text("lis")
    box = page.locator(".plot").first.bounding_box()
    page.mouse.move(
        box["x"] + box["width"] - 40, box["y"] + 80
    )  # the tip: under the policy, without a complaint
    page.set_viewport_size(PHONE)


def test_an_incident_is_acknowledged_on_a_phone(page_of, make_person, hospital):
    make_person("wang")
    page = page_of("wang")
    page.set_viewport_size(PHONE)
    page.goto("/interface/incidents")
    page.locator("input[name=note]:visible").first.fill("已通知对方")
    page.locator("button:visible", has_text="确认").first.click()
    expect(page.locator("#flashes")).to_contain_text("已确认")
