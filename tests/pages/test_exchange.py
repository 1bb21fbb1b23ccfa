"""Files in and out in Chromium: a list with faults from the upload to the revert, its pages on desk and phone, axe."""

from collections.abc import Callable
from typing import Any

import pytest

from hcrm.core import limits
from tests.hcrm.exchange.export_office import patient
from tests.support.importing import Intake, csv_file

LONG = "买买提·阿不都热依木·艾尼瓦尔·吐尔逊江·玉素甫艾山"
SIZES = ({"width": 1280, "height": 720}, {"width": 390, "height": 844})
Write = Callable[[Callable[[Any], Any]], Any]


def faults_of(page: Any, path: str) -> list[Any]:
    from axe_playwright_python.sync_playwright import Axe  # only here

    found: list[Any] = []
    for size in SIZES:
        page.set_viewport_size(size)
        if path:
            assert page.goto(path).ok, path
        violations = Axe().run(page).response["violations"]
        found += [(page.url, fault["id"], fault["nodes"][0]["target"]) for fault in violations]
        wide = max(0, page.evaluate("document.documentElement.scrollWidth - innerWidth"))
        found += [(page.url, "too wide", wide)] if wide else []
    return found


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)  # a page looks alike on both
def test_a_list_of_a_thousand_rows_with_faults_from_the_upload_to_the_revert(
    page_of: Any, ward: Any, database: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "IMPORT_BATCH", 300)
    intake = Intake(database, clock)
    lines = [
        (str(at), f"{LONG}{at}"[:40], "男", "1966-02-30" if at % 50 == 0 else "1966-03-07", f"138{at:08d}")
        for at in range(1, 1_001)
    ]
    page = page_of("wang")
    faults = faults_of(page, "/import") + faults_of(page, "/import/new")
    page.set_viewport_size(SIZES[0])
    page.goto("/import/new")
    page.check("[name=kind][value=patients]")
    page.set_input_files(
        "[name=file]",
        {"name": f"{LONG}{LONG}的名单.csv", "mimeType": "text/csv",
         "buffer": csv_file(("病案号", "姓名", "性别", "出生日期", "手机"), *lines)},
    )  # fmt: skip
    page.locator("main form button.btn-primary").first.click()
    page.wait_for_url("**/columns")
    faults += faults_of(page, "")
    page.get_by_role("button", name="试运行").click()
    page.wait_for_selector("#run progress")
    address = page.url
    intake.advance(rest=lambda: True)  # read, and as far as one batch
    intake.advance(rest=lambda: True)
    page.locator("#bar[value='300']").wait_for()  # it moves by itself
    faults += faults_of(page, "")
    while intake.advance():
        pass
    page.get_by_role("button", name="导入 980 行").wait_for()
    page.goto(address)
    faults += faults_of(page, f"{address}?verdict=wrong")
    assert page.get_by_text("出生日期：没有这一天").first.is_visible()
    page.goto(address)
    page.get_by_role("button", name="导入 980 行").click()
    while intake.advance():
        pass
    page.get_by_text("已写入 980 行").wait_for()
    page.goto(address)
    faults += faults_of(page, address)
    with page.expect_download() as download:
        page.get_by_role("link", name="未导入的行（Excel）").click()
    assert download.value.suggested_filename.endswith(".xlsx")
    page.get_by_text("撤销导入…").click()
    page.get_by_role("button", name="撤销这次导入").click()
    while intake.advance():
        pass
    page.get_by_text("已撤销 980 行").wait_for()
    faults += faults_of(page, address) + faults_of(page, "/import")

    assert faults == []


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_pages_of_files_out_fit_their_screen_and_axe_finds_no_fault(
    page_of: Any, ward: Any, write: Write
) -> None:
    write(lambda work: patient(work, LONG))
    page = page_of("wang")
    faults = faults_of(page, "/export") + faults_of(page, "/export/new?list=patients")
    faults += faults_of(page, "/export/new?list=contacts")
    page.goto("/export/new?list=patients")
    page.locator("main form button.btn-primary").first.click()  # without a purpose
    faults += faults_of(page, "")
    page.goto("/export/new?list=patients")
    page.check("[name=purpose][value=report]")
    page.fill("[name=purpose_text]", "季度上报" * 20)
    page.locator("main form button.btn-primary").first.click()
    page.wait_for_url(lambda url: "/export/new" not in url)
    faults += faults_of(page, "") + faults_of(page, "/export")

    assert faults == []
