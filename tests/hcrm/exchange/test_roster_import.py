"""Duty rosters and doctors' schedules from a file."""

from datetime import date, time

import pytest

from hcrm.core.work import Work
from hcrm.directory.models import Campus, DirectoryChange
from hcrm.directory.roster_models import ClinicType, DutyShift, ScheduleSlot, Session
from tests.support.builders import make_department, make_practitioner
from tests.support.importing import Intake, csv_file, sheet_file

DUTY = ("日期", "科室", "院区", "班次", "开始", "结束", "工号", "姓名", "电话")
CLINIC = ("日期", "科室", "时段", "工号", "姓名", "号别", "限号", "停诊")


@pytest.fixture(autouse=True)
def hospital(intake: Intake) -> None:
    def build(work: Work) -> None:
        east = Campus(id=work.new_id(), code="E", name="东院", is_active=True, created_at=work.clock.now())
        west = Campus(id=work.new_id(), code="W", name="西院", is_active=True, created_at=work.clock.now())
        work.add(east)
        work.add(west)
        home = make_department(work, code="CARD", name="心内科")
        home.campus_id = east.id
        for code, name in (("P1", "李强"), ("P2", "王芳"), ("P3", "王芳")):
            make_practitioner(work, code=code, name=name)

    intake.work(build)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030"])
def test_a_roster_is_taken_in_changed_and_taken_back(intake: Intake, encoding: str) -> None:
    before = intake.dump()
    first = intake.take_in(
        "duty_roster",
        csv_file(
            DUTY, ("46349", "心内科", "", "夜班", "", "", "P1", "李强", "6120"),
            ("2026/11/24", "CARD", "东院", "全天", "8:00", "08：00", "", "李 强", ""),
            ("2026-11-24", "", "东院", "总值班", "8:00", "8:00", "P2", "", "13800138000"), encoding=encoding,
        ),
    )  # fmt: skip

    assert first.counts["written"] == 3
    rows = {(row.day, row.shift): row for row in intake.work(lambda work: work.all(DutyShift))}
    night = rows[date(2026, 11, 23), "夜班"]
    assert (night.starts, night.ends, night.phone, night.is_active) == ("17:30", "08:00", "6120", True)
    assert rows[date(2026, 11, 24), "总值班"].department_id is None
    standing = intake.dump()
    second = intake.take_in(
        "duty_roster",
        csv_file(DUTY, ("2026-11-23", "心内科", "", "夜班", "18:00", "07:30", "P1", "", "6121")),
    )
    assert (second.counts["changed"], second.counts["written"]) == (1, 1)
    changes = intake.work(lambda work: work.all(DirectoryChange, DirectoryChange.subject_id == night.id))
    assert [one.action for one in changes] == ["load", "load"]
    again = intake.check(
        "duty_roster",
        csv_file(DUTY, ("2026-11-23", "心内科", "", "夜班", "18:00", "07:30", "P1", "", "6121")),
    )
    assert again.counts == {"same": 1}
    intake.revert(second.id)
    assert intake.dump() == standing
    intake.revert(first.id)
    assert intake.dump() == before


def test_what_is_wrong_with_a_row_is_said_at_its_column(intake: Intake) -> None:
    rows = {
        2: (("46349", "骨科", "", "白班", "", "", "P1", "", ""), ["department"]),
        3: (("46349", "心内科", "西院", "白班", "", "", "P1", "", ""), ["campus"]),
        4: (("46349", "心内科", "", "白班", "", "", "P9", "", ""), ["code"]),
        5: (("46349", "心内科", "", "白班", "", "", "P1", "王芳", ""), ["name"]),
        6: (("46349", "心内科", "", "白班", "", "", "", "王芳", ""), ["name"]),
        7: (("46349", "心内科", "", "白班", "", "", "", "", ""), ["code"]),
        8: (("46349", "心内科", "", "小夜", "", "22:00", "P1", "", ""), ["starts"]),
        9: (("46349", "心内科", "", "小夜", "25:00", "22:00", "P1", "", ""), ["starts"]),
        10: (("99", "心内科", "", "白班", "", "", "P1", "", ""), ["day"]),
        11: (("46349", "", "", "白班", "", "", "P1", "", ""), ["department"]),
        12: (("46349", "心内科", "", "白班", "", "", "P3", "", "打给小王"), ["phone"]),
        13: (("46349", "心内科", "", "白班", "", "", "P2", "", ""), None),
        14: (("46349", "心内科", "", "白班", "", "", "P2", "", ""), [""]),
        15: (("46349", "心内科", "", "白班", "9:00", "", "P2", "", ""), [""]),
    }

    run = intake.check("duty_roster", csv_file(DUTY, *(cells for cells, _ in rows.values())))

    reasons = {
        number: [column for column, _ in problems] for number, problems in intake.reasons(run.id).items()
    }
    assert reasons == {number: columns for number, (_, columns) in rows.items() if columns is not None}
    assert run.counts == {"wrong": 12, "new": 1, "repeated": 1}


def test_one_person_by_number_in_one_row_and_by_name_in_another_stands_once(intake: Intake) -> None:
    rows = (
        ("46349", "心内科", "", "白班", "", "", "P1", "", ""),
        ("46349", "CARD", "", "白班", "", "", "", "李强", ""),
    )

    run = intake.check("duty_roster", csv_file(DUTY, *rows))

    assert run.counts == {"new": 1, "repeated": 1}


def test_a_schedule_with_stopped_clinics_is_taken_in_from_a_sheet(intake: Intake) -> None:
    run = intake.take_in(
        "doctor_schedule",
        sheet_file(
            CLINIC, (date(2026, 11, 23), "心内科", "上午", "P1", "李强", "专家", 20, "停诊"),
            ("2026-11-23", "心内科", "下午", "P1", "李强", None, "15", None),
            (46349, "心内科", "半夜", "P1", "李强", "普通", 15, None),
            (46349, "心内科", "晚上", "P1", "李强", "普通", "很多", None),
            ("=TODAY()", "心内科", "晚上", "P1", "李强", "普通", 1, None),
        ),
        "list.xlsx",
    )  # fmt: skip

    assert {word: run.counts[word] for word in ("new", "wrong", "written")} == {
        "new": 2,
        "wrong": 3,
        "written": 2,
    }
    slots = {one.session: one for one in intake.work(lambda work: work.all(ScheduleSlot))}
    assert (slots[Session.MORNING].is_stopped, slots[Session.MORNING].clinic_type) == (
        True,
        ClinicType.EXPERT,
    )
    assert (slots[Session.AFTERNOON].capacity, slots[Session.AFTERNOON].clinic_type) == (
        15,
        ClinicType.GENERAL,
    )
    assert {number: problems[0][0] for number, problems in intake.reasons(run.id).items()} == {
        4: "session", 5: "capacity", 6: "day",
    }  # fmt: skip


def test_times_of_a_sheet_are_times_and_one_changed_by_hand_since_is_kept_by_a_revert(intake: Intake) -> None:
    run = intake.take_in(
        "duty_roster",
        sheet_file(DUTY, (46349, "心内科", None, "晚班", time(18), 0.5, "P1", None, None)),
        "list.xlsx",
    )
    row = intake.work(lambda work: work.one(DutyShift))
    assert (row.starts, row.ends) == ("18:00", "12:00")

    def change(work: Work) -> None:
        work.get(DutyShift, row.id).phone = "6199"

    intake.work(change)

    assert intake.revert(run.id).counts["kept"] == 1
    assert intake.work(lambda work: work.one(DutyShift)).phone == "6199"
