"""A new archive by hand: what is refused, who is known already, and what people entered and correct."""

from datetime import date
from typing import Any

import pytest
import sqlalchemy as sa

from hcrm.archive.absorb.patient import PatientSide
from hcrm.archive.matching import is_someone_else
from hcrm.archive.models import ContactPoint, Patient, PatientHistory, PatientIdentifier, Sex
from hcrm.archive.records import Change, PatientRecord
from hcrm.archive.register import Entry, find_similar
from hcrm.archive.search.patients import search_patients
from hcrm.core.text import clean_id_number
from hcrm.core.work import open_work
from hcrm.directory.models import Region
from tests.support.builders import (
    actor_of,
    centre_actor,
    make_department,
    make_practitioner,
    publish_fields,
    publish_matching,
)

NEW = {"name": "欧阳雪", "sex": "female", "birth_date": "1988-02-29", "phone": "13912345678"}


@pytest.fixture
def wang(ward, write, browser_of):
    def publish(work):
        publish_matching(work)
        publish_fields(work)
        work.insert(
            Region,
            [{"code": "330000", "name": "浙江省", "parent_code": None, "level": "province"},
             {"code": "330100", "name": "杭州市", "parent_code": "330000", "level": "city"},
             {"code": "330106", "name": "西湖区", "parent_code": "330100", "level": "county"}],
        )  # fmt: skip

    write(publish)
    browser = browser_of("wang")
    browser.get("/patients/new")
    return browser


def known_as_he_sounds(write):
    """The builders give everybody one pinyin."""
    statement = sa.update(Patient).values(name_pinyin="zhangjianguo").where(Patient.name == "张建国")
    write(lambda work: work.execute(statement))


def patients(write, name):
    return write(lambda work: work.all(Patient, Patient.name == name))


def test_an_archive_is_made_with_a_number_of_our_own_and_found_at_once(wang, write, database, clock):
    answer = wang.post(
        "/patients/new",
        {**NEW, "region": "浙江省杭州市西湖区", "visit_source": "referral"},
        follow_redirects=True,
    )

    assert "已新建档案" in answer.text
    (made,) = patients(write, "欧阳雪")
    assert made.provenance["name"][1] == "console"
    (number,) = write(lambda work: work.all(PatientIdentifier, PatientIdentifier.patient_id == made.id))
    assert (number.authority, number.value, number.source) == ("HCRM", "H00000001", "console")
    assert number.value in answer.text
    line = answer.text.split("新建档案，病案号")[0][-600:]
    assert "建档与合并" in line  # nothing was merged
    with open_work(database, actor=centre_actor(), clock=clock) as work:
        for words in ("欧阳", "oyx", "H00000001", "5678"):
            assert [line.id for line in search_patients(work, words).items] == [made.id]


@pytest.mark.parametrize(
    "written", ["1988/2/29", "19880229", "1988年2月29日", "1988.02.29", "１９８８-02-29"]
)
def test_a_birth_date_is_read_as_people_write_it(wang, write, written):
    wang.post("/patients/new", {**NEW, "birth_date": written})

    (made,) = patients(write, NEW["name"])
    assert made.birth_date.isoformat() == NEW["birth_date"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": " "}, "name"),
        ({"id_number": "110101195903071519"}, "id_number"),
        ({"id_number": "12", "id_type": "other"}, "id_number"),
        ({"id_number": clean_id_number("110101590307151")}, "birth_date"),  # another one
        ({"birth_date": "2026-13-01"}, "birth_date"),
        ({"birth_date": "2126-01-01"}, "birth_date"),
        ({"birth_date": "32202"}, "birth_date"),  # a sheet's own count of days is no date somebody types
        ({"birth_date": "", "phone": ""}, "birth_date"),  # nothing to know her by
        ({"phone": "123"}, "phone"),
        ({"region": "乌有省"}, "region"),
        ({"name": "长" * 10_000}, "name"),
    ],
)
def test_a_mistake_is_said_at_its_field_and_nothing_is_made(wang, write, changes, field):
    answer = wang.post("/patients/new", {**NEW, **changes})

    assert answer.status_code == 422
    assert f'href="#f-{field}"' in answer.text
    assert write(lambda work: work.scalar(sa.select(sa.func.count()).select_from(Patient))) == 2


def test_every_mistake_is_said_at_once(wang):
    typed = {
        "name": "\u200b",
        "birth_date": "昨天",
        "id_number": "1",
        "phone": "123",
        "region": "乌有省",
        "sex": "x",
    }

    shown = wang.post("/patients/new", typed).text

    for field in typed:
        assert f'href="#f-{field}"' in shown, field


def test_an_id_number_of_15_digits_tells_birth_date_and_sex(wang, write):
    wang.post("/patients/new", {"name": "老张", "id_number": "110101590307151"})

    (made,) = patients(write, "老张")
    assert (made.birth_date.isoformat(), made.sex.value) == ("1959-03-07", "male")


def test_who_is_known_already_is_shown_while_typing_and_needs_a_reason(wang, write):
    typed = {"name": "张建国", "sex": "male", "birth_date": "1966-03-07"}
    known_as_he_sounds(write)

    shown = wang.post("/patients/new/similar", {**typed, "birth_date": "1966"})
    assert "可能已有档案" not in shown.text
    shown = wang.post("/patients/new/similar", typed)
    assert "可能是同一人" in shown.text
    assert "出生日期" in shown.text

    refused = wang.post("/patients/new", typed)
    assert refused.status_code == 422
    assert "已有相似档案" in refused.text
    assert len(patients(write, "张建国")) == 1

    wang.post("/patients/new", {**typed, "reason": "同名同日生，身份证不同"})
    assert len(patients(write, "张建国")) == 2


def test_a_name_alone_is_a_hint_and_no_obstacle(wang, write):
    shown = wang.post("/patients/new/similar", {"name": "张建国"}).text

    assert "只有姓名相同" in shown
    assert "张建国" in shown
    assert "可能已有档案" not in shown
    assert "只有姓名相同" not in wang.post("/patients/new/similar", {"name": "张建"}).text
    made = wang.post("/patients/new", {"name": "张建国", "sex": "male", "birth_date": "1931-05-06"})
    assert (made.status_code, len(patients(write, "张建国"))) == (303, 2)


def test_of_those_outside_the_scope_nothing_is_told_but_that_there_is_one(wang, write, database, clock):
    known_as_he_sounds(write)
    stranger = write(lambda work: actor_of(make_practitioner(work), make_department(work)))
    entry = Entry(name="张建国", birth_date=date(1966, 3, 7), phone="13800138000")

    with open_work(database, actor=stranger, clock=clock, write=False) as work:
        similar = find_similar(work, entry)

    assert (similar.lines, similar.hidden) == ((), 1)


def test_a_number_a_message_has_used_is_passed_over(wang, write, clock):
    def take(work):
        patient = work.one(Patient, Patient.name == "张建国")
        work.add(
            PatientIdentifier(
                id=work.new_id(),
                patient_id=patient.id,
                kind="record",
                authority="HCRM",
                type="MR",
                value="H00000001",
                source="his",
                as_of=clock.now(),
                seq=1,
            )
        )

    write(take)
    wang.post("/patients/new", NEW)

    (made,) = patients(write, "欧阳雪")
    numbers = write(lambda work: work.all(PatientIdentifier, PatientIdentifier.patient_id == made.id))
    assert [row.value for row in numbers] == ["H00000002"]


def test_what_people_entered_is_corrected_with_its_history_and_never_overwritten_unseen(wang, write):
    wang.post("/patients/new", NEW)
    (made,) = patients(write, "欧阳雪")
    seen = {"was_name": "欧阳雪", "was_sex": "female", "was_birth_date": "1988-02-29"}
    wanted = {"name": "欧阳薛", "sex": "female", "birth_date": "1988-02-29"}

    wang.post(f"/patients/{made.id}/base", {**seen, **wanted})
    answer = wang.post(f"/patients/{made.id}/base", {**seen, **wanted, "name": "欧阳血"})

    assert answer.status_code == 409
    for words in ("我的", "现有", "原来", "欧阳血", "欧阳薛", "欧阳雪"):
        assert words in answer.text
    assert write(lambda work: work.get(Patient, made.id)).name == "欧阳薛"
    (past,) = write(lambda work: work.all(PatientHistory, PatientHistory.patient_id == made.id))
    assert (past.field, past.value, past.source) == ("name", "欧阳雪", "console")


SEEN = {"was_name": "张建国", "was_sex": "male", "was_birth_date": "1966-03-07"}
TOLD = {"name": "张建国", "sex": "male", "birth_date": "1966-03-07"}


@pytest.fixture
def told(write, clock) -> str:
    """张建国, as a message told him; the patient's key."""

    def tell(work):
        patient = work.one(Patient, Patient.name == "张建国")
        stamp = [clock.now().isoformat(), "his", 7]
        patient.provenance = {"name": stamp, "sex": stamp, "birth_date": stamp}
        return patient.id

    key = write(tell)
    clock.move(minutes=2)
    return key


def hears(write, key: str, seq: int, **fields: Any) -> list[str]:
    """A later message tells of the patient; its flags."""

    def hear(work):
        side, flags = PatientSide(work), []
        side.patients.load(Patient.id == key)
        side.index.identifiers.load(PatientIdentifier.patient_id == key)
        now = work.clock.now()
        change = Change(source="his", as_of=now, told_at=now)
        record = PatientRecord(identifiers=(), **fields)
        assert not is_someone_else(work, side.patients.by_id[key], (), record)
        side.apply(side.patients.by_id[key], record, change, seq, flags)
        side.write()
        return flags

    return write(hear)


def test_what_a_message_told_is_put_right_only_with_what_it_rests_on(wang, write, told):
    answer = wang.post(f"/patients/{told}/base", {**SEEN, **TOLD, "name": "章建国"})

    assert answer.status_code == 422
    assert "须选择依据" in answer.text
    assert write(lambda work: work.get(Patient, told)).name == "张建国"
    assert "更正姓名、性别、出生日期" in wang.get(f"/patients/{told}").text


def test_a_correction_stands_until_the_hospital_system_says_something_new(wang, write, clock, told):
    wanted = {**TOLD, "name": "章建国", "birth_date": "1967-03-07", "by": "document"}
    wang.post(f"/patients/{told}/base", {**SEEN, **wanted})
    page = wang.get(f"/patients/{told}/base").text
    assert "HIS 为“张建国”" in page
    assert "按出示证件更正" in page
    assert "更正姓名、出生日期，依据：出示证件" in wang.get(f"/patients/{told}").text
    assert "出示证件" in wang.get(f"/patients/{told}?tab=people").text
    clock.move(minutes=2)

    # Both old values again: not another person, and nothing changes.
    flags = hears(write, told, 8, name="张建国", birth_date=date(1966, 3, 7))

    patient = write(lambda work: work.get(Patient, told))
    assert (patient.name, patient.birth_date) == ("章建国", date(1967, 3, 7))
    assert flags == ["correction_kept", "correction_kept"]
    assert write(lambda work: [line.id for line in search_patients(work, "章建国").items]) == [told]
    clock.move(minutes=2)
    assert hears(write, told, 9, name="章剑国", birth_date=date(1967, 3, 7)) == []
    patient = write(lambda work: work.get(Patient, told))
    assert patient.name == "章剑国"
    assert patient.provenance["birth_date"][1:] == ["his", 9]  # the sender has put it right itself
    past = write(lambda work: work.all(PatientHistory, PatientHistory.patient_id == told))
    assert {(one.field, one.value, one.source) for one in past} == {
        ("name", "张建国", "his"), ("birth_date", "1966-03-07", "his"), ("name", "章建国", "console"),
    }  # fmt: skip


def test_a_correction_is_taken_back_and_the_next_message_counts_as_before(wang, write, clock, told):
    wang.post(f"/patients/{told}/base", {**SEEN, **TOLD, "sex": "female", "by": "patient"})
    assert write(lambda work: work.get(Patient, told)).sex == "female"

    wang.post(f"/patients/{told}/base/sex/undo")

    patient = write(lambda work: work.get(Patient, told))
    assert (patient.sex, patient.provenance["sex"][1:]) == ("male", ["his", 7])
    past = write(lambda work: work.all(PatientHistory, PatientHistory.patient_id == told))
    assert {(one.value, one.source) for one in past} == {("male", "his"), ("female", "console")}
    assert "没有人工更正" in wang.post(f"/patients/{told}/base/sex/undo", follow_redirects=True).text
    clock.move(minutes=2)
    assert hears(write, told, 8, sex=Sex.FEMALE) == []
    assert write(lambda work: work.get(Patient, told)).sex == "female"


def test_a_correction_of_a_correction_still_knows_what_the_message_told(wang, write, told):
    wang.post(f"/patients/{told}/base", {**SEEN, **TOLD, "name": "章建国", "by": "patient"})
    wang.post(
        f"/patients/{told}/base", {**SEEN, **TOLD, "was_name": "章建国", "name": "章健国", "by": "document"}
    )

    wang.post(f"/patients/{told}/base/name/undo")

    assert write(lambda work: work.get(Patient, told)).name == "张建国"
    assert write(lambda work: [line.id for line in search_patients(work, "张建国").items]) == [told]


def test_without_the_right_there_is_no_form(ward, browser_of):
    li = browser_of("li")

    assert li.get("/patients/new").status_code == 403
    assert li.post("/patients/new/similar", {"name": "张"}).status_code == 403
    assert "新建" not in li.get("/patients").text


def test_phones_entered_are_masked_and_carry_their_source(wang, write):
    wang.post("/patients/new", NEW)

    (made,) = patients(write, "欧阳雪")
    (phone,) = write(lambda work: work.all(ContactPoint, ContactPoint.patient_id == made.id))
    assert phone.source == "console"
    assert "139****5678" in wang.get(f"/patients/{made.id}").text
