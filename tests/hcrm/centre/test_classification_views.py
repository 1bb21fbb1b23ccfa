from collections.abc import Callable
from typing import Any

import pytest

from hcrm.centre.classification import classify_encounters
from hcrm.centre.rerun import continue_runs
from hcrm.core.work import Work
from tests.hcrm.centre.test_rerun import new_rules
from tests.support.builders import discharged, make_encounter, make_patient, publish_form, publish_rules
from tests.support.console import Browser, MakePerson, app, browser_of, cheap_passwords, make_person, settings

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
