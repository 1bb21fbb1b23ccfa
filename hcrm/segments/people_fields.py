"""What a segment may ask of what people entered: every field of the definition, the hospital's own too, and tags."""

from collections.abc import Sequence

import sqlalchemy as sa

from hcrm.archive.fields.definition import FieldType, PatientField
from hcrm.archive.fields.models import PatientFieldValue, PatientTag
from hcrm.archive.fields.service import published_fields
from hcrm.core.segment import (
    Asked,
    Condition,
    FieldKind,
    Operator,
    SegmentField,
    Subject,
    by_choice,
    by_text,
)
from hcrm.core.work import Work

V = PatientFieldValue
TAG = Subject("tag", "标签", PatientTag.patient_id, PatientTag.ended_at.is_(None))
_KINDS = {
    FieldType.CHOICE: FieldKind.CHOICE,
    FieldType.MULTI_CHOICE: FieldKind.CHOICE,
    FieldType.TEXT: FieldKind.TEXT,
    FieldType.DATE: FieldKind.DAY,
    FieldType.NUMBER: FieldKind.NUMBER,
    FieldType.YES_NO: FieldKind.YES_NO,
}


def people_fields(work: Work) -> Sequence[SegmentField]:
    """Tags, whether a field is filled, and what it says."""
    fields = published_fields(work).live
    return [
        SegmentField("tag.tag", "标签", TAG, FieldKind.CHOICE, by_choice(PatientTag.tag), _tags),
        *(each for field in fields for each in _questions(field)),
    ]


def _questions(field: PatientField) -> Sequence[SegmentField]:
    title = f"{field.group} · {field.title}"
    subject = Subject(
        f"field_{field.code}",
        "档案字段",
        V.patient_id,
        sa.and_(V.field_code == field.code, V.ended_at.is_(None)),
    )
    options = [(option.code, option.title) for option in field.options]
    value = SegmentField(
        f"field.{field.code}", title, subject, _KINDS[field.type], _condition(field),
        (lambda _work: options) if options else None, unit=field.unit,
    )  # fmt: skip
    filled = SegmentField(f"field.{field.code}.any", f"{title}（已填写）", subject, FieldKind.YES_NO)
    return (value, filled)


def _condition(field: PatientField) -> Condition:
    if field.type is FieldType.DATE:
        return _by_written_day
    if field.type is FieldType.NUMBER:
        return lambda asked: _by_written_number(field.code, asked)
    if field.type is FieldType.YES_NO:
        return lambda asked: V.value == asked.operator.value
    return by_text(V.value) if field.type is FieldType.TEXT else by_choice(V.value)


def _by_written_day(asked: Asked) -> sa.ColumnElement[bool]:
    """Days in ISO form compare as text."""
    if asked.operator in (Operator.KNOWN, Operator.UNKNOWN):
        return sa.true() if asked.operator is Operator.KNOWN else sa.false()
    first, last = asked.days()
    parts = [V.value >= first.isoformat()] if first else []
    return sa.and_(sa.true(), *parts, *([V.value <= last.isoformat()] if last else []))


def _by_written_number(code: str, asked: Asked) -> sa.ColumnElement[bool]:
    """Digits as a number; other fields' values are never read as one."""
    number = sa.case((V.field_code == code, sa.cast(V.value, sa.Numeric)))
    found: sa.ColumnElement[bool] = (
        number >= asked.number if asked.operator is Operator.AT_LEAST else number <= asked.number
    )
    return found


def _tags(work: Work) -> Sequence[tuple[str, str]]:
    found = work.scalars(
        sa.select(PatientTag.tag).where(PatientTag.ended_at.is_(None)).distinct().order_by(PatientTag.tag)
    )
    return [(tag, tag) for tag in found]
