"""Finding patients on the console: whom each role finds, what leads straight on, what stands in no address."""

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from hcrm.archive.models import IdentifierKind, Patient, PatientIdentifier
from hcrm.archive.visit_models import EncounterClass
from hcrm.audit.models import AuditEvent, AuditSubject
from hcrm.core.text import is_han
from hcrm.desk.search import is_full_number
from hcrm.directory.models import Department
from tests.support.builders import SOURCE, make_encounter, make_patient

FRAGMENT = {"Origin": "http://localhost", "HX-Request": "true"}


def add_number(work, name, value):
    patient = work.one(Patient, Patient.name == name)
    work.add(
        PatientIdentifier(
            id=work.new_id(),
            patient_id=patient.id,
            kind=IdentifierKind.RECORD,
            authority="H1",
            type="MR",
            value=value,
            source=SOURCE,
            as_of=work.clock.now(),
            seq=1,
        )
    )
    return patient.id


@pytest.mark.parametrize(
    ("words", "is_full"),
    [("00001234", True), ("138 0013 8000", True), ("110101195903071518", True), ("A-77", True), ("8000", False),
     ("151X", False), ("zhang", False), ("张3", False), ("", False)],
)  # fmt: skip
def test_a_full_number_is_told_from_the_last_four_and_from_names(words, is_full):
    assert is_full_number(words) is is_full


@given(st.text(max_size=30))
def test_no_name_and_no_four_characters_ever_count_as_a_full_number(words):
    if is_han(words) or (len(words) == 4 and words.isalnum()):
        assert not is_full_number(words)


def test_a_physician_finds_the_patients_of_the_department_and_no_other(ward, browser_of):
    own, strange = browser_of("li").get("/patients"), browser_of("qian").get("/patients")

    assert "我的患者" in own.text
    assert "张建国" in own.text
    assert "李秀英" in own.text
    assert "张建国" not in strange.text
    assert "HIS 发来建档或入院消息后" in strange.text  # nobody yet, not "no right"


def test_an_account_without_department_and_physician_reads_whom_to_ask(ward, make_person, browser_of):
    make_person("sun", ["physician"], display_name="孙大夫")

    assert "没有对应的科室或医师" in browser_of("sun").get("/patients").text


def test_words_narrow_the_list_and_a_search_without_hits_says_so(ward, browser_of):
    centre = browser_of("wang")
    found = centre.post("/patients", {"q": "建国"})
    missed = centre.post("/patients", {"q": "欧阳"})

    assert "张建国" in found.text
    assert "李秀英" not in found.text
    assert 'value="建国"' in found.text  # the words stay in the box
    assert "没有符合条件的记录" in missed.text


def test_a_full_number_leads_straight_to_the_patient(ward, browser_of, write):
    key = write(lambda work: add_number(work, "张建国", "00481516"))
    centre = browser_of("wang")
    answer = centre.post("/patients", {"q": " 00481516 "})

    assert (answer.status_code, answer.location) == (303, f"/patients/{key}")
    typing = centre.post("/patients", {"q": "00481516"}, headers=FRAGMENT)
    assert typing.status_code == 200  # nobody is carried off while typing
    assert "张建国" in typing.text


def test_a_full_number_outside_the_scope_leads_nowhere(ward, browser_of, write):
    write(lambda work: add_number(work, "张建国", "00481516"))
    answer = browser_of("qian").post("/patients", {"q": "00481516"})

    assert answer.status_code == 200
    assert "张建国" not in answer.text


def test_the_words_never_stand_in_an_address(ward, browser_of):
    centre = browser_of("wang")
    typing = centre.post("/patients", {"q": "建国", "status": "finished"}, headers=FRAGMENT)

    assert typing.headers["HX-Replace-Url"] == "/patients?status=finished"
    assert "<html" not in typing.text
    assert (
        "李秀英" in centre.get("/patients?q=建国").text
    )  # an address that carries words is opened without them
    empty = centre.post("/patients", {"q": "", "status": "finished"})
    assert (empty.status_code, empty.location) == (303, "/patients?status=finished")


def test_filters_stand_in_the_address(ward, browser_of, write):
    def add(work):
        department = work.one(Department, Department.name == "外科")
        make_encounter(
            work, patient=make_patient(work, name="周在院"), department=department, discharged_at=None
        )
        make_encounter(
            work,
            patient=make_patient(work, name="吴门诊"),
            department=department,
            discharged_at=None,
            encounter_class=EncounterClass.OUTPATIENT,
        )
        return department.id

    department = write(add)
    centre = browser_of("wang")
    surgery = centre.get(f"/patients?department={department}").text
    lying = centre.get("/patients?status=in-progress").text

    assert "周在院" in surgery
    assert "吴门诊" in surgery
    assert "张建国" not in surgery
    assert "周在院" in lying
    assert "吴门诊" not in lying  # an outpatient is registered, not in a bed
    assert "已登记" in surgery


def test_a_long_result_is_turned_page_by_page_with_its_words(ward, browser_of, write):
    write(lambda work: [make_patient(work, name=f"赵大{i:03}") for i in range(60)] and None)
    centre = browser_of("wang")
    first = centre.post("/patients", {"q": "赵大"})
    key = first.text.split('name="key" value="')[1].split('"')[0]
    second = centre.post("/patients", {"q": "赵大", "key": key})

    assert first.text.count("row-link") == 50
    assert second.text.count("row-link") == 10


def test_a_name_cannot_become_markup(ward, browser_of, write):
    write(lambda work: make_patient(work, name='<img src=x onerror="1">'))

    assert "&lt;img" in browser_of("wang").get("/patients").text


def test_unknown_filters_and_a_broken_page_key_are_refused_in_chinese(ward, browser_of):
    centre = browser_of("wang")

    assert centre.get("/patients?status=gone").status_code == 422
    assert centre.get("/patients?key=%3Cx%3E").status_code == 400
    assert centre.get("/patients?department=nowhere").status_code == 200


def test_a_search_notes_whom_it_showed_and_not_what_was_typed(ward, browser_of, write):
    browser_of("wang").post("/patients", {"q": "建国"})

    def noted(work):
        event = work.session.scalars(
            sa.select(AuditEvent).where(AuditEvent.action == "patient.search").order_by(AuditEvent.id.desc())
        ).first()
        shown = work.scalars(
            sa.select(AuditSubject.subject_patient_id).where(AuditSubject.audit_id == event.id)
        )
        return event.detail, shown == [work.one(Patient, Patient.name == "张建国").id]

    detail, is_right = write(noted)
    assert is_right
    assert "建国" not in str(detail)


def test_who_may_not_see_patients_gets_no_search(ward, make_person, browser_of):
    make_person("gu", ["sysadmin"])

    assert browser_of("gu").get("/patients").status_code == 403
