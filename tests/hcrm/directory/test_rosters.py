"""Who is on duty at a moment, and a week copied to another."""

from datetime import date, datetime, timedelta
from threading import Thread
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcrm.core.actor import system_actor
from hcrm.core.cells import CellError, clock_in
from hcrm.core.errors import HcrmError
from hcrm.core.work import Work, open_work
from hcrm.directory.entries import change_entry, create_entry, list_changes, undo_change, values_of
from hcrm.directory.kinds import KINDS
from hcrm.directory.models import Campus, Department, Practitioner
from hcrm.directory.roster_kinds import DUTY, SCHEDULE, DutyInput, ScheduleInput
from hcrm.directory.roster_models import DutyShift, ScheduleSlot, Session
from hcrm.directory.rosters import copy_week, is_over_midnight, list_duty, list_schedule, on_duty
from tests.support.builders import make_department, make_practitioner

MONDAY = date(2026, 11, 23)
HERE = ZoneInfo("Asia/Shanghai")


def at(day: date, clock: str) -> datetime:
    hour, minute = map(int, clock.split(":"))
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=HERE)


def duty(
    work: Work, department, person, *, day=MONDAY, shift="白班", starts="08:00", ends="17:30", **values
) -> str:
    entered = DutyInput.model_validate(
        {"department_id": department and department.id, "day": day, "shift": shift, "starts": starts, "ends": ends,
         "practitioner_id": person.id, "phone": "6120", "is_active": True, **values}
    )  # fmt: skip
    return create_entry(work, DUTY, entered)


def clinic(work: Work, department, person, *, day=MONDAY, session="morning", **values) -> str:
    entered = ScheduleInput.model_validate(
        {"department_id": department.id, "day": day, "session": session, "practitioner_id": person.id,
         "clinic_type": "expert", "capacity": 20, **values}
    )  # fmt: skip
    return create_entry(work, SCHEDULE, entered)


def names(work: Work, department, day: date, clock: str) -> list[str]:
    return [one.name for one in on_duty(work, department.id, at(day, clock))]


def test_a_shift_over_midnight_is_on_duty_on_both_days_and_no_longer(work: Work):
    department = make_department(work)
    by_day, by_night = (
        make_practitioner(work, code="P1", name="白"),
        make_practitioner(work, code="P2", name="夜"),
    )
    duty(work, department, by_day)
    duty(work, department, by_night, shift="夜班", starts="17:30", ends="08:00")

    tuesday = MONDAY + timedelta(days=1)
    found = [
        names(work, department, MONDAY, clock) for clock in ("07:59", "08:00", "17:29", "17:30", "23:59")
    ]
    assert found == [[], ["白"], ["白"], ["夜"], ["夜"]]
    assert [names(work, department, tuesday, clock) for clock in ("00:00", "07:59", "08:00")] == [
        ["夜"],
        ["夜"],
        [],
    ]
    (one,) = on_duty(work, department.id, at(MONDAY, "20:00"))
    assert (one.until, one.phone, one.shift, one.place) == (
        at(tuesday, "08:00"),
        "6120",
        "夜班",
        department.name,
    )


@given(st.times(), st.times(), st.times())
def test_whoever_begins_and_ends_somewhere_covers_exactly_that_time(starts, ends, now):
    """The same as counting minutes from the beginning."""
    begin, end, moment = (one.hour * 60 + one.minute for one in (starts, ends, now))
    length = (end - begin - 1) % 1440 + 1
    words = [f"{one // 60:02d}:{one % 60:02d}" for one in (begin, end, moment)]
    crosses = is_over_midnight(words[0], words[1])
    today = words[0] <= words[2] and (crosses or words[2] < words[1])
    tomorrow = crosses and words[2] < words[1]

    assert today == (0 <= moment - begin < length)
    assert tomorrow == (0 <= moment + 1440 - begin < length)


def test_a_ward_asks_its_department_and_that_the_general_duty_of_its_campus(work: Work):
    campus = Campus(id=work.new_id(), code="E", name="东院", is_active=True, created_at=work.clock.now())
    work.add(campus)
    department, ward = make_department(work), make_department(work, code="W1", name="一病区")
    ward.parent_id, department.campus_id = department.id, campus.id
    work.session.flush()
    chief, doctor = (
        make_practitioner(work, code="P1", name="总"),
        make_practitioner(work, code="P2", name="医"),
    )
    duty(work, None, chief, campus_id=campus.id, starts="08:00", ends="08:00", shift="总值班")

    assert names(work, ward, MONDAY, "09:00") == ["总"]
    key = duty(work, department, doctor)
    assert names(work, ward, MONDAY, "09:00") == ["医"]
    row = work.get(DutyShift, key)
    base = values_of(DUTY, row)
    change_entry(work, DUTY, key, base=base, entered=DutyInput.model_validate({**base, "is_active": False}))
    assert names(work, ward, MONDAY, "09:00") == ["总"]
    undo_change(work, DUTY, key, list_changes(work, DUTY, key)[0].id)
    assert names(work, ward, MONDAY, "09:00") == ["医"]
    assert on_duty(work, None, work.clock.now()) == []


def test_nobody_stands_twice_in_one_shift_and_a_shift_belongs_somewhere(work: Work):
    department, person = make_department(work), make_practitioner(work)
    duty(work, department, person)
    clinic(work, department, person)

    for again, words in (
        (lambda: duty(work, department, person), "已排了此人"),
        (lambda: clinic(work, department, person, clinic_type="general"), "已有出诊"),
        (lambda: duty(work, None, person), "请选择科室"),
    ):
        with pytest.raises(HcrmError, match=words):
            again()


def test_a_week_is_copied_where_nothing_stands_and_a_stopped_clinic_is_held_again(work: Work):
    department, person = make_department(work), make_practitioner(work)
    other = make_practitioner(work, code="P9", name="另")
    next_week = MONDAY + timedelta(days=7)
    duty(work, department, person)
    duty(work, department, other, day=MONDAY + timedelta(days=6), is_active=False)
    clinic(work, department, person, is_stopped=True, note="会议")
    clinic(work, department, other, day=next_week)

    assert (
        copy_week(work, DUTY, department_id=department.id, monday=MONDAY, to=next_week + timedelta(days=3))
        == 1
    )
    assert copy_week(work, SCHEDULE, department_id=department.id, monday=MONDAY, to=next_week) == 1

    (row,) = list_duty(work, monday=next_week, department_id=department.id)
    assert (row.DutyShift.day, row.staff) == (next_week, person.name)
    slots = {row.staff: row.ScheduleSlot for row in list_schedule(work, monday=next_week)}
    assert (slots[person.name].is_stopped, slots[person.name].session) == (False, Session.MORNING)
    assert [one.action for one in list_changes(work, DUTY, row.DutyShift.id)] == ["create"]
    for to, words in ((next_week, "没有可复制的"), (MONDAY + timedelta(days=2), "另一周")):
        with pytest.raises(HcrmError, match=words):
            copy_week(work, DUTY, department_id=department.id, monday=MONDAY, to=to)


def test_an_undone_change_of_a_clinic_gives_its_words_back(work: Work):
    department, person = make_department(work), make_practitioner(work)
    key = clinic(work, department, person)
    base = values_of(SCHEDULE, work.get(ScheduleSlot, key))
    change_entry(
        work, SCHEDULE, key, base=base, entered=ScheduleInput.model_validate({**base, "session": "afternoon"})
    )

    undo_change(work, SCHEDULE, key, list_changes(work, SCHEDULE, key)[0].id)

    work.session.expire_all()
    assert work.get(ScheduleSlot, key).session is Session.MORNING
    assert KINDS["schedule"].words["expert"] == "专家"


@pytest.mark.parametrize(
    ("text", "clock"),
    [("8:00", "08:00"), ("08：30", "08:30"), ("8点30分", "08:30"), ("8时", "08:00"), ("24:00", "00:00"),
     ("17:30:00", "17:30"), ("0.75", "18:00"), ("0", "00:00"), ("25:00", None), ("8", None), ("上午", None)],
)  # fmt: skip
def test_a_time_of_day_is_read_as_people_and_sheets_write_it(text, clock):
    if clock is not None:
        assert clock_in(text) == clock
        return
    with pytest.raises(CellError):
        clock_in(text)


@pytest.mark.parametrize("enter", [duty, clinic])
def test_two_who_enter_the_same_shift_at_once_do_it_once_and_the_second_is_told(database, clock, enter):
    actor = system_actor("test")
    with open_work(database, actor=actor, clock=clock) as work:
        department_id, person_id = make_department(work).id, make_practitioner(work).id
    outcomes = []

    def try_it() -> None:
        try:
            with open_work(database, actor=actor, clock=clock) as work:
                enter(work, work.get(Department, department_id), work.get(Practitioner, person_id))
                outcomes.append("entered")
        except HcrmError as error:
            outcomes.append(error.code)

    second = Thread(target=try_it)
    with open_work(database, actor=actor, clock=clock) as work:
        enter(work, work.get(Department, department_id), work.get(Practitioner, person_id))
        second.start()
        second.join(0.3)  # it waits for us; without a lock it would be through by now
    second.join(30)

    assert outcomes == ["roster.repeated"]
