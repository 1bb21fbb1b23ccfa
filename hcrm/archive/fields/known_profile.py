"""What people know of a patient, as pages show it: fields by group, marks on top of the page, the history of a field.

Nothing here asks who may see the patient: the view came through `archive.queries.get_patient`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import sqlalchemy as sa

from hcrm.archive.fields.allergies import NONE_KNOWN, STATE_FIELD
from hcrm.archive.fields.definition import Fields, PatientField
from hcrm.archive.fields.models import PatientFieldValue
from hcrm.archive.fields.service import Standing, published_fields, stale_since, standing_values
from hcrm.archive.models import Allergy, Patient
from hcrm.core.clock import local_date
from hcrm.core.work import Work

_MONTH = 30  # days, for words like 3 个月前
FIELD_HISTORY = 100
"""Values of one field its page shows, the newest first."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A word on top of the page."""

    text: str
    tone: str  # late, near, info
    title: str = ""


@dataclass(frozen=True, slots=True)
class KnownValue:
    """One value in words."""

    row: PatientFieldValue
    words: str


@dataclass(frozen=True, slots=True)
class FieldLine:
    """A field with what stands."""

    field: PatientField
    values: Sequence[KnownValue]
    stale: str  # 3 个月前询问，请重新询问
    may_edit: bool
    instead: str = ""  # what is known of it elsewhere, where nobody filled it in

    @property
    def is_contradictory(self) -> bool:
        """Whether more stands than may: two archives that said different things became one."""
        return len(self.values) > 1 and not self.field.has_several


@dataclass(frozen=True, slots=True)
class Profile:
    """The fields of a patient by group, and what of them stands on top of the page."""

    groups: Sequence[tuple[str, Sequence[FieldLine]]]
    marks: Sequence[Mark]


def load_profile(work: Work, patient: Patient, allergies: Sequence[Allergy]) -> Profile:
    """Two queries: the definitions in force, the values that stand. What is not asked of such a patient is left out."""
    fields = published_fields(work)
    standing = standing_values(work, patient.id)
    today = local_date(work.clock.now())
    lines = [
        replace(line, instead=_known_allergies(allergies)) if line.field.code == STATE_FIELD else line
        for line in (_line(work, field, standing, today) for field in fields.by_code.values())
    ]
    shown = [
        line
        for line in lines
        if line.values
        or (not line.field.is_retired and line.field.is_asked_of(patient.sex, patient.birth_date, today))
    ]
    groups = [(name, [line for line in shown if line.field.group == name]) for name in fields.groups]
    marks = [*_allergy_marks(fields, standing, allergies), *(mark for line in lines for mark in _marks(line))]
    return Profile([(name, those) for name, those in groups if those], marks)


def load_line(work: Work, patient_id: str, field: PatientField) -> FieldLine:
    """One field with what stands of it."""
    standing = standing_values(work, patient_id, codes=[field.code])
    return _line(work, field, standing, local_date(work.clock.now()))


def field_history(work: Work, patient_id: str, field: PatientField) -> list[KnownValue]:
    """Every value the field had, the newest first."""
    rows = work.scalars(
        sa.select(PatientFieldValue)
        .where(PatientFieldValue.patient_id == patient_id, PatientFieldValue.field_code == field.code)
        .order_by(PatientFieldValue.created_at.desc(), PatientFieldValue.id.desc())
        .limit(FIELD_HISTORY)
    )
    return [KnownValue(row, field.words(row.value)) for row in rows]


def ago(days: int) -> str:
    """3 个月前, 75 天前: in months from two on."""
    return f"{days // _MONTH} 个月前" if days >= 2 * _MONTH else f"{days} 天前"


def _line(work: Work, field: PatientField, standing: Standing, today: date) -> FieldLine:
    rows = standing.get(field.code, ())
    days = [since for row in rows if (since := stale_since(field, row, today)) is not None]
    return FieldLine(
        field,
        [KnownValue(row, field.words(row.value)) for row in rows],
        f"{ago(max(days))}询问，请重新询问" if days else "",
        work.actor.may(field.needs) and not field.is_retired,
    )


def _marks(line: FieldLine) -> list[Mark]:
    field = line.field
    marks = [
        Mark(
            value.words if field.options else f"{field.title}：{value.words}",
            field.header.tone,
            f"{field.title}{'：' + value.row.note if value.row.note else ''}",
        )
        for value in line.values
        if field.header and field.stands_in_header(value.row.value)
    ]
    if line.stale and field.header:
        marks.append(Mark(f"{field.title} {line.stale}", "near"))
    return marks


def _names(allergies: Sequence[Allergy]) -> list[str]:
    return list(dict.fromkeys(one.text or one.code or "" for one in allergies))


def _known_allergies(allergies: Sequence[Allergy]) -> str:
    return f"有：{'、'.join(_names(allergies))}，见“过敏”" if allergies else ""


def _allergy_marks(fields: Fields, standing: Standing, allergies: Sequence[Allergy]) -> list[Mark]:
    """The list where there is one; else what was answered, or that nobody asked."""
    if allergies:
        return [Mark(f"{name}过敏", "late") for name in _names(allergies)]
    field = fields.by_code.get(STATE_FIELD)
    if field is None:
        return []
    rows = standing.get(STATE_FIELD, ())
    if not rows:
        return [Mark("过敏未询问", "info", "没有收到过敏信息，也没有登记；这不表示没有过敏")]
    return [
        Mark(
            field.words(row.value) if row.value == NONE_KNOWN else f"过敏{field.words(row.value)}",
            "info" if row.value == NONE_KNOWN else "near",
            f"{row.asked_on or ''} 询问",
        )
        for row in rows
    ]
