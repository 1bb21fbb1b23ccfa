"""The console's script and style in Chromium: keys, leaving, the ended session, the policy, two widths, axe."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

DESK = {"width": 1280, "height": 720}
PHONE = {"width": 390, "height": 844}
ANSWERS = re.compile(
    "Failed to load resource: .* status of 4|Response Status Error Code 401"
)  # meant to be refused


@pytest.fixture
def page(browser: Any, console_url: str) -> Iterator[Any]:
    """A page at a desk; what the browser complains of (the policy above all) fails the test."""
    context = browser.new_context(viewport=DESK, base_url=console_url, locale="zh-CN")
    page = context.new_page()
    page.set_default_timeout(60_000)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda fault: complaints.append(str(fault)))
    yield page
    context.close()
    assert [text for text in complaints if not ANSWERS.search(text)] == []


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("path", ["/instructions", "/patients/1", "/form", "/login", "/ended"])
def test_a_page_fits_its_screen_and_axe_finds_no_fault(page, path, size):
    from axe_playwright_python.sync_playwright import Axe  # only here

    page.set_viewport_size(size)
    page.goto(path)

    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    found = Axe().run(page).response["violations"]
    assert [(fault["id"], [node["target"] for node in fault["nodes"]]) for fault in found] == []


def test_on_a_phone_the_menu_lies_at_the_bottom(page):
    page.set_viewport_size(PHONE)
    page.goto("/instructions")
    menu = page.locator(".side").bounding_box()

    assert menu["y"] + menu["height"] == PHONE["height"]
    assert menu["width"] == PHONE["width"]


def focused(page) -> str:
    return page.evaluate("document.activeElement.textContent.trim() || document.activeElement.id")


def test_a_list_is_walked_and_opened_with_keys_alone(page):
    page.goto("/instructions")
    page.keyboard.press("j")
    assert focused(page) == "张建国"
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert focused(page).startswith("买买提")
    page.keyboard.press("e")
    page.get_by_text("办结 2").wait_for()
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url("**/patients/1")


def test_the_row_that_keys_reach_is_never_hidden_behind_a_bar(page):
    page.set_viewport_size({"width": 1280, "height": 240})
    page.goto("/instructions")
    page.keyboard.press("j")
    page.keyboard.press("j")
    row = page.locator("tr:focus-within").bounding_box()
    bar = page.locator(".topbar").bounding_box()

    assert bar["y"] == 0
    assert bar["height"] <= row["y"] <= 240 - row["height"]


def test_slash_goes_to_the_search_and_keys_are_dead_while_typing(page):
    page.goto("/instructions")
    page.keyboard.press("/")
    page.keyboard.type("j/?e")

    assert page.input_value("#search") == "j/?e"
    assert not page.locator("#key-sheet").is_visible()


def test_keys_are_dead_while_an_input_method_is_composing(page):
    page.goto("/instructions")
    for key in ("j", "?", "/"):
        page.evaluate(
            "key => document.body.dispatchEvent(new KeyboardEvent('keydown',"
            " {key, code: 'KeyJ', isComposing: true, bubbles: true}))",
            key,
        )

    assert page.evaluate("document.activeElement === document.body")
    assert not page.locator("#key-sheet").is_visible()


def test_the_key_sheet_opens_and_closes(page):
    page.goto("/instructions")
    page.keyboard.press("Shift+?")
    assert page.locator("#key-sheet").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#key-sheet").is_visible()


def test_ctrl_enter_saves_from_inside_a_field_and_a_toast_offers_undo(page):
    page.goto("/form")
    page.fill("#f-sbp", "120")
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/instructions")
    page.get_by_text("已提交随访").wait_for()
    page.get_by_role("button", name="撤销").click()
    page.get_by_text("撤销了").wait_for()


def test_a_toast_leaves_after_ten_seconds(page):
    page.clock.install()
    page.goto("/form")
    page.fill("#f-sbp", "120")
    page.get_by_role("button", name="提交").click()
    page.get_by_text("已提交随访").wait_for()
    page.clock.run_for(9_000)
    assert page.locator(".undo-toast").count() == 1
    page.clock.run_for(2_000)
    assert page.locator(".undo-toast").count() == 0


def test_leaving_with_unsaved_text_asks_first(page):
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.goto("/form")
    page.locator("#f-note").press_sequentially("头")
    page.goto("/instructions")
    page.goto("/form")
    page.goto("/instructions")

    assert asked == ["beforeunload"]


def test_a_refused_form_puts_the_reader_on_the_summary_and_the_link_on_the_field(page):
    page.goto("/form")
    page.fill("#f-note", "患者诉头晕")
    page.get_by_role("button", name="提交").click()
    page.locator(".error-summary").wait_for()
    assert page.evaluate("document.activeElement.className") == "error-summary"
    page.locator(".error-summary a").click()

    assert focused(page) == "f-sbp"
    assert page.input_value("#f-note") == "患者诉头晕"


@pytest.mark.parametrize("path", ["/form", "/form?htmx=1"], ids=["plain form", "htmx form"])
def test_a_session_that_ends_while_one_types_loses_nothing(page, console_url, path):
    sent = []
    page.on("request", lambda request: sent.append(request) if request.method == "POST" else None)
    page.goto(path)
    page.fill("#f-sbp", "120")
    page.fill("#f-note", "患者诉头晕，已嘱复诊")
    page.context.add_cookies([{"name": "ended", "value": "1", "url": console_url}])
    page.get_by_role("button", name="提交").click()
    page.get_by_role("heading", name="请重新登录").wait_for()
    page.fill("#f-password", "made up")
    page.get_by_role("button", name="登录并继续提交").click()
    page.wait_for_url("**/instructions")

    last = sent[-1].post_data_json
    assert sent[-1].url.endswith("/form")
    assert (last["sbp"], last["note"]) == ("120", "患者诉头晕，已嘱复诊")


def test_a_masked_value_is_shown_in_place_on_request(page):
    page.goto("/patients/1")
    assert page.get_by_text("138****8000").is_visible()
    page.get_by_role("button", name="显示手机号码").click()

    page.get_by_text("13800138000").wait_for()


def test_the_bar_for_slow_answers_waits_300_ms_and_leaves_with_the_answer(page):
    held = []
    page.route("**/slow", lambda route: held.append(route))  # noqa: PLW0108  Playwright cannot wrap list.append
    page.goto("/instructions")
    page.click("#slow")
    page.wait_for_function("document.querySelector('#progress').classList.contains('on')")
    delay = page.evaluate("getComputedStyle(document.querySelector('#progress')).transitionDelay")
    assert delay == "0.3s, 0.3s"
    held[0].fulfill(body="好了")
    page.get_by_text("好了").wait_for()

    assert not re.search(r"\bon\b", page.locator("#progress").get_attribute("class"))


def test_the_browser_keeps_nothing_of_a_page_in_its_storage(page):
    """htmx would keep whole pages for the way back: names, phones, diagnoses on a shared machine."""
    page.goto("/instructions")
    page.click("[data-key=done] >> nth=0")
    page.get_by_text("办结 1").wait_for()
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")

    assert "张建国" not in kept
    assert page.evaluate("htmx.config.historyCacheSize") == 0


def test_a_printed_page_has_the_hospitals_head_and_no_menu(page):
    page.goto("/instructions")
    page.emulate_media(media="print")

    assert page.locator(".print-head").is_visible()
    assert not page.locator(".side").is_visible()
    assert not page.locator(".topbar").is_visible()
