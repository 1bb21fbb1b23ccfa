"""Writing the directory: what the hospital's own lists say."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from hcrm.core.work import Work
from hcrm.directory.models import Department, Practitioner, Region


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


def load_regions(work: Work, path: Path) -> int:
    """Bring the table of regions to what the file says; how many rows it has."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [
            {"code": row["code"], "name": row["name"], "parent_code": row["parent"] or None, "level": row["level"],
             "valid_from": _day(row["valid_from"]), "valid_to": _day(row["valid_to"])}
            for row in csv.DictReader(file)
        ]  # fmt: skip
    work.execute(sa.delete(Region))
    work.insert(Region, rows)
    return len(rows)


def register_staff(
    work: Work, *, departments: Sequence[DepartmentEntry], practitioners: Sequence[PractitionerEntry]
) -> None:
    """Enter departments and practitioners; those met in messages before become verified entries."""
    now = work.clock.now()
    ids = _put(
        work, Department,
        [{"code": item.code, "name": item.name, "specialty_code": item.specialty_code, "is_verified": True}
         for item in departments],
        {"head_id": None, "created_at": now},
    )  # fmt: skip
    staff = _put(
        work, Practitioner,
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


def _put(
    work: Work,
    model: type[Department] | type[Practitioner],
    rows: Sequence[dict[str, Any]],
    fresh: dict[str, Any],
) -> dict[str, str]:
    """Insert or update by code; the id of each code."""
    standing = sa.select(model.code, model.id).where(model.code.in_([row["code"] for row in rows]))
    known: dict[str, str] = {row.code: row.id for row in work.execute(standing)}
    work.update_rows(model, [{"id": known[row["code"]], **row} for row in rows if row["code"] in known])
    new = [{"id": work.new_id(), **row, **fresh} for row in rows if row["code"] not in known]
    work.insert(model, new)
    return known | {row["code"]: row["id"] for row in new}


def _day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None
