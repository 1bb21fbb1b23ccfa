"""The ADT truth table: two archives linked, parted, and merges undone (see `test_truth_table_visits`)."""

from hcrm.archive.models import PatientIdentifier, PatientLink, PatientMerge
from hcrm.archive.parting.service import undo_merge
from hcrm.archive.terms import LinkKind
from hcrm.centre.models import Instruction
from hcrm.core.clock import local_time
from hcrm.core.work import open_work
from hcrm.inbox.models import ApplicationState
from tests.support.adt import ABSENT, adt
from tests.support.hospital import ACTOR
from tests.support.truth_table import (
    BOTH,
    WOMAN,
    evening,
    hospital,
    hospital_with_ties,
    second,
)

__all__ = ["evening", "hospital", "hospital_with_ties"]


# ── links, and merges undone ────────────────────────────────────────────────

LINK = adt("A24", c=5, p=100, m="16:00", segments=second(200, "", "", **WOMAN))
UNLINK = adt("A37", c=6, p=100, m="17:00", segments=second(200, "", "", **WOMAN))


def live_links(hospital):
    return [row.kind for row in hospital.all(PatientLink, PatientLink.ended_at.is_(None))]


def test_b40_a_link_is_a_row_and_nothing_moves(hospital):
    hospital.receive(*BOTH, LINK)

    assert live_links(hospital) == [LinkKind.SAME_PERSON]
    assert hospital.visit("V1").patient_id == hospital.patient(100).id != hospital.patient(200).id

    hospital.receive(UNLINK)
    assert live_links(hospital) == [LinkKind.APART]
    assert hospital.patient(100).merged_into_id is None


def test_b40_an_unlink_that_overtakes_its_link_stands(hospital):
    hospital.receive(*BOTH, UNLINK, LINK)

    assert live_links(hospital) == [LinkKind.APART]


def test_b40_two_said_apart_again_are_apart_since_then(hospital):
    """A merge that was told between the two words comes too late, whenever it arrives."""
    again = adt("A37", c=7, p=100, m="19:00", segments=second(200, "", "", **WOMAN))
    between = adt("A40", c=8, p=200, mrg=100, m="18:00", phone=ABSENT, **WOMAN)
    hospital.receive(*BOTH, UNLINK, again, between)

    assert hospital.application().flags == "told_apart"
    assert hospital.count(PatientMerge) == 0
    (link,) = hospital.all(PatientLink)
    assert local_time(link.as_of).hour == 19


def test_b40_two_said_apart_again_are_merged_by_a_word_after_both(hospital):
    again = adt("A37", c=7, p=100, m="19:00", segments=second(200, "", "", **WOMAN))
    later = adt("A40", c=8, p=200, mrg=100, m="20:00", phone=ABSENT, **WOMAN)
    hospital.receive(*BOTH, UNLINK, again, later)

    assert hospital.patient(100).id == hospital.patient(200).id


def test_b40_an_older_word_said_again_late_takes_nothing_back(hospital):
    earlier = adt("A37", c=7, p=100, m="15:00", segments=second(200, "", "", **WOMAN))
    between = adt("A40", c=8, p=200, mrg=100, m="16:30", phone=ABSENT, **WOMAN)
    hospital.receive(*BOTH, UNLINK, earlier, between)

    assert hospital.application().flags == "told_apart"


def test_b41_parted_and_said_apart_again_they_are_apart_since_the_later_word(hospital):
    again = adt("A37", c=7, p=100, m="19:00", segments=second(200, "", "", **WOMAN))
    between = adt("A40", c=8, p=200, mrg=100, m="18:00", phone=ABSENT, **WOMAN)
    hospital.receive(*BOTH, MERGE, PART, again, between)

    assert hospital.application().flags == "told_apart"
    assert hospital.patient(100).merged_into_id is None


MERGE = adt("A40", c=5, p=200, mrg=100, m="16:00", phone=ABSENT, **WOMAN)
PART = adt("A37", c=6, p=100, m="17:00", segments=second(200, "", "", **WOMAN))


def test_b41_parted_again_each_has_what_was_its_own(hospital):
    hospital.receive(*BOTH)
    before = {number: hospital.patient(number).id for number in (100, 200)}
    hospital.receive(MERGE, PART)

    assert {number: hospital.patient(number).id for number in (100, 200)} == before
    assert hospital.patient(100).merged_into_id is None
    assert hospital.visit("V1").patient_id == before[100]
    assert {row.patient_id for row in hospital.all(Instruction)} == {before[100]}
    assert hospital.phones(100) == ["+8613912345678"]
    assert hospital.phones(200) == ["+8613812345678"]
    (merge,) = hospital.all(PatientMerge)
    assert (merge.undone_at is not None, merge.left) == (True, None)


def test_b41_what_the_survivor_was_told_since_stays_with_them(hospital):
    told = adt("A31", c=7, p=200, m="16:30", phone="13912345678", **WOMAN)  # the other's number too
    hospital.receive(*BOTH, MERGE, told, PART)

    assert hospital.phones(100) == hospital.phones(200) == ["+8613912345678"]


def test_b41_what_came_meanwhile_stays_and_is_listed_for_a_person(hospital):
    hospital.receive(
        *BOTH,
        MERGE,
        adt("A01", c=7, p=100, v="V7", m="16:30"),
        adt("A01", c=8, p=200, v="V8", m="16:35", **WOMAN),
        adt("A08", c=9, p=100, v="V1", loc="W5^1^1", m="16:40"),
    )
    hospital.receive(PART)

    (merge,) = hospital.all(PatientMerge)
    assert merge.left == {"encounter": [hospital.visit("V8").id]}
    assert hospital.visit("V8").patient_id == hospital.patient(200).id
    # What was his before, and what was told under his own number since, goes back.
    assert {hospital.visit(number).patient_id for number in ("V1", "V7")} == {hospital.patient(100).id}
    assert hospital.visit("V1").location == "W5-1-1"


def test_b41_a_person_parts_them_and_the_merge_told_again_does_not_stand(hospital):
    hospital.receive(*BOTH, MERGE)
    (merge,) = hospital.all(PatientMerge)
    with open_work(hospital.database, actor=ACTOR, clock=hospital.clock) as work:
        assert undo_merge(work, merge_id=merge.id, source="people") is None

    assert hospital.patient(100).id != hospital.patient(200).id
    hospital.replay()
    assert hospital.patient(100).id != hospital.patient(200).id
    assert hospital.application(4).flags == "told_apart"


def test_b41_a_merge_undone_leaves_that_of_the_same_moment_before_it_as_it_was(hospital):
    only_numbers = {"name": ABSENT, "dob": ABSENT, "sex": ABSENT, "phone": ABSENT, "address": ABSENT}
    hospital.receive(
        *BOTH,
        adt("A01", c=30, p=300, v="V3", name="王^五", dob="19700101", m="10:40"),
        adt("A40", c=5, p=200, mrg=100, m="16:00", **only_numbers),
        adt("A40", c=9, p=300, mrg=200, m="16:30", **only_numbers),
        adt("A37", c=10, p=300, m="17:00", segments=["PID|2||200^^^H1^MR"], **only_numbers),
    )

    retired = {row.value: row.retired_at is not None for row in hospital.all(PatientIdentifier)}
    assert (retired["100"], retired["200"], retired["300"]) == (True, False, False)
    assert hospital.patient(100).id == hospital.patient(200).id != hospital.patient(300).id


def test_b41_a_merge_that_went_further_is_not_undone_first(hospital):
    hospital.receive(
        *BOTH,
        adt("A01", c=3, p=300, v="V3", name="王^五", dob="19700101", m="10:40"),
        MERGE,
        adt("A40", c=9, p=300, mrg=200, m="16:30", name="王^五", dob="19700101"),
        PART,
    )

    assert (hospital.application().state, hospital.application().reason) == (
        ApplicationState.PARKED, "merged_further")  # fmt: skip
    assert hospital.patient(100).id == hospital.patient(300).id
