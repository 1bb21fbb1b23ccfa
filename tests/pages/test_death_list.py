"""The death list, duty and clinics in Chromium: the pages fit their screen, and axe finds no fault."""

import pytest

from hcrm.archive.models import Patient
from tests.hcrm.desk.test_death_list_views import keep_line
from tests.hcrm.directory.test_roster_pages import add_week
from tests.support.builders import make_patient

LONG = "买买提·阿不都热依木·艾尼瓦尔·吐尔逊江·玉素甫艾山"


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)  # a page looks alike on both
def test_the_pages_fit_their_screen_and_axe_finds_no_fault(page_of, ward, write):
    from axe_playwright_python.sync_playwright import Axe  # only here

    def add(work):
        key = make_patient(work, name=LONG).id
        return keep_line(work, work.get(Patient, key), record_no="20261122000123456789"), *add_week(work)

    line, department, _, shift = write(add)
    week = f"?week=2026-11-23&department={department}"
    paths = (
        "/deaths", "/deaths/list", f"/deaths/list/{line}", f"/directory/rosters{week}", "/directory/rosters",
        f"/directory/schedules{week}", f"/directory/duty/{shift}", "/directory/schedule/new",
    )  # fmt: skip
    page = page_of("wang")
    faults = []
    for size in ({"width": 1280, "height": 720}, {"width": 390, "height": 844}):
        page.set_viewport_size(size)
        for path in paths:
            assert page.goto(path).ok, path
            faults += [
                (path, fault["id"], fault["nodes"][0]["target"])
                for fault in Axe().run(page).response["violations"]
            ]
            wide = max(0, page.evaluate("document.documentElement.scrollWidth - innerWidth"))
            faults += [(path, "too wide", wide)] if wide else []

    assert faults == []
