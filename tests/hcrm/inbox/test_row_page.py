"""A row on the page of messages: its columns and what they feed, why it waits, which column is at fault, what to do."""

import re
from dataclasses import replace
from typing import get_args

import pytest

from hcrm.core.channels import RowField
from hcrm.core.sources import Source, Sources
from hcrm.inbox.intake import store_now
from hcrm.inbox.row_words import ROW_FIELDS, fields_named, peer_words, row_text
from hcrm.inbox.rows import row_message
from hcrm.inbox.views import PARTS
from tests.support.adt import adt
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings
from tests.support.hospital import Hospital

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings"]

COLUMNS = {"patient_no": "BRID", "visit_no": "ZYH", "name": "XM", "sex": "XB", "discharged_at": "CYSJ"}
VIEW = {"url": "mysql://u@127.0.0.1/his", "name": "v", "watermark": "t", "key": ["k"], "columns": COLUMNS}
SOURCE = Source.model_validate(
    {"code": "his_view", "title": "HIS 视图", "default_authority": "H1", "view": VIEW}
)
ROW = {"BRID": "100", "ZYH": "V1", "XM": "张三", "XB": "男", "CYSJ": "2026-11-20 09:00:00"}


@pytest.fixture
def hospital(database, clock, app):
    """Its console knows the view."""
    sources = Sources([SOURCE])
    app.extensions[PARTS] = replace(app.extensions[PARTS], sources=sources)
    with Hospital(database, clock, sources=sources) as hospital:
        yield hospital


def tell(hospital, *rows: dict[str, str]) -> None:
    at = hospital.clock.now()
    store_now(
        hospital.database, [row_message(SOURCE, "view", row, peer="view his_view", at=at) for row in rows]
    )
    hospital.settle()


def cells(page: str) -> dict[str, tuple[str, str, bool]]:
    """Column: what it feeds, its value, whether it is marked."""
    rows = re.findall(
        r'<tr( class="wrong")?><th scope="row">([^<]*)</th><td>(.*?)</td><td class="raw">(.*?)</td></tr>',
        page,
    )
    return {
        column: (words.partition(" <")[0], re.sub("<.*?>", "", value), bool(wrong))
        for wrong, column, words, value in rows
    }


def test_a_row_is_a_table_of_its_columns_with_what_they_feed(hospital, browser_of, make_person):
    make_person("wang")
    tell(hospital, ROW | {"XM": "<b>张三</b>", "XB": ""})

    page = browser_of("wang").get("/interface/messages/1").text

    assert cells(page) == {
        "BRID": ("病案号", "100", False), "ZYH": ("就诊流水号", "V1", False),
        "XM": ("姓名", "&lt;b&gt;张三&lt;/b&gt;", False), "XB": ("性别", "（空）", False),
        "CYSJ": ("出院时间", "2026-11-20 09:00:00", False),
    }  # fmt: skip
    assert "字符集" not in page
    assert "未登记的段" not in page
    assert "行不在这里更正" in page
    assert "这一行是读来的" in page
    assert "视图（HIS 视图）" in page


def test_the_column_at_fault_is_named_in_words_and_marked_alone(hospital, browser_of, make_person):
    make_person("wang")
    tell(hospital, ROW | {"CYSJ": "昨天"}, ROW | {"BRID": ""}, ROW | {"XB": "七"})
    browser = browser_of("wang")

    listed = browser.get("/interface/messages").text
    assert "日期或时间不可能存在（出院时间（CYSJ））" in listed
    assert "discharged_at" not in listed
    pages = {seq: browser.get(f"/interface/messages/{seq}").text for seq in (1, 2, 3)}
    assert "出院时间（CYSJ）" in pages[1]
    assert "没有可用的患者标识（病案号（BRID））" in pages[2]
    assert "代码未对照（性别）" in pages[3]
    marked = {seq: [name for name, cell in cells(page).items() if cell[2]] for seq, page in pages.items()}
    assert marked == {1: ["CYSJ"], 2: ["BRID"], 3: ["XB"]}


def test_what_only_the_archive_can_say_names_columns_too(hospital, browser_of, make_person):
    make_person("wang")
    for number, visit in (("100", "V1"), ("200", "V2")):
        hospital.receive(adt("A01", c=visit, p=f"{number}^^^H1^MR", v=visit, name=f"患者^{visit}"))
    tell(hospital, ROW | {"BRID": "200", "XM": "患者V2"})

    page = browser_of("wang").get("/interface/messages/3").text

    assert "就诊流水号属于另一位患者（就诊流水号（ZYH） 病案号（BRID））" in page
    assert "PV1-19" not in page
    assert [name for name, cell in cells(page).items() if cell[2]] == ["BRID", "ZYH"]


def test_a_row_is_corrected_where_it_came_from(hospital, browser_of, make_person):
    make_person("wang")
    tell(hospital, ROW | {"CYSJ": "昨天"})
    browser = browser_of("wang")

    assert "更正副本" not in browser.get("/interface/messages/1").text
    assert browser.get("/interface/messages/1/correct").status_code == 409


def test_values_are_hidden_from_who_may_not_read_messages(hospital, browser_of, make_person):
    make_person("admin", ("sysadmin",))
    tell(hospital, ROW)

    page = browser_of("admin").get("/interface/messages/1").text

    assert cells(page)["XM"] == ("姓名", "●●●", False)
    assert "张三" not in page


def test_a_row_whose_columns_are_no_longer_described_shows_what_it_holds(
    hospital, app, browser_of, make_person
):
    make_person("wang")
    tell(hospital, ROW)
    app.extensions[PARTS] = replace(app.extensions[PARTS], sources=Sources([]))

    assert cells(browser_of("wang").get("/interface/messages/1").text)["XM"] == (
        "来源配置没有对照",
        "张三",
        False,
    )


def test_every_field_a_column_may_feed_has_a_word():
    assert set(ROW_FIELDS) == set(get_args(RowField))


@pytest.mark.parametrize(
    ("text", "words", "fields"),
    [
        ("discharged_at（CYSJ）", "出院时间（CYSJ）", {"discharged_at"}),
        (
            "visit_no（zyh） patient_no（brid）",
            "就诊流水号（zyh） 病案号（brid）",
            {"visit_no", "patient_no"},
        ),
        ("ward（department）", "病区（department）", {"ward"}),  # a column of such a name
        ("patient_no（brid） name", "病案号（brid） 姓名", {"patient_no", "name"}),
        ("PV1-36", "PV1-36", set()),
    ],
)
def test_places_of_a_row_in_words(text, words, fields):
    assert (row_text(text), fields_named(text)) == (words, fields)


@pytest.mark.parametrize(
    ("peer", "words"),
    [
        ("console", "控制台更正"), ("demo", "演示"), ("census oldsys", "对账补录（oldsys）"),
        ("folder oldsys", "文件夹（oldsys）"), ("view oldsys", "视图（oldsys）"), ("10.1.0.9", "10.1.0.9"),
        ("::1", "::1"), ("view his_view", "视图（HIS 视图）"),
    ],
)  # fmt: skip
def test_ways_that_are_no_address_are_named(peer, words):
    assert peer_words(peer, Sources([SOURCE])) == words
