"""Premium-rate, service and foreign numbers from a sender's socket to the pages: text with a reason, no link (C21)."""

import re

import pytest

from hcrm.archive.models import ContactPoint, RelatedPerson
from hcrm.centre.models import Instruction
from tests.support.adt import adt
from tests.support.console import app, browser_of, cheap_passwords, make_person, settings
from tests.support.truth_table import evening, hospital

__all__ = ["app", "browser_of", "cheap_passwords", "evening", "hospital", "make_person", "settings"]

NUMBERS = {
    "13812345678": "",
    "16812345": "声讯收费号码",
    "95013123456": "企业服务号码",
    "96123456": "地方服务或收费号码",
    "+44 20 7946 0958": "境外号码",
}
KIN = {"王芳": "+1 900 555 1234", "李强": "01061234567"}
MARK = re.compile(r'<span class="call-mark.*?&nbsp;</span>', re.DOTALL)
TEL = re.compile(r'href="tel:([^"]*)"')


@pytest.fixture
def clock(evening):
    """The console goes by the worker's clock."""
    return evening


@pytest.fixture
def centre(make_person, browser_of):
    make_person("wang", ["service_centre"])
    return browser_of("wang")


@pytest.fixture
def discharged(hospital):
    """A patient with such numbers, at home, to be called."""
    kin = [f"NK1|{n}|{name}|2||{number}" for n, (name, number) in enumerate(KIN.items(), start=1)]
    facts = {"phone": "~".join(NUMBERS), "segments": kin}
    hospital.receive(adt("A01", c=1, m="09:00", **facts), adt("A03", c=2, m="10:00", PV1_36="1", **facts))
    return hospital.patient(100)


def revealed(browser, hospital, patient) -> dict[str, list[str]]:
    """For each number as it is shown in full, the links that stand beside it."""
    found = {}
    for kind, model in (("contact", ContactPoint), ("related", RelatedPerson)):
        for row in hospital.all(model, model.patient_id == patient.id, model.ended_at.is_(None)):
            answer = browser.post(f"/patients/{patient.id}/reveal/{kind}/{row.id}")
            assert answer.status_code == 200
            shown = MARK.sub("", answer.text)  # who may be told stands before a number one can dial
            found[re.sub(r"<[^>]*>|\s", "", shown)] = TEL.findall(answer.text)
    return found


def test_c21_such_a_number_is_shown_in_full_and_never_a_link(hospital, discharged, centre):
    assert revealed(centre, hospital, discharged) == {
        "13812345678": ["13812345678"], "+861061234567": ["+861061234567"],
        "+8616812345": [], "+8695013123456": [], "96123456": [], "+442079460958": [], "+19005551234": [],
    }  # fmt: skip


@pytest.mark.parametrize("place", ["patient", "people", "followup"])
def test_c21_the_pages_say_which_number_is_not_dialled_and_why(hospital, discharged, centre, place):
    (instruction, *_) = hospital.all(Instruction)
    address = {
        "patient": f"/patients/{discharged.id}", "people": f"/patients/{discharged.id}?tab=people",
        "followup": f"/instructions/{instruction.id}/form",
    }[place]  # fmt: skip
    page = centre.get(address)
    assert page.status_code == 200

    said = re.findall(r"不拨打：([^<]*)<", page.text)
    wanted = [*filter(None, NUMBERS.values()), "境外号码"]  # and of the relatives one
    assert [one for one in wanted if said.count(one) < wanted.count(one)] == []
    assert set(said) == set(wanted)
    assert not TEL.findall(page.text)


def test_c21_of_forty_numbers_in_both_lists_five_of_each_are_kept(hospital):
    many = "~".join(f"138000000{n:02}" for n in range(40))
    work = "~".join(f"139000000{n:02}" for n in range(40))
    hospital.receive(adt("A28", c=1, phone=many, PID_14=work))

    assert hospital.phones(100) == [
        *(f"+861380000000{n}" for n in range(5)),
        *(f"+861390000000{n}" for n in range(5)),
    ]
