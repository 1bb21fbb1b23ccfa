"""The filter of a segment as data, and as one condition on the patient's flat row."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.sql.visitors import replacement_traverse

from hcrm.archive.codes import normal_codes
from hcrm.archive.scope import as_value, scope_by_stay, stay_condition
from hcrm.core import limits
from hcrm.core.actor import Actor
from hcrm.core.errors import HcrmError
from hcrm.core.segment import Asked, FieldKind, Operator, SegmentField, Subject, values_wanted
from hcrm.core.work import Work
from hcrm.segments.models import PatientProfile, StayProfile
from hcrm.segments.visits_in_scope import in_scope

Fields = Mapping[str, SegmentField]
FieldMaker = Callable[[Work], Sequence[SegmentField]]
_PATIENT = "patient"
_LONGEST_RANGE = 100


class Match(StrEnum):
    """How the lines of a group, and the groups of a filter, hang together."""

    ALL = "all"
    ANY = "any"
    NONE = "none"  # of a group only


MATCH_WORDS = {Match.ALL: "同时满足", Match.ANY: "满足任一", Match.NONE: "都不满足"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Line(_Part):
    """One question: field, operator, values as they were typed."""

    field: Annotated[str, Field(max_length=80)]
    operator: Operator
    values: tuple[Annotated[str, Field(max_length=limits.SEGMENT_VALUE)], ...] = ()


class Group(_Part):
    """Lines that hang together; those of one subject speak of the same row."""

    match: Match = Match.ALL
    lines: Annotated[tuple[Line, ...], Field(max_length=limits.SEGMENT_LINES)] = ()


class SegmentFilter(_Part):
    """Groups, joined by 并且 or 或者. No group, or one without lines, narrows nothing."""

    match: Match = Match.ALL
    groups: Annotated[tuple[Group, ...], Field(max_length=limits.SEGMENT_GROUPS)] = ()

    @property
    def fields(self) -> frozenset[str]:
        """Every field it names."""
        return frozenset(line.field for group in self.groups for line in group.lines)


# ── reading a line ──────────────────────────────────────────────────────────


def read_line(line: Line, fields: Fields, today: date) -> tuple[SegmentField, Asked]:
    """The field and the question; a sentence in Chinese where it cannot be asked."""
    field = fields.get(line.field)
    if field is None:
        raise HcrmError("segment.field", f"没有“{line.field}”这个条件，或您无权使用")
    if line.operator not in field.operators:
        raise HcrmError("segment.operator", f"“{field.title}”不能用“{line.operator.label}”比较")
    values = tuple(value.strip() for value in line.values if value.strip())
    return field, Asked(line.operator, _READ[values_wanted(line.operator)](field, values), today)


def _numbers(field: SegmentField, values: tuple[str, ...], count: int) -> tuple[str, ...]:
    if len(values) != count or not all(
        value.isascii() and value.isdigit() and len(value) <= 9 for value in values
    ):
        raise HcrmError("segment.value", f"“{field.title}”请填{'一个' if count == 1 else '两个'}整数")
    return values


def _day(field: SegmentField, values: tuple[str, ...]) -> tuple[str, ...]:
    try:
        date.fromisoformat(values[0])
    except (ValueError, IndexError):
        raise HcrmError("segment.value", f"“{field.title}”请填日期，例如 2026-11-22") from None
    return values[:1]


def _choices(field: SegmentField, values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise HcrmError("segment.value", f"“{field.title}”请至少选一项")
    return values


def _words(field: SegmentField, values: tuple[str, ...]) -> tuple[str, ...]:
    words = tuple(
        word
        for value in values
        for word in value.replace("，", ",").replace("、", ",").split(",")
        if word.strip()
    )
    if field.kind is FieldKind.CODE:
        words = tuple(prefix for word in words for prefix in _prefixes(field, word))
    if not words:
        raise HcrmError("segment.value", f"“{field.title}”请填写内容")
    return tuple(word.strip() for word in words)


def _prefixes(field: SegmentField, word: str) -> Iterable[str]:
    """`I60-I64` becomes its five prefixes."""
    first, dash, last = word.partition("-")
    low, high = "".join(normal_codes(first)), "".join(normal_codes(last))
    if not dash:
        return [low] if low else []
    head, start, end = low[:1], low[1:], high[1:]
    if (
        head != high[:1]
        or len(start) != len(end)
        or not (start + end).isdigit()
        or not 0 <= int(end) - int(start) < _LONGEST_RANGE
    ):
        raise HcrmError("segment.value", f"“{field.title}”的起止须一样长并从小到大，例如 I60-I64")
    return [f"{head}{number:0{len(start)}d}" for number in range(int(start), int(end) + 1)]


_READ: Mapping[str, Callable[[SegmentField, tuple[str, ...]], tuple[str, ...]]] = {
    "none": lambda _field, _values: (),
    "number": lambda field, values: _numbers(field, values, 1),
    "two_numbers": lambda field, values: _numbers(field, values, 2),
    "day": _day,
    "choices": _choices,
    "text": _words,
}


@dataclass(frozen=True, slots=True)
class Reader:
    """Who asks, when, and of which database.

    With `walks` a question about other rows is put for the one patient at hand, instead of as a set of keys: for a
    list that is walked in its own order and in which many fit.
    """

    actor: Actor
    today: date
    is_sqlite: bool
    walks: bool = False

    def sees(self, field: SegmentField, condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
        """The condition; what it asks of a patient's visits is asked of those the reader may see."""
        seen: sa.ColumnElement[bool] = (
            in_scope(condition, self.actor) if field.subject.code == _PATIENT else condition
        )
        return seen

    def patients(self, subject: Subject, condition: sa.ColumnElement[bool] | None) -> sa.Select[Any]:
        """The patients with such a row among the rows that the reader may see."""
        return self.in_scope(subject, subject.patients(condition))

    def in_scope(self, subject: Subject, rows: sa.Select[Any]) -> sa.Select[Any]:
        """Rows of a subject without those that hang on a stay the reader may not see."""
        if subject.encounter_id is None:
            return rows
        if subject.encounter_id is StayProfile.id:  # its own columns say whose stay it is
            condition = stay_condition(self.actor, StayProfile)
            return rows if condition is None else rows.where(condition)
        return scope_by_stay(rows, subject.encounter_id, self.actor)


@dataclass(frozen=True, slots=True)
class _Known:
    """Some patients: as keys, and as a condition on the one at hand, which is true or false and never NULL."""

    keys: sa.Select[Any]
    holds: sa.ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class FilterParts:
    """A filter taken apart: what the flat row of the patient answers, and sets of keys the patient must be in."""

    own: Sequence[sa.ColumnElement[bool]] = ()
    sets: Sequence[sa.Select[Any]] = ()

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """All of it as conditions on `PatientProfile`."""
        return [*self.own, *(PatientProfile.id.in_(each) for each in self.sets)]


# ── the condition ───────────────────────────────────────────────────────────


def filter_parts(wanted: SegmentFilter, fields: Fields, reader: Reader) -> FilterParts:
    """The patients of a filter."""
    groups = [_group(group, fields, reader) for group in wanted.groups if group.lines]
    if wanted.match is Match.ANY and len(groups) > 1:
        # OR over several tables would be answered row by row: united keys are one set.
        return _among([_own(sa.and_(sa.true(), *each.conditions())) for each in groups], reader)
    return _all_of(groups)


def _all_of(parts: Sequence[FilterParts]) -> FilterParts:
    return FilterParts(
        [each for part in parts for each in part.own], [each for part in parts for each in part.sets]
    )


def _group(group: Group, fields: Fields, reader: Reader) -> FilterParts:
    by_subject: dict[str, list[sa.ColumnElement[bool]]] = defaultdict(list)
    subjects: dict[str, Subject] = {}
    plain: list[FilterParts] = []
    for line in group.lines:
        field, asked = read_line(line, fields, reader.today)
        subjects[field.subject.code] = field.subject
        if field.condition is None:
            any_row = [_rows(field.subject, None, reader)]
            is_yes = asked.operator is Operator.YES
            plain.append(_among(any_row, reader) if is_yes else _not_among(any_row, reader))
        else:
            by_subject[field.subject.code].append(reader.sees(field, field.condition(asked)))
    if group.match is Match.ALL:
        own = by_subject.pop(_PATIENT, [])
        rows = [
            _among([_rows(subjects[code], sa.and_(*lines), reader)], reader)
            for code, lines in by_subject.items()
        ]
        return _all_of([FilterParts(own), *plain, *rows])
    known = [_rows(subjects[code], sa.or_(*lines), reader) for code, lines in by_subject.items()]
    known += [_own(sa.and_(*each.conditions())) for each in plain]
    return _among(known, reader) if group.match is Match.ANY else _not_among(known, reader)


def _rows(subject: Subject, condition: sa.ColumnElement[bool] | None, reader: Reader) -> _Known:
    """The patients with such a row. Of the one at hand only the index by patient may lead to rows."""
    keys = reader.patients(subject, condition)
    if subject.code == _PATIENT:
        return _Known(keys, sa.func.coalesce(condition, sa.false()))
    asked = subject.patients(None if condition is None else as_values(condition, subject.patient_id))
    one = reader.in_scope(subject, asked).with_only_columns(sa.literal(1))
    one = one.where(subject.patient_id == PatientProfile.id).correlate(PatientProfile)
    # No EXISTS: PostgreSQL would make a join of it, over all rows.
    return _Known(keys, one.limit(1).scalar_subquery().is_not(None))


def as_values(condition: sa.ColumnElement[bool], column: Any) -> sa.ColumnElement[bool]:
    """The condition with the columns of that column's table as values: none of their indexes leads to rows.

    SQLite has no statistics, and would take a worse one than the index or the scan that is meant.
    """
    table = column.property.columns[0].table

    def replaced(element: Any, **_: Any) -> Any:
        is_ours = isinstance(element, sa.Column) and element.table is table
        return as_value(element) if is_ours else None

    found: sa.ColumnElement[bool] = replacement_traverse(condition, {}, replaced)
    return found


def _own(condition: sa.ColumnElement[bool]) -> _Known:
    keys = sa.select(PatientProfile.id.label("id")).where(condition).correlate(None)
    return _Known(keys, sa.func.coalesce(condition, sa.false()))


def _among(known: Sequence[_Known], reader: Reader) -> FilterParts:
    if reader.walks:
        return FilterParts([sa.or_(sa.false(), *(each.holds for each in known))])
    return FilterParts(sets=[_union([each.keys for each in known])])


def _not_among(known: Sequence[_Known], reader: Reader) -> FilterParts:
    """NOT IN is a set on SQLite, and a walk through all rows for each patient on PostgreSQL; NOT EXISTS the reverse."""
    if reader.walks:
        return FilterParts([sa.not_(sa.or_(sa.false(), *(each.holds for each in known)))])
    keys = _union([each.keys for each in known])
    if reader.is_sqlite:
        return FilterParts([PatientProfile.id.not_in(keys)])
    rows = keys.subquery()
    found = sa.select(sa.literal(1)).select_from(rows).where(rows.c.id == PatientProfile.id)
    return FilterParts([sa.not_(found.exists())])


def _union(sets: Sequence[sa.Select[Any]]) -> sa.Select[Any]:
    if len(sets) == 1:
        return sets[0]
    united = sa.union_all(*sets).subquery()
    return sa.select(united.c.id).correlate(None)
