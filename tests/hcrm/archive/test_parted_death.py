"""A death told while two archives were one, once they are parted: where its source says, else both are in doubt."""

from typing import Any

import pytest

from hcrm.archive.arrivals import Arrival
from hcrm.archive.death import record_death, revoke_death
from hcrm.archive.events import DeathRevoked
from hcrm.archive.identity.service import part_merged
from hcrm.archive.merge.service import merge_patients
from hcrm.archive.models import DeceasedState, Patient, PatientIdentifier, PatientMerge
from hcrm.archive.parting.death import tell_parted_death
from hcrm.archive.reach.consent import Barrier, may_contact
from hcrm.archive.reach_models import ContactMeans, ContactPurpose
from hcrm.archive.service import absorb_records
from hcrm.archive.terms import BY_PEOPLE
from hcrm.archive.timeline import list_timeline
from hcrm.core.events import Fact
from hcrm.core.work import Work
from tests.support.changes import change

ALIVE, DECEASED, DISPUTED = DeceasedState.ALIVE, DeceasedState.DECEASED, DeceasedState.DISPUTED
BY_HIS = "his"


@pytest.fixture
def told(work: Work) -> list[str]:
    """Three archives, under the numbers 100, 200 and 300."""
    tell(work, 1, *(change("A28", p=p, m="09:00", name="张^三", phone="") for p in (100, 200, 300)))
    return [
        work.one(PatientIdentifier, PatientIdentifier.value == str(p)).patient_id for p in (100, 200, 300)
    ]


def tell(work: Work, first: int, *changes: Any) -> None:
    absorb_records(work, arrivals=[Arrival(seq, one) for seq, one in enumerate(changes, start=first)])
    settle(work)


def died(work: Work, number: int, at: str = "18:00") -> None:
    tell(work, 50 + number, change("A08", p=number, m=at, name="张^三", phone="", PID_30="Y"))


def join(work: Work, survivor: str, merged: str, source: str = BY_PEOPLE) -> str:
    seq = None if source == BY_PEOPLE else 40
    merge_id = merge_patients(work, survivor_id=survivor, merged_id=merged, source=source, seq=seq)
    work.clock.move(seconds=1)
    settle(work)
    return merge_id


def part(work: Work, merge_id: str) -> list[Fact]:
    """Undo it; the facts that follow."""
    work.events.clear()
    part_merged(work, merge_id=merge_id, reason="不是同一人", chosen={})
    facts = list(work.events)
    settle(work)
    return facts


def settle(work: Work) -> None:
    work.flush()
    work.session.expire_all()


def states(work: Work, ids: list[str]) -> list[DeceasedState]:
    return [work.one(Patient, Patient.id == key).deceased for key in ids]


def story(work: Work, patient_id: str) -> str:
    return " ".join(line.title for line in list_timeline(work, patient_id=patient_id).items)


def test_a_death_people_noted_while_two_were_one_leaves_both_in_doubt(work: Work, told):
    merge_id = join(work, told[0], told[1])
    record_death(work, patient_id=told[0], told_by="家属")
    settle(work)
    assert "存疑" in tell_parted_death(work, work.get(PatientMerge, merge_id))

    part(work, merge_id)

    assert states(work, told) == [DISPUTED, DISPUTED, ALIVE]
    for key in told[:2]:
        assert "不能确定是哪一位" in story(work, key)


def test_in_doubt_nobody_is_sent_anything_until_a_person_says_who_lives(work: Work, told):
    merge_id = join(work, told[0], told[1])
    record_death(work, patient_id=told[0], told_by="家属")
    part(work, merge_id)
    assert [blocked(work, key) for key in told] == [True, True, False]
    noted_at = work.one(Patient, Patient.id == told[1]).provenance["deceased"][0]

    work.events.clear()
    revoke_death(work, patient_id=told[1], reason="本人接听")

    assert [blocked(work, key) for key in told] == [True, False, False]
    assert work.events == [DeathRevoked(patient_id=told[1], noted_at=noted_at)]


def test_whoever_was_known_to_be_dead_before_stays_so(work: Work, told):
    died(work, 100)
    merge_id = join(work, told[0], told[1])
    record_death(work, patient_id=told[0], told_by="家属")
    assert states(work, told)[0] is DECEASED

    part(work, merge_id)

    assert states(work, told)[:2] == [DECEASED, DISPUTED]


@pytest.mark.parametrize("source", [BY_PEOPLE, BY_HIS])
def test_a_death_told_under_the_retired_number_is_the_merged_patients(work: Work, told, source):
    merge_id = join(work, told[0], told[1], source)
    died(work, 200, "22:00")
    assert states(work, told)[0] is DECEASED

    facts = part(work, merge_id)

    assert states(work, told) == [ALIVE, DECEASED, ALIVE]
    assert [each.patient_id for each in facts if isinstance(each, DeathRevoked)] == [told[0]]
    assert "deceased" not in work.one(Patient, Patient.id == told[0]).provenance


@pytest.mark.parametrize(("source", "merged"), [(BY_PEOPLE, ALIVE), (BY_HIS, DISPUTED)])
def test_a_death_told_under_the_survivors_number_is_theirs_and_of_a_his_that_knew_one_perhaps_both(
    work: Work, told, source, merged
):
    merge_id = join(work, told[0], told[1], source)
    died(work, 100, "22:00")

    part(work, merge_id)

    assert states(work, told) == [DECEASED, merged, ALIVE]
    assert ("不能确定是哪一位" in story(work, told[1])) is (merged is DISPUTED)


def test_a_death_told_under_the_number_of_a_third_is_the_thirds(work: Work, told):
    first, second = join(work, told[0], told[1], BY_HIS), join(work, told[0], told[2], BY_HIS)
    died(work, 300, "22:00")

    part(work, first)
    assert states(work, told) == [DECEASED, ALIVE, DECEASED]  # the third is still one with the first
    part(work, second)
    assert states(work, told) == [ALIVE, ALIVE, DECEASED]


def test_in_a_chain_the_death_goes_down_to_the_one_it_was_told_of(work: Work, told):
    below, above = join(work, told[1], told[2]), join(work, told[0], told[1])
    died(work, 300, "22:00")

    part(work, above)
    assert states(work, told) == [ALIVE, DECEASED, DECEASED]
    part(work, below)
    assert states(work, told) == [ALIVE, ALIVE, DECEASED]


@pytest.mark.parametrize("first", [0, 1])
def test_what_a_merge_itself_made_of_a_death_is_no_doubt_once_it_is_undone(work: Work, told, first):
    died(work, 200)
    died(work, 300)
    merges = [join(work, told[0], told[1]), join(work, told[0], told[2])]
    assert states(work, told)[0] is DISPUTED

    part(work, merges[first])
    part(work, merges[1 - first])

    assert states(work, told) == [ALIVE, DECEASED, DECEASED]


def blocked(work: Work, patient_id: str) -> bool:
    found = may_contact(work, patient_ids=[patient_id], purpose=ContactPurpose.CARE, channel=ContactMeans.SMS)
    return found[patient_id] in (Barrier.DECEASED, Barrier.DISPUTED)
