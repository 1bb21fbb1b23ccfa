"""The walk of docs/walk.md: bytes on a socket in the beginning, a number that opens its rows in the end."""

import re
from datetime import UTC, datetime
from typing import Any

from hcrm.core.clock import local_time
from hcrm.core.paths import config_path
from hcrm.forms.definition import Item, ItemType, load_questionnaires
from tests.walks.conftest import PASSWORD, Running


def message(event: str, control_id: str, moment: str) -> bytes:
    """An admission or discharge of one patient, in GB18030 as many senders are."""
    segments = [
        rf"MSH|^~\&|HIS|H1|HCRM|H1|{moment}||ADT^{event}|{control_id}|P|2.4|||||CHN|GB 18030-2000",
        f"EVN|{event}|{moment}||||{moment}",
        "PID|1||7001^^^H1^MR||欧阳珅||19580214|M|||浙江省杭州市西湖区文一路1号^^^^^^H^^330106||13800138000^PRN^CP",
        f"PV1|1|I|K01^12^3||||1001^沈怀仁||||||||||||V7001^^^H1{'|' * 17}1{'|' * 8}20261101080000|{moment}",
        "DG1|1||I50.900^心力衰竭^ICD-10|||F|||||||||1",
    ]
    return "\r".join(segments).encode("gb18030") + b"\r"


def test_a_discharge_becomes_a_call_and_the_call_a_number_that_opens(running: Running, browser: Any) -> None:
    now = local_time(datetime.now(UTC)).strftime("%Y%m%d%H%M%S")
    for event, control_id in (("A01", "W1"), ("A03", "W2"), ("A03", "W2")):
        assert b"MSA|AA|" + control_id.encode() in running.send(message(event, control_id, now))
    counts = running.settle()
    assert counts == {"received": 2, "applied": 2, "ignored": 0, "held": 0, "parked": 0, "events_waiting": 0}

    physician = log_in(browser, running, "1001")
    physician.goto(f"{running.http}/patients")
    physician.get_by_role("link", name="欧阳珅").click()
    assert "心力衰竭" in open_tab(physician, "诊断")
    physician.goto(f"{running.http}/patients")
    physician.get_by_role("link", name="欧阳珅").click()
    assert "已下达随访指令 2 条" in physician.inner_text("main")
    physician.get_by_role("link", name=re.compile("出院一周")).first.click()
    if not physician.url.endswith("/form"):
        physician.goto(physician.url.rstrip("/") + "/form")
    fill_form(physician)
    physician.keyboard.press("Control+Enter")
    physician.wait_for_url(lambda url: not url.endswith("/form"))
    physician.context.close()

    office = log_in(browser, running, "service")
    office.goto(f"{running.http}/statistics")
    assert "100.0%" in office.inner_text("main")
    office.locator("a.stat").first.click()
    office.wait_for_url(re.compile("/rows"))
    assert "1 / 1" in office.inner_text("main")
    assert "欧阳珅" in office.inner_text("table")
    office.context.close()


def log_in(browser: Any, running: Running, username: str) -> Any:
    page = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{running.http}/login")
    page.fill("input[name=username]", username)
    page.fill("input[name=password]", PASSWORD)
    page.click("main form button")
    page.wait_for_url(lambda url: "/login" not in url)
    return page


def open_tab(page: Any, name: str) -> str:
    page.get_by_role("link", name=name, exact=True).click()
    page.wait_for_url(re.compile("tab="))
    return str(page.inner_text("main"))


def fill_form(page: Any) -> None:
    """Harmless answers to every required question of the generic form."""
    form = load_questionnaires(config_path("forms"))["generic.discharge"]
    for item in form.questions:
        if item.required and item.enable_when is None:
            answer(page, item)


def answer(page: Any, item: Item) -> None:
    name = f"a-{item.code}"
    if item.type is ItemType.YES_NO:
        value = "no"
    elif item.type is ItemType.SCALE:
        value = "0"
    else:
        value = item.options[0].code
    page.locator(f'input[name="{name}"][value="{value}"]').check(force=True)
