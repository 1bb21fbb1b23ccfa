"""Pages of instructions: the list with its exceptions, one instruction, and what people do with it."""

import pytest
import sqlalchemy as sa

from hcrm.audit.models import AuditEvent
from hcrm.centre.models import Instruction, InstructionState
from hcrm.core.actor import system_actor
from hcrm.core.work import open_work
from hcrm.directory.models import Practitioner
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings
from tests.support.station import ward

__all__ = ["app", "browser_of", "cheap_passwords", "make_person", "settings", "ward"]


@pytest.fixture
def centre(ward, browser_of):
    return browser_of("wang")


def read(database, statement):
    with open_work(database, actor=system_actor("test"), write=False) as work:
        return work.execute(statement).scalars().all()


def state_of(database, key):
    return read(database, sa.select(Instruction.state).where(Instruction.id == key))[0]


def physician_key(database, name):
    return read(database, sa.select(Practitioner.id).where(Practitioner.name == name))[0]


def test_the_list_opens_on_what_is_still_to_be_done(centre, ward, database):
    centre.post(f"/instructions/{ward.second}/withdraw", {"reason": "重复下达"})

    opened = centre.get("/instructions").text
    assert "张建国" in opened
    assert "李秀英" not in opened
    assert "李秀英" in centre.get("/instructions?state=all").text
    assert "李秀英" in centre.get("/instructions?state=withdrawn").text


def test_what_nobody_carries_out_is_a_queue_of_its_own(centre, ward, browser_of):
    browser_of("li").post(f"/instructions/{ward.first}/return", {"reason": "患者已转外科"})

    queue = centre.get("/instructions?exception=1").text
    assert "张建国" in queue
    assert "李秀英" not in queue
    assert "患者已转外科" in centre.get(f"/instructions/{ward.first}").text


def test_a_list_narrowed_to_nothing_offers_the_way_back(centre, ward):
    page = centre.get("/instructions?department=nowhere&overdue=1").text

    assert "没有符合条件的记录" in page
    assert 'href="/instructions?state=all"' in page


def test_an_instruction_says_why_it_was_issued_and_what_became_of_it(centre, ward, browser_of):
    browser_of("li").post(f"/instructions/{ward.first}/accept")
    page = centre.get(f"/instructions/{ward.first}").text

    assert "test.discharge 第 1 版" in page
    assert "出院后第 7 天，可提前 2 天，可延后 5 天" in page
    assert "已接收" in page
    assert "李大夫" in page


def test_accepting_twice_is_accepting_once(ward, browser_of, database):
    physician = browser_of("li")
    answers = [physician.post(f"/instructions/{ward.first}/accept") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [303, 303]
    assert state_of(database, ward.first) is InstructionState.ACCEPTED


@pytest.mark.parametrize("act", ["return", "withdraw"])
def test_giving_back_and_taking_back_need_a_reason(centre, ward, database, act):
    answer = centre.post(f"/instructions/{ward.first}/{act}", {"reason": " "})

    assert answer.status_code == 422
    assert f'id="error-{act}">此项必填' in answer.text
    assert state_of(database, ward.first) is InstructionState.ISSUED


def test_an_instruction_is_given_to_another_physician(centre, ward, browser_of, database):
    qian = physician_key(database, "钱大夫")
    assert centre.post(f"/instructions/{ward.first}/reassign", {"practitioner_id": qian}).status_code == 303

    assert "改派给 钱大夫" in centre.get(f"/instructions/{ward.first}").text
    assert "张建国" in browser_of("qian").get("/today").text
    assert "张建国" not in browser_of("li").get("/today").text


def test_giving_it_to_nobody_is_said_at_the_choice(centre, ward):
    answer = centre.post(f"/instructions/{ward.first}/reassign", {"practitioner_id": ""})

    assert answer.status_code == 422
    assert 'id="error-practitioner_id">此项必填' in answer.text


def test_what_was_withdrawn_meanwhile_is_a_conflict_and_keeps_the_reason(centre, ward, browser_of):
    centre.post(f"/instructions/{ward.first}/withdraw", {"reason": "重复下达"})
    answer = browser_of("li").post(f"/instructions/{ward.first}/return", {"reason": "患者要求换人"})

    assert answer.status_code == 409
    assert "该指令已撤回，不能退回" in answer.text
    assert "患者要求换人" in answer.text


def test_a_physician_neither_withdraws_nor_reassigns(ward, browser_of, database):
    physician = browser_of("li")
    page = physician.get(f"/instructions/{ward.first}").text
    answers = [
        physician.post(f"/instructions/{ward.first}/{act}", {"reason": "x"})
        for act in ("withdraw", "reassign")
    ]

    assert "/withdraw" not in page
    assert "/reassign" not in page
    assert [answer.status_code for answer in answers] == [403, 403]
    assert state_of(database, ward.first) is InstructionState.ISSUED


@pytest.mark.parametrize("act", ["", "/accept", "/return"])
def test_another_departments_instruction_is_not_there(ward, browser_of, act):
    stranger = browser_of("qian")
    path = f"/instructions/{ward.first}{act}"
    answer = stranger.post(path, {"reason": "x"}) if act else stranger.get(path)

    assert answer.status_code == 404
    assert "张建国" not in answer.text


def test_reading_the_list_and_one_of_it_is_noted(centre, ward, database):
    centre.get("/instructions")
    centre.get(f"/instructions/{ward.first}")

    actions = read(database, sa.select(AuditEvent.action))
    assert {"instruction.list", "instruction.read"} <= set(actions)
