"""Numbers as people know them: whose, verified, found empty; what people say and what messages say both stand."""

import pytest

from followup.queries import first_phones, list_phones
from hcrm.archive.arrivals import Arrival
from hcrm.archive.models import ContactPoint, Patient
from hcrm.archive.reach.numbers import (
    add_number,
    count_sharing,
    describe_number,
    doubt_number,
    end_number,
    known_numbers,
    list_sharing,
)
from hcrm.archive.reach_models import NumberState
from hcrm.archive.service import absorb_records
from hcrm.core.errors import HcrmError, NotFoundError
from hcrm.core.work import Work
from tests.support.builders import actor_of, make_department, make_encounter, make_patient, make_practitioner
from tests.support.changes import change

NUMBER, OTHER = "13800138000", "13900139000"


def live(work: Work, patient_id: str) -> list[ContactPoint]:
    work.session.expire_all()
    return [row for row in work.all(ContactPoint) if row.patient_id == patient_id and row.ended_at is None]


def test_a_number_added_by_hand_outlives_every_message_and_hides_none(work: Work):
    absorb_records(work, arrivals=[Arrival(seq=1, change=change("A01", c=1, m="08:00", phone=NUMBER))])
    work.flush()
    patient = work.one(Patient)
    add_number(work, patient_id=patient.id, number=OTHER, relation="女儿", owner_name="李红")

    absorb_records(work, arrivals=[Arrival(seq=2, change=change("A08", c=2, m="09:00", phone=NUMBER))])

    assert len([row for row in live(work, patient.id) if row.source == "console"]) == 1
    assert "女儿 李红" in [phone.whose for phone in list_phones(work, patient_id=patient.id)]


def test_what_was_verified_is_unverified_once_a_call_found_it_wrong(work: Work):
    patient = make_patient(work)
    key = add_number(work, patient_id=patient.id, number=NUMBER, owner_name="张三", relation="本人")
    describe_number(
        work, patient_id=patient.id, kind="contact", key=key, state=NumberState.VERIFIED, owner_name="张三"
    )
    assert [row.is_verified for row in live(work, patient.id)] == [True]

    doubt_number(work, patient_id=patient.id, kind="contact", key=key, state=NumberState.WRONG)

    assert [row.is_verified for row in live(work, patient.id)] == [False]
    (known,) = known_numbers(work, patient.id).values()
    assert (known.state, known.owner_name) == (NumberState.WRONG, "张三")
    assert [phone.doubt for phone in list_phones(work, patient_id=patient.id)] == ["错号"]


def test_a_message_s_number_that_was_ended_is_shown_and_not_dialled(work: Work):
    patient = make_patient(work)
    work.add(
        ContactPoint(
            id=work.new_id(), patient_id=patient.id, system="phone", use="mobile", rank=1,
            value_sealed=work.keys.seal_text(NUMBER), value_index="x", last4_index="y", source="his",
            as_of=work.clock.now(), seq=1, ended_at=None,
        )
    )  # fmt: skip
    (row,) = live(work, patient.id)

    end_number(work, patient_id=patient.id, kind="contact", key=row.id, reason="已换号")

    assert [phone.not_dialled for phone in list_phones(work, patient_id=patient.id)] == ["已停用"]
    assert first_phones(work, [patient.id])[patient.id].not_dialled == "已停用"


@pytest.mark.parametrize("number", ["", "abc", "12", "1" * 41, "%'\""])
def test_what_is_no_number_is_refused(work: Work, number):
    with pytest.raises(HcrmError) as refusal:
        add_number(work, patient_id=make_patient(work).id, number=number)

    assert refusal.value.field == "number"


def test_a_number_stands_once(work: Work):
    patient = make_patient(work)
    add_number(work, patient_id=patient.id, number=NUMBER)

    with pytest.raises(HcrmError, match="已经登记"):
        add_number(work, patient_id=patient.id, number="+86 138 0013 8000")


def test_who_shares_a_number_is_told_within_the_scope_and_nobody_is_merged(work: Work):
    ward, other = make_department(work), make_department(work)
    mine, near, far = (make_patient(work, name=name) for name in ("张三", "李四", "王五"))
    for patient, department in ((mine, ward), (near, ward), (far, other)):
        make_encounter(work, patient=patient, department=department)
        add_number(work, patient_id=patient.id, number=NUMBER)
    index = next(iter(known_numbers(work, mine.id)))

    assert count_sharing(work, mine.id, [index]) == {index: 2}
    work.actor = actor_of(make_practitioner(work, department=ward), ward)
    assert [row.name for row in list_sharing(work, mine.id, index)] == ["李四"]
    assert count_sharing(work, mine.id, [index]) == {index: 1}


def test_the_number_of_somebody_else_is_not_theirs_to_describe(work: Work):
    key = add_number(work, patient_id=make_patient(work).id, number=NUMBER)

    with pytest.raises(NotFoundError):
        describe_number(
            work, patient_id=make_patient(work).id, kind="contact", key=key, state=NumberState.VERIFIED
        )
