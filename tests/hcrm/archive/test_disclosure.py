"""What a patient knows of the illness, and whom to speak with."""

import pytest

from hcrm.archive.merge.service import merge_patients
from hcrm.archive.models import RelatedPerson
from hcrm.archive.reach.disclosure import UNKNOWN, disclosure_of, list_disclosures, set_disclosure
from hcrm.archive.reach_models import DisclosureState
from hcrm.core.errors import HcrmError, NotFoundError
from hcrm.core.work import Work
from tests.support.builders import SOURCE, make_patient


def make_daughter(work: Work, patient_id: str) -> str:
    person = RelatedPerson(
        id=work.new_id(), patient_id=patient_id, rank=1, name="李红", relation="女", phone_sealed=None,
        phone_index=None, phone_last4_index=None, source=SOURCE, as_of=work.clock.now(), seq=1, ended_at=None,
    )  # fmt: skip
    work.add(person)
    return person.id


def test_who_was_never_asked_about_is_unknown(work: Work):
    patient = make_patient(work)

    assert disclosure_of(work, [patient.id]) == {patient.id: UNKNOWN}


def test_silence_names_the_relative_to_speak_with_and_the_history_is_kept(work: Work):
    patient = make_patient(work)
    daughter = make_daughter(work, patient.id)
    set_disclosure(work, patient_id=patient.id, state=DisclosureState.INFORMED)
    work.clock.move(minutes=1)

    set_disclosure(work, patient_id=patient.id, state=DisclosureState.CONFIDENTIAL, related_id=daughter)

    mark = disclosure_of(work, [patient.id])[patient.id]
    assert (mark.is_confidential, mark.contact) == (True, "女儿 李红")
    assert [(row.state, row.ended_at is None) for row in list_disclosures(work, patient.id)] == [
        (DisclosureState.CONFIDENTIAL, True), (DisclosureState.INFORMED, False),
    ]  # fmt: skip


def test_silence_without_anybody_to_speak_with_is_refused(work: Work):
    patient = make_patient(work)

    with pytest.raises(HcrmError) as refusal:
        set_disclosure(work, patient_id=patient.id, state=DisclosureState.CONFIDENTIAL)

    assert refusal.value.field == "contact_name"


def test_a_relative_of_somebody_else_is_no_contact(work: Work):
    stranger = make_daughter(work, make_patient(work).id)

    with pytest.raises(NotFoundError):
        set_disclosure(
            work, patient_id=make_patient(work).id, state=DisclosureState.CONFIDENTIAL, related_id=stranger
        )


@pytest.mark.parametrize("first", ["survivor", "merged"])
def test_of_two_marks_that_a_merge_brings_together_silence_wins(work: Work, first):
    survivor, merged = make_patient(work), make_patient(work)
    silent, informed = (survivor, merged) if first == "survivor" else (merged, survivor)
    set_disclosure(work, patient_id=silent.id, state=DisclosureState.CONFIDENTIAL, contact_name="李红")
    work.clock.move(minutes=1)
    set_disclosure(work, patient_id=informed.id, state=DisclosureState.INFORMED)

    merge_patients(work, survivor_id=survivor.id, merged_id=merged.id, source="test", seq=None)

    assert disclosure_of(work, [survivor.id])[survivor.id].is_confidential
