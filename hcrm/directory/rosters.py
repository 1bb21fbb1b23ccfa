"""Who is on duty, who holds which clinic: a week at a time, at a moment, and copying a week to another."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from hcrm.audit.service import record_audit
from hcrm.core import limits
from hcrm.core.clock import local_time
from hcrm.core.errors import HcrmError
from hcrm.core.work import Work
from hcrm.directory.entries import EntryKind, change_row, plain
from hcrm.directory.models import Campus, Department, DirectoryChange, Practitioner
from hcrm.directory.roster_kinds import DUTY, lock_staff
from hcrm.directory.roster_models import DutyShift, ScheduleSlot

WEEK = timedelta(days=7)


def monday_of(day: date) -> date:
    """First day of its week."""
    return day - timedelta(days=day.weekday())


def is_over_midnight(starts: str, ends: str) -> bool:
    """Whether a shift ends the day after it begins; from eight to eight is a whole day."""
    return ends <= starts


# ── a week ──────────────────────────────────────────────────────────────────


def list_duty(work: Work, *, monday: date, department_id: str | None = None) -> Sequence[Any]:
    """Shifts of a week: `DutyShift`, `staff`, `code`, `department`, `campus`; by day and time."""
    return _week(work, DutyShift, monday, department_id, [DutyShift.starts, DutyShift.shift])


def list_schedule(work: Work, *, monday: date, department_id: str | None = None) -> Sequence[Any]:
    """Clinics of a week: `ScheduleSlot`, `staff`, `code`, `department`, `campus`; by day."""
    return _week(work, ScheduleSlot, monday, department_id, [ScheduleSlot.session])


def _week(
    work: Work, model: Any, monday: date, department_id: str | None, order: Sequence[Any]
) -> Sequence[Any]:
    statement = (
        sa.select(
            model, Practitioner.name.label("staff"), Practitioner.code.label("code"),
            Department.name.label("department"), Campus.name.label("campus"),
        )
        .join(Practitioner, Practitioner.id == model.practitioner_id)
        .outerjoin(Department, Department.id == model.department_id)
        .outerjoin(Campus, Campus.id == model.campus_id)
        .where(model.day >= monday, model.day < monday + WEEK)
        .order_by(model.day, *order, Department.name, Practitioner.name, model.id)
        .limit(limits.ROSTER_SHOWN + 1)
    )  # fmt: skip
    if department_id:
        statement = statement.where(model.department_id == department_id)
    return work.execute(statement).all()


def copy_week(work: Work, kind: EntryKind, *, department_id: str, monday: date, to: date) -> int:
    """Copy a department's week to the one of `to`, what stands there already left alone; how many were made.

    A clinic that was stopped is held in the copy; a shift that was cancelled is not copied.
    """
    monday, target = monday_of(monday), monday_of(to)
    if target == monday:
        raise HcrmError("roster.week", "请选择另一周", field="to")
    if not department_id:
        raise HcrmError("roster.department", "请先选择科室", field="department")
    model: Any = kind.model
    is_duty = kind.code == DUTY.code
    keys = (
        ("practitioner_id", "campus_id", "shift") if is_duty else ("practitioner_id", "campus_id", "session")
    )

    def week(first: date) -> Sequence[Any]:
        where = [model.department_id == department_id, model.day >= first, model.day < first + WEEK]
        return work.scalars(sa.select(model).where(*where, *([model.is_active] if is_duty else [])))

    copied = week(monday)
    lock_staff(work, {row.practitioner_id for row in copied})
    standing = {(row.day, *(getattr(row, name) for name in keys)) for row in week(target)}
    rows = []
    for row in copied:
        day = row.day + (target - monday)
        if (day, *(getattr(row, name) for name in keys)) not in standing:
            values = {name: getattr(row, name) for name in kind.fields} | {"day": day}
            if not is_duty:
                values |= {"is_stopped": False, "note": None}
            rows.append({"id": work.new_id(), **values, "created_at": work.clock.now()})
    if not rows:
        raise HcrmError("roster.nothing", "没有可复制的：这一周没有排班，或那一周都已排好", field="to")
    work.insert(model, rows)
    work.insert(
        DirectoryChange,
        [
            change_row(
                work, kind.code, row["id"], "create", None, {name: plain(row[name]) for name in kind.kept}
            )
            for row in rows
        ],
    )
    record_audit(
        work, action="directory.change", subject_type=kind.code, subject_id=department_id,
        detail={"act": "copy", "count": len(rows)},
    )  # fmt: skip
    return len(rows)


# ── now ─────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class OnDuty:
    """Somebody on duty at a moment."""

    practitioner_id: str
    name: str
    phone: str
    shift: str
    until: datetime  # on the hospital's clock
    place: str  # department, or campus of the general duty


def on_duty(work: Work, department_id: str | None, at: datetime) -> list[OnDuty]:
    """Who is on duty for a department at a moment: its own, else its parent department's, else its campus's."""
    if department_id is None:
        return []
    department = work.get(Department, department_id)
    campus_id = department.campus_id
    if campus_id is None and department.parent_id:
        campus_id = work.scalar(sa.select(Department.campus_id).where(Department.id == department.parent_id))
    ways: list[sa.ColumnElement[bool]] = [DutyShift.department_id == department_id]
    if department.parent_id:
        ways.append(DutyShift.department_id == department.parent_id)
    if campus_id:
        ways.append(sa.and_(DutyShift.department_id.is_(None), DutyShift.campus_id == campus_id))
    for way in ways:
        if found := _at(work, way, at):
            return found
    return []


def _at(work: Work, where: sa.ColumnElement[bool], at: datetime) -> list[OnDuty]:
    here = local_time(at)
    today, clock = here.date(), f"{here:%H:%M}"
    rows = work.execute(
        sa.select(
            DutyShift, Practitioner.name, Department.name.label("department"), Campus.name.label("campus")
        )
        .join(Practitioner, Practitioner.id == DutyShift.practitioner_id)
        .outerjoin(Department, Department.id == DutyShift.department_id)
        .outerjoin(Campus, Campus.id == DutyShift.campus_id)
        .where(where, DutyShift.is_active, DutyShift.day.in_([today, today - timedelta(days=1)]))
        .order_by(DutyShift.day.desc(), DutyShift.starts.desc(), Practitioner.name, DutyShift.id)
    )
    found = []
    for row in rows:
        shift: DutyShift = row.DutyShift
        crosses = is_over_midnight(shift.starts, shift.ends)
        if shift.day == today:
            is_on = shift.starts <= clock and (crosses or clock < shift.ends)
        else:
            is_on = crosses and clock < shift.ends
        if is_on:
            ends_on = shift.day + timedelta(days=1) if crosses else shift.day
            hour, minute = map(int, shift.ends.split(":"))
            until = here.replace(
                year=ends_on.year, month=ends_on.month, day=ends_on.day, hour=hour, minute=minute, second=0,
                microsecond=0,
            )  # fmt: skip
            found.append(
                OnDuty(
                    shift.practitioner_id,
                    row.name,
                    shift.phone or "",
                    shift.shift,
                    until,
                    row.department or row.campus,
                )
            )
    return found
