"""SIU through the socket: a mirror of bookings, and what became of them."""

import pytest

from hcrm.archive.clinical.models import Appointment
from hcrm.archive.clinical.terms import AppointmentStatus
from hcrm.archive.models import TimelineEntry
from hcrm.archive.visit_models import Encounter
from hcrm.inbox.models import ApplicationState
from tests.support.adt import adt, stamp
from tests.support.adt import moment as at
from tests.support.clinical import clinical
from tests.support.hospital import Hospital
from tests.support.truth_table import evening, hospital

__all__ = ["evening", "hospital"]

KNOWN = adt("A28", c=1, m="08:00")


def booking(
    event: str = "S12",
    start: str = "16:00",
    *,
    c: int = 50,
    m: str = "11:00",
    number: str = "B1",
    state: str = "",
) -> bytes:
    fields = [
        "SCH",
        number,
        "",
        "",
        "",
        "",
        "",
        "复诊",
        "",
        "20",
        "min",
        f"^^^{stamp(start)}",
        *[""] * 13,
        state,
    ]
    return clinical(
        f"SIU^{event}", "|".join(fields), "RGS|1", f"AIS|1|A|C01^心内科复诊|{stamp(start)}|||20|min",
        "AIL|1|A|门诊^3诊室", "AIP|1|A|D1^李^军", v=None, c=c, m=m,
    )  # fmt: skip


def live(hospital: Hospital) -> list[Appointment]:
    return list(hospital.all(Appointment, Appointment.ended_at.is_(None)))


def told(hospital: Hospital) -> list[str]:
    kinds = ("AppointmentBooked", "AppointmentChanged", "AppointmentCancelled", "AppointmentMissed")
    return [kind for kind in kinds for _ in hospital.events(kind)]


def test_a_booking_is_mirrored_and_told(hospital):
    hospital.receive(KNOWN, booking())

    (row,) = live(hospital)
    assert (row.number, row.status, row.service) == ("B1", AppointmentStatus.BOOKED, "心内科复诊")
    assert (row.starts_at, row.ends_at) == (at("16:00"), at("16:20"))
    assert (row.practitioner, row.practitioner_name, row.location) == ("D1", "李军", "门诊-3诊室")
    assert hospital.events("AppointmentBooked") == [{"appointment_id": row.id}]
    (line,) = hospital.all(TimelineEntry, TimelineEntry.kind == "booking")
    assert (line.title, line.happened_at) == ("心内科复诊 2026-11-22", at("16:00"))
    assert hospital.count(Encounter) == 0


@pytest.mark.parametrize("event", ["S13", "S14"])
def test_a_booking_moves_and_keeps_where_it_was(hospital, event):
    hospital.receive(KNOWN, booking(), booking(event, "17:00", c=51, m="12:00"))

    (row,) = live(hospital)
    assert row.starts_at == at("17:00")
    (old,) = hospital.all(Appointment, Appointment.ended_at.is_not(None))
    assert old.starts_at == at("16:00")
    assert told(hospital) == ["AppointmentBooked", "AppointmentChanged"]


@pytest.mark.parametrize(
    ("event", "status", "fact"),
    [("S15", AppointmentStatus.CANCELLED, "AppointmentCancelled"),
     ("S16", AppointmentStatus.CANCELLED, "AppointmentCancelled"),
     ("S17", AppointmentStatus.ENTERED_IN_ERROR, "AppointmentCancelled"),
     ("S26", AppointmentStatus.NO_SHOW, "AppointmentMissed")],
)  # fmt: skip
def test_a_booking_ends_as_its_event_says(hospital, event, status, fact):
    bare = clinical(f"SIU^{event}", "SCH|B1", v=None, c=51, m="12:00")
    hospital.receive(KNOWN, booking(), bare)

    (row,) = live(hospital)
    assert (row.status, row.service, row.starts_at) == (status, "心内科复诊", at("16:00"))
    assert told(hospital) == ["AppointmentBooked", fact]


def test_a_booking_told_after_its_cancellation_stays_cancelled_and_is_complete(hospital):
    hospital.receive(KNOWN, clinical("SIU^S15", "SCH|B1", v=None, c=51, m="12:00"), booking())

    (row,) = live(hospital)
    assert (row.status, row.service, row.starts_at) == (
        AppointmentStatus.CANCELLED, "心内科复诊", at("16:00"))  # fmt: skip
    assert told(hospital) == ["AppointmentCancelled"]


@pytest.mark.parametrize(
    ("state", "status"),
    [("Noshow", AppointmentStatus.NO_SHOW), ("Complete", AppointmentStatus.FULFILLED),
     ("Booked", AppointmentStatus.BOOKED), ("Cancelled", AppointmentStatus.CANCELLED)],
)  # fmt: skip
def test_a_change_may_carry_the_state_in_sch_25(hospital, state, status):
    hospital.receive(KNOWN, booking(), booking("S14", c=51, m="12:00", state=state))

    assert live(hospital)[0].status is status


def test_the_filler_number_serves_where_the_placer_gives_none(hospital):
    hospital.receive(KNOWN, clinical("SIU^S12", f"SCH||F9|||||复诊||||^^^{stamp('16:00')}", v=None))

    (row,) = live(hospital)
    assert (row.number, row.starts_at) == ("F9", at("16:00"))


def test_a_booking_without_a_number_is_parked(hospital):
    hospital.receive(KNOWN, clinical("SIU^S12", "SCH|", v=None))

    row = hospital.application()
    assert (row.state, row.reason, row.detail) == (ApplicationState.PARKED, "no_appointment_number", "SCH-1")


def test_a_booking_for_someone_unknown_makes_a_provisional_archive(hospital):
    hospital.receive(booking())

    assert hospital.patient(100).is_stub
    hospital.receive(adt("A28", c=2, m="12:00"))
    assert not hospital.patient(100).is_stub
