"""接口 › 对账 in Chromium: its pages at two widths, and one key by the keyboard."""

from dataclasses import replace
from datetime import date

import pytest
from playwright.sync_api import expect

from hcrm.inbox.census_models import CensusRun, RunState
from hcrm.inbox.views import PARTS
from tests.support.adt import adt
from tests.support.census import ListFolder, Reconciling, listed, source_of
from tests.support.hospital import Hospital

DESK = {"width": 1280, "height": 720}
PHONE = {"width": 390, "height": 844}
DAY = date(2026, 11, 21)


@pytest.fixture
def office(database, clock, app, tmp_path):
    """Twelve departments, a dozen findings of every kind; the day before without a list, one before that suspect."""
    folder = ListFolder(tmp_path)
    campuses = {f"W{number}": "东院" for number in range(6, 12)}
    office = Reconciling(database, clock, source_of(folder.census(campus="本部", campuses=campuses)))
    app.extensions[PARTS] = replace(app.extensions[PARTS], sources=office.sources)
    office.run(date(2026, 11, 19))
    with Hospital(database, clock, sources=office.sources) as hospital:
        rows = []
        for number in range(48):
            ward = f"W{number % 12}"
            leaves = f"21 {8 + number % 12:02}:30"
            for event, when in (("A01", "18 10:00"), ("A03", leaves)):
                at = f"202611{when.replace(' ', '').replace(':', '')}00+0800"
                if number % 9 != 4 or event == "A01":
                    hospital.send(
                        adt(event, c=f"{event}{number}", v=f"V{number}", p=number, o=at, m=at, r=at,
                            loc=f"{ward}^1^1", PV1_36="1")
                    )  # fmt: skip
            more = {"lyfs": "4"} if number % 15 == 7 else {}
            if number % 11 != 10:
                rows.append(listed(f"V{number}", "18 10:00", leaves, ks=ward, **more))
        hospital.settle()
        folder.put(date(2026, 11, 20), [])
        folder.put(DAY, rows)
        office.run()
        yield office


def latest(office) -> CensusRun:
    return office.write(lambda work: max(work.all(CensusRun), key=lambda run: run.day))


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)  # a page looks alike on both
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_pages_fit_their_screen_and_axe_finds_no_fault(page_of, make_person, office, size):
    from axe_playwright_python.sync_playwright import Axe  # only here

    axe = Axe()
    make_person("wang")
    page = page_of("wang")
    page.set_viewport_size(size)
    run = latest(office)
    line = office.lines(run)[0]
    for path in (
        "/interface/census", "/interface/census?day=2026-11-19", "/interface/census?day=2026-11-01",
        f"/interface/census/{run.id}/lines", f"/interface/census/{run.id}/lines?finding=extra&department=W77",
        f"/interface/census/lines/{line.id}", f"/interface/census/{run.id}/apply",
        f"/interface/census/{run.id}/stays?side=listed&movement=discharge",
    ):  # fmt: skip
        page.goto(path)
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth"), path
        found = axe.run(page).response["violations"]
        assert [(fault["id"], fault["nodes"][0]["html"]) for fault in found] == [], path


def test_a_day_is_applied_with_the_keyboard(page_of, make_person, office):
    make_person("wang")
    page = page_of("wang")
    page.goto("/interface/census")
    page.get_by_text("按名单补录…").click()
    page.get_by_role("button", name="补录 7 人次").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#flashes")).to_contain_text("已按名单补录")
    assert latest(office).state is RunState.COMPLETE
