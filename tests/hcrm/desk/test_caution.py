"""What must be seen before a call: the same marks wherever a number or the log of calls is offered."""

import re

import pytest

from hcrm.archive.death import record_death
from hcrm.archive.models import Allergy, ContactPoint
from hcrm.archive.reach.contact_stop import end_contact
from hcrm.archive.reach.disclosure import set_disclosure
from hcrm.archive.reach_models import DisclosureState
from hcrm.archive.terms import StopKind
from hcrm.centre.models import Instruction
from tests.support.builders import SOURCE
from tests.support.station import Ward

CHOSEN = re.compile(r'<option value="contact:[0-9a-f]{32}" selected>')


@pytest.fixture
def patient_id(ward: Ward, write) -> str:
    return write(lambda work: work.get(Instruction, ward.first).patient_id)


@pytest.fixture
def pages(browser_of, ward, patient_id):
    """Every page that offers a number or a log of calls, as the physician reads it."""

    def read() -> list[str]:
        physician = browser_of("li")
        paths = (
            f"/patients/{patient_id}/contacts/new", f"/instructions/{ward.first}", f"/instructions/{ward.first}/form",
        )  # fmt: skip
        return [physician.get(path).text for path in paths]

    return read


def test_death_allergies_and_silence_stand_on_every_page_that_offers_a_call(pages, patient_id, write):
    before = pages()
    assert CHOSEN.search(before[0])

    def change(work):
        record_death(work, patient_id=patient_id, told_by="女儿")
        set_disclosure(
            work, patient_id=patient_id, state=DisclosureState.CONFIDENTIAL, contact_name="李红",
            contact_relation="女儿",
        )  # fmt: skip
        work.add(
            Allergy(
                id=work.new_id(), patient_id=patient_id, rank=1, kind="DA", code="", text="青霉素", severity="SV",
                reaction="皮疹", source=SOURCE, as_of=work.clock.now(), seq=1, ended_at=None,
            )
        )  # fmt: skip

    write(change)
    for page in pages():
        for words in ("已故", "已故待核实", "病情只与 女儿 李红 沟通", "青霉素过敏"):
            assert words in page
    log = pages()[0]
    assert not CHOSEN.search(log)
    assert "患者已故。不要主动拨打" in log


@pytest.mark.parametrize("kind", list(StopKind))
def test_where_contact_has_ended_no_number_is_chosen_and_none_is_dialled(
    pages, browser_of, patient_id, write, kind
):
    physician = browser_of("li")
    number = write(lambda work: work.one(ContactPoint, ContactPoint.patient_id == patient_id).id)
    physician.get(f"/patients/{patient_id}")
    assert "tel:" in physician.post(f"/patients/{patient_id}/reveal/contact/{number}").text

    write(lambda work: end_contact(work, patient_id=patient_id, kind=kind, reason="家属要求") and None)
    log, instruction, form = pages()
    assert kind.label in instruction
    for page in (log, form):
        assert f"{kind.label}：家属要求。不要主动拨打" in page
    assert not CHOSEN.search(log)
    shown = physician.post(f"/patients/{patient_id}/reveal/contact/{number}").text
    assert "tel:" not in shown
    assert f"不拨打：{kind.label}：家属要求" in shown
    assert "13800138000" in shown
