"""The pages of duty and clinics: a week, the form with its history, copying, the file."""

import re
from datetime import date
from html import unescape
from io import BytesIO

import openpyxl
import pytest

from hcrm.core.actor import system_actor
from hcrm.core.work import Work, open_work
from hcrm.directory.roster_models import DutyShift, ScheduleSlot
from tests.hcrm.directory.test_rosters import clinic, duty
from tests.support.builders import make_department, make_practitioner
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings"]

NASTY = "心<内>科"


def add_week(work: Work) -> tuple[str, str, str]:
    """A department with two shifts and two clinics of a week; keys of department, person, shift."""
    department = make_department(work, name=NASTY)
    person = make_practitioner(work, name="李强", department=department, code="P1")
    first = duty(work, department, person)
    duty(work, department, person, shift="夜班", starts="17:30", ends="08:00", day=date(2026, 11, 25))
    clinic(work, department, person)
    clinic(work, department, person, session="evening", is_stopped=True, note="会议")
    return department.id, person.id, first


@pytest.fixture
def house(database, clock, make_person) -> tuple[str, str, str]:
    with open_work(database, actor=system_actor("test"), clock=clock) as work:
        keys = add_week(work)
    make_person("liu", ["service_centre"])
    make_person("doc", ["physician"])
    return keys


def test_a_week_shows_who_is_on_duty_and_who_holds_which_clinic(house, browser_of):
    browser = browser_of("liu")

    page = browser.get("/directory/rosters?week=2026-11-26").text
    assert page.count("李强") == 2
    assert "次日 08:00" in page
    assert "心&lt;内&gt;科" in page
    page = browser.get("/directory/schedules?week=2026-11-23").text
    assert "停诊 1 个" in page
    assert ("上午" in page, "晚上" in page, "20 号" in page) == (True, True, True)
    assert "这一周还没有值班表" in browser.get("/directory/rosters?week=2026-12-21").text
    assert (
        "这一周这个科室没有出诊"
        in browser.get(f"/directory/schedules?week=2026-12-21&department={house[0]}").text
    )
    for week in ("morgen", "0001-01-02", "9999-12-30"):
        assert browser.get(f"/directory/rosters?week={week}").status_code == 422
    stranger = browser_of("doc")
    for path in ("rosters", "schedules", "rosters.xlsx", "duty/new", f"duty/{house[2]}"):
        assert stranger.get(f"/directory/{path}").status_code == 403, path


def test_a_shift_is_entered_changed_and_put_back_by_hand(house, browser_of, database, clock):
    department, person, key = house
    browser = browser_of("liu")
    browser.get("/directory/duty/new")
    typed = {"department_id": department, "practitioner_id": person, "day": "2026-11-27", "shift": "白班",
             "starts": "8点", "ends": "17：30", "phone": "6120", "is_active": "1"}  # fmt: skip

    refused = browser.post("/directory/duty/new", {**typed, "starts": "早上", "phone": "小王"})
    assert (refused.status_code, "时间无法识别" in refused.text, "电话只写数字" in refused.text) == (
        422,
        True,
        True,
    )
    assert browser.post("/directory/duty/new", typed).status_code == 303
    assert "已排了此人" in browser.post("/directory/duty/new", typed).text

    page = browser.get(f"/directory/duty/{key}").text
    base = re.search(r'name="base" value="([^"]*)"', page)
    assert base
    changed = {**typed, "day": "2026-11-23", "starts": "08:00", "ends": "17:30", "phone": "6188"}
    browser.post(f"/directory/duty/{key}", {**changed, "base": unescape(base[1])})
    page = browser.get(f"/directory/duty/{key}").text
    assert "6120 → 6188" in page
    undo = re.search(r'action="(/directory/duty/[^"]+/undo/[^"]+)"', page)
    assert undo
    browser.post(undo[1])
    with open_work(database, actor=system_actor("test"), clock=clock) as work:
        assert work.get(DutyShift, key).phone == "6120"


def test_a_week_is_copied_and_taken_out_as_a_file_that_can_be_taken_in_again(
    house, browser_of, database, clock
):
    browser = browser_of("liu")
    browser.get("/directory/schedules?week=2026-11-23")
    fields = {"week": "2026-11-23", "department": house[0], "to": "2026-12-02"}

    assert browser.post("/directory/schedules/copy", fields).location.endswith(
        f"week=2026-11-30&department={house[0]}"
    )
    assert "已复制 2 条" in browser.get("/directory/schedules?week=2026-11-30").text
    browser.post("/directory/schedules/copy", fields)
    assert "没有可复制的" in browser.get("/directory/schedules").text
    with open_work(database, actor=system_actor("test"), clock=clock) as work:
        assert {one.is_stopped for one in work.all(ScheduleSlot, ScheduleSlot.day > date(2026, 11, 29))} == {
            False
        }

    answer = browser.get("/directory/rosters.xlsx?week=2026-11-23")
    lines = [list(line) for line in openpyxl.load_workbook(BytesIO(answer.data)).active.values]
    assert (lines[0][:4], lines[1][:4]) == (
        ["日期", "科室", "院区", "班次"],
        ["2026-11-23", NASTY, None, "白班"],
    )
