"""The page of one message: what an interface engineer reads of why it is parked."""

import re

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


def test_what_to_do_about_a_reason_and_about_each_flag_stands_on_the_page(
    database, clock, browser_of, make_person
):
    make_person("wang")
    with Hospital(database, clock) as hospital:
        unknown = adt("A01", c=1, MSH_3="WHO", MSH_4="H9").replace(b"ADT^A01^ADT_A01", b"ADT^Z99")
        hospital.receive(unknown, adt("A03", c=2, PV1_36="本地7"))
    browser = browser_of("wang")

    assert "发送方 WHO/H9 没有来源文件" in browser.get("/interface/messages/1").text
    assert "来源文件的 discharge_ways 中加上" in browser.get("/interface/messages/2").text


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


def way_of(page: str) -> list[str]:
    """What stands in 经过, as text."""
    found = re.search(r'<ol class="way">(.*?)</ol>', page, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", step).split()) for step in found[1].split("</li>")[:-1]]


def test_a_replay_keeps_its_place_in_the_way_and_puts_no_later_moment_before_it(
    database, clock, browser_of, make_person
):
    make_person("wang")
    with Hospital(database, clock) as hospital:
        hospital.receive(adt("A03", c=1, PV1_45="20260230120000"))
        browser = browser_of("wang")
        assert way_of(browser.get("/interface/messages/1").text)[1].endswith("取出")
        clock.move(minutes=7)
        browser.post("/interface/messages/1/replay")
        clock.move(minutes=1)
        hospital.settle()
        received, found, act, outcome = way_of(browser.get("/interface/messages/1").text)
    assert "收到并保存" in received
    assert found == "此前 已搁置：日期或时间不可能存在"
    assert "wang：重新处理" in act
    assert "已搁置" in outcome
    times = [step[:14] for step in (received, act, outcome)]
    assert times == sorted(times)


def test_the_page_of_a_waiting_message_is_told_when_it_is_decided(database, clock, browser_of, make_person):
    make_person("wang")
    with Hospital(database, clock) as hospital:
        hospital.send(adt("A01", c=1))
        browser = browser_of("wang")
        assert 'hx-get="/interface/messages/1/state"' in browser.get("/interface/messages/1").text
        waiting = browser.get("/interface/messages/1/state")
        assert (waiting.status_code, waiting.headers.get("HX-Refresh")) == (204, None)
        hospital.settle()
        assert browser.get("/interface/messages/1/state").headers["HX-Refresh"] == "true"
        assert "/state" not in browser.get("/interface/messages/1").text


def test_what_a_message_says_is_told_without_the_archive_and_its_values_only_with_the_right(
    database, clock, browser_of, make_person
):
    make_person("wang")
    make_person("gu", ["sysadmin"])
    with Hospital(database, clock) as hospital:
        hospital.receive(
            adt("A01", c=1, p=100, v="ZY-7"), adt("A01", c=2, p=200, v="V2"), adt("A40", c=3, p=100, mrg=200)
        )
    wang, gu = browser_of("wang"), browser_of("gu")
    stay = wang.get("/interface/messages/1").text
    told = stay[stay.index("消息所述") : stay.index("经过")]
    for word in ("入院", "ZY-7", "W1", "住院"):
        assert word in told, word
    assert "张" not in told
    assert "合并档案 1 组" in gu.get("/interface/messages/3").text
    masked = gu.get("/interface/messages/1").text
    assert "消息所述" in masked
    assert "ZY-7" not in masked


def test_every_impossible_date_of_a_message_is_marked_at_once(database, clock, browser_of, make_person):
    make_person("wang")
    with Hospital(database, clock) as hospital:
        hospital.receive(adt("A03", c=1, dob="19600230", PV1_44="20261399", PV1_45="20260230120000"))
    browser = browser_of("wang")
    for address in ("/interface/messages/1", "/interface/messages/1/correct"):
        page = browser.get(address).text
        for place in ("PID-7", "PV1-44", "PV1-45"):
            assert re.search(rf'<tr class="wrong"><th scope="row">{place}<', page), (address, place)
