"""The patient's page: who opens it, what is masked, what a click shows, and what each tab tells."""

import pytest
import sqlalchemy as sa

from hcrm.archive.death import report_death
from hcrm.archive.merge.service import merge_patients
from hcrm.archive.models import (
    Address,
    ContactPoint,
    DeceasedState,
    IdentifierKind,
    Patient,
    PatientIdentifier,
    RelatedPerson,
)
from hcrm.audit.models import AuditEvent, AuditOutcome, AuditSubject
from hcrm.directory.models import Department
from tests.support.builders import SOURCE, make_encounter, make_patient
from tests.support.record import ID_NUMBER, PLACE, TABS, page
from tests.support.station import PHONE


def audited(write, action):
    """Outcome and patients of the last act of that name."""

    def look(work):
        event = work.session.scalars(
            sa.select(AuditEvent).where(AuditEvent.action == action).order_by(AuditEvent.id.desc())
        ).first()
        if event is None:
            return None
        return event.outcome, work.scalars(
            sa.select(AuditSubject.subject_patient_id).where(AuditSubject.audit_id == event.id)
        )

    return write(look)


# ── who opens it ────────────────────────────────────────────────────────────


def test_the_page_shows_the_person_masked_and_notes_the_read(patient, browser_of, write):
    shown = page(browser_of("li"), patient).text

    assert "<title>患者档案" in shown  # no name: it would stand in the browser's history
    for words in (
        "张建国",
        "00481516",
        "138****8000",
        "110***********1518",
        "浙江省杭州市西湖区",
        "青霉素过敏",
        "王芳",
    ):
        assert words in shown
    for secret in (PHONE, ID_NUMBER, PLACE, "13912345678"):
        assert secret not in shown
    assert audited(write, "patient.read") == (AuditOutcome.DONE, [patient])


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_of_another_departments_patient_is_as_if_it_did_not_exist(patient, browser_of, write, tab):
    answer = page(browser_of("qian"), patient, tab)

    assert answer.status_code == 404
    assert "张建国" not in answer.text
    assert audited(write, "patient.read") == (AuditOutcome.DENIED, [patient])


def test_a_key_nobody_has_is_the_same_404(patient, browser_of):
    assert page(browser_of("li"), "0" * 32).status_code == 404


def test_a_merged_record_leads_to_the_one_that_stands(patient, browser_of, write):
    def merge(work):
        old = make_patient(work, name="张健国")
        merge_patients(work, survivor_id=patient, merged_id=old.id, source=SOURCE, seq=9)
        return old.id

    old = write(merge)
    browser = browser_of("li")
    answer = page(browser, old)

    assert (answer.status_code, answer.location) == (303, f"/patients/{patient}")
    shown = page(browser, patient).text
    assert "您打开的档案已合并" in shown
    assert "合并过 1 份档案" in shown


def test_a_merge_gives_nobody_a_right_they_did_not_have(patient, browser_of, write):
    def merge(work):
        surgery = work.one(Department, Department.name == "外科")
        mine = make_encounter(work, department=surgery, discharged_at=None).patient_id
        old = make_patient(work, name="旧档案")
        merge_patients(work, survivor_id=patient, merged_id=old.id, source=SOURCE, seq=9)
        return mine, old.id

    mine, old = write(merge)
    stranger = browser_of("qian")

    assert page(stranger, mine).status_code == 200
    assert page(stranger, old).status_code == 404


@pytest.mark.parametrize(
    ("state", "words"), [(DeceasedState.DECEASED, "已故"), (DeceasedState.DISPUTED, "存疑")]
)
def test_a_death_stands_on_top_of_the_page(patient, browser_of, write, state, words):
    write(lambda work: setattr(work.one(Patient, Patient.id == patient), "deceased", state))

    assert words in page(browser_of("li"), patient).text


# ── masked values ───────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "model", "value"),
    [("contact", ContactPoint, PHONE), ("identifier", PatientIdentifier, ID_NUMBER), ("address", Address, PLACE),
     ("related", RelatedPerson, "13912345678")],
)  # fmt: skip
def test_one_click_shows_one_value_and_is_noted(patient, browser_of, write, kind, model, value):
    def find(work):
        where = [model.patient_id == patient]
        if model is PatientIdentifier:
            where.append(model.kind == IdentifierKind.CITIZEN)
        return work.one(model, *where).id

    browser = browser_of("li")
    page(browser, patient)
    address = f"/patients/{patient}/reveal/{kind}/{write(find)}"
    answer = browser.post(address)

    assert answer.status_code == 200
    assert value in answer.text
    assert "<html" not in answer.text
    assert ('href="tel:1' in answer.text) == (kind in ("contact", "related"))
    assert audited(write, "patient.reveal") == (AuditOutcome.DONE, [patient])
    stranger = browser_of("qian")
    assert stranger.post(address).status_code == 404
    assert audited(write, "patient.reveal") == (AuditOutcome.DENIED, [patient])


def test_a_value_is_shown_under_its_own_patient_only(patient, browser_of, write):
    def other(work):
        patients = {one.name: one.id for one in work.all(Patient)}
        return patients["李秀英"], work.one(ContactPoint, ContactPoint.patient_id == patient).id

    second, number = write(other)
    browser = browser_of("li")
    page(browser, second)

    assert browser.post(f"/patients/{second}/reveal/contact/{number}").status_code == 404
    assert browser.post(f"/patients/{patient}/reveal/password/{number}").status_code == 404


def test_who_may_only_read_gets_no_button_and_no_value(patient, make_person, browser_of, write):
    make_person("office", ["medical_office"])
    browser = browser_of("office")
    number = write(lambda work: work.one(ContactPoint, ContactPoint.patient_id == patient).id)

    assert "/reveal/" not in page(browser, patient).text
    assert browser.post(f"/patients/{patient}/reveal/contact/{number}").status_code == 403


# ── a death taken back ──────────────────────────────────────────────────────


@pytest.fixture
def mourned(patient, write):
    """张建国, said on the phone to have died."""
    write(lambda work: report_death(work, patient_id=patient))
    return patient


def test_the_head_takes_a_death_back_with_a_reason(mourned, browser_of):
    head = browser_of("zhao")
    shown = page(head, mourned).text
    assert "已故" in shown
    assert "随访登记" in page(head, mourned).text, "where that comes from"
    empty = head.post(f"/patients/{mourned}/revoke-death", {"reason": " "})
    assert (empty.status_code, "此项必填" in empty.text) == (422, True)

    answer = head.post(f"/patients/{mourned}/revoke-death", {"reason": "误点"})

    assert (answer.status_code, answer.headers["Location"]) == (303, f"/patients/{mourned}")
    again = page(head, mourned).text
    assert "死亡登记已撤销：误点" in again
    assert "撤销死亡登记</summary>" not in again


def test_a_physician_is_not_offered_it(mourned, browser_of):
    physician = browser_of("li")

    assert "撤销死亡登记" not in page(physician, mourned).text
    assert physician.post(f"/patients/{mourned}/revoke-death", {"reason": "误点"}).status_code == 403


def test_a_death_told_by_the_his_says_where_to_correct_it(mourned, browser_of, write):
    def tell(work):
        row = work.get(Patient, mourned)
        row.provenance = {**row.provenance, "deceased": [work.clock.now().isoformat(), "his", 7]}

    write(tell)
    head = browser_of("zhao")

    assert "请在 HIS 更正后重发" in page(head, mourned).text
    refused = head.post(f"/patients/{mourned}/revoke-death", {"reason": "误点"})
    assert (refused.status_code, "死亡由 HIS 消息通知，请先在 HIS 更正" in refused.text) == (409, True)
