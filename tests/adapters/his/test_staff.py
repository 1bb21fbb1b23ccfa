"""MFN^M02 through the socket: the sender's staff list, into the directory."""

import pytest

from hcrm.directory.models import Department, Practitioner
from hcrm.inbox.models import ApplicationState
from tests.support.adt import adt
from tests.support.clinical import staff
from tests.support.hospital import Hospital
from tests.support.truth_table import evening, hospital

__all__ = ["evening", "hospital"]


def person(
    code: str = "D1",
    name: str = "李^军",
    *,
    act: str = "MAD",
    department: str = "W1^心内科",
    title: str = "主任医师",
    state: str = "A",
) -> tuple[str, str]:
    fields = ["STF", code, "", name, "医师", "M", "", state, department, *[""] * 9, title]
    return f"MFE|{act}|1|20261122|{code}|CE", "|".join(fields)


def found(hospital: Hospital, code: str = "D1") -> Practitioner:
    (row,) = hospital.all(Practitioner, Practitioner.code == code)
    return row


def test_a_new_member_of_staff_is_entered_with_their_department(hospital):
    hospital.receive(staff(*person()))

    row = found(hospital)
    (department,) = hospital.all(Department)
    assert (row.name, row.title, row.is_active, row.is_verified) == ("李军", "主任医师", True, True)
    assert row.department_id == department.id
    assert (department.code, department.name, department.is_verified) == ("W1", "心内科", False)


def test_one_met_in_a_message_before_becomes_verified(hospital):
    hospital.receive(adt("A01", c=1, m="08:00"))
    assert not found(hospital).is_verified

    hospital.receive(staff(*person(name="李^军")))

    row = found(hospital)
    assert (row.name, row.is_verified) == ("李军", True)
    assert len(hospital.all(Department)) == 1


@pytest.mark.parametrize("act", ["MDL", "MDC"])
def test_one_who_left_is_inactive_and_never_deleted(hospital, act):
    hospital.receive(staff(*person()), staff(*person(act=act), c=71, m="10:00"))
    assert not found(hospital).is_active

    hospital.receive(staff(*person(act="MAC"), c=72, m="11:00"))
    assert found(hospital).is_active


def test_an_older_list_fills_in_and_changes_nothing(hospital):
    hospital.receive(
        staff(*person(title=""), m="10:00"),
        staff(*person(name="李^大军", title="副主任医师"), c=71, m="09:00"),
    )

    row = found(hospital)
    assert (row.name, row.title) == ("李军", "副主任医师")


def test_what_a_list_leaves_out_stays(hospital):
    hospital.receive(staff(*person()), staff("MFE|MUP|1||D1|CE", "STF|D1||李^军", c=71, m="10:00"))

    row = found(hospital)
    assert (row.title, row.is_active) == ("主任医师", True)
    assert row.department_id is not None


def test_a_list_of_many_is_one_message(hospital):
    lines = [
        line
        for number in range(300)
        for line in person(f"D{number}", f"医^{number}", department=f"W{number % 9}")
    ]
    hospital.receive(staff(*lines))

    assert hospital.count(Practitioner) == 300
    assert hospital.count(Department) == 9


def test_a_list_and_an_admission_of_one_batch_make_one_entry(hospital):
    hospital.send(adt("A01", c=1, m="08:00"))
    hospital.send(staff(*person()))
    hospital.send(adt("A01", c=2, p=200, v="V2", m="09:10"))
    hospital.settle()

    assert [state for state, _ in hospital.outcomes()] == [ApplicationState.APPLIED] * 3
    assert hospital.visit("V2").attending_id == found(hospital).id


def test_a_list_of_nobody_is_parked(hospital):
    hospital.receive(staff("MFE|MAD|1", "STF|||李^军"))

    row = hospital.application()
    assert (row.state, row.reason) == (ApplicationState.PARKED, "no_staff_number")
