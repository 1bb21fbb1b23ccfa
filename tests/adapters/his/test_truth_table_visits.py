"""The ADT truth table, sent through the socket and looked up in the archive: visits opened, closed, taken back.

Here and in the files beside it are the rows that need only the events understood so far.
Times of a row are distinct where the row does not say that they are equal. After each test the same bytes are sent
again, every stored message is replayed, and all are resent under new control ids: nothing may change.
"""

from datetime import timedelta
from functools import partial

from hcrm.archive.models import (
    DeceasedState,
    Patient,
    PatientHistory,
    TimelineEntry,
)
from hcrm.archive.visit_models import Encounter, EncounterClass, EncounterStatus
from hcrm.centre.models import Instruction
from hcrm.core.work import open_work
from hcrm.inbox.models import ApplicationState, InboxMessage
from hcrm.inbox.service import park_expired_holds
from tests.support.adt import ABSENT, adt, moment
from tests.support.hospital import ACTOR, Hospital
from tests.support.truth_table import (
    EVENING,
    ISSUED,
    STAY,
    WITHDRAWN,
    K,
    evening,
    hospital,
    hospital_with_ties,
    kinds,
    reversed_kinds,
)

__all__ = ["evening", "hospital", "hospital_with_ties"]


# ── opening, closing and taking back ────────────────────────────────────────


def test_b1_an_admission_opens_patient_and_visit(hospital):
    ack = hospital.receive(adt("A01", c=1, p=100, v="V1", name="张^三", loc="W1^101^1", o="10:00"))

    assert b"\rMSA|CA|1\r" in ack
    patient, visit = hospital.patient(100), hospital.visit("V1")
    assert (patient.name, patient.is_stub, patient.merged_into_id) == ("张三", False, None)
    assert (visit.patient_id, visit.status, visit.location) == (
        patient.id, EncounterStatus.IN_PROGRESS, "W1-101-1")  # fmt: skip
    assert visit.admitted_at == moment("10:00")


def test_the_patients_timeline_puts_a_discharge_where_pv1_45_says(hospital):
    """Not where the message was made, which may be the day after."""
    told = {"PV1_44": "20261120093000", "PV1_45": "20261121102500"}
    hospital.receive(adt("A03", c=3, o="10:00", m="10:01", **told))

    (line,) = hospital.all(TimelineEntry, TimelineEntry.kind == "visit")
    assert line.happened_at == hospital.visit("V1").discharged_at
    assert hospital.application().flags == ""


def test_a_discharge_days_before_its_admission_is_flagged(hospital):
    """A day told without its hour may seem earlier than the admission of that day."""
    hospital.receive(adt("A03", c=3, v="V1", o="10:00", PV1_44="20261115093000", PV1_45="20261101102500"))
    assert "discharged_before_admitted" in hospital.application().flags.split()

    hospital.receive(adt("A03", c=4, v="V2", p=200, o="10:00", PV1_44="20261115093000", PV1_45="20261115"))
    assert "discharged_before_admitted" not in hospital.application().flags.split()


def test_b2_the_same_admission_twice_is_one_row_with_the_same_ack(hospital):
    first = hospital.receive(adt("A01", c=1))
    second = hospital.receive(adt("A01", c=1))

    assert second == first
    assert hospital.count(InboxMessage) == hospital.count(Patient) == hospital.count(Encounter) == 1


def test_b3_a_reused_control_id_with_other_content_is_a_message_of_its_own(hospital):
    hospital.receive(adt("A01", c=1, p=100, v="V1"), adt("A01", c=1, p=200, v="V2"))

    assert hospital.patient(100).id != hospital.patient(200).id
    assert hospital.application(1).flags == ""
    assert hospital.application(2).flags == "control_id_reused"


def test_b4_a_newer_update_that_came_first_keeps_its_phone(hospital):
    hospital.receive(adt("A08", c=2, phone="13812345678", m="10:05"))
    assert hospital.patient(100).is_stub
    assert hospital.count(Encounter) == 0

    hospital.receive(adt("A01", c=1, phone="13912345678", m="10:00"))

    assert not hospital.patient(100).is_stub
    assert hospital.visit("V1").status is EncounterStatus.IN_PROGRESS
    assert hospital.phones(100) == ["+8613812345678"]


def test_b4_what_an_update_said_of_its_visit_counts_once_the_visit_is_known(hospital):
    listed = ("DG1|1||I10^高血压",)
    hospital.receive(adt("A08", c=2, loc="W2^5^1", m="10:05", segments=listed), adt("A01", c=1, m="10:00"))

    assert hospital.visit("V1").location == "W2-5-1"
    assert hospital.diagnoses("V1") == ["I10 高血压"]
    assert hospital.application(1).became_encounter_id == hospital.visit("V1").id


def test_b5_a_discharge_before_its_admission_is_one_finished_visit_and_one_follow_up(hospital):
    hospital.receive(adt("A03", c=3, o="12:00"))
    issued = hospital.instructions("V1")
    hospital.receive(adt("A01", c=1, o="10:00"))

    visit = hospital.visit("V1")
    assert visit.status is EncounterStatus.FINISHED
    assert (visit.admitted_at, visit.discharged_at) == (moment("10:00"), moment("12:00"))
    assert len(hospital.events("EncounterDischarged")) == 1
    assert issued
    assert hospital.instructions("V1") == issued


CANCELLED_DISCHARGE = (*STAY, adt("A13", c=4, loc="W2^5^1", m="12:30"))


def test_b6_a_cancelled_discharge_reopens_the_visit_and_withdraws_its_follow_up(hospital):
    hospital.receive(*CANCELLED_DISCHARGE)

    visit = hospital.visit("V1")
    assert (visit.status, visit.location) == (EncounterStatus.IN_PROGRESS, "W2-5-1")
    assert (visit.discharged_at, visit.discharge_id) == (None, None)
    assert reversed_kinds(hospital, "V1") == [K.DISCHARGE]
    assert set(hospital.instructions("V1")) == {WITHDRAWN}


def test_b7_a_second_discharge_issues_the_follow_up_anew(hospital):
    hospital.receive(*CANCELLED_DISCHARGE)
    withdrawn = hospital.instructions("V1")
    hospital.receive(adt("A03", c=5, o="15:00"))

    visit = hospital.visit("V1")
    assert (visit.status, visit.discharged_at) == (EncounterStatus.FINISHED, moment("15:00"))
    issued = hospital.all(Instruction, Instruction.state == ISSUED)
    assert {row.trigger_id for row in issued} == {visit.discharge_id}
    assert len(issued) == len(withdrawn)
    assert sorted(hospital.instructions("V1")) == sorted([*withdrawn, *[ISSUED] * len(withdrawn)])


def test_b7_the_second_discharge_counts_though_its_message_says_an_earlier_time(hospital):
    """As the row stands: A03#5 names only `o`, and keeps the base message's MSH-7."""
    hospital.receive(*CANCELLED_DISCHARGE, adt("A03", c=5, m="10:00", o="15:00"))

    assert hospital.visit("V1").discharged_at == moment("15:00")


def test_b8_a_discharge_that_its_cancel_overtook_is_reversed_at_once(hospital):
    hospital.receive(adt("A13", c=4, m="12:30"))
    assert hospital.application().state is ApplicationState.HELD
    hospital.receive(adt("A03", c=3, o="12:00", m="12:01"))
    assert hospital.application(1).state is ApplicationState.APPLIED
    hospital.receive(adt("A01", c=1))

    assert hospital.visit("V1").status is EncounterStatus.IN_PROGRESS
    assert reversed_kinds(hospital, "V1") == [K.DISCHARGE]
    assert hospital.events("EncounterDischarged") == []
    assert hospital.instructions("V1") == []


def test_b9_a_cancel_for_an_unknown_visit_is_held_and_then_parked(database, evening):
    with Hospital(database, evening) as hospital:
        hospital.receive(adt("A13", c=4, v="V9"), adt("A01", c=5, v="V1"))

        held = hospital.application(1)
        assert (held.state, held.reason) == (ApplicationState.HELD, "event_not_known_yet")
        assert hospital.visit("V1").status is EncounterStatus.IN_PROGRESS  # the lane goes on
        hospital.assert_repeats_change_nothing()

        assert expire_holds(hospital) == 0
        evening.move(hours=24, minutes=1)
        assert expire_holds(hospital) == 2  # the row's message and its resend
        parked = hospital.application(1)
        assert (parked.state, parked.reason) == (ApplicationState.PARKED, "event_never_came")
        assert hospital.all(Encounter, Encounter.visit_no == "V9") == []


def expire_holds(hospital: Hospital) -> int:
    with open_work(hospital.database, actor=ACTOR, clock=hospital.clock) as work:
        return park_expired_holds(work)


def test_b10_a_cancelled_admission_leaves_the_patient(hospital):
    hospital.receive(adt("A01", c=1, v="V1"), adt("A11", c=2, v="V1", m="10:10"))

    assert hospital.visit("V1").status is EncounterStatus.CANCELLED
    patient = hospital.patient(100)
    assert (patient.is_nullified, patient.merged_into_id, patient.deceased) == (
        False, None, DeceasedState.ALIVE)  # fmt: skip


def test_b10_a_cancelled_admission_takes_its_follow_up_with_it(hospital):
    hospital.receive(*STAY, adt("A11", c=4, m="12:30"))

    assert hospital.visit("V1").status is EncounterStatus.CANCELLED
    assert set(hospital.instructions("V1")) == {WITHDRAWN}


def test_b10_of_two_messages_with_one_time_the_later_arrival_counts(hospital_with_ties):
    hospital_with_ties.receive(adt("A01", c=1), adt("A11", c=2))

    assert hospital_with_ties.visit("V1").status is EncounterStatus.CANCELLED


def test_b11_an_admission_that_its_cancel_overtook_is_cancelled(hospital):
    hospital.receive(adt("A11", c=2, m="10:10"), adt("A01", c=1, m="10:00"))

    assert hospital.visit("V1").status is EncounterStatus.CANCELLED
    assert reversed_kinds(hospital, "V1") == [K.ADMIT]


def test_b12_an_admission_after_a_cancelled_one_opens_the_visit_again(hospital):
    hospital.receive(adt("A01", c=1), adt("A11", c=2, m="10:10"), adt("A01", c=3, m="11:00"))

    assert hospital.visit("V1").status is EncounterStatus.IN_PROGRESS
    assert kinds(hospital, "V1") == [K.ADMIT, K.CANCEL_ADMIT, K.ADMIT]
    assert hospital.visit("V1").admitted_at == moment("11:00")


# ── moving, planning, changing class, leave ─────────────────────────────────


def test_b13_a_transfer_taken_back_leads_back_to_the_ward_it_names(hospital):
    hospital.receive(
        adt("A01", c=1, loc="W1^101^1", o="10:00"), adt("A02", c=2, loc="W2^201^1", o="11:00"),
        adt("A12", c=3, loc="W1^101^1", m="11:30"),
    )  # fmt: skip

    assert hospital.visit("V1").location == "W1-101-1"
    assert reversed_kinds(hospital, "V1") == [K.TRANSFER]


def test_b13_without_a_ward_it_leads_back_to_the_one_before_that_transfer(hospital):
    hospital.receive(
        adt("A01", c=1, loc="W1^101^1", o="10:00"),
        adt("A08", c=5, loc="W1^101^7", m="10:20"),
        adt("A02", c=2, loc="W2^201^1", o="11:00"),
        adt("A12", c=3, loc=ABSENT, m="11:30"),
    )

    visit = hospital.visit("V1")
    assert visit.location == "W1-101-7"
    assert hospital.department("V1") == "W1"


def test_b13_a_cancel_that_overtakes_its_transfer_reverses_it_on_arrival(hospital):
    hospital.receive(
        adt("A01", c=1, loc="W1^101^1", o="10:00"),
        adt("A12", c=3, loc=ABSENT, m="11:30"),
        adt("A02", c=2, loc="W2^201^1", o="11:00"),
    )

    assert hospital.visit("V1").location == "W1-101-1"


def test_b14_two_transfers_in_the_wrong_order_leave_the_later_ward(hospital):
    hospital.receive(
        adt("A02", c=2, loc="W2^1^1", o="11:00"), adt("A02", c=3, loc="W3^1^1", o="10:30", m="11:40")
    )

    visit = hospital.visit("V1")
    assert (visit.status, visit.location) == (EncounterStatus.IN_PROGRESS, "W2-1-1")
    assert hospital.department("V1") == "W2"
    assert hospital.placements("V1") == [
        ("W3-1-1", moment("10:30"), moment("11:00")), ("W2-1-1", moment("11:00"), None)]  # fmt: skip


def test_b15_a_planned_stay_taken_back_is_cancelled(hospital):
    hospital.receive(adt("A05", c=1, v="V1", m="10:00"))
    assert hospital.visit("V1").status is EncounterStatus.PLANNED

    hospital.receive(adt("A38", c=2, v="V1", m="11:00"))
    assert hospital.visit("V1").status is EncounterStatus.CANCELLED


def test_b15_taken_back_before_it_was_heard_of_it_is_cancelled_too(hospital):
    hospital.receive(adt("A38", c=2, v="V1", m="11:00"))
    assert hospital.application().state is ApplicationState.HELD

    hospital.receive(adt("A05", c=1, v="V1", m="10:00"))
    assert hospital.visit("V1").status is EncounterStatus.CANCELLED
    assert hospital.application(1).state is ApplicationState.APPLIED


def test_b16_the_admission_of_a_planned_stay_opens_no_second_one(hospital):
    hospital.receive(adt("A05", c=1, v="V1", m="09:00"), adt("A01", c=2, v="V1", o="10:00"))

    assert hospital.count(Encounter) == 1
    assert hospital.visit("V1").status is EncounterStatus.IN_PROGRESS


def test_b16_without_a_visit_number_too(hospital):
    hospital.receive(adt("A05", c=1, v=ABSENT, m="09:00"), adt("A01", c=2, v="V1", o="10:00"))
    hospital.receive(adt("A01", c=3, p=200, v=ABSENT, o="10:30"))

    # A number told for the first time names a stay of its own: whether it is the planned one, only a person knows.
    assert hospital.count(Encounter) == 3


def test_b17_a_visit_that_changes_its_class_stays_one_visit(hospital):
    hospital.receive(
        adt("A04", c=1, cls="E", o="09:00"), adt("A06", c=2, cls="I", o="10:00"), adt("A07", c=3, cls="O", o="12:00")
    )  # fmt: skip

    assert hospital.count(Encounter) == 1
    assert hospital.visit("V1").encounter_class is EncounterClass.OUTPATIENT
    assert [place.encounter_class for place in hospital.places("V1")] == [
        "emergency", "inpatient", "outpatient"]  # fmt: skip


def test_b17_a_change_of_class_says_what_it_becomes_even_without_pv1_2(hospital):
    hospital.receive(adt("A04", c=1, cls="E", o="09:00"), adt("A06", c=2, cls=ABSENT, o="10:00"))

    assert hospital.visit("V1").encounter_class is EncounterClass.INPATIENT


def test_b18_a_leave_is_no_discharge(hospital):
    hospital.receive(adt("A01", c=1, o="10:00"), adt("A21", c=2, o="11:00"))
    assert hospital.visit("V1").status is EncounterStatus.ON_LEAVE

    hospital.receive(adt("A22", c=3, o="13:00"))
    assert hospital.visit("V1").status is EncounterStatus.IN_PROGRESS
    assert hospital.instructions("V1") == []


# ── what the rows have in common ────────────────────────────────────────────


def test_late_history_is_written_once(hospital):
    older = partial(adt, "A08", name="张^弎", m="09:00")
    hospital.receive(adt("A01", c=1, m="10:00"), older(c=2), older(c=3))

    assert hospital.count(PatientHistory) == 1


def test_a_cancel_and_its_event_in_one_batch_find_each_other(database, evening):
    with Hospital(database, evening) as hospital:
        for raw in (adt("A13", c=4, m="12:30"), adt("A03", c=3, o="12:00", m="12:01"), adt("A01", c=1)):
            hospital.send(raw)
        hospital.settle()

        assert {state for state, _ in hospital.outcomes()} == {ApplicationState.APPLIED}
        assert hospital.visit("V1").status is EncounterStatus.IN_PROGRESS


def test_a_demographic_word_of_a_held_cancel_counts_once_it_is_let_loose(hospital):
    hospital.receive(adt("A13", c=4, m="12:30", phone="13800000009"), adt("A03", c=3, o="12:00"))

    assert hospital.phones(100) == ["+8613800000009"]


def test_the_clock_of_the_test_is_past_the_day_of_the_table():
    assert moment("10:00") < EVENING - timedelta(hours=1)
