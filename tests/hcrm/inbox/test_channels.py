"""接口 › 来源: from where each source is fetched, as its file says."""

from dataclasses import replace

import pytest

from hcrm.core.sources import Source, Sources
from hcrm.inbox.channels import list_places
from hcrm.inbox.views import PARTS
from tests.support.census import COLUMNS
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings"]


@pytest.fixture
def sources() -> Sources:
    view = {
        "url": "oracle+oracledb://reader@db.example:1521/?service_name=his&wallet_location=/secret",
        "name": "V_OUT",
    }
    his = Source.model_validate({
        "code": "his", "title": "示范 HIS", "sender": "HIS", "default_authority": "H1", "department_from": ["PV1-3.1"],
        "folder": {"path": "/srv/his/in", "pattern": "*.csv", "every_seconds": 30}, "list_file": {"columns": COLUMNS},
        "view": {**view, "columns": COLUMNS, "watermark": "gxsj", "key": ["zyh"]},
        "census": {"columns": COLUMNS, "view": {**view, "name": "V_DAY"}},
    })  # fmt: skip
    return Sources([his])


def test_every_place_is_named_and_nothing_secret_with_it(sources):
    folder, view, census = list_places(sources)

    assert (folder.place, folder.every, folder.columns["visit_no"]) == ("/srv/his/in/*.csv", 30, "zyh")
    assert view.place == "oracle+oracledb://reader@db.example:1521/ V_OUT"
    assert (census.channel, census.place.endswith(" V_DAY")) == ("census", True)


def test_the_page_shows_them(app, sources, make_person, browser_of):
    app.extensions[PARTS] = replace(app.extensions[PARTS], sources=sources)
    make_person("wang")

    page = browser_of("wang").get("/interface/sources").text

    for shown in ("/srv/his/in/*.csv", "每 30 秒", "病案号（brid）", "V_DAY", "06:30 起，08:00 未到告警"):
        assert shown in page
    assert "wallet" not in page
