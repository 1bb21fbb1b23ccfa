"""The patients of a segment as a file."""

import json
from collections.abc import Sequence
from datetime import date
from typing import Any

import sqlalchemy as sa

from hcrm.archive.exports import PATIENT_COLUMNS, export_patients
from hcrm.core.clock import local_date
from hcrm.core.errors import HcrmError, NotFoundError
from hcrm.core.exporting import Asked, Exportable
from hcrm.core.work import Work
from hcrm.segments.catalogue import fields_for
from hcrm.segments.filters import SegmentFilter
from hcrm.segments.models import Segment
from hcrm.segments.queries import filter_of, get_segment, patients_where
from hcrm.segments.words import filter_words


def _segment(work: Work, asked: Asked) -> Segment:
    return get_segment(work, asked.get("segment", ""))


def _fix(work: Work, asked: Asked) -> Asked:
    """The filter itself, which its owner may change before the file is written, and the day it counts from."""
    segment = _segment(work, asked)
    kept = json.dumps(filter_of(segment).model_dump(mode="json"), ensure_ascii=False)
    day = local_date(work.clock.now()).isoformat()
    return {"segment": segment.id, "version": str(segment.version), "filter": kept, "day": day}


def _words(work: Work, asked: Asked) -> Sequence[str]:
    said = filter_words(work, _kept(asked), fields_for(work), is_whole=True)
    return (f"分群“{_segment(work, asked).name}”第 {asked['version']} 版，日期从 {asked['day']} 起算", said)


def _kept(asked: Asked) -> SegmentFilter:
    if "filter" not in asked:
        raise HcrmError("export.segment", "申请里没有保存分群的条件，请重新申请")
    return SegmentFilter.model_validate_json(asked["filter"])


def _day(asked: Asked) -> date:
    try:
        return date.fromisoformat(asked["day"])
    except (KeyError, ValueError):
        raise HcrmError("export.segment", "申请里没有保存起算日期，请重新申请") from None


def _ids(work: Work, asked: Asked) -> sa.Select[Any]:
    """Whom the kept filter holds; the segment has to be there still, for whoever asked."""
    try:
        _segment(work, asked)
    except NotFoundError:
        raise HcrmError("export.segment", "这个分群已删除，或不再共享给申请人") from None
    return patients_where(work, _kept(asked), day=_day(asked))


def _count(work: Work, asked: Asked) -> int:
    return int(work.scalar(sa.select(sa.func.count()).select_from(_ids(work, asked).subquery())))


def segment_export() -> Exportable:
    """Whoever belongs to the segment as it was on the day it was asked for, at the time the file is written."""
    return Exportable(
        kind="segment", permission="segment.read", columns=PATIENT_COLUMNS,
        title=lambda work, asked: f"分群：{_segment(work, asked).name}", count=_count, fix=_fix, words=_words,
        lines=lambda work, asked, columns, is_clear: export_patients(work, _ids(work, asked), columns, is_clear),
    )  # fmt: skip
