"""Patients as a file: what the list of patients shows, and numbers in full for whoever may have them."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Any

import sqlalchemy as sa

from hcrm.archive.models import IdentifierKind, Patient, PatientIdentifier
from hcrm.archive.reach.exported import reach_of
from hcrm.archive.scope import scope_patients
from hcrm.archive.search.filters import PatientFilters, patient_conditions
from hcrm.archive.search.lines import PatientLine, patient_lines
from hcrm.core import limits
from hcrm.core.clock import local_date
from hcrm.core.exporting import Asked, Exportable, ExportColumn, ExportLine
from hcrm.core.text import mask_id_number, mask_phone, national_phone
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
    ExportColumn("deceased", "在世"),
    ExportColumn("contact_ended", "终止联系"),
    ExportColumn("disclosure", "知情"),
    ExportColumn("not_called", "不能拨打的原因"),
)
_PLAIN: dict[str, Callable[[PatientLine], str]] = {
    "name": lambda line: line.name,
    "record_no": lambda line: line.record_no or "",
    "sex": lambda line: line.sex.label,
    "birth_date": lambda line: _day(line.birth_date),
    "department": lambda line: line.department or "",
    "status": lambda line: line.status.label if line.status else "",
    "deceased": lambda line: line.deceased.label,
    "discharged_on": lambda line: _day(local_date(line.discharged_at) if line.discharged_at else None),
}


def export_patients(
    work: Work, ids: sa.Select[Any], columns: Sequence[str], is_clear: bool
) -> Iterator[ExportLine]:  # fmt: skip
    """These patients by key, a batch at a time. `ids` selects keys of patients the actor may see.

    A number nobody may call is never among them: its cell is empty, the reason stands in a column of its own.
    """
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
        reach = reach_of(work, some)
        more = {
            "phone": {key: _phone(one.phone, is_clear) for key, one in reach.items()},
            "contact_ended": {key: one.ended for key, one in reach.items()},
            "disclosure": {key: one.disclosure for key, one in reach.items()},
            "not_called": {key: one.barrier for key, one in reach.items()},
            "id_number": _id_numbers(work, some, is_clear=is_clear) if "id_number" in columns else {},
        }
        for line in lines:
            cells = [more[code].get(line.id, "") if code in more else _PLAIN[code](line) for code in columns]
            yield ExportLine(line.id, cells, reach[line.id].barrier)
        work.session.expunge_all()


def _phone(number: str, is_clear: bool) -> str:
    if not number:
        return ""
    return national_phone(number) if is_clear else mask_phone(number)


def _id_numbers(work: Work, ids: Sequence[str], *, is_clear: bool) -> dict[str, str]:
    rows = work.execute(
        sa.select(PatientIdentifier.patient_id, PatientIdentifier.value_sealed).where(
            PatientIdentifier.patient_id.in_(ids), PatientIdentifier.kind == IdentifierKind.CITIZEN,
            PatientIdentifier.ended_at.is_(None),
        )
    )  # fmt: skip
    opened = {row.patient_id: work.keys.open_text(row.value_sealed) for row in rows if row.value_sealed}
    return opened if is_clear else {key: mask_id_number(one) for key, one in opened.items()}


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
