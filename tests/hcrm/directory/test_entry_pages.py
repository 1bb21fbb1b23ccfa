"""The directory's pages: lists, forms with history, conflicts between two browsers, who may change."""

import re
from html import unescape

import pytest
import sqlalchemy as sa

from hcrm.core.actor import system_actor
from hcrm.core.paths import config_path
from hcrm.core.work import open_work
from hcrm.directory.code_maps import note_sightings
from hcrm.directory.models import Department, Practitioner
from hcrm.directory.service import load_regions
from tests.support.builders import make_department, make_encounter, make_practitioner, publish_rules
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings"]

LISTS = ("/staff", "/departments", "/directory/campuses", "/directory/codes", "/directory/regions?q=西湖",
         "/directory/disease-groups")  # fmt: skip


@pytest.fixture
def house(database, clock, make_person):
    with open_work(database, actor=system_actor("test"), clock=clock) as work:
        department = make_department(work, name="心<内>科")
        known, double = make_practitioner(work, name="李大夫"), make_practitioner(work, name="李大夫2")
        make_encounter(work, department=department, attending=double)
        publish_rules(work)
        load_regions(work, config_path("regions.csv"))
        note_sightings(work, [(1, ("default", "class", "日间&间"))], clock.now())
        keys = department.id, known.code, double.id
    make_person("liu", ["service_centre"])
    make_person("gao", ["interface"])
    make_person("doc", ["physician"])
    return keys


def fields_of(page: str, **typed: str) -> dict[str, str]:
    """The form as a browser would send it."""
    base = re.search(r'name="base" value="([^"]*)"', page)
    assert base
    return {"base": unescape(base[1]), "is_active": "1", **typed}


def test_every_list_of_the_directory_opens_for_its_readers_and_for_nobody_else(house, browser_of):
    reader, stranger = browser_of("gao"), browser_of("doc")
    for path in LISTS:
        assert reader.get(path).status_code == 200, path
        assert stranger.get(path).status_code == 403, path
    assert "日间&amp;间" in reader.get("/directory/codes").text
    assert "西湖区" in reader.get("/directory/regions?q=西湖").text
    assert reader.get("/directory/regions?q=%25%27%22_").status_code == 200
    assert ("新增行政区划" in reader.get("/directory/regions").text) is (
        "新增院区" in reader.get("/directory/campuses").text
    )
    assert "脑卒中" in reader.get("/directory/disease-groups").text


def test_two_browsers_that_change_one_department_are_told_of_each_other(house, browser_of, database, clock):
    path = f"/directory/department/{house[0]}"
    first, second = browser_of("liu"), browser_of("gao")
    mine, yours = first.get(path).text, second.get(path).text
    assert "心&lt;内&gt;科" in mine
    code = re.search(r'name="code" value="([^"]*)"', mine)[1]

    first.post(path, fields_of(mine, code=code, name="心血管内科"))
    late = second.post(path, fields_of(yours, code=code, name="心脏中心"))
    assert late.status_code == 409
    assert all(word in late.text for word in ("我的", "心脏中心", "心血管内科", "原来"))
    answer = second.post(path, fields_of(late.text, code=code, name="心脏中心"))
    assert answer.status_code == 303
    shown = second.get(path).text
    assert "心血管内科 → 心脏中心" in shown

    undo = re.search(rf'action="({path}/undo/[^"]+)"', shown)[1]
    second.post(undo)
    with open_work(database, actor=system_actor("test"), clock=clock, write=False) as work:
        assert work.get(Department, house[0]).name == "心血管内科"


@pytest.mark.parametrize(
    ("kind", "typed", "says"),
    [
        ("campus", {"code": "E", "name": ""}, "必填"),
        ("campus", {"code": "E E", "name": "东"}, "字母"),
        ("campus", {"code": "E", "name": "东", "phone": "打我"}, "电话只写"),
        ("department", {"code": "D9", "name": "科", "specialty_code": "88"}, "名录"),
        ("practitioner", {"code": "P9", "name": "x" * 9000}, "最多"),
        ("code_map", {"source": "default", "kind": "class", "local_code": "x", "target": "y"}, "选项"),
    ],
)
def test_what_cannot_be_entered_is_said_at_its_field_and_kept(house, browser_of, kind, typed, says):
    browser = browser_of("liu")
    browser.get(f"/directory/{kind}/new")
    answer = browser.post(f"/directory/{kind}/new", typed)
    assert answer.status_code == 422
    assert says in answer.text


def test_a_code_that_waits_is_mapped_from_the_list_by_whoever_may(house, browser_of):
    browser = browser_of("gao")
    link = re.search(
        r'href="(/directory/code_map/new[^"]+)"[^>]*>对照<', browser.get("/directory/codes").text
    )[1]
    form = browser.get(link.replace("&amp;", "&")).text
    assert 'value="日间&amp;间"' in form
    answer = browser.post(
        "/directory/code_map/new",
        {"source": "default", "kind": "class", "local_code": "日间&间", "target": "inpatient"},
    )
    assert answer.status_code == 303
    assert "没有未对照的代码" in browser.get("/directory/codes").text


def test_a_duplicate_is_merged_after_its_preview_and_parted_again(house, browser_of, database, clock):
    _, code, double = house
    browser = browser_of("liu")
    path = f"/directory/practitioner/{double}"
    browser.get(path)
    assert "没有这个工号" in browser.post(f"{path}/merge", {"into": "nobody"}).text
    preview = browser.post(f"{path}/merge", {"into": code}).text
    assert "主管的就诊" in preview
    browser.post(f"{path}/merge", {"into": code, "confirmed": "1"})
    assert "已并入" in browser.get(path).text
    browser.post(f"{path}/part")
    with open_work(database, actor=system_actor("test"), clock=clock, write=False) as work:
        assert work.scalar(sa.select(Practitioner.merged_into_id).where(Practitioner.id == double)) is None


def test_who_may_not_change_the_directory_is_refused(house, browser_of):
    browser = browser_of("doc")
    browser.get("/patients")
    for path in ("/directory/campus/new", f"/directory/department/{house[0]}"):
        assert browser.post(path, {"code": "E", "name": "东"}).status_code == 403
    assert browser_of("liu").get("/directory/weather/1").status_code == 404
    assert browser_of("liu").get("/directory/campus/none").status_code == 404
