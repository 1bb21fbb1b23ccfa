"""Pages around a merge: whatever leads to the archive that is gone leads to the one that stays."""

import pytest

from hcrm.archive.fields.models import PatientTag
from hcrm.archive.fields.notes import add_note
from hcrm.archive.fields.tags import add_tag
from hcrm.archive.identity.models import IdentityPair
from hcrm.archive.identity.pairs import propose_pair
from hcrm.archive.models import ContactPoint, PatientMerge
from hcrm.archive.reach.disclosure import set_disclosure
from hcrm.archive.terms import DisclosureState, PatientMark
from hcrm.archive.test_patients.service import mark_test_patient
from tests.support.adt import ABSENT, adt
from tests.support.hospital import Hospital
from tests.support.truth_table import STAY, evening

__all__ = ["evening"]

WOMAN = {"name": "李^四", "dob": "19550102", "sex": "F"}
SECOND = adt("A01", c=2, p=200, v="V2", phone="13812345678", m="10:30", **WOMAN)
A40 = adt("A40", c=5, p=200, mrg=100, m="16:00", phone=ABSENT, **WOMAN)


@pytest.fixture
def his(database, evening):
    with Hospital(database, evening) as hospital:
        hospital.receive(*STAY, SECOND)
        yield hospital


@pytest.fixture
def service(browser_of, make_person):
    make_person("liu", ["service_centre"])
    return browser_of("liu")


@pytest.fixture
def pair(his, write):
    """The two archives, put side by side by a person."""
    one, other = his.patient(100).id, his.patient(200).id
    key = write(lambda work: propose_pair(work, patient_id=one, other_id=other))
    return one, other, write(lambda work: work.get(IdentityPair, key))


def test_a_merge_of_the_his_between_preview_and_confirmation_is_told_and_nothing_is_merged_twice(
    his, service, pair
):
    one, _, row = pair
    keep = "low" if row.low_id == one else "high"  # the page would keep the one the HIS retires
    assert "将移动" in service.get(f"/identity/pairs/{row.id}/merge?keep={keep}").text
    his.receive(A40)
    before = his.snapshot()

    answer = service.post(
        f"/identity/pairs/{row.id}/merge",
        {"version": row.version, "keep": keep, "reason": "同一人"},
        follow_redirects=True,
    )

    assert "已经合并" in answer.text
    assert his.snapshot() == before
    assert len(his.all(PatientMerge)) == 1


def test_a_pair_one_of_whom_became_a_test_patient_is_not_merged(his, service, pair, write):
    one, _, row = pair
    write(lambda work: mark_test_patient(work, patient_id=one, mark=PatientMark.TEST, reason="接口测试"))

    answer = service.post(
        f"/identity/pairs/{row.id}/merge", {"version": row.version, "keep": "low", "reason": "同一人"}
    )

    assert answer.status_code in (303, 409)
    assert "测试患者" in service.get(f"/identity/pairs/{row.id}").text
    assert his.all(PatientMerge) == []


def test_number_bookmark_and_open_page_of_the_one_that_is_gone_lead_to_the_one_that_stays(
    his, service, write, pair
):
    gone, stays, _ = pair

    def add(work) -> None:
        add_tag(work, patient_id=gone, tag="术后")
        add_note(work, patient_id=gone, text="家属在场")
        set_disclosure(
            work,
            patient_id=gone,
            state=DisclosureState.CONFIDENTIAL,
            contact_name="张小妹",
            contact_relation="女",
        )

    write(add)
    (phone,) = his.all(ContactPoint, ContactPoint.patient_id == gone)
    his.receive(A40)

    found = service.post("/patients", {"q": "100"}, follow_redirects=True).text
    assert f"/patients/{stays}" in found
    assert f"/patients/{gone}" not in found
    answer = service.get(f"/patients/{gone}?tab=notes")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/patients/{stays}")
    for tab, word in (("notes", "家属在场"), ("visits", "V1")):
        assert word in service.get(f"/patients/{stays}?tab={tab}").text
    assert "术后" in service.get(f"/patients/{stays}").text
    revealed = service.post(f"/patients/{gone}/reveal/contact/{phone.id}").text  # from a page that was open
    assert "家属要求保密" in revealed

    service.post(f"/patients/{gone}/tags", {"tag": "复诊"})
    assert {row.patient_id for row in his.all(PatientTag)} == {stays}
