"""Page: who saw a patient, and what somebody did."""

import pytest

from hcrm.archive.merge.service import merge_patients
from hcrm.archive.queries import get_patient
from hcrm.audit.models import AuditOutcome
from hcrm.audit.queries import AuditFilters, list_events, same_patient
from hcrm.audit.service import record_audit
from hcrm.core.actor import Actor, system_actor
from hcrm.core.clock import local_date
from hcrm.core.work import open_work
from tests.support.builders import make_patient


@pytest.fixture
def auditor(browser_of, make_person):
    make_person("shen", roles=["auditor"], display_name="审计员甲")
    return browser_of("shen")


@pytest.fixture
def acting(database, clock):
    """A work of that person, a minute later."""

    def begin(name="王敏"):
        clock.move(minutes=1)
        actor = Actor(id=f"account:{name}", name=name, department_ids=None, address="10.0.0.7")
        return open_work(database, actor=actor, clock=clock)

    return begin


def test_the_page_says_who_saw_a_patient_also_before_a_merge(auditor, acting):
    with acting() as work:
        survivor, old, other = (make_patient(work).id for _ in range(3))
    for name, key in (("李四", old), ("赵六", survivor), ("无关", other)):
        with acting(name) as work:
            get_patient(work, key)
    with acting("合并") as work:
        merge_patients(work, survivor_id=survivor, merged_id=old, source="t", seq=1)

    for key in (survivor, old):
        page = auditor.get(f"/audit?patient={key}")
        assert page.status_code == 200
        assert "李四" in page.text
        assert "赵六" in page.text
        assert "无关" not in page.text


def test_reading_the_log_of_a_patient_is_itself_in_the_log(auditor, acting):
    with acting() as work:
        patient_id = make_patient(work).id

    auditor.get(f"/audit?patient={patient_id}")

    assert "审计员甲" in auditor.get(f"/audit?patient={patient_id}").text


def test_filters_narrow_by_actor_action_outcome_and_the_hospitals_day(database, acting, clock):
    with acting("李四") as work:
        record_audit(work, action="patient.read", outcome=AuditOutcome.DENIED)
    with acting("赵六") as work:
        record_audit(work, action="patient.search")

    def names(**filters):
        with open_work(database, actor=system_actor("test"), write=False) as work:
            return [event.actor_name for event in list_events(work, filters=AuditFilters(**filters)).items]

    assert names() == ["赵六", "李四"]
    assert names(actor_id="account:李四") == ["李四"]
    assert names(action="patient.search") == ["赵六"]
    assert names(outcome=AuditOutcome.DENIED) == ["李四"]
    today = local_date(clock.now())
    assert names(day=today) == ["赵六", "李四"]
    assert names(day=today.replace(day=today.day - 1)) == []


def test_an_unknown_filter_is_refused_and_an_unknown_patient_is_an_empty_list(auditor):
    for day in ("someday", "0001-01-01", "9999-12-31"):
        assert auditor.get(f"/audit?day={day}").status_code == 422
    assert auditor.get("/audit?outcome=maybe").status_code == 422
    assert "没有符合条件的记录" in auditor.get("/audit?patient=nobody&action=patient.reveal").text


def test_a_chain_of_merges_is_one_person(acting):
    with acting() as work:
        keys = [make_patient(work).id for _ in range(4)]
        for survivor, merged in ((0, 1), (2, 0), (2, 3)):
            merge_patients(work, survivor_id=keys[survivor], merged_id=keys[merged], source="t", seq=1)

        assert all(sorted(same_patient(work, key)) == sorted(keys) for key in keys)
