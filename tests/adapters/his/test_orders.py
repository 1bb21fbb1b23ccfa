"""RDE, OMP and RAS through the socket: drug orders, their courses, herbal prescriptions."""

from datetime import date

import pytest

from hcrm.archive.clinical.models import MedicationRequest
from hcrm.archive.clinical.terms import EndBasis, OrderStatus
from hcrm.archive.models import TimelineEntry
from hcrm.core.paths import config_path
from hcrm.core.sources import Source, Sources, load_sources
from hcrm.inbox.models import ApplicationState
from tests.support.adt import adt, moment
from tests.support.clinical import clinical
from tests.support.hospital import Hospital
from tests.support.truth_table import evening, hospital

__all__ = ["evening", "hospital"]

ADMITTED = adt("A01", c=1, m="09:00")
ASPIRIN = (
    "ORC|NW|O1|||||^QD^D14^20261122^^R",
    "RXE||A01^阿司匹林肠溶片|100||mg^毫克||~餐后服用|||28|片",
    "RXR|PO^口服",
)


def live(hospital: Hospital) -> list[MedicationRequest]:
    rows = hospital.all(MedicationRequest, MedicationRequest.ended_at.is_(None))
    return sorted(rows, key=lambda row: (row.number, row.code))


def test_an_order_tells_drug_dose_way_and_the_last_day(hospital):
    hospital.receive(ADMITTED, clinical("RDE^O11", *ASPIRIN))

    (order,) = live(hospital)
    assert (order.number, order.code, order.text) == ("O1", "A01", "阿司匹林肠溶片")
    assert (order.dose, order.dose_unit, order.frequency, order.route) == ("100", "毫克", "QD", "口服")
    assert (order.quantity, order.quantity_unit) == ("28", "片")
    assert (order.starts_on, order.ends_on, order.end_basis) == (
        date(2026, 11, 22), date(2026, 12, 5), EndBasis.DURATION)  # fmt: skip
    assert order.encounter_id == hospital.visit("V1").id
    assert order.status is OrderStatus.ACTIVE
    assert hospital.events("CourseEndNoted") == [{"medication_request_id": order.id}]


@pytest.mark.parametrize(
    ("segments", "ends_on", "basis"),
    [
        (("ORC|NW|O1", "RXE|^^^20261122^20261206|A^甲"), date(2026, 12, 6), EndBasis.TOLD),
        (("ORC|NW|O1", "TQ1|1||QD||||20261122|20261201", "RXE||A^甲"), date(2026, 12, 1), EndBasis.TOLD),
        (("ORC|NW|O1", "TQ1|1||QD|||7^天|20261122", "RXE||A^甲"), date(2026, 11, 28), EndBasis.DURATION),
        (("ORC|NW|O1", "RXE|1^BID^W2^20261122|A^甲"), date(2026, 12, 5), EndBasis.DURATION),
        (("ORC|NW|O1", "TQ1|1||QD|||17^Hr|20261122", "RXE||A^甲"), None, None),
        (("ORC|NW|O1", "TQ1|1||QD|||99999^天|20261122", "RXE||A^甲"), None, None),
        (("ORC|NW|O1", "RXE||A^甲"), None, None),
    ],
)
def test_the_end_of_a_course_is_told_or_follows_from_its_length(hospital, segments, ends_on, basis):
    hospital.receive(ADMITTED, clinical("RDE^O11", *segments))

    (order,) = live(hospital)
    assert (order.ends_on, order.end_basis) == (ends_on, basis)
    assert len(hospital.events("CourseEndNoted")) == (ends_on is not None)


HERBS = (
    "ORC|NW|P1|||||^BID^^20261122",
    "RXE||H1^黄芪|30||g^克|||||7|剂",
    "RXE||H2^当归|10||g^克|||||7|剂",
    "RXE||H3^甘草|6||g^克|||||7|剂",
)


def test_a_herbal_prescription_is_one_order_with_its_herbs_and_doses(hospital):
    hospital.receive(ADMITTED, clinical("RDE^O11", *HERBS))

    (order,) = live(hospital)
    assert (order.text, order.is_herbal, order.doses) == ("中药处方", True, 7)
    assert [(part["text"], part["amount"], part["unit"]) for part in order.components] == [
        ("黄芪", "30", "克"), ("当归", "10", "克"), ("甘草", "6", "克")]  # fmt: skip
    assert (order.ends_on, order.end_basis) == (date(2026, 11, 28), EndBasis.DOSES)
    (line,) = hospital.all(TimelineEntry, TimelineEntry.kind == "order")
    assert line.title == "中药处方 7 剂（用到 2026-11-28）"


def test_a_herbal_prescription_may_list_its_herbs_as_components(hospital):
    segments = (
        "ORC|NW|P1", "RXE|^^^20261122|Y1^补中益气汤||||||||5|付", "RXC|B|H1^黄芪|30|g", "RXC|B|H2^白术|10|g"
    )  # fmt: skip
    hospital.receive(ADMITTED, clinical("RDE^O11", *segments))

    (order,) = live(hospital)
    assert (order.text, order.doses, len(order.components)) == ("补中益气汤", 5, 2)


def test_a_source_says_where_its_doses_stand(database, evening):
    shipped = load_sources(config_path("sources")).by_code.values()
    his = Source(code="his", title="HIS", sender="HIS", herbal_doses_from=("ZRX-3",))
    with Hospital(database, evening, sources=Sources([*shipped, his])) as hospital:
        hospital.receive(
            ADMITTED, clinical("RDE^O11", "ORC|NW|P1", "RXE|^^^20261122|Y1^四君子汤", "ZRX|1|中药|14")
        )

        (order,) = live(hospital)
        assert (order.doses, order.ends_on) == (14, date(2026, 12, 5))


def test_a_later_word_changes_the_order_and_keeps_what_it_said(hospital):
    changed = ("ORC|XO|O1|||||^QD^D28^20261122^^R", "RXE||A01^阿司匹林肠溶片|50||mg^毫克")
    hospital.receive(ADMITTED, clinical("RDE^O11", *ASPIRIN), clinical("RDE^O11", *changed, c=51, m="12:00"))

    (order,) = live(hospital)
    assert (order.dose, order.ends_on, order.route) == (
        "50",
        date(2026, 12, 19),
        "口服",
    )  # RXR was not told again
    (old,) = hospital.all(MedicationRequest, MedicationRequest.ended_at.is_not(None))
    assert (old.dose, old.ends_on) == ("100", date(2026, 12, 5))
    assert len(hospital.events("CourseEndNoted")) == 2


@pytest.mark.parametrize(("act", "status"), [("CA", OrderStatus.CANCELLED), ("DC", OrderStatus.STOPPED)])
def test_a_cancellation_names_the_order_only(hospital, act, status):
    hospital.receive(
        ADMITTED, clinical("RDE^O11", *ASPIRIN), clinical("RDE^O11", f"ORC|{act}|O1", c=51, m="12:00")
    )

    (order,) = live(hospital)
    assert (order.status, order.text) == (status, "阿司匹林肠溶片")
    assert len(hospital.events("CourseEndNoted")) == 2


def test_a_cancellation_of_a_prescription_stops_all_its_drugs(hospital):
    drugs = ("ORC|NW|O1", "RXE|^^^20261122|A^甲", "ORC|NW|O1", "RXE|^^^20261122|B^乙")
    hospital.receive(ADMITTED, clinical("RDE^O11", *drugs), clinical("RDE^O11", "ORC|CA|O1", c=51, m="12:00"))

    assert [(row.code, row.status) for row in live(hospital)] == [
        ("A", OrderStatus.CANCELLED), ("B", OrderStatus.CANCELLED)]  # fmt: skip


def test_an_order_told_after_its_cancellation_stays_cancelled(hospital):
    hospital.receive(ADMITTED, clinical("RDE^O11", "ORC|CA|O1", "RXE||A01^阿司匹林肠溶片", c=51, m="12:00"))
    hospital.receive(clinical("RDE^O11", *ASPIRIN))

    (order,) = live(hospital)
    assert (order.status, order.dose) == (OrderStatus.CANCELLED, "100")


def test_several_drugs_of_one_message_are_one_line(hospital):
    drugs = ("ORC|NW|O1", "RXE|^^^20261122^20261201|A^甲", "ORC|NW|O2", "RXE|^^^20261122|B^乙")
    hospital.receive(ADMITTED, clinical("RDE^O11", *drugs))

    (line,) = hospital.all(TimelineEntry, TimelineEntry.kind == "order")
    assert line.title == "医嘱 · 甲等 2 种（用到 2026-12-01）"
    assert len(live(hospital)) == 2


def test_an_administration_tells_when_a_drug_was_last_given(hospital):
    given = "RXA|0|1|202611221130|202611221131|A01^阿司匹林肠溶片|100|mg"
    hospital.receive(
        ADMITTED,
        clinical("RDE^O11", *ASPIRIN),
        clinical("RAS^O17", "ORC|RE|O1", given, c=51, m="11:40"),
        clinical("RAS^O17", "ORC|RE|O1", given.replace("2211", "2210"), c=52, m="11:45"),
    )

    (order,) = live(hospital)
    assert order.given_at == moment("11:31")
    assert (order.dose, order.ends_on) == ("100", date(2026, 12, 5))


def test_an_administration_of_a_drug_nobody_ordered_is_kept(hospital):
    hospital.receive(ADMITTED, clinical("RAS^O17", "ORC|RE|O9", "RXA|0|1|202611221130||B^吗啡|5|mg"))

    (order,) = live(hospital)
    assert (order.text, order.given_at) == ("吗啡", moment("11:30"))


def test_a_date_nobody_can_read_is_flagged_and_the_order_kept(hospital):
    hospital.receive(ADMITTED, clinical("RDE^O11", "ORC|NW|O1", "RXE|^^^20261340|A^甲"))

    assert hospital.application().flags == "bad_time:RXE-1"
    assert live(hospital)[0].starts_on == date(2026, 11, 22)


def test_a_prescription_without_an_order_segment_is_parked(hospital):
    hospital.receive(clinical("RDE^O11", "RXE||A^甲"))

    row = hospital.application()
    assert (row.state, row.reason, row.detail) == (ApplicationState.PARKED, "no_order", "ORC")
