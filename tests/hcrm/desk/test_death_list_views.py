"""The death list on the pages: what waits, the decision, the alarm where today's list is missing."""

import pytest

from hcrm.archive.death_list.models import DeathListEntry, EntryState, NearReason
from hcrm.archive.death_list.state import death_list_policy
from hcrm.archive.imports.death_list import KIND
from hcrm.archive.models import DeceasedState, Patient
from hcrm.centre.models import Instruction
from tests.support.station import Ward

LINE = {"name": "张建国", "state": EntryState.NEAR, "reason": NearReason.NAMESAKE}


def keep_line(work, patient: Patient, **values) -> str:
    """A line of a list with the patient's name and birth date."""
    entry = DeathListEntry(
        id=work.new_id(), fingerprint=work.new_id(), import_id=KIND, created_at=work.clock.now(),
        **{**LINE, "name": patient.name, "birth_date": patient.birth_date, **values},
    )  # fmt: skip
    work.add(entry)
    return entry.id


@pytest.fixture
def patient_id(ward: Ward, write) -> str:
    return write(lambda work: work.get(Instruction, ward.first).patient_id)


@pytest.fixture
def entry_id(patient_id, write) -> str:
    return write(lambda work: keep_line(work, work.get(Patient, patient_id)))


@pytest.fixture
def required(monkeypatch, tmp_path):
    """A folder without a list, and nothing is sent without one."""
    monkeypatch.setenv("HCRM_DEATH_LIST__FOLDER", str(tmp_path))
    monkeypatch.setenv("HCRM_DEATH_LIST__REQUIRED", "true")
    death_list_policy.cache_clear()
    yield
    monkeypatch.undo()
    death_list_policy.cache_clear()


def test_a_near_match_is_confirmed_on_its_page_with_a_choice(browser_of, ward, patient_id, entry_id, write):
    browser = browser_of("wang")
    assert "同名同生日，没有号码" in browser.get("/deaths/list").text
    assert "1 条待核对" in browser.get("/deaths").text
    assert "张建国" in browser.get(f"/deaths/list/{entry_id}").text

    refused = browser.post(f"/deaths/list/{entry_id}/confirm", {"note": "家属证实"})
    assert (refused.status_code, "请选择是哪一份档案" in refused.text, "家属证实" in refused.text) == (
        422,
        True,
        True,
    )
    done = browser.post(f"/deaths/list/{entry_id}/confirm", {"patient": patient_id, "note": "家属证实"})

    assert (done.status_code, write(lambda work: work.get(Patient, patient_id).deceased)) == (
        303, DeceasedState.DECEASED,
    )  # fmt: skip
    assert "张建国" in browser.get("/deaths").text
    stale = browser.post(f"/deaths/list/{entry_id}/reject", {"note": "看错"})
    assert (stale.status_code, "已处理：核对为本人" in stale.text) == (409, True)


def test_a_no_needs_its_ground_and_is_undone_at_once(browser_of, ward, entry_id, write):
    browser = browser_of("wang")
    browser.get(f"/deaths/list/{entry_id}")
    assert "请填写核对依据" in browser.post(f"/deaths/list/{entry_id}/reject", {"note": " "}).text
    assert browser.post(f"/deaths/list/{entry_id}/reject", {"note": "同名"}).status_code == 303

    browser.post(f"/deaths/list/{entry_id}/reopen")

    assert write(lambda work: work.get(DeathListEntry, entry_id).state) is EntryState.NEAR


def test_without_the_permission_there_is_no_list_and_no_way_to_it(browser_of, ward, entry_id):
    browser = browser_of("zhao")  # a head: may record deaths, sees one department

    assert browser.get("/deaths/list").status_code == 403
    assert browser.get(f"/deaths/list/{entry_id}").status_code == 403
    assert "死亡名单" not in browser.get("/deaths").text


def test_the_workbench_says_that_nothing_is_sent_today_and_why(browser_of, ward, required):
    browser = browser_of("wang")

    for path in ("/workbench", "/deaths", "/deaths/list"):
        assert "应用之前不向患者发送任何消息" in browser.get(path).text
    assert "文件夹：今天还没有处理" in browser.get("/workbench").text
    assert "hcrm_death_list_current 0.0" in browser.get("/metrics").text


def test_that_there_is_no_list_is_confirmed_with_its_ground_and_taken_back(browser_of, ward, required):
    browser = browser_of("wang")
    assert "今天确实没有新名单" in browser.get("/deaths/list").text

    refused = browser.post("/deaths/list/none", {"reason": " "})
    assert (refused.status_code, "请写明依据" in refused.text) == (422, True)
    assert browser.post("/deaths/list/none", {"reason": "疾控“王”<科长>电话"}).status_code == 303

    shown = browser.get("/deaths/list").text
    assert ("疾控“王”&lt;科长&gt;电话" in shown, "还没有应用" in shown, "撤回确认" in shown) == (
        True,
        False,
        True,
    )
    again = browser.post("/deaths/list/none", {"reason": "又一次"})
    assert (again.status_code, "不需要确认" in again.text) == (409, True)
    browser.post("/deaths/list/none/undo", {})
    assert "应用之前不向患者发送任何消息" in browser.get("/workbench").text
    assert browser_of("zhao").post("/deaths/list/none", {"reason": "没有"}).status_code == 403


def test_a_hospital_without_a_list_reads_of_none(browser_of, ward):
    browser = browser_of("wang")

    assert "死亡名单还没有应用" not in browser.get("/workbench").text
    assert "没有配置每天的死亡名单" in browser.get("/deaths/list").text
