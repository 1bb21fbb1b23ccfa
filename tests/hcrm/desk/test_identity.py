"""Who is who, decided by a person on the patient's page: a number given to somebody else, a merge undone, a newborn."""

import re

import pytest

from followup.queries import list_phones
from hcrm.archive.fields.models import PatientTag
from hcrm.archive.fields.tags import add_tag
from hcrm.archive.links import tell_link
from hcrm.archive.models import LinkKind, Patient, PatientIdentifier, PatientMerge
from hcrm.archive.visit_models import Encounter
from hcrm.audit.models import AuditEvent, AuditSubject
from hcrm.contact_log.models import Channel, ContactEntry, ContactRecording, ContactResult
from hcrm.contact_log.service import record_contact
from hcrm.core.work import Work
from hcrm.inbox.models import ApplicationState
from tests.support.adt import ABSENT, adt
from tests.support.builders import make_department, make_encounter, make_patient
from tests.support.hospital import Hospital
from tests.support.truth_table import NI, OTHER_NI, STAY, evening

__all__ = ["evening"]

STRANGER = adt("A01", c=9, v="V9", name="王^五", sex="F", dob="19551201", ni=OTHER_NI, m="16:00")
WOMAN = {"name": "李^四", "dob": "19550102", "sex": "F"}


@pytest.fixture
def his(database, evening):
    with Hospital(database, evening) as hospital:
        yield hospital


@pytest.fixture
def service(browser_of, make_person):
    make_person("liu", ["service_centre"])
    return browser_of("liu")


def decide(browser, patient_id: str, kind: str, key: str, reason: str = "HIS 建档时发重了号"):
    if kind == "undo":
        return browser.post(f"/identity/merges/{key}/undo", {"reason": reason}, follow_redirects=True)
    return browser.post(
        f"/patients/{patient_id}/numbers/{key}/end", {f"reason-{key}": reason}, follow_redirects=True
    )


def number_of(his: Hospital, value: str) -> PatientIdentifier:
    (row,) = his.all(PatientIdentifier, PatientIdentifier.value == value)
    return row


def test_a_number_given_to_somebody_else_is_ended_and_the_parked_message_makes_an_archive(his, service):
    his.receive(*STAY, adt("A08", c=2, ni=NI, m="12:30"), STRANGER)
    patient = his.patient(100)
    assert his.application().reason == "identity_conflict"
    shown = service.get(f"/patients/{patient.id}").text
    assert "已搁置" in shown
    assert re.search(r"/interface/messages/\d+", shown)

    answer = decide(service, patient.id, "end", number_of(his, "100").id)
    assert "已停用此病案号" in answer.text
    seq = his.messages()[-1].seq
    service.get(f"/interface/messages/{seq}")
    service.post(f"/interface/messages/{seq}/replay")
    his.settle()

    assert his.application().state is ApplicationState.APPLIED
    assert {row.name for row in his.all(Patient)} == {"张三", "王五"}
    assert his.visit("V1").patient_id == patient.id
    assert his.visit("V9").patient_id != patient.id


def test_a_merge_is_undone_on_the_page_with_its_reason(his, service):
    his.receive(
        *STAY,
        adt("A01", c=2, p=200, v="V2", m="10:30", **WOMAN),
        adt("A40", c=5, p=200, mrg=100, m="16:00", phone=ABSENT, **WOMAN),
    )
    survivor = his.patient(200)
    (merge,) = his.all(PatientMerge)
    assert "撤销与 张三 的合并" in service.get(f"/patients/{survivor.id}").text

    answer = decide(service, survivor.id, "undo", merge.id, "两人同名，不是同一人")

    assert "已撤销合并" in answer.text
    assert his.patient(100).id == merge.merged_id
    assert {row.patient_id for row in his.all(Encounter, Encounter.visit_no == "V1")} == {merge.merged_id}
    assert "两人同名" in service.get(f"/patients/{survivor.id}").text

    again = decide(service, survivor.id, "undo", merge.id)
    assert "这次合并已撤销" in again.text


def test_without_a_reason_nothing_is_decided(his, service):
    his.receive(*STAY)
    number = number_of(his, "100")

    answer = decide(service, his.patient(100).id, "end", number.id, "  ")

    assert 'role="alert"' in answer.text
    assert number_of(his, "100").ended_at is None


def test_a_physician_decides_nothing_of_the_kind(his, browser_of, make_person):
    make_person("zhao", ["physician"])
    his.receive(*STAY)

    answer = decide(browser_of("zhao"), his.patient(100).id, "end", number_of(his, "100").id)

    assert answer.status_code in (403, 404)
    assert number_of(his, "100").ended_at is None


def test_a_newborn_s_page_leads_to_the_mother_and_hers_to_the_child(his, service):
    his.receive(
        adt("A01", c=1, name="张^三", sex="F"),
        adt(
            "A01",
            c=2,
            p=300,
            v="V3",
            name="张三之子",
            dob="20261122",
            phone=ABSENT,
            m="11:00",
            PID_21="100^^^H1^MR",
            PID_24="Y",
        ),
    )
    child, mother = his.patient(300), his.patient(100)
    with his.look() as work:
        (phone,) = list_phones(work, patient_id=child.id)
        assert phone.whose == "母亲 张三"
    service.get(f"/patients/{child.id}")
    shown = service.post(f"/patients/{child.id}/reveal/contact/{phone.id}")
    assert "139 1234 5678" in shown.text or "13912345678" in shown.text

    assert (
        f'<dt>母亲</dt><dd><a href="/patients/{mother.id}">张三</a>'
        in service.get(f"/patients/{child.id}").text
    )
    assert f'<a href="/patients/{child.id}">张三之子</a>' in service.get(f"/patients/{mother.id}").text


def test_archives_of_others_are_named_to_whom_they_are_open_and_the_look_is_noted(
    write, browser_of, make_person
):
    def make(work: Work) -> tuple[str, list[str], str]:
        ward, other = make_department(work, name="儿科"), make_department(work, name="精神科")
        child = make_patient(work, name="小孩")
        make_encounter(work, patient=child, department=ward)
        others = []
        links = [
            ("母亲某", LinkKind.MOTHER, True),
            ("双胞胎某", LinkKind.SAME_PERSON, False),
            ("孙辈某", LinkKind.MOTHER, False),
        ]
        for seq, (name, kind, is_mine) in enumerate(links):
            patient = make_patient(work, name=name)
            make_encounter(work, patient=patient, department=other)
            one, two = (child, patient) if is_mine else (patient, child)
            now = work.clock.now()
            tell_link(work, patient_id=one.id, other_id=two.id, kind=kind, source="his", as_of=now, seq=seq)
            others.append(patient.id)
        return child.id, others, ward.code

    child, others, ward = write(make)
    make_person("zhao", ["physician"], department_code=ward)
    make_person("qian", ["service_centre"])

    page = browser_of("zhao").get(f"/patients/{child}").text
    for words in ("另有母亲档案", "另有子女档案 1 份", "另有可能同一人的档案 1 份"):
        assert words in page
    for words in ("母亲某", "双胞胎某", "孙辈某", *others):
        assert words not in page
    assert write(lambda work: work.all(AuditEvent, AuditEvent.action == "identity.links")) == []

    page = browser_of("qian").get(f"/patients/{child}").text
    for words in ("母亲某", "双胞胎某", "孙辈某", *others):
        assert words in page
    (noted,) = write(lambda work: work.all(AuditEvent, AuditEvent.action == "identity.links"))
    subjects = write(lambda work: work.all(AuditSubject, AuditSubject.audit_id == noted.id))
    assert {row.subject_patient_id for row in subjects} == set(others)


def test_what_came_meanwhile_is_shown_before_and_goes_where_a_person_says(his, service):
    his.receive(
        *STAY,
        adt("A01", c=2, p=200, v="V2", m="10:30", **WOMAN),
        adt("A40", c=5, p=200, mrg=100, m="16:00", phone=ABSENT, **WOMAN),
        adt("A01", c=6, p=200, v="V6", m="16:30", **WOMAN),
        adt("A01", c=7, p=200, v="V7", m="16:40", **WOMAN),
        adt("A01", c=8, p=100, v="V8", m="16:50"),
    )
    (merge,) = his.all(PatientMerge)
    keys = {row.visit_no: row.id for row in his.all(Encounter)}

    shown = service.get(f"/identity/merges/{merge.id}").text
    assert '合并期间收到的 <span class="num">3</span> 项' in shown
    assert "以它的病案号发来" in shown
    answer = service.post(
        f"/identity/merges/{merge.id}/undo", {"reason": "两人", f"encounter.{keys['V6']}": "merged",
                                              f"encounter.{keys['V2']}": "merged"}, follow_redirects=True,
    )  # fmt: skip

    assert "已撤销合并" in answer.text
    owners = {row.visit_no: row.patient_id for row in his.all(Encounter)}
    first, second = merge.merged_id, merge.survivor_id
    assert owners == {
        "V1": first,
        "V2": second,
        "V6": first,
        "V7": second,
        "V8": first,
    }  # V2 was never in question


def test_what_a_message_left_behind_is_sorted_afterwards(his, service):
    part = ["PID|2||100^^^H1^MR||张^三||19900307|M"]
    his.receive(
        *STAY,
        adt("A01", c=2, p=200, v="V2", m="10:30", **WOMAN),
        adt("A40", c=5, p=200, mrg=100, m="16:00", phone=ABSENT, **WOMAN),
        adt("A01", c=6, p=200, v="V6", m="16:30", **WOMAN),
        adt("A37", c=9, p=200, m="16:50", segments=part, **WOMAN),
    )
    (merge,) = his.all(PatientMerge)
    (visit,) = his.all(Encounter, Encounter.visit_no == "V6")
    assert f"/identity/merges/{merge.id}" in service.get(f"/patients/{merge.survivor_id}").text
    service.get(f"/identity/merges/{merge.id}")

    service.post(f"/identity/merges/{merge.id}/sort", {f"encounter.{visit.id}": "merged"})

    (visit,) = his.all(Encounter, Encounter.visit_no == "V6")
    assert visit.patient_id == merge.merged_id
    assert his.all(PatientMerge)[0].left is None
    assert "都已核对" in service.get(f"/identity/merges/{merge.id}").text


def test_whatever_people_wrote_meanwhile_is_shown_and_goes_with_what_hangs_on_it(his, service, write):
    his.receive(
        *STAY,
        adt("A01", c=2, p=200, v="V2", m="10:30", **WOMAN),
        adt("A40", c=5, p=200, mrg=100, m="16:00", phone=ABSENT, **WOMAN),
    )
    (merge,) = his.all(PatientMerge)
    survivor, gone = merge.survivor_id, merge.merged_id

    def add(work: Work) -> str:
        entry = record_contact(work, patient_id=survivor, channel=Channel.PHONE, result=ContactResult.REACHED)
        work.flush()
        work.add(
            ContactRecording(
                id=work.new_id(), patient_id=survivor, entry_id=entry, file_name="a", media_type="audio/wav", size=1,
                sha256="0" * 64, recorded_at=work.clock.now(), created_at=work.clock.now(), actor_id="x",
                actor_name="x", removed_at=None,
            )
        )  # fmt: skip
        add_tag(work, patient_id=survivor, tag="术后")
        return entry

    entry = write(add)
    shown = service.get(f"/identity/merges/{merge.id}").text
    assert "标签：术后" in shown
    assert "联系记录（电话）" in shown

    service.post(f"/identity/merges/{merge.id}/undo", {"reason": "两人", f"contact_entry.{entry}": "merged"})

    assert [row.patient_id for row in his.all(ContactEntry)] == [gone]
    assert [row.patient_id for row in his.all(ContactRecording)] == [gone]
    assert [row.patient_id for row in his.all(PatientTag)] == [survivor]


def test_a_call_made_meanwhile_is_listed_though_a_message_parted_the_two(his, service, write):
    part = ["PID|2||100^^^H1^MR||张^三||19900307|M"]
    his.receive(
        *STAY,
        adt("A01", c=2, p=200, v="V2", m="10:30", **WOMAN),
        adt("A40", c=5, p=200, mrg=100, m="16:00", phone=ABSENT, **WOMAN),
    )
    (merge,) = his.all(PatientMerge)
    entry = write(
        lambda work: record_contact(
            work, patient_id=merge.survivor_id, channel=Channel.PHONE, result=ContactResult.REACHED
        )
    )
    his.receive(adt("A37", c=9, p=200, m="16:50", segments=part, **WOMAN))

    assert his.all(PatientMerge)[0].left == {"contact_entry": [entry]}
    assert "联系记录（电话）" in service.get(f"/identity/merges/{merge.id}").text
    service.post(f"/identity/merges/{merge.id}/sort", {f"contact_entry.{entry}": "merged"})
    assert [row.patient_id for row in his.all(ContactEntry)] == [merge.merged_id]
