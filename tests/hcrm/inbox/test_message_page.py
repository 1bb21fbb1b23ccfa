"""The page of one message: what an interface engineer reads of why it is parked."""

from tests.support.adt import adt
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings
from tests.support.hospital import Hospital

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings"]


def test_an_impossible_date_is_said_with_its_field_and_what_to_do(database, clock, browser_of, make_person):
    make_person("wang")
    with Hospital(database, clock) as hospital:
        hospital.receive(adt("A03", c=1, PV1_45="20260230120000"))
    browser = browser_of("wang")

    shown = browser.get("/interface/messages/1").text
    assert "日期或时间不可能存在（PV1-45）" in shown
    assert "请发送方更正该字段后重发" in shown
    assert "日期或时间不可能存在（PV1-45）" in browser.get("/interface/messages").text
