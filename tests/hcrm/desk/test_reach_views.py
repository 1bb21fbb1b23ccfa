"""How a patient is reached, on the pages: the disclosure mark, the end of contact, a death and its second source."""

import re

import pytest

from hcrm.archive.death import report_death
from hcrm.archive.fields.service import set_field
from hcrm.archive.imports.marks import BY_FILE
from hcrm.archive.models import DeceasedState, Patient
from hcrm.archive.reach import contact_stop
from hcrm.archive.reach_models import StopKind
from hcrm.archive.terms import DEATH_LIST
from hcrm.centre.models import Instruction
from tests.support.builders import publish_fields
from tests.support.station import Ward


@pytest.fixture
def patient_id(ward: Ward, write) -> str:
    return write(lambda work: work.get(Instruction, ward.first).patient_id)


@pytest.fixture
def service(browser_of, ward):
    return browser_of("wang")


def silence(browser, patient_id: str):
    browser.get(f"/patients/{patient_id}/disclosure")
    return browser.post(
        f"/patients/{patient_id}/disclosure",
        {"state": "confidential", "contact_name": "李红", "contact_relation": "女儿"},
    )


def test_silence_is_shown_wherever_a_number_is_and_the_form_asks_discreetly(
    service, browser_of, ward, patient_id, write
):
    assert silence(service, patient_id).status_code == 303

    mark = "病情只与 女儿 李红 沟通"
    assert mark in service.get(f"/patients/{patient_id}").text
    physician = browser_of("li")
    assert mark in physician.get(f"/instructions/{ward.first}/form").text
    assert mark in physician.get("/today").text
    assert "知情与否未知" in physician.get(f"/instructions/{ward.second}/form").text


def test_silence_without_a_relative_is_refused_at_its_field(service, patient_id):
    service.get(f"/patients/{patient_id}/disclosure")

    answer = service.post(f"/patients/{patient_id}/disclosure", {"state": "confidential", "note": "勿告知"})

    assert answer.status_code == 422
    assert 'id="error-contact_name"' in answer.text
    assert "勿告知" in answer.text


def test_the_end_of_contact_says_what_it_closes_and_can_be_undone_at_once(service, patient_id):
    assert (
        '<strong class="num">1</strong> 条待办将撤回'
        in service.get(f"/patients/{patient_id}/contact-end").text
    )

    answer = service.post(
        f"/patients/{patient_id}/contact-end", {"kind": "do_not_contact", "reason": "家属要求"}
    )

    assert answer.status_code == 303
    shown = service.get(f"/patients/{patient_id}").text
    assert "请勿联系" in shown
    undo = re.search(rf'data-undo="(/patients/{patient_id}/contact-end/[0-9a-f]+/undo)"', shown)[1]
    service.post(undo)
    assert "已恢复联系" in service.get(f"/patients/{patient_id}").text
    late = service.post(undo)
    assert (late.status_code, "这次登记已经撤销或恢复" in late.text) == (409, True)


def test_an_end_of_contact_beside_a_list_s_is_undone_alone_and_offered_once(service, patient_id, write):
    write(
        lambda work: contact_stop.end_contact(
            work, patient_id=patient_id, kind=StopKind.DO_NOT_CONTACT, reason="名单", source=BY_FILE
        )
    )
    address, own = f"/patients/{patient_id}/contact-end", {"kind": "do_not_contact", "reason": "本人来电"}

    def undos() -> list[str]:
        return re.findall(
            rf'data-undo="({address}/[0-9a-f]+/undo)"', service.get(f"/patients/{patient_id}").text
        )

    asked = service.get(address).text
    assert ("contact-restore" in asked, f"{address}?own=1" in asked) == (True, True)
    assert "谁提出、为什么" in service.get(f"{address}?own=1").text
    refused = service.post(address, {**own, "reason": ""})
    assert (refused.status_code, "谁提出、为什么" in refused.text) == (422, True)

    service.post(address, own)
    (first,) = undos()
    service.post(address, own)
    assert undos() == []
    assert f"{address}?own=1" not in service.get(address).text
    answer = service.post(first, follow_redirects=True)
    assert "联系仍按其他登记终止" in answer.text
    stops = write(lambda work: contact_stop.live_stops(work, patient_id))
    assert [stop.source for stop in stops] == [BY_FILE]


def test_a_stale_page_cannot_take_up_what_was_taken_up(service, patient_id):
    service.get(f"/patients/{patient_id}/contact-end")

    answer = service.post(f"/patients/{patient_id}/contact-restore", {"reason": "同意"})

    assert answer.status_code == 409
    assert "没有终止" in answer.text


def test_a_death_is_noted_listed_confirmed_and_taken_back(service, patient_id, database, write):
    asked = service.get(f"/patients/{patient_id}/death").text
    assert "条待办将撤回" in asked
    assert "节哀" in asked

    answer = service.post(f"/patients/{patient_id}/death", {"told_by": "女儿来电", "died_on": "2026-11-20"})

    assert answer.status_code == 303
    page = service.get(f"/patients/{patient_id}").text
    assert "已故待核实" in page
    assert '">已故 ' not in page  # said once
    assert "女儿来电" in service.get("/deaths").text
    service.post(f"/patients/{patient_id}/death/confirm", {"confirmation": "死亡证明"})
    assert "没有待核实" in service.get("/deaths").text
    service.post(f"/patients/{patient_id}/revoke-death", {"reason": "登错人"})
    assert write(lambda work: work.get(Patient, patient_id).deceased) is DeceasedState.ALIVE


def test_a_death_with_a_second_source_at_once_is_confirmed_and_one_source_is_not_two(service, patient_id):
    told = {"told_by": "女儿来电", "state": "confirmed"}

    for confirmation, words in ((" ", "由谁、以什么核实"), ("女儿来电 ", "不能与告知的是同一个")):
        refused = service.post(f"/patients/{patient_id}/death", {**told, "confirmation": confirmation})
        assert (refused.status_code, words in refused.text) == (422, True)
        assert 'id="error-confirmation"' in refused.text
    service.post(f"/patients/{patient_id}/death", {**told, "confirmation": "死亡证明"})

    assert "死亡已核实：死亡证明" in service.get(f"/patients/{patient_id}").text
    assert "没有待核实" in service.get("/deaths").text


def test_who_told_a_death_is_no_second_source_of_it_later_either(service, patient_id):
    service.post(f"/patients/{patient_id}/death", {"told_by": "女儿来电", "state": "waiting"})

    refused = service.post(f"/patients/{patient_id}/death/confirm", {"confirmation": " 女儿来电"})

    assert (refused.status_code, "不能与告知的是同一个" in refused.text) == (422, True)
    assert "女儿来电" in service.get("/deaths").text


def test_a_death_noted_by_mistake_is_taken_back_from_the_next_page_or_from_its_own(
    service, patient_id, write, browser_of
):
    service.post(f"/patients/{patient_id}/death", {"told_by": "女儿来电"})
    (undo,) = death_undos(service, patient_id)
    shown = service.get(f"/patients/{patient_id}/death").text
    assert "误登？撤销死亡登记" in shown
    assert "未知" in shown  # the disclosure mark, as on every page about calling

    service.post(undo)

    assert write(lambda work: work.get(Patient, patient_id).deceased) is DeceasedState.ALIVE
    assert "误登？撤销死亡登记" not in service.get(f"/patients/{patient_id}/death").text
    late = service.post(undo)
    assert (late.status_code, "这次登记已经撤销" in late.text) == (409, True)
    assert browser_of("li").post(undo).status_code == 403


def death_undos(browser, patient_id: str) -> list[str]:
    """What the next page offers to take back."""
    shown = browser.get(f"/patients/{patient_id}").text
    return re.findall(rf'data-undo="(/patients/{patient_id}/death/[0-9a-f]+/undo)"', shown)


def test_a_death_a_list_told_first_is_not_undone_by_whoever_tells_it_again(service, patient_id, write):
    service.get(f"/patients/{patient_id}/death")
    write(lambda work: report_death(work, patient_id=patient_id, source=DEATH_LIST, told_by="死亡名单"))

    answer = service.post(f"/patients/{patient_id}/death", {"told_by": "女儿"}, follow_redirects=True)

    assert "此前已登记患者已故" in answer.text
    assert "data-undo" not in answer.text
    assert "登记已故，待第二来源核实" not in answer.text


def test_a_death_that_another_source_told_since_is_not_undone_at_once(service, patient_id, write, clock):
    service.post(f"/patients/{patient_id}/death", {"told_by": "女儿"})
    (undo,) = death_undos(service, patient_id)
    clock.move(seconds=1)
    write(lambda work: report_death(work, patient_id=patient_id, source=DEATH_LIST, told_by="死亡名单"))

    refused = service.post(undo)

    assert (refused.status_code, "另有来源告知或核实了死亡" in refused.text) == (409, True)
    assert write(lambda work: work.get(Patient, patient_id).deceased) is DeceasedState.DECEASED


def test_a_death_noted_with_its_second_source_is_undone_as_one_act_by_whoever_did_it(
    service, patient_id, write, browser_of, make_person
):
    told = {"told_by": "女儿", "state": "confirmed", "confirmation": "死亡证明"}
    service.post(f"/patients/{patient_id}/death", told)
    (undo,) = death_undos(service, patient_id)
    make_person("chen", ["service_centre"])

    assert browser_of("chen").post(undo).status_code == 404
    assert service.post(undo).status_code == 303
    assert write(lambda work: work.get(Patient, patient_id).deceased) is DeceasedState.ALIVE


@pytest.mark.parametrize("page", ["contact-end", "death"])
def test_a_physician_may_not_end_contact_from_the_page(browser_of, ward, patient_id, page):
    physician = browser_of("li")

    assert physician.get(f"/patients/{patient_id}/{page}").status_code == 403
    assert f"/{page}" not in physician.get(f"/patients/{patient_id}").text


@pytest.mark.parametrize("page", ["disclosure", "contact-end", "death", "consents", "numbers"])
def test_for_another_department_there_is_no_such_patient(browser_of, ward, patient_id, make_person, page):
    make_person("sun", ["department_head"], display_name="孙主任")

    assert browser_of("sun").get(f"/patients/{patient_id}/{page}").status_code == 404


def test_consents_are_changed_where_they_differ_and_what_was_typed_survives_a_refusal(service, patient_id):
    address = f"/patients/{patient_id}/consents"
    service.get(address)

    refused = service.post(address, {"c-marketing-sms": "refused", "evidence": "", "given_by": "李红"})
    assert (refused.status_code, 'value="李红"' in refused.text) == (422, True)

    answer = service.post(address, {"c-marketing-sms": "refused", "c-care-call": "", "evidence": "电话告知"})
    assert answer.status_code == 303
    shown = service.get(address).text
    assert "已更新 1 项" in shown
    assert "营销推广 · 短信：拒绝" in shown


def test_a_number_is_added_described_and_ended_on_its_page(service, patient_id):
    address = f"/patients/{patient_id}/numbers"
    service.get(address)
    service.post(
        address, {"number": "0571-87654321", "use": "home", "relation": "女儿", "owner_name": "李红"}
    )
    shown = service.get(address).text
    assert "女儿 李红" in shown
    act = re.search(
        rf'action="(/patients/{patient_id}/known-numbers/contact/[0-9a-f]+)"[^>]*>(?s:.*?)李红', shown
    )[1]

    service.post(act, {"state": "verified", "relation": "女儿", "owner_name": "李红", "rank": "1"})

    assert "已核实" in service.get(f"/patients/{patient_id}").text
    service.post(act, {"state": "wrong", "relation": "女儿", "owner_name": "李红", "note": "打不通"})
    former = service.get(address).text.partition("<summary>历史</summary>")[2].partition("</ul>")[0]
    assert "已核实 · 女儿 李红 · 第 1 个拨打" in former
    assert "此项必填" in service.post(f"{act}/end", {"note": ""}, follow_redirects=True).text


def test_how_and_when_a_patient_would_be_reached_stands_beside_every_number(
    service, browser_of, ward, patient_id, write
):
    write(publish_fields)
    for code, values in (("preferred_channel", ["wechat"]), ("preferred_time", ["morning", "evening"])):
        write(
            lambda work, code=code, values=values: set_field(
                work, patient_id=patient_id, field_code=code, values=values
            )
        )

    physician = browser_of("li")
    for page in (
        f"/patients/{patient_id}",
        f"/patients/{patient_id}/numbers",
        f"/patients/{patient_id}/contacts/new",
    ):
        assert "首选微信，方便：上午、晚上" in service.get(page).text
    assert "首选微信，方便：上午、晚上" in physician.get(f"/instructions/{ward.first}/form").text
    assert "方便：上午、晚上" in physician.get("/today").text


def test_a_number_that_is_shown_to_be_dialled_has_the_mark_with_it(service, patient_id, write):
    silence(service, patient_id)
    page = service.get(f"/patients/{patient_id}").text
    reveal = re.search(r'hx-post="([^"]+/reveal/contact/[^"]+)"', page)[1]

    shown = service.post(reveal, {}).text

    assert "tel:" in shown
    assert "病情只与 女儿 李红 沟通" in shown


def test_a_call_that_found_the_number_empty_says_so_before_the_next(browser_of, ward):
    physician = browser_of("li")
    form = physician.get(f"/instructions/{ward.first}/form").text
    number = re.search(r'name="number" value="([^"]+)"', form)[1]
    key = re.search(r'name="record_id" value="([0-9a-f]{32})">\s*<input type="hidden" name="channel"', form)[
        1
    ]

    physician.post(
        f"/instructions/{ward.first}/attempts",
        {"record_id": key, "result": "invalid_number", "channel": "phone", "number": number},
    )

    assert "上次为空号，先核对" in physician.get(f"/instructions/{ward.first}/form").text
