from collections.abc import Callable
from typing import Any

import pytest

from hcrm.centre.classification import classify_encounters
from hcrm.centre.classification_rules import Axis
from hcrm.centre.rerun import apply_run, continue_runs, start_preview
from hcrm.centre.rerun_models import ClassificationRun
from hcrm.centre.rule_drafts import rule_text, save_rules_draft
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.errors import ConflictError
from hcrm.core.work import Work
from tests.hcrm.centre.test_rerun import new_rules
from tests.support.builders import discharged, make_encounter, make_patient, publish_form, publish_rules
from tests.support.console import Browser, MakePerson, app, browser_of, cheap_passwords, make_person, settings
from tests.support.interleaved import just_before_our_lock

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings"]
Write = Callable[[Callable[[Work], Any]], Any]


@pytest.fixture
def service(browser_of: Callable[..., Browser], make_person: MakePerson, write: Write) -> Browser:
    def make(work: Work) -> None:
        publish_rules(work)
        publish_form(work)
        stay = make_encounter(work, patient=make_patient(work, name="甲一"), diagnoses=["E14.9"])
        classify_encounters(work, [discharged(stay)])
        new_rules(work)

    write(make)
    make_person("wang", ["service_centre"])
    return browser_of("wang")


def run_out(write: Write) -> None:
    while write(continue_runs):
        pass


def test_rules_are_previewed_applied_and_undone_on_their_page(service: Browser, write: Write):
    assert "重新分类的记录" in service.get("/classification").text
    address = service.post("/classification/runs").location
    assert "预览中" in service.get(address).text
    assert "已有一次重新分类" not in service.get(address).text
    run_out(write)
    page = service.get(address).text
    assert "待确认" in page
    assert "甲一" in page
    assert "before=unclassified" in page
    assert service.get(f"{address}/progress").headers["HX-Refresh"] == "true"

    service.post(f"{address}/apply")
    run_out(write)
    assert "已完成" in service.get(address).text
    assert "不能执行" in service.post(f"{address}/apply", follow_redirects=True).text
    service.post(f"{address}/undo")
    run_out(write)
    assert "已撤销" in service.get(address).text
    assert service.get("/classification/runs/nothing").status_code == 404


def test_the_rules_are_for_those_who_manage_them(browser_of: Callable[..., Browser], make_person: MakePerson):
    make_person("li", ["physician"])
    physician = browser_of("li")

    assert physician.get("/classification").status_code == 403
    assert physician.post("/classification/runs").status_code == 403


def test_of_two_who_start_a_preview_at_once_one_gets_it_and_the_other_is_told(
    service: Browser, write: Write, database: Database
):
    with (
        pytest.raises(ConflictError, match="刚开始了一次预览"),
        just_before_our_lock(database, lambda: write(start_preview)),
    ):
        write(start_preview)

    assert len(write(lambda work: work.all(ClassificationRun))) == 1
    assert "刚开始了一次预览" in service.post("/classification/runs", follow_redirects=True).text


def test_a_preview_that_shows_nothing_says_why(service: Browser, write: Write, clock: FixedClock):
    address = service.post("/classification/runs").location
    assert "排队等待后台任务" in service.get(address).text
    clock.move(minutes=5)
    assert "已等待 5 分钟还没有开始" in service.get(f"{address}/progress").text
    run_out(write)
    assert "类别都与现在的相同" not in service.get(address).text  # there is a change to see
    write(lambda work: apply_run(work, run_id=address.rsplit("/", 1)[1]))
    run_out(write)

    address = service.post("/classification/runs").location
    run_out(write)

    assert "类别都与现在的相同" in service.get(address).text


def test_a_preview_of_the_rules_in_force_says_which_draft_it_leaves_out(service: Browser, write: Write):
    def draft(work: Work) -> None:
        standing = rule_text(work, Axis.DISEASE_GROUP)
        save_rules_draft(work, axis=Axis.DISEASE_GROUP, seen=standing.seen, text=standing.text + "\n# 本院\n")

    address = service.post("/classification/runs").location
    assert "有草稿没有发布" not in service.get(address).text
    run_out(write)
    write(draft)

    address = service.post("/classification/runs").location

    assert "有草稿没有发布，不在比较之内" in service.get(address).text


def test_without_visits_or_rules_a_preview_says_so(
    browser_of: Callable[..., Browser], make_person: MakePerson, write: Write
):
    make_person("wang", ["service_centre"])
    service = browser_of("wang")
    assert "还没有发布分类规则" in service.post("/classification/runs", follow_redirects=True).text
    write(publish_rules)

    address = service.post("/classification/runs").location
    run_out(write)

    page = service.get(address).text
    assert "还没有已发生的就诊" in page
    assert "没有可比较的就诊" in page
