"""A physician's morning in Chromium: the list, the form, a red flag, the next patient; keyboard alone."""

import pytest
import sqlalchemy as sa

from hcrm.centre.models import Instruction, InstructionState
from hcrm.contact_log.models import ContactEntry, ContactResult
from hcrm.core.actor import system_actor
from hcrm.core.work import open_work
from hcrm.forms.models import Response, ResponseState

PHONE = {"width": 390, "height": 844}


def read(database, statement):
    with open_work(database, actor=system_actor("test"), write=False) as work:
        return work.execute(statement).scalars().all()


def test_a_patient_is_followed_up_with_the_keyboard_alone(page_of, ward, database):
    page = page_of("li")
    assert page.url.endswith("/today")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{ward.first}/form")

    page.keyboard.press("Tab")  # pain: the form is where the keyboard starts
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")  # goes on, sends nothing
    page.keyboard.type("39")
    page.locator("#flag-temperature .raised").wait_for()
    assert "R2 当日处置" in page.inner_text("#flag-temperature")
    assert "当日联系医师" in page.inner_text("#flag-temperature")
    page.keyboard.press("Tab")
    assert not page.locator("[name=a-pus]").first.is_visible()
    page.keyboard.press("Space")  # a wound: yes
    page.locator("[name=a-pus]").first.wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Control+Enter")

    page.wait_for_url(f"**/{ward.second}/form")
    assert "上一位患者：随访已登记" in page.inner_text("#flashes")
    assert page.inner_text(".has-alerts .count").startswith("1")
    assert read(database, sa.select(Response.answers)) == [
        {"pain": 1, "temperature": "39", "wound": True, "pus": True}
    ]


def test_a_submit_waits_for_the_draft_that_is_on_its_way(page_of, ward, database):
    page = page_of("li")
    held = []
    page.route("**/draft", lambda route: held.append((route, route.fetch())))
    page.goto(f"/instructions/{ward.first}/form")
    page.locator("[name=a-pain][value='2']").check()
    page.fill("#f-a-temperature", "36.5")
    page.locator("[name=a-wound][value=no]").check()
    while not held:  # the server has the draft, the page does not know yet
        page.wait_for_timeout(100)
    page.keyboard.press("Control+Enter")
    page.wait_for_timeout(300)
    assert read(database, sa.select(Response.state)) == [ResponseState.DRAFT]
    route, answer = held[0]
    route.fulfill(response=answer)

    page.wait_for_url(f"**/{ward.second}/form")
    assert read(database, sa.select(Response.state)) == [ResponseState.SUBMITTED]


def test_what_was_typed_is_there_again_after_the_page_was_left(page_of, ward):
    page = page_of("li")
    page.goto(f"/instructions/{ward.first}/form")
    page.locator("#f-a-remark").press_sequentially("夜间气短")
    page.get_by_text("草稿已保存").wait_for()
    page.goto("/today")
    page.goto(f"/instructions/{ward.first}/form")

    assert page.input_value("#f-a-remark") == "夜间气短"


def test_a_refused_form_puts_the_reader_on_the_summary_and_keeps_the_text(page_of, ward):
    page = page_of("li")
    page.goto(f"/instructions/{ward.first}/form")
    page.fill("#f-a-temperature", "55")
    page.fill("#f-a-remark", "都好")
    page.keyboard.press("Control+Enter")
    page.locator(".error-summary").wait_for()

    assert page.evaluate("document.activeElement.className") == "error-summary"
    page.get_by_role("link", name="体温：超出范围").click()
    assert page.evaluate("document.activeElement.id") == "f-a-temperature"
    assert page.locator("#error-a-temperature").is_visible()
    page.keyboard.press("End")
    page.keyboard.type(" ")
    assert not page.locator("#error-a-temperature").is_visible(), "what was said of the old text is gone"
    page.keyboard.press("Backspace")
    assert page.input_value("#f-a-temperature") == "55"
    assert page.input_value("#f-a-remark") == "都好"


def test_an_outcome_is_one_key_an_attempt_is_none_and_text_stays(page_of, ward, database):
    page = page_of("li")
    page.goto(f"/instructions/{ward.first}/form")
    page.fill("#f-a-remark", "下午再打")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("2")
    page.get_by_role("button", name="占线").click()
    page.locator("#flashes").get_by_text("已记录：占线").wait_for()
    page.locator(".contacts").get_by_text("占线").wait_for()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("7")

    assert page.locator("[name=outcome][value=lost]").is_checked()
    assert page.locator("[name=missed]").first.is_visible()
    assert not page.locator("[name=heard]").first.is_visible()
    assert page.input_value("#f-a-remark") == "下午再打"
    assert read(database, sa.select(ContactEntry.result)) == [ContactResult.BUSY]
    page.keyboard.press("Control+Enter")
    page.wait_for_url(f"**/{ward.second}/form")
    assert read(database, sa.select(Instruction.state).where(Instruction.id == ward.first)) == [
        InstructionState.IN_REVIEW
    ]


def test_a_number_is_shown_by_one_click(page_of, ward):
    page = page_of("li")
    page.goto(f"/instructions/{ward.first}/form")
    page.get_by_role("button", name="显示手机电话").click()
    page.locator(".identity").get_by_text("13800138000").wait_for()


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)  # a page looks alike on both
@pytest.mark.parametrize("size", [None, PHONE], ids=["desk", "phone"])
def test_pages_fit_their_screen_and_axe_finds_no_fault(page_of, ward, size):
    from axe_playwright_python.sync_playwright import Axe  # only here

    page = page_of("li")
    form = f"/instructions/{ward.first}/form"
    page.goto(form)
    page.fill("#f-a-temperature", "39")
    page.keyboard.press("Control+Enter")
    page.locator(".error-summary").wait_for()
    for name, value in (("pain", "3"), ("wound", "no")):
        page.locator(f"[name=a-{name}][value='{value}']").check()
    if size:
        page.set_viewport_size(size)
    faults = [look(page, Axe())]
    page.get_by_role("button", name="提交，下一位").click()
    page.wait_for_url(f"**/{ward.second}/form")
    for path in ("/today", form, form.removesuffix("/form"), "/alerts", f"/instructions/{ward.second}"):
        page.goto(path)
        page.wait_for_load_state("networkidle")
        faults.append(look(page, Axe()))
    head = page_of("zhao")
    if size:
        head.set_viewport_size(size)
    for path in ("/reviews", "/instructions", "/today?whose=all"):
        head.goto(path)
        faults.append(look(head, Axe()))
    head.goto("/reviews")
    head.locator("a.row-link").click()
    faults.append(look(head, Axe()))

    assert [each for each in faults if each[1:] != (0, [])] == []


def look(page, axe):
    """Where it is, how far it is too wide, what axe found."""
    found = axe.run(page).response["violations"]
    names = [(fault["id"], [node["target"] for node in fault["nodes"]]) for fault in found]
    return page.url, max(0, page.evaluate("document.documentElement.scrollWidth - innerWidth")), names
