import re
from collections.abc import Callable
from typing import Any

import pytest

from hcrm.audit.models import AuditEvent
from hcrm.core.work import Work
from hcrm.segments.models import Segment, ShareScope
from hcrm.segments.profile import refresh_profiles
from hcrm.segments.service import note_count, publish_shipped_segments
from tests.support.builders import make_department, make_encounter, make_patient
from tests.support.console import Browser, MakePerson

Write = Callable[[Callable[[Work], Any]], Any]
DIABETES = {
    "g0-match": "all", "g0-0-field": "stay.main_diagnosis", "g0-0-operator": "starts_with", "g0-0-value": "E11",
}  # fmt: skip


@pytest.fixture
def ward(write: Write) -> str:
    """Two patients with diabetes in one ward, one with something else in another."""

    def make(work: Work) -> str:
        ward, other = make_department(work, name="肾内科"), make_department(work, name="骨科")
        stays = [
            make_encounter(work, patient=make_patient(work, name=name), department=place, diagnoses=[code])
            for name, place, code in (
                ("甲一", ward, "E11.9"),
                ("乙二", ward, "E11.2"),
                ("丙三", other, "S52.5"),
            )
        ]
        refresh_profiles(work, [stay.patient_id for stay in stays])
        return ward.code

    return write(make)


@pytest.fixture
def service(browser_of: Callable[..., Browser], make_person: MakePerson) -> Browser:
    make_person("wang", ["service_centre"])
    return browser_of("wang")


def saved(browser: Browser, **changes: Any) -> str:
    answer = browser.post("/segments", {"name": "糖尿病", "columns": ["sex", "age"], **DIABETES, **changes})
    assert answer.status_code == 303, answer.text
    return answer.location


def test_while_it_is_made_a_segment_is_counted_and_sampled(service: Browser, ward: str):
    service.get("/segments/new")

    chosen = service.post("/segments/draft", {"g0-0-field": "stay.main_diagnosis", "act": "add-line-0"}, headers={
        "Origin": "http://localhost", "HX-Request": "true"})  # fmt: skip
    counted = service.post("/segments/preview", {**DIABETES, "g0-1-field": "patient.age"})

    assert 'name="g0-0-operator"' in chosen.text
    assert 'name="g0-1-field"' in chosen.text
    assert "<html" not in chosen.text
    assert chosen.headers["HX-Trigger-After-Settle"] == "drafted"
    assert re.search(r'num">2</strong> 人', counted.text)
    assert "甲一" in counted.text
    assert "丙三" not in counted.text


def test_a_saved_segment_shows_its_patients_counts_them_and_is_noted(
    service: Browser, ward: str, write: Write
):
    service.get("/segments/new")
    address = saved(service)

    page = service.get(f"{address}?sort=visits&column=record_no&column=no_such")
    counted = service.post(f"{address}/count")

    assert '共 <strong class="num">2</strong> 人' in counted.text
    assert "甲一" in page.text
    assert "病案号" in page.text
    assert "丙三" not in page.text
    assert write(lambda work: {row.action for row in work.all(AuditEvent)}) >= {
        "segment.create",
        "segment.list",
    }
    assert "主要诊断编码以 E11 开头" in service.get("/segments").text


def test_a_refused_form_keeps_what_was_typed_and_says_where(service: Browser, ward: str):
    service.get("/segments/new")

    answer = service.post("/segments", {**DIABETES, "g0-1-field": "patient.age", "g0-1-operator": "at_least",
                                        "g0-1-value": "老"})  # fmt: skip
    second = service.post("/segments", {"name": "老人", "g0-1-field": "patient.age", "g0-1-operator": "at_least",
                                        "g0-1-value": "老", **DIABETES})  # fmt: skip

    assert answer.status_code == second.status_code == 422
    assert "名称" in answer.text
    assert "请填一个整数" in second.text
    assert 'value="老"' in second.text


def test_a_stale_form_is_refused_and_a_deleted_segment_comes_back(service: Browser, ward: str, write: Write):
    service.get("/segments/new")
    address = saved(service)
    first = service.post(address, {"name": "改一", "version": "1", **DIABETES})
    stale = service.post(address, {"name": "改二", "version": "1", **DIABETES})
    assert (first.status_code, stale.status_code) == (303, 409)
    assert "刚被修改过" in stale.text

    assert service.post(f"{address}/end").status_code == 303
    assert service.get(address).status_code == 404
    service.post(f"{address}/restore")
    assert service.get(address).status_code == 200


def test_a_department_sees_its_own_patients_of_a_shared_segment_and_nobody_elses_private_one(
    service: Browser, browser_of: Callable[..., Browser], make_person: MakePerson, ward: str
):
    service.get("/segments/new")
    private, shared = saved(service), saved(service, scope="all", **{"g0-0-value": "S52，E11"})
    make_person("li", ["department_head"], department_code=ward)
    head = browser_of("li")

    assert head.get(private).status_code == 404
    assert "丙三" not in head.get(shared).text
    assert "甲一" in head.get(shared).text
    assert head.post(f"{shared}/end").status_code == 404  # shared by the service centre


def test_how_many_a_condition_of_grades_holds_is_told_to_those_who_read_grades_only(
    service: Browser, browser_of: Callable[..., Browser], make_person: MakePerson, ward: str, write: Write
):
    """A number that the reader's own conditions would not give."""
    service.get("/segments/new")
    graded = {"g0-0-field": "grade.spending_band", "g0-0-operator": "in", "g0-0-value": "low"}
    saved(service, scope="all", name="糖尿病")
    saved(service, scope="all", name="消费低", **graded)
    for segment, count in zip(write(lambda work: work.all(Segment)), (4_711, 4_712), strict=True):
        write(lambda work, key=segment.id, count=count: note_count(work, work.get(Segment, key), count))
    make_person("qian", ["medical_office"])

    of_office, of_others = service.get("/segments").text, browser_of("qian").get("/segments").text

    assert ("4,711" in of_office, "4,712" in of_office) == (True, True)
    assert ("4,711" in of_others, "4,712" in of_others) == (True, False)
    assert "您无权使用的条件" in of_others


def test_who_may_not_share_saves_for_themselves_only(
    browser_of: Callable[..., Browser], make_person: MakePerson, ward: str
):
    make_person("zhao", ["physician"], department_code=ward)
    physician = browser_of("zhao")
    physician.get("/segments/new")

    refused = physician.post("/segments", {"name": "x", "scope": "all", **DIABETES})

    assert refused.status_code == 422
    assert "只能保存自己用的分群" in refused.text
    assert saved(physician)


def test_what_comes_with_the_product_is_added_once_and_never_over_what_people_changed(write: Write):
    assert write(publish_shipped_segments) == 5
    write(lambda work: setattr(work.one(Segment, Segment.code == "dormant"), "name", "久未就诊"))

    assert write(publish_shipped_segments) == 0
    rows = write(lambda work: {row.code: (row.name, row.scope) for row in work.all(Segment)})
    assert rows["dormant"] == ("久未就诊", ShareScope.ALL)


def test_the_list_of_patients_opens_with_the_segment_of_the_role(
    service: Browser, browser_of: Callable[..., Browser], make_person: MakePerson, ward: str
):
    make_person("li", ["director"])
    director = browser_of("li")
    assert director.get("/patients").status_code == 200  # no role has one yet
    service.get("/segments/new")
    address = saved(service, scope="all", default_for="director")

    opened = director.get("/patients")
    assert (opened.status_code, opened.location) == (302, address)
    assert "/patients?all=1" in director.get(address).text
    everybody = director.get("/patients?all=1")
    assert "丙三" in everybody.text
    assert f'href="{address}"' in everybody.text
    assert director.get("/patients?status=finished").status_code == 200
    assert director.post("/patients", {"q": "甲一"}).location.startswith("/patients?kept=")
    assert director.post("/patients", {"q": ""}).location == "/patients?all=1"
    assert service.get("/patients").status_code == 200  # another role
    service.post(f"{address}/end")
    assert director.get("/patients").status_code == 200


def test_a_role_whose_segment_asks_for_what_it_may_not_read_opens_its_list_without_it(
    service: Browser, browser_of: Callable[..., Browser], make_person: MakePerson, ward: str
):
    service.get("/segments/new")
    graded = {"g0-0-field": "grade.spending_band", "g0-0-operator": "in", "g0-0-value": "low"}
    saved(service, scope="all", default_for="physician", **graded)
    make_person("zhao", ["physician"], department_code=ward)

    assert browser_of("zhao").get("/patients").status_code == 200
