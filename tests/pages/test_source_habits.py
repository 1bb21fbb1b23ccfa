"""The settings of every source on its page, opened, at two widths."""

from dataclasses import replace

import pytest

from hcrm.inbox.views import PARTS
from tests.support.profiles import example_sources

SIZES = [{"width": 1280, "height": 720}, {"width": 390, "height": 844}]


@pytest.mark.parametrize("size", SIZES, ids=["desk", "phone"])
def test_the_habits_of_a_source_are_opened_and_fit_the_screen(page_of, make_person, app, size):
    from axe_playwright_python.sync_playwright import Axe  # only here

    app.extensions[PARTS] = replace(app.extensions[PARTS], sources=example_sources())
    make_person("wang")
    page = page_of("wang")
    page.set_viewport_size(size)
    page.goto("/interface/sources")

    for summary in page.locator(".segments summary").all():
        summary.click()

    assert page.locator(".segments details[open]").count() == 3
    assert page.get_by_text("encounter.discharge_way → ZPV-3").is_visible()
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    found = Axe().run(page).response["violations"]
    assert [(fault["id"], fault["nodes"][0]["html"]) for fault in found] == []
