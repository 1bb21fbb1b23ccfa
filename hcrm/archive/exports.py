"""Patients as a file: what the list of patients shows, and numbers in full for whoever may have them."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Any

import sqlalchemy as sa

from hcrm.archive.models import ContactPoint, IdentifierKind, Patient, PatientIdentifier
from hcrm.archive.scope import scope_patients
from hcrm.archive.search_filters import PatientFilters, patient_conditions
from hcrm.archive.search_lines import PatientLine, patient_lines
from hcrm.core import limits
from hcrm.core.clock import local_date
from hcrm.core.exporting import Asked, Exportable, ExportColumn, ExportLine
from hcrm.core.text import mask_id_number, national_phone
from hcrm.core.work import Work

PATIENT_COLUMNS = (
    ExportColumn("name", "姓名"),
    ExportColumn("record_no", "病案号"),
    ExportColumn("sex", "性别"),
    ExportColumn("birth_date", "出生日期"),
    ExportColumn("phone", "电话", is_masked=True),
    ExportColumn("id_number", "身份证号", is_masked=True),
    ExportColumn("department", "最近就诊科室"),
    ExportColumn("status", "就诊状态"),
    ExportColumn("discharged_on", "出院日期"),
)
_PLAIN: dict[str, Callable[[PatientLine], str]] = {
    "name": lambda line: line.name,
    "record_no": lambda line: line.record_no or "",
    "sex": lambda line: line.sex.label,
    "birth_date": lambda line: _day(line.birth_date),
    "phone": lambda line: line.phone or "",
    "department": lambda line: line.department or "",
    "status": lambda line: line.status.label if line.status else "",
    "discharged_on": lambda line: _day(local_date(line.discharged_at) if line.discharged_at else None),
}


def export_patients(
    work: Work, ids: sa.Select[Any], columns: Sequence[str], is_clear: bool
) -> Iterator[ExportLine]:  # fmt: skip
    """These patients by key, a batch at a time. `ids` selects keys of patients the actor may see."""
    wanted = ids.subquery()
    key = wanted.c[0]
    last = ""
    while True:
        some = work.scalars(sa.select(key).where(key > last).order_by(key).limit(limits.EXPORT_BATCH))
        if not some:
            return
        last = some[-1]
        patients = work.scalars(sa.select(Patient).where(Patient.id.in_(some)).order_by(Patient.id))
        lines = patient_lines(work, patients, {})
        more = _numbers(work, some, columns, is_clear=is_clear)
        for line in lines:
            cells = [more[code].get(line.id, "") if code in more else _PLAIN[code](line) for code in columns]
            yield ExportLine(line.id, cells)
        work.session.expunge_all()


def _numbers(
    work: Work, ids: Sequence[str], columns: Sequence[str], *, is_clear: bool
) -> dict[str, dict[str, str]]:
    """What a list of patients does not show: ID numbers, and phones in full."""
    found: dict[str, dict[str, str]] = {}
    if "id_number" in columns:
        rows = work.execute(
            sa.select(PatientIdentifier.patient_id, PatientIdentifier.value_sealed).where(
                PatientIdentifier.patient_id.in_(ids), PatientIdentifier.kind == IdentifierKind.CITIZEN,
                PatientIdentifier.ended_at.is_(None),
            )
        )  # fmt: skip
        opened = {row.patient_id: work.keys.open_text(row.value_sealed) for row in rows if row.value_sealed}
        found["id_number"] = opened if is_clear else {key: mask_id_number(one) for key, one in opened.items()}
    if "phone" in columns and is_clear:
        rows = work.execute(
            sa.select(ContactPoint.patient_id, ContactPoint.value_sealed)
            .where(
                ContactPoint.patient_id.in_(ids), ContactPoint.system == "phone", ContactPoint.ended_at.is_(None)
            )
            .order_by(ContactPoint.is_verified, ContactPoint.rank.desc(), ContactPoint.id.desc())
        )  # fmt: skip
        found["phone"] = {
            row.patient_id: national_phone(work.keys.open_text(row.value_sealed)) for row in rows
        }
    return found


def _day(day: date | None) -> str:
    return day.isoformat() if day else ""


# ── the list of patients ────────────────────────────────────────────────────


ReadFilters = Callable[[Work, Asked], tuple[PatientFilters, list[str]]]
"""What the filters of the list's address mean, and how they are said: the page knows."""
FixFilters = Callable[[Work, Asked], Asked]
"""The same address with days in the place of what is counted from today."""


def patients_export(read_filters: ReadFilters, fix_filters: FixFilters) -> Exportable:
    """The list of patients with its filters; what was typed as a search is not taken along."""

    def ids(work: Work, asked: Asked) -> sa.Select[Any]:
        filters, _ = read_filters(work, asked)
        statement = sa.select(Patient.id).where(
            Patient.merged_into_id.is_(None), ~Patient.is_nullified, *patient_conditions(work, filters)
        )
        return scope_patients(statement, work.actor)

    return Exportable(
        kind="patients", permission="patient.read", columns=PATIENT_COLUMNS,
        title=lambda work, asked: "、".join(("患者名单", *read_filters(work, asked)[1])),
        count=lambda work, asked: int(
            work.scalar(sa.select(sa.func.count()).select_from(ids(work, asked).subquery()))
        ),
        lines=lambda work, asked, columns, is_clear: export_patients(work, ids(work, asked), columns, is_clear),
        fix=fix_filters, words=lambda work, asked: read_filters(work, asked)[1],
    )  # fmt: skip
