"""The ADT truth table: older merges, accounts and visits, new numbers, newborns, swapped beds, deletion."""

from itertools import permutations

import pytest

from hcrm.archive.models import Patient, PatientIdentifier, PatientLink
from hcrm.archive.terms import LinkKind
from hcrm.archive.visit_models import Encounter, EncounterStatus
from hcrm.audit.models import AuditEvent
from hcrm.centre.models import Instruction
from hcrm.inbox.models import ApplicationState
from tests.support.adt import ABSENT, adt, moment
from tests.support.truth_table import (
    BOTH,
    ISSUED,
    OF_WOMAN,
    STAY,
    WITHDRAWN,
    WOMAN,
    evening,
    hospital,
    hospital_with_ties,
    second,
)

__all__ = ["evening", "hospital", "hospital_with_ties"]

# ── older forms of a merge ──────────────────────────────────────────────────


@pytest.mark.parametrize("event", ["A18", "A30", "A34"])
def test_b34_an_older_form_of_merging_does_the_same(hospital, event):
    hospital.receive(*BOTH, adt(event, c=5, p=200, mrg=100, m="16:00", **WOMAN))

    survivor = hospital.patient(200)
    assert hospital.patient(100).id == survivor.id
    assert {row.patient_id for row in hospital.all(Encounter)} == {survivor.id}
    assert {row.patient_id for row in hospital.all(Instruction)} == {survivor.id}


# ── accounts and visits ─────────────────────────────────────────────────────


def test_b35_merged_accounts_leave_patients_and_visits_as_they_are(hospital):
    hospital.receive(
        adt("A01", c=1, PID_18="AC1", o="10:00"),
        adt("A35", c=2, PID_18="AC2", mrg="100^^^H1^MR||AC1", m="11:00"),
    )

    assert hospital.count(Encounter) == hospital.count(Patient) == 1
    assert hospital.visit("V1").account_no == "AC2"


def test_b35_of_two_visits_merged_one_stays_with_everything_of_both(hospital):
    hospital.receive(
        adt("A04", c=1, v="V1", cls="E", o="09:00", m="09:00", segments=["DG1|1||I10^高血压"]),
        adt("A01", c=2, v="V2", o="10:00", segments=["DG1|1||I63^脑梗死"]),
        adt("A42", c=3, v="V2", mrg="100^^^H1^MR||||V1", m="11:00"),
    )

    stays = hospital.visit("V2")
    assert hospital.visit("V1").merged_into_id == stays.id
    assert hospital.visit("V1").status is EncounterStatus.CANCELLED
    assert (stays.status, stays.admitted_at) == (EncounterStatus.IN_PROGRESS, moment("09:00"))
    assert hospital.diagnoses("V2") == ["I63 脑梗死"]
    assert hospital.count(Patient) == 1


def test_b35_what_is_told_of_the_merged_visit_later_counts_for_the_other(hospital):
    hospital.receive(
        adt("A04", c=1, v="V1", cls="E", o="09:00", m="09:00"),
        adt("A01", c=2, v="V2", o="10:00"),
        adt("A42", c=3, v="V2", mrg="100^^^H1^MR||||V1", m="11:00"),
        adt("A03", c=4, v="V1", o="12:00"),
    )

    assert hospital.visit("V2").status is EncounterStatus.FINISHED
    assert set(hospital.instructions("V2")) == {ISSUED}


def test_b35_two_finished_visits_merged_leave_one_follow_up(hospital):
    hospital.receive(
        *STAY,
        adt("A01", c=4, v="V2", o="13:00"),
        adt("A03", c=5, v="V2", o="14:00"),
        adt("A42", c=6, v="V2", mrg="100^^^H1^MR||||V1", m="15:00"),
    )

    states = hospital.instructions("V2")
    assert 2 * states.count(ISSUED) == 2 * states.count(WITHDRAWN) == len(states) > 0
    assert hospital.instructions("V1") == []


@pytest.mark.parametrize("known", ["V1", "V2", ""])
def test_b35_a_merge_of_visits_that_came_before_them_counts(hospital, known):
    opening = {
        "V1": adt("A04", c=1, v="V1", cls="E", o="09:00", m="09:00"),
        "V2": adt("A01", c=2, v="V2", o="10:00"),
    }
    first = [opening.pop(known)] if known else []
    hospital.receive(*first, adt("A42", c=3, v="V2", mrg="100^^^H1^MR||||V1", m="11:00"), *opening.values())

    assert hospital.visit("V1").merged_into_id == hospital.visit("V2").id
    assert hospital.visit("V2").admitted_at == moment("09:00")
    assert {state for state, _ in hospital.outcomes()} == {ApplicationState.APPLIED}


@pytest.mark.parametrize(
    "early",
    [
        adt("A42", c=3, v="V2", mrg="100^^^H1^MR||||V1", m="11:00"),
        adt("A35", c=3, PID_18="AC2", mrg="100^^^H1^MR||AC1", m="11:00"),
    ],
)
def test_b35_what_is_merged_before_anybody_is_known_makes_no_archive(hospital, early):
    hospital.receive(early)
    assert hospital.application().state is ApplicationState.HELD
    assert hospital.count(Patient) == hospital.count(PatientIdentifier) == 0

    hospital.receive(
        adt("A04", c=1, v="V1", cls="E", o="09:00", m="09:00", PID_18="AC1"),
        adt("A01", c=2, v="V2", o="10:00", PID_18="AC2"),
    )
    assert {state for state, _ in hospital.outcomes()} == {ApplicationState.APPLIED}
    assert hospital.count(Patient) == hospital.count(PatientIdentifier) == 1


def test_a_number_linked_with_itself_makes_one_archive_at_most(hospital):
    hospital.receive(adt("A24", c=1, m="10:00", segments=second(100, "", "")), adt("A01", c=2, o="11:00"))

    assert hospital.count(Patient) == hospital.count(PatientIdentifier) == 1


MOVE = adt("A45", c=5, p=200, v="V1", mrg="100^^^H1^MR||||V1", m="11:00", **WOMAN)
AND_MOVED = (
    adt("A01", c=1, o="10:00"), OF_WOMAN, MOVE, adt("A03", c=4, p=200, v="V1", o="12:00", phone=ABSENT, **WOMAN)
)  # fmt: skip


@pytest.mark.parametrize(
    "order", [*(order for order in permutations(range(4)) if order[-1] == 0), (3, 0, 1, 2), (3, 1, 0, 2)], ids=str
)  # fmt: skip
def test_b38_a_visit_told_under_either_patient_is_the_new_ones_once_the_move_is_known(hospital, order):
    hospital.receive(*(AND_MOVED[number] for number in order))

    assert {state for state, _ in hospital.outcomes()} == {ApplicationState.APPLIED}
    visit = hospital.visit("V1")
    assert visit.patient_id == hospital.patient(200).id
    assert (visit.admitted_at, visit.discharged_at) == (moment("10:00"), moment("12:00"))
    assert (hospital.patient(100).name, hospital.patient(200).name) == ("张三", "李四")


def test_b38_a_visit_moves_to_the_patient_it_belongs_to(hospital):
    move = adt("A45", c=5, p=200, v="V1", mrg="100^^^H1^MR||||V1", m="16:00", **WOMAN)
    hospital.receive(*BOTH, move)

    owner = hospital.patient(200)
    assert hospital.visit("V1").patient_id == owner.id
    assert {row.patient_id for row in hospital.all(Instruction)} == {owner.id}
    assert hospital.patient(100).id != owner.id
    assert hospital.patient(100).merged_into_id is None
    assert hospital.patient(100).name == "张三"


def test_b38_a_visit_moves_though_the_message_came_before_it(hospital):
    move = adt("A45", c=5, p=200, v="V1", mrg="100^^^H1^MR||||V1", m="16:00", **WOMAN)
    hospital.receive(OF_WOMAN, move)
    assert hospital.application().state is ApplicationState.HELD

    hospital.receive(*STAY)
    assert hospital.visit("V1").patient_id == hospital.patient(200).id
    assert hospital.visit("V1").status is EncounterStatus.FINISHED
    assert {row.patient_id for row in hospital.all(Instruction)} == {hospital.patient(200).id}


def test_b38_an_older_word_under_the_former_patient_still_counts_for_the_visit(hospital):
    move = adt("A45", c=5, p=200, v="V1", mrg="100^^^H1^MR||||V1", m="16:00", **WOMAN)
    hospital.receive(adt("A01", c=1, o="10:00"), OF_WOMAN, move, adt("A03", c=3, o="12:00"))

    assert hospital.visit("V1").status is EncounterStatus.FINISHED
    assert hospital.visit("V1").patient_id == hospital.patient(200).id


def test_b38_every_visit_of_a_moved_account_moves(hospital):
    hospital.receive(
        adt("A01", c=1, v="V1", PID_18="AC1", o="10:00"),
        adt("A04", c=2, v="V3", PID_18="AC1", cls="O", o="10:10"),
        adt("A04", c=3, v="V4", PID_18="AC9", cls="O", o="10:20"),
        OF_WOMAN,
        adt("A44", c=5, p=200, PID_18="AC1", mrg="100^^^H1^MR||AC1", m="16:00", **WOMAN),
    )

    owners = {number: hospital.visit(number).patient_id for number in ("V1", "V3", "V4")}
    assert owners["V1"] == owners["V3"] == hospital.patient(200).id
    assert owners["V4"] == hospital.patient(100).id


def test_b38_a_visit_of_a_third_patient_is_not_moved(hospital):
    hospital.receive(
        *BOTH, adt("A45", c=5, p=100, v="V2", mrg="300^^^H1^MR||||V2", m="16:00"),
    )  # fmt: skip

    assert (hospital.application().state, hospital.application().reason) == (
        ApplicationState.PARKED, "visit_of_other_patient")  # fmt: skip
    assert hospital.visit("V2").patient_id == hospital.patient(200).id


# ── numbers ─────────────────────────────────────────────────────────────────


def test_b39_a_free_number_is_taken_and_the_old_one_goes_on_finding_the_patient(hospital):
    hospital.receive(*STAY, adt("A47", c=5, p=101, mrg=100, m="16:00"))

    patient = hospital.patient(101)
    assert hospital.patient(100).id == patient.id
    assert hospital.visit("V1").patient_id == patient.id
    (old,) = hospital.all(PatientIdentifier, PatientIdentifier.value == "100")
    assert (old.replaced_at is not None, old.retired_at, old.ended_at) == (True, None, None)


def test_b39_a_message_under_the_old_number_is_not_late(hospital):
    hospital.receive(
        *STAY,
        adt("A47", c=5, p=101, mrg=100, m="16:00"),
        adt("A08", c=6, p=100, phone="13800000000", m="17:00"),
    )

    assert hospital.application().flags == ""
    assert hospital.phones(101) == ["+8613800000000"]


RENAMED = (
    adt("A01", c=1, o="10:00"), adt("A47", c=2, p=101, mrg=100, m="11:00"), adt("A03", c=3, p=101, o="12:00"),
    adt("A08", c=4, p=100, phone="13600000000", m="11:30"),
)  # fmt: skip


@pytest.mark.parametrize("order", [(0, 2, 1, 3), (0, 2, 3, 1), (3, 0, 2, 1), (2, 1, 0, 3)], ids=str)
def test_b39_what_came_under_the_new_number_waits_for_the_word_of_it(hospital, order):
    hospital.receive(*(RENAMED[number] for number in order))

    assert {state for state, _ in hospital.outcomes()} == {ApplicationState.APPLIED}
    assert hospital.count(Patient) == 1
    visit = hospital.visit("V1")
    assert (visit.admitted_at, visit.discharged_at) == (moment("10:00"), moment("12:00"))


def test_b39_a_number_of_somebody_else_is_not_taken(hospital):
    hospital.receive(*BOTH, adt("A47", c=5, p=200, mrg=100, m="16:00", **WOMAN))

    assert (hospital.application().state, hospital.application().reason) == (
        ApplicationState.PARKED, "number_taken")  # fmt: skip
    assert hospital.patient(100).name == "张三"


def test_b39_a_new_number_told_before_the_old_one_was_used_finds_one_patient(hospital):
    hospital.receive(adt("A47", c=5, p=101, mrg=100, m="16:00"), *STAY)

    assert hospital.count(Patient) == 1
    assert hospital.visit("V1").patient_id == hospital.patient(101).id


# ── newborns ────────────────────────────────────────────────────────────────


def newborn(c: int, p: int, v: str) -> bytes:
    child = {"name": "张三之子", "dob": "20261122", "sex": "M", "phone": "13912345678"}
    return adt("A01", c=c, p=p, v=v, m=f"11:0{c}", PID_21="100^^^H1^MR", PID_24="Y", **child)


def test_b45_newborn_twins_are_two_patients_with_a_mother(hospital):
    hospital.receive(adt("A01", c=1, name="张^三", sex="F"), newborn(2, 300, "V3"), newborn(3, 301, "V4"))

    mother = hospital.patient(100)
    twins = {hospital.patient(300).id, hospital.patient(301).id}
    assert len(twins) == 2
    assert mother.id not in twins
    links = hospital.all(PatientLink)
    assert {(row.patient_id, row.other_id, row.kind) for row in links} == {
        (child, mother.id, LinkKind.MOTHER) for child in twins}  # fmt: skip


def test_b45_a_mother_who_is_heard_of_later_is_the_same_one(hospital):
    hospital.receive(newborn(2, 300, "V3"), adt("A01", c=1, p=100, name="张^三", sex="F", dob="19950101"))

    (link,) = hospital.all(PatientLink)
    assert link.other_id == hospital.patient(100).id
    assert hospital.patient(100).name == "张三"
    assert hospital.count(Patient) == 2


# ── two at once ─────────────────────────────────────────────────────────────

SWAP = adt(
    "A17", c=5, p=100, v="V1", loc="W2^202^2", o="12:00", segments=second(200, "V2", "W1^101^1", **WOMAN)
)
MEN = (
    adt("A01", c=1, p=100, v="V1", loc="W1^101^1", o="10:00"),
    adt("A01", c=2, p=200, v="V2", loc="W2^202^2", o="10:30", **WOMAN),
)


def test_b46_two_patients_change_beds(hospital):
    hospital.receive(*MEN, SWAP)

    assert hospital.visit("V1").location == "W2-202-2"
    assert hospital.visit("V2").location == "W1-101-1"


def test_b46_or_neither_does(hospital):
    hospital.receive(MEN[0], SWAP)
    assert hospital.application().state is ApplicationState.HELD
    assert hospital.visit("V1").location == "W1-101-1"

    hospital.receive(MEN[1])
    assert hospital.visit("V1").location == "W2-202-2"
    assert hospital.visit("V2").location == "W1-101-1"
    assert hospital.application(2).state is ApplicationState.APPLIED


def test_b46_a_change_of_beds_that_came_first_waits_for_the_one_and_then_for_the_other(hospital):
    hospital.receive(SWAP, MEN[0])
    assert hospital.application(1).state is ApplicationState.HELD

    hospital.receive(MEN[1])
    assert hospital.application(1).state is ApplicationState.APPLIED
    assert hospital.visit("V1").location == "W2-202-2"
    assert hospital.visit("V2").location == "W1-101-1"


def test_b46_a_stranger_under_one_of_the_numbers_stops_both(hospital):
    stranger = second(200, "V2", "W1^101^1", name="赵^六", dob="20010101", sex="M")
    hospital.receive(*MEN, adt("A17", c=5, p=100, v="V1", loc="W2^202^2", o="12:00", segments=stranger))

    assert hospital.application().reason == "identity_conflict"
    assert hospital.visit("V1").location == "W1-101-1"


# ── deleted ─────────────────────────────────────────────────────────────────


def test_b47_a_deleted_visit_is_cancelled_and_a_deleted_patient_hidden_and_both_stay_on_record(hospital):
    hospital.receive(*STAY, adt("A23", c=5, v="V1", m="16:00"))
    assert hospital.visit("V1").status is EncounterStatus.CANCELLED
    assert set(hospital.instructions("V1")) == {WITHDRAWN}

    hospital.receive(adt("A29", c=6, m="17:00"))
    patient = hospital.patient(100)
    assert (patient.is_nullified, patient.name) == (True, "张三")
    assert hospital.count(AuditEvent) > 0


def test_b47_work_for_a_deleted_patient_is_taken_back_and_comes_again_with_them(hospital):
    hospital.receive(*STAY, adt("A29", c=6, m="17:00"))
    assert set(hospital.instructions("V1")) == {WITHDRAWN}

    hospital.receive(adt("A08", c=7, m="18:00"))
    assert not hospital.patient(100).is_nullified
    assert set(hospital.instructions("V1")) == {ISSUED}


def test_b47_a_deletion_that_overtakes_what_it_deletes_stands(hospital):
    hospital.receive(adt("A29", c=6, m="17:00"), *STAY)

    assert hospital.patient(100).is_nullified
    assert hospital.visit("V1").status is EncounterStatus.FINISHED
    assert hospital.instructions("V1") == []


def test_b47_the_deletion_of_a_retired_number_does_not_hide_the_survivor(hospital):
    """A HIS merges, then deletes what it merged away."""
    hospital.receive(*BOTH, adt("A40", c=5, p=200, mrg=100, m="16:00", phone=ABSENT, **WOMAN))
    issued = hospital.instructions("V1")
    hospital.receive(adt("A29", c=6, p=100, m="17:00"))

    assert hospital.application().flags == "late_under_merged_id"
    assert not hospital.patient(200).is_nullified
    assert hospital.instructions("V1") == issued != []


def test_b47_a_deletion_told_before_what_was_told_since_deletes_nothing(hospital):
    hospital.receive(*STAY, adt("A29", c=6, m="09:00"))

    assert hospital.application().flags == "told_of_since"
    assert not hospital.patient(100).is_nullified
    assert set(hospital.instructions("V1")) == {ISSUED}


def test_a_pair_without_its_second_patient_is_parked_with_the_place(hospital):
    hospital.receive(adt("A24", c=1, m="10:00"), adt("A17", c=2, v="V1", loc=ABSENT, m="10:10"))

    assert [reason for _, reason in hospital.outcomes()] == ["no_second_pid", "no_second_pid"]
