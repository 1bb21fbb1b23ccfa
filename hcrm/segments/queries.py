"""Reading segments: whom they hold, how many, and the list of them. The reader's row scope always applies."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from hcrm.archive.models import Patient
from hcrm.archive.queries import record_list_read
from hcrm.archive.scope import as_value, patient_condition, patient_sets
from hcrm.core import limits
from hcrm.core.clock import local_date
from hcrm.core.errors import NotFoundError
from hcrm.core.work import Work
from hcrm.segments.catalogue import fields_for
from hcrm.segments.columns import DEFAULT_SORT, SORTS, Lines, column_of
from hcrm.segments.filters import FilterParts, Reader, SegmentFilter, as_values, filter_parts
from hcrm.segments.models import PatientProfile, Segment, ShareScope
from hcrm.segments.time_limit import within
from hcrm.segments.visits_in_scope import in_scope, rows_in_scope
from hcrm.web.paging import Page, Walk, keyset_page


def patients_of(work: Work, segment: Segment) -> sa.Select[Any]:
    """The keys of the patients that belong to a segment now, within the actor's row scope: a statement to build on."""
    return patients_where(work, filter_of(segment))


def patients_where(work: Work, wanted: SegmentFilter, *, day: date | None = None) -> sa.Select[Any]:
    """The same of a filter that is no segment's, or no longer. `day`: from which it counts days, today by default."""
    return _patients(work, wanted, day).with_only_columns(PatientProfile.id)


def is_in(work: Work, segment: Segment, patient_ids: Collection[str]) -> frozenset[str]:
    """Which of these patients belong to the segment."""
    statement = patients_of(work, segment).where(work.among(PatientProfile.id, patient_ids))
    return frozenset(work.scalars(statement))


def filter_of(segment: Segment) -> SegmentFilter:
    """The filter a row keeps."""
    return SegmentFilter.model_validate(segment.filter)


def count_patients(
    work: Work, wanted: SegmentFilter, *, seconds: float = limits.SEGMENT_COUNT_SECONDS
) -> int | None:
    """Exactly how many; None where it takes longer than that."""
    statement = _count(work, wanted)
    return within(work, seconds, lambda: int(work.scalar(statement)))


# ── lists ───────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class PatientCells:
    """A line of a result list: the patient, and the chosen columns in words."""

    id: str
    name: str
    cells: tuple[str, ...]


def sample_patients(work: Work, wanted: SegmentFilter, columns: Sequence[str]) -> list[PatientCells] | None:
    """Some of them, those seen last; None where it takes too long. The read is noted."""
    page = within(
        work,
        limits.SEGMENT_COUNT_SECONDS,
        lambda: _page(work, wanted, SORTS[DEFAULT_SORT].order, None, limits.SEGMENT_SAMPLE),
    )
    if page is None:
        return None
    record_list_read(work, "segment.sample", [row.id for row in page.items])
    return _cells(work, page.items, columns)


def list_patients(
    work: Work, segment: Segment, *, columns: Sequence[str], sort: str, key: str | None, size: int
) -> Page[PatientCells]:
    """One page of the patients of a segment."""
    page = _page(work, filter_of(segment), SORTS[sort].order, key, size)
    record_list_read(work, "segment.list", [row.id for row in page.items], detail={"segment": segment.id})
    return Page(_cells(work, page.items, columns), page.next_key, page.previous_key)


def list_matching(
    work: Work, wanted: SegmentFilter, *, columns: Sequence[str], key: str | None
) -> Page[PatientCells]:
    """One page of those a filter that nobody saved holds, the last seen first; the read is noted."""
    page = _page(work, wanted, SORTS[DEFAULT_SORT].order, key, limits.PAGE_SIZE)
    record_list_read(
        work, "segment.list", [row.id for row in page.items], detail={"fields": sorted(wanted.fields)}
    )
    return Page(_cells(work, page.items, columns), page.next_key, page.previous_key)


def _page(
    work: Work, wanted: SegmentFilter, order: Sequence[Any], key: str | None, size: int
) -> Page[PatientProfile]:
    """Where many fit, the first patients of the order hold a page; where few do, their set is small and is sorted.

    No index has the order of the visits in a narrower scope: its patients are a set of their own, and are sorted.
    """
    sets = patient_sets(work.actor)
    if sets is not None:
        keys = PatientProfile.id.in_(sa.union_all(*sets)) if sets else sa.false()
        own = [in_scope(each, work.actor) for each in order]
        return keyset_page(work, _patients(work, wanted).where(keys), order=own, key=key, size=size)
    everybody = sa.select(PatientProfile).where(PatientProfile.is_listed)
    walked = everybody.where(*_parts(work, wanted, walks=True).own, *_scope(work, PatientProfile.id))
    walk = Walk(walked, everybody, limits.SEGMENT_WALK)
    return keyset_page(work, _patients(work, wanted), order=order, key=key, size=size, walk=walk)


def _patients(work: Work, wanted: SegmentFilter, day: date | None = None) -> sa.Select[Any]:
    """By the sets, or by one scan. Whether one is listed is asked as a value: no index of an order begins otherwise."""
    parts = _parts(work, wanted, day=day)
    own = sa.and_(as_value(PatientProfile.is_listed), _own(work, parts, sa.true()))
    sets = (PatientProfile.id.in_(each) for each in parts.sets)
    return sa.select(PatientProfile).where(own, *sets, *_scope(work, PatientProfile.id))


def _count(work: Work, wanted: SegmentFilter) -> sa.Select[Any]:
    """Where only other rows are asked, they alone are counted: the few archives no list shows are taken from them."""
    parts = _parts(work, wanted)
    number = sa.func.count()
    if not parts.sets:
        own = _own(work, parts)
        return sa.select(number).select_from(PatientProfile).where(own, *_scope(work, PatientProfile.id))
    if parts.own:
        return _patients(work, wanted).with_only_columns(number)
    first, *others = parts.sets
    # Each once, by GROUP BY: SQLite sorts for that, and would look up every key for DISTINCT. As a value: else the
    # index of the key itself would be read from end to end.
    every = first.subquery()
    each_id = as_value(every.c.id).label("id")
    keys = sa.select(each_id).group_by(each_id).subquery()
    unlisted = sa.select(PatientProfile.id).where(sa.not_(PatientProfile.is_listed))
    return sa.select(number).select_from(keys).where(
        keys.c.id.not_in(unlisted), *(keys.c.id.in_(each) for each in others), *_scope(work, keys.c.id)
    )  # fmt: skip


def _parts(work: Work, wanted: SegmentFilter, *, walks: bool = False, day: date | None = None) -> FilterParts:
    reader = Reader(work.actor, day or local_date(work.clock.now()), _is_sqlite(work), walks)
    return filter_parts(wanted, fields_for(work), reader)


def _own(work: Work, parts: FilterParts, listed: Any = PatientProfile.is_listed) -> sa.ColumnElement[bool]:
    """What the flat row says. On SQLite as values: by sets or one scan, of an index where that holds all.

    Nearly everybody is listed, and many are old: without statistics it would go through an index row by row.
    """
    own = sa.and_(listed, *parts.own)
    return as_values(own, PatientProfile.id) if _is_sqlite(work) else own


def _is_sqlite(work: Work) -> bool:
    return work.session.get_bind().dialect.name == "sqlite"


def _scope(work: Work, patient_id: Any) -> Sequence[sa.ColumnElement[bool]]:
    condition = patient_condition(work.actor, patient_id)
    return () if condition is None else (condition,)


def _cells(work: Work, rows: Sequence[PatientProfile], columns: Sequence[str]) -> list[PatientCells]:
    chosen = [column_of(code) for code in columns]
    lines = Lines(work, rows_in_scope(work, rows), local_date(work.clock.now()))
    words = [column.words(lines) for column in chosen]
    named = work.execute(sa.select(Patient.id, Patient.name).where(Patient.id.in_(lines.ids)))
    names = {row.id: row.name for row in named}
    return [
        PatientCells(row.id, names[row.id], tuple(column[place] for column in words))
        for place, row in enumerate(rows)
    ]


# ── saved segments ──────────────────────────────────────────────────────────


def visible_segments(work: Work) -> sa.ColumnElement[bool]:
    """Those a reader finds in the list: their own, their departments', everybody's."""
    actor = work.actor
    shared = [Segment.scope == ShareScope.ALL, Segment.owner_id == actor.id]
    if actor.department_ids is None:
        shared.append(Segment.scope == ShareScope.DEPARTMENT)
    elif actor.department_ids:
        shared.append(
            sa.and_(
                Segment.scope == ShareScope.DEPARTMENT,
                Segment.department_id.in_(sorted(actor.department_ids)),
            )
        )
    return sa.and_(Segment.ended_at.is_(None), sa.or_(*shared))


def list_segments(work: Work, *, key: str | None = None, size: int = limits.PAGE_SIZE) -> Page[Segment]:
    """Saved segments, the latest changed first."""
    statement = sa.select(Segment).where(visible_segments(work))
    return keyset_page(
        work, statement, order=(Segment.updated_at.desc(), Segment.id.desc()), key=key, size=size
    )


def get_segment(work: Work, segment_id: str) -> Segment:
    """One that the actor may see; NotFoundError otherwise."""
    found = work.session.scalars(
        sa.select(Segment).where(Segment.id == segment_id, visible_segments(work))
    ).one_or_none()
    if found is None:
        raise NotFoundError
    return found


def default_segment(work: Work) -> Segment | None:
    """The segment a role's list opens with: none whose conditions the reader may not use, or that are gone."""
    fields = fields_for(work).keys()
    found = work.scalars(
        sa.select(Segment)
        .where(visible_segments(work), Segment.default_for.in_(work.actor.roles))
        .order_by(Segment.updated_at.desc(), Segment.id)
    )
    return next((segment for segment in found if filter_of(segment).fields <= fields), None)
