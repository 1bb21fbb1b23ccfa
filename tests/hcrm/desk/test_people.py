"""Relatives and addresses entered by hand, on the pages: added, put right, ended, taken back."""

import re

import pytest
import sqlalchemy as sa

from hcrm.archive.models import Address, RelatedPerson
from hcrm.archive.reach.people import put_address, put_relative
from hcrm.archive.residence import region_codes
from hcrm.archive.terms import Informant
from hcrm.centre.models import Instruction
from hcrm.core import limits
from hcrm.core.errors import HcrmError
from tests.support.station import Ward


@pytest.fixture
def patient_id(ward: Ward, write) -> str:
    return write(lambda work: work.get(Instruction, ward.first).patient_id)


@pytest.fixture
def service(browser_of, ward):
    return browser_of("wang")


def put(browser, patient_id: str, kind: str, **fields):
    address = f"/patients/{patient_id}/people/{kind}/new"
    browser.get(address)
    return browser.post(address, {"informant": "patient", **fields})


def live(write, model):
    return write(lambda work: list(work.scalars(sa.select(model).where(model.ended_at.is_(None)))))


def test_a_relative_is_entered_put_right_and_each_act_taken_back(service, patient_id, write):
    people = f"/patients/{patient_id}?tab=people"
    assert (
        put(service, patient_id, "related", name="李红", relation="女儿", phone="13600136000").status_code
        == 303
    )
    shown = service.get(people).text
    assert "患者自述，王敏" in shown
    assert "136****6000" in shown
    (first,) = live(write, RelatedPerson)

    form = service.get(f"/patients/{patient_id}/people/related/{first.id}").text
    assert "13600136000" in form
    put(service, patient_id, "related", name="李虹", relation="女儿", replaces_id=first.id, informant="staff")

    (second,) = live(write, RelatedPerson)
    assert (second.name, second.phone_sealed, second.replaces_id) == ("李虹", None, first.id)
    former = service.get(f"/patients/{patient_id}?tab=history").text
    assert "李红" in former
    service.post(f"/patients/{patient_id}/people/related/{second.id}/undo", {})
    assert [row.name for row in live(write, RelatedPerson)] == ["李红"]
    service.post(f"/patients/{patient_id}/people/related/{first.id}/end", {})
    assert live(write, RelatedPerson) == []
    service.post(f"/patients/{patient_id}/people/related/{first.id}/end/undo", {})
    assert [row.name for row in live(write, RelatedPerson)] == ["李红"]


@pytest.mark.parametrize("kind", ["related", "address"])
def test_an_act_taken_back_twice_is_taken_back_once(service, patient_id, write, kind):
    model, field = (RelatedPerson, "name") if kind == "related" else (Address, "text")
    people = f"/patients/{patient_id}/people/{kind}"

    def press(key: str, act: str) -> bool:
        return "这一条刚改过" in service.post(f"{people}/{key}/{act}", {}, follow_redirects=True).text

    put(service, patient_id, kind, **{field: "甲"})
    (first,) = live(write, model)
    put(service, patient_id, kind, **{field: "乙", "replaces_id": first.id})
    (second,) = live(write, model)

    assert [press(second.id, act) for act in ("undo", "undo", "end/undo")] == [False, True, True]
    assert [row.id for row in live(write, model)] == [first.id]
    assert [press(first.id, act) for act in ("end", "end/undo", "end/undo")] == [False, False, True]
    assert [row.id for row in live(write, model)] == [first.id]
    assert [press(first.id, act) for act in ("undo", "undo")] == [False, True]
    assert live(write, model) == []


def test_whoever_corrects_what_was_corrected_meanwhile_is_told_and_keeps_what_was_typed(
    service, patient_id, write
):
    put(service, patient_id, "related", name="李红")
    (first,) = live(write, RelatedPerson)
    put(service, patient_id, "related", name="李虹", replaces_id=first.id)

    late = put(service, patient_id, "related", name="李鸿", replaces_id=first.id)

    assert late.status_code == 409
    assert "这一条刚改过" in late.text
    assert 'value="李鸿"' in late.text
    assert (
        "这一条刚改过"
        in service.post(
            f"/patients/{patient_id}/people/related/{first.id}/undo", {}, follow_redirects=True
        ).text
    )


@pytest.mark.parametrize(
    ("kind", "fields", "field"),
    [("related", {"name": " "}, "name"), ("related", {"name": "李红", "phone": "abc"}, "phone"),
     ("address", {"text": ""}, "text"), ("address", {"text": "一号", "region": "火星"}, "region"),
     ("address", {"text": "一号", "use": "birth"}, "use"), ("related", {"name": "长" * 51}, "name")],
)  # fmt: skip
def test_what_cannot_be_kept_is_said_at_its_field(service, patient_id, write, kind, fields, field):
    answer = put(service, patient_id, kind, **fields)

    assert answer.status_code == 422
    assert f'id="error-{field}"' in answer.text
    assert live(write, RelatedPerson) == live(write, Address) == []


def test_an_address_entered_by_hand_counts_before_what_a_message_tells(write, patient_id):
    def add(work):
        now = work.clock.now()
        told = Address(
            id=work.new_id(), patient_id=patient_id, use="home", rank=1, region_code="330102",
            text_sealed=work.keys.seal_text("x"), source="his", as_of=now, seq=1, ended_at=None,
        )  # fmt: skip
        work.add(told)
        put_address(
            work,
            patient_id=patient_id,
            use="home",
            text="文三路一号",
            region_code="330106",
            informant=Informant.STAFF,
        )
        return region_codes(work, [patient_id])

    assert write(add) == {patient_id: "330106"}


def test_what_a_message_told_and_another_patient_s_row_are_not_theirs_to_change(
    service, ward, patient_id, write
):
    other = write(lambda work: work.get(Instruction, ward.second).patient_id)

    def add(work):
        told = RelatedPerson(
            id=work.new_id(), patient_id=patient_id, rank=1, name="张强", relation="子", source="his",
            as_of=work.clock.now(), seq=1, ended_at=None,
        )  # fmt: skip
        work.add(told)
        return told.id, put_relative(work, patient_id=other, name="王五", informant=Informant.STAFF)

    told, foreign = write(add)
    service.get(f"/patients/{patient_id}")
    for key in (told, foreign, "0" * 32):
        assert service.get(f"/patients/{patient_id}/people/related/{key}").status_code == 404
        assert service.post(f"/patients/{patient_id}/people/related/{key}/end", {}).status_code == 404
    assert service.get(f"/patients/{patient_id}/people/pets/new").status_code == 404
    assert len(live(write, RelatedPerson)) == 2


def test_the_same_twice_is_one(service, patient_id, write):
    for _ in range(2):
        related = put(service, patient_id, "related", name="李红", phone="13600136000")
        address = put(service, patient_id, "address", text="文三路一号")

    assert (related.status_code, address.status_code) == (409, 409)
    assert "已经登记" in related.text
    assert (len(live(write, RelatedPerson)), len(live(write, Address))) == (1, 1)


def test_nobody_enters_people_without_end(write, patient_id):
    def add(work):
        for number in range(limits.ENTERED_PEOPLE):
            put_relative(work, patient_id=patient_id, name=f"亲友{number}", informant=Informant.STAFF)
        with pytest.raises(HcrmError, match="最多"):
            put_relative(work, patient_id=patient_id, name="又一位", informant=Informant.STAFF)

    write(add)


def test_the_disclosure_s_contact_is_chosen_from_relatives_entered_by_hand(service, patient_id):
    put(service, patient_id, "related", name="李红", relation="女儿")
    form = service.get(f"/patients/{patient_id}/disclosure").text
    key = re.search(r'<option value="([0-9a-f]{32})">女儿 李红', form)[1]

    service.post(f"/patients/{patient_id}/disclosure", {"state": "confidential", "related_id": key})

    assert "病情只与 女儿 李红 沟通" in service.get(f"/patients/{patient_id}").text
