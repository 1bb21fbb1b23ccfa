"""Who is who, code maps, test patients in Chromium: a merge and its undoing from the page; how each page looks."""

import pytest

from hcrm.app.wiring import handlers
from hcrm.archive.identity.models import IdentityPair
from hcrm.archive.identity.scan import scan_changed
from hcrm.archive.models import Patient, PatientMerge
from hcrm.centre.models import Instruction, InstructionState
from hcrm.contact_log.models import Channel, ContactEntry, ContactResult
from hcrm.contact_log.service import record_contact
from hcrm.core import limits
from hcrm.core.actor import system_actor
from hcrm.core.definitions import publish_definition
from hcrm.core.delivery import deliver_events
from hcrm.core.paths import config_path
from hcrm.core.settings import load_settings
from hcrm.core.sources import Source, Sources
from hcrm.directory.code_maps import note_sightings
from hcrm.directory.entries import create_entry
from hcrm.directory.kinds import KINDS, CodeMapInput
from hcrm.directory.models import Practitioner, Region
from tests.support.builders import make_encounter, make_instruction, make_patient, publish_matching

DESK = {"width": 1280, "height": 720}
PHONE = {"width": 390, "height": 844}
LONG = "买买提·阿不都热依木·艾尼瓦尔·吐尔逊江·玉素甫艾山"


@pytest.fixture
def pair(database, clock, ward, write):
    """张建国 twice, each with a plan by one protocol; found by the rule, as after a night."""

    def add(work):
        publish_matching(work)
        known = work.one(Patient, Patient.name == "张建国")
        (plan,) = work.all(Instruction, Instruction.patient_id == known.id)
        second = make_patient(work, name="张建国")
        make_instruction(
            work, encounter=make_encounter(work, patient=second), step_code=plan.step_code, due_on=plan.due_on,
            assignee=work.get(Practitioner, plan.assignee_id),
        )  # fmt: skip
        return known.id, second.id

    ids = write(add)
    clock.move(seconds=limits.PAIR_SETTLE_SECONDS + 1)
    scan_changed(database, system_actor("test"), clock)
    return (*ids, write(lambda work: work.one(IdentityPair).id))


@pytest.fixture
def settle(database, clock):
    """What the worker does with the facts of a merge."""
    heard = handlers(load_settings(), Sources([Source(code="default", title="default")]))

    def run():
        while deliver_events(database, heard, clock, system_actor("worker")):
            pass

    return run


def plans(write):
    rows = write(lambda work: [(row.patient_id, row.state) for row in work.all(Instruction)])
    return [patient_id for patient_id, state in rows if state is InstructionState.ISSUED]


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)  # the services are proved on both
def test_two_with_one_plan_are_merged_and_parted_from_the_page_and_a_call_goes_where_a_person_says(
    page_of, pair, write, settle, clock
):
    """Check 3 of mechanisms section 5."""
    low, high, _ = pair
    page = page_of("wang")
    page.goto("/identity")
    page.get_by_role("link", name="张建国").first.click()
    page.get_by_role("button", name="下一步：看会移动什么").click()
    page.wait_for_url("**/merge?keep=*")
    assert "随访指令 1" in page.inner_text("main")
    page.get_by_role("button", name="合并这两份档案").click()
    page.get_by_text("此项必填").first.wait_for()
    page.fill("[name=reason]", "核对了身份证")
    page.get_by_role("button", name="合并这两份档案").click()
    page.wait_for_url("**/patients/*")
    settle()
    (merge,) = write(lambda work: work.all(PatientMerge))
    assert {merge.survivor_id, merge.merged_id} == {low, high}
    assert plans(write).count(merge.survivor_id) == 1  # one goes on
    page.goto(f"/patients/{merge.survivor_id}")
    assert "核对了身份证" in page.inner_text("main")
    assert "档案合并，同一方案已有一份" in page.inner_text("main")  # the other's history stays in sight

    clock.move(minutes=5)
    entry = write(
        lambda work: record_contact(
            work,
            patient_id=merge.survivor_id,
            channel=Channel.PHONE,
            result=ContactResult.REACHED,
            note="说是弟弟",
        )
    )
    page.goto(f"/identity/merges/{merge.id}")
    assert "说是弟弟" in page.inner_text("main")
    page.locator(f"[name='contact_entry.{entry}'][value=merged]").check()
    page.fill("[name=reason]", "是兄弟二人")
    page.get_by_role("button", name="撤销合并").click()
    page.wait_for_url(f"**/patients/{merge.merged_id}")
    settle()

    assert (plans(write).count(low), plans(write).count(high)) == (1, 1)
    assert write(lambda work: work.get(ContactEntry, entry).patient_id) == merge.merged_id
    page.goto("/identity?state=not_same")
    assert "撤销合并" in page.inner_text("main")


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)  # a page looks alike on both
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_pages_fit_their_screen_and_axe_finds_no_fault(page_of, make_person, pair, ward, write, clock, size):
    from axe_playwright_python.sync_playwright import Axe  # only here

    def add(work):
        body = config_path("test_patients.yaml").read_text(encoding="utf-8")
        publish_definition(work, kind="test_patients", code="test_patients", version=1, body=body)
        for number in range(30):
            test = make_patient(work, name=f"{LONG}测试{number}")
            test.is_test, test.test_reason = True, "姓名含“测试”"
        kinds = ("sex", "marital_status", "diagnosis_system", "abnormal_flag", "cost_class", "class")
        note_sightings(
            work,
            [(7, ("default", kind, f"很长的本地代码{number}")) for number, kind in enumerate(kinds)],
            clock.now(),
        )
        work.add(Region(code="330106", name="西湖区", level=3, valid_from=None, valid_to=None))
        typed = {"source": "default", "kind": "sex", "local_code": "很长的本地代码0", "target": "male"}
        return create_entry(work, KINDS["code_map"], CodeMapInput(**typed))

    code = write(add)
    doctor = write(lambda work: work.one(Practitioner, Practitioner.name == "李大夫").id)
    own = make_own(write)
    make_person("gao", ["interface"])
    make_person("gu", ["sysadmin"])
    visits = {
        "wang": [
            "/identity", "/identity?state=merged", f"/identity/pairs/{pair[2]}",
            f"/identity/pairs/{pair[2]}/merge?keep=low", "/patients/new", f"/patients/{own}/base", "/test-patients",
        ],
        "gao": [
            "/directory/codes", "/directory/codes?kind=marital_status", f"/directory/code_map/{code}",
            "/directory/code_map/new?kind=cost_class&local_code=01", "/staff", "/departments",
            "/directory/campuses", "/directory/campus/new", "/directory/regions?q=西湖", "/directory/region/330106",
            f"/directory/practitioner/{doctor}", f"/directory/department/{ward.department_id}",
        ],
        "gu": ["/test-patients", "/test-patients/rules"],
    }  # fmt: skip
    faults = []
    for username, paths in visits.items():
        page = page_of(username)
        page.set_viewport_size(size)
        for path in paths:
            assert page.goto(path).ok, path
            found = Axe().run(page).response["violations"]
            wide = max(0, page.evaluate("document.documentElement.scrollWidth - innerWidth"))
            faults += [(path, fault["id"], fault["nodes"][0]["target"]) for fault in found]
            faults += [(path, "too wide", wide)] if wide else []
    assert faults == []


def make_own(write):
    """An archive made by hand, whose base data may be changed."""
    return write(lambda work: make_patient(work, name=LONG).id)
