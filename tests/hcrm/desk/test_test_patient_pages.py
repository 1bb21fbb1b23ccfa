"""测试患者: the list, the rules with their preview, the mark on a patient's page."""

import pytest

from hcrm.accounts.permissions import roles
from hcrm.archive.models import Patient
from hcrm.archive.reach.contact_stop import end_contact
from hcrm.archive.terms import StopKind
from hcrm.archive.test_patients.rule_edit import TEMPLATES, TestRuleInput, with_template
from hcrm.contact_log.models import Channel, ContactResult
from hcrm.contact_log.service import record_contact
from hcrm.core.actor import system_actor
from hcrm.core.definitions import publish_definition
from hcrm.core.paths import config_path
from hcrm.core.work import Work, open_work
from tests.support.builders import discharge, make_encounter, make_instruction, make_patient

RULES = "/test-patients/rules"


@pytest.fixture
def people(database, clock, make_person):
    """Two archives, one of which the shipped rules call a test patient's, and the service office."""
    with open_work(database, actor=system_actor("test"), clock=clock) as work:
        body = config_path("test_patients.yaml").read_text(encoding="utf-8")
        publish_definition(work, kind="test_patients", code="test_patients", version=1, body=body)
        test, real = make_patient(work, name="张三测试"), make_patient(work, name="演练王五")
        test.is_test, test.test_reason = True, "姓名含“测试”"
        keys = test.id, real.id
    make_person("liu", ["service_centre"])
    make_person("gao", ["sysadmin"])
    make_person("doc", ["agent"])
    return keys


def names(work: Work) -> set[str]:
    return {row.name for row in work.all(Patient, Patient.is_test)}


def stored(database, clock) -> set[str]:
    with open_work(database, actor=system_actor("test"), clock=clock, write=False) as work:
        return names(work)


def test_a_test_patients_page_opens_and_says_so_and_no_list_names_them(people, browser_of):
    browser = browser_of("liu")
    shown = browser.get(f"/patients/{people[0]}").text
    assert "不进名单、统计和导出" in shown
    assert "张三测试" not in browser.get("/patients").text
    assert "张三测试" in browser.get("/test-patients").text


def test_who_opens_no_archive_counts_test_patients_and_sees_their_names_masked(people, browser_of):
    browser = browser_of("gao")
    assert "/test-patients" in browser.get("/system").text
    shown = browser.get("/test-patients").text
    assert "张***" in shown
    assert "张三测试" not in shown


def test_the_page_and_the_mark_are_for_whom_the_role_says(people, browser_of):
    browser = browser_of("doc")
    assert browser.get("/test-patients").status_code == 403
    assert (
        browser.post(f"/patients/{people[1]}/test-mark", {"mark": "test", "test_reason": "x"}).status_code
        == 403
    )


def test_a_mark_is_made_and_taken_back_on_the_patients_page(people, browser_of, database, clock):
    browser = browser_of("liu")
    mark = f"/patients/{people[1]}/test-mark"
    assert (
        "请填写原因" in browser.post(mark, {"mark": "test", "test_reason": " "}, follow_redirects=True).text
    )
    browser.post(mark, {"mark": "test", "test_reason": "接口联调"})
    assert stored(database, clock) == {"张三测试", "演练王五"}
    assert "取消人工标记" in browser.get(f"/patients/{people[1]}").text
    browser.post(mark)
    assert stored(database, clock) == {"张三测试"}


def test_new_rules_are_previewed_and_put_in_force_by_one_who_saw_the_latest(
    people, browser_of, make_person, database, clock
):
    make_person("li", ["service_centre"])
    first, second = browser_of("liu"), browser_of("li")
    fields = {
        "base": "1",
        "contains": "演练",
        "starts": "",
        "is": "",
        "word": "",
        "record_numbers": "T0001-T0099",
    }
    preview = first.get(RULES).text and first.post(RULES, fields).text
    assert "演练王五" in preview
    assert "张三测试" in preview
    assert stored(database, clock) == {"张三测试"}

    first.post(f"{RULES}/apply", fields)
    assert stored(database, clock) == {"演练王五"}
    assert "T0001-T0099" in first.get(RULES).text

    second.get(RULES)
    late = second.post(f"{RULES}/apply", fields)
    assert late.status_code == 409
    assert "第 2 版" in late.text


def _page(text: str) -> str:
    """What the page shows, without the tokens of its forms, which hold the second they were made in."""
    return text.partition("<main")[2].partition("</main>")[0]


def test_who_sees_no_patient_cannot_ask_the_rules_about_one(people, browser_of, database, clock):
    """Whether 演练王五 is a patient here: not by a name, not by a count, not by trying the rule."""
    browser = browser_of("gao")
    browser.get(RULES)
    texts = []
    for asked in ("演练王五", "演练王六"):
        shown = browser.post(RULES, {"base": "1", "is": asked}).text
        assert "少于 10 份" in shown
        assert "演*" not in shown
        texts.append(_page(shown).replace(asked, ""))
        answer = browser.post(f"{RULES}/apply", {"base": "1", "is": asked})
        assert answer.status_code == 409
        assert "服务中心" in answer.text
    assert texts[0] == texts[1]
    assert stored(database, clock) == {"张三测试"}
    with open_work(database, actor=system_actor("test"), clock=clock) as work:
        for number in range(10):
            make_patient(work, name=f"联调{number}")
    assert "10 份" in browser.post(RULES, {"base": "1", "contains": "联调"}).text


@pytest.mark.parametrize(
    ("field", "typed", "says"),
    [
        ("contains", "测", "至少 2 个字"),
        ("record_numbers", "9900", "应写作"),
        ("contains", "长" * 6000, "最多"),
    ],
)
def test_a_rule_that_cannot_stand_is_refused_with_what_was_typed(people, browser_of, field, typed, says):
    browser = browser_of("liu")
    browser.get(RULES)
    answer = browser.post(RULES, {"base": "1", field: typed})
    assert answer.status_code == 422
    assert says in answer.text
    assert typed in answer.text


def test_no_page_without_a_name_in_its_address_names_a_test_patient(
    app, people, browser_of, make_person, database, clock
):
    """Every list, queue, figure and form the console has, for one who may open all of them; also for its filters."""
    name = "甲乙丙测试"
    with open_work(database, actor=system_actor("test"), clock=clock) as work:
        test = work.get(Patient, people[0])
        test.name, test.name_pinyin, test.name_initials = name, "jia yi bing ce shi", "jybcs"
        stay = make_encounter(work, patient=test)
        discharge(work, stay, at=clock.now())
        make_instruction(work, encounter=stay)
        record_contact(work, patient_id=test.id, channel=Channel.PHONE, result=ContactResult.REACHED)
        end_contact(work, patient_id=test.id, kind=StopKind.DO_NOT_CONTACT, reason="不要打")
    make_person("all", [*roles()])
    browser = browser_of("all")
    with app.test_request_context():
        pages = {
            app.url_map.bind("localhost").build(route.endpoint)
            for route in app.url_map.iter_rules()
            if "GET" in route.methods and not route.arguments and route.endpoint != "static"
        }
    assert len(pages) > 50
    naming = {path for path in pages if name.encode() in browser.get(path).data}  # a workbook is not text
    assert naming == {"/test-patients"}
    for query in (f"/search?q={name}", "/search?q=jybcs", f"/patients?q={name}"):
        assert name not in browser.get(query).text.replace(f'value="{name}"', "")


def test_a_ready_rule_is_put_into_the_form_below_what_stands_there_to_be_edited(
    people, browser_of, database, clock
):
    browser = browser_of("liu")
    page = browser.get(RULES).text
    assert page.count('name="template"') == 3
    typed = {"base": "1", "contains": "测试\n演练", "record_numbers": "88880000-88889999"}

    numbers = browser.post(f"{RULES}/template", {**typed, "template": "numbers"})
    names_ = browser.post(f"{RULES}/template", {**typed, "template": "names"})

    assert "88880000-88889999\n99990000-99999999\nTEST*</textarea>" in numbers.text
    assert "已填入“病案号区间”" in numbers.text
    assert "测试\n演练\n模拟患者\n演示患者</textarea>" in names_.text
    assert stored(database, clock) == {"张三测试"}  # nothing is in force
    assert browser.post(f"{RULES}/template", {"template": "x"}).status_code == 404
    assert browser_of("doc").post(f"{RULES}/template", {"template": "names"}).status_code == 403


@pytest.mark.parametrize("code", TEMPLATES)
def test_every_ready_rule_is_a_rule(code):
    filled = with_template({"base": "0"}, code)

    assert TestRuleInput.model_validate(filled).rules().says
