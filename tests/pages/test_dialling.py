"""A patient whose numbers are not dialled, in a browser: the mark fits its screen, and showing the number keeps it."""

import pytest

from adapters.his.mapping import map_message
from hcrm.archive.arrivals import Arrival
from hcrm.archive.models import ContactPoint, Patient
from hcrm.archive.service import absorb_records
from tests.support.adt import adt
from tests.support.changes import EVENING, SOURCES

DESK, PHONE = {"width": 1280, "height": 720}, {"width": 390, "height": 844}
MESSAGE = adt("A28", phone="96123456~+44 20 7946 0958~13812345678", segments=["NK1|1|王芳|2||16812345"])


@pytest.fixture
def patient(write, ward) -> str:
    def act(work):
        absorb_records(work, arrivals=[Arrival(1, map_message(MESSAGE, SOURCES, EVENING).result)])
        return work.one(Patient, Patient.name == "张三").id

    return write(act)


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_a_number_that_is_not_dialled_keeps_its_mark_when_it_is_shown(page_of, patient, size):
    from axe_playwright_python.sync_playwright import Axe  # only here

    page = page_of("wang")
    page.set_viewport_size(size)
    page.goto(f"/patients/{patient}")
    marked = page.locator("dd", has_text="境外号码").first
    marked.get_by_role("button").click()
    marked.get_by_text("+442079460958").wait_for()

    assert "不拨打：境外号码" in marked.inner_text()
    assert marked.locator("a").count() == 0
    page.get_by_role("button", name="显示手机").first.click()
    page.locator('a[href="tel:13812345678"]').first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert Axe().run(page).response["violations"] == []


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_today_says_why_nobody_dials_a_patient_and_fits_the_screen(page_of, ward, write, size):
    from axe_playwright_python.sync_playwright import Axe  # only here

    def short(work):
        patient = work.one(Patient, Patient.name == "李秀英")
        work.one(ContactPoint, ContactPoint.patient_id == patient.id).value_sealed = work.keys.seal_text(
            "123456"
        )

    write(short)
    page = page_of("li")
    page.set_viewport_size(size)
    page.goto("/today")

    assert "不拨打：短号或号码不完整" in page.locator("tr", has_text="李秀英").inner_text()
    assert "不拨打" not in page.locator("tr", has_text="张建国").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert Axe().run(page).response["violations"] == []
