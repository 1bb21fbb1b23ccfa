"""One search box: what finds whom, what it shows, what audit and address learn of it."""

import pytest
import sqlalchemy as sa

from hcrm.archive.models import ContactPoint, IdentifierKind, Patient, PatientIdentifier
from hcrm.archive.names.pinyin import name_pinyin
from hcrm.archive.queries import reveal_contact, reveal_identifier
from hcrm.archive.search.filters import PatientFilters
from hcrm.archive.search.patients import search_patients
from hcrm.archive.visit_models import EncounterStatus
from hcrm.audit.models import AuditEvent, AuditSubject
from hcrm.core.errors import DeniedError, HcrmError, NotFoundError
from hcrm.core.text import clean_id_number, clean_phone
from hcrm.core.work import Work
from tests.support.builders import actor_of, make_department, make_encounter, make_patient, make_practitioner

ID_NUMBER = "110101196603071238"
PHONE = "13800138000"


@pytest.fixture
def person(work):
    """A patient with name, phone, ID and record number, each where given."""

    def make(name, *, phone=None, id_number=None, record_no=None):
        patient = make_patient(work, name=name)
        patient.name_pinyin, patient.name_initials = name_pinyin(name)
        common = {
            "patient_id": patient.id,
            "source": "t",
            "as_of": work.clock.now(),
            "seq": 1,
            "ended_at": None,
        }
        if phone:
            number = clean_phone(phone)
            contact = ContactPoint(
                id=work.new_id(), system="phone", use="mobile", rank=1, value_sealed=work.keys.seal_text(number),
                value_index=work.keys.blind("phone", number), last4_index=work.keys.blind("phone4", number[-4:]),
                is_verified=False, **common,
            )  # fmt: skip
            work.add(contact)
        for kind, value in ((IdentifierKind.CITIZEN, id_number), (IdentifierKind.RECORD, record_no)):
            if value:
                sealed = kind is IdentifierKind.CITIZEN
                row = PatientIdentifier(
                    id=work.new_id(), kind=kind, authority="H1", type="X", value=None if sealed else value,
                    value_sealed=work.keys.seal_text(value) if sealed else None,
                    value_index=work.keys.blind("id", value) if sealed else None,
                    last4_index=work.keys.blind("id4", value[-4:]) if sealed else None, retired_at=None, **common,
                )  # fmt: skip
                work.add(row)
        work.session.flush()
        return patient

    return make


@pytest.fixture
def jianguo(person):
    return person("张建国", phone=PHONE, id_number=ID_NUMBER, record_no="ZY0001")


def found(work, words, **values):
    return [line.name for line in search_patients(work, words, **values).items]


@pytest.mark.parametrize(
    "words",
    ["张建国", "建国", "张", "国", " 张 建国 ", "zhangjianguo", "zhangjian", "ZJG", "zj", "z", "ｚｊｇ",
     "ZY0001", "13800138000", "138 0013 8000", "+86 138-0013-8000", "１３８００１３８０００", "8000",
     ID_NUMBER, "1238", "110101 19660307 1238"],
)  # fmt: skip
def test_a_patient_is_found_by(work, jianguo, person, words):
    person("李四", phone="13911112222", id_number="110101199001011236", record_no="ZY0002")

    assert found(work, words) == ["张建国"]


@pytest.mark.parametrize(
    "words",
    ["建张", "zhangsan", "jg", "ZY00", "ZY0001x", "1380013800", "138001380001", "0013", "110101196603071239",
     "%", "_", "张%", "zj%", "\\", "'", "' OR 1=1 --", "{{7*7}}"],
)  # fmt: skip
def test_a_patient_is_not_found_by(work, jianguo, words):
    assert found(work, words) == []


@pytest.mark.parametrize("words", ["lǚshān", "Lǚ shān", "lüshan", "lvshan", "lǚ"])
def test_pinyin_may_bear_its_tones(work, person, words):
    person("吕珊")
    person("李珊")

    assert found(work, words) == ["吕珊"]


def test_a_name_with_signs_above_its_letters_is_found_by_them(work, person):
    person("José")

    assert found(work, "José") == found(work, "sé") == ["José"]


def test_wildcards_mean_themselves(work, person):
    person("张%国")
    person("张建国")

    assert found(work, "张%") == ["张%国"]


def test_a_visit_number_finds_its_patient(work, jianguo):
    stay = make_encounter(work, patient=jianguo)

    assert found(work, stay.visit_no) == ["张建国"]


def test_an_old_fifteen_digit_id_number_finds_the_same_person(work, person):
    person("王五", id_number=clean_id_number("110101660307123"))

    assert found(work, "110101660307123") == ["王五"]


def test_without_words_everyone_in_scope_is_listed_latest_change_first(work, person, clock):
    person("甲")
    clock.move(minutes=1)
    person("乙")

    assert found(work, "") == ["乙", "甲"]


def test_pages_neither_repeat_nor_skip(work, person):
    for number in range(7):
        person(f"张{number}")

    first = search_patients(work, "张", size=3)
    second = search_patients(work, "张", size=3, key=first.next_key)
    third = search_patients(work, "张", size=3, key=second.next_key)

    assert len({line.id for page in (first, second, third) for line in page.items}) == 7
    assert third.next_key is None


def test_a_pasted_document_is_refused_in_words_and_a_nul_is_passed_over(work, jianguo):
    with pytest.raises(HcrmError, match="最多 64 个字") as refusal:
        search_patients(work, "张建国" + "x" * 10_000)

    assert (refusal.value.code, refusal.value.field) == ("search.too_long", "q")
    assert found(work, "张建\x00国") == ["张建国"]


def test_tombstones_and_nullified_records_are_not_listed(work, person):
    survivor, old, wrong = person("张一"), person("张二"), person("张三")
    old.merged_into_id = survivor.id
    wrong.is_nullified = True
    work.session.flush()

    assert found(work, "张") == ["张一"]


def test_the_search_keeps_to_the_scope(work, person):
    cardiology, neurology = make_department(work), make_department(work)
    physician = make_practitioner(work, department=cardiology)
    for name, department in (("张甲", cardiology), ("张乙", neurology)):
        make_encounter(work, patient=person(name, phone=PHONE), department=department)
    searcher = Work(work.session, actor=actor_of(physician, cardiology), clock=work.clock, keys=work.keys)

    assert found(searcher, "张") == ["张甲"]
    assert found(searcher, PHONE) == ["张甲"]
    assert found(searcher, "张乙") == []


def test_a_line_shows_the_latest_stay_and_masks_the_phone(work, jianguo):
    department = make_department(work, name="心内科")
    make_encounter(work, patient=jianguo, department=make_department(work, name="外科"))
    make_encounter(work, patient=jianguo, department=department, discharged_at=None)

    (line,) = search_patients(work, "张建国").items

    assert (line.phone, line.record_no, line.department) == ("138****8000", "ZY0001", "心内科")
    assert line.status is EncounterStatus.IN_PROGRESS
    assert PHONE not in repr(line)
    assert ID_NUMBER not in repr(line)


def test_filters_narrow_by_department_and_status(work, jianguo, person):
    department = make_department(work)
    make_encounter(work, patient=jianguo, department=department)
    make_encounter(work, patient=person("张乙"), department=department, discharged_at=None)

    assert found(work, "张", filters=PatientFilters(department.id, EncounterStatus.FINISHED)) == ["张建国"]
    assert sorted(found(work, "张", filters=PatientFilters(department.id))) == ["张乙", "张建国"]


def test_a_line_tells_of_stays_in_the_scope_only(work, jianguo):
    home, other = make_department(work, name="内分泌科"), make_department(work, name="精神科")
    make_encounter(work, patient=jianguo, department=home)
    make_encounter(work, patient=jianguo, department=other, discharged_at=None)
    work.actor = actor_of(make_practitioner(work, department=home), home)

    (line,) = search_patients(work).items

    assert (line.department, line.status) == ("内分泌科", EncounterStatus.FINISHED)
    for filters in (
        PatientFilters(department_id=other.id),
        PatientFilters(status=EncounterStatus.IN_PROGRESS),
    ):
        assert search_patients(work, filters=filters).items == []


def test_a_search_is_one_event_with_a_row_a_patient_and_not_the_words(work, jianguo, person):
    person("张乙", phone=PHONE)

    search_patients(work, PHONE)
    work.flush()

    event = work.one(AuditEvent)
    assert (event.action, event.detail["by"], event.detail["count"]) == (
        "patient.search", ["phone", "record_no", "relative_phone", "visit_no"], 2,
    )  # fmt: skip
    assert PHONE not in str(vars(event))
    assert work.scalar(sa.select(sa.func.count()).select_from(AuditSubject)) == 2


# ── one value in full ───────────────────────────────────────────────────────


def test_a_revealed_value_is_noted_with_its_field(work, jianguo):
    contact = work.one(ContactPoint)

    assert reveal_contact(work, patient_id=jianguo.id, contact_id=contact.id) == "+8613800138000"
    work.flush()

    event = work.one(AuditEvent)
    assert (event.action, event.subject_type, event.subject_id) == (
        "patient.reveal",
        "contact_point",
        contact.id,
    )


def test_a_value_of_another_patient_is_not_revealed_under_this_one(work, jianguo, person):
    other = person("李四", phone="13911112222", id_number="110101199001011236")
    contact = work.one(ContactPoint, ContactPoint.patient_id == other.id)
    identifier = work.one(PatientIdentifier, PatientIdentifier.patient_id == other.id)

    with pytest.raises(NotFoundError):
        reveal_contact(work, patient_id=jianguo.id, contact_id=contact.id)
    with pytest.raises(NotFoundError):
        reveal_identifier(work, patient_id=jianguo.id, identifier_id=identifier.id)
    assert reveal_identifier(work, patient_id=other.id, identifier_id=identifier.id) == "110101199001011236"


def test_outside_the_scope_nothing_is_revealed(work, jianguo):
    physician = make_practitioner(work)
    reader = Work(work.session, actor=actor_of(physician), clock=work.clock, keys=work.keys)

    with pytest.raises(DeniedError):
        reveal_contact(reader, patient_id=jianguo.id, contact_id=work.one(ContactPoint).id)
    assert work.get(Patient, jianguo.id) is jianguo
