"""The page of one message: what an interface engineer reads of why it is parked."""

from adapters.his import mapping
from adapters.his.map_acts import ACTS
from hcrm.inbox import words
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


def test_a_number_no_message_can_have_is_no_page(browser_of, make_person):
    make_person("wang")
    browser = browser_of("wang")

    for number in ("9223372036854775807", "9223372036854775808", "9" * 26, "9" * 5000):
        assert browser.get(f"/interface/messages/{number}").status_code == 404


def test_event_and_source_are_shown_in_words(database, clock, browser_of, make_person):
    make_person("wang")
    with Hospital(database, clock) as hospital:
        hospital.receive(adt("A03", c=1))
    browser = browser_of("wang")

    for page in ("/interface/messages", "/interface/messages/1"):
        shown = browser.get(page).text
        assert "ADT^A03 出院" in shown
        assert "未登记来源" in shown


def test_every_event_that_is_mapped_has_a_word():
    assert {*mapping.EVENTS, *mapping.PERSON_EVENTS, *ACTS, mapping.SWAP} <= words.EVENTS.keys()
    assert words.event_words("ADT^A99") == "ADT^A99"
    assert words.event_words("ZZZ^A01") == "ZZZ^A01"  # the words are those of ADT
    assert words.source_words("gone") == "gone"


def test_a_message_with_a_document_and_thousands_of_segments_is_a_page_one_can_open(
    database, clock, browser_of, make_person
):
    make_person("wang")
    segments = ["OBX|1|ED|x||" + "A" * 1_000_000, *[f"OBX|{n}|NM|x||{n}" for n in range(5_000)]]
    with Hospital(database, clock) as hospital:
        hospital.receive(adt("A01", c=1, segments=segments))
    shown = browser_of("wang").get("/interface/messages/1").text

    assert "共 1,000," in shown
    assert "只显示前 500 段" in shown
    assert len(shown) < 1_500_000
