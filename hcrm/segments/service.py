"""Saved segments: made, changed and taken off the list by people; some come with the product."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from hcrm.accounts.permissions import roles
from hcrm.audit.service import record_audit
from hcrm.core.clock import local_date
from hcrm.core.config_file import read_config_file
from hcrm.core.definition_file import DefinitionPart, PartCode, Text
from hcrm.core.errors import ConflictError, DeniedError, HcrmError
from hcrm.core.inputs import Input, OptionalText
from hcrm.core.paths import config_path
from hcrm.core.work import Work
from hcrm.segments.catalogue import fields_for
from hcrm.segments.columns import COLUMNS, DEFAULT_COLUMNS, DEFAULT_SORT, SORTS
from hcrm.segments.filters import SegmentFilter, read_line
from hcrm.segments.models import Segment, ShareScope
from hcrm.segments.queries import get_segment


class SegmentInput(Input):
    """What a segment is saved with; its filter is checked against the fields of the person who saves it."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    note: Annotated[str, Field(max_length=200)] = ""
    filter: SegmentFilter
    columns: tuple[str, ...] = DEFAULT_COLUMNS
    sort: str = DEFAULT_SORT
    scope: ShareScope = ShareScope.OWN
    department_id: OptionalText = None
    default_for: OptionalText = None


def create_segment(work: Work, *, entered: SegmentInput) -> Segment:
    """Save a new one."""
    _check(work, entered)
    now = work.clock.now()
    segment = Segment(
        id=work.new_id(), code=None, owner_id=work.actor.id, owner_name=work.actor.name, counted=None,
        counted_at=None, created_at=now, updated_at=now, ended_at=None, **_values(entered),
    )  # fmt: skip
    work.add(segment)
    _note(work, "segment.create", segment)
    return segment


def change_segment(work: Work, *, segment_id: str, version: int, entered: SegmentInput) -> Segment:
    """Save another version of one's own; a stale page is refused."""
    segment = _own(work, segment_id, "segment.change")
    if segment.version != version:
        raise ConflictError("segment.changed", "这个分群刚被修改过，请重新打开后再改")
    _check(work, entered)
    for name, value in _values(entered).items():
        setattr(segment, name, value)
    segment.counted = segment.counted_at = None
    segment.updated_at = work.clock.now()
    work.session.flush()
    _note(work, "segment.change", segment)
    return segment


def end_segment(work: Work, *, segment_id: str) -> None:
    """Take it off the list. What was built on it keeps its own record of whom it held."""
    segment = _own(work, segment_id, "segment.end")
    segment.ended_at = work.clock.now()
    work.session.flush()
    _note(work, "segment.end", segment)


def restore_segment(work: Work, *, segment_id: str) -> None:
    """Back on the list: the undoing of `end_segment`."""
    segment = work.get(Segment, segment_id)
    if not may_change(work, segment):
        raise DeniedError("segment.restore", subject_type="segment", subject_id=segment.id)
    segment.ended_at = None
    work.session.flush()
    _note(work, "segment.restore", segment)


def note_count(work: Work, segment: Segment, count: int | None) -> None:
    """Keep how many it held in the whole hospital, None: it took too long; a narrower scope's count is not kept.

    Of another version than was counted nothing is kept.
    """
    if work.actor.department_ids is None:
        work.execute(
            sa.update(Segment)
            .where(Segment.id == segment.id, Segment.version == segment.version)
            .values(counted=count, counted_at=work.clock.now())
            .execution_options(synchronize_session=False)
        )


def may_change(work: Work, segment: Segment) -> bool:
    """Its owner; of what is shared also who may share with the same readers: whoever made it may have left."""
    actor = work.actor
    if segment.owner_id == actor.id:
        return True
    if segment.scope is ShareScope.OWN or not actor.may("segment.share"):
        return False
    if actor.department_ids is None:
        return True
    return segment.scope is ShareScope.DEPARTMENT and segment.department_id in actor.department_ids


def _own(work: Work, segment_id: str, action: str) -> Segment:
    segment = get_segment(work, segment_id)
    if not may_change(work, segment):
        raise DeniedError(action, subject_type="segment", subject_id=segment.id)
    return segment


def _values(entered: SegmentInput) -> dict[str, Any]:
    return {
        "name": entered.name, "note": entered.note, "filter": entered.filter.model_dump(mode="json"),
        "columns": list(entered.columns), "sort": entered.sort, "scope": entered.scope,
        "department_id": entered.department_id if entered.scope is ShareScope.DEPARTMENT else None,
        "default_for": entered.default_for,
    }  # fmt: skip


def _check(work: Work, entered: SegmentInput) -> None:
    check_filter(work, entered.filter)
    if unknown := [code for code in entered.columns if code not in COLUMNS]:
        raise HcrmError("segment.column", f"没有“{unknown[0]}”这一列", field="columns")
    if entered.sort not in SORTS:
        raise HcrmError("segment.sort", "没有这种排序", field="sort")
    if entered.scope is not ShareScope.OWN or entered.default_for:
        _check_sharing(work, entered)


def _check_sharing(work: Work, entered: SegmentInput) -> None:
    if not work.actor.may("segment.share"):
        raise HcrmError("segment.share", "您的角色只能保存自己用的分群", field="scope")
    if entered.scope is ShareScope.ALL and work.actor.department_ids is not None:
        raise HcrmError("segment.share", "您可共享给本科室；共享给全院由服务中心操作", field="scope")
    if entered.default_for and entered.default_for not in roles():
        raise HcrmError("segment.role", "没有这个角色", field="default_for")
    if entered.default_for and entered.scope is not ShareScope.ALL:
        raise HcrmError("segment.default", "作为角色默认的分群须共享给全院", field="default_for")
    if entered.scope is ShareScope.DEPARTMENT:
        mine = work.actor.department_ids
        if entered.department_id is None or (mine is not None and entered.department_id not in mine):
            raise HcrmError("segment.department", "请选择共享给哪个科室", field="department_id")


def check_filter(work: Work, wanted: SegmentFilter) -> None:
    """Refuse what cannot be asked, or not by this person."""
    fields, today = fields_for(work), local_date(work.clock.now())
    for place, group in enumerate(wanted.groups):
        for number, line in enumerate(group.lines):
            try:
                read_line(line, fields, today)
            except HcrmError as error:
                raise HcrmError(error.code, error.message, field=f"g{place}-{number}-value") from None


def _note(work: Work, action: str, segment: Segment) -> None:
    record_audit(
        work,
        action=action,
        subject_type="segment",
        subject_id=segment.id,
        detail={"version": segment.version},
    )


# ── what comes with the product ─────────────────────────────────────────────


class ShippedSegment(DefinitionPart):
    """One of `config/segments.yaml`."""

    code: PartCode
    name: Text
    note: str = ""
    filter: SegmentFilter
    columns: tuple[str, ...] = DEFAULT_COLUMNS
    sort: str = DEFAULT_SORT


class ShippedSegments(DefinitionPart):
    """The file."""

    segments: tuple[ShippedSegment, ...]


def load_shipped(path: Path | None = None) -> Sequence[ShippedSegment]:
    """The segments of a file; a mistake is refused with its line."""
    return read_config_file(
        ShippedSegments,
        path or config_path("segments.yaml"),
        lambda sentence: HcrmError("segments.invalid", f"config/segments.yaml 有误：{sentence}"),
    ).segments


def publish_shipped_segments(work: Work) -> int:
    """Add those that never were here; how many. One that people changed or took off the list stays as they left it."""
    known = set(work.scalars(sa.select(Segment.code).where(Segment.code.is_not(None))))
    now = work.clock.now()
    rows = [
        {"id": work.new_id(), "code": one.code, "name": one.name, "note": one.note,
         "filter": one.filter.model_dump(mode="json"), "columns": list(one.columns), "sort": one.sort,
         "scope": ShareScope.ALL, "department_id": None, "default_for": None, "owner_id": work.actor.id,
         "owner_name": "系统", "counted": None, "counted_at": None, "created_at": now, "updated_at": now,
         "ended_at": None}
        for one in load_shipped()
        if one.code not in known
    ]  # fmt: skip
    for one in load_shipped():
        check_filter(work, one.filter)
    work.insert(Segment, rows)
    return len(rows)
