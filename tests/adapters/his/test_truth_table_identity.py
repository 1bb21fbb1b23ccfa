"""The ADT truth table: merging, and who is who (see `test_truth_table_visits`)."""

from itertools import permutations

import pytest

from hcrm.archive.models import (
    DeceasedState,
    Patient,
    PatientIdentifier,
    PatientMerge,
)
from hcrm.archive.visit_models import Encounter
from hcrm.centre.models import Instruction
from hcrm.inbox.models import ApplicationState
from tests.support.adt import ABSENT, adt
from tests.support.hospital import Hospital
from tests.support.truth_table import (
    BOTH,
    NI,
    OF_WOMAN,
    OTHER_NI,
    STAY,
    WOMAN,
    evening,
    hospital,
    hospital_with_ties,
    second,
)

__all__ = ["evening", "hospital", "hospital_with_ties"]


# ── merging ─────────────────────────────────────────────────────────────────

MERGE = adt("A40", c=5, p=200, mrg=100, m="16:00", phone=ABSENT, **WOMAN)
MERGED = (*BOTH, MERGE)


def test_b28_a_merge_moves_visits_and_follow_ups_and_every_number_finds_the_survivor(hospital):
    hospital.receive(*BOTH)
    before = {number: hospital.patient(number) for number in (100, 200)}
    hospital.receive(MERGE)

    survivor = hospital.patient(200)
    assert survivor.id == before[200].id == hospital.patient(100).id
    assert survivor.name == "李四"
    (retired,) = hospital.all(Patient, Patient.id == before[100].id)
    assert retired.merged_into_id == survivor.id
    assert {row.patient_id for row in hospital.all(Encounter)} == {survivor.id}
    assert {row.patient_id for row in hospital.all(Instruction)} == {survivor.id}
    (merge,) = hospital.all(PatientMerge)
    assert merge.before[retired.id]["name"] == "张三"
    assert hospital.visit("V1").id in merge.moved["encounter.patient_id"]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_b28_in_any_order_of_arrival_the_survivor_has_the_phones_of_both(hospital, order):
    """What the survivor was told before the merge is one of the two lists it united, though it came after it."""
    hospital.receive(*(message for number in order for message in ((STAY, (OF_WOMAN,), (MERGE,))[number])))

    phones = sorted(hospital.phones(200))
    early = order.index(2) < order.index(0)  # then what 100 says comes under a retired number
    assert phones == (["+8613812345678"] if early else ["+8613812345678", "+8613912345678"])


def test_b29_a_message_under_a_retired_number_brings_its_visit_but_not_its_demographics(hospital):
    hospital.receive(*MERGED)
    late = adt("A08", c=6, p=100, v="V1", phone="13700000000", loc="W9^1^1", m="17:00", name="张^三")
    hospital.receive(late)

    assert hospital.application().flags == "late_under_merged_id"
    assert hospital.patient(200).name == "李四"
    assert "+8613700000000" not in hospital.phones(200)
    assert hospital.visit("V1").location == "W9-1-1"


def test_b29_a_death_told_under_a_retired_number_is_the_survivors(hospital):
    hospital.receive(*MERGED, adt("A08", c=6, p=100, m="17:00", PID_30="Y"))

    assert hospital.patient(200).deceased is DeceasedState.DECEASED


def test_b29_a_message_that_also_names_the_survivor_is_not_late(hospital):
    both_numbers = "100^^^H1^MR~200^^^H1^MR"
    hospital.receive(*MERGED, adt("A08", c=6, p=both_numbers, m="17:00", phone="13700000000", **WOMAN))

    assert hospital.application().flags == ""
    assert hospital.phones(200) == ["+8613700000000"]


def test_b30_a_merge_that_came_before_both_patients_makes_one(hospital):
    hospital.receive(
        MERGE, adt("A01", c=1, p=100, v="V1", m="10:00"), adt("A01", c=2, p=200, v="V2", m="10:30", **WOMAN)
    )

    assert hospital.count(Patient) == 1
    assert hospital.visit("V1").patient_id == hospital.patient(200).id == hospital.patient(100).id
    (number,) = hospital.all(PatientIdentifier, PatientIdentifier.value == "100")
    assert number.retired_at is not None


CHAIN = [adt("A40", c=21, p=200, mrg=100, m="16:00"), adt("A40", c=22, p=300, mrg=200, m="16:10")]


@pytest.mark.parametrize("known_before", [True, False])
@pytest.mark.parametrize("order", [1, -1])
def test_b31_a_chain_of_merges_ends_at_its_last_survivor_in_either_order(hospital, order, known_before):
    if known_before:
        hospital.receive(*(adt("A01", c=number, p=number, v=f"V{number}") for number in (100, 200, 300)))
    hospital.receive(*CHAIN[::order])

    survivor = hospital.patient(300).id
    assert hospital.patient(100).id == hospital.patient(200).id == survivor
    assert {row.merged_into_id for row in hospital.all(Patient)} <= {None, survivor}
    assert hospital.count(Patient, Patient.merged_into_id.is_(None)) == 1


@pytest.mark.parametrize("known_before", [True, False])
def test_b32_a_merge_back_is_parked_and_moves_nothing(hospital, known_before):
    if known_before:
        hospital.receive(*(adt("A01", c=number, p=number, v=f"V{number}") for number in (100, 200)))
    hospital.receive(adt("A40", c=21, p=200, mrg=100, m="16:00"))
    before = hospital.snapshot()
    hospital.receive(adt("A40", c=22, p=100, mrg=200, m="16:10"))

    parked = hospital.application()
    assert (parked.state, parked.reason, parked.detail) == (ApplicationState.PARKED, "merge_cycle", "MRG-1")
    assert hospital.snapshot() == before


def test_b33_a_merge_with_itself_is_ignored_and_one_without_mrg_is_parked(hospital):
    hospital.receive(
        adt("A01", c=1), adt("A40", c=21, p=100, mrg=100, m="16:00"), adt("A40", c=22, p=100, m="16:10")
    )

    assert hospital.outcomes()[1:] == [
        (ApplicationState.IGNORED, "merge_self"),
        (ApplicationState.PARKED, "no_merge_number"),
    ]
    assert hospital.application().detail == "MRG-1"
    assert hospital.count(PatientMerge) == 0


def test_b33_a_useless_group_does_not_stop_the_groups_behind_it(hospital):
    group = ("PID|1||200^^^H1^MR||李^四||19550102|F", "MRG|100^^^H1^MR")
    hospital.receive(*BOTH, adt("A40", c=21, p=300, mrg=300, m="16:00", segments=group))

    assert hospital.application().state is ApplicationState.APPLIED
    assert hospital.patient(100).id == hospital.patient(200).id


def test_b36_b37_a_merge_of_the_dead_into_the_living_is_disputed(hospital):
    hospital.receive(*BOTH, adt("A08", c=3, p=100, m="12:40", PID_30="Y"), MERGE)

    assert hospital.patient(200).deceased is DeceasedState.DISPUTED


DEAD = adt("A01", c=1, o="10:00", PID_30="Y", PID_29="20261122093000")


@pytest.mark.parametrize("order", list(permutations((DEAD, OF_WOMAN, MERGE))), ids=range(6))
def test_b37_the_dead_merged_into_the_living_is_disputed_in_any_order_of_arrival(hospital, order):
    hospital.receive(*order)

    assert hospital.patient(100).id == hospital.patient(200).id
    assert hospital.patient(200).deceased is DeceasedState.DISPUTED


def test_b37_a_death_from_before_the_merge_told_after_it_is_disputed(hospital):
    hospital.receive(*MERGED, adt("A08", c=6, p=100, m="12:40", PID_30="Y"))

    assert hospital.patient(200).deceased is DeceasedState.DISPUTED


# ── parting ─────────────────────────────────────────────────────────────────


def part(c: int, m: str, p: int = 200, **fields: str) -> bytes:
    """100 is not `p`."""
    man = second(100, "", "", name="张^三", dob="19900307", sex="M")
    return adt("A37", c=c, p=p, m=m, phone=ABSENT, segments=man, **(fields or WOMAN))


PART = part(6, "17:00")
AND_PARTED = (DEAD, OF_WOMAN, MERGE, PART)


EARLY = [order for order in permutations(range(4)) if order.index(2) < order.index(0)]


@pytest.mark.parametrize("order", [order for order in EARLY if order[-1] != 2], ids=str)
def test_b41_merged_early_and_parted_they_are_two_in_any_order_of_arrival(database, evening, order):
    """What one of them said between merge and part is told again of whom it was about."""
    with Hospital(database, evening) as hospital:
        hospital.receive(*(AND_PARTED[number] for number in order))
        assert_two(hospital)

        hospital.replay()
        assert_two(hospital)
        hospital.assert_repeats_change_nothing(resend=False)


def assert_two(hospital: Hospital) -> None:
    """A dead man and a living woman, each with one visit."""
    man, woman = hospital.patient(100), hospital.patient(200)
    assert (man.name, woman.name) == ("张三", "李四")
    assert (man.deceased, woman.deceased) == (DeceasedState.DECEASED, DeceasedState.ALIVE)
    assert (hospital.visit("V1").patient_id, hospital.visit("V2").patient_id) == (man.id, woman.id)
    assert (hospital.phones(100), hospital.phones(200)) == (["+8613912345678"], ["+8613812345678"])
    assert {state for state, _ in hospital.outcomes()} == {ApplicationState.APPLIED}
    assert hospital.count(Patient) == 2


def test_b41_a_number_parted_before_anybody_was_known_under_it_goes_its_own_way(hospital):
    hospital.receive(MERGE, *STAY, PART, adt("A08", c=7, p=100, m="18:00", phone="13700000000"), OF_WOMAN)

    assert hospital.application(5).flags == ""
    assert hospital.phones(100) == ["+8613700000000"]
    assert hospital.phones(200) == ["+8613812345678"]
    assert {row.patient_id for row in hospital.all(Instruction)} == {hospital.patient(100).id}


def test_b41_an_older_word_that_they_are_two_does_not_part_what_was_merged_later(hospital):
    hospital.receive(MERGE, part(6, "15:00"), STAY[0], OF_WOMAN)

    assert hospital.application(2).flags == "already_merged"
    assert hospital.patient(100).id == hospital.patient(200).id


def test_b41_one_number_of_a_chain_of_early_merges_is_parted_and_the_others_stay(hospital):
    hospital.receive(CHAIN[0])
    hospital.clock.move(seconds=1)
    hospital.receive(CHAIN[1], part(23, "17:00", p=200, name="张^三"))

    assert hospital.patient(200).id == hospital.patient(300).id != hospital.patient(100).id
    hospital.receive(*(adt("A01", c=number, p=number, v=f"V{number}") for number in (100, 200, 300)))
    assert hospital.visit("V100").patient_id == hospital.patient(100).id
    assert hospital.visit("V200").patient_id == hospital.visit("V300").patient_id == hospital.patient(300).id


def test_b41_a_death_told_while_they_were_one_is_his_and_whether_it_is_hers_a_person_decides(
    database, evening
):
    """Nobody is sent anything until then."""
    died = adt("A08", c=7, p=100, m="16:30", PID_30="Y")
    with Hospital(database, evening) as hospital:
        hospital.receive(OF_WOMAN, MERGE, died, PART)

        assert hospital.patient(100).deceased is DeceasedState.DECEASED
        assert hospital.patient(200).deceased is DeceasedState.DISPUTED


def test_a_merge_into_somebody_the_message_does_not_describe_moves_nothing(hospital):
    hospital.receive(*BOTH)
    before = hospital.snapshot()
    hospital.receive(adt("A40", c=5, p=200, mrg=100, m="16:00"))  # 张三, but 200 is 李四

    assert hospital.outcomes()[-1] == (ApplicationState.PARKED, "identity_conflict")
    assert hospital.snapshot() == before


# ── identity ────────────────────────────────────────────────────────────────


def test_b42_a_record_number_given_to_someone_else_is_quarantined(hospital):
    hospital.receive(adt("A01", c=1, ni=NI))
    before = hospital.snapshot()
    other = {"name": "王^五", "sex": "F", "dob": "19551201", "ni": OTHER_NI}
    hospital.receive(adt("A01", c=9, v="V9", m="11:00", **other))

    parked = hospital.application()
    assert (parked.state, parked.reason) == (ApplicationState.PARKED, "identity_conflict")
    assert hospital.snapshot() == before


def test_b43_one_difference_is_a_correction_and_the_old_name_is_history(hospital):
    hospital.receive(adt("A01", c=1), adt("A08", c=2, name="张^叁", m="10:05"))

    assert hospital.patient(100).name == "张叁"
    assert hospital.history(100, "name") == ["张三"]


def test_b43_an_older_name_that_comes_late_goes_to_history(hospital):
    hospital.receive(adt("A08", c=2, name="张^叁", m="10:05"), adt("A01", c=1, m="10:00"))

    assert hospital.patient(100).name == "张叁"
    assert hospital.history(100, "name") == ["张三"]


def test_b44_a_person_added_and_updated_has_no_visit(hospital):
    hospital.receive(adt("A28", c=1, p=100), adt("A31", c=2, p=100, phone="13812345678", m="10:05"))

    assert hospital.phones(100) == ["+8613812345678"]
    assert not hospital.patient(100).is_stub
    assert hospital.count(Encounter) == 0


def test_b44_a_person_update_never_moves_the_visit_it_carries(hospital):
    hospital.receive(adt("A01", c=1))
    before = hospital.visit("V1")
    hospital.receive(adt("A31", c=2, m="10:05", segments=["PV1|1|O|W9^9^9||||||||||||||||V1"]))

    assert (hospital.visit("V1").location, hospital.visit("V1").encounter_class) == (
        before.location, before.encounter_class)  # fmt: skip


def test_b45_twins_are_never_matched_by_name_birth_date_or_phone(hospital):
    born = {"name": "张三之子", "dob": "20261122", "PID_21": "100^^^H1^MR", "PID_24": "Y"}
    hospital.receive(
        adt("A01", c=1, p=100), adt("A01", c=2, p=300, v="V3", m="10:30", **born),
        adt("A01", c=3, p=301, v="V4", m="10:31", **born),
    )  # fmt: skip

    assert len({hospital.patient(number).id for number in (100, 300, 301)}) == 3


def test_b37_a_death_told_late_under_a_retired_number_is_its_patients_once_the_merge_is_undone(hospital):
    apart = adt("A37", c=6, p=200, m="13:00", segments=["PID|2||100^^^H1^MR||张^三"], **WOMAN)
    hospital.receive(
        adt("A08", c=1, m="11:00"), OF_WOMAN, adt("A40", c=4, p=200, mrg=100, m="12:00", **WOMAN)
    )
    hospital.receive(adt("A01", c=5, m="10:00", PID_30="Y"))
    assert hospital.patient(200).deceased is DeceasedState.DISPUTED

    hospital.receive(apart)
    assert hospital.patient(100).deceased is DeceasedState.DECEASED
    assert hospital.patient(200).deceased is DeceasedState.ALIVE
