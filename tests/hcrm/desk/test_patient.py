"""The patient's page: who opens it, what is masked, what a click shows, and what each tab tells."""

import re

import pytest
import sqlalchemy as sa

from hcrm.archive.merge import merge_patients
from hcrm.archive.models import (
    Address,
    Allergy,
    ContactPoint,
    DeceasedState,
    IdentifierKind,
    Patient,
    PatientIdentifier,
    RelatedPerson,
)
from hcrm.archive.timeline import add_entry
from hcrm.archive.visit_models import DischargeWay, Encounter
from hcrm.audit.models import AuditEvent, AuditOutcome, AuditSubject
from hcrm.centre.models import Classification
from hcrm.contact_log.models import Channel, ContactResult
from hcrm.contact_log.service import record_contact
from hcrm.core.actor import system_actor
from hcrm.core.work import open_work
from hcrm.directory.models import Department, Practitioner, Region
from hcrm.inbox.models import ApplicationState, InboxApplication, InboxMessage
from tests.support.builders import SOURCE, make_encounter, make_patient
from tests.support.station import PHONE

ID_NUMBER = "110101195903071518"
PLACE = "中山北路 100 号 3 幢 501 室"
TABS = (
    "timeline",
    "visits",
    "diagnoses",
    "procedures",
    "allergies",
    "followups",
    "contacts",
    "people",
    "chain",
)


@pytest.fixture
def write(database, clock):
    def run(act):
        with open_work(database, actor=system_actor("test"), clock=clock) as work:
            return act(work)

    return run


@pytest.fixture
def patient(ward, write):
    """张建国 with everything a message may tell of somebody; the id."""
    return write(fill_record)


def fill_record(work):
    patient = work.one(Patient, Patient.name == "张建国")
    now = work.clock.now()
    stamp = {"patient_id": patient.id, "source": SOURCE, "as_of": now, "seq": 7}
    patient.provenance = {"name": [now.isoformat(), SOURCE, 7]}
    work.insert(
        Region,
        [{"code": "330000", "name": "浙江省", "parent_code": None, "level": "province"},
         {"code": "330100", "name": "杭州市", "parent_code": "330000", "level": "city"},
         {"code": "330106", "name": "西湖区", "parent_code": "330100", "level": "county"}],
    )  # fmt: skip
    work.add(
        PatientIdentifier(
            id=work.new_id(),
            kind=IdentifierKind.CITIZEN,
            authority="",
            type="NI",
            value_sealed=work.keys.seal_text(ID_NUMBER),
            value_index="i",
            last4_index="l",
            **stamp,
        )
    )
    work.add(
        PatientIdentifier(
            id=work.new_id(), kind=IdentifierKind.RECORD, authority="H1", type="MR", value="00481516", **stamp
        )
    )
    work.add(
        Address(
            id=work.new_id(),
            use="home",
            rank=1,
            region_code="330106",
            text_sealed=work.keys.seal_text(PLACE),
            **stamp,
        )
    )
    work.add(
        RelatedPerson(
            id=work.new_id(),
            rank=1,
            name="王芳",
            relation="妻",
            phone_sealed=work.keys.seal_text("13912345678"),
            phone_index="p",
            phone_last4_index="4",
            **stamp,
        )
    )
    work.add(
        Allergy(
            id=work.new_id(),
            rank=1,
            kind="DA",
            code="",
            text="青霉素",
            severity="SV",
            reaction="皮疹",
            **stamp,
        )
    )
    return patient.id


def page(browser, patient, tab=None, **options):
    return browser.get(f"/patients/{patient}" + (f"?tab={tab}" if tab else ""), **options)


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


# ── tabs ────────────────────────────────────────────────────────────────────


def test_the_next_step_is_the_open_instruction_that_is_due_first(patient, ward, browser_of):
    shown = page(browser_of("li"), patient).text

    assert "超期 2 天" in shown
    assert f"/instructions/{ward.first}" in shown


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
