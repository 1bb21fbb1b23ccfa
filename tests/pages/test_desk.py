"""The desk in Chromium: search while typing, a patient's record, the workbench that renews itself, the board."""

import re
from datetime import UTC, datetime

import pytest
from playwright.sync_api import expect

from hcrm.archive.models import IdentifierKind, Patient, PatientIdentifier
from tests.support.builders import SOURCE, make_encounter, make_patient
from tests.support.record import TABS

DESK = {"width": 1280, "height": 720}
PHONE = {"width": 390, "height": 844}
LONG = "买买提·阿不都热依木·艾尼瓦尔·吐尔逊江·玉素甫艾山"
NOW = datetime(2026, 11, 22, 2, tzinfo=UTC)


@pytest.fixture
def patient_id(ward, write):
    """张建国, who has a record number."""

    def add(work):
        patient = work.one(Patient, Patient.name == "张建国")
        work.add(
            PatientIdentifier(
                id=work.new_id(), patient_id=patient.id, kind=IdentifierKind.RECORD, authority="H1", type="MR",
                value="00481516", source=SOURCE, as_of=work.clock.now(), seq=1,
            )
        )  # fmt: skip
        return patient.id

    return write(add)


def shows(page, *names):
    """Wait until the list holds these: a click returns before the page it asks for is there."""
    expect(page.locator("#results a.row-link")).to_have_text(list(names))


def focused(page):
    return page.evaluate("document.activeElement.textContent.trim() || document.activeElement.id")


def test_patients_are_found_while_typing_and_opened_with_the_keyboard_alone(page_of, patient_id):
    page = page_of("li")
    page.goto("/patients")
    shows(page, "李秀英", "张建国")
    page.keyboard.press("/")
    page.keyboard.type("建国")
    page.locator("#results").get_by_text("李秀英").wait_for(state="detached")

    shows(page, "张建国")
    assert re.search(r"/patients\?kept=[0-9a-f]{32}$", page.url)  # no word of it in the address
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("j")
    assert focused(page) == "张建国"
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/patients/{patient_id}")
    assert page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])").find("建国") == -1


def test_after_enter_the_keys_go_on_and_back_shows_the_same_search(page_of, patient_id):
    page = page_of("li")
    page.goto("/patients")
    page.keyboard.press("/")
    page.keyboard.type("建国")
    page.keyboard.press("Enter")
    page.wait_for_url("**/patients?kept=*")
    shows(page, "张建国")
    assert focused(page) == "search"
    page.keyboard.press("ArrowDown")
    assert focused(page) == "张建国"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/patients/{patient_id}")
    for turn in (page.go_back, page.reload):
        turn()
        shows(page, "张建国")
        assert page.input_value("#search") == "建国"


def test_the_box_in_the_head_finds_while_typing_and_its_keys_never_leave_for_the_pages_table(
    page_of, patient_id, write
):
    write(lambda work: make_encounter(work, patient=make_patient(work, name="周在表"), discharged_at=NOW))
    page = page_of("wang")
    page.goto("/workbench")
    expect(page.locator("main a.row-link").first).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.press("ArrowDown")
    assert focused(page) == "search"
    page.keyboard.type("建国")
    page.keyboard.press("ArrowDown")  # faster than the answer
    expect(page.locator("#quick a.row-link")).to_have_text([re.compile("张建国")])
    expect(page.locator("#quick a.row-link")).to_be_focused()
    page.keyboard.press("ArrowUp")
    assert focused(page) == "search"
    page.keyboard.press("Escape")
    expect(page.locator("#quick")).to_be_hidden()
    page.keyboard.type("zhang")
    page.locator("#quick a.row-link").wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/patients/{patient_id}")


def test_a_record_number_in_the_top_bar_opens_the_patient(page_of, patient_id):
    page = page_of("wang")
    page.goto("/workbench")
    page.keyboard.press("/")
    page.keyboard.type("00481516")
    page.keyboard.press("Enter")

    page.wait_for_url(f"**/patients/{patient_id}")


def test_a_name_in_the_top_bar_lists_who_fits_and_keeps_the_word(page_of, ward):
    page = page_of("wang")
    page.keyboard.press("/")
    page.keyboard.type("张")
    page.keyboard.press("Enter")
    page.locator("#results").wait_for()

    shows(page, "张建国")
    assert page.input_value("#search") == "张"


def test_a_filter_moves_list_and_address_and_a_link_brings_it_back(page_of, ward, write):
    write(lambda work: make_encounter(work, patient=make_patient(work, name="周在院"), discharged_at=None))
    page = page_of("wang")
    page.goto("/patients")
    page.select_option("#f-status", "in-progress")
    page.wait_for_url("**/patients?status=in-progress")
    shows(page, "周在院")
    page.reload()

    shows(page, "周在院")
    assert page.input_value("#f-status") == "in-progress"


def test_without_script_the_search_still_works(browser, console_url, page_of, ward):
    signed_in = page_of("wang").context.storage_state()
    context = browser.new_context(base_url=console_url, java_script_enabled=False, storage_state=signed_in)
    page = context.new_page()
    page.goto("/patients")
    page.fill("#search", "建国")
    page.get_by_role("button", name="搜索").click()

    shows(page, "张建国")
    context.close()


def test_a_record_is_read_tab_by_tab_and_a_number_shown_by_one_click(page_of, patient_id):
    page = page_of("wang")
    page.goto(f"/patients/{patient_id}")
    identity = page.locator(".identity")
    assert identity.get_by_text("138****8000").is_visible()
    identity.get_by_role("button", name="显示手机").click()
    identity.get_by_text("13800138000").wait_for()
    for tab in ("就诊", "诊断", "手术", "过敏", "随访", "联系人与地址", "消息链"):
        page.get_by_role("link", name=tab, exact=True).first.click()
        page.locator(f".nav-link.active:text-is('{tab}')").wait_for()

    assert page.get_by_text("13800138000").count() == 0  # shown once, not for good


def test_the_workbench_shows_a_discharge_that_came_meanwhile_and_keeps_the_focus(page_of, ward, write):
    first = write(
        lambda work: make_encounter(work, patient=make_patient(work, name="先出院"), discharged_at=NOW).id
    )
    page = page_of("wang")
    page.clock.install()
    page.goto("/workbench")
    row = page.locator(f"#stay-{first}")
    row.focus()
    top = page.locator("#recent").bounding_box()["y"]
    write(lambda work: make_encounter(work, patient=make_patient(work, name="后出院"), discharged_at=NOW).id)
    page.clock.run_for(15_500)
    page.get_by_text("后出院").wait_for()

    assert page.locator("#recent a.row-link").all_inner_texts()[0] == "后出院"
    assert page.evaluate("document.activeElement.id") == f"stay-{first}"
    assert page.locator("#recent").bounding_box()["y"] == top


def test_the_number_on_the_workbench_opens_its_list(page_of, ward):
    page = page_of("wang")
    page.goto("/workbench")
    page.get_by_role("link", name=re.compile("超期未完成")).click()

    page.wait_for_url("**/instructions?overdue=1")
    assert page.locator("a.row-link").all_inner_texts() == ["张建国"]


def test_the_sheet_of_a_patient_prints_without_menu_and_buttons(page_of, patient_id):
    page = page_of("li")
    page.goto(f"/patients/{patient_id}")
    page.emulate_media(media="print")

    assert page.locator(".print-head").is_visible()
    for part in (".topbar", ".side", ".nav-underline", ".reveal >> nth=0", ".actions"):
        assert not page.locator(part).is_visible()
    assert page.get_by_text("张建国").first.is_visible()


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)  # a page looks alike on both
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_pages_fit_their_screen_and_axe_finds_no_fault(page_of, make_person, patient_id, write, size):
    from axe_playwright_python.sync_playwright import Axe  # only here

    def add(work):
        key = make_patient(work, name=LONG).id
        for _ in range(55):
            make_encounter(work, patient=work.get(Patient, key), discharged_at=NOW, procedures=["36.0700"])
        for number in range(60):
            make_patient(work, name=f"{LONG}{number}")
        return key

    long = write(add)
    make_person("gu", ["sysadmin"])
    visits = {
        "wang": ["/patients", "/workbench", *(f"/patients/{long}?tab={tab}" for tab in TABS)],
        "li": ["/patients", f"/patients/{patient_id}"],
        "zhao": ["/workbench"],
        "qian": ["/patients", "/patients?status=planned", "/workbench"],
        "gu": ["/system"],
    }
    faults = []
    for username, paths in visits.items():
        page = page_of(username)
        page.set_viewport_size(size)
        for path in paths:
            assert page.goto(path).ok, path
            found = Axe().run(page).response["violations"]
            wide = max(0, page.evaluate("document.documentElement.scrollWidth - innerWidth"))
            faults += [(path, fault["id"], fault["nodes"][0]["target"]) for fault in found]
            faults += [(path, "too wide", wide)] if wide else []

    assert faults == []
