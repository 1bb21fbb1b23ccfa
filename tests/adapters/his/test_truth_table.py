"""The ADT truth table, row by row, sent through the socket and looked up in the archive.

Here are the rows that need only the events understood so far. Times of a row are distinct where the row does not say
that they are equal. After each test the same bytes are sent again, every stored message is replayed, and all are
resent under new control ids: nothing may change.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial

import pytest
import sqlalchemy as sa

from hcrm.archive.models import (
    ContactPoint,
    DeceasedState,
    IdentifierKind,
    Patient,
    PatientHistory,
    PatientIdentifier,
    PatientMerge,
)
from hcrm.archive.visit_models import Encounter, EncounterStatus, VisitEventKind
from hcrm.centre.models import Instruction, InstructionState
from hcrm.core.clock import FixedClock
from hcrm.core.db import Database
from hcrm.core.paths import config_path
from hcrm.core.sources import Source, load_sources
from hcrm.core.work import open_work
from hcrm.inbox.models import ApplicationState, InboxMessage
from hcrm.inbox.service import park_expired_holds
from tests.support.adt import ABSENT, NULL, adt, moment, stamp
from tests.support.hospital import ACTOR, Hospital

EVENING = datetime(2026, 11, 22, 15, tzinfo=UTC)  # 23:00 in Shanghai: the row's day is over
ISSUED, WITHDRAWN = InstructionState.ISSUED, InstructionState.WITHDRAWN
K = VisitEventKind


@pytest.fixture
def evening() -> FixedClock:
    return FixedClock(EVENING)


@pytest.fixture
def hospital(database: Database, evening: FixedClock) -> Iterator[Hospital]:
    with Hospital(database, evening) as hospital:
        yield hospital
        hospital.assert_repeats_change_nothing()


@pytest.fixture
def hospital_with_ties(database: Database, evening: FixedClock) -> Iterator[Hospital]:
    """For rows whose messages carry the same time: there a resend is, rightly, the later word."""
    with Hospital(database, evening) as hospital:
        yield hospital
        hospital.assert_repeats_change_nothing(resend=False)


def kinds(hospital: Hospital, visit_no: str) -> list[VisitEventKind]:
    return [event.kind for event in hospital.log(visit_no)]


def reversed_kinds(hospital: Hospital, visit_no: str) -> list[VisitEventKind]:
    return [event.kind for event in hospital.log(visit_no) if event.reversed_by_id]


# ── opening, closing and taking back ────────────────────────────────────────


def test_b1_an_admission_opens_patient_and_visit(hospital):
    ack = hospital.receive(adt("A01", c=1, p=100, v="V1", name="张^三", loc="W1^101^1", o="10:00"))

    assert b"\rMSA|CA|1\r" in ack
    patient, visit = hospital.patient(100), hospital.visit("V1")
    assert (patient.name, patient.is_stub, patient.merged_into_id) == ("张三", False, None)
    assert (visit.patient_id, visit.status, visit.location) == (
        patient.id, EncounterStatus.IN_PROGRESS, "W1-101-1")  # fmt: skip
    assert visit.admitted_at == moment("10:00")


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


STAY = (adt("A01", c=1, o="10:00"), adt("A03", c=3, o="12:00"))
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


# ── what an update says, and what it leaves unsaid ──────────────────────────

KNOWN = adt("A01", c=1, phone="13812345678", m="10:00")


def test_b19_an_absent_phone_field_changes_nothing(hospital):
    hospital.receive(KNOWN, adt("A08", c=2, phone=ABSENT, m="10:05"))

    assert hospital.phones(100) == ["+8613812345678"]


def test_b20_a_null_phone_field_clears_what_hl7_had_said_and_keeps_its_history(hospital):
    hospital.receive(KNOWN, adt("A08", c=2, phone=NULL, m="10:05"))

    assert hospital.phones(100) == []
    (ended,) = hospital.all(ContactPoint)
    assert ended.ended_at is not None


def test_b20_a_number_verified_here_stays_and_is_flagged(hospital):
    hospital.receive(KNOWN)
    with open_work(hospital.database, actor=ACTOR, clock=hospital.clock) as work:
        work.execute(sa.update(ContactPoint).values(is_verified=True))

    hospital.receive(adt("A08", c=2, phone=NULL, m="10:05"))

    assert hospital.phones(100) == ["+8613812345678"]
    assert hospital.application(2).flags == "verified_contact_kept"


def test_b21_a_list_of_phones_replaces_the_set(hospital):
    two = "13912345678^PRN^CP~01012345678^WPN^PH"
    hospital.receive(KNOWN, adt("A08", c=2, phone=two, m="10:05"))

    assert hospital.phones(100) == ["+8613912345678", "+861012345678"]
    assert [row.use for row in hospital.standing(ContactPoint, 100)] == ["mobile", "work"]
    (retired,) = hospital.all(ContactPoint, ContactPoint.ended_at.is_not(None))
    assert hospital.database.keys.open_text(retired.value_sealed) == "+8613812345678"


def test_b21_home_and_business_numbers_are_lists_of_their_own(hospital):
    hospital.receive(adt("A01", c=1, phone="13812345678", PID_14="01012345678"))
    hospital.receive(adt("A08", c=2, phone=ABSENT, PID_14="01087654321", m="10:05"))
    hospital.receive(adt("A08", c=3, phone="13912345678", m="10:10"))

    assert hospital.phones(100) == ["+8613912345678", "+861087654321"]


def test_b22_an_empty_first_repeat_keeps_the_place_of_the_second(hospital):
    hospital.receive(KNOWN, adt("A08", c=2, phone="~13912345678", m="10:05"))

    (phone,) = hospital.standing(ContactPoint, 100)
    assert hospital.phones(100) == ["+8613912345678"]
    assert phone.rank == 2


def test_b24_contacts_are_a_snapshot_absent_is_silence_and_null_is_none(hospital):
    two = ("NK1|1|王芳|2||13800000001", "NK1|2|张强|3||13800000002")
    hospital.receive(adt("A01", c=1, segments=two))
    assert hospital.relatives(100) == ["王芳", "张强"]
    hospital.receive(adt("A08", c=2, m="10:05", segments=two[:1]))
    assert hospital.relatives(100) == ["王芳"]
    hospital.receive(adt("A08", c=3, m="10:10"))
    assert hospital.relatives(100) == ["王芳"]
    hospital.receive(adt("A08", c=4, m="10:15", segments=[f"NK1|1|{NULL}"]))
    assert hospital.relatives(100) == []


# ── death ───────────────────────────────────────────────────────────────────

DIED = adt("A08", c=12, m="16:00", PID_30="Y", PID_29="202611220930")


def test_b25_a_death_is_noted_and_stops_what_waits(hospital):
    hospital.receive(*STAY, DIED)

    patient = hospital.patient(100)
    assert (patient.deceased, patient.deceased_at) == (DeceasedState.DECEASED, moment("09:30"))
    assert set(hospital.instructions("V1")) == {WITHDRAWN}


def test_b25_a_time_of_death_alone_is_a_death(hospital):
    hospital.receive(adt("A01", c=1), adt("A08", c=2, m="10:05", PID_29="202611220930"))

    assert hospital.patient(100).deceased is DeceasedState.DECEASED


@pytest.mark.parametrize("alive", [NULL, "N"])
def test_b26_a_death_taken_back_is_disputed(hospital, alive):
    hospital.receive(KNOWN, DIED, adt("A08", c=13, m="17:00", PID_30=alive))

    assert hospital.patient(100).deceased is DeceasedState.DISPUTED


def test_b26_a_death_told_before_but_arriving_after_is_disputed_too(hospital):
    hospital.receive(KNOWN, adt("A08", c=13, m="17:00", PID_30="N"), DIED)

    assert hospital.patient(100).deceased is DeceasedState.DISPUTED


@pytest.fixture
def hospital_with_local_ways(database: Database, evening: FixedClock) -> Iterator[Hospital]:
    """A sender whose discharge way 20 means died."""
    sources = load_sources(config_path("sources"))
    his = Source(code="his", title="HIS", sender="HIS", facility="H1", discharge_ways={"20": "5", "1": "1"})
    sources = type(sources)([*sources.by_code.values(), his])
    with Hospital(database, evening, sources=sources) as hospital:
        yield hospital
        hospital.assert_repeats_change_nothing()


def test_b27_a_way_of_discharge_that_means_died_is_a_death(hospital_with_local_ways):
    hospital = hospital_with_local_ways
    hospital.receive(adt("A01", c=1), adt("A03", c=3, o="12:00", PV1_36="20"))

    patient = hospital.patient(100)
    assert (patient.deceased, patient.deceased_at) == (DeceasedState.DECEASED, moment("12:00"))
    assert set(hospital.application().flags.split()) == {"died:PV1-36", "no_discharge_time"}
    assert hospital.instructions("V1") == []


def test_b27_a_sender_that_always_says_alive_does_not_dispute_the_death_it_tells(hospital_with_local_ways):
    hospital = hospital_with_local_ways
    hospital.receive(adt("A01", c=1, PID_30="N"), adt("A03", c=3, o="12:00", PV1_36="20", PID_30="N"))

    assert hospital.patient(100).deceased is DeceasedState.DECEASED


def test_b27_an_unmapped_way_changes_nothing_and_is_flagged(hospital_with_local_ways):
    hospital = hospital_with_local_ways
    hospital.receive(adt("A03", c=3, o="12:00", PV1_36="77", PV1_45=stamp("12:00")))

    assert hospital.patient(100).deceased is DeceasedState.ALIVE
    assert hospital.application().flags == "unmapped:PV1-36"
    (note,) = {row.note for row in hospital.all(Instruction)}
    assert note == "离院方式未知，先核实"


def test_b27_a_death_whose_discharge_is_cancelled_is_disputed_and_leaves_no_way(hospital_with_local_ways):
    hospital = hospital_with_local_ways
    hospital.receive(
        adt("A01", c=1), adt("A03", c=3, o="12:00", PV1_36="20"), adt("A13", c=4, m="12:30"),
        adt("A03", c=5, o="15:00"),
    )  # fmt: skip

    assert hospital.patient(100).deceased is DeceasedState.DISPUTED
    assert hospital.visit("V1").discharge_way.value == "unknown"
    assert set(hospital.instructions("V1")) == {ISSUED}


# ── merging ─────────────────────────────────────────────────────────────────

WOMAN = {"name": "李^四", "dob": "19550102", "sex": "F"}
MERGE = adt("A40", c=5, p=200, mrg=100, m="16:00", phone=ABSENT, **WOMAN)
BOTH = (*STAY, adt("A01", c=2, p=200, v="V2", phone="13812345678", m="10:30", **WOMAN))
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


def test_a_merge_into_somebody_the_message_does_not_describe_moves_nothing(hospital):
    hospital.receive(*BOTH)
    before = hospital.snapshot()
    hospital.receive(adt("A40", c=5, p=200, mrg=100, m="16:00"))  # 张三, but 200 is 李四

    assert hospital.outcomes()[-1] == (ApplicationState.PARKED, "identity_conflict")
    assert hospital.snapshot() == before


# ── identity ────────────────────────────────────────────────────────────────

NI, OTHER_NI = "110101199003070011", "11010119551201002X"


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


# ── clocks, charsets, escapes, delimiters ───────────────────────────────────


def test_b48_a_time_without_zone_is_the_senders_and_a_birth_date_has_none(hospital):
    at = "202611221000"
    hospital.receive(adt("A01", c=1, m=at))

    (event,) = hospital.log("V1")
    assert (event.happened_at, event.precision) == (datetime(2026, 11, 22, 2, tzinfo=UTC), "minute")
    assert hospital.patient(100).birth_date == date(1990, 3, 7)


def test_b49_a_time_without_zone_takes_the_offset_of_the_message(hospital):
    hospital.receive(adt("A01", c=1, m="20261122103000+0900", o="20261122093000"))

    assert hospital.log("V1")[0].happened_at == datetime(2026, 11, 22, 0, 30, tzinfo=UTC)


def test_b49_an_hour_is_kept_as_an_hour(hospital):
    hospital.receive(adt("A01", c=1, o="2026112209"))

    (event,) = hospital.log("V1")
    assert (event.happened_at, event.precision) == (moment("09:00"), "hour")


def test_b49_an_impossible_time_is_flagged_and_the_next_clock_counts(hospital):
    hospital.receive(adt("A01", c=1, m="10:20", r="10:10", o="20261122250000"))

    assert hospital.log("V1")[0].happened_at == moment("10:10")
    assert hospital.application().flags == "bad_time:EVN-6"


@pytest.mark.parametrize(
    ("place", "fields"),
    [
        ("PV1-44", {"PV1_44": "20261322120000"}),
        ("PV1-45", {"PV1_45": "20260230120000"}),
        ("PID-7", {"dob": "19900231"}),
        ("PID-7", {"dob": "20261123"}),
        ("EVN-6", {"o": "yesterday", "EVN_2": "", "MSH_7": ""}),
        ("MSH-7", {"EVN_2": "20261122250000", "MSH_7": "20261322"}),
    ],
)
def test_b49_an_impossible_date_that_decides_something_parks_the_message_with_its_place(
    hospital, place, fields
):
    hospital.receive(adt("A01", c=1, **fields))

    application = hospital.application()
    assert (application.state, application.reason, application.detail) == (
        ApplicationState.PARKED, "impossible_date", place,
    )  # fmt: skip
    assert hospital.all(Patient) == []


@pytest.mark.parametrize("fields", [{"PID_29": "20261322"}, {"segments": ["PR1|1||37.83^手术||20260230"]}])
def test_b49_elsewhere_it_is_flagged_and_the_rest_is_taken(hospital, fields):
    hospital.receive(adt("A01", c=1, **fields))

    assert hospital.application().state is ApplicationState.APPLIED
    assert hospital.application().flags.startswith("bad_time:")


@pytest.mark.parametrize(
    ("place", "fields"),
    [
        ("PID-7", {"dob": "00000000"}),
        ("PID-29", {"PID_29": "00000000000000"}),
        ("PV1-44", {"PV1_44": "00000000"}),
        ("PV1-45", {"PV1_45": "00000000000000"}),
        ("EVN-6", {"o": "00000000000000"}),
        ("PR1-5", {"segments": ["PR1|1||37.83^手术||00000000"]}),
    ],
)
def test_b49_a_date_of_zeros_says_nothing_and_is_flagged(hospital, place, fields):
    hospital.receive(adt("A01", c=1, m="10:00"), adt("A08", c=2, m="10:05", **fields))

    assert hospital.application(2).state is ApplicationState.APPLIED
    assert hospital.application(2).flags == f"empty_date:{place}"
    assert hospital.patient(100).birth_date == date(1990, 3, 7)
    assert hospital.visit("V1").admitted_at == moment("10:00")


def test_b49_a_child_is_born_on_the_day_of_receipt(hospital):
    hospital.receive(adt("A01", c=1, dob="20261122"))

    assert hospital.patient(100).birth_date == date(2026, 11, 22)


def test_b50_a_visit_does_not_end_in_the_future(hospital):
    hospital.receive(adt("A03", c=1, o="12:00", PV1_44="20271122", PV1_45="21261122120000"))

    visit = hospital.visit("V1")
    assert set(hospital.application().flags.split()) == {"clock_ahead:PV1-44", "clock_ahead:PV1-45"}
    assert (visit.admitted_at, visit.discharged_at) == (EVENING, EVENING)
    rows = hospital.all(Instruction, Instruction.encounter_id == visit.id)
    assert {row.due_on.year for row in rows} == {2026}


def test_b50_a_discharge_a_few_minutes_ahead_is_taken_as_told(hospital):
    hospital.receive(adt("A03", c=1, o="12:00", PV1_45="20261122230959"))

    assert hospital.visit("V1").discharged_at == moment("20261122230959+0800")
    assert hospital.application().flags == ""


def test_b50_a_clock_far_ahead_does_not_freeze_the_record(database, evening):
    with Hospital(database, evening) as hospital:
        hospital.receive(adt("A01", c=1))
        evening.move(microseconds=700_000)
        hospital.receive(adt("A08", c=2, phone="13800000001", m="20270101000000+0800"))
        assert hospital.phones(100) == ["+8613800000001"]
        assert set(hospital.application().flags.split()) == {
            "clock_ahead:MSH-7", "clock_ahead:EVN-2", "clock_ahead:EVN-6"}  # fmt: skip
        hospital.receive(adt("A08", c=3, phone="13800000002", m="20261122230000+0800"))

        assert hospital.phones(100) == ["+8613800000002"]
        hospital.assert_repeats_change_nothing(resend=False)  # by a clamped clock a resend is news


def test_b51_each_message_is_read_in_its_own_charset(hospital):
    name = "张珅"  # the second byte of 珅 is | in GB18030
    hospital.receive(
        adt("A01", c=1, p=100, v="V1", name=name, charset="GB 18030-2000", encoding="gb18030"),
        adt("A01", c=2, p=200, v="V2", name=name),
        adt("A01", c=3, p=300, v="V3", name=name, charset=""),
    )

    assert [hospital.patient(number).name for number in (100, 200, 300)] == [name] * 3


def test_b51_what_no_charset_fits_is_stored_acknowledged_and_parked(hospital):
    ack = hospital.receive(adt("A01", c=1, name="张珅", charset="UNICODE UTF-8", encoding="gb18030"))

    assert b"\rMSA|CA|1\r" in ack
    parked = hospital.application()
    assert (parked.state, parked.reason, parked.detail) == (ApplicationState.PARKED, "charset", "MSH-18")


def test_b51_a_message_in_utf_16_is_refused_and_the_connection_closed(hospital):
    with pytest.raises(EOFError):
        hospital.connect().ask(adt("A01", c=1, encoding="utf-16"))
    hospital.hang_up()

    assert hospital.count(InboxMessage) == 0


def test_b52_escapes_are_read_once_after_splitting(hospital):
    escaped = r"A\T\B \F\ \S\ \R\ \E\ \X0D0A\ x\.br\y \Zq\ \E\F\E\ ".strip()
    hospital.receive(adt("A01", c=1, address=escaped))

    (text,) = hospital.addresses(100)
    assert text == "A&B | ^ ~ \\ \n x\ny \\Zq\\ \\F\\"


def test_b53_delimiters_are_the_headers_own(hospital):
    raw = adt("A01", c=1, name="张^三", doctor="D1^李").decode()
    other = raw.translate(str.maketrans("|^~\\&", "#*!?%")).encode()
    hospital.receive(other)

    assert hospital.patient(100).name == "张三"
    assert hospital.visit("V1").location == "W1-101-1"


def test_b53_sub_components_of_an_identifier_are_read(hospital):
    hospital.receive(adt("A01", c=1, p="100^^^H1&1.2.3&ISO^MR"))

    assert hospital.patient(100, "H1").name == "张三"


def test_b53_the_first_name_of_several_is_the_patients(hospital):
    hospital.receive(adt("A01", c=1, name="张^三~Zhang^San^^^^^A"))

    assert hospital.patient(100).name == "张三"


def test_b54_a_citizen_number_alone_never_merges(hospital):
    hospital.receive(adt("A01", c=1, p=100, ni=NI), adt("A01", c=2, p=200, v="V2", ni=NI, m="10:05"))

    assert hospital.patient(100).id != hospital.patient(200).id
    sealed = hospital.all(PatientIdentifier, PatientIdentifier.kind == IdentifierKind.CITIZEN)
    assert len({row.value_index for row in sealed}) == 1
    assert {row.value for row in sealed} == {None}


def test_b54_a_missing_authority_is_the_senders_and_another_authority_another_patient(hospital):
    hospital.receive(
        adt("A01", c=1, p="100^^^^MR", v="V1"),
        adt("A08", c=2, p="100^^^H1^MR", phone="13800000001", m="10:05"),
        adt("A01", c=3, p="100^^^H2^MR", v="V3", m="10:10"),
    )

    assert hospital.phones(100) == ["+8613800000001"]
    assert hospital.patient(100, "H1").id != hospital.patient(100, "H2").id


def test_b54_an_id_number_sent_as_a_record_number_without_type_does_not_lie_in_clear(hospital):
    hospital.receive(adt("A01", c=1, p=f"100^^^H1^MR~{NI}"))

    assert hospital.count(PatientIdentifier, PatientIdentifier.value == NI) == 0
    assert hospital.count(PatientIdentifier, PatientIdentifier.kind == IdentifierKind.CITIZEN) == 1


def test_b55_a_batch_is_its_messages_and_a_wrong_count_is_flagged(database, evening):
    with Hospital(database, evening) as hospital:
        first, second = adt("A01", c=1), adt("A08", c=2, phone="13812345678", m="10:05")
        frame = b"FHS|^~\\&|HIS|H1\rBHS|^~\\&|HIS|H1\r" + first + second + b"BTS|3\rFTS|1\r"
        acks = [hospital.send(frame), hospital.connect().answer()]
        hospital.settle()

        assert [ack.split(b"\rMSA|")[1][:5] for ack in acks] == [b"CA|1\r", b"CA|2\r"]
        assert hospital.phones(100) == ["+8613812345678"]
        assert [hospital.application(number).flags for number in (1, 2)] == ["batch_count"] * 2


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
