"""Writing the directory: what the hospital's own lists say."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from hcrm.core.db import table_of
from hcrm.core.work import Work
from hcrm.directory.entries import change_row
from hcrm.directory.models import Department, DirectoryChange, Practitioner, Region


@dataclass(frozen=True, slots=True)
class DepartmentEntry:
    """A department as a list gives it."""

    code: str
    name: str
    specialty_code: str


@dataclass(frozen=True, slots=True)
class PractitionerEntry:
    """A practitioner as a list gives them."""

    code: str
    name: str
    title: str
    department_code: str
    is_head: bool = False


@dataclass(frozen=True, slots=True)
class StaffEntry:
    """A practitioner as a sender's staff list tells of them; None: it says nothing."""

    code: str
    name: str | None = None
    title: str | None = None
    department_code: str | None = None
    department_name: str | None = None
    is_active: bool | None = None


@dataclass(slots=True)
class LoadReport:
    """What a file did to the directory."""

    new: int = 0
    changed: int = 0
    same: int = 0


def load_regions(work: Work, path: Path) -> int:
    """Bring the table of regions to what the file says, but for what people corrected; how many rows the file has."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [
            {"code": row["code"], "name": row["name"], "parent_code": row["parent"] or None, "level": row["level"],
             "valid_from": _day(row["valid_from"]), "valid_to": _day(row["valid_to"])}
            for row in csv.DictReader(file)
        ]  # fmt: skip
    corrected = set(
        work.scalars(sa.select(DirectoryChange.subject_id).where(DirectoryChange.kind == "region"))
    )
    work.execute(sa.delete(Region).where(Region.code.not_in(sorted(corrected))))
    work.insert(Region, [row for row in rows if row["code"] not in corrected])
    return len(rows)


def register_staff(
    work: Work, *, departments: Sequence[DepartmentEntry], practitioners: Sequence[PractitionerEntry]
) -> LoadReport:
    """Enter departments and practitioners; those met in messages before become verified entries.

    What changed is in the history of each entry, and can be taken back there.
    """
    now = work.clock.now()
    report = LoadReport()
    ids = _put(
        work, Department, report,
        [{"code": item.code, "name": item.name, "specialty_code": item.specialty_code or None, "is_verified": True}
         for item in departments],
        {"head_id": None, "created_at": now},
    )  # fmt: skip
    staff = _put(
        work, Practitioner, report,
        [{"code": item.code, "name": item.name, "title": item.title, "is_verified": True,
          "department_id": ids[item.department_code]} for item in practitioners],
        {"created_at": now},
    )  # fmt: skip
    heads = [
        {"id": ids[item.department_code], "head_id": staff[item.code]}
        for item in practitioners
        if item.is_head
    ]
    work.update_rows(Department, heads)
    return report


def update_staff(work: Work, *, entries: Sequence[StaffEntry], told_at: datetime) -> None:
    """Bring practitioners to what a sender's staff list says; nobody is ever deleted.

    An entry older than what a list has told of that person fills in what is not known, and changes nothing.
    A department nobody knows becomes an unverified entry, as one met in a message about a patient does.
    """
    departments = _departments(work, entries)
    codes = sorted({entry.code for entry in entries})
    standing = {
        row["code"]: dict(row)
        for row in work.execute(
            sa.select(table_of(Practitioner)).where(Practitioner.code.in_(codes)).with_for_update()
        ).mappings()
    }
    known = set(standing)
    for entry in entries:
        told = {
            "name": entry.name, "title": entry.title, "is_active": entry.is_active,
            "department_id": departments.get(entry.department_code or ""),
        }  # fmt: skip
        row = standing.setdefault(
            entry.code,
            {"id": work.new_id(), "code": entry.code, "name": entry.code, "title": None, "department_id": None,
             "is_verified": True, "is_active": True, "told_at": None, "created_at": work.clock.now()},
        )  # fmt: skip
        is_older = row["told_at"] is not None and told_at < row["told_at"]
        row |= {
            name: value
            for name, value in told.items()
            if value is not None and (not is_older or row[name] is None)
        }
        row |= {"is_verified": True, "told_at": max(row["told_at"] or told_at, told_at)}
    work.insert(Practitioner, [row for code, row in standing.items() if code not in known])
    work.update_rows(
        Practitioner,
        [{name: row[name] for name in ("id", *_TOLD)} for code, row in standing.items() if code in known],
    )


_TOLD = ("name", "title", "department_id", "is_verified", "is_active", "told_at")


def _departments(work: Work, entries: Sequence[StaffEntry]) -> dict[str, str]:
    """The id of each department named; unknown ones are entered, to be verified by a person."""
    named = {entry.department_code: entry.department_name for entry in entries if entry.department_code}
    found = work.execute(sa.select(Department.code, Department.id).where(Department.code.in_(sorted(named))))
    known = {row.code: row.id for row in found}
    new = [
        {"id": work.new_id(), "code": code, "name": name or code, "specialty_code": None, "head_id": None,
         "is_verified": False, "created_at": work.clock.now()}
        for code, name in named.items() if code not in known
    ]  # fmt: skip
    work.insert(Department, new)
    return known | {row["code"]: row["id"] for row in new}


def _put(
    work: Work, model: type[Department] | type[Practitioner], report: LoadReport, rows: list[dict[str, Any]],
    fresh: dict[str, Any],
) -> dict[str, str]:  # fmt: skip
    """Insert or bring up to date by code; the id of each code."""
    table = table_of(model)
    standing = {
        row["code"]: dict(row)
        for row in work.execute(
            sa.select(table).where(table.c.code.in_([row["code"] for row in rows]))
        ).mappings()
    }
    changed = [
        row
        for row in rows
        if (old := standing.get(row["code"])) and any(old[name] != row[name] for name in row)
    ]
    work.update_rows(model, [{"id": standing[row["code"]]["id"], **row} for row in changed])
    new = [{"id": work.new_id(), **row, **fresh} for row in rows if row["code"] not in standing]
    work.insert(model, new)
    kind = table.name
    history = [
        change_row(
            work, kind, standing[row["code"]]["id"], "load",
            {name: standing[row["code"]][name] for name in row}, row,
        )
        for row in changed
    ]  # fmt: skip
    history += [change_row(work, kind, row["id"], "create", None, {**_told(row, rows)}) for row in new]
    work.insert(DirectoryChange, history)
    report.new += len(new)
    report.changed += len(changed)
    report.same += len(rows) - len(new) - len(changed)
    return {code: row["id"] for code, row in standing.items()} | {row["code"]: row["id"] for row in new}


def _told(row: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What the file said of a new entry."""
    return {name: row[name] for name in rows[0]}


def _day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None
