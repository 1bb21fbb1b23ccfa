"""A row of a view on the page of messages: what it holds, why it waits, which field and column are at fault."""

from hcrm.core.sources import Source, Sources
from hcrm.inbox.intake import store_now
from hcrm.inbox.rows import row_message
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings
from tests.support.hospital import Hospital

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings"]

COLUMNS = {"patient_no": "BRID", "visit_no": "ZYH", "name": "XM", "discharged_at": "CYSJ"}


def test_a_row_is_shown_column_by_column_with_its_fault(database, clock, browser_of, make_person):
    make_person("wang")
    view = {"url": "mysql://u@127.0.0.1/his", "name": "v", "watermark": "t", "key": ["k"], "columns": COLUMNS}
    source = Source.model_validate(
        {"code": "his_view", "title": "HIS 视图", "default_authority": "H1", "view": view}
    )
    rows = [
        {"BRID": "100", "ZYH": "V1", "XM": "张三", "CYSJ": "2026-11-20 09:00:00"},
        {"BRID": "101", "ZYH": "V2", "XM": "<b>李四</b>", "CYSJ": "昨天"},
    ]
    with Hospital(database, clock, sources=Sources([source])) as hospital:
        store_now(database, [row_message(source, "view", row, peer="view", at=clock.now()) for row in rows])
        hospital.settle()
    browser = browser_of("wang")

    listed = browser.get("/interface/messages").text
    assert "ROW^DISCHARGE" in listed
    assert "discharged_at（CYSJ）" in listed
    applied, parked = browser.get("/interface/messages/1").text, browser.get("/interface/messages/2").text
    assert "XM: 张三" in applied
    assert "CYSJ: 2026-11-20 09:00:00" in applied
    assert "日期或时间不可能存在（discharged_at（CYSJ））" in parked
    assert "&lt;b&gt;李四&lt;/b&gt;" in parked
    assert (
        browser.get("/interface/messages/2/correct").status_code == 409
    )  # a row is corrected where it came from
