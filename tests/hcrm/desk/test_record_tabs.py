"""What each tab of a patient's record tells, and to whom."""

import re
from datetime import timedelta

import sqlalchemy as sa

from hcrm.archive.clinical.models import Appointment
from hcrm.archive.clinical.terms import AppointmentStatus
from hcrm.archive.models import (
    Patient,
)
from hcrm.archive.timeline import add_entry
from hcrm.archive.visit_models import DischargeWay, Encounter
from hcrm.centre.models import Classification
from hcrm.contact_log.models import Channel, ContactResult
from hcrm.contact_log.service import record_contact
from hcrm.core.clock import local_date
from hcrm.directory.models import Department, Practitioner
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage
from tests.support.builders import make_encounter, make_instruction, make_patient
from tests.support.record import TABS, page


def test_the_next_step_is_the_open_instruction_that_is_due_first(patient, ward, browser_of):
    shown = page(browser_of("li"), patient).text

    assert "超期 2 天" in shown
    assert f"/instructions/{ward.first}" in shown


def test_bookings_and_instructions_stand_in_one_line_by_their_day(patient, browser_of, write):
    def add(work):
        now = work.clock.now()
        stay = work.one(Encounter, Encounter.patient_id == patient)
        for days in (6, 29):
            due_on = local_date(now) + timedelta(days=days)
            make_instruction(work, encounter=stay, title=f"{days} 天随访", due_on=due_on)
        work.add(Appointment(
            id=work.new_id(), patient_id=patient, encounter_id=None, number="1", status=AppointmentStatus.BOOKED,
            starts_at=now + timedelta(days=14), ends_at=None, service="两周复诊", department="", location="",
            practitioner="", practitioner_name="", reason="", source="test", as_of=now, seq=1, confirmed_at=now,
            provenance={}, ended_at=None,
        ))  # fmt: skip

    write(add)
    for address in (f"/patients/{patient}", f"/patients/{patient}/sheet"):
        shown = browser_of("li").get(address).text
        shown = shown[shown.index("<h2>下一步") :]
        assert shown.index("6 天随访") < shown.index("两周复诊") < shown.index("29 天随访")


def test_stays_of_other_departments_are_not_told(patient, browser_of, write):
    def add(work):
        surgery = work.one(Department, Department.name == "外科")
        make_encounter(
            work,
            patient=work.one(Patient, Patient.id == patient),
            department=surgery,
            diagnoses=["F20.000"],
            procedures=["47.0100"],
        )

    write(add)
    own, centre = browser_of("li"), browser_of("wang")

    for tab, words in (("visits", "外科"), ("diagnoses", "F20.000"), ("procedures", "47.0100")):
        assert words in page(centre, patient, tab).text
        assert words not in page(own, patient, tab).text
    assert "只列出在本科室" in page(own, patient, "visits").text


def test_contacts_about_a_stay_are_told_to_whom_the_stay_is(patient, browser_of, write):
    def add(work):
        surgery = work.one(Department, Department.name == "外科")
        stay = make_encounter(work, patient=work.one(Patient, Patient.id == patient), department=surgery)
        for encounter_id, note in ((stay.id, "外科来电"), (None, "一般来电")):
            record_contact(
                work,
                patient_id=patient,
                encounter_id=encounter_id,
                channel=Channel.PHONE,
                note=note,
                result=ContactResult.REACHED,
            )

    write(add)
    own, centre = (
        page(browser_of("li"), patient, "contacts").text,
        page(browser_of("wang"), patient, "contacts").text,
    )

    assert "一般来电" in own
    assert "外科来电" not in own
    assert "外科来电" in centre


def test_the_timeline_tells_of_stays_in_the_scope_only(patient, ward, browser_of, write):
    def add(work):
        surgery = work.one(Department, Department.name == "外科")
        own = work.one(Encounter, Encounter.patient_id == patient)
        other = make_encounter(work, patient=work.one(Patient, Patient.id == patient), department=surgery)
        for title, stay in (("心内科的事", own), ("外科的事", other)):
            add_entry(
                work, patient_id=patient, happened_at=work.clock.now(), kind="visit", title=title,
                subject_type="encounter", subject_id=stay.id, encounter_id=stay.id,
            )  # fmt: skip

    write(add)
    own, centre = page(browser_of("li"), patient).text, page(browser_of("wang"), patient).text

    assert "心内科的事" in own
    assert "外科的事" not in own
    assert "外科的事" in centre


def test_the_timeline_is_narrowed_by_kind_and_turned_by_key(patient, browser_of, write):
    def add(work):
        for number in range(60):
            add_entry(
                work,
                patient_id=patient,
                happened_at=work.clock.now(),
                kind="contact" if number % 6 else "alert",
                title=f"第{number:02}件",
                subject_type="none",
                subject_id="x",
            )

    write(add)
    browser = browser_of("li")
    first = page(browser, patient).text
    alerts = browser.get(f"/patients/{patient}?kind=alert").text
    rest = browser.get(first.split('rel="next" href="')[1].split('"')[0]).text

    assert [len(re.findall(r"第\d\d件", shown)) for shown in (first, rest, alerts)] == [50, 10, 10]
    assert "没有符合条件的记录" in browser.get(f"/patients/{patient}?kind=merge").text


def test_answers_stand_in_words_under_their_instruction(patient, ward, browser_of):
    physician = browser_of("li")
    form = physician.get(f"/instructions/{ward.first}/form").text
    fields = {
        name: form.split(f'name="{name}" value="')[1].split('"')[0] for name in ("record_id", "version")
    }
    sent = physician.post(
        f"/instructions/{ward.first}/form",
        {**fields, "outcome": "reached", "heard": "reached", "missed": "no_answer", "channel": "phone", "note": "",
         "a-pain": "2", "a-temperature": "39", "a-wound": "no", "a-drugs": ["a", "b"]},
    )  # fmt: skip
    assert sent.status_code == 303
    shown = page(physician, patient, "followups").text

    for words in ("疼痛", "2 分", "39 ℃", "阿司匹林、他汀", "当日联系医师"):
        assert words in shown
    assert "未处置红旗 1" in shown


def test_the_chain_leads_from_message_to_instruction(patient, ward, database, browser_of, write):
    def add(work):
        stay = work.session.scalars(sa.select(Encounter).where(Encounter.patient_id == patient)).one()
        work.add(
            Classification(
                id=work.new_id(),
                encounter_id=stay.id,
                axis="disease_group",
                code="e11",
                label="糖尿病",
                rank=0,
                rule_code="diabetes",
                rule_version=3,
                is_sensitive=False,
                classified_at=work.clock.now(),
            )
        )
        work.add(
            InboxApplication(
                seq=41,
                lane=1,
                state=ApplicationState.APPLIED,
                kind="ADT^A03",
                source="his",
                attempts=1,
                flags="",
                became_patient_id=patient,
                became_encounter_id=stay.id,
                taken_up_at=work.clock.now(),
            )
        )

    with database.inbox.begin() as connection:
        connection.execute(
            sa.insert(InboxMessage.__table__),
            {
                "seq": 41,
                "sender": "HIS",
                "facility": "H1",
                "control_id": "c",
                "sha256": b"1",
                "kind": "ADT^A03",
                "format": "hl7v2",
                "raw": b"",
                "ack": b"",
                "peer": "",
                "flags": "",
                "received_at": write(lambda work: work.clock.now()),
            },
        )
    write(add)
    shown = page(browser_of("wang"), patient, "chain").text

    for words in ("ADT^A03 第 41 号", "随访由此触发", "规则 diabetes 第 3 版", "出院一周电话随访"):
        assert words in shown
    assert "消息链" not in page(browser_of("li"), patient).text
    assert "ADT^A03" not in page(browser_of("li"), patient, "chain").text  # shows the timeline instead


def test_who_may_not_read_instructions_sees_none(patient, make_person, browser_of, write):
    def home(work):
        return work.one(Department, Department.name == "心内科").code

    make_person("care", ["tcm_care"], department_code=write(home))
    browser = browser_of("care")
    shown = page(browser, patient).text

    assert "出院一周电话随访" not in shown
    assert "下一步" not in shown
    assert "出院一周电话随访" not in page(browser, patient, "followups").text


def test_where_a_value_comes_from_stands_beside_it(patient, browser_of):
    shown = page(browser_of("wang"), patient, "people").text

    assert "第 7 号消息" in shown
    assert "/interface/messages/7" in shown
    assert "/interface/messages/7" not in page(browser_of("li"), patient, "people").text


def test_a_patient_of_whom_nothing_is_known_still_has_a_page(ward, browser_of, write):
    def add(work):
        stub = make_patient(work, name="", birth_date=None)
        stub.is_stub = True
        return stub.id

    key = write(add)
    centre = browser_of("wang")
    for tab in TABS:
        assert page(centre, key, tab).status_code == 200
    shown = page(centre, key).text
    assert "姓名未填" in shown
    assert "年龄不详" in shown
    assert "建档信息未到齐" in shown


def test_a_physician_sees_a_patient_attended_elsewhere(ward, browser_of, write):
    def add(work):
        surgeon = work.one(Practitioner, Practitioner.name == "钱大夫")
        medicine = work.one(Department, Department.name == "心内科")
        stay = make_encounter(work, department=medicine, attending=surgeon, way=DischargeWay.COMMUNITY)
        return stay.patient_id

    assert "转社区" in page(browser_of("qian"), write(add), "visits").text
