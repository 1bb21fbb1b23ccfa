"""What a sender may not do without a person: merge or delete in masses, touch a VIP or a test patient (C23, C24)."""

import pytest
from sqlalchemy.exc import NoResultFound

from hcrm.archive.identity.service import end_number
from hcrm.archive.models import Patient, PatientIdentifier, PatientMark, PatientMerge
from hcrm.archive.test_patients.service import mark_test_patient
from hcrm.core import limits
from hcrm.core.sources import Source, Sources
from hcrm.core.work import open_work
from hcrm.inbox.models import ApplicationState
from hcrm.inbox.monitor import watch_interface
from hcrm.inbox.monitor_models import Incident, IncidentKind
from hcrm.inbox.service import replay_messages
from tests.support.adt import adt
from tests.support.builders import centre_actor
from tests.support.hospital import ACTOR, Hospital
from tests.support.truth_table import evening

__all__ = ["evening"]


@pytest.fixture
def hospital(database, evening):
    source = Source(code="default", title="HIS", merges_per_hour=3, deletions_per_minute=2)
    with Hospital(database, evening, sources=Sources([source])) as hospital:
        yield hospital


def admit(p: int, **fields: str) -> bytes:
    return adt("A01", c=p, p=p, v=f"V{p}", m="10:00", **fields)


def merge(p: int) -> bytes:
    return adt("A40", c=f"m{p}", p=p, mrg=p + 100, m="16:00")


def release(hospital: Hospital, *numbers: int) -> None:
    rows = hospital.messages()
    with open_work(hospital.database, actor=ACTOR, clock=hospital.clock) as work:
        replay_messages(work, seqs=[rows[number - 1].seq for number in numbers], release=True)
    hospital.settle()


def groups(*numbers: int) -> bytes:
    """One A40: of each two numbers the second is merged into the first."""
    first, second, *rest = numbers
    more = [
        part
        for p, mrg in zip(rest[::2], rest[1::2], strict=True)
        for part in (f"PID|2||{p}^^^H1^MR||张^三||19900307|M", f"MRG|{mrg}^^^H1^MR")
    ]
    return adt("A40", c=f"g{len(numbers)}-{first}", p=first, mrg=second, m="16:00", segments=more)


def send_at_once(hospital: Hospital, *messages: bytes) -> None:
    for raw in messages:
        hospital.send(raw)
    hospital.settle()


def reasons(hospital: Hospital) -> list[str | None]:
    return [reason for _, reason in hospital.outcomes()]


def test_more_merges_than_an_hour_may_have_wait_for_a_person(hospital):
    hospital.receive(*(admit(p) for p in (300, 400, 301, 401, 302, 402, 303, 403, 304, 404)))
    hospital.receive(*(merge(p) for p in range(300, 305)))
    assert hospital.count(PatientMerge) == 3
    assert reasons(hospital)[-5:] == [None, None, None, "merge_flood", "merge_flood"]

    hospital.replay()
    assert hospital.count(PatientMerge) == 3
    assert reasons(hospital)[-5:] == [None, None, None, "merge_flood", "merge_flood"]

    release(hospital, 14)
    assert hospital.count(PatientMerge) == 4
    assert hospital.application(14).flags == "released"
    assert hospital.application(15).reason == "merge_flood"

    hospital.clock.move(hours=1, seconds=1)
    hospital.replay()
    assert hospital.count(PatientMerge) == 5


@pytest.mark.parametrize("send", [Hospital.receive, send_at_once],
                         ids=["one by one", "in one batch"])  # fmt: skip
@pytest.mark.parametrize("event", ["A40", "A47"])
def test_numbers_nobody_knows_yet_and_new_numbers_count_like_merges(hospital, event, send):
    send(hospital, *(adt(event, c=p, p=p, mrg=p + 100, m="16:00") for p in range(100, 105)))
    assert reasons(hospital) == [None, None, None, "merge_flood", "merge_flood"]
    with pytest.raises(NoResultFound):
        hospital.patient(203)  # the number was not taken


def test_the_groups_of_one_message_are_counted_and_it_goes_through_as_a_whole_or_not_at_all(hospital):
    hospital.receive(*(admit(p) for p in range(300, 308)))

    hospital.receive(groups(300, 301, 302, 303, 304, 305, 306, 307))
    assert (hospital.count(PatientMerge), reasons(hospital)[-1]) == (0, "merge_flood")

    hospital.receive(groups(300, 301, 302, 303))
    assert hospital.count(PatientMerge) == 2
    assert hospital.application().flags == "merges:2"
    hospital.receive(groups(304, 305, 306, 307))
    assert (hospital.count(PatientMerge), reasons(hospital)[-1]) == (2, "merge_flood")

    release(hospital, 9)
    assert hospital.count(PatientMerge) == 4
    assert set(hospital.application(9).flags.split()) == {"released", "merges:2", "already_merged"}


def test_groups_that_stand_count_though_another_of_their_message_is_parked(hospital):
    hospital.receive(*(admit(p) for p in range(300, 306)))
    hospital.receive(adt("A40", c="first", p=300, mrg=301, m="16:00"))
    hospital.receive(groups(302, 303, 301, 300))  # the second turns the first merge round
    assert (hospital.count(PatientMerge), reasons(hospital)[-1]) == (2, "merge_cycle")

    hospital.receive(
        adt("A40", c="next", p=304, mrg=305, m="16:01"), adt("A40", c="more", p=304, mrg=302, m="16:02")
    )
    assert reasons(hospital)[-2:] == [None, "merge_flood"]


def test_a_merge_whose_event_only_evn_names_counts_too(hospital):
    hospital.receive(*(adt("A40", c=p, p=p, mrg=p + 100, m="16:00", MSH_9="ADT", EVN_1="A40")
                       for p in range(300, 304)))  # fmt: skip
    assert reasons(hospital) == [None, None, None, "merge_flood"]


def test_no_sender_without_a_file_uses_up_the_limit_of_another(hospital):
    hospital.receive(admit(300), admit(400))
    hospital.receive(*(adt("A40", c=f"x{n}", p=7000 + n, mrg=8000 + n, MSH_3="OTHER") for n in range(4)))
    assert reasons(hospital)[-2:] == [None, "merge_flood"]

    hospital.receive(merge(300))
    assert hospital.count(PatientMerge) == 1


def test_who_invents_senders_comes_only_so_far(hospital):
    most = 3 * limits.UNREGISTERED_SENDERS
    send_at_once(
        hospital, *(adt("A40", c=n, p=7000 + n, mrg=8000 + n, MSH_3=f"S{n}") for n in range(most + 2))
    )
    assert reasons(hospital) == [None] * most + ["merge_flood"] * 2


def test_a_registered_source_has_one_limit_whatever_facility_it_writes(database, evening):
    source = Source(code="lis", title="LIS", sender="LIS", merges_per_hour=1)
    with Hospital(database, evening, sources=Sources([source])) as hospital:
        hospital.receive(
            *(adt("A40", c=n, p=300 + n, mrg=400 + n, MSH_3="LIS", MSH_4=f"F{n}") for n in range(2))
        )
        assert reasons(hospital) == [None, "merge_flood"]
        hospital.receive(adt("A40", c="his", p=310, mrg=410))
        assert reasons(hospital)[-1] is None


def test_what_waits_for_a_person_is_an_incident_until_it_is_let_through(hospital):
    hospital.receive(admit(300), admit(400, PV1_16="VIP"), merge(300))
    assert open_incidents(hospital) == [(IncidentKind.GUARDED, "vip_merge")]

    release(hospital, 3)
    assert open_incidents(hospital) == []


def open_incidents(hospital: Hospital) -> list[tuple[IncidentKind, str]]:
    with open_work(hospital.database, actor=ACTOR, clock=hospital.clock) as work:
        watch_interface(work)
    return [(row.kind, row.subject) for row in hospital.all(Incident, Incident.closed_at.is_(None))]


def test_a_merge_of_a_vip_waits_for_a_person(hospital):
    hospital.receive(admit(300), admit(400, PV1_16="VIP"), merge(300))

    assert (hospital.application().state, hospital.application().reason) == (
        ApplicationState.PARKED, "vip_merge")  # fmt: skip
    assert hospital.count(PatientMerge) == 0

    release(hospital, 3)
    assert hospital.patient(400).id == hospital.patient(300).id


def test_a_mark_that_is_taken_away_right_before_a_merge_guards_all_the_same(hospital):
    hospital.receive(admit(300), admit(400, PV1_16="VIP"))
    hospital.receive(adt("A08", c="no-vip", p=400, v="V400", m="15:30", PV1_16="N"))
    assert not hospital.patient(400).is_vip

    hospital.receive(merge(300))

    assert reasons(hospital)[-1] == "vip_merge"
    assert hospital.count(PatientMerge) == 0


def test_who_is_merged_with_a_vip_is_one_until_the_merge_is_undone(hospital):
    hospital.receive(admit(300), admit(400, PV1_16="VIP"), admit(500), merge(300))
    release(hospital, 4)
    assert hospital.patient(300).is_vip

    hospital.receive(adt("A40", c="third", p=500, mrg=300, m="16:10"))
    assert reasons(hospital)[-1] == "vip_merge"

    part = ["PID|2||400^^^H1^MR||张^三||19900307|M"]
    hospital.receive(adt("A37", c="apart", p=300, m="16:20", segments=part))
    assert reasons(hospital)[-1] == "vip_change"
    release(hospital, 6)
    assert (hospital.patient(300).is_vip, hospital.patient(400).is_vip) == (False, True)


def test_who_is_merged_with_a_vip_just_before_in_the_same_batch_is_one(hospital):
    hospital.receive(admit(300), admit(400, PV1_16="VIP"), admit(500), merge(300))
    hospital.send(adt("A40", c="next", p=500, mrg=300, m="16:10"))
    release(hospital, 4)
    assert reasons(hospital)[3:] == [None, "vip_merge"]
    assert hospital.count(PatientMerge) == 1


def test_a_number_that_was_given_to_somebody_else_is_no_vips_any_more(hospital):
    hospital.receive(admit(300), admit(400, PV1_16="VIP"))
    (number,) = hospital.all(PatientIdentifier, PatientIdentifier.value == "400")
    with open_work(hospital.database, actor=ACTOR, clock=hospital.clock) as work:
        end_number(work, patient_id=number.patient_id, identifier_id=number.id, reason="已给他人")
    hospital.receive(merge(300))
    assert reasons(hospital)[-1] is None


def test_a_vip_told_of_in_the_same_batch_is_one(hospital):
    send_at_once(hospital, admit(300), admit(400, PV1_16="VIP"), merge(300))
    assert reasons(hospital) == [None, None, "vip_merge"]


@pytest.mark.parametrize(
    "act",
    [adt("A29", c="act", p=400, m="16:00"), adt("A23", c="act", p=400, v="V400", m="16:00"),
     adt("A45", c="act", p=300, v="V400", mrg="400^^^H1^MR||||V400^^^H1", m="16:00"),
     adt("A45", c="act", p=400, v="V300", mrg="300^^^H1^MR||||V300^^^H1", m="16:00"),
     adt("A44", c="act", p=300, mrg="400^^^H1^MR||A400", m="16:00")],
    ids=["A29", "A23", "A45 from", "A45 to", "A44"],
)  # fmt: skip
def test_what_moves_or_removes_a_vips_data_waits_for_a_person(hospital, act):
    hospital.receive(admit(300), admit(400, PV1_16="VIP", PID_18="A400"))
    before = hospital.snapshot()
    hospital.receive(act)
    assert hospital.outcomes()[-1] == (ApplicationState.PARKED, "vip_change")
    assert hospital.snapshot() == before

    release(hospital, 3)
    assert hospital.outcomes()[-1] == (ApplicationState.APPLIED, None)
    assert hospital.snapshot() != before


def test_a_move_that_waited_for_the_visit_of_a_vip_waits_for_a_person_then(hospital):
    hospital.receive(
        admit(300), adt("A45", c="move", p=300, v="V400", mrg="400^^^H1^MR||||V400^^^H1", m="16:00")
    )
    assert hospital.outcomes()[-1][0] is ApplicationState.HELD

    hospital.receive(admit(400, PV1_16="VIP"))
    assert hospital.outcomes()[1:] == [
        (ApplicationState.PARKED, "vip_change"),
        (ApplicationState.APPLIED, None),
    ]
    assert hospital.visit("V400").patient_id == hospital.patient(400).id


@pytest.mark.parametrize("event", ["A29", "A23"])
def test_a_flood_of_deletions_is_stopped_and_what_was_deleted_can_come_back(hospital, event):
    hospital.receive(*(admit(p) for p in (300, 301, 302, 303)))
    hospital.receive(*(adt(event, c=f"d{p}", p=p, v=f"V{p}", m="16:00") for p in (300, 301, 302, 303)))

    assert [reason for _, reason in hospital.outcomes()][-4:] == [None, None, "delete_flood", "delete_flood"]
    hidden = hospital.count(Patient, Patient.is_nullified)
    assert hidden == (2 if event == "A29" else 0)

    hospital.receive(adt("A01", c="again", p=300, v="V300", m="17:00"))
    assert not hospital.patient(300).is_nullified
    assert hospital.visit("V300").status == "in-progress"


def test_a_flood_of_one_sender_does_not_stop_the_others_of_the_same_batch(hospital):
    hospital.receive(*(admit(p) for p in (300, 400, 301, 401, 302, 402, 303, 403)))
    for p in range(300, 304):
        hospital.send(merge(p))
    hospital.send(adt("A08", c="x", p=500, m="16:30"))
    hospital.settle()

    assert [reason for _, reason in hospital.outcomes()][-5:] == [None, None, None, "merge_flood", None]


# ── test patients ───────────────────────────────────────────────────────────


def mark(hospital: Hospital, number: int, mark: PatientMark) -> None:
    with open_work(hospital.database, actor=centre_actor(), clock=hospital.clock) as work:
        mark_test_patient(work, patient_id=hospital.patient(number).id, mark=mark, reason="核对过")


def is_parked_for_test(hospital: Hospital) -> bool:
    return hospital.outcomes()[-1] == (ApplicationState.PARKED, "test_merge")


@pytest.mark.parametrize("marked", [300, 400], ids=["survivor", "merged"])
def test_a_merge_of_a_patient_with_a_test_patient_waits_for_a_person(hospital, marked):
    hospital.receive(admit(300), admit(400))
    mark(hospital, marked, PatientMark.TEST)
    hospital.settle()
    before = hospital.snapshot()
    hospital.receive(merge(300))

    assert is_parked_for_test(hospital)
    assert hospital.snapshot() == before
    assert open_incidents(hospital) == [(IncidentKind.GUARDED, "test_merge")]

    release(hospital, 3)
    assert hospital.patient(400).id == hospital.patient(300).id
    assert hospital.patient(300).is_test is (marked == 300)


def test_once_the_marks_agree_the_merge_goes_through(hospital):
    hospital.receive(admit(300), admit(400, name="张三测试"), merge(300))
    assert is_parked_for_test(hospital)

    mark(hospital, 400, PatientMark.REAL)
    hospital.replay()
    assert hospital.patient(400).id == hospital.patient(300).id


def test_two_test_patients_are_merged_and_so_are_a_marked_one_and_one_by_rule(hospital):
    hospital.receive(admit(300), admit(400, name="张三测试"))
    mark(hospital, 300, PatientMark.TEST)
    hospital.receive(merge(300))

    assert hospital.patient(400).id == hospital.patient(300).id


def test_a_name_told_in_the_same_batch_makes_a_test_patient(hospital):
    send_at_once(hospital, admit(300), admit(400, name="张三测试"), merge(300))
    assert is_parked_for_test(hospital)


def test_a_survivor_nobody_knows_yet_is_a_patient_unless_the_merge_calls_them_a_test(hospital):
    hospital.receive(admit(400, name="张三测试"), merge(300))
    assert is_parked_for_test(hospital)

    hospital.receive(adt("A40", c="named", p=310, mrg=400, m="16:00", name="张三测试"))
    assert hospital.patient(400).id == hospital.patient(310).id


def test_what_was_released_is_not_asked_about_again_and_undone_each_has_its_own_mark(hospital):
    hospital.receive(admit(300), admit(400, name="张三测试"), merge(300))
    release(hospital, 3)
    hospital.replay()
    assert hospital.outcomes()[-1] == (ApplicationState.APPLIED, None)

    part = ["PID|2||400^^^H1^MR||张三测试||19900307|M"]
    hospital.receive(adt("A37", c="apart", p=300, m="16:20", segments=part))
    assert (hospital.patient(300).is_test, hospital.patient(400).is_test) == (False, True)
