"""Columns a list of patients may show, and the orders it may have. Grades are never among them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from hcrm.archive.models import IdentifierKind, PatientIdentifier
from hcrm.archive.queries import masked_phones
from hcrm.archive.scope import scope_encounters
from hcrm.archive.terms import PAYMENT_TYPES, DeceasedState, EncounterStatus, Sex
from hcrm.archive.visit_models import Encounter
from hcrm.core.clock import age
from hcrm.core.errors import HcrmError
from hcrm.core.work import Work
from hcrm.directory.models import Department, Region
from hcrm.segments.life_cycle import stage_of
from hcrm.segments.models import PatientProfile

_NONE = "—"


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of one page as the reader sees them, for which a column says its words at once."""

    work: Work
    rows: Sequence[PatientProfile]
    today: date

    @property
    def ids(self) -> list[str]:
        """The patients' keys."""
        return [row.id for row in self.rows]


Words = Callable[[Lines], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its heading, and what it says of each line, worked out for all lines at once."""

    code: str
    title: str
    words: Words
    is_number: bool = False


@dataclass(frozen=True, slots=True)
class Sort:
    """One order of a list. Keys stand in the address: no name, no date of birth."""

    title: str
    order: tuple[Any, ...]


P = PatientProfile
SORTS: Mapping[str, Sort] = {
    "seen": Sort("最近就诊在前", (P.seen_on.desc(), P.id.desc())),
    "seen_first": Sort("最久未就诊在前", (P.seen_on, P.id)),
    "created": Sort("新建档在前", (P.created_on.desc(), P.id.desc())),
    "visits": Sort("就诊次数多在前", (P.visits.desc(), P.id.desc())),
}
DEFAULT_SORT = "seen"


def column_of(code: str) -> Column:
    """The column of that code; a word nobody knows is refused."""
    try:
        return COLUMNS[code]
    except KeyError:
        raise HcrmError("segment.column", "没有这样的列", field="columns") from None


def _each(read: Callable[[PatientProfile], str]) -> Words:
    return lambda lines: [read(row) for row in lines.rows]


def _dated(read: Callable[[PatientProfile, date], str]) -> Words:
    return lambda lines: [read(row, lines.today) for row in lines.rows]


def _day(value: date | None, today: date) -> str:
    if value is None:
        return _NONE
    return value.strftime("%m-%d" if value.year == today.year else "%Y-%m-%d")


def _record_numbers(lines: Lines) -> Sequence[str]:
    found: dict[str, str] = {}
    for row in lines.work.execute(
        sa.select(PatientIdentifier.patient_id, PatientIdentifier.value)
        .where(
            PatientIdentifier.patient_id.in_(lines.ids), PatientIdentifier.kind == IdentifierKind.RECORD,
            PatientIdentifier.ended_at.is_(None), PatientIdentifier.retired_at.is_(None),
        )
        .order_by(PatientIdentifier.patient_id, PatientIdentifier.id)
    ):  # fmt: skip
        found.setdefault(row.patient_id, row.value or "")
    return [found.get(key) or _NONE for key in lines.ids]


def _phones(lines: Lines) -> Sequence[str]:
    found = masked_phones(lines.work, lines.ids)
    return [found.get(key, _NONE) for key in lines.ids]


def _regions(lines: Lines) -> Sequence[str]:
    codes = sorted({row.region_code for row in lines.rows} - {""})
    names = {
        row.code: row.name
        for row in lines.work.execute(sa.select(Region.code, Region.name).where(Region.code.in_(codes)))
    }
    return [names.get(row.region_code, row.region_code or _NONE) for row in lines.rows]


def _departments(lines: Lines) -> Sequence[str]:
    """Of the last visit the reader may see."""
    found: dict[str, str] = {}
    statement: Any = (
        sa.select(Encounter.patient_id, Department.name)
        .join(Department, Department.id == Encounter.department_id)
        .where(
            Encounter.patient_id.in_(lines.ids),
            Encounter.merged_into_id.is_(None),
            Encounter.status != EncounterStatus.CANCELLED,
        )
        .order_by(Encounter.patient_id, Encounter.admitted_at.desc())
    )
    for row in lines.work.execute(scope_encounters(statement, lines.work.actor)):
        found.setdefault(row.patient_id, row.name)
    return [found.get(key, _NONE) for key in lines.ids]


def payment_words(code: str) -> str:
    """医疗付费方式 in words; a sender's own code as it is."""
    return PAYMENT_TYPES.get(code, code or _NONE)


_ALL = (
    Column("sex", "性别", _each(lambda row: Sex(row.sex).label)),
    Column("age", "年龄", _dated(lambda row, today: age(row.birth_on, today)), is_number=True),
    Column("record_no", "病案号", _record_numbers),
    Column("phone", "手机", _phones),
    Column("region", "现住址", _regions),
    Column("department", "最近科室", _departments),
    Column("seen", "最近就诊", _dated(lambda row, today: _day(row.last_visit_on, today))),
    Column("discharged", "最近出院", _dated(lambda row, today: _day(row.last_discharged_on, today))),
    Column("visits", "就诊次数", _each(lambda row: str(row.visits)), is_number=True),
    Column("inpatient_visits", "住院次数", _each(lambda row: str(row.inpatient_visits)), is_number=True),
    Column("life_stage", "生命周期", _dated(lambda row, today: stage_of(row.seen_on, today).label)),
    Column(
        "payment",
        "付费方式",
        _each(lambda row: PAYMENT_TYPES.get(row.payment_type, row.payment_type or _NONE)),
    ),
    Column("deceased", "在世情况", _each(lambda row: DeceasedState(row.deceased).label)),
    Column("created", "建档", _dated(lambda row, today: _day(row.created_on, today))),
)
COLUMNS: Mapping[str, Column] = {column.code: column for column in _ALL}
"""Every column, in the order it is offered."""
DEFAULT_COLUMNS = ("sex", "age", "record_no", "department", "seen", "phone")
